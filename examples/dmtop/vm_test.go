// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/blockdev"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// TestMain lets the test binary be dmtop itself, so that signals and kills
// are real.
func TestMain(m *testing.M) {
	if args, ok := os.LookupEnv("DMTOP_ARGS"); ok {
		os.Args = append(os.Args[:1], strings.Fields(args)...)
		main()
	}
	os.Exit(m.Run())
}

// child is dmtop as a process, whose JSON is read.
type child struct {
	*os.Process
	lines *bufio.Scanner
}

func startChild(t *testing.T, args string) child {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	p, err := os.StartProcess("/proc/self/exe", []string{"dmtop"}, &os.ProcAttr{
		Env: append(os.Environ(), "DMTOP_ARGS="+args), Files: []*os.File{nil, w, os.Stderr},
	})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return child{p, bufio.NewScanner(r)}
}

func (c child) next(t *testing.T) (s jsonSample) {
	t.Helper()
	if !c.lines.Scan() {
		t.Fatalf("dmtop ended: %v", c.lines.Err())
	}
	if err := json.Unmarshal(c.lines.Bytes(), &s); err != nil {
		t.Fatalf("%q: %v", c.lines.Text(), err)
	}
	return s
}

func (c child) end(t *testing.T, with os.Signal) {
	t.Helper()
	if err := c.Signal(with); err != nil {
		t.Fatal(err)
	}
	for c.lines.Scan() {
	}
	state, err := c.Wait()
	if err != nil || with != os.Kill && state.ExitCode() != 0 {
		t.Errorf("behind %v: %v, %v", with, state, err)
	}
}

// TestKernel has dmtop watch I/O of a known amount, beside dmstats.
func TestKernel(t *testing.T) {
	vmtest.Require(t, "dm-mod")
	disk := vmtest.RAMDisk(t)
	ctx := context.Background()
	c, err := dm.Open(ctx, dm.WithRunDir(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	info, err := c.Create(ctx, "dmtop-vm", dm.Table{}.Append(8192, dm.Linear{Device: disk}), dm.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Remove(ctx, info.Dev, dm.RemoveOptions{Retries: 20})
	vmtest.Run(t, "dmstats", "create", "--programid", "mine", "dmtop-vm")
	f, err := blockdev.Open(info.Dev.Path(), blockdev.Options{Write: true, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const writes, reads, size = 300, 200, 8192
	do := func() {
		p := make([]byte, size)
		for i := range writes {
			if _, err := f.WriteAt(p, int64(i)*size); err != nil {
				t.Fatal(err)
			}
		}
		for i := range reads {
			if _, err := f.ReadAt(p, int64(i)*size); err != nil {
				t.Fatal(err)
			}
		}
	}
	regions := func(want ...string) {
		t.Helper()
		list, err := c.StatsList(ctx, info.Dev, "")
		var got []string
		for _, r := range list {
			got = append(got, r.Program)
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("regions of %v, want %v; %v", got, want, err)
		}
	}

	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		top := startChild(t, "-json -i 200ms dmtop-vm")
		first := top.next(t)
		if first.Device != "dmtop-vm" || first.Dev != info.Dev.String() {
			t.Errorf("%+v", first)
		}
		regions("mine", "dmtop")
		do()
		var sum jsonSample
		busy := 0.0
		for end := time.Now().Add(20 * time.Second); sum.Writes < writes || sum.Reads < reads; {
			s := top.next(t)
			sum.Writes, sum.Reads = sum.Writes+s.Writes, sum.Reads+s.Reads
			sum.WriteSectors, sum.ReadSectors = sum.WriteSectors+s.WriteSectors, sum.ReadSectors+s.ReadSectors
			busy += s.Utilization * s.Interval
			if s.Writes > 0 && (s.WriteWait <= 0 || s.Utilization <= 0 || s.AverageSize != size) {
				t.Errorf("%+v", s)
			}
			if time.Now().After(end) {
				break
			}
		}
		if sum.Writes != writes || sum.Reads != reads || sum.WriteSectors != writes*size/512 || sum.ReadSectors != reads*size/512 || busy <= 0 {
			t.Errorf("%d writes of %d sectors, %d reads of %d, busy %v s", sum.Writes, sum.WriteSectors, sum.Reads, sum.ReadSectors, busy)
		}
		top.end(t, sig)
		regions("mine")
	}
	// dmstats saw the same, twice.
	out := vmtest.Output(t, "dmstats", "report", "--programid", "mine", "--noheadings", "--separator", ":", "-o", "read_count,write_count", "dmtop-vm")
	if want := fmt.Sprintf("%d:%d", 2*reads, 2*writes); strings.TrimSpace(out) != want {
		t.Errorf("dmstats counts %q, want %q", out, want)
	}

	// What a kill leaves, dmstats lists, and the next dmtop takes away.
	killed := startChild(t, "-json -i 100ms")
	killed.next(t)
	killed.end(t, os.Kill)
	regions("mine", "dmtop")
	if out := vmtest.Output(t, "dmstats", "list", "--programid", "dmtop", "--noheadings", "-o", "program_id", "dmtop-vm"); strings.TrimSpace(out) != "dmtop" {
		t.Errorf("dmstats lists %q", out)
	}
	again := startChild(t, "-json -i 100ms")
	again.next(t)
	regions("mine", "dmtop")
	again.end(t, os.Interrupt)
	regions("mine")
	vmtest.Run(t, "dmstats", "delete", "--programid", "mine", "--allregions", "dmtop-vm")
	regions()
}
