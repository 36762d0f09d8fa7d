// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"strconv"
)

// PathGroupState says what a path group is used for.
type PathGroupState byte

// The states of multipath_status in drivers/md/dm-mpath.c.
const (
	PathGroupActive   PathGroupState = 'A' // carries the I/O
	PathGroupEnabled  PathGroupState = 'E' // may be switched to
	PathGroupDisabled PathGroupState = 'D' // only if no other has a path
)

// String is the letter.
func (s PathGroupState) String() string { return string(rune(s)) }

// PathStatus is one path of a multipath device.
type PathStatus struct {
	Device   string // major:minor
	Failed   bool
	Failures uint32 // how often it failed
	// Selector is what the selector has to say about the path:
	//	queue-length             I/Os in flight
	//	service-time             bytes in flight, relative throughput
	//	historical-service-time  service time, I/Os in flight, time when stale
	//	io-affinity              I/Os from CPUs without a path
	Selector []string
}

// PathGroupStatus is one group of a multipath device.
type PathGroupStatus struct {
	State    PathGroupState
	Selector []string     // what the selector has to say about itself
	Paths    []PathStatus // all with as many words of the selector
}

// MultipathStatus is the status of a multipath target.
type MultipathStatus struct {
	QueueIO bool     // I/O waits for a group to be chosen or initialised
	PGInits uint32   // initialisations of the current group
	Handler []string // what the hardware handler has to say; nothing so far
	Group   uint32   // the current group, or the next one; from 1, 0 without groups
	Groups  []PathGroupStatus
}

// ValidPaths is the number of paths that did not fail.
func (s MultipathStatus) ValidPaths() int {
	n := 0
	for _, g := range s.Groups {
		for _, p := range g.Paths {
			if !p.Failed {
				n++
			}
		}
	}
	return n
}

// ParseMultipathStatus reads "2 0 0 0 2 1 A 0 1 2 1:0 A 0 0 1 E 0 1 1 1:1 F 1 0".
func ParseMultipathStatus(text string) (MultipathStatus, error) {
	r := readArgs(text)
	var s MultipathStatus
	if n := r.group("features"); r.err == nil && n != 2 {
		r.fail("features", fmt.Errorf("%d, want 2", n))
	}
	s.QueueIO = r.oneOf("queue_io", "0", "1") == 1
	s.PGInits = uint32(r.uint("pg_init count", 32))
	s.Handler = r.words("handler status", r.group("handler status words"))
	n := r.uint("groups", 32)
	s.Group = uint32(r.uint("group", 32))
	for i := uint64(0); i < n && r.err == nil; i++ {
		s.Groups = append(s.Groups, parsePathGroupStatus(&r))
	}
	if err := r.end(); err != nil {
		return MultipathStatus{}, badStatus("multipath", err)
	}
	return s, nil
}

func parsePathGroupStatus(r *argReader) PathGroupStatus {
	states := [...]PathGroupState{PathGroupActive, PathGroupEnabled, PathGroupDisabled}
	g := PathGroupStatus{State: states[r.oneOf("group state", "A", "E", "D")]}
	g.Selector = r.words("selector status", r.group("selector status words"))
	paths := r.uint("paths", 32)
	n := r.uint("path status words", 32)
	if r.err == nil && (paths == 0 || paths > uint64(r.left())/(3+n)) {
		r.fail("paths", fmt.Errorf("%d with %d words each announced, %d words given", paths, n, r.left()))
	}
	for i := uint64(0); i < paths && r.err == nil; i++ {
		p := PathStatus{Device: r.device("path"), Failed: r.oneOf("path state", "A", "F") == 1}
		p.Failures = uint32(r.uint("fail count", 32))
		p.Selector = r.words("path status word", int(n))
		g.Paths = append(g.Paths, p)
	}
	return g
}

// String is the kernel's text.
func (s MultipathStatus) String() string {
	queue := "0"
	if s.QueueIO {
		queue = "1"
	}
	args := countedWords([]string{"2", queue, num(s.PGInits)}, s.Handler)
	args = append(args, num(len(s.Groups)), num(s.Group))
	for _, g := range s.Groups {
		args = countedWords(append(args, g.State.String()), g.Selector)
		words := 0
		if len(g.Paths) > 0 {
			words = len(g.Paths[0].Selector)
		}
		args = append(args, num(len(g.Paths)), num(words))
		for _, p := range g.Paths {
			state := "A"
			if p.Failed {
				state = "F"
			}
			args = append(append(args, p.Device, state, num(p.Failures)), p.Selector...)
		}
	}
	return JoinArgs(args...)
}

// Messages to a multipath target. The kernel answers EBUSY while the device is
// suspended. Each raises an event if it changes something, but for the last
// two.
type (
	// FailPath takes a path out of use, as an I/O error on it does.
	FailPath struct{ Device string }
	// ReinstatePath puts a path to use again.
	ReinstatePath struct{ Device string }
	// SwitchGroup has the next I/O use this group, counted from 1, and
	// enables all groups.
	SwitchGroup struct{ Group uint32 }
	// DisableGroup leaves the group alone as long as another has a path.
	DisableGroup struct{ Group uint32 }
	// EnableGroup undoes DisableGroup.
	EnableGroup struct{ Group uint32 }
	// QueueIfNoPath has I/O wait when no path is left.
	QueueIfNoPath struct{}
	// FailIfNoPath has I/O fail when no path is left, also what waits now.
	FailIfNoPath struct{}
)

// TargetType is "multipath".
func (FailPath) TargetType() string      { return "multipath" }
func (ReinstatePath) TargetType() string { return "multipath" }
func (SwitchGroup) TargetType() string   { return "multipath" }
func (DisableGroup) TargetType() string  { return "multipath" }
func (EnableGroup) TargetType() string   { return "multipath" }
func (QueueIfNoPath) TargetType() string { return "multipath" }
func (FailIfNoPath) TargetType() string  { return "multipath" }

// Text is the kernel's word, and the argument.
func (m FailPath) Text() string      { return JoinArgs("fail_path", m.Device) }
func (m ReinstatePath) Text() string { return JoinArgs("reinstate_path", m.Device) }
func (m SwitchGroup) Text() string   { return "switch_group " + num(m.Group) }
func (m DisableGroup) Text() string  { return "disable_group " + num(m.Group) }
func (m EnableGroup) Text() string   { return "enable_group " + num(m.Group) }
func (QueueIfNoPath) Text() string   { return "queue_if_no_path" }
func (FailIfNoPath) Text() string    { return "fail_if_no_path" }

// Validate refuses an empty device, and group 0.
func (m FailPath) Validate() error      { return needDevice(m.Device) }
func (m ReinstatePath) Validate() error { return needDevice(m.Device) }
func (m SwitchGroup) Validate() error   { return needGroup(m.Group) }
func (m DisableGroup) Validate() error  { return needGroup(m.Group) }
func (m EnableGroup) Validate() error   { return needGroup(m.Group) }
func (QueueIfNoPath) Validate() error   { return nil }
func (FailIfNoPath) Validate() error    { return nil }

func needGroup(n uint32) error {
	if n == 0 || n > maxMultipathArgs {
		return errors.New("path group " + strconv.Itoa(int(n)))
	}
	return nil
}
