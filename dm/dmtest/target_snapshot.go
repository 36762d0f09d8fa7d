// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// originGroup is struct origin of dm-snap.c: a device and its snapshots.
type originGroup struct {
	dev uint64

	// io orders what moves chunks: writers of the origin and of its
	// snapshots against readers of snapshots.
	io sync.RWMutex

	mu    sync.Mutex // guards snaps and what is said there
	snaps []*snapshot
}

func (k *Kernel) originGroup(dev uint64) *originGroup {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.origins[dev]
	if g == nil {
		g = &originGroup{dev: dev}
		k.origins[dev] = g
	}
	return g
}

// snapshot is struct dm_snapshot of dm-snap.c, for snapshot and for
// snapshot-merge.
type snapshot struct {
	a               *Args
	merge           bool
	origin, cow     *Dev
	group           *originGroup
	discardZeroes   bool
	discardPassdown bool

	// Guarded by group.mu.
	x      *exceptions
	active bool // was resumed
	failed bool // a merge met an I/O error
	stop   chan struct{}
	done   chan struct{}
}

func snapshotTarget() Target {
	return Target{Name: "snapshot", Version: [3]uint32{1, 16, 0}, Autoload: true, Module: "dm-snapshot", New: newSnapshot}
}

func snapshotMergeTarget() Target {
	return Target{Name: "snapshot-merge", Version: [3]uint32{1, 5, 0}, Autoload: true, Module: "dm-snapshot", New: newSnapshot}
}

func newSnapshot(a *Args) (Instance, error) {
	if len(a.Argv) < 4 {
		return nil, a.Fail(EINVAL, "requires 4 or more arguments")
	}
	s := &snapshot{a: a, merge: a.Type == "snapshot-merge"}
	if text := s.features(a.Argv[4:]); text != "" {
		return nil, a.Fail(EINVAL, text)
	}
	mode := modeRead
	if s.merge {
		mode = modeWrite
	}
	var err error
	if s.origin, err = a.t.open(a.Argv[0], mode); err != nil {
		return nil, withText(err, "Cannot get origin device")
	}
	k := a.Kernel()
	k.mu.Lock()
	cow, errno := k.lookupDev(a.Argv[1])
	k.mu.Unlock()
	if errno == 0 && cow == s.origin.bdev.dev() {
		return nil, a.Fail(EINVAL, "COW device cannot be the same as origin device")
	}
	if s.cow, err = a.Open(a.Argv[1]); err != nil {
		return nil, withText(err, "Cannot get COW device")
	}
	if s.x = newExceptions(a, s.cow, s.origin, a.Argv[2], a.Argv[3]); s.x == nil {
		return nil, a.Fail(EINVAL, "Couldn't create exception store")
	}
	s.group = k.originGroup(s.origin.bdev.dev())
	s.group.mu.Lock()
	handover, text := s.validateHandover()
	if text == "" {
		s.group.snaps = append(s.group.snaps, s)
	}
	s.group.mu.Unlock()
	if text != "" {
		return nil, a.Fail(EINVAL, text)
	}
	if handover {
		// The metadata comes with the resume; until then no chunk size.
		s.x.chunk = 0
		return s, nil
	}
	marked, err := s.x.load(s.origin)
	if err != nil {
		s.Destroy()
		return nil, withText(err, "Failed to read snapshot metadata")
	}
	if marked {
		k.Log(logSnap, "Snapshot is marked invalid.")
		s.x.valid = false
	}
	if s.x.chunk == 0 {
		s.Destroy()
		return nil, a.Fail(EINVAL, "Chunk size not set")
	}
	return s, nil
}

func (s *snapshot) features(argv []string) string {
	if len(argv) == 0 {
		return ""
	}
	n, ok := scanUint(argv[0])
	if !ok || n > 2 || int(n) > len(argv)-1 {
		return "Invalid number of feature arguments"
	}
	for _, f := range argv[1 : 1+n] {
		switch strings.ToLower(f) {
		case "discard_zeroes_cow":
			s.discardZeroes = true
		case "discard_passdown_origin":
			s.discardPassdown = true
		default:
			return "Unrecognised feature requested"
		}
	}
	if !s.discardZeroes && s.discardPassdown {
		return "discard_passdown_origin feature depends on discard_zeroes_cow"
	}
	return ""
}

// sharing is __find_snapshots_sharing_cow: the running and the waiting
// snapshot on the same copy-on-write device. Called with group.mu held.
func (s *snapshot) sharing() (src, dest, merging *snapshot, count int) {
	for _, o := range s.group.snaps {
		if o.merge {
			merging = o
		}
		if o.cow.bdev.dev() != s.cow.bdev.dev() {
			continue
		}
		if o.active {
			src = o
		} else {
			dest = o
		}
		count++
	}
	return src, dest, merging, count
}

// validateHandover is __validate_exception_handover.
func (s *snapshot) validateHandover() (handover bool, text string) {
	src, dest, merging, count := s.sharing()
	switch {
	case count == 2 || dest != nil:
		return false, "Snapshot cow pairing for exception table handover failed"
	case src == nil:
		return false, ""
	case !s.merge:
		return true, ""
	case merging != nil:
		return false, "A snapshot is already merging."
	case !src.x.persistent:
		return false, "Snapshot exception store does not support snapshot-merge."
	}
	return true, ""
}

func (s *snapshot) Preresume() error {
	s.group.mu.Lock()
	src, dest, _, _ := s.sharing()
	s.group.mu.Unlock()
	if src == nil || dest == nil {
		return nil
	}
	k := s.a.Kernel()
	if s == src {
		k.Log(logSnap, "Unable to resume snapshot source until handover completes.")
		return EINVAL
	}
	if !src.a.Suspended() {
		k.Log(logSnap, "Unable to perform snapshot handover until source is suspended.")
		return EINVAL
	}
	return nil
}

func (s *snapshot) Resume() {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if src, dest, _, _ := s.sharing(); src != nil && dest == s {
		s.x, src.x = src.x, s.x
		s.x.mu.Lock()
		s.x.cow = s.cow
		s.x.mu.Unlock()
		src.x.mu.Lock()
		src.x.cow, src.x.valid = src.cow, false
		src.x.mu.Unlock()
	}
	s.active = true
	if s.merge {
		s.startMerge()
	}
}

// Presuspend stops a merge; it goes on at the next resume.
func (s *snapshot) Presuspend() { s.stopMerge() }

func (s *snapshot) PresuspendUndo() {
	if s.merge {
		s.group.mu.Lock()
		defer s.group.mu.Unlock()
		s.startMerge()
	}
}

func (s *snapshot) Destroy() {
	s.stopMerge()
	// Writers that copy into the store end first.
	s.group.io.Lock()
	defer s.group.io.Unlock()
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	s.group.snaps = slices.DeleteFunc(slices.Clone(s.group.snaps), func(o *snapshot) bool { return o == s })
}

// state is the store as it is now.
func (s *snapshot) state() (*exceptions, bool) {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	return s.x, s.failed
}

func (s *snapshot) Devices() []Area {
	return []Area{{s.origin, 0, s.a.Length}, {s.cow, 0, s.cow.Sectors()}}
}

func (s *snapshot) Table() string {
	x, _ := s.state()
	x.mu.Lock()
	defer x.mu.Unlock()
	text := fmt.Sprintf("%s %s %s", s.origin.Name(), s.cow.Name(), x.params())
	switch {
	case s.discardPassdown:
		text += " 2 discard_zeroes_cow discard_passdown_origin"
	case s.discardZeroes:
		text += " 1 discard_zeroes_cow"
	}
	return text
}

func (s *snapshot) Status(bool) string {
	x, failed := s.state()
	x.mu.Lock()
	valid, overflowed := x.valid, x.overflowed
	x.mu.Unlock()
	switch {
	case !valid:
		return "Invalid"
	case failed:
		return "Merge failed"
	case overflowed:
		return "Overflow"
	}
	allocated, total, metadata := x.usage()
	return fmt.Sprintf("%d/%d %d", allocated, total, metadata)
}

func (s *snapshot) IMA() string {
	x, failed := s.state()
	x.mu.Lock()
	defer x.mu.Unlock()
	yn := func(b bool) string {
		if b {
			return "y"
		}
		return "n"
	}
	version := "1.16.0"
	if s.merge {
		version = "1.5.0"
	}
	return fmt.Sprintf("target_name=%s,target_version=%s,snap_origin_name=%s,snap_cow_name=%s,snap_valid=%s,snap_merge_failed=%s,snapshot_overflowed=%s;",
		s.a.Type, version, s.origin.Name(), s.cow.Name(), yn(x.valid), yn(failed), yn(x.overflowed))
}

// snapshotOrigin is the snapshot-origin target: its writes are copied to the
// snapshots first.
type snapshotOrigin struct {
	area
	group *originGroup
}

func snapshotOriginTarget() Target {
	return Target{Name: "snapshot-origin", Version: [3]uint32{1, 9, 0}, Autoload: true, Module: "dm-snapshot", New: func(a *Args) (Instance, error) {
		if len(a.Argv) != 1 {
			return nil, a.Fail(EINVAL, "origin: incorrect number of arguments")
		}
		dev, err := a.Open(a.Argv[0])
		if err != nil {
			return nil, withText(err, "Cannot get target device")
		}
		return &snapshotOrigin{area{dev, 0, a.Length}, a.Kernel().originGroup(dev.bdev.dev())}, nil
	}}
}

func (o *snapshotOrigin) Table() string { return o.dev.Name() }

func (o *snapshotOrigin) WriteSectors(p []byte, sector uint64) error {
	o.group.io.Lock()
	defer o.group.io.Unlock()
	o.group.preserve(nil, sector, uint64(len(p)/sectorSize))
	return o.dev.WriteSectors(p, sector)
}

func (o *snapshotOrigin) DiscardSectors(sector, n uint64) error {
	o.group.io.Lock()
	defer o.group.io.Unlock()
	o.group.preserve(nil, sector, n)
	return o.dev.DiscardSectors(sector, n)
}
