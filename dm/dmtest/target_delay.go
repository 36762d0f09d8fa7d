// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// delay is dm-delay.c. Flushes do not exist in the double, so that the third
// class is only printed.
type delay struct {
	classes [3]delayClass // read, write, flush
	given   int           // how many of them were in the table

	mu   sync.Mutex
	free chan struct{} // closed while nothing may be delayed
}

type delayClass struct {
	area
	wait uint32 // milliseconds
	ops  int    // delayed now
}

func delayTarget(newer bool) Target {
	t := Target{Name: "delay", Version: [3]uint32{1, 3, 0}, Autoload: true, New: newDelay}
	if newer {
		t.Version[1] = 4
	}
	return t
}

func newDelay(a *Args) (Instance, error) {
	n := len(a.Argv)
	if n != 3 && n != 6 && n != 9 {
		return nil, a.Fail(EINVAL, "Requires exactly 3, 6 or 9 arguments")
	}
	d := &delay{given: n / 3, free: make(chan struct{})}
	for i := range d.classes {
		argv := a.Argv[3*min(i, d.given-1):]
		start, ok := scanSector(argv[1])
		if !ok {
			return nil, a.Fail(EINVAL, "Invalid device sector")
		}
		wait, ok := scanUint(argv[2])
		if !ok {
			return nil, a.Fail(EINVAL, "Invalid delay")
		}
		dev, err := a.Open(argv[0])
		if err != nil {
			return nil, withText(err, "Device lookup failed")
		}
		d.classes[i] = delayClass{area: area{dev, start, a.Length}, wait: wait}
	}
	return d, nil
}

func (d *delay) Devices() []Area {
	var list []Area
	for _, c := range d.classes {
		list = append(list, c.Devices()...)
	}
	return list
}

func (d *delay) Table() string {
	var parts []string
	for _, c := range d.classes[:d.given] {
		parts = append(parts, fmt.Sprintf("%s %d", c.area, c.wait))
	}
	return strings.Join(parts, " ")
}

func (d *delay) Status(bool) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprintf("%d %d %d", d.classes[0].ops, d.classes[1].ops, d.classes[2].ops)
}

func (d *delay) hold(dir direction) {
	c := &d.classes[0]
	if dir != reading {
		c = &d.classes[1]
	}
	d.mu.Lock()
	free := d.free
	c.ops++
	d.mu.Unlock()
	if c.wait > 0 {
		timer := time.NewTimer(time.Duration(c.wait) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-free:
		}
	}
	d.mu.Lock()
	c.ops--
	d.mu.Unlock()
}

func (d *delay) ReadSectors(p []byte, sector uint64) error {
	return d.classes[0].ReadSectors(p, sector)
}

func (d *delay) WriteSectors(p []byte, sector uint64) error {
	return d.classes[1].WriteSectors(p, sector)
}

func (d *delay) DiscardSectors(sector, n uint64) error {
	return d.classes[1].DiscardSectors(sector, n)
}

// Presuspend lets go of all that is delayed.
func (d *delay) Presuspend() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.free:
	default:
		close(d.free)
	}
}

func (d *delay) Resume() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.free:
		d.free = make(chan struct{})
	default:
	}
}

func (d *delay) PresuspendUndo() { d.Resume() }
