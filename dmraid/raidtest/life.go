// SPDX-License-Identifier: MIT

package raidtest

import (
	"slices"
	"time"

	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// Preresume is raid_preresume.
func (s *set) Preresume() error {
	s.lock()
	defer s.unlock()
	if s.preresumed {
		return nil
	}
	s.preresumed = true
	md := &s.md
	if s.updateSBs {
		s.rewriteSupers()
	}
	if md.cur.level != 0 && !s.loaded {
		s.loaded = true
		if !s.bitmap.load() {
			s.log("Failed to load bitmap")
			return &dmtest.CtorError{Errno: dmtest.EIO, Text: "Failed to load bitmap"}
		}
	}
	if s.grow {
		md.arraySectors, md.devSectors = s.wantSize, s.wantLeg
		s.setLegSectors()
		s.regrow()
	}
	if s.bitmap != nil && (s.grow || s.asked != 0 && md.region != s.asked) {
		region := md.region
		if s.asked != 0 {
			region = s.asked
		}
		s.bitmap.resize(md.devSectors, region)
	}
	md.frozen = true
	if md.resync != 0 && md.resync < maxSector {
		md.requested = true
		md.resyncMin = md.resync
		if s.grow {
			md.resyncMax = md.devSectors
		}
	}
	if s.reshaping {
		s.setLegSectors()
		if err := s.startReshape(); err != nil {
			s.a.Kernel().Log("raid", "Failed to check/start reshape, continuing without change")
		}
	}
	return nil
}

// regrow gives the personality the new size.
func (s *set) regrow() {
	md := &s.md
	if maxDegraded(md.cur.level) > 0 || md.cur.level == 0 {
		md.devSectors &^= uint64(md.cur.chunk) - 1
	}
	md.setGeometry()
}

// rewriteSupers is rs_update_sbs.
func (s *set) rewriteSupers() {
	md := &s.md
	readOnly := md.readOnly
	md.changeDevs = true
	md.readOnly = false
	s.updateSuper(true)
	md.readOnly = readOnly
}

// Resume is raid_resume.
func (s *set) Resume() {
	s.lock()
	defer s.unlock()
	md := &s.md
	if s.resumed {
		s.revive()
	}
	s.resumed = true
	if !s.suspended {
		return
	}
	s.suspended = false
	md.frozen = false
	md.readOnly = false
	md.clean = false
	md.needed = true
	if s.m.kernel.AtLeast(6, 12) && slices.ContainsFunc(s.dev, func(l *leg) bool { return !l.listed() }) {
		// Later kernels tell the other legs at once that one is gone.
		md.changeDevs = true
	}
	s.thread()
}

// revive is attempt_restore_of_faulty_devices: legs that failed are taken back
// if their superblocks can be read.
func (s *set) revive() {
	md := &s.md
	if !md.redundant() {
		return
	}
	var back failedLegs
	found := false
	for i, l := range s.dev {
		if !l.faulty || !l.listed() || l.meta == nil || !s.readSuper(l, true) {
			continue
		}
		s.log("Faulty %s device #%d has readable super block.  Attempting to revive it.", s.typ.name, i)
		was := *l
		l.inSync = false
		if l.disk >= 0 {
			l.in = false
		} else {
			l.disk, l.saved = i, i
		}
		l.faulty = false
		if !s.hotAdd(l) {
			*l = was
			l.disk, l.saved, l.in = -1, -1, false
			continue
		}
		l.inSync, l.recovery = false, 0
		back.set(i)
		found = true
	}
	if !found {
		return
	}
	md.broken = false
	s.countDegraded()
	for _, l := range s.dev {
		if l.sb == nil {
			continue
		}
		f := l.sb.failed()
		for i := range f {
			f[i] &^= back[i]
		}
		l.sb.putFailed(f)
	}
}

// hotAdd is the hot_add_disk method of the personalities.
func (s *set) hotAdd(l *leg) bool {
	md := &s.md
	at := l.disk
	if at < 0 {
		if at = l.saved; at < 0 || s.member(at) != nil {
			for at = 0; at < md.disks && s.member(at) != nil; at++ {
			}
		}
	}
	if at >= md.disks || s.member(at) != nil {
		return false
	}
	if maxDegraded(md.cur.level) > 0 {
		l.inSync = false
		md.fullSync = md.fullSync || l.saved != at
	} else if l.saved < 0 {
		md.fullSync = true
	}
	l.disk, l.in = at, true
	return true
}

// Postsuspend is raid_postsuspend.
func (s *set) Postsuspend() {
	s.lock()
	defer s.unlock()
	if s.suspended {
		return
	}
	s.suspended = true
	if !s.md.frozen {
		s.stopWrites()
	}
}

// stopWrites is __md_stop_writes.
func (s *set) stopWrites() {
	md := &s.md
	md.frozen = true
	if md.sync != nil {
		s.finish(true)
	}
	s.stopTimer()
	if s.loaded {
		s.bitmap.clean()
	}
	// md_bitmap_flush ends so whatever the state of the array is: an array
	// that was loaded and never ran writes its bitmap too, and one whose
	// table was replaced does so behind its successor.
	s.bitmap.writeSuper()
	if md.readOnly {
		return
	}
	if !md.clean || md.changeDevs || md.changeClean {
		md.clean = true
		s.updateSuper(true)
	}
}

// Destroy is raid_dtr.
func (s *set) Destroy() {
	s.lock()
	if s.md.running {
		s.stopWrites()
	}
	s.destroyed = true
	s.unlock()
	s.m.remove(s)
}

func (s *set) stopTimer() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// startTimer lets md's thread look some time after a write.
func (s *set) startTimer() {
	_, held, delay := s.m.held()
	switch {
	case held:
	case s.timer == nil:
		s.timer = time.AfterFunc(delay, func() {
			if _, held, _ := s.m.held(); held {
				return
			}
			s.lock()
			s.daemon()
			s.unlock()
		})
	default:
		s.timer.Reset(delay)
	}
}

// daemon is md's thread some time after a write: the array is clean again.
func (s *set) daemon() {
	md := &s.md
	if s.destroyed || s.suspended || md.readOnly || !md.redundant() {
		return
	}
	s.bitmap.clean()
	if !md.clean && md.persistent {
		md.clean, md.changeClean = true, true
	}
	s.thread()
}

// writeStart is md_write_start: before the first write the array is marked as
// no longer clean.
func (s *set) writeStart() {
	md := &s.md
	if md.clean && md.redundant() {
		md.clean = false
		md.changeClean = true
		s.thread()
	}
}

// Devices are the areas that raid_iterate_devices names.
func (s *set) Devices() []dmtest.Area {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []dmtest.Area
	for _, l := range s.dev {
		if l.listed() {
			list = append(list, dmtest.Area{Dev: l.data, Length: s.md.devSectors})
		}
	}
	return list
}
