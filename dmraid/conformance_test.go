// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// conformanceCases run against the double and against real kernels.
var conformanceCases = []conformanceCase{
	{"CreateEveryType", testCreateEveryType},
	{"CreateRefuses", testCreateRefuses},
	{"FailAndMerge", testFailAndMerge},
	{"DiskFailsAndRevives", testDiskFailsAndRevives},
	{"Replace", testReplace},
	{"ReplaceDead", testReplaceDead},
	{"AddAndRemove", testAddAndRemove},
	{"Scrub", testScrub},
	{"Messages", testMessages},
	{"SplitWriteMerge", testSplitWriteMerge},
	{"MergeRefuses", testMergeRefuses},
	{"Resize", testResize},
	{"ReshapeLayout", testReshapeLayout},
	{"ReshapeAdd", testReshapeAdd},
	{"ReshapeSwap", testReshapeSwap},
	{"ReshapeTake", testReshapeTake},
	{"Takeover", testTakeover},
	{"Tune", testTune},
	{"StopAndAssemble", testStopAndAssemble},
	{"PowerCut", testPowerCut},
	{"Watch", testWatch},
}

// arraySectors fits all numbers of legs that are used.
const arraySectors = dm.Sectors(12288)

// shapes are all types with a number of legs.
func shapes() (list []dmraid.Table) {
	for _, typ := range dmraid.Types() {
		n := max(typ.MinLegs(), 3)
		if vmtest.RaceDetector && typ.IsRAID456() && typ != dmraid.RAID5LS && typ != dmraid.RAID6ZR {
			continue
		}
		switch typ.Level() {
		case 10:
			for _, f := range []dmraid.Format{"", dmraid.FormatOffset, dmraid.FormatFar} {
				if typ == dmraid.RAID10 {
					list = append(list, dmraid.Table{Type: typ, ChunkSize: 64, Format: f, RegionSize: 512, Legs: make([]dmraid.Leg, 4)})
				}
			}
			continue
		case 1:
			list = append(list, dmraid.Table{Type: typ, RegionSize: 512, Legs: make([]dmraid.Leg, n)})
			continue
		case 6:
			n = 5
		}
		t := dmraid.Table{Type: typ, ChunkSize: 64, Legs: make([]dmraid.Leg, n)}
		if typ.Redundant() {
			t.RegionSize = 512
		}
		list = append(list, t)
	}
	return list
}

func (e *env) withLegs(t *testing.T, table dmraid.Table) dmraid.Table {
	t.Helper()
	table.Legs = e.newLegs(t, len(table.Legs))
	return table
}

func mirror(n int) dmraid.Table {
	return dmraid.Table{Type: dmraid.RAID1, RegionSize: 512, Legs: make([]dmraid.Leg, n)}
}

func raid5(typ dmraid.Type, n int) dmraid.Table {
	return dmraid.Table{Type: typ, ChunkSize: 64, RegionSize: 512, Legs: make([]dmraid.Leg, n)}
}

func describe(t dmraid.Table) string {
	return fmt.Sprintf("%s%s-%d", t.Type, t.Format, len(t.Legs))
}

// each runs a test with an env of its own for each shape.
func (e *env) each(t *testing.T, list []dmraid.Table, f func(*testing.T, *env, dmraid.Table)) {
	t.Helper()
	for _, s := range list {
		// What Linux 6.12 does to far copies is a trap; see MergeLeg.
		if s.Format == dmraid.FormatFar && e.kernel.AtLeast(6, 12) {
			continue
		}
		t.Run(describe(s), func(t *testing.T) {
			inner := &env{driver: e.driver, c: e.driver.open(t), prefix: fmt.Sprintf("rf%d-", serial.Add(1))}
			defer inner.cleanUp(t)
			f(t, inner, inner.withLegs(t, s))
		})
	}
}

func testCreateEveryType(t *testing.T, e *env) {
	e.each(t, shapes(), func(t *testing.T, e *env, table dmraid.Table) {
		a, data := e.live(t, table, arraySectors)
		e.clean(t, a, data)
		s := e.state(t, a)
		if s.Table.Type != table.Type || len(s.Table.Legs) != len(table.Legs) || s.Length != arraySectors {
			t.Errorf("%s", s.Table)
		}
		if s.Health.NeverSynced || s.Health.Spare < 0 {
			t.Errorf("%+v", s.Health)
		}
		if table.Type.Redundant() {
			for i, l := range s.Legs {
				if l.Meta != dmraid.MetaValid || int(l.Super.ArrayPosition) != i || l.Super.ArrayResync != dmraid.MaxSector {
					t.Errorf("leg %d: %+v", i, l)
				}
			}
			e.consistent(t, a)
		}
		e.do(t, a, dmraid.Stop{Retries: 10})
		if _, err := e.c.Info(t.Context(), a.Dev()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the array is still there: %v", err)
		}
	})
}

func testCreateRefuses(t *testing.T, e *env) {
	legs := e.newLegs(t, 2)
	base := dmraid.Table{Type: dmraid.RAID1, Legs: legs}
	for _, tt := range []struct {
		change func(*dmraid.NewArray)
		want   error
		says   string
	}{
		{func(n *dmraid.NewArray) { n.Table.Sync = dmraid.SyncForce }, dmraid.ErrTrap, "does not sync"},
		{func(n *dmraid.NewArray) { n.Table.Sync = dmraid.SyncNone }, dmraid.ErrTrap, "nosync"},
		{func(n *dmraid.NewArray) { n.Table.Legs = []dmraid.Leg{legs[0], {}} }, dmraid.ErrTrap, "all its legs"},
		{func(n *dmraid.NewArray) { n.Table.Legs = []dmraid.Leg{{Data: legs[0].Data}, {Data: legs[1].Data}} }, dmraid.ErrTrap, "without metadata"},
		{func(n *dmraid.NewArray) { n.Table.Legs = []dmraid.Leg{legs[0], {Data: legs[1].Data}} }, dmraid.ErrTable, "either all legs"},
		{func(n *dmraid.NewArray) { n.Table.Legs = []dmraid.Leg{legs[0], legs[0]} }, dmraid.ErrTable, ""},
		{func(n *dmraid.NewArray) { n.Table.Rebuild = []int{1} }, dmraid.ErrTable, "nothing to rebuild"},
		{func(n *dmraid.NewArray) { n.Length = 2 * legSectors }, dmraid.ErrTable, "needs"},
		{func(n *dmraid.NewArray) { n.Table.RegionSize = 3 }, dmraid.ErrTable, ""},
	} {
		n := dmraid.NewArray{Name: e.name("r"), Table: base, Length: 8192, Force: true}
		tt.change(&n)
		_, err := dmraid.PlanCreate(t.Context(), e.c, n, e.opts...)
		wantErr(t, err, tt.want, tt.says)
	}
	// Equal legs are taken without a sync, with and without metadata.
	for _, meta := range []bool{true, false} {
		n := dmraid.NewArray{Name: e.name("r"), Table: base, Length: 8192, Force: true, Equal: true}
		if !meta {
			n.Table.Legs = []dmraid.Leg{{Data: legs[0].Data}, {Data: legs[1].Data}}
		}
		p, err := dmraid.PlanCreate(t.Context(), e.c, n, e.opts...)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Run(t.Context(), linuxblock.RunOptions{}); err != nil {
			t.Fatal(err)
		}
		a := e.openArray(t)
		e.idle(t, a) // later kernels look busy for a moment
		if s := e.state(t, a); s.Health.Condition != dmraid.Clean || !s.Health.NeverSynced {
			t.Errorf("%s: %s", s.Status, s.Health)
		}
		e.do(t, a, dmraid.Stop{Retries: 10})
	}
}

// redundant are shapes that can lose a leg, one of each kind.
func redundant() []dmraid.Table {
	return []dmraid.Table{mirror(2), mirror(3), raid5(dmraid.RAID4, 3), raid5(dmraid.RAID5LS, 4), raid5(dmraid.RAID6ZR, 5),
		{Type: dmraid.RAID10, ChunkSize: 64, RegionSize: 512, Legs: make([]dmraid.Leg, 4)},
		{Type: dmraid.RAID10, ChunkSize: 64, RegionSize: 512, Format: dmraid.FormatFar, Legs: make([]dmraid.Leg, 4)}}
}

// A leg that is taken out, written past and given back at once.
func testFailAndMerge(t *testing.T, e *env) {
	e.each(t, redundant(), func(t *testing.T, e *env, table dmraid.Table) {
		a, data := e.live(t, table, arraySectors)
		e.do(t, a, dmraid.FailLeg{Leg: 1})
		s := e.state(t, a)
		if s.Health.Condition != dmraid.Degraded || !slices.Equal(s.Health.Missing, []int{1}) {
			t.Errorf("%s: %s", s.Status, s.Health)
		}
		if !s.Legs[0].Super.Failed(1) {
			t.Error("not recorded")
		}
		copy(data[1<<20:], pattern(1<<20, 77))
		e.write(t, a.Dev().String(), data[1<<20:2<<20], 1<<20)
		e.holds(t, a, data)
		e.do(t, a, dmraid.MergeLeg{Leg: 1, With: table.Legs[1]})
		e.clean(t, a, data)
		e.consistent(t, a)
	})
}

func testDiskFailsAndRevives(t *testing.T, e *env) {
	e.each(t, redundant(), func(t *testing.T, e *env, table dmraid.Table) {
		a, data := e.live(t, table, arraySectors)
		e.failDisk(t, 1, true)
		copy(data[1<<20:], pattern(1<<20, 78))
		e.write(t, a.Dev().String(), data[1<<20:2<<20], 1<<20)
		s := e.state(t, a)
		if s.Health.Condition != dmraid.Degraded || !slices.Equal(s.Health.Dead, []int{1}) {
			t.Errorf("%s: %s", s.Status, s.Health)
		}
		wantErr(t, a.Run(t.Context(), dmraid.Revive{}, linuxblock.RunOptions{}), dmraid.ErrState, "can't be read yet")
		e.failDisk(t, 1, false)
		e.do(t, a, dmraid.Revive{})
		e.clean(t, a, data)
		e.consistent(t, a)
	})
}

func testReplace(t *testing.T, e *env) {
	e.each(t, redundant(), func(t *testing.T, e *env, table dmraid.Table) {
		a, data := e.live(t, table, arraySectors)
		fresh := e.leg(t)
		e.do(t, a, dmraid.ReplaceLegs{Legs: map[int]dmraid.Leg{0: fresh}, Force: true})
		s := e.state(t, a)
		if len(s.Table.Rebuild) != 0 || s.Table.Legs[0] != fresh {
			t.Errorf("the table is %s", s.Table)
		}
		e.clean(t, a, data)
		e.consistent(t, a)
		// The same device again: it is made anew.
		e.do(t, a, dmraid.ReplaceLegs{Legs: map[int]dmraid.Leg{0: fresh}, Force: true})
		e.clean(t, a, data)
		e.consistent(t, a)
		if len(table.Legs) == 2 {
			err := a.Run(t.Context(), dmraid.ReplaceLegs{Legs: map[int]dmraid.Leg{0: table.Legs[0], 1: fresh}, Force: true}, linuxblock.RunOptions{})
			wantErr(t, err, dmraid.ErrDegraded, "too few legs")
		}
	})
}

func testReplaceDead(t *testing.T, e *env) {
	e.each(t, redundant(), func(t *testing.T, e *env, table dmraid.Table) {
		a, data := e.live(t, table, arraySectors)
		e.failDisk(t, 1, true)
		copy(data[1<<20:], pattern(1<<20, 78))
		e.write(t, a.Dev().String(), data[1<<20:2<<20], 1<<20)
		e.do(t, a, dmraid.ReplaceLegs{Legs: map[int]dmraid.Leg{1: e.leg(t)}, Force: true})
		e.clean(t, a, data)
		e.consistent(t, a)
	})
}

func testAddAndRemove(t *testing.T, e *env) {
	table := e.withLegs(t, mirror(2))
	a, data := e.live(t, table, arraySectors)
	two := e.newLegs(t, 2)
	e.do(t, a, dmraid.AddLegs{Legs: two, Force: true})
	e.clean(t, a, data)
	s := e.state(t, a)
	if len(s.Table.Legs) != 4 || s.Status.Devices != 4 || len(s.Table.Rebuild) != 0 {
		t.Errorf("%s, %s", s.Table, s.Status)
	}
	e.equalLegs(t, s.Table.Legs, len(data))
	e.do(t, a, dmraid.RemoveLegs{Legs: []int{0, 2}})
	e.clean(t, a, data)
	s = e.state(t, a)
	if !slices.Equal(s.Table.Legs, []dmraid.Leg{table.Legs[1], two[1]}) || s.Status.Devices != 2 {
		t.Errorf("%s, %s", s.Table, s.Status)
	}
	if b := e.read(t, table.Legs[0].Meta, 0, 4096); !bytes.Equal(b, make([]byte, 4096)) {
		t.Error("the superblock of a removed leg is still there")
	}
	copy(data, pattern(1<<16, 5))
	e.write(t, a.Dev().String(), data[:1<<16], 0)
	e.equalLegs(t, s.Table.Legs, len(data))
	e.consistent(t, a)
	wantErr(t, a.Run(t.Context(), dmraid.RemoveLegs{Legs: []int{0, 1}}, linuxblock.RunOptions{}), dmraid.ErrDegraded, "too few")
	wantErr(t, a.Run(t.Context(), dmraid.RemoveLegs{Legs: []int{2}}, linuxblock.RunOptions{}), dmraid.ErrTable, "no leg 2")
}

func testScrub(t *testing.T, e *env) {
	e.each(t, redundant(), func(t *testing.T, e *env, table dmraid.Table) {
		a, data := e.live(t, table, arraySectors)
		e.consistent(t, a)
		// Past the array, on the last leg.
		last := len(table.Legs) - 1
		e.write(t, table.Legs[last].Data, pattern(8192, 99), 1<<20)
		want := map[int]dm.Sectors{1: 128, 10: 64}[table.Type.Level()]
		if table.Type.IsRAID456() {
			want = 16
		}
		calls := 0
		opts := dmraid.ScrubOptions{Repair: true, Progress: func(dmraid.Progress) { calls++ }}
		r, err := a.Scrub(t.Context(), opts)
		if err != nil || r.Found != want || !r.Repaired || r.Left != 0 || calls == 0 {
			t.Errorf("%+v, %v, %d calls; want %d found", r, err, calls, want)
		}
		e.consistent(t, a)
		if table.Type.Level() == 1 {
			e.holds(t, a, data)
		}
	})
}

func testMessages(t *testing.T, e *env) {
	a, _ := e.live(t, e.withLegs(t, mirror(2)), arraySectors)
	ctx := t.Context()
	for _, m := range []dmraid.Message{dmraid.MessageResync, dmraid.MessageRecover, dmraid.MessageIdle} {
		if err := a.Send(ctx, m); err != nil {
			t.Errorf("%s: %v", m, err)
		}
		e.idle(t, a)
	}
	if e.kernel.AtLeast(6, 9) {
		wantErr(t, a.Send(ctx, dmraid.MessageFrozen), errors.ErrUnsupported, "begin again")
		e.idle(t, a)
		e.do(t, a, dmraid.Stop{Retries: 10})
		return
	}
	if err := a.Send(ctx, dmraid.MessageFrozen); err != nil {
		t.Fatal(err)
	}
	s := e.state(t, a)
	if s.Status.Action != dmraid.ActionFrozen || s.Health.Condition != dmraid.Clean || !s.Health.Frozen {
		t.Errorf("%s: %s", s.Status, s.Health)
	}
	_, err := a.WaitIdle(ctx, dmraid.WatchOptions{Interval: 1e6})
	wantErr(t, err, dmraid.ErrState, "frozen")
	if err := a.Send(ctx, dmraid.MessageCheck); err != nil {
		t.Error(err)
	}
	e.idle(t, a)
	e.do(t, a, dmraid.Stop{Retries: 10})
}

// The trap: what was written while a leg was away must reach it, however soon
// it comes back.
func testSplitWriteMerge(t *testing.T, e *env) {
	table := e.withLegs(t, mirror(2))
	a, data := e.live(t, table, arraySectors)
	for i := range e.tries {
		n := i % 2
		e.do(t, a, dmraid.SplitLeg{Leg: n})
		at := (i % 5) << 20
		copy(data[at:at+1<<20], pattern(1<<20, byte(i+3)))
		e.write(t, a.Dev().String(), data[at:at+1<<20], int64(at))
		e.do(t, a, dmraid.MergeLeg{Leg: n, With: table.Legs[n]})
		e.idle(t, a)
		e.equalLegs(t, table.Legs, len(data))
	}
	e.clean(t, a, data)
	e.consistent(t, a)
}

func testMergeRefuses(t *testing.T, e *env) {
	table := e.withLegs(t, mirror(3))
	a, _ := e.live(t, table, arraySectors)
	ctx := t.Context()
	run := func(op dmraid.Operation) error { return a.Run(ctx, op, linuxblock.RunOptions{}) }
	wantErr(t, run(dmraid.MergeLeg{Leg: 1, With: e.leg(t)}), dmraid.ErrTable, "is taken")
	if err := run(dmraid.MergeLeg{Leg: 1, With: table.Legs[1]}); err != nil {
		t.Errorf("a leg that is there already: %v", err)
	}
	e.do(t, a, dmraid.SplitLeg{Leg: 1})
	wantErr(t, run(dmraid.MergeLeg{Leg: 1, With: dmraid.Leg{Data: table.Legs[1].Data}}), dmraid.ErrTable, "without metadata")
	wantErr(t, run(dmraid.MergeLeg{Leg: 1, With: e.leg(t)}), dmraid.ErrForeign, "no superblock")
	wantErr(t, run(dmraid.MergeLeg{Leg: 3, With: table.Legs[1]}), dmraid.ErrTable, "no leg 3")
	e.do(t, a, dmraid.FailLeg{Leg: 2})
	wantErr(t, run(dmraid.MergeLeg{Leg: 1, With: table.Legs[2]}), dmraid.ErrMixed, "is leg 2")
	wantErr(t, run(dmraid.FailLeg{Leg: 0}), dmraid.ErrDegraded, "too few legs")
	e.do(t, a, dmraid.MergeLeg{Leg: 2, With: table.Legs[2]})
	e.idle(t, a)
	e.do(t, a, dmraid.MergeLeg{Leg: 1, With: table.Legs[1]})
	e.idle(t, a)
	e.equalLegs(t, table.Legs, int(arraySectors.Bytes()))
}

func testResize(t *testing.T, e *env) {
	e.each(t, redundant(), func(t *testing.T, e *env, table dmraid.Table) {
		a, data := e.live(t, table, arraySectors/2)
		if table.Format == dmraid.FormatFar {
			wantErr(t, a.Run(t.Context(), dmraid.Resize{Length: arraySectors}, linuxblock.RunOptions{}), dmraid.ErrTrap, "second copies")
			return
		}
		wantErr(t, a.Run(t.Context(), dmraid.Resize{Length: 1 << 20}, linuxblock.RunOptions{}), dmraid.ErrTable, "needs")
		e.do(t, a, dmraid.Resize{Length: arraySectors})
		e.clean(t, a, data)
		more := pattern(int((arraySectors / 2).Bytes()), 9)
		e.write(t, a.Dev().String(), more, int64(len(data)))
		data = append(data, more...)
		e.holds(t, a, data)
		e.consistent(t, a)
		wantErr(t, a.Run(t.Context(), dmraid.Resize{Length: arraySectors / 2}, linuxblock.RunOptions{}), dmraid.ErrTrap, "cut off")
		e.do(t, a, dmraid.Resize{Length: arraySectors / 2, Shrink: true})
		e.clean(t, a, data[:len(data)/2])
		e.consistent(t, a)
	})
}

// Layout and chunk change, with the data moving to and fro.
func testReshapeLayout(t *testing.T, e *env) {
	for _, tt := range []struct {
		from dmraid.Table
		to   []dmraid.StartReshape
	}{
		{raid5(dmraid.RAID5LS, 4), []dmraid.StartReshape{{Type: dmraid.RAID5N}, {Chunk: 128}, {Type: dmraid.RAID4}}},
		{raid5(dmraid.RAID6ZR, 5), []dmraid.StartReshape{{Type: dmraid.RAID6NC, Chunk: 32}, {Type: dmraid.RAID6LS6}}},
		{dmraid.Table{Type: dmraid.RAID10, ChunkSize: 64, RegionSize: 512, Legs: make([]dmraid.Leg, 4)}, []dmraid.StartReshape{{Chunk: 128}}},
	} {
		e.each(t, []dmraid.Table{tt.from}, func(t *testing.T, e *env, table dmraid.Table) {
			a, data := e.live(t, table, arraySectors)
			for i, r := range tt.to {
				e.do(t, a, r)
				e.clean(t, a, data)
				s := e.state(t, a)
				if want := dm.Sectors(2048 * (1 - i%2)); s.Status.DataOffset != want {
					t.Errorf("the data begin at %d, want %d", s.Status.DataOffset, want)
				}
				if r.Type != "" && s.Table.Type != r.Type || r.Chunk != 0 && s.Table.ChunkSize != r.Chunk {
					t.Errorf("%+v: %s", r, s.Table)
				}
				e.consistent(t, a)
			}
		})
	}
}

// Legs are added where the data have moved out of the way before.
func testReshapeAdd(t *testing.T, e *env) {
	e.each(t, []dmraid.Table{raid5(dmraid.RAID5LS, 3), raid5(dmraid.RAID6ZR, 5)}, func(t *testing.T, e *env, table dmraid.Table) {
		a, data := e.live(t, table, arraySectors)
		more := e.leg(t)
		wantErr(t, a.Run(t.Context(), dmraid.StartReshape{Add: []dmraid.Leg{more}, Force: true}, linuxblock.RunOptions{}), dmraid.ErrState, "no room before")
		e.do(t, a, dmraid.StartReshape{Chunk: 128})
		e.clean(t, a, data)
		e.do(t, a, dmraid.StartReshape{Add: []dmraid.Leg{more}, Force: true})
		e.clean(t, a, data)
		e.do(t, a, dmraid.Finish{})
		e.clean(t, a, data)
		s := e.state(t, a)
		want := arraySectors / dm.Sectors(len(table.Legs)-table.Type.Parity()) * dm.Sectors(len(table.Legs)+1-table.Type.Parity())
		if s.Length != want || s.Status.Devices != len(table.Legs)+1 || s.Status.DataOffset != 0 {
			t.Errorf("%d sectors, %s", s.Length, s.Status)
		}
		tail := pattern(int((want - arraySectors).Bytes()), 6)
		e.write(t, a.Dev().String(), tail, int64(len(data)))
		e.holds(t, a, append(data, tail...))
		e.consistent(t, a)
	})
}

// Legs are added to an array whose devices get room in front on the way.
func testReshapeSwap(t *testing.T, e *env) {
	table := e.withLegs(t, raid5(dmraid.RAID5LS, 3))
	a, data := e.live(t, table, arraySectors)
	var swaps []dmraid.Swap
	for i := range table.Legs {
		// Room from the end of the disk, and behind it what was there.
		swaps = append(swaps, dmraid.Swap{Ref: e.name(fmt.Sprintf("data%d", i)), Table: dm.Table{}.
			Append(2048, dm.Linear{Device: e.disks[i], Offset: 40000}).
			Append(legSectors-2048, dm.Linear{Device: e.disks[i], Offset: metaSectors})})
	}
	e.do(t, a, dmraid.StartReshape{Add: e.newLegs(t, 1), Swaps: swaps, Room: 2048, Force: true})
	e.clean(t, a, data)
	e.do(t, a, dmraid.Finish{})
	e.clean(t, a, data)
	if s := e.state(t, a); s.Length != arraySectors/2*3 || s.Status.Devices != 4 {
		t.Errorf("%d sectors, %s", s.Length, s.Status)
	}
	e.consistent(t, a)
}

func testReshapeTake(t *testing.T, e *env) {
	table := e.withLegs(t, raid5(dmraid.RAID5LS, 4))
	a, data := e.live(t, table, arraySectors)
	wantErr(t, a.Run(t.Context(), dmraid.StartReshape{Take: 1}, linuxblock.RunOptions{}), dmraid.ErrTrap, "cut off")
	e.do(t, a, dmraid.StartReshape{Take: 1, Shrink: true})
	e.idle(t, a)
	e.do(t, a, dmraid.Finish{})
	data = data[:len(data)/3*2]
	e.clean(t, a, data)
	if s := e.state(t, a); s.Length != arraySectors/3*2 || len(s.Table.Legs) != 3 || s.Status.Devices != 3 {
		t.Errorf("%d sectors, %s, %s", s.Length, s.Table, s.Status)
	}
	e.consistent(t, a)
}

func testTakeover(t *testing.T, e *env) {
	for _, tt := range []struct {
		name string
		from dmraid.Table
		to   []dmraid.Takeover
		add  []int
	}{
		{"raid5_ls-raid6_ls_6-raid5_ls", raid5(dmraid.RAID5LS, 4), []dmraid.Takeover{{Type: dmraid.RAID6LS6}, {Type: dmraid.RAID5LS, Take: 1}}, []int{1, 0}},
		{"raid5_n-raid6_n_6", raid5(dmraid.RAID5N, 3), []dmraid.Takeover{{Type: dmraid.RAID6N6}}, []int{1}},
		{"raid0-raid5_n-raid0", dmraid.Table{Type: dmraid.RAID0, ChunkSize: 64, Legs: make([]dmraid.Leg, 2)}, []dmraid.Takeover{{Type: dmraid.RAID5N}, {Type: dmraid.RAID0, Take: 1}}, []int{1, 0}},
		{"raid1-raid5_ls-raid1", mirror(2), []dmraid.Takeover{{Type: dmraid.RAID5LS, Chunk: 64}, {Type: dmraid.RAID1}}, []int{0, 0}},
		{"raid1-raid10", mirror(2), []dmraid.Takeover{{Type: dmraid.RAID10, Copies: 2, Chunk: 64}}, []int{0}},
		{"raid10-raid1", dmraid.Table{Type: dmraid.RAID10, ChunkSize: 64, RegionSize: 512, Legs: make([]dmraid.Leg, 2)}, []dmraid.Takeover{{Type: dmraid.RAID1}}, []int{0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inner := &env{driver: e.driver, c: e.driver.open(t), prefix: fmt.Sprintf("rf%d-", serial.Add(1))}
			defer inner.cleanUp(t)
			a, data := inner.live(t, inner.withLegs(t, tt.from), arraySectors)
			for i, k := range tt.to {
				k.Add, k.Force = inner.newLegs(t, tt.add[i]), true
				inner.do(t, a, k)
				inner.clean(t, a, data)
				s := inner.state(t, a)
				if s.Status.Type != k.Type || s.Table.Type != k.Type || s.Length != arraySectors {
					t.Errorf("%d sectors, %s, %s", s.Length, s.Status, s.Table)
				}
				if k.Type.Redundant() {
					inner.consistent(t, a)
				}
			}
		})
	}
}

func testTune(t *testing.T, e *env) {
	a, data := e.live(t, e.withLegs(t, mirror(2)), arraySectors)
	region, rate, mostly := dm.Sectors(1024), int64(5000), []int{1}
	e.do(t, a, dmraid.Tune{RegionSize: &region, MaxRecoveryRate: &rate, WriteMostly: &mostly})
	s := e.state(t, a)
	if s.Table.RegionSize != 1024 || s.Table.MaxRecoveryRate != 5000 || !slices.Equal(s.Table.WriteMostly, mostly) {
		t.Errorf("%s", s.Table)
	}
	e.clean(t, a, data)
	none := []int{}
	e.do(t, a, dmraid.Tune{WriteMostly: &none})
	if s := e.state(t, a); len(s.Table.WriteMostly) != 0 || s.Table.RegionSize != 1024 {
		t.Errorf("%s", s.Table)
	}
	e.clean(t, a, data)
	e.consistent(t, a)
}

func testStopAndAssemble(t *testing.T, e *env) {
	e.each(t, redundant(), func(t *testing.T, e *env, table dmraid.Table) {
		a, data := e.live(t, table, arraySectors)
		e.do(t, a, dmraid.Stop{Wait: true, Retries: 10})
		assemble := func(table dmraid.Table) *dmraid.Array {
			t.Helper()
			p, err := dmraid.PlanAssemble(t.Context(), e.c, dmraid.Assemble{Name: e.name("r"), Table: table, Length: arraySectors}, e.opts...)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Run(t.Context(), linuxblock.RunOptions{}); err != nil {
				t.Fatal(err)
			}
			return e.openArray(t)
		}
		a = assemble(table)
		e.clean(t, a, data)
		e.do(t, a, dmraid.Stop{Retries: 10})

		// A leg that was away while the others went on is rebuilt or brought up
		// to date, also when an old superblock does not say that it was.
		meta := e.read(t, table.Legs[1].Meta, 0, 4096)
		less := table
		less.Legs = slices.Clone(table.Legs)
		less.Legs[1] = dmraid.Leg{}
		a = assemble(less)
		copy(data, pattern(1<<20, 88))
		e.write(t, a.Dev().String(), data[:1<<20], 0)
		e.do(t, a, dmraid.Stop{Retries: 10})
		e.write(t, table.Legs[1].Meta, meta, 0)
		a = assemble(table)
		e.clean(t, a, data)
		e.consistent(t, a)
		e.do(t, a, dmraid.Stop{Retries: 10})
	})
}

// An array that was not stopped calls itself clean, and its bitmap knows better.
// Its legs are put back to what they were at such a moment.
func testPowerCut(t *testing.T, e *env) {
	e.each(t, redundant(), func(t *testing.T, e *env, table dmraid.Table) {
		a, data := e.live(t, table, arraySectors)
		copy(data[1<<20:], pattern(1<<18, 66))
		e.write(t, a.Dev().String(), data[1<<20:1<<20+1<<18], 1<<20)
		// The power goes for all legs at one moment, in which none is more than
		// an event ahead. Superblocks that were read one by one can be.
		var metas, blocks [][]byte
		for try := 0; len(metas) == 0; try++ {
			lowest, highest := ^uint64(0), uint64(0)
			for _, l := range table.Legs {
				p := e.read(t, l.Meta, 0, 16384)
				sb, err := dmraid.DecodeSuperblock(p[:dmraid.SuperblockSize])
				if err != nil {
					t.Fatal(err)
				}
				lowest, highest = min(lowest, sb.Events), max(highest, sb.Events)
				metas = append(metas, p)
			}
			bitmap, err := dmraid.DecodeBitmap(metas[0][dmraid.BitmapOffset:])
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := bitmap.Dirty(); n == 0 { // too late: md has cleared it
				e.write(t, a.Dev().String(), data[1<<20:1<<20+1<<18], 1<<20)
				metas = nil
			} else if highest-lowest > 1 {
				metas = nil
			}
			if try > 50 {
				t.Fatal("the superblocks never rest")
			}
		}
		for _, l := range table.Legs {
			blocks = append(blocks, e.read(t, l.Data, 0, 8<<20))
		}
		e.do(t, a, dmraid.Stop{Retries: 10})
		for i, l := range table.Legs {
			e.write(t, l.Meta, metas[i], 0)
			e.write(t, l.Data, blocks[i], 0)
		}
		// The write had not reached the last leg yet; its first chunk lies at
		// 1 MiB of the array.
		last := table.Legs[len(table.Legs)-1].Data
		at := int64(1<<20) / int64(max(1, len(table.Legs)-table.Type.Parity()))
		switch table.Type.Level() {
		case 1:
			at = 1 << 20
		case 10:
			at = 1 << 19
		}
		e.write(t, last, pattern(16384, 200), at&^0xffff+32768)
		p, err := dmraid.PlanAssemble(t.Context(), e.c, dmraid.Assemble{Name: e.name("r"), Table: table, Length: arraySectors}, e.opts...)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Steps) != len(table.Legs)+1 {
			t.Errorf("%s", p)
		}
		if err := p.Run(t.Context(), linuxblock.RunOptions{}); err != nil {
			t.Fatal(err)
		}
		a = e.openArray(t)
		e.idle(t, a)
		if s := e.state(t, a); s.Health.Condition != dmraid.Clean {
			t.Errorf("%s: %s", s.Status, s.Health)
		}
		e.consistent(t, a)
	})
}

func testWatch(t *testing.T, e *env) {
	table := e.withLegs(t, mirror(2))
	a, _ := e.live(t, table, arraySectors)
	e.do(t, a, dmraid.FailLeg{Leg: 0})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen []string
	for p, err := range a.Watch(ctx, dmraid.WatchOptions{Interval: 5e6}) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			break
		}
		if len(seen) == 0 {
			e.do(t, a, dmraid.MergeLeg{Leg: 0, With: table.Legs[0]})
		}
		if c := p.Health.Condition.String(); len(seen) == 0 || seen[len(seen)-1] != c {
			seen = append(seen, c)
		}
		if p.Health.Condition == dmraid.Clean {
			cancel()
		}
	}
	if s := strings.Join(seen, " "); !strings.HasPrefix(s, "degraded") || !strings.HasSuffix(s, "clean") {
		t.Errorf("seen: %s", s)
	}
	e.do(t, a, dmraid.Stop{Retries: 10})
	for _, err := range a.Watch(t.Context(), dmraid.WatchOptions{}) {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("of an array that is gone: %v", err)
		}
	}
}
