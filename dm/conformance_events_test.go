// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

func testEvents(t *testing.T, e *env) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	pre := e.create(t, "pre", e.table(t, "0 8 zero"), dm.CreateOptions{})
	seen := make(chan dm.Event, 100)
	ended := make(chan error, 1)
	sctx, stop := context.WithCancel(ctx)
	ready := make(chan struct{})
	go func() {
		for ev, err := range e.c.Events(sctx, dm.EventOptions{Initial: true}) {
			if err != nil {
				ended <- err
				return
			}
			if ev.Kind == dm.Listed {
				if !ev.Initial || !ev.Dev.IsZero() {
					t.Errorf("%+v", ev)
				}
				close(ready) // a second one panics
				continue
			}
			if !strings.HasPrefix(string(ev.Name)+string(ev.OldName), e.prefix) {
				continue
			}
			seen <- ev
		}
		ended <- nil
	}()
	want := func(kind dm.EventKind, name dm.Name) dm.Event {
		t.Helper()
		select {
		case ev := <-seen:
			if ev.Kind != kind || ev.Name != name {
				t.Fatalf("event %v %+v, want %v of %s", ev.Kind, ev, kind, name)
			}
			return ev
		case <-ctx.Done():
			t.Fatalf("no event %v of %s", kind, name)
		}
		panic("unreachable")
	}
	if ev := want(dm.Created, pre.Name); !ev.Initial || ev.Dev != pre.Dev {
		t.Errorf("%+v", ev)
	}
	<-ready
	a := e.create(t, "a", e.table(t, "0 8 zero"), dm.CreateOptions{UUID: dm.UUID(e.prefix + "ev")})
	if ev := want(dm.Created, a.Name); ev.Dev != a.Dev || ev.UUID != a.UUID {
		t.Errorf("%+v", ev)
	}
	if err := e.c.Rename(ctx, a.Dev, e.name("b"), dm.RenameOptions{}); err != nil {
		t.Fatal(err)
	}
	if ev := want(dm.Renamed, e.name("b")); ev.OldName != a.Name {
		t.Errorf("%+v", ev)
	}
	e.remove(t, a.Dev)
	want(dm.Removed, e.name("b"))
	// Without a table the kernel makes no event of a rename; the uuid tells.
	n := e.create(t, "n", nil, dm.CreateOptions{UUID: dm.UUID(e.prefix + "bare")})
	want(dm.Created, n.Name)
	if err := e.c.Rename(ctx, n.Dev, e.name("n2"), dm.RenameOptions{}); err != nil {
		t.Fatal(err)
	}
	if ev := want(dm.Renamed, e.name("n2")); ev.OldName != n.Name || ev.EventNr != n.EventNr {
		t.Errorf("%+v", ev)
	}
	e.remove(t, n.Dev)
	want(dm.Removed, e.name("n2"))
	// A reader that stops is no obstacle to others.
	for range e.c.Events(ctx, dm.EventOptions{Initial: true}) {
		break
	}
	e.remove(t, pre.Dev)
	want(dm.Removed, pre.Name)
	stop()
	start := time.Now()
	select {
	case err := <-ended:
		wantErr(t, err, context.Canceled)
	case <-time.After(10 * time.Second):
		t.Fatal("the stream did not end")
	}
	t.Logf("cancelled after %v", time.Since(start))
}

func testWaitEvent(t *testing.T, e *env) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	a := e.create(t, "w", e.table(t, "0 8 zero"), dm.CreateOptions{})
	type answer struct {
		info   dm.Info
		status []dm.Status
		err    error
	}
	wait := func(ctx context.Context, ref dm.Ref, nr uint32) chan answer {
		ch := make(chan answer, 1)
		go func() {
			i, s, err := e.c.WaitEvent(ctx, ref, nr)
			ch <- answer{i, s, err}
		}()
		return ch
	}
	// One that has happened already.
	if r := <-wait(ctx, a.Dev, a.EventNr+5); r.err != nil || r.info.EventNr != a.EventNr || len(r.status) != 1 || r.status[0].Type != "zero" {
		t.Errorf("%+v", r)
	}
	ch := wait(ctx, a.Dev, a.EventNr)
	time.Sleep(20 * time.Millisecond)
	if err := e.c.Rename(ctx, a.Dev, e.name("w2"), dm.RenameOptions{}); err != nil {
		t.Fatal(err)
	}
	if r := <-ch; r.err != nil || r.info.EventNr != a.EventNr+1 || r.info.Name != e.name("w2") {
		t.Errorf("%+v", r)
	}
	short, cancelShort := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancelShort()
	r := <-wait(short, a.Dev, a.EventNr+1)
	wantErr(t, r.err, context.DeadlineExceeded)
	ch = wait(ctx, a.Dev, a.EventNr+1)
	time.Sleep(20 * time.Millisecond)
	e.remove(t, a.Dev)
	wantErr(t, (<-ch).err, fs.ErrNotExist)
}

// Cancelled at any moment, a call leaves the device as it was, or gone.
func testCancelled(t *testing.T, e *env) {
	ctx := context.Background()
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err := e.c.Create(done, e.name("x"), e.table(t, "0 8 zero"), dm.CreateOptions{})
	wantErr(t, err, context.Canceled)
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	keep := e.create(t, "keep", e.table(t, "0 64 zero"), dm.CreateOptions{})
	var cancelled, pending, finished int
	for i := range rounds {
		cctx, cancel := context.WithCancel(ctx)
		timer := time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, cancel)
		var err error
		switch i % 4 {
		case 0:
			if _, err = e.c.Create(cctx, e.name("c"), e.table(t, "0 8 zero"), dm.CreateOptions{}); err == nil {
				err = e.c.Remove(cctx, e.name("c"), dm.RemoveOptions{Retries: 5})
			}
		case 1:
			_, err = e.c.Reload(cctx, keep.Dev, e.table(t, "0 64 linear %s %d", e.disks[0], i%64), dm.ReloadOptions{})
		case 2:
			if err = e.c.Suspend(cctx, keep.Dev, dm.SuspendOptions{}); err == nil {
				_, err = e.c.Resume(ctx, keep.Dev, dm.ResumeOptions{})
			}
		case 3:
			err = e.c.WhileSuspended(cctx, []dm.Ref{keep.Dev}, dm.GuardOptions{}, func(context.Context) error { return nil })
		}
		timer.Stop()
		cancel()
		switch {
		case err == nil:
			finished++
		case errors.Is(err, context.Canceled):
			cancelled++
		default:
			t.Fatalf("round %d: %v", i, err)
		}
		if errors.Is(err, dm.ErrPending) {
			// It is finished in the background, which Close waits for; a
			// change of the same device meanwhile would meet it.
			pending++
			if err := e.c.Close(); err != nil {
				t.Fatal(err)
			}
			e.c = e.open(t)
		}
		if info, err := e.c.Info(ctx, keep.Dev); err != nil || info.Suspended || info.InactiveTable {
			t.Fatalf("round %d left %+v, %v", i, info, err)
		}
		if i%4 == 0 {
			e.c.Remove(ctx, e.name("c"), dm.RemoveOptions{Retries: 5}) // made before it was cancelled
		}
	}
	t.Logf("%d cancelled, %d of them pending, %d finished", cancelled, pending, finished)
	e.remove(t, keep.Dev)
}

func testClosed(t *testing.T, e *env) {
	ctx := context.Background()
	c := e.open(t)
	ended := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		first := true
		var last error
		for _, err := range c.Events(ctx, dm.EventOptions{Initial: true}) {
			if first {
				close(started)
				first = false
			}
			last = err
		}
		ended <- last
	}()
	i := e.create(t, "z", e.table(t, "0 8 zero"), dm.CreateOptions{})
	<-started
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	wantErr(t, <-ended, dm.ErrClosed)
	_, err := c.Info(ctx, i.Dev)
	wantErr(t, err, dm.ErrClosed)
	_, err = c.Create(ctx, e.name("zz"), nil, dm.CreateOptions{})
	wantErr(t, err, dm.ErrClosed)
	e.remove(t, i.Dev)
}
