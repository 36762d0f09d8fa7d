// SPDX-License-Identifier: MIT

package main

import (
	"strings"
	"testing"
)

// TestFailures is about exit statuses and about saying what to do.
func TestFailures(t *testing.T) {
	b := newBench(t)
	b.ok("create lin --table '0 8192 linear /dev/ram0 0'")
	b.ok("create top --table '0 8192 linear /dev/mapper/lin 0'")
	for _, c := range []struct {
		command string
		code    int
		text    string
	}{
		{"", 2, "dmctl help"},
		{"frobnicate", 2, `unknown command "frobnicate"`},
		{"table --frob", 2, "--frob; see: dmctl help table"},
		{"rename lin", 2, "usage: dmctl rename NAME NEW"},
		{"ls lin", 2, "usage: dmctl ls"},
		{"--frob ls", 2, "--frob"},
		{"wait lin x", 2, "not an event number"},
		{"create a --table '0 8 zero' --notable", 2, "together"},
		{"create a", 2, "no table"},
		{"info --uuid U --dev 1:2", 2, "together"},
		{"info --dev 12", 1, "not major:minor"},
		{"help frob", 2, "unknown"},
		{"info nosuch", 3, "info nosuch: no such device"},
		{"create a --table '0 8 linear /dev/nosuch 0'", 3, "/dev/nosuch"},
		{"create lin --table '0 8 zero'", 4, "create lin"},
		{"create a/b --table '0 8 zero'", 1, "'/' in name"},
		{"create a --table '0 8'", 1, "want start, length and target"},
		{"create a --table '0 99999 linear /dev/ram1 0'", 1, "/dev/ram1, which has 16384"},
		{"create a --table '0 8 frob x'", 1, "unknown target type"},
		{"remove lin", 5, "try again with --retry"},
	} {
		b.fails(c.command, c.code, c.text)
	}
	b.prints("table", "lin: 0 8192 linear 1:0 0\ntop: 0 8192 linear 254:0 0\n")
	release, err := b.k.AddDisk("/dev/ram9", 1, 9, 8192).Claim()
	if err != nil {
		t.Fatal(err)
	}
	b.fails("create a --table '0 8 linear /dev/ram9 0'", 5, "who has it open")
	release()
	b.fails("create a --minor 0 --table '0 8 zero'", 4, "create a")
	b.k.SetAdmin(false)
	b.fails("ls", 6, "run as root")
}

func TestForce(t *testing.T) {
	b := newBench(t)
	b.ok("create lin --table '0 8192 linear /dev/ram0 0'")
	f, err := b.k.OpenDevice("lin")
	if err != nil {
		t.Fatal(err)
	}
	b.fails("remove lin --force", 5, "the device stays, failing all I/O")
	if _, err := f.ReadAt(make([]byte, 512), 0); err == nil {
		t.Error("the device still reads")
	}
	b.ok("remove lin --deferred")
	if out := b.ok("info lin"); !strings.Contains(out, "DEFERRED REMOVE") {
		t.Errorf("info:\n%s", out)
	}
	f.Close()
	b.fails("info lin", 3, "no such device")
}
