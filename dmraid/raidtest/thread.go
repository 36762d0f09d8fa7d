// SPDX-License-Identifier: MIT

package raidtest

// The actions that a run does, as the status line has them.
const (
	actIdle    = "idle"
	actFrozen  = "frozen"
	actResync  = "resync"
	actRecover = "recover"
	actCheck   = "check"
	actRepair  = "repair"
	actReshape = "reshape"
)

// run is a sync thread: what it does and how far it is, in the sectors that
// md_do_sync counts.
type run struct {
	action  string
	at, max uint64
}

// thread is md_check_recovery: md's thread writes superblocks that changed,
// takes failed legs out and spares in, and starts what is to be done.
func (s *set) thread() {
	md := &s.md
	for {
		if s.suspended || s.destroyed || !md.running || !md.redundant() {
			return
		}
		if !md.changeDevs && !md.changeClean && !md.needed {
			return
		}
		if md.changeDevs || md.changeClean {
			s.updateSuper(false)
		}
		if md.sync != nil {
			if md.intr {
				s.finish(true)
				continue
			}
			md.needed = false
			return
		}
		md.completed = 0
		md.intr = false
		needed := md.needed
		md.needed = false
		if !needed || md.frozen || !s.choose() {
			md.recovering = false
			if md.changeDevs || md.changeClean {
				continue
			}
			return
		}
		s.start()
		if md.sync != nil {
			s.spawn()
			return
		}
	}
}

// choose finds out what is to be done; false is nothing.
func (s *set) choose() bool {
	md := &s.md
	if md.reshape != maxSector {
		if s.checkReshape() != nil {
			return false
		}
		md.recovering = false
		return true
	}
	// Later kernels resync before they rebuild a leg (md_choose_sync_action).
	if s.m.kernel.AtLeast(6, 12) && md.resync < maxSector {
		md.syncing, md.recovering = true, false
		return true
	}
	if s.spares() > 0 {
		md.syncing, md.checking, md.requested = false, false, false
		md.recovering = true
		return true
	}
	if md.resync < maxSector {
		md.syncing, md.recovering = true, false
		return true
	}
	return md.syncing
}

// spares is remove_and_add_spares: the number of legs to be recovered.
func (s *set) spares() (n int) {
	md := &s.md
	for _, l := range s.dev {
		// A position that the array does not have is left, too.
		if l.listed() && l.disk >= 0 && (l.faulty || !l.in) {
			l.in = false
			l.saved, l.disk = l.disk, -1
			md.changeDevs = true
		}
	}
	for _, l := range s.dev {
		switch {
		case !l.listed() || l.faulty:
		case l.disk >= 0:
			if !l.inSync && l.in {
				n++
			}
		default:
			l.recovery = 0
			if s.hotAdd(l) {
				l.inSync = false
				n++
				md.changeDevs = true
			}
		}
	}
	return n
}

// start begins a run: the head of md_do_sync.
func (s *set) start() {
	md := &s.md
	r := &run{}
	switch {
	case md.reshape != maxSector:
		r.action, r.max, md.lastAction = actReshape, md.resyncMax, actReshape
		r.at = s.reshapeAt()
	case md.syncing:
		switch {
		case md.checking:
			r.action = actCheck
		case md.requested:
			r.action = actRepair
		default:
			r.action = actResync
		}
		md.lastAction = r.action
		r.max = md.resyncMax
		md.mismatches = 0
		if md.requested {
			r.at = md.resyncMin
		} else if s.bitmap == nil {
			r.at = md.resync
		}
	default:
		r.action, md.lastAction = actRecover, "recovery"
		r.max, r.at = md.devSectors, maxSector
		for _, l := range s.dev {
			if l.in && !l.faulty && !l.inSync {
				r.at = min(r.at, l.recovery)
			}
		}
	}
	md.sync = r
	md.completed = r.at
}

// spawn lets a run go on in the background, unless a test holds it.
func (s *set) spawn() {
	held, _, _ := s.m.held()
	if held || s.stepping || s.md.sync == nil || s.md.waiting {
		return
	}
	s.stepping = true
	go func() {
		const portion = 2048 // sectors between two looks of others
		for {
			s.lock()
			held, _, _ := s.m.held()
			if s.md.sync == nil || held || s.suspended || s.destroyed {
				s.stepping = false
				s.unlock()
				return
			}
			s.step(portion)
			s.unlock()
		}
	}()
}

// step lets the run go on by n sectors.
func (s *set) step(n uint64) {
	md := &s.md
	r := md.sync
	if r == nil || s.suspended || s.destroyed || md.waiting {
		return
	}
	end := r.max
	if n < r.max-min(r.at, r.max) {
		end = r.at + n
	}
	for r.at < end && !md.intr {
		if r.action == actReshape {
			if !s.reshapeStep(r) {
				md.intr = true
			}
			continue
		}
		r.at = min(r.at+s.syncUnit(r), r.max)
		s.checkpoint(r)
	}
	switch {
	case md.intr:
		s.finish(true)
		s.thread()
	case r.at >= r.max:
		s.finish(false)
		s.thread()
	default:
		md.completed = r.at
	}
}

// checkpoint notes in the superblocks how far a run is, sixteen times.
func (s *set) checkpoint(r *run) {
	md := &s.md
	if r.at-min(md.completed, r.at) <= r.max>>4 || r.at >= r.max {
		return
	}
	s.bitmap.endSync(r.at, false)
	md.completed = r.at
	if r.action != actRecover && r.at > md.resync {
		md.resync = r.at
	}
	md.changeClean = true
	s.updateSuper(false)
}

// finish ends a run: the tail of md_do_sync, and md_reap_sync_thread.
func (s *set) finish(interrupted bool) {
	md := &s.md
	r := md.sync
	if !interrupted && r.action != actReshape {
		md.completed = r.at
	}
	if interrupted {
		s.bitmap.endSync(r.at, true)
	} else {
		s.bitmap.endSync(maxSector, false)
		md.fullSync = false
	}
	switch r.action {
	case actResync, actRepair:
		if !interrupted {
			md.resync = maxSector
		} else if r.at >= md.resync {
			md.resync = r.at
		}
	case actRecover:
		for _, l := range s.dev {
			if l.in && !l.faulty && !l.inSync && md.delta >= 0 {
				if !interrupted {
					l.recovery = maxSector
				} else if r.at > 2 {
					l.recovery = max(l.recovery, r.at)
				}
			}
		}
	}
	md.changeDevs = true
	if md.requested {
		md.resyncMin = 0
		if interrupted {
			md.resyncMin = md.completed
		}
	}
	s.reap(interrupted)
}

// reap is md_reap_sync_thread.
func (s *set) reap(interrupted bool) {
	md := &s.md
	if !interrupted && !md.requested && md.degraded != md.disks {
		for _, l := range s.dev {
			if l.in && !l.faulty && !l.inSync && l.recovery == maxSector {
				l.inSync = true
			}
		}
		s.countDegraded()
	}
	reshape := md.sync.action == actReshape
	md.sync = nil
	if reshape && !interrupted {
		s.finishReshape()
	}
	if md.degraded == 0 {
		for _, l := range s.dev {
			l.saved = -1
		}
	}
	s.updateSuper(true)
	if reshape && md.cur.level == 10 && md.reshape == maxSector {
		s.setLegSectors() // do_table_event
	}
	md.syncing, md.requested, md.checking = false, false, false
	md.needed = true
	s.events++
}
