// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
)

// A clone serves all data from the first moment on, and in the end without its
// source.
func testClone(t *testing.T, e *env) {
	ctx := context.Background()
	meta, source, dest := e.disks[0], e.disks[1], e.disks[2]
	e.wipe(t, meta, 8)
	src := e.create(t, "src", e.table(t, "0 2048 linear %s 0", source), dm.CreateOptions{})
	dst := e.create(t, "dst", e.table(t, "0 2048 linear %s 0", dest), dm.CreateOptions{})
	defer e.remove(t, src.Dev, dst.Dev)
	data := pattern(1<<20, 5)
	e.writeAt(t, src.Name, data, 0)
	e.writeAt(t, dst.Name, make([]byte, 1<<20), 0)
	tab := func(hydrate bool) dm.Table {
		return dm.Table{}.Append(2048, dm.Clone{
			Metadata: meta, Dest: dst.Dev.String(), Source: src.Dev.String(), RegionSize: 16,
			NoHydration: !hydrate, HydrationThreshold: new(uint32(8)),
		})
	}
	c, err := e.c.Create(ctx, e.name("clone"), tab(false), dm.CreateOptions{})
	if err != nil && strings.Contains(err.Error(), "unknown target type") {
		t.Log("this kernel has no dm-clone")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	status := func() dm.CloneStatus { t.Helper(); return typedStatus[dm.CloneStatus](t, e, c.Dev) }
	s := status()
	if s.Hydrated != 0 || s.Total != 128 || s.RegionSize != 16 || !s.NoHydration || s.HydrationThreshold != 8 || s.HydrationBatchSize != 1 || s.ReadOnly || s.Done() {
		t.Errorf("fresh: %+v", s)
	}
	e.holds(t, c.Name, data, 0)
	if s := status(); s.Hydrated != 0 {
		t.Errorf("read: %+v", s)
	}
	// Part of a region is copied around the write, a whole one is not copied.
	part, whole := pattern(4096, 6), pattern(8192, 7)
	e.writeAt(t, c.Name, part, 4096)
	e.writeAt(t, c.Name, whole, 3*8192)
	copy(data[4096:], part)
	copy(data[3*8192:], whole)
	e.holds(t, c.Name, data, 0)
	e.holds(t, dst.Name, data[:8192], 0)
	if s := status(); s.Hydrated != 2 {
		t.Errorf("written: %+v", s)
	}
	printed, err := e.c.Table(ctx, c.Dev, dm.StatusOptions{})
	if err != nil || blind(printed.Format()) != blind(tab(false).Format()) {
		t.Errorf("table %v, want %v, %v", printed, tab(false), err)
	}
	e.send(t, c.Dev, dm.HydrationBatchSize(4))
	e.send(t, c.Dev, dm.HydrationThreshold(16))
	if s := status(); s.HydrationThreshold != 16 || s.HydrationBatchSize != 4 {
		t.Errorf("set: %+v", s)
	}
	// What was hydrated outlives the table.
	e.reload(t, c.Dev, tab(false))
	if s := status(); s.Hydrated != 2 {
		t.Errorf("loaded again: %+v", s)
	}
	e.send(t, c.Dev, dm.EnableHydration)
	await(t, e, c.Dev, "hydrated", dm.CloneStatus.Done)
	e.send(t, c.Dev, dm.DisableHydration)
	if s := status(); !s.NoHydration {
		t.Errorf("disabled: %+v", s)
	}
	e.holds(t, c.Name, data, 0)
	e.holds(t, dst.Name, data, 0)
	if i := e.info(t, c.Dev); i.EventNr == 0 {
		t.Error("no event at the end")
	}
	e.reload(t, c.Dev, e.table(t, "0 2048 linear %s 0", dst.Dev))
	e.holds(t, c.Name, data, 0)
	e.remove(t, c.Dev)
}
