// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/dmraid/raidtest"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// faultCase is an operation, and how the array stands before it.
type faultCase struct {
	name    string
	table   dmraid.Table
	prepare func(t *testing.T, e *env, a *dmraid.Array, table dmraid.Table)
	op      func(t *testing.T, e *env, table dmraid.Table) dmraid.Operation
}

func faultCases() []faultCase {
	split := func(t *testing.T, e *env, a *dmraid.Array, _ dmraid.Table) {
		e.do(t, a, dmraid.FailLeg{Leg: 1})
		e.write(t, a.Dev().String(), pattern(4096, 1)[:4096], 0) // the same data, but dirty
	}
	fixed := func(op dmraid.Operation) func(*testing.T, *env, dmraid.Table) dmraid.Operation {
		return func(*testing.T, *env, dmraid.Table) dmraid.Operation { return op }
	}
	region := dmraid.Sectors(1024)
	return []faultCase{
		{"fail", mirror(2), nil, fixed(dmraid.FailLeg{Leg: 1})},
		{"split", mirror(3), nil, fixed(dmraid.SplitLeg{Leg: 0})},
		{"merge", mirror(2), split, func(_ *testing.T, _ *env, table dmraid.Table) dmraid.Operation {
			return dmraid.MergeLeg{Leg: 1, With: table.Legs[1]}
		}},
		{"merge5", raid5(dmraid.RAID5LS, 3), split, func(_ *testing.T, _ *env, table dmraid.Table) dmraid.Operation {
			return dmraid.MergeLeg{Leg: 1, With: table.Legs[1]}
		}},
		{"replace", mirror(2), nil, func(t *testing.T, e *env, _ dmraid.Table) dmraid.Operation {
			return dmraid.ReplaceLegs{Legs: map[int]dmraid.Leg{1: e.leg(t)}, Force: true}
		}},
		{"replace by itself", raid5(dmraid.RAID5LS, 3), nil, func(_ *testing.T, _ *env, table dmraid.Table) dmraid.Operation {
			return dmraid.ReplaceLegs{Legs: map[int]dmraid.Leg{2: table.Legs[2]}, Force: true}
		}},
		{"add", mirror(2), nil, func(t *testing.T, e *env, _ dmraid.Table) dmraid.Operation {
			return dmraid.AddLegs{Legs: []dmraid.Leg{e.leg(t)}, Force: true}
		}},
		{"remove", mirror(3), nil, fixed(dmraid.RemoveLegs{Legs: []int{1}})},
		{"resize", raid5(dmraid.RAID5LS, 3), nil, fixed(dmraid.Resize{Length: arraySectors * 2})},
		{"reshape", raid5(dmraid.RAID5LS, 3), nil, fixed(dmraid.StartReshape{Type: dmraid.RAID5N})},
		{"reshape take", raid5(dmraid.RAID5LS, 4), nil, fixed(dmraid.StartReshape{Take: 1, Shrink: true})},
		{"takeover", raid5(dmraid.RAID5LS, 3), nil, func(t *testing.T, e *env, _ dmraid.Table) dmraid.Operation {
			return dmraid.Takeover{Type: dmraid.RAID6LS6, Add: []dmraid.Leg{e.leg(t)}, Force: true}
		}},
		{"tune", mirror(2), nil, fixed(dmraid.Tune{RegionSize: &region})},
		{"revive", mirror(2), func(t *testing.T, e *env, a *dmraid.Array, _ dmraid.Table) {
			e.failDisk(t, 1, true)
			e.write(t, a.Dev().String(), pattern(4096, 1)[:4096], 0)
			e.failDisk(t, 1, false)
		}, fixed(dmraid.Revive{})},
		{"stop", mirror(2), nil, fixed(dmraid.Stop{})},
	}
}

// trouble fails the n-th ioctl that changes something, or the n-th write of a
// device.
type trouble struct {
	n     int // counts down; 0 has happened
	armed bool
}

func (f *trouble) strike() bool {
	if !f.armed {
		return false
	}
	f.n--
	return f.n == 0
}

func (f *trouble) ioctl(call *dmtest.Call) error {
	switch call.Command {
	case "DEV_CREATE", "DEV_REMOVE", "DEV_SUSPEND", "TABLE_LOAD", "TABLE_CLEAR", "TABLE_STATUS":
		if f.strike() {
			return dmtest.EIO
		}
	}
	return nil
}

func (f *trouble) write() error {
	if f.strike() {
		return dmtest.EIO
	}
	return nil
}

// Whatever step of a plan fails: no device is left suspended, the array has its
// data, and the operation can be made again, or the array revived.
func TestEveryStepFails(t *testing.T) {
	if vmtest.RaceDetector {
		t.Skip("slow under the race detector, and no other goroutines than in TestDoubleConformance")
	}
	vmtest.NotInVM(t, "on the double")
	t.Parallel()
	for _, tt := range faultCases() {
		for _, kind := range []string{"ioctl", "write"} {
			t.Run(tt.name+" "+kind, func(t *testing.T) {
				for n := 1; ; n++ {
					if !failAt(t, tt, kind, n) || t.Failed() {
						if least := map[string]int{"ioctl": 1}[kind]; n-1 < least {
							t.Errorf("only %d could fail", n-1)
						}
						return
					}
				}
			})
		}
	}
}

// failAt reports whether there was an n-th thing to fail.
func failAt(t *testing.T, tt faultCase, kind string, n int) bool {
	t.Helper()
	d, k, _ := doubleDriver(dmraid.Linux61)
	f := &trouble{}
	if kind == "ioctl" {
		k.Hook(f.ioctl)
	} else {
		d.devices = faultyDevices{raidtest.Devices{Kernel: k}, f.write}
		d.opts = []dmraid.ArrayOption{dmraid.WithDevices(d.devices), dmraid.WithKernel(dmraid.Linux61)}
	}
	e := &env{driver: d, c: d.open(t), prefix: fmt.Sprintf("ft%d-", serial.Add(1))}
	defer e.cleanUp(t)
	length := arraySectors
	table := e.withLegs(t, tt.table)
	a, data := e.live(t, table, length)
	if tt.prepare != nil {
		tt.prepare(t, e, a, table)
	}
	op := tt.op(t, e, table)
	p, err := a.Plan(t.Context(), op)
	if err != nil {
		t.Fatal(err)
	}
	f.n, f.armed = n, true
	err = p.Run(context.Background(), linuxblock.RunOptions{})
	f.armed = false
	struck := f.n <= 0
	where := fmt.Sprintf("%s %d: %v\n%s", kind, n, err, p)

	k.AssertRunning(t)
	for _, s := range k.Devices() {
		if s.Inactive != "" {
			t.Errorf("%s has an inactive table; %s", s.Name, where)
		}
	}
	if _, stop := op.(dmraid.Stop); stop && err == nil {
		return struck
	}
	if r, ok := op.(dmraid.StartReshape); ok && r.Take > 0 {
		data = data[:len(data)/3*2] // the rest goes with the leg
	}
	e.holds(t, a, data)
	if err != nil {
		// Once more: it works now, or there is nothing left to do.
		again(t, e, a, op, where)
	}
	if _, stop := op.(dmraid.Stop); stop {
		return struck
	}
	e.idle(t, a)
	e.do(t, a, dmraid.Finish{})
	e.holds(t, a, data)
	// A leg that is out comes back in the end, and all is well.
	for i, l := range e.state(t, a).Table.Legs {
		if l.Missing() {
			e.do(t, a, dmraid.MergeLeg{Leg: i, With: table.Legs[i]})
			e.idle(t, a)
		}
	}
	e.clean(t, a, data)
	e.consistent(t, a)
	if t.Failed() {
		t.Log(where)
	}
	return struck
}

// again makes an operation a second time, behind a Finish, which the first may
// have left to do.
func again(t *testing.T, e *env, a *dmraid.Array, op dmraid.Operation, where string) {
	t.Helper()
	ctx := context.Background()
	if err := a.Run(ctx, dmraid.Revive{}, linuxblock.RunOptions{}); err != nil {
		t.Errorf("revive: %v; %s", err, where)
	}
	if err := a.Run(ctx, dmraid.Finish{}, linuxblock.RunOptions{}); err != nil {
		t.Errorf("finish: %v; %s", err, where)
	}
	e.idle(t, a)
	if err := a.Run(ctx, op, linuxblock.RunOptions{}); err != nil && !done(e, t, a, op) {
		t.Errorf("again: %v; %s", err, where)
	}
}

// done reports whether an operation that is refused had been made in full.
func done(e *env, t *testing.T, a *dmraid.Array, op dmraid.Operation) bool {
	s := e.state(t, a)
	switch op := op.(type) {
	case dmraid.AddLegs:
		return len(s.Table.Legs) == 3
	case dmraid.RemoveLegs:
		return len(s.Table.Legs) == 2
	case dmraid.Takeover:
		return s.Table.Type == op.Type
	case dmraid.StartReshape:
		return op.Take > 0 && s.Status.Devices == 3 || s.Table.Type == op.Type
	case dmraid.ReplaceLegs:
		for n, l := range op.Legs {
			if s.Table.Legs[n] != l {
				return false
			}
		}
		return true
	case dmraid.SplitLeg:
		return s.Table.Legs[op.Leg].Missing()
	case dmraid.Revive:
		return s.Health.Condition == dmraid.Clean
	}
	return false
}

// A creation that fails leaves no device, and what was on the legs before.
func TestCreateFails(t *testing.T) {
	for _, kind := range []string{"ioctl", "write"} {
		struck := 0
		for n := 1; n == struck+1; n++ {
			d, k, _ := doubleDriver(dmraid.Linux61)
			f := &trouble{}
			if kind == "ioctl" {
				k.Hook(f.ioctl)
			} else {
				d.devices = faultyDevices{raidtest.Devices{Kernel: k}, f.write}
				d.opts = []dmraid.ArrayOption{dmraid.WithDevices(d.devices)}
			}
			e := &env{driver: d, c: d.open(t), prefix: "cr-"}
			table := e.withLegs(t, mirror(3))
			for i, l := range table.Legs {
				e.fill(t, l.Meta, byte(i+1), metaSectors)
			}
			p, err := dmraid.PlanCreate(t.Context(), e.c, dmraid.NewArray{Name: e.name("r"), Table: table, Length: arraySectors}, e.opts...)
			if err != nil {
				t.Fatal(err)
			}
			f.n, f.armed = n, true
			err = p.Run(t.Context(), linuxblock.RunOptions{})
			f.armed = false
			if f.n <= 0 {
				struck = n
			}
			if (err != nil) != (f.n <= 0) {
				t.Errorf("%s %d: %v", kind, n, err)
			}
			if _, there := k.Device("cr-r"); there != (err == nil) {
				t.Errorf("%s %d: %v, and there %v", kind, n, err, there)
			}
			if err != nil {
				for i, l := range table.Legs {
					if got := e.read(t, l.Meta, 0, 8192); got[0] != byte(i+1) || got[8191] != byte(i+1) {
						t.Errorf("%s %d: leg %d was not put back", kind, n, i)
					}
				}
			}
			e.cleanUp(t)
		}
		if struck < 3 {
			t.Errorf("%s: only %d could fail", kind, struck)
		}
	}
}
