// SPDX-License-Identifier: MIT

package raidtest

import (
	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// minReshapeSpace is MIN_FREE_RESHAPE_SPACE: sectors.
const minReshapeSpace = 32

// convert is the second half of raid_ctr up to md_run: it decides between a
// new array, one that goes on with what it did, a takeover, a reshape and a
// change of size. want is the shape that the table asks for.
func (s *set) convert(want shape) error {
	md := &s.md
	known := md.arraySectors
	any := s.anyLeg()
	if any == nil {
		return refuse(dmtest.EINVAL, "Invalid rdev size")
	}
	room := s.reshapeRoom()
	resize := false
	if s.wantLeg != any.sectors {
		resize = s.wantLeg != any.sectors-room
		s.grow = s.wantLeg > any.sectors-room
	}
	md.next = want
	switch {
	case md.newArray:
		if md.cur.level == 6 && s.args.given[keyNosync] {
			return refuse(dmtest.EINVAL, "'nosync' not allowed for new raid6 set")
		}
		s.setupRecovery(0)
		s.updateSBs = true
		s.setNew()
	case s.recovering():
		if err := s.sizeCheck(known); err != nil {
			return err
		}
	case md.reshape != maxSector:
		if resize {
			return refuse(dmtest.EPERM, "Can't resize a reshaping raid set")
		}
	case md.next.level != md.cur.level:
		if s.journal != nil {
			return refuse(dmtest.EPERM, "Can't takeover a journaled raid4/5/6 set")
		}
		if err := s.checkTakeover(); err != nil {
			return err
		}
		if !s.setupTakeover() {
			return badSuper() // the text of a step before that went well
		}
		s.updateSBs = true
		s.setupRecovery(maxSector)
		s.setNew()
	case s.reshapeRequested():
		s.grow = false
		if s.journal != nil {
			return refuse(dmtest.EPERM, "Can't reshape a journaled raid4/5/6 set")
		}
		// Without room the request is dropped without a word.
		if room != 0 || md.cur.level == 1 {
			if err := s.prepareReshape(); err != nil {
				return err
			}
			s.setupRecovery(maxSector)
		}
		md.next = md.cur
	default:
		if err := s.sizeCheck(known); err != nil {
			return err
		}
	}
	if err := s.adjustOffsets(); err != nil {
		return err
	}
	if md.reshape == maxSector && (md.delta != 0 || md.next != md.cur) {
		// A reshape that ended before its superblocks said so.
		md.next, md.delta, md.backwards = md.cur, 0, false
	}
	return nil
}

// setNew is rs_set_new.
func (s *set) setNew() {
	s.md.cur = s.md.next
	s.md.disks = len(s.dev)
	s.md.delta = 0
}

// setupRecovery is rs_setup_recovery.
func (s *set) setupRecovery(from uint64) {
	md := &s.md
	switch {
	case md.cur.level == 0:
		md.resync = maxSector
	case md.cur.level == 6:
		md.resync = from
	case s.args.given[keyNosync]:
		md.resync = maxSector
	default:
		md.resync = from
	}
}

// sizeCheck sets a size that may have changed. known is the array's size as
// the superblocks have it.
func (s *set) sizeCheck(known uint64) error {
	md := &s.md
	switch {
	case s.args.given[keyRebuild]:
		s.grow = false
		s.updateSBs = true
		s.setupRecovery(maxSector)
	case s.grow:
		if err := s.setSizes(known, false); err != nil {
			return err
		}
		s.setupRecovery(min(md.resync, md.devSectors))
	default:
		if err := s.setSizes(s.a.Length, false); err != nil {
			return err
		}
		if known > s.wantSize {
			s.updateSBs = true
		}
	}
	md.next = md.cur
	return nil
}

// reshapeRoom is _get_reshape_sectors.
func (s *set) reshapeRoom() uint64 {
	for _, l := range s.dev {
		if l.listed() {
			return max(max(l.offset, l.newOffset)-min(l.offset, l.newOffset), s.offset)
		}
	}
	return s.offset
}

// reshapeRequested is rs_reshape_requested.
func (s *set) reshapeRequested() bool {
	md := &s.md
	if md.next.level != md.cur.level || md.cur.level == 0 {
		return false
	}
	change := s.delta != 0 || md.next.layout != md.cur.layout || md.next.chunk != md.cur.chunk
	switch md.cur.level {
	case 1:
		return s.delta != 0 || !change && md.disks != len(s.dev)
	case 10:
		return change && !isFar(md.next.layout) && s.delta >= 0
	}
	return change
}

// checkTakeover is rs_check_takeover: which level may become which.
func (s *set) checkTakeover() error {
	md := &s.md
	if md.degraded > 0 {
		return refuse(dmtest.EPERM, "Can't takeover degraded raid set")
	}
	to := md.next
	within := func(v, from, to int) bool { return v >= from && v <= to }
	allowed := false
	switch md.cur.level {
	case 0:
		allowed = (to.level == 1 || to.level == 5) && md.disks == 1 ||
			to.level == 10 && len(s.dev)%md.disks == 0 ||
			within(to.level, 4, 6) && to.layout == parityN && md.disks > 1
	case 10:
		near, far := nearCopies(md.cur.layout), farCopies(md.cur.layout)
		switch {
		case isOffset(md.cur.layout):
		case to.level == 0 && near > 1 && md.disks%near == 0:
			md.disks /= near
			md.delta = md.disks
			allowed = true
		case to.level == 0:
			allowed = near == 1 && far > 1
		case to.level == 1:
			allowed = max(near, far) == md.disks
		default:
			allowed = within(to.level, 4, 5) && md.disks == 2
		}
	case 1:
		allowed = within(to.level, 4, 5) && md.disks == 2 || to.level == 0 && md.disks == 1 || to.level == 10
	case 5:
		n := md.cur.layout == parityN
		allowed = n && (to.level == 0 || to.level == 4) ||
			md.disks == 2 && (to.level == 1 || to.level == 4 || to.level == 10) ||
			to.level == 6 && (n && to.layout == parityN || within(to.layout, layoutLA6, layoutRS6))
	case 6:
		n := md.cur.layout == parityN
		allowed = n && (to.level == 0 || to.level == 4) ||
			to.level == 5 && (n && to.layout == parityN || within(to.layout, layoutLA, layoutRS))
	}
	if !allowed {
		return refuse(dmtest.EINVAL, "takeover not possible")
	}
	return nil
}

// setupTakeover is rs_setup_takeover.
func (s *set) setupTakeover() bool {
	md := &s.md
	md.disks = len(s.dev)
	newOffset := s.offset
	if s.dev[0].offset != 0 {
		newOffset = 0
	}
	if s.typ.level == 10 {
		switch md.cur.level {
		case 0:
			s.renumber()
			md.cur.layout = layoutWord(raid10Far, s.copies, s.args.given[keyNearSets])
		case 1:
			md.cur.layout = layoutWord(raid10Near, len(s.dev), false)
		default:
			return false
		}
	}
	md.newArray = false
	md.resync = maxSector
	for _, i := range s.args.rebuild {
		s.dev[i].inSync, s.dev[i].faulty, s.dev[i].recovery = false, false, 0
		md.resync = 0
		md.newArray = true // the bitmap is made
	}
	for _, l := range s.dev {
		l.newOffset = newOffset
	}
	return true
}

// renumber is __reorder_raid_disk_indexes.
func (s *set) renumber() {
	i := 0
	for _, l := range s.dev {
		if l.listed() {
			l.disk, l.saved = i, -1
			i++
		}
	}
}

// prepareReshape is rs_prepare_reshape.
func (s *set) prepareReshape() error {
	md := &s.md
	real := true
	switch {
	case md.cur.level == 10:
		near := nearCopies(md.cur.layout)
		if len(s.dev) != md.disks && isNear(md.cur.layout) && s.copies != near {
			// More or fewer copies in each group: a rebuild.
			if len(s.dev)%s.copies != 0 {
				return refuse(dmtest.EINVAL, "Can't reshape raid10 mirror groups")
			}
			s.renumber()
			md.cur.layout = layoutWord(raid10Near, s.copies, false)
			md.next.layout = md.cur.layout
			real = false
		}
	case maxDegraded(md.cur.level) > 0:
	case md.cur.level == 1:
		if s.delta != 0 {
			md.degraded = max(s.delta, -s.delta)
		} else {
			md.disks = len(s.dev)
			real = false
		}
	default:
		return refuse(dmtest.EINVAL, "Called with bogus raid type")
	}
	if real {
		s.reshaping, s.updateSBs = true, true
	} else if md.disks < len(s.dev) {
		s.updateSBs = true
	}
	return nil
}

// adjustOffsets is rs_adjust_data_offsets.
func (s *set) adjustOffsets() error {
	md := &s.md
	var offset, newOffset uint64
	if s.args.given[keyDataOffset] {
		first := s.dev[0]
		switch {
		case s.delta < 0:
			newOffset = s.offset
		case s.delta > 0:
			offset = s.offset
		default:
			if s.offset != 0 {
				offset = first.offset
			}
			if offset == 0 {
				newOffset = s.offset
			}
			s.updateSBs = true
		}
		if s.offset != 0 && first.data != nil && first.data.Sectors()-md.devSectors < minReshapeSpace {
			if offset != 0 {
				return refuse(dmtest.ENOSPC, "No space for forward reshape")
			}
			return refuse(dmtest.ENOSPC, "No space for backward reshape")
		}
	} else if maxDegraded(md.cur.level) > 0 || md.cur.level == 10 && !isFar(md.next.layout) {
		return nil
	}
	if md.resync < md.devSectors {
		md.resync += s.dev[0].offset
	}
	for _, l := range s.dev {
		if l.listed() {
			l.offset, l.newOffset = offset, newOffset
		}
	}
	return nil
}
