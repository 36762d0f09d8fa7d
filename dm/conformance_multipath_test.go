// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// multipath makes a device over two groups of one path each, which are no
// paths to the same data here, so that it shows which one was taken.
func (e *env) multipath(t *testing.T, queue bool, paths []dm.Dev) dm.Info {
	t.Helper()
	mp := dm.Multipath{QueueIfNoPath: queue, QueueMode: dm.QueueBio, InitialGroup: 1}
	for _, p := range paths {
		mp.Groups = append(mp.Groups, dm.PathGroup{Selector: "round-robin", Paths: []dm.Path{{Device: p.String(), Args: []string{"1"}}}})
	}
	return e.create(t, "mp", dm.Table{}.Append(2048, mp), dm.CreateOptions{})
}

var multipathModules = []string{"dm-multipath", "dm-round-robin", "dm-queue-length", "dm-service-time"}

func testMultipath(t *testing.T, e *env) {
	ctx := context.Background()
	e.modules(t, multipathModules...)
	paths := e.legs(t, 3, 2048)
	mp := e.multipath(t, false, paths)
	f := e.rw(t, mp.Name)
	defer f.Close()
	seed := byte(100)
	wrote := func(leg string) {
		t.Helper()
		seed++
		if _, err := f.WriteAt(pattern(4096, seed), 8192); err != nil {
			t.Fatalf("write for %s: %v", leg, err)
		}
		e.holds(t, e.name(leg), pattern(4096, seed), 8192)
	}
	events := uint32(0)
	event := func(what string) {
		t.Helper()
		events++
		eventually(t, "event: "+what, func() bool { return e.info(t, mp.Dev).EventNr >= events })
		if n := e.info(t, mp.Dev).EventNr; n != events {
			t.Errorf("%s: event %d, want %d", what, n, events)
		}
	}
	check := func(group uint32, states string, failures ...uint32) {
		t.Helper()
		s := typedStatus[dm.MultipathStatus](t, e, mp.Dev)
		got := ""
		for i, g := range s.Groups {
			got += g.State.String()
			p := g.Paths[0]
			if p.Failed {
				got += "F"
			}
			if p.Failures != failures[i] || p.Device != paths[i].String() {
				t.Errorf("path %d: %+v", i, p)
			}
		}
		if s.Group != group || got != states || s.QueueIO {
			t.Errorf("group %d, %s, %+v; want %d, %s", s.Group, got, s, group, states)
		}
	}
	wrote("leg0")
	check(1, "AEE", 0, 0, 0)
	e.send(t, mp.Dev, dm.FailPath{Device: paths[0].String()})
	event("fail_path")
	wrote("leg1")
	check(2, "EFAE", 1, 0, 0)
	e.failLeg(t, 1, 2048) // noticed by the next write, which goes on
	wrote("leg2")
	event("path failed")
	check(3, "EFEFA", 1, 1, 0)
	e.healLeg(t, 1, 2048)
	e.send(t, mp.Dev, dm.ReinstatePath{Device: paths[1].String()})
	event("reinstate_path")
	wrote("leg2") // the group is kept as long as it has a path
	e.send(t, mp.Dev, dm.SwitchGroup{Group: 2})
	event("switch_group")
	wrote("leg1")
	check(2, "EFAE", 1, 1, 0)
	e.send(t, mp.Dev, dm.DisableGroup{Group: 2})
	event("disable_group")
	wrote("leg2")
	check(3, "EFDA", 1, 1, 0)
	e.send(t, mp.Dev, dm.FailPath{Device: paths[2].String()})
	event("fail_path")
	wrote("leg1") // rather a disabled group than none
	e.send(t, mp.Dev, dm.EnableGroup{Group: 2})
	event("enable_group")
	e.send(t, mp.Dev, dm.FailPath{Device: paths[1].String()})
	event("fail_path")
	if _, err := f.WriteAt(pattern(4096, 1), 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("write without a path: %v", err)
	}
	if s := typedStatus[dm.MultipathStatus](t, e, mp.Dev); s.ValidPaths() != 0 {
		t.Errorf("status %+v", s)
	}
	for _, m := range []dm.TargetMessage{dm.SwitchGroup{}, dm.SwitchGroup{Group: 4}, dm.FailPath{}, dm.FailPath{Device: e.disks[3]}} {
		_, err := e.c.Send(ctx, mp.Dev, m)
		var de *dm.Error
		if !errors.As(err, &de) || de.Code != 22 {
			t.Errorf("%#v: %v", m, err)
		}
	}
	_, err := e.c.Send(ctx, mp.Dev, dm.ReinstatePath{Device: "88:88"})
	if e.c.Version().AtLeast(4, 48) {
		wantErr(t, err, syscall.EINVAL)
	} else {
		wantErr(t, err, fs.ErrNotExist)
	}
	f.Close()
	e.remove(t, mp.Dev, e.name("leg0"), e.name("leg1"), e.name("leg2"))
}

// I/O without a path waits until a path is back, until nobody wants it to
// wait, or until another table takes it.
func testMultipathQueues(t *testing.T, e *env) {
	ctx := context.Background()
	e.modules(t, multipathModules...)
	paths := e.legs(t, 2, 2048)
	mp := e.multipath(t, true, paths[:1])
	f := e.rw(t, mp.Name)
	defer f.Close()
	queued := func(seed byte) chan error {
		t.Helper()
		e.send(t, mp.Dev, dm.FailPath{Device: paths[0].String()})
		done := make(chan error, 1)
		go func() {
			_, err := f.WriteAt(pattern(4096, seed), 0)
			done <- err
		}()
		select {
		case err := <-done:
			t.Fatalf("the write did not wait: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		return done
	}
	ended := func(done chan error, want error) {
		t.Helper()
		select {
		case err := <-done:
			if !errors.Is(err, want) {
				t.Errorf("the write that waited: %v, want %v", err, want)
			}
		case <-time.After(20 * time.Second):
			// Whatever it is, no writer may stay stuck.
			e.c.Send(ctx, mp.Dev, dm.FailIfNoPath{})
			t.Fatal("the write still waits")
		}
	}
	// While it is suspended the kernel prints the table without the feature.
	for _, suspended := range []bool{true, false} {
		if suspended {
			if err := e.c.Suspend(ctx, mp.Dev, dm.SuspendOptions{}); err != nil {
				t.Fatal(err)
			}
		} else if _, err := e.c.Resume(ctx, mp.Dev, dm.ResumeOptions{}); err != nil {
			t.Fatal(err)
		}
		tab, err := e.c.Table(ctx, mp.Dev, dm.StatusOptions{})
		if err != nil || tab[0].Target.(dm.Multipath).QueueIfNoPath == suspended {
			t.Errorf("suspended %t: %v, %v", suspended, tab, err)
		}
	}
	done := queued(1)
	e.send(t, mp.Dev, dm.ReinstatePath{Device: paths[0].String()})
	ended(done, nil)
	e.holds(t, e.name("leg0"), pattern(4096, 1), 0)
	done = queued(2)
	e.send(t, mp.Dev, dm.FailIfNoPath{})
	ended(done, syscall.EIO)
	e.send(t, mp.Dev, dm.QueueIfNoPath{})
	done = queued(3)
	tab := dm.Table{}.Append(2048, dm.Multipath{QueueMode: dm.QueueBio, InitialGroup: 1, Groups: []dm.PathGroup{
		{Selector: "service-time", Paths: []dm.Path{{Device: paths[1].String()}}},
	}})
	e.swapBelow(t, "mp", tab)
	ended(done, nil)
	e.holds(t, e.name("leg1"), pattern(4096, 3), 0)
	f.Close()
	e.remove(t, mp.Dev, e.name("leg0"), e.name("leg1"))
}

// ProbePaths finds a bad path without anybody's I/O; before Linux 6.16 there
// is no such call.
func testProbePaths(t *testing.T, e *env) {
	ctx := context.Background()
	e.modules(t, multipathModules...)
	paths := e.legs(t, 2, 2048)
	mp := e.multipath(t, false, paths)
	// The first I/O chooses a group.
	e.writeAt(t, e.name("mp"), pattern(4096, 1), 0)
	if !e.c.Version().AtLeast(4, 50) {
		wantErr(t, e.c.ProbePaths(ctx, mp.Name), errors.ErrUnsupported)
		e.remove(t, mp.Dev, e.name("leg0"), e.name("leg1"))
		return
	}
	probe := func(want error) {
		t.Helper()
		if err := e.c.ProbePaths(ctx, mp.Name); !errors.Is(err, want) || want != nil && err == nil {
			t.Errorf("probe: %v, want %v", err, want)
		}
	}
	probe(nil)
	if s := typedStatus[dm.MultipathStatus](t, e, mp.Dev); s.ValidPaths() != 2 {
		t.Errorf("status %+v", s)
	}
	e.failLeg(t, 0, 2048)
	probe(nil)
	s := typedStatus[dm.MultipathStatus](t, e, mp.Dev)
	if !s.Groups[0].Paths[0].Failed || s.ValidPaths() != 1 {
		t.Errorf("status %+v", s)
	}
	e.send(t, mp.Dev, dm.FailPath{Device: paths[1].String()})
	probe(dm.ErrNoPath)
	if err := e.c.Suspend(ctx, mp.Dev, dm.SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	probe(dm.ErrSuspended)
	if _, err := e.c.Resume(ctx, mp.Dev, dm.ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, e.c.ProbePaths(ctx, e.name("leg1")), errors.ErrUnsupported)
	wantErr(t, e.c.ProbePaths(ctx, e.name("none")), fs.ErrNotExist)
	e.remove(t, mp.Dev, e.name("leg0"), e.name("leg1"))
}

// A transport that knows no nodes can't probe.
func TestProbePathsWithoutNodes(t *testing.T) {
	ctx := context.Background()
	k := dmtest.New(dmtest.WithVersion(4, 50, 0))
	c, err := dm.Open(ctx, dm.WithTransport(struct{ dm.Transport }{k.Transport()}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wantErr(t, c.ProbePaths(ctx, dm.Name("x")), errors.ErrUnsupported, "no nodes")
}
