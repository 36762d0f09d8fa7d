// SPDX-License-Identifier: MIT

package raidtest

import (
	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// shape is what a reshape or a takeover changes but for the number of legs.
type shape struct{ level, layout, chunk int }

// array is what the double keeps of struct mddev and of the private part of
// its personality.
type array struct {
	disks     int   // raid_disks
	cur, next shape // level, layout, chunk_sectors, and new_…
	delta     int   // delta_disks
	backwards bool  // reshape_backwards
	reshape   uint64

	resync       uint64 // recovery_cp
	resyncMin    uint64
	resyncMax    uint64 // resync_max_sectors
	devSectors   uint64
	arraySectors uint64
	degraded     int
	geo, prev    geometry

	events      uint64
	canDecrease bool
	changeDevs  bool // MD_SB_CHANGE_DEVS
	changeClean bool // MD_SB_CHANGE_CLEAN
	clean       bool // in_sync
	readOnly    bool // ro
	persistent  bool
	newArray    bool // MD_ARRAY_FIRST_USE
	hasBitmap   bool // bitmap_info.offset
	region      uint64
	daemonSleep int // jiffies
	writeBehind int

	// The bits of recovery, and what the sync thread does.
	frozen, needed, intr, requested, checking, syncing, recovering, waiting bool

	sync       *run
	completed  uint64 // curr_resync_completed
	mismatches uint64
	lastAction string
	fullSync   bool // a bitmap does not limit the next recovery
	running    bool // the personality is there
	broken     bool // MD_BROKEN
}

func (m *array) redundant() bool { return m.cur.level != 0 }

// maxDegraded is how many legs a parity level can lose.
func maxDegraded(level int) int {
	switch level {
	case 6:
		return 2
	case 4, 5:
		return 1
	}
	return 0
}

// member is the leg at a position of the array, or nil.
func (s *set) member(i int) *leg {
	for _, l := range s.dev {
		if l.in && l.disk == i {
			return l
		}
	}
	return nil
}

// countDegraded is calc_degraded of the personalities.
func (s *set) countDegraded() {
	m := &s.md
	count := func(disks int) (n int) {
		for i := range disks {
			if l := s.member(i); l == nil || l.faulty || !l.inSync {
				n++
			}
		}
		return n
	}
	m.degraded = count(m.geo.disks)
	if m.reshape != maxSector && m.cur.level != 1 {
		m.degraded = max(m.degraded, count(m.prev.disks))
	}
}

// run is md_run and the run method of the personality. The error is the errno.
func (s *set) run() error {
	m := &s.md
	m.needed, m.intr, m.requested, m.checking, m.syncing, m.recovering = false, false, false, false, false, false
	m.completed = 0
	m.resyncMax = m.devSectors
	listed := 0
	for _, l := range s.dev {
		if l.listed() {
			listed++
		}
	}
	if listed == 0 {
		return dmtest.EINVAL
	}
	m.setGeometry()
	for _, l := range s.dev {
		l.in = l.listed() && l.disk >= 0 && l.disk < max(m.geo.disks, m.prev.disks)
	}
	var err error
	switch m.cur.level {
	case 0:
		err = s.runRaid0()
	case 1:
		err = s.runRaid1()
	case 4, 5, 6:
		err = s.runParity()
	case 10:
		err = s.runRaid10()
	default:
		err = dmtest.EINVAL
	}
	if err == nil {
		m.arraySectors = s.size()
		if m.hasBitmap && m.redundant() {
			err = s.createBitmap()
		}
	}
	m.running = err == nil
	return err
}

// setGeometry works out where things lie now, and before a reshape.
func (m *array) setGeometry() {
	m.geo = newGeometry(m.next, m.disks, m.devSectors)
	m.prev = m.geo
	if m.reshape != maxSector {
		m.prev = newGeometry(m.cur, m.disks-m.delta, m.devSectors)
	} else if m.cur.level != 10 {
		m.geo = newGeometry(m.cur, m.disks, m.devSectors)
		m.prev = m.geo
	}
}

func (s *set) runRaid0() error {
	m := &s.md
	if m.cur.chunk == 0 {
		return dmtest.EINVAL
	}
	for i := range m.disks {
		if l := s.member(i); l == nil || l.faulty {
			return dmtest.EINVAL
		}
	}
	return nil
}

func (s *set) runRaid1() error {
	m := &s.md
	if m.reshape != maxSector {
		return dmtest.EIO
	}
	s.countDegraded()
	if m.disks-m.degraded < 1 {
		return dmtest.EINVAL
	}
	if m.disks-m.degraded == 1 {
		m.resync = maxSector
	}
	for i := range m.disks {
		if l := s.member(i); l != nil && !l.inSync && l.saved < 0 {
			m.fullSync = true
		}
	}
	return nil
}

// validParity is algorithm_valid_raid5 and algorithm_valid_raid6.
func validParity(level, layout int) bool {
	in := func(from, to int) bool { return layout >= from && layout <= to }
	if level == 6 {
		return in(0, parityN) || in(8, 10) || in(layoutLA6, layoutP06)
	}
	return in(0, parityN)
}

// onlyParity says whether a position holds parity in all stripes.
func onlyParity(disk int, g *geometry) bool {
	lost := maxDegraded(g.level)
	switch {
	case g.layout == 4:
		return disk < lost
	case g.layout == parityN:
		return disk >= g.disks-lost
	case g.layout == layoutP06:
		return disk == 0 || disk == g.disks-1
	case g.layout >= layoutLA6 && g.layout <= layoutRS6:
		return disk == g.disks-1
	}
	return false
}

func (s *set) runParity() error {
	m := &s.md
	chunk := m.next.chunk
	switch {
	case !validParity(m.next.level, m.next.layout):
		return dmtest.EIO
	case m.next.level == 6 && m.disks < 4:
		return dmtest.EINVAL
	case chunk == 0 || chunk%pageSector != 0 || chunk&(chunk-1) != 0:
		return dmtest.EINVAL
	case s.journal != nil && m.hasBitmap:
		return dmtest.EINVAL
	}
	if m.reshape != maxSector {
		if m.next.level != m.cur.level {
			return dmtest.EINVAL
		}
		unit := uint64(max(m.cur.chunk, m.next.chunk) * (m.disks - maxDegraded(m.cur.level)))
		if m.reshape%unit != 0 {
			return dmtest.EINVAL
		}
	}
	dirtyParity := 0
	for i := range m.geo.disks {
		l := s.member(i)
		if l == nil || l.inSync {
			continue
		}
		if l.saved != i {
			m.fullSync = true
		}
		if onlyParity(i, &m.geo) && onlyParity(i, &m.prev) {
			dirtyParity++
		}
	}
	s.countDegraded()
	if m.degraded > maxDegraded(m.cur.level) {
		return dmtest.EIO
	}
	m.devSectors &^= uint64(m.cur.chunk) - 1
	m.resyncMax = m.devSectors
	m.setGeometry()
	if m.degraded > dirtyParity && m.resync != maxSector {
		return dmtest.EIO
	}
	return nil
}

func (s *set) runRaid10() error {
	m := &s.md
	g := &m.geo
	if !g.valid || g.copies() < 2 || g.copies() > m.disks {
		return dmtest.EINVAL
	}
	if m.reshape != maxSector && (!m.prev.valid || m.prev.copies() != g.copies() || isFar(m.next.layout) || isFar(m.cur.layout)) {
		return dmtest.EIO
	}
	if !s.enough(-1) {
		return dmtest.EIO
	}
	for i := range g.disks {
		if l := s.member(i); l != nil && !l.inSync && l.saved < 0 {
			m.fullSync = true
		}
	}
	s.countDegraded()
	m.devSectors = g.devSectors
	m.resyncMax = s.size()
	return nil
}

// enough says whether each chunk of a raid10 has a copy in sync without the
// leg at a position.
func (s *set) enough(without int) bool {
	for _, g := range []*geometry{&s.md.geo, &s.md.prev} {
		for first := 0; ; {
			found := false
			for n := range g.copies() {
				at := (first + n) % g.disks
				if l := s.member(at); at != without && l != nil && l.inSync {
					found = true
				}
			}
			if !found {
				return false
			}
			if first = (first + g.near) % g.disks; first == 0 {
				break
			}
		}
	}
	return true
}

// size is the size method of the personality: sectors of the array.
func (s *set) size() uint64 {
	m := &s.md
	switch m.cur.level {
	case 0:
		return (m.devSectors &^ (uint64(m.cur.chunk) - 1)) * uint64(m.disks)
	case 1:
		return m.devSectors
	case 10:
		g := m.geo
		g.disks = min(m.geo.disks, m.prev.disks)
		return g.arraySectors()
	}
	leg := m.devSectors &^ (uint64(m.geo.chunk) - 1) &^ (uint64(m.prev.chunk) - 1)
	return leg * uint64(min(m.geo.disks, m.prev.disks)-maxDegraded(m.cur.level))
}

// fail is md_error: a leg does not do what it is told.
func (s *set) fail(l *leg) {
	m := &s.md
	if l.faulty || !m.running || !m.redundant() {
		return
	}
	last := false
	switch m.cur.level {
	case 1:
		last = l.inSync && m.disks-m.degraded == 1
	case 10:
		last = l.inSync && !s.enough(l.disk)
	}
	if last {
		m.broken = true
	} else {
		l.inSync = false
		l.faulty = true
		m.changeDevs = true
		s.countDegraded()
		m.broken = m.broken || maxDegraded(m.cur.level) > 0 && m.degraded > maxDegraded(m.cur.level)
	}
	m.intr = true
	if m.degraded > 0 && !m.broken {
		m.recovering = true
	}
	if !m.broken {
		m.needed = true
	}
	s.events++
}
