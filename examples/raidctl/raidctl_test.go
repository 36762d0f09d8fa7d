// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/dmraid/raidtest"
)

// bench is a double with five disks of 8 MiB, and raidctl on it.
type bench struct {
	t testing.TB
	k *dmtest.Kernel
}

func newBench(t testing.TB) *bench {
	k := dmtest.New()
	k.AddTarget(raidtest.Target(dmraid.Linux61))
	for i, path := range []string{"/dev/ram0", "/dev/ram1", "/dev/ram2", "/dev/ram3", "/dev/ram4"} {
		k.AddDisk(path, 1, uint32(i), 16384)
	}
	t.Cleanup(func() { k.AssertRunning(t) })
	return &bench{t, k}
}

func (b *bench) open(ctx context.Context) (*dm.Client, error) {
	return dm.Open(ctx, dm.WithTransport(b.k.Transport()), dm.WithTargets(dmraid.Parsers()))
}

func (b *bench) devices() opener { return raidtest.Devices{Kernel: b.k} }

func (b *bench) attach(context.Context, string) (string, func(), error) {
	return "", nil, errors.New("no loop devices here")
}

// line splits a command line at blanks; 'single quotes' keep some together.
func line(s string) []string {
	var args []string
	for i, part := range strings.Split(s, "'") {
		if i%2 == 0 {
			args = append(args, strings.Fields(part)...)
		} else {
			args = append(args, part)
		}
	}
	return args
}

func (b *bench) run(command, in string) (out, errText string, code int) {
	var o, e bytes.Buffer
	code = run(b.t.Context(), line(command), strings.NewReader(in), &o, &e, b)
	return o.String(), e.String(), code
}

// gives wants a status, and texts in what is printed; it returns that.
func (b *bench) gives(code int, command string, texts ...string) string {
	b.t.Helper()
	out, errText, got := b.run(command, "")
	all := out + errText
	if got != code {
		b.t.Fatalf("raidctl %s: status %d, want %d\n%s", command, got, code, all)
	}
	for _, text := range texts {
		if !strings.Contains(all, text) {
			b.t.Errorf("raidctl %s: no %q in\n%s", command, text, all)
		}
	}
	return out
}

// fill writes to the array and returns what it holds.
func (b *bench) fill(name string) []byte {
	b.t.Helper()
	f, err := b.k.OpenDevice(name)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, f.Size())
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	if _, err := f.WriteAt(p, 0); err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bench) holds(name string, want []byte) {
	b.t.Helper()
	f, err := b.k.OpenDevice(name)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		b.t.Errorf("%s does not hold what was written, %v", name, err)
	}
}

// TestLife takes arrays of all kinds through their life.
func TestLife(t *testing.T) {
	for _, tt := range []struct {
		typ  string
		legs string
	}{
		{"raid1", "/dev/ram0 /dev/ram1 /dev/ram2"}, {"raid5_ls", "/dev/ram0 /dev/ram1 /dev/ram2"},
		{"raid6_zr", "/dev/ram0 /dev/ram1 /dev/ram2 /dev/ram3"}, {"raid10", "/dev/ram0 /dev/ram1 /dev/ram2 /dev/ram3"},
	} {
		t.Run(tt.typ, func(t *testing.T) {
			b := newBench(t)
			b.gives(0, "create a "+tt.typ+" "+tt.legs+" --yes --chunk 32K", "/dev/mapper/a: "+tt.typ)
			b.gives(0, "watch a", "100.0 %")
			b.gives(0, "status", "a: "+tt.typ, "clean", "leg 1  in sync")
			data := b.fill("a")

			b.gives(0, "fail a 1 --yes")
			b.gives(7, "status a", "degraded", "leg 1  missing")
			b.holds("a", data)
			data = b.fill("a")
			b.gives(0, "return a 1")
			b.gives(0, "watch a")
			b.gives(0, "status a", "clean")

			b.gives(0, "replace a 0 /dev/ram4 --yes")
			b.gives(0, "watch a")
			b.gives(0, "status a", "clean")
			b.gives(0, "scrub a", "all legs agree")
			b.holds("a", data)

			b.gives(0, "stop a")
			b.k.AssertClean(t)
			legs := strings.Replace(tt.legs, "/dev/ram0", "/dev/ram4", 1)
			b.gives(0, "verify "+legs, "current")
			file := filepath.Join(t.TempDir(), "image")
			degraded := strings.Replace(legs, "/dev/ram1", "-", 1)
			b.gives(0, "read "+degraded+" --out "+file, "read to")
			got, err := os.ReadFile(file)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("the image does not hold what was written, %v", err)
			}
			b.gives(1, "read "+degraded+" --out "+file, "exist")

			b.gives(0, "assemble a "+legs)
			b.holds("a", data)
			b.gives(0, "stop a")
			b.k.AssertClean(t)
		})
	}
}

func TestScrubFindsAndRepairs(t *testing.T) {
	b := newBench(t)
	disk := b.k.AddDisk("/dev/bad", 1, 9, 16384)
	b.gives(0, "create a raid1 /dev/ram0 /dev/bad --yes")
	b.gives(0, "watch a")
	data := b.fill("a")
	if _, err := disk.WriteAt([]byte("other"), metaSize.Bytes()+4096); err != nil {
		t.Fatal(err)
	}
	b.gives(7, "scrub a", "64 KiB differ")
	b.gives(0, "scrub a --repair", "were repaired")
	b.gives(0, "scrub a", "all legs agree")
	b.holds("a", data)
	b.gives(0, "stop a")
}

func TestAsks(t *testing.T) {
	b := newBench(t)
	for _, answer := range []string{"", "y\n", "no\n"} {
		out, errText, code := b.run("create a raid1 /dev/ram0 /dev/ram1", answer)
		if code != 1 || !strings.Contains(out, "All data on /dev/ram0 (8 MiB), /dev/ram1 (8 MiB) will be lost.") || !strings.Contains(errText, "nothing was changed") {
			t.Errorf("answer %q: status %d\n%s%s", answer, code, out, errText)
		}
		b.k.AssertClean(t)
	}
	if _, errText, code := b.run("create a raid1 /dev/ram0 /dev/ram1", "yes\n"); code != 0 {
		t.Fatalf("status %d %s", code, errText)
	}
	if _, _, code := b.run("fail a 0", "no\n"); code != 1 {
		t.Errorf("status %d", code)
	}
	b.gives(0, "status a", "in sync")
	b.gives(0, "stop a")
}

func TestPlans(t *testing.T) {
	b := newBench(t)
	out := b.gives(0, "create a raid1 /dev/ram0 /dev/ram1 --plan", "  1. ")
	if !strings.Contains(out, "create") {
		t.Error(out)
	}
	b.k.AssertClean(t)
	b.gives(0, "create a raid1 /dev/ram0 /dev/ram1 --yes")
	b.gives(0, "watch a")
	for _, command := range []string{"fail a 0", "replace a 0 /dev/ram3", "stop a"} {
		before, _ := b.k.Device("a")
		b.gives(0, command+" --plan", "  1. ")
		if after, _ := b.k.Device("a"); after.Active != before.Active || after.EventNr != before.EventNr {
			t.Errorf("%s --plan changed %+v to %+v", command, before, after)
		}
	}
	b.gives(0, "stop a")
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	b.gives(0, "create a raid1 /dev/ram0 /dev/ram1 --yes")
	b.gives(0, "watch a")
	for _, tt := range []struct {
		code          int
		command, text string
	}{
		{2, "", "raidctl help"},
		{2, "nosuch", "unknown command"},
		{2, "create b", "usage: raidctl create"},
		{2, "create b raid7 /dev/ram2", "not known"},
		{2, "create b raid1", "--files"},
		{2, "create b raid1 /dev/ram2 /dev/ram2 --yes", "given twice"},
		{2, "create b raid1 /dev/ram2 - --yes", "all its legs"},
		{2, "status --repair", "takes no --repair"},
		{2, "create b raid1 /dev/ram2 --chunk 3Q", "no size"},
		{2, "fail a x --yes", "no position"},
		{1, "create a raid1 /dev/ram2 /dev/ram3 --yes", "there is an array a"},
		{5, "create b raid1 /dev/ram0 /dev/ram2 --yes", "busy"},
		{1, "create b raid6_zr /dev/ram2 /dev/ram3 --yes", "needs 4 legs"},
		{3, "create b raid1 /dev/ram2 /dev/nosuch --yes", "/dev/nosuch"},
		{3, "status nosuch", "nosuch"},
		{1, "fail a 7 --yes", "7"},
		{1, "verify /dev/ram2 /dev/ram3", "superblock"},
		{2, "read /dev/ram0", "--out"},
	} {
		b.gives(tt.code, tt.command, tt.text)
	}
	b.gives(0, "stop a")
	b.k.AssertClean(t)
}

func TestExplain(t *testing.T) {
	b := newBench(t)
	b.gives(0, "explain '0 16384 raid raid5_ls 3 64 rebuild 1 3 - 8:0 - 8:16 - 8:32'", "left", "rebuil")
	b.gives(0, "explain --draft '0 16384 raid raid5_ls 2 64 1 3 8:1 8:0 8:17 8:16 8:33 8:32'", "today: 0 16384 raid raid5_ls 3 64 rebuild 1 3")
	b.gives(0, "help", "create NAME TYPE", "--force")
}

func TestSize(t *testing.T) {
	for text, want := range map[string]size{"0": 0, "512": 512, "8s": 4096, "64K": 65536, "3m": 3 << 20, "2G": 2 << 30, "1T": 1 << 40} {
		var s size
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "K", "-1", "1.5M", "9999999T", "8ss"} {
		if err := new(size).Set(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
