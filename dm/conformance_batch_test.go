// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
)

// A stack comes up and goes down whatever the order in the batch.
func testBatch(t *testing.T, e *env) {
	ctx := context.Background()
	node := func(s string) string { return "/dev/mapper/" + string(e.name(s)) }
	b := new(dm.Batch)
	b.Create(e.name("top"), e.table(t, "0 512 striped 2 16 %s 0 %s 0", node("left"), node("right")), dm.CreateOptions{})
	b.Create(e.name("right"), e.table(t, "0 256 linear %s 256", node("base")), dm.CreateOptions{})
	b.Create(e.name("left"), e.table(t, "0 256 linear %s 0", node("base")), dm.CreateOptions{ReadOnly: true})
	b.Create(e.name("base"), e.table(t, "0 1024 linear %s 0", e.disks[0]), dm.CreateOptions{UUID: dm.UUID(e.prefix + "u")})
	plan, err := e.c.PlanBatch(ctx, b)
	want := fmt.Sprintf("  1. create %[1]stop after 2, 3\n  2. create %[1]sright after 4\n  3. create %[1]sleft after 4\n  4. create %[1]sbase\n", e.prefix)
	if err != nil || plan.String() != want {
		t.Fatalf("%v\n%vwant\n%v", err, plan, want)
	}
	var told []string
	results, err := e.c.RunBatch(ctx, b, dm.BatchOptions{Progress: func(p linuxblock.Progress) {
		told = append(told, fmt.Sprintf("%d %v", p.Step, p.State))
	}})
	if err != nil || len(results) != 4 || len(told) != 8 || told[0] != "3 started" || told[7] != "0 done" {
		t.Fatalf("%v %v %v", results, err, told)
	}
	for i, r := range results {
		if r.Err != nil || r.State != linuxblock.Done || r.Op != "create" || r.Info != e.info(t, plan[i].Ref) && r.Info.Open == e.info(t, plan[i].Ref).Open {
			t.Errorf("%d: %+v, now %+v", i, r, e.info(t, plan[i].Ref))
		}
	}
	if i := results[3].Info; i.UUID != dm.UUID(e.prefix+"u") {
		t.Errorf("%+v", i)
	}

	// The stack grows: the lower device first, although named by its number.
	base := e.info(t, e.name("base"))
	grow := new(dm.Batch).
		Reload(e.name("right"), e.table(t, "0 2048 linear %v 256", base.Dev), dm.ReloadOptions{}).
		Reload(dm.UUID(e.prefix+"u"), e.table(t, "0 4096 linear %s 0", e.disks[0]), dm.ReloadOptions{})
	if _, err := e.c.RunBatch(ctx, grow, dm.BatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := e.liveTable(t, e.name("right")); !strings.HasPrefix(got, "0 2048 linear ") {
		t.Error(got)
	}

	// One is replaced by another of its name, with a new user.
	again := new(dm.Batch).
		Create(e.name("top"), e.table(t, "0 8 linear %s 0", node("left")), dm.CreateOptions{}).
		Remove(e.name("top"), dm.RemoveOptions{Retries: 20})
	if _, err := e.c.RunBatch(ctx, again, dm.BatchOptions{Parallel: 1}); err != nil {
		t.Fatal(err)
	}

	down := new(dm.Batch)
	for _, n := range []string{"base", "left", "right", "top"} {
		down.Remove(e.name(n), dm.RemoveOptions{Retries: 20})
	}
	results, err = e.c.RunBatch(ctx, down, dm.BatchOptions{})
	if err != nil || results[0].Info.Name != e.name("base") {
		t.Fatal(results, err)
	}
	if list, err := e.c.List(ctx, dm.ListOptions{NamePrefix: e.prefix}); err != nil || len(list) > 0 {
		t.Error(list, err)
	}
	if results, err := e.c.RunBatch(ctx, new(dm.Batch), dm.BatchOptions{}); err != nil || len(results) != 0 {
		t.Error(results, err)
	}
}

// Many at once, with more waiting than are under way.
func testBatchMany(t *testing.T, e *env) {
	ctx := context.Background()
	const n = 64
	create, reload, remove := new(dm.Batch), new(dm.Batch), new(dm.Batch)
	for i := range n {
		name := e.name(fmt.Sprint(i))
		create.Create(name, e.table(t, "0 8 linear %s %d", e.disks[i%2], 8*i), dm.CreateOptions{})
		reload.Reload(name, e.table(t, "0 16 linear %s %d", e.disks[i%2], 8*i), dm.ReloadOptions{})
		remove.Remove(name, dm.RemoveOptions{Retries: 20})
	}
	for _, b := range []*dm.Batch{create, reload, remove} {
		if results, err := e.c.RunBatch(ctx, b, dm.BatchOptions{Parallel: 16}); err != nil || len(results) != n {
			t.Fatal(results, err)
		}
		if b == reload {
			for i := range n {
				if got := e.liveTable(t, e.name(fmt.Sprint(i))); !strings.HasPrefix(got, "0 16 linear ") {
					t.Error(got)
				}
			}
		}
	}
	if list, err := e.c.List(ctx, dm.ListOptions{NamePrefix: e.prefix}); err != nil || len(list) > 0 {
		t.Error(list, err)
	}
}

// What fails keeps its users from being begun, and nothing else.
func testBatchFails(t *testing.T, e *env) {
	ctx := context.Background()
	node := func(s string) string { return "/dev/mapper/" + string(e.name(s)) }
	e.create(t, "taken", nil, dm.CreateOptions{})
	b := new(dm.Batch).
		Create(e.name("good"), e.table(t, "0 8 zero"), dm.CreateOptions{}).
		Create(e.name("taken"), e.table(t, "0 8 zero"), dm.CreateOptions{}).
		Create(e.name("user"), e.table(t, "0 8 linear %s 0", node("taken")), dm.CreateOptions{}).
		Create(e.name("users-user"), e.table(t, "0 8 linear %s 0", node("user")), dm.CreateOptions{})
	results, err := e.c.RunBatch(ctx, b, dm.BatchOptions{})
	wantErr(t, err, fs.ErrExist, "3 of 4 changes failed", "taken")
	if !errors.Is(err, dm.ErrSkipped) || len(results) != 4 {
		t.Fatal(results, err)
	}
	for i, want := range []error{nil, fs.ErrExist, dm.ErrSkipped, dm.ErrSkipped} {
		if !errors.Is(results[i].Err, want) || (results[i].State == linuxblock.Done) != (want == nil) {
			t.Errorf("%d: %+v", i, results[i])
		}
	}
	e.remove(t, e.name("good"), e.name("taken"))
}

// With AllOrNothing everything is as before.
func testBatchAllOrNothing(t *testing.T, e *env) {
	ctx := context.Background()
	node := func(s string) string { return "/dev/mapper/" + string(e.name(s)) }
	e.create(t, "base", e.table(t, "0 1024 linear %s 0", e.disks[0]), dm.CreateOptions{UUID: dm.UUID(e.prefix + "b")})
	e.create(t, "old", e.table(t, "0 64 linear %s 8", node("base")), dm.CreateOptions{UUID: dm.UUID(e.prefix + "o"), ReadOnly: true})
	e.create(t, "both", e.table(t, "0 8 zero"), dm.CreateOptions{})
	if err := e.c.Load(ctx, e.name("both"), e.table(t, "0 32 zero"), dm.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	e.create(t, "taken", nil, dm.CreateOptions{})
	e.create(t, "held", e.table(t, "0 8 zero"), dm.CreateOptions{})
	before := e.snapshot(t)
	b := new(dm.Batch).
		Remove(e.name("base"), dm.RemoveOptions{Retries: 20}).
		Remove(e.name("old"), dm.RemoveOptions{Retries: 20}).
		Reload(e.name("both"), e.table(t, "0 16 zero"), dm.ReloadOptions{}).
		Create(e.name("new"), e.table(t, "0 8 zero"), dm.CreateOptions{}).
		Create(e.name("top"), e.table(t, "0 8 linear %s 0", node("new")), dm.CreateOptions{}).
		// The last one to be begun, and the one that fails.
		Create(e.name("taken"), e.table(t, "0 8 linear %s 0\n8 8 linear %s 0", node("top"), node("both")), dm.CreateOptions{})
	for _, parallel := range []int{1, 0} {
		results, err := e.c.RunBatch(ctx, b, dm.BatchOptions{AllOrNothing: true, Parallel: parallel})
		wantErr(t, err, fs.ErrExist, "taken")
		for i, r := range results[:5] {
			// With many under way the failure may come before the others began.
			if r.State != linuxblock.Undone && !(parallel == 0 && errors.Is(r.Err, dm.ErrSkipped)) {
				t.Errorf("%d: %+v", i, r)
			}
		}
		if after := e.snapshot(t); after != before {
			t.Errorf("before\n%safter\n%s", before, after)
		}
	}

	// What could not be taken back, and what will not work, is not begun.
	release := e.hold(t, e.name("held"))
	_, err := e.c.RunBatch(ctx, new(dm.Batch).
		Create(e.name("new"), e.table(t, "0 8 zero"), dm.CreateOptions{}).
		Remove(e.name("held"), dm.RemoveOptions{}), dm.BatchOptions{AllOrNothing: true})
	wantErr(t, err, dm.ErrBusy, "held")
	release()
	for _, o := range []dm.RemoveOptions{{Force: true}, {Deferred: true}} {
		_, err = e.c.RunBatch(ctx, new(dm.Batch).Remove(e.name("held"), o), dm.BatchOptions{AllOrNothing: true})
		wantErr(t, err, dm.ErrRefused)
	}
	_, err = e.c.RunBatch(ctx, new(dm.Batch).Reload(e.name("taken"), e.table(t, "0 8 zero"), dm.ReloadOptions{}), dm.BatchOptions{AllOrNothing: true})
	wantErr(t, err, dm.ErrRefused, "no live table")
	if after := e.snapshot(t); after != before {
		t.Errorf("before\n%safter\n%s", before, after)
	}
	e.remove(t, e.name("old"), e.name("base"), e.name("both"), e.name("taken"), e.name("held"))
}

// Batches that can't have an order.
func testBatchRefused(t *testing.T, e *env) {
	ctx := context.Background()
	node := func(s string) string { return "/dev/mapper/" + string(e.name(s)) }
	zero := e.table(t, "0 8 zero")
	low := e.create(t, "low", zero, dm.CreateOptions{})
	minor := uint32(0xfff00)
	e.create(t, "up", e.table(t, "0 8 linear %v 0", low.Dev), dm.CreateOptions{})
	for i, tt := range []struct {
		b    *dm.Batch
		want error
		text string
	}{
		{new(dm.Batch).Create(e.name("a"), zero, dm.CreateOptions{}).Create(e.name("a"), zero, dm.CreateOptions{}), dm.ErrBadTable, "twice"},
		{new(dm.Batch).Create(e.name("a"), zero, dm.CreateOptions{UUID: "u"}).Create(e.name("b"), zero, dm.CreateOptions{UUID: "u"}), dm.ErrBadTable, "twice"},
		{new(dm.Batch).Create(e.name("a"), zero, dm.CreateOptions{Minor: &minor}).Create(e.name("b"), zero, dm.CreateOptions{Minor: &minor}), dm.ErrBadTable, "twice"},
		{new(dm.Batch).Remove(low.Dev, dm.RemoveOptions{}).Remove(e.name("low"), dm.RemoveOptions{}), dm.ErrBadTable, "twice"},
		{new(dm.Batch).Reload(low.Dev, zero, dm.ReloadOptions{}).Remove(e.name("low"), dm.RemoveOptions{}), dm.ErrBadTable, "twice"},
		{new(dm.Batch).Create(e.name("a"), e.table(t, "0 8 linear %s 0", node("b")), dm.CreateOptions{}).
			Create(e.name("b"), e.table(t, "0 8 linear %s 0", node("a")), dm.CreateOptions{}), dm.ErrBadTable, "wait for each other"},
		{new(dm.Batch).Create(e.name("a"), e.table(t, "0 8 linear %v 0", low.Dev), dm.CreateOptions{}).
			Remove(e.name("low"), dm.RemoveOptions{}), dm.ErrBadTable, "which the batch removes"},
		{new(dm.Batch).Create(e.name("a"), e.table(t, "0 8 new-target x %v", low.Dev), dm.CreateOptions{}).
			Remove(e.name("low"), dm.RemoveOptions{}), dm.ErrBadTable, "which the batch removes"},
		// The user lets go of the old one first, and needs the new one.
		{new(dm.Batch).Remove(low.Dev, dm.RemoveOptions{}).Create(e.name("low"), zero, dm.CreateOptions{}).
			Reload(e.name("up"), e.table(t, "0 8 linear %s 0", node("low")), dm.ReloadOptions{}), dm.ErrBadTable, "wait for each other"},
		{new(dm.Batch).Remove(e.name("none"), dm.RemoveOptions{}), fs.ErrNotExist, "none"},
		{new(dm.Batch).Remove(nil, dm.RemoveOptions{}), dm.ErrBadName, "no device"},
		{new(dm.Batch).Create("a/b", zero, dm.CreateOptions{}), dm.ErrBadName, "a/b"},
		{new(dm.Batch).Reload(low.Dev, nil, dm.ReloadOptions{}), dm.ErrBadTable, "reload"},
	} {
		results, err := e.c.RunBatch(ctx, tt.b, dm.BatchOptions{})
		wantErr(t, err, tt.want, tt.text)
		if results != nil {
			t.Errorf("%d: %v", i, results)
		}
		_, err = e.c.PlanBatch(ctx, tt.b)
		wantErr(t, err, tt.want, tt.text)
	}
	e.remove(t, e.name("up"), e.name("low"))
}

// snapshot prints all devices of the case, for comparing before and after.
func (e *env) snapshot(t *testing.T) string {
	t.Helper()
	ctx := context.Background()
	list, err := e.c.List(ctx, dm.ListOptions{NamePrefix: e.prefix})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, l := range list {
		i := e.info(t, l.Dev)
		fmt.Fprintf(&b, "%s %s %v open=%d ro=%v suspended=%v\n", i.Name, i.UUID, i.Dev, i.Open, i.ReadOnly, i.Suspended)
		for _, o := range []dm.StatusOptions{{}, {Inactive: true}} {
			tab, err := e.c.Table(ctx, l.Dev, o)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "  %q\n", tab.String())
		}
	}
	return b.String()
}
