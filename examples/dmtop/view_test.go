// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// The table fits the screen, the busiest on top, and leaves the last line.
func TestDraw(t *testing.T) {
	b := newBench(t)
	b.size = screen{110, 5}
	long := strings.Repeat("long-name-", 4)
	for _, n := range []string{"a", "b", "c", "d", long} {
		b.create(n, "0 64 linear /dev/ram0 0")
	}
	end := b.start()
	first := b.round()
	if !strings.HasPrefix(first, "\x1b[2J\x1b[H") {
		t.Errorf("%q", first)
	}
	for ready := false; !ready; {
		ready = true
		for _, d := range b.k.Devices() {
			ready = ready && len(b.regions(dm.Dev{Major: d.Major, Minor: d.Minor})) > 0
		}
	}
	b.until("all", func(s string) bool { return strings.Count(s, "\r\n") == 4 })
	b.took.Store(int64(10 * time.Millisecond))
	b.write(long, 30, 0, 8)
	b.write("c", 20, 0, 8)
	b.write("d", 10, 0, 8)
	s := b.round()
	lines := strings.Split(strings.TrimSuffix(s, "\x1b[J"), "\x1b[K\r\n")
	if !strings.HasPrefix(s, "\x1b[HDEVICE ") || len(lines) != 5 || lines[4] != "" {
		t.Fatalf("%q", lines)
	}
	for i, want := range []string{"long-name-long-name", "c ", "d "} {
		if l := lines[i+1]; !strings.HasPrefix(l, want) || len(l) > 110 || !strings.HasSuffix(l, fmt.Sprint(30-10*i, ".0")) {
			t.Errorf("%q, want %q and %d%%", l, want, 30-10*i)
		}
	}
	// It becomes narrow, and then there is hardly any.
	b.size = screen{30, 3}
	for _, l := range strings.Split(strings.TrimPrefix(b.round(), "\x1b[H"), "\x1b[K\r\n")[:2] {
		if len(l) != 30 {
			t.Errorf("%q", l)
		}
	}
	b.size = screen{1, 1}
	if s := b.round(); s != "\x1b[HD\x1b[K\r\n\x1b[J" {
		t.Errorf("%q", s)
	}
	end()
}

func TestDrawNothing(t *testing.T) {
	var out strings.Builder
	v := newView(&out, options{}, func() (screen, bool) { return screen{80, 24}, true })
	if err := v.show(nil); err != nil || !strings.Contains(out.String(), "no devices") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// A name is no way to write to somebody's terminal.
func TestNameIsText(t *testing.T) {
	c := cells(sample{name: "a\x1b[2Jü\n"})
	if c[0] != "a?[2Jü?" {
		t.Errorf("%q", c[0])
	}
}

func TestNoTerminal(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if s, ok := screenOf(f); ok {
		t.Errorf("a file is a screen of %v", s)
	}
}

func TestOwner(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	me := self()
	_, start := processStat(os.Getpid())
	ns := pidNamespace()
	child, err := os.StartProcess("/proc/self/exe", []string{"dmtop.test", "-test.run", "^$"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	exists, started := processStat(child.Pid)
	for exists { // until it is a zombie
		time.Sleep(time.Millisecond)
		exists, _ = processStat(child.Pid)
	}
	zombie := ownerText(child.Pid, started, ns)
	for owner, want := range map[string]bool{
		me:                                      false,
		ownerText(os.Getpid(), start, ns):       false,
		ownerText(os.Getpid(), start+"1", ns):   true,
		ownerText(1<<30, "1", ns):               true,
		ownerText(1<<30, "1", "pid:[1]"):        false,
		"":                                      false,
		"-":                                     false,
		ownerText(1<<30, "1", ns) + " and more": false,
		"pid=-5 start=1 ns=" + ns:               true,
		zombie:                                  true,
	} {
		if got := dead(owner); got != want {
			t.Errorf("%q is dead: %v", owner, got)
		}
	}
	child.Wait()
	if err := (dm.StatsOptions{Program: program, Aux: me}).Validate(); err != nil {
		t.Error(err)
	}
}
