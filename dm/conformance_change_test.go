// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

func testWhileSuspended(t *testing.T, e *env) {
	ctx := context.Background()
	a := e.create(t, "a", e.table(t, "0 1024 linear %s 0", e.disks[0]), dm.CreateOptions{})
	b := e.create(t, "b", e.table(t, "0 1024 linear %s 0", a.Dev), dm.CreateOptions{})
	stack := []dm.Ref{b.Dev, a.Dev}
	err := e.c.WhileSuspended(ctx, stack, dm.GuardOptions{}, func(ctx context.Context) error {
		for _, r := range stack {
			if i, err := e.c.Info(ctx, r); err != nil || !i.Suspended {
				t.Errorf("%v: %+v %v", r, i, err)
			}
		}
		return e.c.Load(ctx, a.Dev, e.table(t, "0 1024 linear %s 0", e.disks[1]), dm.LoadOptions{})
	})
	if err != nil {
		t.Fatal(err)
	}
	running := func() {
		t.Helper()
		for _, r := range stack {
			if i := e.info(t, r); i.Suspended || i.InactiveTable {
				t.Errorf("%v: %+v", r, i)
			}
		}
	}
	running()
	deps, _ := e.c.Deps(ctx, a.Dev, dm.DepsOptions{})
	if got := e.liveTable(t, a.Dev); len(deps) != 1 || !strings.Contains(got, deps[0].String()) {
		t.Errorf("table %q, deps %v", got, deps)
	}
	boom := errors.New("boom")
	if err := e.c.WhileSuspended(ctx, stack, dm.GuardOptions{}, func(context.Context) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
	running()
	err = e.c.WhileSuspended(ctx, []dm.Ref{b.Dev, e.name("none")}, dm.GuardOptions{}, func(context.Context) error {
		t.Error("ran without one of its devices")
		return nil
	})
	wantErr(t, err, fs.ErrNotExist)
	running()
	cctx, cancel := context.WithCancel(ctx)
	err = e.c.WhileSuspended(cctx, stack, dm.GuardOptions{}, func(inner context.Context) error {
		cancel()
		time.Sleep(2 * time.Millisecond)
		return inner.Err() // past the point of no return
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	running()
	e.remove(t, b.Dev, a.Dev)
}

func testBusy(t *testing.T, e *env) {
	ctx := context.Background()
	n := e.name("b")
	e.create(t, "b", e.table(t, "0 1024 linear %s 0", e.disks[0]), dm.CreateOptions{})
	release := e.hold(t, n)
	if i := e.info(t, n); i.Open != 1 {
		t.Errorf("open %d", i.Open)
	}
	err := e.c.Remove(ctx, n, dm.RemoveOptions{})
	wantErr(t, err, dm.ErrBusy, "in use")
	if errors.Is(err, fs.ErrExist) {
		t.Error("a busy device is not one whose name is taken")
	}
	// With retries, once it is closed.
	go func() {
		time.Sleep(300 * time.Millisecond)
		release()
	}()
	if err := e.c.Remove(ctx, n, dm.RemoveOptions{Retries: 50}); err != nil {
		t.Error(err)
	}

	e.create(t, "d", e.table(t, "0 1024 linear %s 0", e.disks[0]), dm.CreateOptions{})
	release = e.hold(t, e.name("d"))
	if err := e.c.Remove(ctx, e.name("d"), dm.RemoveOptions{Deferred: true}); err != nil {
		t.Error(err)
	}
	if i := e.info(t, e.name("d")); !i.DeferredRemove {
		t.Errorf("%+v", i)
	}
	if _, err := e.c.Message(ctx, e.name("d"), 0, "@cancel_deferred_remove"); err != nil {
		t.Error(err)
	}
	if i := e.info(t, e.name("d")); i.DeferredRemove {
		t.Errorf("cancelled: %+v", i)
	}
	if err := e.c.Remove(ctx, e.name("d"), dm.RemoveOptions{Deferred: true}); err != nil {
		t.Error(err)
	}
	release()
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err := e.c.Info(ctx, e.name("d")); errors.Is(err, fs.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the last close did not remove the device")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func testForceAndWipe(t *testing.T, e *env) {
	ctx := context.Background()
	n := e.name("f")
	e.create(t, "f", e.table(t, "0 1024 linear %s 0\n1024 8 zero", e.disks[0]), dm.CreateOptions{})
	wantErr(t, e.c.Wipe(ctx, n, dm.WipeOptions{}), dm.ErrRefused)
	if err := e.c.Wipe(ctx, n, dm.WipeOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if got := e.liveTable(t, n); strings.TrimSpace(got) != "0 1032 error" {
		t.Errorf("wiped: %q", got)
	}
	if _, err := e.c.Reload(ctx, n, e.table(t, "0 1024 linear %s 0", e.disks[0]), dm.ReloadOptions{}); err != nil {
		t.Fatal(err)
	}
	release := e.hold(t, n)
	err := e.c.Remove(ctx, n, dm.RemoveOptions{Force: true})
	wantErr(t, err, dm.ErrBusy, "failing all I/O")
	if got := e.liveTable(t, n); strings.TrimSpace(got) != "0 1024 error" {
		t.Errorf("forced: %q", got)
	}
	release()
	if err := e.c.Remove(ctx, n, dm.RemoveOptions{Force: true, Retries: 20}); err != nil {
		t.Error(err)
	}
	wantErr(t, e.c.RemoveAll(ctx, dm.RemoveAllOptions{}), dm.ErrRefused)
	e.create(t, "nt", nil, dm.CreateOptions{})
	if err := e.c.Remove(ctx, e.name("nt"), dm.RemoveOptions{Force: true}); err != nil {
		t.Error(err)
	}
}

func testRename(t *testing.T, e *env) {
	ctx := context.Background()
	a := e.create(t, "a", e.table(t, "0 8 zero"), dm.CreateOptions{})
	e.create(t, "b", e.table(t, "0 8 zero"), dm.CreateOptions{})
	wantErr(t, e.c.Rename(ctx, e.name("a"), e.name("b"), dm.RenameOptions{}), fs.ErrExist)
	wantErr(t, e.c.Rename(ctx, e.name("none"), e.name("c"), dm.RenameOptions{}), fs.ErrNotExist)
	wantErr(t, e.c.Rename(ctx, a.Dev, "x/y", dm.RenameOptions{}), dm.ErrBadName)
	wantErr(t, e.c.Rename(ctx, a.Dev, "", dm.RenameOptions{}), dm.ErrBadName)
	if err := e.c.Rename(ctx, a.Dev, e.name("c"), dm.RenameOptions{}); err != nil {
		t.Fatal(err)
	}
	if i := e.info(t, a.Dev); i.Name != e.name("c") || i.EventNr != a.EventNr+1 {
		t.Errorf("%+v", i)
	}
	u := dm.UUID("TEST-" + e.prefix + "r")
	if err := e.c.SetUUID(ctx, e.name("c"), u, dm.RenameOptions{}); err != nil {
		t.Fatal(err)
	}
	if i := e.info(t, u); i.Dev != a.Dev {
		t.Errorf("%+v", i)
	}
	if err := e.c.SetUUID(ctx, e.name("c"), u+"2", dm.RenameOptions{}); err == nil {
		t.Error("a uuid was set twice")
	}
	wantErr(t, e.c.SetUUID(ctx, e.name("b"), u, dm.RenameOptions{}), fs.ErrExist)
	e.remove(t, u, e.name("b"))
}

func testConcurrent(t *testing.T, e *env) {
	ctx := context.Background()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			n := e.name(fmt.Sprintf("p%d", i))
			for range 5 {
				if _, err := e.c.Create(ctx, n, e.table(t, "0 64 linear %s %d", e.disks[0], i*64), dm.CreateOptions{}); err != nil {
					t.Error(err)
					return
				}
				if _, err := e.c.Reload(ctx, n, e.table(t, "0 64 zero"), dm.ReloadOptions{}); err != nil {
					t.Error(err)
				}
				if _, err := e.c.List(ctx, dm.ListOptions{}); err != nil {
					t.Error(err)
				}
				if err := e.c.Remove(ctx, n, dm.RemoveOptions{Retries: 20}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// A pool that is too small is found out only when it runs, and by then the
// old table is gone: it is put back.
func testReloadFailsLate(t *testing.T, e *env) {
	ctx := context.Background()
	p := newThinPool(t, e, 16, dm.ThinPool{LowWaterMark: 1})
	p.send(t, dm.CreateThin{ID: 0})
	vol := p.volume(t, "vol", 0, 4)
	p.put(t, vol, pattern(thinBlock, 1), 0)
	for _, suspended := range []bool{false, true} {
		if suspended {
			if err := e.c.Suspend(ctx, p.dev.Dev, dm.SuspendOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		before := e.liveTable(t, p.dev.Dev)
		_, err := e.c.Reload(ctx, p.dev.Dev, p.table(8), dm.ReloadOptions{})
		wantErr(t, err, syscall.EINVAL, "the device runs on its old table again")
		if i := e.info(t, p.dev.Dev); i.Suspended || i.InactiveTable || e.liveTable(t, p.dev.Dev) != before {
			t.Errorf("%+v, table %s", i, e.liveTable(t, p.dev.Dev))
		}
		p.holds(t, vol.Name, pattern(thinBlock, 1), 0)
		p.put(t, vol, pattern(thinBlock, 2), 1)
	}
	// The same in the other ways to make a table live.
	before := e.liveTable(t, p.dev.Dev)
	load := func(ctx context.Context) error {
		return e.c.Load(ctx, p.dev.Dev, p.table(8), dm.LoadOptions{})
	}
	for _, swap := range []func() error{
		func() error {
			if err := e.c.Suspend(ctx, p.dev.Dev, dm.SuspendOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := load(ctx); err != nil {
				t.Fatal(err)
			}
			_, err := e.c.Resume(ctx, p.dev.Dev, dm.ResumeOptions{})
			return err
		},
		func() error { return e.c.WhileSuspended(ctx, []dm.Ref{p.dev.Dev}, dm.GuardOptions{}, load) },
	} {
		wantErr(t, swap(), syscall.EINVAL, "the device runs on its old table again")
		if i := e.info(t, p.dev.Dev); i.Suspended || i.InactiveTable || e.liveTable(t, p.dev.Dev) != before {
			t.Fatalf("%+v, table %s", i, e.liveTable(t, p.dev.Dev))
		}
		p.holds(t, vol.Name, pattern(thinBlock, 2), thinBlock)
	}
	e.remove(t, vol.Dev, p.dev.Dev, p.data.Dev, p.meta.Dev)
}
