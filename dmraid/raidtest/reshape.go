// SPDX-License-Identifier: MIT

package raidtest

import (
	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// earlyReshapeCheck is the part of raid_ctr behind md_run that asks the
// personality. want is the shape that the table asks for.
func (s *set) earlyReshapeCheck(want shape) error {
	md := &s.md
	switch {
	case md.cur.level == 0:
		return refuse(dmtest.EPERM, "Reshape not supported")
	case md.degraded > 0:
		return refuse(dmtest.EPERM, "Can't reshape degraded raid set")
	case s.recovering():
		return refuse(dmtest.EPERM, "Convert request on recovering raid set prohibited")
	case md.reshape != maxSector:
		return refuse(dmtest.EPERM, "raid set already reshaping!")
	}
	md.next = want
	if md.cur.level != 1 {
		if err := s.checkReshape(); err != nil {
			return refuse(errnoOf(err), "Reshape check failed")
		}
	}
	return nil
}

// checkReshape is the check_reshape method of the personalities.
func (s *set) checkReshape() error {
	md := &s.md
	chunk := md.next.chunk
	switch md.cur.level {
	case 1:
		return s.reshapeRaid1()
	case 10:
		g := newGeometry(md.next, md.disks+md.delta, md.devSectors)
		if md.reshape != maxSector {
			g = md.geo
		}
		if isFar(md.geo.shape.layout) || !g.valid || g.copies() != md.geo.copies() || isFar(md.next.layout) ||
			md.arraySectors&uint64(chunk-1) != 0 || !s.enough(-1) {
			return dmtest.EINVAL
		}
		return nil
	}
	if !validParity(md.cur.level, md.next.layout) {
		return dmtest.EINVAL
	}
	if chunk > 0 && (chunk&(chunk-1) != 0 || chunk < pageSector || md.arraySectors&uint64(chunk-1) != 0) {
		return dmtest.EINVAL
	}
	if md.cur.level == 5 && md.disks == 2 {
		// Two legs are equal whatever the layout: no need to move anything.
		md.cur.layout, md.cur.chunk = md.next.layout, chunk
		md.changeDevs = true
	}
	if s.journal != nil {
		return dmtest.EINVAL
	}
	if md.delta == 0 && md.next == md.cur {
		return nil
	}
	least := 2
	if md.cur.level == 6 {
		least = 4
	}
	// The default stripe cache must hold four stripes of the larger chunk.
	pages := max(md.cur.chunk, chunk) / pageSector * 4
	switch {
	case md.degraded > maxDegraded(md.cur.level):
		return dmtest.EINVAL
	case md.delta < 0 && md.reshape == maxSector && md.disks+md.delta < least:
		return dmtest.EINVAL
	case pages > s.stripes:
		return dmtest.ENOSPC
	}
	return nil
}

// reshapeRaid1 is raid1_reshape: it changes the number of legs at once.
func (s *set) reshapeRaid1() error {
	md := &s.md
	if md.next != md.cur {
		md.next = md.cur
		return dmtest.EINVAL
	}
	disks := md.disks + md.delta
	n := 0
	for i := range md.disks {
		if s.member(i) != nil {
			n++
		}
	}
	if disks < md.disks && n > disks {
		return dmtest.EBUSY
	}
	at := 0
	for i := range md.disks {
		if l := s.member(i); l != nil {
			l.disk = at
			at++
		}
	}
	md.disks, md.delta = disks, 0
	md.setGeometry()
	s.countDegraded()
	md.recovering, md.needed = true, true
	return nil
}

// startReshape is rs_start_reshape.
func (s *set) startReshape() error {
	md := &s.md
	md.waiting = true // MD_RECOVERY_WAIT: the next table lets it run
	room := s.reshapeRoom()
	md.delta = s.delta
	if md.delta != 0 && md.cur.layout != md.next.layout {
		s.log("Ignoring invalid layout change with delta_disks=%d", s.delta)
		md.next.layout = md.cur.layout
	}
	switch {
	case s.delta > 0:
		for i := md.disks; i < len(s.dev); i++ {
			l := s.dev[i]
			l.inSync, l.saved, l.disk = false, -1, i
			l.sectors = md.devSectors
			l.recovery = maxSector
			if md.cur.level == 1 {
				l.recovery = 0
			}
		}
		md.backwards = false
	case s.delta < 0:
		if err := s.setSizes(s.a.Length, true); err != nil {
			return err
		}
		md.backwards = true
	default:
		md.backwards = s.dev[0].offset == 0
	}
	if !md.backwards {
		for _, l := range s.dev {
			if l.listed() {
				l.sectors += room
			}
		}
	}
	if err := s.checkReshape(); err != nil {
		return err
	}
	if md.cur.level != 1 {
		if err := s.beginReshape(); err != nil {
			return err
		}
	}
	s.rewriteSupers()
	return nil
}

// beginReshape is the start_reshape method of the personalities.
func (s *set) beginReshape() error {
	md := &s.md
	next := newGeometry(md.next, md.disks+md.delta, md.devSectors)
	if md.cur.level == 10 {
		room := uint64(maxSector)
		for _, l := range s.dev {
			if l.listed() {
				diff := int64(l.newOffset - l.offset)
				if !md.backwards {
					diff = -diff
				}
				room = min(room, uint64(max(diff, 0)))
			}
		}
		if uint64(max(md.prev.chunk*md.prev.far, md.geo.chunk*md.geo.far)) > room {
			return dmtest.EINVAL
		}
	}
	md.prev, md.geo = md.geo, next
	size := s.sizeOf(&md.geo)
	if md.backwards {
		if size < md.arraySectors {
			md.geo = md.prev
			return dmtest.EINVAL
		}
		if md.cur.level == 10 {
			md.resyncMax = size
		}
		md.reshape = size
	} else {
		md.reshape = 0
	}
	for _, l := range s.dev {
		if l.listed() && l.disk >= md.prev.disks && !l.faulty {
			l.in, l.inSync = true, true
		}
	}
	md.disks += md.delta
	if md.cur.level == 10 && md.delta != 0 && s.bitmap != nil {
		s.bitmap.resize(size, s.bitmap.region)
	}
	s.countDegraded()
	md.changeDevs = true
	return nil
}

// sizeOf is the size of the array with a geometry.
func (s *set) sizeOf(g *geometry) uint64 {
	if g.level == 10 {
		return g.arraySectors()
	}
	return (s.md.devSectors &^ uint64(g.chunk-1)) * uint64(g.dataDisks())
}

// reshapeAt is where a reshape begins, or goes on: in what md_do_sync counts,
// which is sectors of a leg with parity and sectors of the array with raid10.
func (s *set) reshapeAt() uint64 {
	md := &s.md
	at := md.reshape
	if md.backwards {
		at = s.sizeOf(&md.geo) - md.reshape
	}
	if md.cur.level != 10 {
		at /= uint64(md.geo.dataDisks())
	}
	return at
}

// reshapeStep moves a stretch from the old place to the new one; false when it
// can't be read.
func (s *set) reshapeStep(r *run) bool {
	md := &s.md
	unit := uint64(max(md.geo.chunk, md.prev.chunk)) * uint64(md.geo.dataDisks())
	if md.cur.level == 10 {
		unit = uint64(max(md.geo.chunk, md.prev.chunk))
	}
	size, old := s.sizeOf(&md.geo), s.sizeOf(&md.prev)
	if md.cur.level == 10 && !md.backwards {
		size = min(size, old) // behind it is room that nobody has written to
	}
	from, to := md.reshape, min(md.reshape+unit, size)
	if md.backwards {
		from, to = (md.reshape-1)/unit*unit, md.reshape
	}
	was, will := view{geometry: &md.prev}, view{geometry: &md.geo, next: true}
	p := make([]byte, (to-from)*sectorSize)
	for at := from; at < min(to, old); {
		n := min(uint64(md.prev.chunk)-at%uint64(md.prev.chunk), min(to, old)-at)
		if s.read(was, p[(at-from)*sectorSize:(at-from+n)*sectorSize], at, n) != nil {
			return false
		}
		at += n
	}
	for at := from; at < to; {
		n := min(uint64(md.geo.chunk)-at%uint64(md.geo.chunk), to-at)
		if s.write(will, p[(at-from)*sectorSize:(at-from+n)*sectorSize], at, n) != nil {
			return false
		}
		at += n
	}
	if md.backwards {
		md.reshape = from
	} else {
		md.reshape = to
	}
	if md.reshape == size && !md.backwards || md.backwards && from == 0 {
		r.at = r.max
	} else {
		r.at = min(s.reshapeAt(), r.max)
	}
	md.completed = r.at
	md.changeDevs = true
	s.updateSuper(false)
	return true
}

// finishReshape is the end_reshape and finish_reshape methods of the
// personalities and md_finish_reshape.
func (s *set) finishReshape() {
	md := &s.md
	for _, l := range s.dev {
		if !l.listed() {
			continue
		}
		if l.offset > l.newOffset {
			l.sectors += l.offset - l.newOffset
		} else {
			l.sectors -= l.newOffset - l.offset
		}
		l.offset = l.newOffset
		if l.disk >= 0 && !l.inSync {
			l.recovery = maxSector
		}
	}
	delta := md.delta
	md.prev = md.geo
	md.reshape = maxSector
	md.cur.layout, md.cur.chunk = md.next.layout, md.next.chunk
	md.delta, md.backwards = 0, false
	if delta > 0 {
		md.arraySectors = s.size()
		if md.cur.level == 10 {
			md.resync = min(md.resync, md.resyncMax) // the new room is synced
			md.resyncMax = md.arraySectors
		}
	}
	if delta < 0 {
		for _, l := range s.dev {
			if l.in && l.disk >= md.geo.disks {
				l.inSync = false
			}
		}
	}
	s.countDegraded()
}
