// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

func spec(length uint64, typ, params string) dmwire.Spec {
	return dmwire.Spec{Length: length, Type: typ, Params: params}
}

func openIO(t *testing.T, k *Kernel, name string) *IO {
	t.Helper()
	f, err := k.OpenDevice(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func readAll(t *testing.T, f *IO) []byte {
	t.Helper()
	p := make([]byte, f.Size())
	if _, err := f.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

func writeAt(t *testing.T, f *IO, p []byte, off int64) {
	t.Helper()
	if _, err := f.WriteAt(p, off); err != nil {
		t.Fatal(err)
	}
}

// Random writes to an origin and two snapshots against plain byte slices;
// then one snapshot is taken down and up again, handed over by a reload, and
// merged.
func TestSnapshotContent(t *testing.T) {
	k, tr := setup(t)
	k.AddDisk("/dev/ram2", 1, 2, 131072)
	const size = 1024 // sectors
	rng := rand.New(rand.NewPCG(1, 2))
	fill := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		return p
	}
	create(t, tr, "o", spec(size, "snapshot-origin", "1:0"))
	origin := openIO(t, k, "o")
	model := map[string][]byte{"o": fill(size * 512)}
	writeAt(t, origin, model["o"], 0)
	create(t, tr, "p", spec(size, "snapshot", "1:0 1:1 P 8"))
	create(t, tr, "n", spec(size, "snapshot", "1:0 1:2 N 16"))
	model["p"], model["n"] = slices.Clone(model["o"]), slices.Clone(model["o"])
	io := map[string]*IO{"o": origin, "p": openIO(t, k, "p"), "n": openIO(t, k, "n")}
	churn := func(names ...string) {
		for range 60 {
			name := names[rng.IntN(len(names))]
			at, n := rng.IntN(size-40)*512, (1+rng.IntN(40))*512
			p := fill(n)
			writeAt(t, io[name], p, int64(at))
			copy(model[name][at:], p)
		}
		for name, want := range model {
			if f := io[name]; f != nil && !bytes.Equal(readAll(t, f), want) {
				t.Fatalf("%s differs", name)
			}
		}
	}
	churn("o", "p", "n")
	before := status(t, tr, "p", 0)

	// Down and up: the exceptions come back from the device.
	io["p"].Close()
	must(t, tr, dmwire.CmdRemove, named("p"), nil)
	create(t, tr, "p", spec(size, "snapshot", "1:0 1:1 P 8"))
	io["p"] = openIO(t, k, "p")
	if got := status(t, tr, "p", 0); got != before {
		t.Errorf("status %q, was %q", got, before)
	}
	churn("o", "p", "n")

	// A reload hands the exceptions over.
	if err := load(t, tr, "p", spec(size, "snapshot", "1:0 1:1 PO 8")); err != nil {
		t.Fatal(err)
	}
	must(t, tr, dmwire.CmdSuspend, named("p"), nil)
	churn("o", "p", "n")

	// Merge: the origin takes the merging table over, as lvm2 does it, with
	// p suspended.
	k.HoldMerges(true)
	io["p"].Close()
	io["p"] = nil
	if err := load(t, tr, "o", spec(size, "snapshot-merge", "1:0 1:1 P 8")); err != nil {
		t.Fatal(err)
	}
	collect, _ := tr.KernelLog()
	if _, _, err := call(t, tr, dmwire.CmdSuspend, named("o"), nil); err != EINVAL {
		t.Errorf("handover from a running source: %v", err)
	}
	if log := collect(); len(log) != 2 || log[0] != "device-mapper: snapshots: Unable to perform snapshot handover until source is suspended." {
		t.Errorf("%q", log)
	}
	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "p", Flags: dmwire.Suspend}, nil)
	must(t, tr, dmwire.CmdSuspend, named("o"), nil)
	model["o"] = model["p"]
	delete(model, "p")
	if !bytes.Equal(readAll(t, origin), model["o"]) {
		t.Fatal("a merging origin does not show the snapshot")
	}
	left, err := k.Merge("o", 5)
	if err != nil || left == 0 {
		t.Fatal(left, err)
	}
	churn("o", "n")
	nr := func() uint32 { s, _ := k.Device("o"); return s.EventNr }
	events := nr()
	if left, err = k.Merge("o", -1); err != nil || left != 0 || nr() != events+1 {
		t.Errorf("%d left, %v, %d events", left, err, nr()-events)
	}
	if got, want := status(t, tr, "o", 0), fmt.Sprintf("0 %d snapshot-merge 16/131072 16", size); got != want {
		t.Errorf("merged: %q", got)
	}
	churn("o", "n")
	raw := make([]byte, size*512)
	if _, err := k.paths["/dev/ram0"].ReadAt(raw, 0); err != nil || !bytes.Equal(raw, model["o"]) {
		t.Error("the merge did not reach the origin device")
	}
}

// Without HoldMerges the merge runs by itself and raises an event at its end.
func TestMergeRuns(t *testing.T) {
	k, tr := setup(t)
	create(t, tr, "s", spec(256, "snapshot", "1:0 1:1 P 8"))
	f := openIO(t, k, "s")
	writeAt(t, f, bytes.Repeat([]byte{5}, 256*512), 0)
	f.Close()
	must(t, tr, dmwire.CmdRemove, named("s"), nil)
	create(t, tr, "m", spec(256, "snapshot-merge", "1:0 1:1 P 8"))
	must(t, tr, dmwire.CmdWait, named("m"), nil)
	if got := status(t, tr, "m", 0); got != "0 256 snapshot-merge 16/131072 16" {
		t.Errorf("%q", got)
	}
	p := make([]byte, 512)
	if _, err := k.paths["/dev/ram0"].ReadAt(p, 255*512); err != nil || p[0] != 5 {
		t.Error("not merged")
	}
	must(t, tr, dmwire.CmdRemove, named("m"), nil)
	// A metadata area of 256 exceptions fills, the next one is taken.
	create(t, tr, "s", spec(8*300, "snapshot", "1:0 1:1 P 8"))
	f = openIO(t, k, "s")
	writeAt(t, f, make([]byte, 8*300*512), 0)
	if got, want := status(t, tr, "s", 0), fmt.Sprintf("0 2400 snapshot %d/131072 24", (300+3)*8); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSnapshotRefusals(t *testing.T) {
	k, tr := setup(t)
	create(t, tr, "s", spec(64, "snapshot", "1:0 1:1 P 8"))
	must(t, tr, dmwire.CmdCreate, named("x"), nil)
	if err := load(t, tr, "x", spec(64, "snapshot-merge", "1:0 1:1 P 8")); err != nil {
		t.Fatal(err)
	}
	if got := status(t, tr, "x", dmwire.StatusTable|dmwire.QueryInactive); got != "0 64 snapshot-merge 1:0 1:1 P 0" {
		t.Errorf("waiting for a handover: %q", got)
	}
	must(t, tr, dmwire.CmdCreate, named("y"), nil)
	if err := load(t, tr, "y", spec(64, "snapshot", "1:0 1:1 P 8")); err != EINVAL {
		t.Errorf("a third on one device: %v", err)
	}
	k.AddDisk("/dev/ram3", 1, 3, 64).WriteAt([]byte("garbage!"), 0)
	if err := load(t, tr, "y", spec(64, "snapshot", "1:0 1:3 P 8")); err != ENXIO {
		t.Errorf("garbage: %v", err)
	}
	// A device that fails invalidates, not before the write.
	cow := k.AddDisk("/dev/ram4", 1, 4, 640)
	create(t, tr, "z", spec(64, "snapshot", "1:0 1:4 P 8"))
	cow.Fail(0, 640)
	f := openIO(t, k, "z")
	if _, err := f.WriteAt(make([]byte, 512), 0); err != EIO {
		t.Error(err)
	}
	if got := status(t, tr, "z", 0); got != "0 64 snapshot Invalid" {
		t.Errorf("%q", got)
	}
}

func TestStripedContentAndErrors(t *testing.T) {
	k, tr := setup(t)
	create(t, tr, "a", spec(64, "striped", "2 8 1:0 8 1:1 16"))
	f := openIO(t, k, "a")
	p := make([]byte, 64*512)
	for i := range p {
		p[i] = byte(i / 512)
	}
	writeAt(t, f, p, 0)
	if !bytes.Equal(readAll(t, f), p) {
		t.Error("read differs")
	}
	q := make([]byte, 512)
	if _, err := k.paths["/dev/ram1"].ReadAt(q, (16+8)*512); err != nil || q[0] != 24 {
		t.Errorf("sector 24 is not at 24 of the second leg: %d", q[0])
	}
	k.paths["/dev/ram1"].Fail(0, 1000)
	if _, err := f.ReadAt(q, 8*512); err != EIO {
		t.Error(err)
	}
	if got := status(t, tr, "a", 0); got != "0 64 striped 2 1:0 1:1 1 AD" {
		t.Errorf("%q", got)
	}
	if s, _ := k.Device("a"); s.EventNr != 1 {
		t.Errorf("%d events", s.EventNr)
	}
}

func TestDelayAndFlakey(t *testing.T) {
	k, tr := setup(t)
	create(t, tr, "d", spec(64, "delay", "1:0 0 60000"))
	f := openIO(t, k, "d")
	done := make(chan error, 1)
	go func() { _, err := f.ReadAt(make([]byte, 512), 0); done <- err }()
	for status(t, tr, "d", 0) != "0 64 delay 1 0 0" {
		time.Sleep(time.Millisecond)
	}
	// A suspend lets the delayed go.
	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "d", Flags: dmwire.Suspend}, nil)
	if err := <-done; err != nil {
		t.Error(err)
	}
	must(t, tr, dmwire.CmdSuspend, named("d"), nil)

	for _, c := range []struct {
		params      string
		read, write error
		table       string
	}{
		{"1:0 0 0 1", EIO, EIO, "1:0 0 0 1 0 "},
		{"1:0 0 1000 1", nil, nil, "1:0 0 1000 1 0 "},
		{"1:0 0 0 1 1 Drop_Writes", nil, nil, "1:0 0 0 1 1 drop_writes "},
		{"1:0 0 0 1 1 error_writes", nil, EIO, "1:0 0 0 1 1 error_writes "},
		{"1:0 0 0 1 5 corrupt_bio_byte 1 r 7 0", nil, nil, "1:0 0 0 1 5 corrupt_bio_byte 1 r 7 0 "},
	} {
		create(t, tr, "f", spec(64, "flakey", c.params))
		f, err := k.OpenDevice("f")
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 512)
		if _, err := f.ReadAt(p, 0); err != c.read {
			t.Errorf("%s: read %v", c.params, err)
		}
		if p[0] != 0 && p[0] != 7 {
			t.Errorf("%s: read %d", c.params, p[0])
		}
		if _, err := f.WriteAt(make([]byte, 512), 0); err != c.write {
			t.Errorf("%s: write %v", c.params, err)
		}
		if got := status(t, tr, "f", dmwire.StatusTable); got != "0 64 flakey "+c.table {
			t.Errorf("%q", got)
		}
		f.Close()
		must(t, tr, dmwire.CmdRemove, named("f"), nil)
	}
}
