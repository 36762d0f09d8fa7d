// SPDX-License-Identifier: MIT

package raidtest

import (
	"encoding/binary"

	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// bitmap is the write-intent bitmap of md-bitmap.c: its page on the disks, and
// what md knows of each region. A nil bitmap does nothing.
type bitmap struct {
	s      *set
	region uint64 // sectors
	count  uint64
	page   []byte // bitmap_super_t and the bits, as on the disks
	needed []bool // NEEDED: the region must be synced
	active []bool // RESYNC: it is being synced

	eventsCleared uint64
	state         uint32
	stale         bool
}

// bitmap_super_t of drivers/md/md-bitmap.h.
const (
	bmMagic       = 0
	bmVersion     = 4
	bmEvents      = 24
	bmCleared     = 32
	bmSyncSize    = 40
	bmState       = 48
	bmChunk       = 52
	bmDaemonSleep = 56
	bmWriteBehind = 60
	bmBits        = 256

	bitmapMagic   = 0x6d746962
	bitmapVersion = 4
	bitmapStale   = 1 << 1 // BITMAP_STALE
	hertz         = 250    // HZ of Debian's kernels: jiffies in a second
	counterMax    = 1<<14 - 1
)

// createBitmap is md_bitmap_create: a new one, or what is on the disk.
func (s *set) createBitmap() error {
	md := &s.md
	b := &bitmap{s: s}
	head := make([]byte, sectorSize)
	le := binary.LittleEndian
	if md.newArray {
		md.newArray = false
		le.PutUint32(head[bmMagic:], bitmapMagic)
		le.PutUint32(head[bmVersion:], bitmapVersion)
		if md.daemonSleep == 0 {
			md.daemonSleep = 5 * hertz
		}
		md.writeBehind = min(md.writeBehind, counterMax/2)
		b.stale = true
		b.eventsCleared = md.events
	} else {
		if !b.read(head, 0) {
			return dmtest.EIO
		}
		chunk, sleep, behind := le.Uint32(head[bmChunk:]), le.Uint32(head[bmDaemonSleep:]), le.Uint32(head[bmWriteBehind:])
		version := le.Uint32(head[bmVersion:])
		if le.Uint32(head[bmMagic:]) != bitmapMagic || version < 3 || version > 5 ||
			chunk < 512 || chunk&(chunk-1) != 0 || sleep < 1 || behind > counterMax {
			return dmtest.EINVAL
		}
		b.stale = le.Uint64(head[bmEvents:]) < md.events
		b.state = le.Uint32(head[bmState:]) &^ bitmapStale
		b.stale = b.stale || le.Uint32(head[bmState:])&bitmapStale != 0
		b.eventsCleared = le.Uint64(head[bmCleared:])
		if b.stale {
			b.eventsCleared = md.events
		}
		md.region = uint64(chunk / sectorSize)
		md.daemonSleep, md.writeBehind = int(sleep)*hertz, int(behind)
	}
	b.size(md.region, md.resyncMax)
	copy(b.page, head[:bmBits])
	s.bitmap = b
	return nil
}

// size makes room for the bits.
func (b *bitmap) size(region, sectors uint64) {
	b.region = region
	b.count = (sectors + region - 1) / region
	n := bmBits + (b.count+7)/8
	page := make([]byte, (n+sectorSize-1)/sectorSize*sectorSize)
	copy(page, b.page[:min(len(b.page), bmBits)])
	b.page = page
	b.needed, b.active = make([]bool, b.count), make([]bool, b.count)
}

// read reads from the first leg that is in sync.
func (b *bitmap) read(p []byte, at uint64) bool {
	for _, l := range b.s.dev {
		if l.listed() && l.meta != nil && l.inSync && !l.faulty && l.meta.ReadSectors(p, bitmapSector+at) == nil {
			return true
		}
	}
	return false
}

// write writes bytes [from, to) of the page, rounded to sectors, to all legs.
func (b *bitmap) write(from, to int) {
	from = from / sectorSize * sectorSize
	to = (to + sectorSize - 1) / sectorSize * sectorSize
	for _, l := range b.s.dev {
		if l.listed() && l.meta != nil && l.disk >= 0 && !l.faulty &&
			l.meta.WriteSectors(b.page[from:to], bitmapSector+uint64(from/sectorSize)) != nil {
			b.s.fail(l)
		}
	}
}

// writeHead writes the page that has bitmap_super_t, and the bits in it.
func (b *bitmap) writeHead() { b.write(0, min(len(b.page), 4096)) }

// writeSuper is md_bitmap_update_sb.
func (b *bitmap) writeSuper() {
	if b == nil {
		return
	}
	md := &b.s.md
	le := binary.LittleEndian
	b.eventsCleared = min(b.eventsCleared, md.events)
	state := b.state
	if b.stale {
		state |= bitmapStale
	}
	le.PutUint64(b.page[bmEvents:], md.events)
	le.PutUint64(b.page[bmCleared:], b.eventsCleared)
	le.PutUint64(b.page[bmSyncSize:], md.resyncMax)
	le.PutUint32(b.page[bmState:], state)
	le.PutUint32(b.page[bmChunk:], uint32(md.region*sectorSize))
	le.PutUint32(b.page[bmDaemonSleep:], uint32(md.daemonSleep/hertz))
	le.PutUint32(b.page[bmWriteBehind:], uint32(md.writeBehind))
	b.writeHead()
}

// load is md_bitmap_load: from here on the bits count.
func (b *bitmap) load() bool {
	if b == nil {
		return true
	}
	md := &b.s.md
	start := uint64(0)
	if md.degraded == 0 || b.eventsCleared == md.events {
		start = md.resync
	}
	if b.stale {
		for i := bmBits; i < len(b.page); i++ {
			b.page[i] = 0xff
		}
		b.write(bmBits, len(b.page))
	} else {
		head := append([]byte(nil), b.page[:bmBits]...)
		if !b.read(b.page, 0) {
			return false
		}
		copy(b.page, head)
	}
	for i := range b.count {
		b.needed[i] = b.bit(i) && (i+1)*b.region >= start
	}
	b.stale = false
	md.needed = true
	b.writeSuper()
	return true
}

func (b *bitmap) bit(i uint64) bool { return b.page[bmBits+i/8]>>(i%8)&1 == 1 }

func (b *bitmap) setBit(i uint64, on bool) {
	if on {
		b.page[bmBits+i/8] |= 1 << (i % 8)
	} else {
		b.page[bmBits+i/8] &^= 1 << (i % 8)
	}
}

// regions are the first and the last region of sectors.
func (b *bitmap) regions(sector, n uint64) (first, last uint64) {
	return sector / b.region, min((sector+n-1)/b.region, b.count-1)
}

// startWrite is md_bitmap_startwrite and the unplug behind it: the bits are on
// the disks before the data are.
func (b *bitmap) startWrite(sector, n uint64) {
	if b == nil {
		return
	}
	first, last := b.regions(sector, n)
	from, to := -1, 0
	for i := first; i <= last; i++ {
		if !b.bit(i) {
			b.setBit(i, true)
			if from < 0 {
				from = bmBits + int(i/8)
			}
			to = bmBits + int(i/8) + 1
		}
	}
	if from >= 0 {
		b.write(from, to)
	}
}

// endWrite is md_bitmap_endwrite; ok says that all legs have the data.
func (b *bitmap) endWrite(sector, n uint64, ok bool) {
	if b == nil {
		return
	}
	md := &b.s.md
	if ok && md.degraded == 0 && b.eventsCleared < md.events {
		b.eventsCleared = md.events
	}
	if !ok {
		first, last := b.regions(sector, n)
		for i := first; i <= last; i++ {
			b.needed[i] = true
		}
	}
}

// clean is what md_bitmap_daemon_work comes to: bits of regions that are equal
// on all legs go.
func (b *bitmap) clean() {
	if b == nil {
		return
	}
	from, to := -1, 0
	for i := range b.count {
		if b.bit(i) && !b.needed[i] && !b.active[i] {
			b.setBit(i, false)
			if from < 0 {
				from = bmBits + int(i/8)
			}
			to = bmBits + int(i/8) + 1
		}
	}
	if from >= 0 {
		binary.LittleEndian.PutUint64(b.page[bmCleared:], b.eventsCleared)
		b.writeHead()
		b.write(from, to)
	}
}

// startSync is md_bitmap_start_sync: whether a sector must be synced, and how
// many sectors on it is the same.
func (b *bitmap) startSync(sector uint64, degraded bool) (must bool, n uint64) {
	if b == nil {
		return true, 1024
	}
	i := sector / b.region
	n = b.region - sector%b.region
	if i >= b.count {
		return false, n
	}
	if b.active[i] {
		return true, n
	}
	if !b.needed[i] {
		return false, n
	}
	if !degraded {
		b.active[i], b.needed[i] = true, false
	}
	return true, n
}

// endSync says that all regions before a sector are synced, or with aborted
// that those which are not, need it again.
func (b *bitmap) endSync(sector uint64, aborted bool) {
	if b == nil {
		return
	}
	for i := range b.count {
		if !b.active[i] {
			continue
		}
		if min((i+1)*b.region, b.s.md.resyncMax) <= sector {
			b.active[i] = false
		} else if aborted {
			b.active[i], b.needed[i] = false, true
		}
	}
}

// resize is md_bitmap_resize: for another size of the array or its regions.
func (b *bitmap) resize(sectors, region uint64) {
	old := *b
	old.page = append([]byte(nil), b.page...)
	b.size(region, sectors)
	b.s.md.region = region
	known := old.count * old.region
	for i := range b.count {
		for at := i * region; at < min((i+1)*region, known); at += old.region {
			if old.needed[at/old.region] {
				b.needed[i] = true
				b.setBit(i, true)
			}
		}
		if (i+1)*region > known {
			b.needed[i] = true
		}
	}
	b.write(0, len(b.page))
}
