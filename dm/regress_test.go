// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/internal/runfile"
)

func smallDouble(t *testing.T, opts ...Option) (*dmtest.Kernel, *Client) {
	k := dmtest.New()
	k.AddDisk("/dev/sda", 8, 0, 1000)
	c, err := Open(context.Background(), append([]Option{WithTransport(k.Transport())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return k, c
}

func lin(n Sectors) Table { return Table{}.Append(n, Linear{Device: "/dev/sda"}) }

func mk(t *testing.T, c *Client, name Name, n Sectors) Info {
	t.Helper()
	i, err := c.Create(context.Background(), name, lin(n), CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestRegressRemoveCancelled(t *testing.T) {
	k, c := smallDouble(t)
	mk(t, c, "a", 8)
	rel, _ := k.Hold("a")
	defer rel()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	err := c.Remove(ctx, Name("a"), RemoveOptions{Retries: 100})
	t.Logf("%v", err)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error("cancelled Remove does not match ctx error")
	}
}

var errMine = errors.New("mine")

func TestRegressGuardErr(t *testing.T) {
	k, c := smallDouble(t)
	a := mk(t, c, "a", 8)
	ctx := context.Background()
	err := c.WhileSuspended(ctx, []Ref{a.Dev}, GuardOptions{}, func(ctx context.Context) error {
		_, err := c.Info(ctx, Name("nope"))
		return fmt.Errorf("%w: step 3: %w", errMine, err)
	})
	t.Logf("%v", err)
	if !errors.Is(err, errMine) {
		t.Error("fn's sentinel lost")
	}
	// resume failure lost behind fn's *Error
	var rm func()
	err = c.WhileSuspended(ctx, []Ref{a.Dev}, GuardOptions{}, func(ctx context.Context) error {
		rm = k.Hook(func(call *dmtest.Call) error {
			if call.Command == "DEV_SUSPEND" {
				return syscall.Errno(5)
			}
			return nil
		})
		_, err := c.Info(ctx, Name("nope"))
		return err
	})
	rm()
	i, _ := c.Info(ctx, a.Dev)
	t.Logf("%v; suspended=%v", err, i.Suspended)
	if i.Suspended && !strings.Contains(err.Error(), "suspended: ") && !strings.Contains(err.Error(), "EIO") {
		t.Error("device left suspended and the error does not say so")
	}
}

func TestRegressReloadLeavesInactive(t *testing.T) {
	k, c := smallDouble(t)
	a := mk(t, c, "a", 8)
	k.Hook(func(call *dmtest.Call) error {
		if call.Command == "DEV_SUSPEND" {
			return syscall.Errno(5)
		}
		return nil
	})
	_, err := c.Reload(context.Background(), a.Dev, lin(16), ReloadOptions{})
	i, _ := c.Info(context.Background(), a.Dev)
	t.Logf("%v inactive=%v", err, i.InactiveTable)
	if i.InactiveTable {
		t.Error("failed Reload leaves the inactive table")
	}
}

func TestRegressGuardHalfSwap(t *testing.T) {
	k, c := smallDouble(t)
	ctx := context.Background()
	a, b := mk(t, c, "a", 8), mk(t, c, "b", 8)
	c.Load(ctx, a.Dev, lin(16), LoadOptions{})
	c.Load(ctx, b.Dev, lin(16), LoadOptions{})
	k.Hook(func(call *dmtest.Call) error {
		if call.Command == "DEV_SUSPEND" && call.Flags&2 != 0 && call.Minor == b.Dev.Minor {
			return syscall.Errno(5)
		}
		return nil
	})
	ran := false
	err := c.WhileSuspended(ctx, []Ref{a.Dev, b.Dev}, GuardOptions{}, func(context.Context) error { ran = true; return nil })
	ta, _ := c.Table(ctx, a.Dev, StatusOptions{})
	tb, _ := c.Table(ctx, b.Dev, StatusOptions{})
	t.Logf("%v ran=%v a=%v b=%v", err, ran, ta, tb)
	if ta.Length() != tb.Length() {
		t.Error("half swapped though fn never ran")
	}
	if !strings.Contains(err.Error(), "suspend b") {
		t.Log("error does not say which device")
	}
}

func TestRegressCloseDuringGuard(t *testing.T) {
	_, c := smallDouble(t)
	ctx := context.Background()
	a, b := mk(t, c, "a", 8), mk(t, c, "b", 8)
	err := c.WhileSuspended(ctx, []Ref{a.Dev, b.Dev}, GuardOptions{}, func(ctx context.Context) error {
		if err := c.Load(ctx, a.Dev, lin(16), LoadOptions{}); err != nil {
			return err
		}
		go c.Close()
		time.Sleep(50 * time.Millisecond)
		return c.Load(ctx, b.Dev, lin(16), LoadOptions{})
	})
	t.Logf("%v", err)
	if errors.Is(err, ErrClosed) {
		t.Error("Close breaks fn of a guard in flight; a is swapped, b is not")
	}
}

func TestRegressSuspendCancelledSwaps(t *testing.T) {
	k, c := smallDouble(t)
	ctx, cancel := context.WithCancel(context.Background())
	a := mk(t, c, "a", 8)
	c.Load(ctx, a.Dev, lin(16), LoadOptions{})
	k.HookAfter(func(call *dmtest.Call) error {
		if call.Command == "DEV_SUSPEND" && call.Flags&2 != 0 {
			cancel()
		} else if call.Command == "DEV_SUSPEND" {
			t.Logf("resume event_nr %#x", call.EventNr)
		}
		return nil
	})
	err := c.Suspend(ctx, a.Dev, SuspendOptions{})
	ta, _ := c.Table(context.Background(), a.Dev, StatusOptions{})
	t.Logf("%v %v", err, ta)
	if ta.Length() != 8 {
		t.Error("cancelled Suspend made the inactive table live")
	}
}

func TestRegressTraceWhileSuspended(t *testing.T) {
	var k *dmtest.Kernel
	bad := false
	k, c := smallDouble(t, WithTrace(func(tr Trace) {
		if k == nil {
			return
		}
		for _, d := range k.Devices() {
			if d.Suspended {
				bad = true
			}
		}
	}))
	ctx := context.Background()
	a := mk(t, c, "a", 8)
	_, err := c.Reload(ctx, a.Dev, Table{}.Append(5000, Raw{"linear", "/dev/sda 0"}), ReloadOptions{})
	t.Log(err)
	if bad {
		t.Error("trace callback ran while the device was suspended, before the second resume")
	}
}

func entries(t *testing.T, dir string) string {
	t.Helper()
	var s string
	m, _ := filepath.Glob(filepath.Join(dir, "dm-*"))
	for _, f := range m {
		b, _ := os.ReadFile(f)
		l := runfile.Parse(b)
		for _, o := range l.Open {
			s += fmt.Sprintln(o.Fields)
		}
	}
	return s
}

func TestRegressHeldNotes(t *testing.T) {
	_, c := smallDouble(t)
	dir := t.TempDir()
	c.host.run = &runList{dir: dir}
	ctx := context.Background()
	a := mk(t, c, "a", 8)
	if err := c.Suspend(ctx, a.Dev, SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reload(ctx, a.Dev, lin(16), ReloadOptions{}); err != nil {
		t.Fatal(err)
	}
	i, _ := c.Info(ctx, a.Dev)
	t.Logf("suspended=%v notes=%s", i.Suspended, entries(t, dir))
	if !i.Suspended && entries(t, dir) != "" {
		t.Error("device runs, note of suspend stays")
	}
	c.Suspend(ctx, a.Dev, SuspendOptions{})
	c.Close()
	if e := entries(t, dir); e != "" {
		t.Errorf("after Close in good order an entry stays for ever: %s", e)
	}
}

func TestRegressRemoveByName(t *testing.T) {
	_, c := smallDouble(t)
	dir := t.TempDir()
	c.host.run = &runList{dir: dir}
	ctx := context.Background()
	a := mk(t, c, "a", 8)
	c.Suspend(ctx, a.Dev, SuspendOptions{})
	err := c.Remove(ctx, Name("a"), RemoveOptions{})
	if e := entries(t, dir); e != "" {
		t.Errorf("removed by name (%v), note stays: %s", err, e)
	}
}

func TestRegressRunFileNotExist(t *testing.T) {
	_, c := smallDouble(t)
	ctx := context.Background()
	a := mk(t, c, "a", 8)
	c.host.run = &runList{dir: "/nonexistent/linuxblock"}
	err := c.Suspend(ctx, a.Dev, SuspendOptions{})
	t.Log(err)
	if errors.Is(err, fs.ErrNotExist) {
		t.Error("ErrNotExist for a device that exists")
	}
}

type secretT struct{ key string }

func (s secretT) TargetType() string { return "linear" }
func (s secretT) Params() string     { return "/dev/sda 0" + s.key }
func (s secretT) Redacted() string   { return "/dev/sda 0 <redacted>" }

func TestRegressRedacter(t *testing.T) {
	leak := false
	_, c := smallDouble(t, WithTrace(func(tr Trace) {
		if strings.Contains(string(tr.Request), "topsecret") {
			leak = true
		}
	}))
	c.Create(context.Background(), "a", Table{}.Append(8, secretT{" topsecret"}), CreateOptions{})
	if leak {
		t.Error("the secret of a Redacter is in the trace")
	}
}

// deadFile rewrites our own run file as that of a dead process.
func deadFile(t *testing.T, dir string) {
	t.Helper()
	m, _ := filepath.Glob(filepath.Join(dir, "dm-*.log"))
	b, _ := os.ReadFile(m[0])
	s := string(b)
	l := runfile.Parse(b)
	s = strings.Replace(s, fmt.Sprintf("pid=%q", fmt.Sprint(l.Owner.PID)), `pid="4000000"`, 1)
	s = strings.Replace(s, fmt.Sprintf("start=%q", fmt.Sprint(l.Owner.Start)), `start="1"`, 1)
	os.Remove(m[0])
	if err := os.WriteFile(filepath.Join(dir, "dm-4000000-1-0.log"), []byte(s), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRegressRecoverCancelled(t *testing.T) {
	k, c := smallDouble(t)
	dir := t.TempDir()
	run := &runList{dir: dir}
	run.begin("create", runfile.F("name", "half"), runfile.F("uuid", ""))
	deadFile(t, dir)
	if _, err := c.Create(context.Background(), "half", nil, CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.host.run = &runList{dir: dir}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	l, err := c.Recover(ctx, RecoverOptions{})
	t.Log(l, err)
	c.jobs.Wait()
	t.Logf("devices %v", k.Devices())
	if entries(t, dir) == "" && len(k.Devices()) > 0 {
		t.Error("cancelled Recover forgot the entry; the device stays for ever")
	}
}

func TestRegressRecoverError(t *testing.T) {
	k, c := smallDouble(t)
	a := mk(t, c, "a", 8)
	dir := t.TempDir()
	run := &runList{dir: dir}
	run.begin("suspend", c.noteOf(a)...)
	deadFile(t, dir)
	c.Suspend(context.Background(), a.Dev, SuspendOptions{})
	rm := k.Hook(func(call *dmtest.Call) error {
		if call.Command == "DEV_STATUS" {
			return syscall.Errno(12)
		}
		return nil
	})
	c.host.run = &runList{dir: dir}
	l, err := c.Recover(context.Background(), RecoverOptions{})
	rm()
	t.Log(l, err)
	if entries(t, dir) == "" {
		t.Error("ENOMEM from DEV_STATUS: entry forgotten, device stays suspended")
	}
}

func TestRegressGuardNoteOfSuspended(t *testing.T) {
	_, c := smallDouble(t)
	a := mk(t, c, "a", 8)
	ctx := context.Background()
	c.Suspend(ctx, a.Dev, SuspendOptions{}) // by another program: no run list
	dir := t.TempDir()
	c.host.run = &runList{dir: dir}
	c.WhileSuspended(ctx, []Ref{a.Dev}, GuardOptions{}, func(context.Context) error {
		if e := entries(t, dir); e != "" {
			t.Errorf("a kill now makes Recover resume a device another program suspended: %s", e)
		}
		return nil
	})
}

func TestRegressGoexit(t *testing.T) {
	_, c := smallDouble(t)
	a := mk(t, c, "a", 8)
	done := make(chan bool)
	go func() {
		c.WhileSuspended(context.Background(), []Ref{a.Dev}, GuardOptions{}, func(context.Context) error { runtime.Goexit(); return nil })
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
		t.Error("Goexit (t.FailNow) in fn: WhileSuspended hangs for ever")
	}
	if c.quiet.depth != 0 {
		t.Error("log is held for ever")
	}
}

func TestRegressAppend(t *testing.T) {
	base := Table{}.Append(1, Zero{}).Append(1, Zero{}).Append(1, Zero{})
	x := base.Append(1, Linear{"/dev/x", 0})
	y := base.Append(1, Linear{"/dev/y", 0})
	_ = y
	if x[3].Target.(Linear).Device != "/dev/x" {
		t.Errorf("Append on a shared base overwrote: %v", x[3])
	}
}

func TestRegressGrow(t *testing.T) {
	_, c := smallDouble(t)
	ctx := context.Background()
	low := mk(t, c, "low", 100)
	top, err := c.Create(ctx, "top", Table{}.Append(100, Linear{"/dev/mapper/low", 0}), CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = c.WhileSuspended(ctx, []Ref{top.Dev, low.Dev}, GuardOptions{}, func(ctx context.Context) error {
		if err := c.Load(ctx, low.Dev, lin(200), LoadOptions{}); err != nil {
			return err
		}
		return c.Load(ctx, top.Dev, Table{}.Append(200, Linear{low.Dev.String(), 0}), LoadOptions{})
	})
	if err != nil {
		t.Errorf("growing a stack in one guard: %v", err)
	}
	c.Create(ctx, "e", nil, CreateOptions{})
	c.Load(ctx, Name("e"), lin(8), LoadOptions{})
	_, err = c.Create(ctx, "over", Table{}.Append(8, Linear{"/dev/mapper/e", 0}), CreateOptions{})
	if err != nil {
		t.Errorf("above a device of size 0 (kernel takes it): %v", err)
	}
}

func TestRegressNoteEndedThoughSuspended(t *testing.T) {
	k, c := smallDouble(t)
	dir := t.TempDir()
	ctx := context.Background()
	a := mk(t, c, "a", 8)
	c.host.run = &runList{dir: dir}
	n := 0
	rm := k.Hook(func(call *dmtest.Call) error {
		if call.Command == "DEV_SUSPEND" {
			if n++; n == 2 {
				return syscall.Errno(12)
			}
		}
		return nil
	})
	_, err := c.Reload(ctx, a.Dev, Table{}.Append(5000, Raw{"linear", "/dev/sda 0"}), ReloadOptions{})
	rm()
	i, _ := c.Info(ctx, a.Dev)
	t.Log(err, i.Suspended)
	if i.Suspended && entries(t, dir) == "" {
		t.Error("Reload left the device suspended and ended its note")
	}
	c.Resume(ctx, a.Dev, ResumeOptions{})
	c.WhileSuspended(ctx, []Ref{a.Dev}, GuardOptions{}, func(context.Context) error {
		k.Hook(func(call *dmtest.Call) error {
			if call.Command == "DEV_SUSPEND" {
				return syscall.Errno(12)
			}
			return nil
		})
		return nil
	})
	i, _ = c.Info(ctx, a.Dev)
	if i.Suspended && entries(t, dir) == "" {
		t.Error("WhileSuspended left the device suspended and ended its note")
	}
}

func TestRegressWipeNote(t *testing.T) {
	k, c := smallDouble(t)
	dir := t.TempDir()
	a := mk(t, c, "a", 8)
	c.host.run = &runList{dir: dir}
	k.HookAfter(func(call *dmtest.Call) error {
		if call.Command == "TABLE_LOAD" && entries(t, dir) == "" {
			t.Error("Wipe: error table in the slot, nothing in the run file: a kill here arms the device")
		}
		return nil
	})
	c.Wipe(context.Background(), a.Dev, WipeOptions{Force: true})
}

func TestRegressGuardDup(t *testing.T) {
	_, c := smallDouble(t)
	a := mk(t, c, "a", 8)
	b := mk(t, c, "b", 8)
	t.Log(c.WhileSuspended(context.Background(), []Ref{a.Dev, b.Dev, Name("a")}, GuardOptions{}, func(context.Context) error { return nil }))
}

func TestRegressResumeFailNote(t *testing.T) {
	_, c := smallDouble(t)
	dir := t.TempDir()
	ctx := context.Background()
	a := mk(t, c, "a", 8)
	c.host.run = &runList{dir: dir}
	c.Suspend(ctx, a.Dev, SuspendOptions{})
	c.Load(ctx, a.Dev, Table{}.Append(5000, Raw{"linear", "/dev/sda 0"}), LoadOptions{})
	_, err := c.Resume(ctx, a.Dev, ResumeOptions{})
	i, _ := c.Info(ctx, a.Dev)
	t.Log(err, i.Suspended)
	if !i.Suspended && entries(t, dir) != "" {
		t.Error("Resume on the old table: device runs, the note stays")
	}
}
