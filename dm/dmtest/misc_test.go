// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

func TestGeometry(t *testing.T) {
	k, tr := setup(t)
	create(t, tr, "a", zeroSpec)
	for text, want := range map[string]error{
		"1 2 32 0": nil, "65535 255 255 3": nil, " 1 2 3 6": nil,
		"1 2 3": EINVAL, "1 2 3 4 ": EINVAL, "a": EINVAL, "65536 1 1 0": EINVAL, "1 256 1 0": EINVAL, "1 2 3 7": EINVAL,
	} {
		h, _, err := call(t, tr, dmwire.CmdSetGeometry, named("a"), append([]byte(text), 0))
		if err != want || h.DataSize != 16384 || h.Dev != 0 {
			t.Errorf("%q: %v, %+v", text, err, h)
		}
	}
	if s, _ := k.Device("a"); s.Geometry == [4]uint64{} {
		t.Error("no geometry")
	}
	if _, _, err := call(t, tr, dmwire.CmdSetGeometry, named("none"), []byte("1 1 1 0\x00")); err != ENXIO {
		t.Error(err)
	}
}

// Statistics count the I/O that goes through the table.
func TestStatsCount(t *testing.T) {
	k, tr := setup(t, WithClock(func() time.Time { return time.Time{} }))
	create(t, tr, "a", linearTo("1:0", 64))
	say := func(text string) string {
		t.Helper()
		payload := make([]byte, dmwire.MessageSize(text))
		dmwire.PutMessage(payload, 0, text)
		_, body := must(t, tr, dmwire.CmdMessage, named("a"), payload)
		return cstring(body)
	}
	if id := say("@stats_create 8+40 16 1 histogram:5,9 prog aux"); id != "0" {
		t.Errorf("id %q", id)
	}
	f := openIO(t, k, "a")
	writeAt(t, f, make([]byte, 32*512), 0)
	if _, err := f.ReadAt(make([]byte, 512), 40*512); err != nil {
		t.Fatal(err)
	}
	want := "8+16 0 0 0 0 1 0 16 0 0 0 0 0 0 1:0:0\n24+16 0 0 0 0 1 0 8 0 0 0 0 0 0 1:0:0\n40+16 1 0 1 0 0 0 0 0 0 0 0 0 0 1:0:0\n"
	if got := say("@stats_print_clear 0"); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := say("@stats_print 0 1 1"); got != "24+16 0 0 0 0 0 0 0 0 0 0 0 0 0 0:0:0\n" {
		t.Errorf("%q", got)
	}
	if id := say("@stats_create - /1"); id != "1" {
		t.Errorf("id %q", id)
	}
	say("@stats_delete 0")
	if id := say("@stats_create - 8"); id != "0" {
		t.Errorf("the free id is not taken again: %q", id)
	}
	if got := say("@stats_list"); got != "0: 0+64 8 - -\n1: 0+64 64 - -\n" {
		t.Errorf("%q", got)
	}
}

func TestDiscard(t *testing.T) {
	k, tr := setup(t)
	create(t, tr, "o", linearTo("1:0", 64))
	create(t, tr, "a", spec(64, "striped", "2 8 254:0 0 1:1 0"), dmwire.Spec{Start: 64, Length: 8, Type: "error"}, dmwire.Spec{Start: 72, Length: 8, Type: "zero"})
	f := openIO(t, k, "a")
	writeAt(t, f, bytes.Repeat([]byte{3}, 64*512), 0)
	if err := f.Discard(8*512, 16*512); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 64*512)
	if _, err := f.ReadAt(p, 0); err != nil || !isZero(p[8*512:24*512]) || p[0] != 3 || p[24*512] != 3 {
		t.Errorf("%v", err)
	}
	for _, off := range []int64{64 * 512, 0} {
		_, err := f.ReadAt(make([]byte, 512), off)
		_, werr := f.WriteAt(make([]byte, 512), off)
		derr := f.Discard(off, 512)
		if bad := off != 0; bad != (err == EIO) || bad != (werr == EIO) || bad != (derr == EIO) {
			t.Errorf("%v %v %v", err, werr, derr)
		}
	}
	if _, err := f.ReadAt(p[:100], 0); err != EINVAL {
		t.Errorf("half a sector: %v", err)
	}
	if n, err := f.WriteAt(make([]byte, 1024), 79*512); n != 512 || err != ENOSPC {
		t.Errorf("beyond the end: %d %v", n, err)
	}
	// A read-only table.
	if _, _, err := call(t, tr, dmwire.CmdLoad, dmwire.Header{Name: "a", TargetCount: 1, Flags: dmwire.ReadOnly}, loadPayload(t, linearTo("1:1", 8))); err != nil {
		t.Fatal(err)
	}
	must(t, tr, dmwire.CmdSuspend, named("a"), nil)
	if _, err := f.WriteAt(make([]byte, 512), 0); err != EPERM {
		t.Errorf("write to a read-only device: %v", err)
	}
}

// recorder notes the hooks that the core calls.
type recorder struct {
	gate  chan struct{}
	calls *[]string
	fail  *bool
}

func (r recorder) note(s string) { *r.calls = append(*r.calls, s) }
func (r recorder) Presuspend()   { r.note("presuspend") }
func (r recorder) Postsuspend()  { r.note("postsuspend") }
func (r recorder) PresuspendUndo() {
	r.note("undo")
}
func (r recorder) Resume()  { r.note("resume") }
func (r recorder) Destroy() { r.note("destroy") }
func (r recorder) Preresume() error {
	r.note("preresume")
	if *r.fail {
		return EIO
	}
	return nil
}
func (r recorder) ReadSectors(p []byte, _ uint64) error { <-r.gate; return nil }
func (r recorder) WriteSectors([]byte, uint64) error    { return nil }

func TestTargetHooks(t *testing.T) {
	k, tr := setup(t, WithMajor(253))
	gate := make(chan struct{})
	var calls []string
	fail := true
	k.AddTarget(Target{Name: "rec", Autoload: true, New: func(a *Args) (Instance, error) {
		if a.DeviceName() != fmt.Sprintf("%d:0", k.Major()) {
			t.Errorf("device %s", a.DeviceName())
		}
		return recorder{gate, &calls, &fail}, nil
	}})
	rec := spec(8, "rec", "")
	must(t, tr, dmwire.CmdCreate, named("a"), nil)
	if err := load(t, tr, "a", rec); err != nil {
		t.Fatal(err)
	}
	collect, _ := tr.KernelLog()
	if _, _, err := call(t, tr, dmwire.CmdSuspend, named("a"), nil); err != EIO {
		t.Errorf("resume: %v", err)
	}
	if log := collect(); len(log) != 1 || log[0] != "device-mapper: table: 253:0: rec: preresume failed, error = -5" {
		t.Errorf("%q", log)
	}
	fail = false
	must(t, tr, dmwire.CmdSuspend, named("a"), nil)
	// A suspend that is broken off while I/O is under way is undone.
	f := openIO(t, k, "a")
	done := make(chan error, 1)
	go func() { _, err := f.ReadAt(make([]byte, 512), 0); done <- err }()
	for inside := false; !inside; time.Sleep(time.Millisecond) {
		k.mu.Lock()
		inside = k.names["a"].inflight > 0
		k.mu.Unlock()
	}
	one := k.Transport()
	time.AfterFunc(10*time.Millisecond, func() { one.Close() })
	if _, _, err := call(t, one, dmwire.CmdSuspend, dmwire.Header{Name: "a", Flags: dmwire.Suspend}, nil); err != EINTR {
		t.Errorf("suspend: %v", err)
	}
	k.AssertRunning(t)
	close(gate)
	if err := <-done; err != nil {
		t.Error(err)
	}
	f.Close()
	must(t, tr, dmwire.CmdRemove, named("a"), nil)
	want := "preresume preresume resume presuspend undo presuspend postsuspend destroy"
	if got := strings.Join(calls, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	k.RemoveTarget("rec")
	must(t, tr, dmwire.CmdCreate, named("a"), nil)
	if err := load(t, tr, "a", rec); err != EINVAL {
		t.Error(err)
	}
	for i := range logKeep + 10 {
		k.Log("test", "%d", i)
	}
	if log := collect(); len(log) != logKeep {
		t.Errorf("%d lines kept", len(log))
	}
}

func TestBlockName(t *testing.T) {
	k := New()
	k.AddDisk("/dev/sda", 8, 0, 8)
	tr := k.Transport()
	defer tr.Close()
	create(t, tr, "a", zeroSpec)
	for number, want := range map[[2]uint32]string{{8, 0}: "sda", {k.Major(), 0}: "dm-0", {8, 1}: "", {k.Major(), 1}: ""} {
		got, err := tr.BlockName(number[0], number[1])
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: %q, %v", number, got, err)
		}
	}
}
