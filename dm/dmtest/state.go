// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"strings"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// DeviceState is a snapshot of a device, for assertions.
type DeviceState struct {
	Name, UUID   string
	Major, Minor uint32
	Size         uint64 // sectors
	Suspended    bool
	ReadOnly     bool
	Deferred     bool   // goes with its last close
	Active       string // table as dmsetup prints it, a line a target; empty without
	Inactive     string
	OpenCount    int
	EventNr      uint32
	Geometry     [4]uint64 // cylinders, heads, sectors, start
}

// Devices is a snapshot of all devices, in the order of LIST_DEVICES.
func (k *Kernel) Devices() []DeviceState {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []DeviceState
	for _, d := range k.sortedDevices() {
		s := DeviceState{
			Name: d.name, UUID: d.uuid, Major: k.major, Minor: d.minor, Size: d.size,
			Suspended: d.suspended, ReadOnly: d.readOnly, Deferred: d.deferred,
			OpenCount: d.openCount, EventNr: d.eventNr, Geometry: d.geometry,
		}
		s.Active = d.tableText(func() *table { return d.live })
		s.Inactive = d.tableText(func() *table { return d.next })
		list = append(list, s)
	}
	return list
}

// Device is the snapshot of one device.
func (k *Kernel) Device(name string) (DeviceState, bool) {
	for _, s := range k.Devices() {
		if s.Name == name {
			return s, true
		}
	}
	return DeviceState{}, false
}

// tableText prints a table. Called with mu held, which it gives up for the
// targets.
func (d *device) tableText(get func() *table) string {
	t := get()
	if t == nil {
		return ""
	}
	t.refs++
	var b strings.Builder
	d.unlocked(func() {
		for _, ti := range t.targets {
			fmt.Fprintf(&b, "%d %d %s %s\n", ti.start, ti.length, ti.typ.Name, ti.text(dmwire.StatusTable))
		}
	})
	t.refs--
	d.k.broadcast()
	return b.String()
}

// Leftovers says in a line each what a test should not leave: devices, and
// whether they are suspended, hold an inactive table or are open.
func (k *Kernel) Leftovers() []string {
	var list []string
	for _, s := range k.Devices() {
		line := fmt.Sprintf("device %s (%d:%d) remains", s.Name, s.Major, s.Minor)
		if s.Suspended {
			line += ", suspended"
		}
		if s.Inactive != "" {
			line += ", with an inactive table"
		}
		if s.OpenCount > 0 {
			line += fmt.Sprintf(", open %d times", s.OpenCount)
		}
		list = append(list, line)
	}
	return list
}

// TB is the part of testing.TB that AssertClean needs; package testing is
// not imported, to stay out of programs.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
}

// AssertClean fails the test when Leftovers finds any.
func (k *Kernel) AssertClean(t TB) {
	t.Helper()
	for _, l := range k.Leftovers() {
		t.Errorf("dmtest: %s", l)
	}
}

// AssertRunning fails the test when a device is suspended, whatever else
// remains.
func (k *Kernel) AssertRunning(t TB) {
	t.Helper()
	for _, s := range k.Devices() {
		if s.Suspended {
			t.Errorf("dmtest: device %s is suspended", s.Name)
		}
	}
}
