// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// driver is what the conformance suite needs of a device-mapper: the kernel
// in the VM, or the double.
type driver struct {
	open  func(t *testing.T, opts ...dm.Option) *dm.Client
	disks []string // four block devices of at least 32768 sectors
	// modules makes sure that the targets of these modules are there.
	modules func(t *testing.T, names ...string)
	// hold opens the device and returns a function that closes it.
	hold func(t *testing.T, name dm.Name) (release func())
	// rw opens a device for I/O without a cache.
	rw func(t *testing.T, name dm.Name) rwDevice
	// discard drops a range of bytes of a device.
	discard func(t *testing.T, name dm.Name, off, n int64) error
	// noSpaceTimeout says for how long full thin pools queue writes.
	noSpaceTimeout func(t *testing.T, d time.Duration)
}

type rwDevice interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Close() error
}

func runConformance(t *testing.T, d *driver, cases []conformanceCase) {
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			e := &env{driver: d, c: d.open(t), prefix: fmt.Sprintf("cf%d-", serial.Add(1))}
			defer e.cleanUp(t)
			tt.run(t, e)
		})
	}
}

var serial atomic.Int64

// env is one case: its names share a prefix that no other case has, and
// nothing with that prefix may be left when it ends.
type env struct {
	*driver
	c      *dm.Client
	prefix string
}

func (e *env) name(s string) dm.Name { return dm.Name(e.prefix + s) }

func (e *env) cleanUp(t *testing.T) {
	ctx := context.Background()
	list, err := e.c.List(ctx, dm.ListOptions{NamePrefix: e.prefix})
	if err != nil {
		t.Errorf("list at the end: %v", err)
	}
	for range 4 { // a stack comes down from its top
		for _, l := range list {
			info, err := e.c.Info(ctx, l.Dev)
			if err == nil && info.Suspended && !t.Failed() {
				t.Errorf("%s is left suspended", l.Name)
			}
			if err == nil && info.Suspended {
				e.c.Resume(ctx, l.Dev, dm.ResumeOptions{})
			}
			e.c.Clear(ctx, l.Dev)
			e.c.Remove(ctx, l.Dev, dm.RemoveOptions{Retries: 2})
		}
		if list, _ = e.c.List(ctx, dm.ListOptions{NamePrefix: e.prefix}); len(list) == 0 {
			break
		}
	}
	if len(list) > 0 {
		t.Errorf("can't be removed: %v", list)
	}
	if err := e.c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func (e *env) table(t *testing.T, format string, args ...any) dm.Table {
	t.Helper()
	tab, err := dm.ParseTable(fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func (e *env) create(t *testing.T, name string, tab dm.Table, o dm.CreateOptions) dm.Info {
	t.Helper()
	info, err := e.c.Create(context.Background(), e.name(name), tab, o)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func (e *env) info(t *testing.T, ref dm.Ref) dm.Info {
	t.Helper()
	info, err := e.c.Info(context.Background(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func (e *env) liveTable(t *testing.T, ref dm.Ref) string {
	t.Helper()
	tab, err := e.c.Table(context.Background(), ref, dm.StatusOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return tab.String()
}

func (e *env) remove(t *testing.T, refs ...dm.Ref) {
	t.Helper()
	for _, r := range refs {
		if err := e.c.Remove(context.Background(), r, dm.RemoveOptions{Retries: 20}); err != nil {
			t.Fatal(err)
		}
	}
}

// wantErr checks the type of an error, and that it says something of use.
func wantErr(t *testing.T, err, want error, contains ...string) {
	t.Helper()
	if err == nil || !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
		return
	}
	var e *dm.Error
	if !errors.As(err, &e) || e.Op == "" {
		t.Errorf("%#v is no *dm.Error with an Op", err)
	}
	for _, s := range contains {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not contain %q", err, s)
		}
	}
}

func testCreateAndRemove(t *testing.T, e *env) {
	ctx := context.Background()
	uuid := dm.UUID("TEST-" + e.prefix + "uuid")
	made := e.create(t, "a", e.table(t, "0 2048 linear %s 8\n2048 1024 error\n3072 8 zero", e.disks[0]), dm.CreateOptions{UUID: uuid})
	want := dm.Info{Name: e.name("a"), UUID: uuid, Dev: made.Dev, Targets: 3, ActiveTable: true}
	if made != want || made.Dev.IsZero() {
		t.Errorf("created %+v, want %+v", made, want)
	}
	for _, ref := range []dm.Ref{e.name("a"), uuid, made.Dev} {
		if got := e.info(t, ref); got != want {
			t.Errorf("info by %T: %+v, want %+v", ref, got, want)
		}
	}
	list, err := e.c.List(ctx, dm.ListOptions{NamePrefix: e.prefix})
	if err != nil || len(list) != 1 || list[0] != (dm.Entry{Name: e.name("a"), UUID: uuid, Dev: made.Dev}) {
		t.Errorf("list %+v, %v", list, err)
	}
	if list, err := e.c.List(ctx, dm.ListOptions{UUIDPrefix: "TEST-" + e.prefix}); err != nil || len(list) != 1 {
		t.Errorf("list by uuid %+v, %v", list, err)
	}
	e.remove(t, made.Dev)
	_, err = e.c.Info(ctx, e.name("a"))
	wantErr(t, err, fs.ErrNotExist, string(e.name("a")))
	wantErr(t, e.c.Remove(ctx, e.name("a"), dm.RemoveOptions{}), fs.ErrNotExist)
	wantErr(t, e.c.Remove(ctx, uuid, dm.RemoveOptions{}), fs.ErrNotExist)
	wantErr(t, e.c.Remove(ctx, made.Dev, dm.RemoveOptions{}), fs.ErrNotExist)
}

func testNamesAndUUIDs(t *testing.T, e *env) {
	ctx := context.Background()
	uuid := dm.UUID("TEST-" + e.prefix)
	e.create(t, "taken", nil, dm.CreateOptions{UUID: uuid})
	_, err := e.c.Create(ctx, e.name("taken"), nil, dm.CreateOptions{})
	wantErr(t, err, fs.ErrExist, "taken")
	_, err = e.c.Create(ctx, e.name("other"), nil, dm.CreateOptions{UUID: uuid})
	wantErr(t, err, fs.ErrExist)
	if _, err := e.c.Info(ctx, e.name("other")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the refused device is there: %v", err)
	}
	long := dm.Name(e.prefix + strings.Repeat("n", dm.MaxName-len(e.prefix)))
	for _, name := range []dm.Name{"", "a/b", dm.Name(e.prefix + "a b"), dm.Name(e.prefix + `\x2`), ".", "..", "control", long + "n", "a\x00b"} {
		_, err := e.c.Create(ctx, name, nil, dm.CreateOptions{})
		wantErr(t, err, dm.ErrBadName)
	}
	_, err = e.c.Create(ctx, e.name("u"), nil, dm.CreateOptions{UUID: dm.UUID(strings.Repeat("u", dm.MaxUUID+1))})
	wantErr(t, err, dm.ErrBadName)
	if info, err := e.c.Create(ctx, long, nil, dm.CreateOptions{}); err != nil || info.Name != long {
		t.Errorf("%d bytes: %v", len(long), err)
	}
	raw := dm.Name(e.prefix + "raw ü\n")
	if info, err := e.c.Create(ctx, raw, nil, dm.CreateOptions{AnyName: true}); err != nil || info.Name != raw {
		t.Errorf("raw name: %+v %v", info, err)
	}
	mangled, err := dm.Mangle(e.prefix+"tab\tü", dm.MangleAuto)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := e.c.Create(ctx, mangled, e.table(t, "0 8 zero"), dm.CreateOptions{}); err != nil || info.Name.Unmangle() != e.prefix+"tab\tü" {
		t.Errorf("mangled name: %+v %v", info, err)
	}
	for _, n := range []dm.Name{raw, long, mangled, e.name("taken")} {
		e.remove(t, n)
	}
}

func testBadTables(t *testing.T, e *env) {
	ctx := context.Background()
	d := e.disks[0]
	for _, tt := range []struct {
		table string
		err   error
		says  string
	}{
		{"0 1024 linear " + d + " 0\n2048 1024 zero", dm.ErrBadTable, "gap"},
		{"0 1024 zero\n512 1024 zero", dm.ErrBadTable, "inside"},
		{"8 1024 zero", dm.ErrBadTable, "gap"},
		{"0 0 zero", dm.ErrBadTable, "length 0"},
		{"0 99999999 linear " + d + " 0", dm.ErrBadTable, "which has"},
		{"0 8 linear " + d + " 99999999", dm.ErrBadTable, "which has"},
		{"0 2047 striped 2 16 " + d + " 0 " + e.disks[1] + " 0", dm.ErrBadTable, "divisible"},
		{"0 8 linear /dev/no-such-device 0", fs.ErrNotExist, "no-such-device"},
		{"0 8 linear 88:88 0", fs.ErrNotExist, "88:88"},
		{"0 8 flakey " + d + " 0 0 0", dm.ErrBadTable, "up and down"},
		{"0 8 snapshot " + d + " " + d + " P 8", dm.ErrBadTable, "same device"},
	} {
		tab, err := dm.ParseTable(tt.table)
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.c.Create(ctx, e.name("bad"), tab, dm.CreateOptions{})
		wantErr(t, err, tt.err, tt.says)
		if _, err := e.c.Info(ctx, e.name("bad")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q left a device: %v", tt.table, err)
		}
	}
}

// What only the kernel knows to refuse: its reason is in the error, and the
// device is gone again.
func testKernelsReason(t *testing.T, e *env) {
	ctx := context.Background()
	for _, tt := range []struct{ target, params, says string }{
		{"linear", "", "Invalid argument count"},
		{"no-such-target", "1 2 3", "unknown target type"},
		{"striped", "x 16", ""},
	} {
		tab := dm.Table{}.Append(1024, dm.Raw{Type: tt.target, Text: tt.params})
		_, err := e.c.Create(ctx, e.name("r"), tab, dm.CreateOptions{})
		var de *dm.Error
		if !errors.As(err, &de) || de.Code != 22 {
			t.Errorf("%s %s: %v", tt.target, tt.params, err)
			continue
		}
		if !strings.Contains(de.Detail, tt.says) || tt.says != "" && de.Detail == "" {
			t.Errorf("%s %s: detail %q, want %q", tt.target, tt.params, de.Detail, tt.says)
		}
		if _, err := e.c.Info(ctx, e.name("r")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a refused table left the device: %v", err)
		}
	}
}

func testSlots(t *testing.T, e *env) {
	ctx := context.Background()
	n := e.name("s")
	e.create(t, "s", nil, dm.CreateOptions{})
	if i := e.info(t, n); i.ActiveTable || i.InactiveTable || i.Suspended || i.Targets != 0 {
		t.Errorf("without a table: %+v", i)
	}
	if tab, err := e.c.Table(ctx, n, dm.StatusOptions{}); err != nil || tab != nil {
		t.Errorf("table %v, %v", tab, err)
	}
	if tab, err := e.c.Table(ctx, n, dm.StatusOptions{Inactive: true}); err != nil || tab != nil {
		t.Errorf("inactive table %v, %v", tab, err)
	}
	if err := e.c.Load(ctx, n, e.table(t, "0 16 zero"), dm.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if i := e.info(t, n); i.ActiveTable || !i.InactiveTable {
		t.Errorf("loaded: %+v", i)
	}
	if tab, err := e.c.Table(ctx, n, dm.StatusOptions{Inactive: true}); err != nil || tab.String() != "0 16 zero" {
		t.Errorf("inactive table %v, %v", tab, err)
	}
	if err := e.c.Clear(ctx, n); err != nil {
		t.Fatal(err)
	}
	if i := e.info(t, n); i.InactiveTable {
		t.Errorf("cleared: %+v", i)
	}
	if err := e.c.Load(ctx, n, e.table(t, "0 16 zero"), dm.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if i, err := e.c.Resume(ctx, n, dm.ResumeOptions{}); err != nil || !i.ActiveTable || i.InactiveTable || i.Targets != 1 {
		t.Errorf("resumed: %+v %v", i, err)
	}
	e.remove(t, n)
}

func testReload(t *testing.T, e *env) {
	ctx := context.Background()
	n := e.name("r")
	e.create(t, "r", e.table(t, "0 1024 linear %s 0", e.disks[0]), dm.CreateOptions{})
	f := e.rw(t, n)
	defer f.Close()
	data := pattern(4096, 7)
	if _, err := f.WriteAt(data, 4096); err != nil {
		t.Fatal(err)
	}
	for i, tab := range []string{
		"0 512 linear %[1]s 0\n512 512 linear %[1]s 512", // same data, in two pieces
		"0 4096 linear %[1]s 0",                          // grown
		"0 16 linear %[1]s 0\n16 4080 error",             // shrunk to what we read
	} {
		tb := e.table(t, tab, e.disks[0])
		info, err := e.c.Reload(ctx, n, tb, dm.ReloadOptions{})
		if err != nil || info.Suspended || info.InactiveTable || info.Targets != len(tb) {
			t.Fatalf("reload %d: %+v %v", i, info, err)
		}
		got := make([]byte, len(data))
		if _, err := f.ReadAt(got, 4096); err != nil || string(got) != string(data) {
			t.Fatalf("reload %d: data differ, %v", i, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := e.c.Reload(ctx, e.name("none"), e.table(t, "0 8 zero"), dm.ReloadOptions{})
	wantErr(t, err, fs.ErrNotExist)
	e.remove(t, n)
}

// A table that passes our checks and fails in the kernel at the swap leaves
// the device running on the old one. Raw text has no extents, so that the
// size is checked by the kernel alone.
func testReloadRefused(t *testing.T, e *env) {
	ctx := context.Background()
	n := e.name("r")
	e.create(t, "r", e.table(t, "0 1024 linear %s 0", e.disks[0]), dm.CreateOptions{})
	before := e.liveTable(t, n)
	big := dm.Table{}.Append(99999999, dm.Raw{Type: "linear", Text: e.disks[0] + " 0"})
	info, err := e.c.Reload(ctx, n, big, dm.ReloadOptions{})
	var de *dm.Error
	if !errors.As(err, &de) || de.Code != 22 || !strings.Contains(de.Detail, "runs on its old table") {
		t.Errorf("error %v", err)
	}
	if i := e.info(t, n); i.Suspended || i.InactiveTable || !i.ActiveTable || i != info {
		t.Errorf("after: %+v, returned %+v", i, info)
	}
	if after := e.liveTable(t, n); after != before {
		t.Errorf("table %q, was %q", after, before)
	}
	// What is checked before the kernel is asked does not even suspend.
	_, err = e.c.Reload(ctx, n, e.table(t, "0 99999999 linear %s 0", e.disks[0]), dm.ReloadOptions{})
	wantErr(t, err, dm.ErrBadTable, "which has")
	_, err = e.c.Reload(ctx, n, dm.Table{}.Append(8, dm.Raw{Type: "linear", Text: "nonsense"}), dm.ReloadOptions{})
	wantErr(t, err, err, "Invalid argument count")
	if after := e.liveTable(t, n); after != before {
		t.Errorf("table %q, was %q", after, before)
	}
	e.remove(t, n)
}

func testSelfReference(t *testing.T, e *env) {
	ctx := context.Background()
	a := e.create(t, "a", e.table(t, "0 1024 linear %s 0", e.disks[0]), dm.CreateOptions{})
	b := e.create(t, "b", e.table(t, "0 1024 linear %s 0", a.Dev), dm.CreateOptions{})
	_, err := e.c.Reload(ctx, a.Dev, e.table(t, "0 1024 linear %s 0", a.Dev), dm.ReloadOptions{})
	wantErr(t, err, dm.ErrBadTable, "itself")
	_, err = e.c.Reload(ctx, a.Dev, e.table(t, "0 1024 linear %s 0", b.Dev), dm.ReloadOptions{})
	wantErr(t, err, dm.ErrBadTable, "stands on the device itself")
	wantErr(t, e.c.Load(ctx, a.Dev, e.table(t, "0 1024 linear %s 0", a.Dev), dm.LoadOptions{}), dm.ErrBadTable)
	deps, err := e.c.Deps(ctx, b.Name, dm.DepsOptions{})
	if err != nil || len(deps) != 1 || deps[0] != a.Dev {
		t.Errorf("deps %v, %v", deps, err)
	}
	if i := e.info(t, a.Dev); i.Open != 1 {
		t.Errorf("open %d below another device", i.Open)
	}
	e.remove(t, b.Dev, a.Dev)
}

func testSuspendResume(t *testing.T, e *env) {
	ctx := context.Background()
	n := e.name("s")
	e.create(t, "s", e.table(t, "0 1024 linear %s 0", e.disks[0]), dm.CreateOptions{})
	for _, o := range []dm.SuspendOptions{{}, {NoFlush: true}, {NoFlush: true, SkipLockFS: true}} {
		for range 2 { // a second suspend changes nothing
			if err := e.c.Suspend(ctx, n, o); err != nil {
				t.Fatal(err)
			}
			if i := e.info(t, n); !i.Suspended {
				t.Errorf("suspended: %+v", i)
			}
		}
		for range 2 {
			if i, err := e.c.Resume(ctx, n, dm.ResumeOptions{}); err != nil || i.Suspended {
				t.Errorf("resumed: %+v %v", i, err)
			}
		}
	}
	wantErr(t, e.c.Suspend(ctx, e.name("none"), dm.SuspendOptions{}), fs.ErrNotExist)
	_, err := e.c.Resume(ctx, e.name("none"), dm.ResumeOptions{})
	wantErr(t, err, fs.ErrNotExist)
	e.remove(t, n)
}

// pattern is data that differ from block to block.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8)*31 ^ seed
	}
	return b
}
