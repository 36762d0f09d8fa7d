// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// The answers outgrow the first buffer; what is remembered serves the next.
func testBigTable(t *testing.T, e *env) {
	var tab dm.Table
	for i := range 600 {
		tab = tab.Append(8, dm.Linear{Device: e.disks[i%2], Offset: dm.Sectors(8 * i)})
	}
	e.create(t, "big", tab, dm.CreateOptions{})
	for range 2 {
		got, err := e.c.Table(context.Background(), e.name("big"), dm.StatusOptions{})
		if err != nil || len(got) != len(tab) || got.Length() != tab.Length() {
			t.Fatalf("%d of %d segments, %v", len(got), len(tab), err)
		}
		for i, s := range got {
			if l, ok := s.Target.(dm.Linear); !ok || l.Offset != dm.Sectors(8*i) {
				t.Fatalf("segment %d: %v", i, s)
			}
		}
	}
	deps, err := e.c.Deps(context.Background(), e.name("big"), dm.DepsOptions{})
	if err != nil || len(deps) != 2 {
		t.Errorf("deps %v %v", deps, err)
	}
	e.remove(t, e.name("big"))
}

func testLongList(t *testing.T, e *env) {
	ctx := context.Background()
	pad := strings.Repeat("x", 100)
	const n = 300
	for i := range n {
		e.create(t, fmt.Sprintf("%03d-%s", i, pad), nil, dm.CreateOptions{UUID: dm.UUID(fmt.Sprintf("%s%s%d", e.prefix, pad, i))})
	}
	list, err := e.c.List(ctx, dm.ListOptions{NamePrefix: e.prefix})
	if err != nil || len(list) != n {
		t.Fatalf("%d of %d devices, %v", len(list), n, err)
	}
	for i, l := range list {
		if l.Name != e.name(fmt.Sprintf("%03d-%s", i, pad)) || l.UUID != dm.UUID(fmt.Sprintf("%s%s%d", e.prefix, pad, i)) {
			t.Fatalf("entry %d: %+v", i, l)
		}
	}
	for _, l := range list {
		e.remove(t, l.Dev)
	}
}

func testTargets(t *testing.T, e *env) {
	ctx := context.Background()
	versions, err := e.c.Versions(ctx)
	if err != nil || versions["linear"].Major != 1 || versions["error"].Major != 1 {
		t.Errorf("%v %v", versions, err)
	}
	if e.c.Version().AtLeast(4, 41) {
		if v, err := e.c.TargetVersion(ctx, "snapshot"); err != nil || v.Major != 1 {
			t.Errorf("%v %v", v, err)
		}
		_, err = e.c.TargetVersion(ctx, "no-such")
		wantErr(t, err, fs.ErrNotExist, "no such target")
	}
	_, err = e.c.TargetVersion(ctx, "a-name-of-sixteen")
	wantErr(t, err, dm.ErrBadName)
}

// What the kernel prints can be parsed, is typed, prints the same, and can
// be loaded again.
func testTableRoundTrip(t *testing.T, e *env) {
	ctx := context.Background()
	d := e.disks
	e.wipe(t, d[1], 8)
	e.wipe(t, d[3], 8)
	for i, text := range []string{
		"0 1024 linear " + d[0] + " 8",
		"0 2048 striped 2 16 " + d[0] + " 0 " + d[1] + " 32",
		"0 8 zero\n8 8 error",
		"0 1024 delay " + d[0] + " 0 5",
		"0 1024 delay " + d[0] + " 0 5 " + d[1] + " 8 6",
		"0 1024 delay " + d[0] + " 0 5 " + d[1] + " 8 6 " + d[2] + " 16 7",
		"0 1024 flakey " + d[0] + " 0 5 0",
		"0 1024 flakey " + d[0] + " 0 5 1 1 drop_writes",
		"0 1024 flakey " + d[0] + " 0 5 1 1 error_writes",
		"0 1024 flakey " + d[0] + " 0 5 1 5 corrupt_bio_byte 32 r 1 0",
		"0 1024 flakey " + d[0] + " 0 5 1 6 drop_writes corrupt_bio_byte 32 r 255 32",
		"0 1024 snapshot-origin " + d[0],
		"0 1024 snapshot " + d[0] + " " + d[1] + " N 8",
		"0 1024 snapshot " + d[0] + " " + d[1] + " P 16",
		// A COW device that has a header keeps its own chunk size; hence a fresh
		// one. A smaller chunk with these features kills Linux 7.2.13.
		"0 1024 snapshot " + d[0] + " " + d[3] + " PO 1024 2 discard_zeroes_cow discard_passdown_origin",
	} {
		tab := e.table(t, "%s", text)
		info := e.create(t, "t", tab, dm.CreateOptions{})
		printed, err := e.c.Table(ctx, info.Dev, dm.StatusOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for j, s := range printed {
			if _, raw := s.Target.(dm.Raw); raw {
				t.Errorf("%d: the kernel's %q was not understood", i, s)
			}
			if s.Target.TargetType() != tab[j].Target.TargetType() || s.Length != tab[j].Length {
				t.Errorf("%d: %v, loaded %v", i, s, tab[j])
			}
		}
		// The same text but for the devices, which the kernel prints as numbers.
		// Linux 6.5 says what a flakey target without a feature does: fail all I/O.
		a, b := blind(printed.Format()), blind(tab.Format())
		if f, ok := tab[0].Target.(dm.Flakey); ok && f == (dm.Flakey{Device: f.Device, Up: f.Up}) {
			a = strings.ReplaceAll(a, " 2 error_reads error_writes", " 0")
		}
		if a != b {
			t.Errorf("%d: printed %q, loaded %q", i, a, b)
		}
		if _, err := e.c.Reload(ctx, info.Dev, printed, dm.ReloadOptions{}); err != nil {
			t.Errorf("%d: what the kernel printed can't be loaded: %v", i, err)
		}
		again, err := e.c.Table(ctx, info.Dev, dm.StatusOptions{})
		if err != nil || !again.Equal(printed) {
			t.Errorf("%d: printed %q, then %q", i, printed, again)
		}
		status, err := e.c.Status(ctx, info.Dev, dm.StatusOptions{})
		if err != nil || len(status) != len(tab) {
			t.Errorf("%d: status %v %v", i, status, err)
		}
		for _, s := range status {
			back, err := s.Typed()
			if err == nil && back == nil && strings.TrimSpace(s.Text) == "" {
				continue
			}
			if err != nil || back == nil || back.String() != strings.TrimSpace(s.Text) {
				t.Errorf("%d: %q came back as %v, %v", i, s.Text, back, err)
			}
		}
		e.remove(t, info.Dev)
	}
}

// blind takes the devices out of a table.
func blind(text string) string {
	w := strings.Fields(text)
	for i, s := range w {
		if strings.HasPrefix(s, "/dev/") || strings.Contains(s, ":") {
			w[i] = "DEV"
		}
	}
	return strings.Join(w, " ")
}

func testSnapshot(t *testing.T, e *env) {
	ctx := context.Background()
	zero := func(n string) { // the first chunk of a COW device must not look like a header
		f := e.rw(t, e.name(n))
		defer f.Close()
		if _, err := f.WriteAt(make([]byte, 8192), 0); err != nil {
			t.Fatal(err)
		}
	}
	base := e.create(t, "base", e.table(t, "0 4096 linear %s 0", e.disks[0]), dm.CreateOptions{})
	cow := e.create(t, "cow", e.table(t, "0 4096 linear %s 0", e.disks[1]), dm.CreateOptions{})
	zero("cow")
	origin := e.create(t, "origin", e.table(t, "0 4096 snapshot-origin %s", base.Dev), dm.CreateOptions{})
	f := e.rw(t, origin.Name)
	old := pattern(8192, 1)
	if _, err := f.WriteAt(old, 0); err != nil {
		t.Fatal(err)
	}
	// The origin is suspended while the snapshot comes to life.
	var snap dm.Info
	if err := e.c.Suspend(ctx, origin.Dev, dm.SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	snap = e.create(t, "snap", e.table(t, "0 4096 snapshot %s %s P 8", base.Dev, cow.Dev), dm.CreateOptions{})
	if _, err := e.c.Resume(ctx, origin.Dev, dm.ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	status := func(d dm.Dev) dm.SnapshotStatus {
		t.Helper()
		list, err := e.c.Status(ctx, d, dm.StatusOptions{})
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		s, err := dm.ParseSnapshotStatus(list[0].Text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := status(snap.Dev); s != (dm.SnapshotStatus{Used: 16, Total: 4096, Metadata: 16}) {
		t.Errorf("fresh: %+v", s)
	}
	if _, err := f.WriteAt(pattern(4096, 2), 0); err != nil {
		t.Fatal(err)
	}
	if s := status(snap.Dev); s != (dm.SnapshotStatus{Used: 24, Total: 4096, Metadata: 16}) {
		t.Errorf("one chunk: %+v", s)
	}
	g := e.rw(t, snap.Name)
	got := make([]byte, len(old))
	if _, err := g.ReadAt(got, 0); err != nil || string(got) != string(old) {
		t.Errorf("the snapshot lost the old data: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	e.remove(t, snap.Dev)
	// Merge: the origin's table becomes snapshot-merge.
	if _, err := e.c.Reload(ctx, origin.Dev, e.table(t, "0 4096 snapshot-merge %s %s P 8", base.Dev, cow.Dev), dm.ReloadOptions{}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for !status(origin.Dev).Merged() {
		if time.Now().After(deadline) {
			t.Fatalf("not merged: %+v", status(origin.Dev))
		}
		time.Sleep(10 * time.Millisecond)
	}
	f = e.rw(t, origin.Name)
	if _, err := f.ReadAt(got, 0); err != nil || string(got) != string(old) {
		t.Errorf("the merge did not bring the old data back: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.c.Reload(ctx, origin.Dev, e.table(t, "0 4096 snapshot-origin %s", base.Dev), dm.ReloadOptions{}); err != nil {
		t.Fatal(err)
	}
	e.remove(t, origin.Dev, cow.Dev, base.Dev)
}

func testMessages(t *testing.T, e *env) {
	ctx := context.Background()
	n := e.name("m")
	e.create(t, "m", e.table(t, "0 1024 linear %s 0", e.disks[0]), dm.CreateOptions{})
	if out, err := e.c.Message(ctx, n, 0, "@stats_create - /4 2 precise_timestamps histogram:10,20 prog aux"); err != nil || strings.TrimSpace(out) != "0" {
		t.Errorf("create: %q %v", out, err)
	}
	if out, err := e.c.Message(ctx, n, 0, "@stats_list prog"); err != nil || strings.TrimSpace(out) != "0: 0+1024 256 prog aux precise_timestamps histogram:10,20" {
		t.Errorf("list: %q %v", out, err)
	}
	if out, err := e.c.Message(ctx, n, 0, "@stats_print 0"); err != nil || len(strings.Split(strings.TrimSpace(out), "\n")) != 4 {
		t.Errorf("print: %q %v", out, err)
	}
	_, err := e.c.Message(ctx, n, 0, "@stats_print 77")
	wantErr(t, err, fs.ErrNotExist)
	if out, err := e.c.Message(ctx, n, 0, "@stats_delete 0"); err != nil || out != "" {
		t.Errorf("delete: %q %v", out, err)
	}
	for _, tt := range []struct {
		sector dm.Sectors
		text   string
	}{{0, "hello world"}, {4096, "hello"}, {0, "@stats_create - 4 123"}} {
		_, err := e.c.Message(ctx, n, tt.sector, tt.text)
		var de *dm.Error
		if !errors.As(err, &de) || de.Code != 22 {
			t.Errorf("%q: %v", tt.text, err)
		}
	}
	e.create(t, "bare", nil, dm.CreateOptions{})
	_, err = e.c.Message(ctx, e.name("bare"), 0, "hello")
	var de *dm.Error
	if !errors.As(err, &de) || de.Code != 22 {
		t.Errorf("message to a device without a table: %v", err)
	}
	e.remove(t, e.name("bare"))
	if _, err := e.c.Message(ctx, n, 0, ""); err == nil {
		t.Error("empty message")
	}
	e.remove(t, n)
}

func testReadOnly(t *testing.T, e *env) {
	ctx := context.Background()
	i := e.create(t, "ro", e.table(t, "0 1024 linear %s 0", e.disks[0]), dm.CreateOptions{ReadOnly: true})
	if !i.ReadOnly || !e.info(t, i.Dev).ReadOnly {
		t.Errorf("%+v", i)
	}
	if i, err := e.c.Reload(ctx, i.Dev, e.table(t, "0 1024 linear %s 0", e.disks[0]), dm.ReloadOptions{}); err != nil || i.ReadOnly {
		t.Errorf("%+v %v", i, err)
	}
	e.remove(t, i.Dev)
}

func testMinor(t *testing.T, e *env) {
	i := e.create(t, "m", e.table(t, "0 8 zero"), dm.CreateOptions{Minor: new(uint32(777))})
	if i.Dev.Minor != 777 {
		t.Errorf("%+v", i)
	}
	_, err := e.c.Create(context.Background(), e.name("m2"), nil, dm.CreateOptions{Minor: new(uint32(777))})
	wantErr(t, err, fs.ErrExist, "777")
	_, err = e.c.Create(context.Background(), e.name("m2"), nil, dm.CreateOptions{Minor: new(uint32(1 << 20))})
	wantErr(t, err, dm.ErrBadName)
	e.remove(t, i.Dev)
}

func testGeometry(t *testing.T, e *env) {
	ctx := context.Background()
	i := e.create(t, "g", e.table(t, "0 1024 zero"), dm.CreateOptions{})
	if err := e.c.SetGeometry(ctx, i.Dev, dm.Geometry{Cylinders: 1, Heads: 2, Sectors: 32}); err != nil {
		t.Error(err)
	}
	if err := e.c.SetGeometry(ctx, i.Dev, dm.Geometry{Cylinders: 1, Heads: 2, Sectors: 32, Start: 99999}); err == nil {
		t.Error("a start beyond the geometry was taken")
	}
	e.remove(t, i.Dev)
}
