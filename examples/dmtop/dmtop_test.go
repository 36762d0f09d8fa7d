// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// bench is a double, a clock that the test moves, and dmtop on them.
type bench struct {
	*testing.T
	k     *dmtest.Kernel
	c     *dm.Client
	now   atomic.Int64 // nanoseconds
	took  atomic.Int64 // by an I/O
	ticks chan time.Time
	out   chan string // what dmtop writes at a time
	size  screen
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, ticks: make(chan time.Time), out: make(chan string)}
	b.k = dmtest.New(dmtest.WithClock(b.clock))
	b.k.AddDisk("/dev/ram0", 1, 0, 1<<20).FailWith(func(bool, uint64, uint64) error {
		b.now.Add(b.took.Load())
		return nil
	})
	b.c, _ = b.open(t.Context())
	t.Cleanup(func() { b.c.Close() })
	return b
}

func (b *bench) clock() time.Time { return time.Unix(1e9, b.now.Load()) }

func (b *bench) open(ctx context.Context, opts ...dm.Option) (*dm.Client, error) {
	return dm.Open(ctx, append(opts, dm.WithTransport(b.k.Transport()))...)
}

func (b *bench) create(name, table string) dm.Dev {
	b.Helper()
	tab, err := dm.ParseTable(table)
	if err != nil {
		b.Fatal(err)
	}
	info, err := b.c.Create(context.Background(), dm.Name(name), tab, dm.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return info.Dev
}

// write writes n times so many sectors.
func (b *bench) write(name string, n int, start, count int64) {
	b.Helper()
	f, err := b.k.OpenDevice(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for range n {
		if _, err := f.WriteAt(make([]byte, count*512), start*512); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *bench) host() host {
	return host{
		open: b.open, now: b.clock, owner: "me",
		tick:   func(time.Duration) (<-chan time.Time, func()) { return b.ticks, func() {} },
		dead:   func(owner string) bool { return owner == "dead" },
		screen: func() (screen, bool) { return b.size, b.size != screen{} },
	}
}

type chanWriter chan string

func (w chanWriter) Write(p []byte) (int, error) { w <- string(p); return len(p), nil }

// start runs dmtop; end interrupts it and gives its exit status and stderr.
func (b *bench) start(args ...string) (end func() (int, string)) {
	ctx, cancel := context.WithCancel(b.Context())
	var stderr bytes.Buffer
	code := make(chan int)
	go func() {
		code <- run(ctx, args, chanWriter(b.out), &stderr, b.host())
	}()
	return func() (int, string) {
		cancel()
		return <-code, stderr.String()
	}
}

// round lets an interval end and returns what is shown.
func (b *bench) round() string {
	b.Helper()
	b.now.Add(int64(time.Second) - b.now.Load()%int64(time.Second))
	return b.justRound()
}

func (b *bench) justRound() string {
	b.Helper()
	deadline := time.After(20 * time.Second)
	select {
	case b.ticks <- b.clock():
	case <-deadline:
		b.Fatal("dmtop takes no tick")
	}
	select {
	case s := <-b.out:
		return s
	case <-deadline:
		b.Fatal("dmtop shows nothing")
	}
	return ""
}

// until goes round until cond holds of what is shown.
func (b *bench) until(what string, cond func(shown string) bool) string {
	b.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		if s := b.round(); cond(s) {
			return s
		} else if time.Now().After(end) {
			b.Fatalf("%s: not so in %q", what, s)
		}
		time.Sleep(time.Millisecond)
	}
}

func (b *bench) shows(name string) string {
	b.Helper()
	return b.until(name+" shows", func(s string) bool { return strings.Contains(s, name) })
}

func (b *bench) regions(dev dm.Dev) []string {
	b.Helper()
	list, err := b.c.StatsList(context.Background(), dev, "")
	if err != nil {
		b.Fatal(err)
	}
	var texts []string
	for _, r := range list {
		texts = append(texts, r.Program+" "+r.Aux)
	}
	return texts
}

// fields are the lines as words.
func fields(s string) [][]string {
	var list [][]string
	for line := range strings.Lines(s) {
		list = append(list, strings.Fields(line))
	}
	return list
}

func TestLines(t *testing.T) {
	b := newBench(t)
	slow := b.create("slow", "0 2048 linear /dev/ram0 0")
	b.create("a-fast", "0 2048 linear /dev/ram0 4096")
	end := b.start()
	b.until("both", func(s string) bool {
		return strings.Count(s, "\n") >= 2 && strings.Contains(s, "slow") && strings.Contains(s, "a-fast")
	})
	// 25 writes of 8 KiB that take 20 ms each, and 5 that take 2.
	b.took.Store(int64(20 * time.Millisecond))
	b.write("slow", 25, 0, 16)
	b.took.Store(int64(2 * time.Millisecond))
	b.write("a-fast", 5, 8, 8)
	got := fields(b.round())
	want := [][]string{
		strings.Fields("slow 0.0 25.0 0.0 200.0 8.0 0.00 20.00 0.50 0 50.0"),
		strings.Fields("a-fast 0.0 5.0 0.0 20.0 4.0 0.00 2.00 0.01 0 1.0"),
	}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	// Nothing is counted twice.
	if got := fields(b.round()); len(got) != 2 || got[0][2] != "0.0" || got[0][0] != "a-fast" {
		t.Errorf("%q", got)
	}
	if got := b.regions(slow); !slices.Equal(got, []string{"dmtop me"}) {
		t.Errorf("regions while it runs: %q", got)
	}
	if code, e := end(); code != 0 || e != "" {
		t.Errorf("status %d, %s", code, e)
	}
	if got := b.regions(slow); got != nil {
		t.Errorf("regions behind ^C: %q", got)
	}
}

func TestRoundsAndNames(t *testing.T) {
	b := newBench(t)
	one := b.create("one", "0 8 zero")
	two := b.create("two", "0 8 zero")
	end := b.start("-n", "2", "/dev/mapper/two")
	first := fields(b.round())
	if len(first) == 0 || !slices.Equal(first[0], append([]string{"DEVICE"}, heads...)) {
		t.Errorf("%q", first)
	}
	b.round()
	if code, e := end(); code != 0 || e != "" {
		t.Errorf("status %d, %s", code, e)
	}
	if b.regions(one) != nil || b.regions(two) != nil {
		t.Errorf("regions %q %q", b.regions(one), b.regions(two))
	}
	end = b.start("two")
	b.shows("two")
	if got := fields(b.round()); len(got) != 1 || got[0][0] != "two" || b.regions(one) != nil {
		t.Errorf("%q, %q", got, b.regions(one))
	}
	// A name decides, also when it changes.
	if err := b.c.Rename(t.Context(), dm.Name("two"), "three", dm.RenameOptions{}); err != nil {
		t.Fatal(err)
	}
	b.until("nothing", func(s string) bool { return s == "" })
	if err := b.c.Rename(t.Context(), dm.Name("one"), "two", dm.RenameOptions{}); err != nil {
		t.Fatal(err)
	}
	b.shows("two")
	if b.regions(one) == nil || b.regions(two) != nil {
		t.Errorf("regions %q %q", b.regions(one), b.regions(two))
	}
	end()
}

// Devices come, grow, go, and come again; a region that somebody deletes is
// made anew.
func TestComeAndGo(t *testing.T) {
	b := newBench(t)
	end := b.start()
	b.until("nothing", func(s string) bool { return !strings.Contains(s, "x") })
	for range 3 {
		dev := b.create("x", "0 64 linear /dev/ram0 0")
		b.shows("x ")
		table, _ := dm.ParseTable("0 1024 linear /dev/ram0 0")
		if _, err := b.c.Reload(t.Context(), dev, table, dm.ReloadOptions{}); err != nil {
			t.Fatal(err)
		}
		b.round()
		b.write("x", 3, 1000, 8)
		if got := fields(b.round()); len(got) != 1 || got[0][2] != "3.0" {
			t.Errorf("I/O in what was added: %q", got)
		}
		list, err := b.c.StatsList(t.Context(), dev, program)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		if err := b.c.StatsDelete(t.Context(), dev, list[0]); err != nil {
			t.Fatal(err)
		}
		if s := b.round(); s != "" {
			t.Errorf("without a region: %q", s)
		}
		b.shows("x ")
		if err := b.c.Rename(t.Context(), dm.Name("x"), "y", dm.RenameOptions{}); err != nil {
			t.Fatal(err)
		}
		b.shows("y ")
		if err := b.c.Remove(t.Context(), dev, dm.RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
		b.until("nothing", func(s string) bool { return s == "" })
	}
	if code, e := end(); code != 0 || e != "" {
		t.Errorf("status %d, %s", code, e)
	}
	b.k.AssertClean(t)
}

func TestLeftovers(t *testing.T) {
	b := newBench(t)
	dev := b.create("x", "0 8 zero")
	for _, o := range []dm.StatsOptions{
		{Program: "dmtop", Aux: "dead"}, {Program: "dmtop", Aux: "alive"}, {Program: "other", Aux: "dead"}, {Program: "dmtop", Aux: "dead"}, {},
	} {
		if _, err := b.c.StatsCreate(t.Context(), dev, o); err != nil {
			t.Fatal(err)
		}
	}
	end := b.start()
	b.shows("x ")
	want := []string{"dmtop me", "dmtop alive", "other dead", " "}
	if got := b.regions(dev); !slices.Equal(got, want) {
		t.Errorf("regions %q, want %q", got, want)
	}
	end()
	if got := b.regions(dev); !slices.Equal(got, want[1:]) {
		t.Errorf("regions behind the end %q", got)
	}
}

// A device whose I/O hangs keeps its region from being made, and nothing else.
func TestHangingDevice(t *testing.T) {
	b := newBench(t)
	entered, gate := make(chan struct{}), make(chan struct{})
	b.k.AddDisk("/dev/stuck", 8, 0, 1<<20).FailWith(func(bool, uint64, uint64) error {
		close(entered)
		<-gate
		return nil
	})
	stuck := b.create("stuck", "0 64 linear /dev/stuck 0")
	b.create("good", "0 64 linear /dev/ram0 0")
	done := make(chan struct{})
	f, err := b.k.OpenDevice("stuck")
	if err != nil {
		t.Fatal(err)
	}
	go func() { defer close(done); f.WriteAt(make([]byte, 512), 0) }()
	<-entered
	end := b.start()
	b.shows("good")
	for range 3 {
		if s := b.round(); strings.Contains(s, "stuck") || !strings.Contains(s, "good") {
			t.Errorf("%q", s)
		}
	}
	// Interrupted, it waits for the kernel and leaves nothing.
	time.AfterFunc(200*time.Millisecond, func() { close(gate) })
	if code, e := end(); code != 0 || e != "" {
		t.Errorf("status %d, %s", code, e)
	}
	<-done
	f.Close()
	if got := b.regions(stuck); got != nil {
		t.Errorf("left %q", got)
	}
}

func TestJSON(t *testing.T) {
	b := newBench(t)
	b.create(`a\x20b`, "0 64 linear /dev/ram0 0")
	end := b.start("-json", "-i", "2")
	b.shows("a b")
	b.took.Store(int64(250 * time.Millisecond))
	b.write(`a\x20b`, 2, 0, 8)
	var got jsonSample
	dec := json.NewDecoder(strings.NewReader(b.round()))
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := jsonSample{
		Time: b.clock().UTC(), Device: "a b", Dev: "254:0", Interval: 1, Writes: 2, WriteSectors: 16,
		WritesPerSec: 2, WriteBytesPSec: 8192, AverageSize: 4096, WriteWait: 0.25, QueueLength: 0.5, Utilization: 0.5,
	}
	if got != want || dec.More() {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	end()
}

func TestUsage(t *testing.T) {
	b := newBench(t)
	b.create("x", "0 8 zero")
	for _, tt := range []struct {
		args string
		code int
		says string
	}{
		{"-h", 0, ""}, {"-i 0", 2, "below 10ms"}, {"-i x", 2, "-i"}, {"-n -1", 2, "negative"}, {"-q", 2, "-q"}, {"a/b", 2, "a/b"}, {"none", 1, "none"}, {"x none", 1, "none"},
	} {
		var out, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(tt.args), &out, &stderr, b.host())
		if code != tt.code || !strings.Contains(stderr.String(), tt.says) || tt.code == 0 && out.String() != usage {
			t.Errorf("%s: status %d, %q %q", tt.args, code, out.String(), stderr.String())
		}
	}
	b.k.SetAdmin(false)
	var stderr bytes.Buffer
	if code := run(t.Context(), nil, io.Discard, &stderr, b.host()); code != 1 || !strings.Contains(stderr.String(), "CAP_SYS_ADMIN") {
		t.Errorf("status %d, %s", code, stderr.String())
	}
}
