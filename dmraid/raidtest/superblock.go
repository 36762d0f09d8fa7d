// SPDX-License-Identifier: MIT

package raidtest

import (
	"encoding/binary"
)

// superblock is the page that md keeps of struct dm_raid_superblock. The
// double writes the bytes on its own, so that what decodes them has something
// to be held against.
type superblock []byte

// Offsets in struct dm_raid_superblock of dm-raid.c.
const (
	sbMagic         = 0
	sbCompat        = 4
	sbDevices       = 8
	sbPosition      = 12
	sbEvents        = 16
	sbFailed        = 24
	sbDiskRecovery  = 32
	sbArrayResync   = 40
	sbLevel         = 48
	sbLayout        = 52
	sbChunk         = 56
	sbFlags         = 60
	sbReshape       = 64
	sbNewLevel      = 72
	sbNewLayout     = 76
	sbNewChunk      = 80
	sbDelta         = 84
	sbArraySectors  = 88
	sbDataOffset    = 96
	sbNewDataOffset = 104
	sbSectors       = 112
	sbExtFailed     = 120
	sbIncompat      = 144
	sbSize          = 148

	raidMagic     = 0x64526D44
	compatV190    = 1
	flagReshaping = 1
	flagBackwards = 2
	bitmapAt      = 4096 // bytes: where the bitmap begins
	bitmapSector  = bitmapAt / sectorSize
)

func (b superblock) u32(at int) uint32      { return binary.LittleEndian.Uint32(b[at:]) }
func (b superblock) u64(at int) uint64      { return binary.LittleEndian.Uint64(b[at:]) }
func (b superblock) put32(at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
func (b superblock) put64(at int, v uint64) { binary.LittleEndian.PutUint64(b[at:], v) }
func (b superblock) int(at int) int         { return int(int32(b.u32(at))) }
func (b superblock) extended() bool         { return b.u32(sbCompat)&compatV190 != 0 }
func (b superblock) putFailed(f failedLegs) { b.put64(sbFailed, f[0]); b.putExtFailed(f) }
func (b superblock) clearFailed()           { b.putFailed(failedLegs{}) }
func (b superblock) putExtFailed(f failedLegs) {
	for i, v := range f[1:] {
		b.put64(sbExtFailed+8*i, v)
	}
}

// failedLegs has a bit for each position.
type failedLegs [4]uint64

func (f *failedLegs) set(i int)     { f[i/64] |= 1 << (i % 64) }
func (f failedLegs) has(i int) bool { return i >= 0 && i < 256 && f[i/64]>>(i%64)&1 == 1 }

// failed is sb_retrieve_failed_devices.
func (b superblock) failed() failedLegs {
	f := failedLegs{b.u64(sbFailed)}
	if b.extended() {
		for i := range f[1:] {
			f[i+1] = b.u64(sbExtFailed + 8*i)
		}
	}
	return f
}

// superSync is super_sync: it brings the page of a leg up to date.
func (s *set) superSync(l *leg) {
	if l.meta == nil {
		return
	}
	b := l.sb
	failed, changed := b.failed(), false
	for i, d := range s.dev {
		if d.data == nil || d.faulty {
			failed.set(i)
			changed = true
		}
	}
	if changed {
		b.putFailed(failed)
	}
	m := &s.md
	b.put32(sbMagic, raidMagic)
	b.put32(sbCompat, compatV190)
	b.put32(sbDevices, uint32(m.disks))
	b.put32(sbPosition, uint32(int32(l.disk)))
	b.put64(sbEvents, m.events)
	b.put64(sbDiskRecovery, l.recovery)
	b.put64(sbArrayResync, m.resync)
	b.put32(sbLevel, uint32(m.cur.level))
	b.put32(sbLayout, uint32(m.cur.layout))
	b.put32(sbChunk, uint32(m.cur.chunk))
	b.put32(sbNewLevel, uint32(m.next.level))
	b.put32(sbNewLayout, uint32(m.next.layout))
	b.put32(sbNewChunk, uint32(m.next.chunk))
	b.put32(sbDelta, uint32(int32(m.delta)))
	b.put64(sbReshape, m.reshape)
	flags := b.u32(sbFlags)
	if m.reshape != maxSector {
		flags |= flagReshaping
		if m.delta < 0 || m.backwards {
			flags |= flagBackwards
		}
	} else {
		flags &^= flagReshaping | flagBackwards
	}
	b.put32(sbFlags, flags)
	b.put64(sbArraySectors, m.arraySectors)
	b.put64(sbDataOffset, l.offset)
	b.put64(sbNewDataOffset, l.newOffset)
	b.put64(sbSectors, l.sectors)
	b.put32(sbIncompat, 0)
	clear(b[sbSize:])
}

// readSuper is read_disk_sb: it fills the page from the disk. Without again it
// does so only once.
func (s *set) readSuper(l *leg, again bool) bool {
	if l.loaded && !again {
		return true
	}
	if l.meta.ReadSectors(l.sb, 0) != nil {
		s.log("Failed to read superblock of device at position %d", l.disk)
		s.fail(l)
		l.faulty = true
		l.loaded = false
		return false
	}
	l.loaded = true
	return true
}

// updateSuper is md_update_sb. With force it is more than a change between
// clean and dirty.
func (s *set) updateSuper(force bool) {
	m := &s.md
	if m.readOnly {
		m.changeDevs = m.changeDevs || force
		return
	}
	for {
		for _, l := range s.dev {
			if l.listed() && l.disk >= 0 && m.delta >= 0 && m.sync != nil && m.sync.action == actRecover && !l.inSync {
				l.recovery = max(l.recovery, m.completed)
			}
		}
		if !m.persistent {
			m.changeDevs, m.changeClean = false, false
			return
		}
		force = force || m.changeDevs
		light := m.changeClean && !force && m.degraded == 0
		m.changeDevs, m.changeClean = false, false
		if light && m.clean && m.resync == maxSector && m.canDecrease && m.events != 1 {
			m.events--
			m.canDecrease = false
		} else {
			m.events++
			m.canDecrease = light
		}
		s.writeSupers(light)
		if !m.changeDevs {
			return
		}
		// A leg failed meanwhile; the others must know.
	}
}

// writeSupers writes the superblocks. A light update leaves out spares that
// are one event behind.
func (s *set) writeSupers(light bool) {
	m := &s.md
	var wrote []*leg
	for _, l := range s.dev {
		if !l.listed() || l.meta == nil {
			continue
		}
		if l.writtenEvents == m.events || light && l.disk < 0 && l.writtenEvents+1 == m.events {
			continue
		}
		s.superSync(l)
		wrote = append(wrote, l)
	}
	s.bitmap.writeSuper()
	for _, l := range wrote {
		if l.faulty {
			continue
		}
		if l.meta.WriteSectors(l.sb, 0) != nil {
			s.fail(l)
			continue
		}
		l.writtenEvents = m.events
	}
}
