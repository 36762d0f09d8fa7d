// SPDX-License-Identifier: MIT

package raidtest

import (
	"io/fs"
	"sync"
	"time"

	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
)

// Model is the raid target of one kind of kernel, with the switches by which a
// test decides when its arrays do what they do on their own. It can be plugged
// into several kernels. All methods are safe for concurrent use.
type Model struct {
	kernel dmraid.Kernel

	mu         sync.Mutex
	holdSync   bool
	holdDaemon bool
	delay      time.Duration
	sets       map[*set]bool // those of loaded tables
}

// DaemonDelay is how long after a write md's thread looks at an array:
// DEFAULT_SAFEMODE_DELAY of drivers/md/md.c.
const DaemonDelay = 200 * time.Millisecond

// New makes a model that behaves as the given kernel.
func New(k dmraid.Kernel) *Model {
	return &Model{kernel: k, delay: DaemonDelay, sets: map[*set]bool{}}
}

// Target is the model of a kernel that nobody steers: for dmtest's AddTarget.
func Target(k dmraid.Kernel) dmtest.Target { return New(k).Target() }

// Target is what dmtest's AddTarget takes. The target is loaded with the first
// table that names it, as the module dm-raid is.
func (m *Model) Target() dmtest.Target {
	return dmtest.Target{
		Name: "raid", Version: [3]uint32{1, 15, 1}, Autoload: true, Module: "dm-raid",
		New: func(a *dmtest.Args) (dmtest.Instance, error) {
			s, err := m.newSet(a)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
	}
}

// HoldSync says whether arrays wait for [Model.Step] instead of resyncing,
// recovering, checking, repairing and reshaping on their own. HoldSync(false)
// lets those go on that were held.
func (m *Model) HoldSync(hold bool) {
	m.mu.Lock()
	m.holdSync = hold
	var all []*set
	for s := range m.sets {
		all = append(all, s)
	}
	m.mu.Unlock()
	if hold {
		return
	}
	for _, s := range all {
		s.lock()
		s.spawn()
		s.unlock()
	}
}

// HoldDaemon says whether md's thread waits for [Model.Daemon]. It is what
// marks an array clean some time after a write, and so the first to record in
// the superblocks that a leg is missing; and what clears the bits of the
// bitmap. Otherwise it runs [DaemonDelay] after a write.
func (m *Model) HoldDaemon(hold bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holdDaemon = hold
}

// SetDaemonDelay changes how long after a write md's thread runs.
func (m *Model) SetDaemonDelay(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.delay = d
}

// find gives the arrays in the live table of a device of any of the kernels
// that the model is plugged into.
func (m *Model) find(op, name string) ([]*set, error) {
	m.mu.Lock()
	var all []*set
	for s := range m.sets {
		all = append(all, s)
	}
	m.mu.Unlock()
	var found []*set
	for _, s := range all {
		d, ok := s.a.Kernel().Device(name)
		major, minor := s.a.Dev()
		if ok && d.Major == major && d.Minor == minor && s.live() {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return found, nil
}

// Step lets the arrays of a device sync n more sectors, whatever is under way:
// sectors of a leg, or of the array where md counts in those (raid10, a
// reshape). It reports whether something is still under way behind it.
func (m *Model) Step(name string, n dmraid.Sectors) (more bool, err error) {
	sets, err := m.find("step", name)
	if err != nil {
		return false, err
	}
	for _, s := range sets {
		s.lock()
		s.step(uint64(n))
		more = more || s.md.sync != nil
		s.unlock()
	}
	return more, nil
}

// Daemon runs md's thread once for a device, as it would some time after a
// write: see [Model.HoldDaemon].
func (m *Model) Daemon(name string) error {
	sets, err := m.find("daemon", name)
	if err != nil {
		return err
	}
	for _, s := range sets {
		s.lock()
		s.daemon()
		s.unlock()
	}
	return nil
}

func (m *Model) held() (syncs, daemon bool, delay time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.holdSync, m.holdDaemon, m.delay
}

func (m *Model) add(s *set) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sets[s] = true
}

func (m *Model) remove(s *set) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sets, s)
}
