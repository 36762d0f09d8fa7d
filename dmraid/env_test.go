// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

// driver is what the conformance suite needs: the kernel in the VM, or the
// double.
type driver struct {
	open    func(t *testing.T) *dm.Client
	disks   []string // twelve of 65536 sectors
	opts    []dmraid.ArrayOption
	devices dmraid.DeviceOpener
	kernel  dmraid.Kernel
	tries   int // of what must never fail
}

func runConformance(t *testing.T, d *driver, cases []conformanceCase) {
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			e := &env{driver: d, c: d.open(t), prefix: fmt.Sprintf("rf%d-", serial.Add(1))}
			defer e.cleanUp(t)
			tt.run(t, e)
		})
	}
}

type conformanceCase struct {
	name string
	run  func(*testing.T, *env)
}

var serial atomic.Int64

// env is one case: its names share a prefix that no other case has.
type env struct {
	*driver
	c      *dm.Client
	prefix string
	legs   int // that were made
}

func (e *env) name(s string) dm.Name { return dm.Name(e.prefix + s) }

func (e *env) cleanUp(t *testing.T) {
	ctx := context.Background()
	if info, err := e.c.Info(ctx, e.name("r")); err == nil {
		if info.Suspended {
			t.Errorf("the array is left suspended")
			e.c.Resume(ctx, info.Dev, dm.ResumeOptions{})
		}
		e.c.Clear(ctx, info.Dev)
		if err := e.c.Remove(ctx, info.Dev, dm.RemoveOptions{Retries: 20}); err != nil {
			t.Error(err)
		}
	}
	list, err := e.c.List(ctx, dm.ListOptions{NamePrefix: e.prefix})
	if err != nil {
		t.Error(err)
	}
	for _, l := range list {
		if info, err := e.c.Info(ctx, l.Dev); err == nil && info.Suspended {
			t.Errorf("%s is left suspended", l.Name)
			e.c.Resume(ctx, l.Dev, dm.ResumeOptions{})
		}
		e.c.Remove(ctx, l.Dev, dm.RemoveOptions{Retries: 2})
	}
	if list, _ := e.c.List(ctx, dm.ListOptions{NamePrefix: e.prefix}); len(list) > 0 {
		t.Errorf("can't be removed: %v", list)
	}
	if err := e.c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// legSectors is how large the data device of a leg is; the array uses less, so
// that there is room to reshape.
const (
	metaSectors = dm.Sectors(2048)
	legSectors  = dm.Sectors(16384)
)

// leg makes two linear devices on the next disk: a leg that can be made to
// fail. All of it is zero, or another byte.
func (e *env) leg(t *testing.T) dmraid.Leg {
	t.Helper()
	disk := e.disks[e.legs]
	n := e.legs
	e.legs++
	e.create(t, fmt.Sprintf("meta%d", n), metaSectors, dm.Linear{Device: disk})
	e.create(t, fmt.Sprintf("data%d", n), legSectors, dm.Linear{Device: disk, Offset: metaSectors})
	l := dmraid.Leg{Meta: e.dev(t, fmt.Sprintf("meta%d", n)), Data: e.dev(t, fmt.Sprintf("data%d", n))}
	e.fill(t, l.Meta, 0, metaSectors)
	e.fill(t, l.Data, byte(0x30+n), legSectors)
	return l
}

func (e *env) newLegs(t *testing.T, n int) (list []dmraid.Leg) {
	t.Helper()
	for range n {
		list = append(list, e.leg(t))
	}
	return list
}

func (e *env) create(t *testing.T, name string, n dm.Sectors, target dm.Target) {
	t.Helper()
	if _, err := e.c.Create(t.Context(), e.name(name), dm.Table{}.Append(n, target), dm.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (e *env) dev(t *testing.T, name string) string {
	t.Helper()
	info, err := e.c.Info(t.Context(), e.name(name))
	if err != nil {
		t.Fatal(err)
	}
	return info.Dev.String()
}

func (e *env) fill(t *testing.T, dev string, b byte, n dm.Sectors) {
	t.Helper()
	e.write(t, dev, bytes.Repeat([]byte{b}, int(n.Bytes())), 0)
}

func (e *env) write(t *testing.T, dev string, p []byte, off int64) {
	t.Helper()
	if err := e.tryWrite(dev, p, off); err != nil {
		t.Fatalf("write to %s at %d: %v", dev, off, err)
	}
}

func (e *env) tryWrite(dev string, p []byte, off int64) error {
	d, err := e.devices.OpenDevice(dev, true)
	if err != nil {
		return err
	}
	_, err = d.WriteAt(p, off)
	return errors.Join(err, d.Flush(context.Background()), d.Close())
}

func (e *env) read(t *testing.T, dev string, off int64, n int) []byte {
	t.Helper()
	d, err := e.devices.OpenDevice(dev, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p := make([]byte, n)
	if _, err := d.ReadAt(p, off); err != nil {
		t.Fatalf("read %s at %d: %v", dev, off, err)
	}
	return p
}

// failDisk puts an error target below a leg, or its disk again.
func (e *env) failDisk(t *testing.T, n int, fail bool) {
	t.Helper()
	for i, part := range []struct {
		name       string
		start, len dm.Sectors
	}{{"meta", 0, metaSectors}, {"data", metaSectors, legSectors}} {
		var target dm.Target = dm.Linear{Device: e.disks[n], Offset: part.start}
		if fail {
			target = dm.ErrorTarget{}
		}
		_ = i
		opts := dm.ReloadOptions{SuspendOptions: dm.SuspendOptions{NoFlush: true, SkipLockFS: true}}
		if _, err := e.c.Reload(t.Context(), e.name(fmt.Sprintf("%s%d", part.name, n)), dm.Table{}.Append(part.len, target), opts); err != nil {
			t.Fatal(err)
		}
	}
}

// live makes a new array and fills it with data when it is in sync.
func (e *env) live(t *testing.T, table dmraid.Table, length dm.Sectors) (*dmraid.Array, []byte) {
	t.Helper()
	ctx := t.Context()
	p, err := dmraid.PlanCreate(ctx, e.c, dmraid.NewArray{Name: e.name("r"), Table: table, Length: length, Force: true}, e.opts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(ctx, linuxblock.RunOptions{}); err != nil {
		t.Fatal(err)
	}
	a := e.openArray(t)
	data := pattern(int(length.Bytes()), 1)
	e.write(t, a.Dev().String(), data, 0)
	e.idle(t, a)
	return a, data
}

func (e *env) openArray(t *testing.T) *dmraid.Array {
	t.Helper()
	a, err := dmraid.OpenArray(t.Context(), e.c, e.name("r"), e.opts...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// idle waits until nothing goes on any more.
func (e *env) idle(t *testing.T, a *dmraid.Array) dmraid.Progress {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := a.WaitIdle(ctx, dmraid.WatchOptions{Interval: 20 * time.Millisecond})
	if err != nil {
		s, _ := a.Status(t.Context())
		t.Fatalf("%v; status %s", err, s)
	}
	return p
}

// do runs an operation and prints its plan when it fails.
func (e *env) do(t *testing.T, a *dmraid.Array, op dmraid.Operation) {
	t.Helper()
	p, err := a.Plan(t.Context(), op)
	if err != nil {
		t.Fatalf("%#v: %v", op, err)
	}
	if err := p.Run(t.Context(), linuxblock.RunOptions{}); err != nil {
		t.Fatalf("%v\n%s", err, p)
	}
}

func (e *env) state(t *testing.T, a *dmraid.Array) dmraid.ArrayState {
	t.Helper()
	s, err := a.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// clean waits, and makes sure that all is well then and the data are there.
func (e *env) clean(t *testing.T, a *dmraid.Array, data []byte) {
	t.Helper()
	p := e.idle(t, a)
	s := e.state(t, a)
	if s.Health.Condition != dmraid.Clean || strings.Trim(s.Status.Letters, "A") != "" || p.Health.Condition != dmraid.Clean {
		t.Errorf("%s: %s", s.Status, s.Health)
	}
	if s.Info.Suspended || s.Info.InactiveTable {
		t.Errorf("%+v", s.Info)
	}
	e.holds(t, a, data)
}

func (e *env) holds(t *testing.T, a *dmraid.Array, data []byte) {
	t.Helper()
	got := e.read(t, a.Dev().String(), 0, len(data))
	if i := differsAt(got, data); i >= 0 {
		t.Errorf("the array has other data from byte %d on", i)
	}
}

// consistent has the legs compared by the kernel.
func (e *env) consistent(t *testing.T, a *dmraid.Array) {
	t.Helper()
	r, err := a.Scrub(t.Context(), dmraid.ScrubOptions{WatchOptions: dmraid.WatchOptions{Interval: 20 * time.Millisecond}})
	if err != nil || r.Found != 0 {
		t.Errorf("scrub: %+v, %v", r, err)
	}
}

// equalLegs compares the data of the legs of a raid1 byte by byte.
func (e *env) equalLegs(t *testing.T, legs []dmraid.Leg, n int) {
	t.Helper()
	first := e.read(t, legs[0].Data, 0, n)
	for _, l := range legs[1:] {
		if i := differsAt(first, e.read(t, l.Data, 0, n)); i >= 0 {
			t.Fatalf("%s differs from byte %d on", l.Data, i)
		}
	}
}

func differsAt(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

// pattern is data that differ from block to block.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	var row [256]byte
	for at := 0; at < n; at += len(row) {
		c := byte(at>>8)*31 ^ byte(at>>16)*7 ^ seed
		subtle.XORBytes(row[:], patternRow[:], bytes.Repeat([]byte{c}, len(row)))
		copy(b[at:], row[:])
	}
	return b
}

var patternRow = func() (row [256]byte) {
	for i := range row {
		row[i] = byte(i)
	}
	return row
}()

func wantErr(t *testing.T, err, want error, says string) {
	t.Helper()
	var e *dmraid.Error
	if !errors.Is(err, want) || !errors.As(err, &e) || e.Op == "" || !strings.Contains(err.Error(), says) {
		t.Errorf("error %v, want %v and %q", err, want, says)
	}
}
