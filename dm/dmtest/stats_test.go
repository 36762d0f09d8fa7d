// SPDX-License-Identifier: MIT

package dmtest

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// statsBench is a device whose disk takes as long as the test says.
type statsBench struct {
	*testing.T
	k    *Kernel
	tr   *Transport
	now  atomic.Int64 // nanoseconds
	took time.Duration
	disk *Disk
	gate chan chan struct{} // if not nil: I/O waits until it may go on
}

func newStatsBench(t *testing.T) *statsBench {
	b := &statsBench{T: t}
	b.k, b.tr = setup(t, WithClock(func() time.Time { return time.Unix(0, b.now.Load()) }))
	b.k.mu.Lock()
	b.disk = b.k.paths["/dev/ram0"]
	b.k.mu.Unlock()
	b.disk.FailWith(func(bool, uint64, uint64) error {
		b.now.Add(int64(b.took))
		if b.gate != nil {
			c := make(chan struct{})
			b.gate <- c
			<-c
		}
		return nil
	})
	return b
}

func (b *statsBench) say(name, text string) string {
	b.Helper()
	payload := make([]byte, dmwire.MessageSize(text))
	dmwire.PutMessage(payload, 0, text)
	_, body := must(b.T, b.tr, dmwire.CmdMessage, named(name), payload)
	return cstring(body)
}

func (b *statsBench) prints(text, want string) {
	b.Helper()
	if got := b.say("a", text); got != want {
		b.Errorf("%s\n got %q\nwant %q", text, got, want)
	}
}

// Time in the kernel's ticks and in nanoseconds, and the bins.
func TestStatsTime(t *testing.T) {
	b := newStatsBench(t)
	create(t, b.tr, "a", linearTo("1:0", 64))
	b.say("a", "@stats_create - /1 1 histogram:8,100")
	b.say("a", "@stats_create - 32 2 histogram:8000000,11000000 precise_timestamps")
	f := openIO(t, b.k, "a")
	for _, took := range []time.Duration{3, 5, 11, 100} { // the ticks come every 4 ms
		b.took = took * time.Millisecond
		writeAt(t, f, make([]byte, 512), 8*512)
	}
	b.took = 0
	if _, err := f.ReadAt(make([]byte, 16*512), 24*512); err != nil {
		t.Fatal(err)
	}
	// 0 to 3, 3 to 8, 8 to 19, 19 to 119 ms: 0, 2, 2 and 25 ticks.
	b.prints("@stats_print 0", "0+64 1 0 16 0 4 0 4 116 0 116 116 0 116 2:2:1\n")
	b.prints("@stats_print 1 - 1", "0+32 1 0 8 0 4 0 4 119000000 0 119000000 119000000 0 119000000 3:0:2\n")
	b.prints("@stats_print 1 1 -", "32+32 1 0 8 0 0 0 0 0 0 0 0 0 0 1:0:0\n")
	b.say("a", "@stats_clear 1")
	b.prints("@stats_print 1", "0+32 0 0 0 0 0 0 0 0 0 0 0 0 0 0:0:0\n32+32 0 0 0 0 0 0 0 0 0 0 0 0 0 0:0:0\n")
	f.Close()
	must(t, b.tr, dmwire.CmdRemove, named("a"), nil)
}

// I/O in flight shows, lasts through a clear, and keeps a new region waiting.
func TestStatsInFlight(t *testing.T) {
	b := newStatsBench(t)
	create(t, b.tr, "a", linearTo("1:0", 64))
	b.say("a", "@stats_create - /2 1 precise_timestamps")
	f := openIO(t, b.k, "a")
	b.gate = make(chan chan struct{})
	done := make(chan error, 2)
	go func() { _, err := f.WriteAt(make([]byte, 8*512), 0); done <- err }()
	one := <-b.gate
	b.now.Add(100)
	go func() { _, err := f.ReadAt(make([]byte, 8*512), 8*512); done <- err }()
	two := <-b.gate
	b.now.Add(10)
	b.prints("@stats_print 0 0 1", "0+32 0 0 0 0 0 0 0 0 2 110 120 10 110\n")
	b.prints("@stats_print_clear 0 0 1", "0+32 0 0 0 0 0 0 0 0 2 110 120 10 110\n")
	b.prints("@stats_print 0 0 1", "0+32 0 0 0 0 0 0 0 0 2 0 0 0 0\n")
	close(one)
	if err := <-done; err != nil {
		t.Error(err)
	}
	b.now.Add(5)
	b.prints("@stats_print 0 0 1", "0+32 0 0 0 0 1 0 8 110 1 5 5 5 0\n")

	made := make(chan string)
	go func() { made <- b.say("a", "@stats_create - /1") }()
	for waiting := false; !waiting; time.Sleep(time.Millisecond) {
		b.k.mu.Lock()
		waiting = b.k.names["a"].blocked
		b.k.mu.Unlock()
	}
	b.prints("@stats_list", "0: 0+64 32 - - precise_timestamps\n")
	close(two)
	if id := <-made; id != "1" {
		t.Errorf("region %s", id)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	b.prints("@stats_print 0 0 1", "0+32 1 0 8 15 1 0 8 110 0 5 5 5 0\n")
	b.prints("@stats_print 1", "0+64 0 0 0 0 0 0 0 0 0 0 0 0 0\n")
	f.Close()
	// While a device is suspended nothing is in flight, and I/O waits on.
	must(t, b.tr, dmwire.CmdSuspend, dmwire.Header{Name: "a", Flags: dmwire.Suspend}, nil)
	b.say("a", "@stats_create - /1")
	b.k.mu.Lock()
	if d := b.k.names["a"]; !d.blocked || !d.suspended {
		t.Error("a new region let I/O through")
	}
	b.k.mu.Unlock()
	must(t, b.tr, dmwire.CmdSuspend, named("a"), nil)
	b.k.AssertRunning(t)
}

// An answer that is cut clears nothing, and one that fills all but a byte
// counts as cut.
func TestStatsCutAnswer(t *testing.T) {
	b := newStatsBench(t)
	create(t, b.tr, "a", linearTo("1:0", 64))
	b.say("a", "@stats_create - 8")
	f := openIO(t, b.k, "a")
	writeAt(t, f, make([]byte, 64*512), 0)
	f.Close()
	want := b.say("a", "@stats_print 0")
	ask := func(text string, room int) (string, bool) {
		payload := make([]byte, room)
		dmwire.PutMessage(payload, 0, text)
		h, body := must(t, b.tr, dmwire.CmdMessage, dmwire.Header{Name: "a", DataSize: uint32(dmwire.HeaderSize + room)}, payload)
		return cstring(body), h.Flags&dmwire.BufferFull != 0
	}
	for _, room := range []int{40, len(want) / 2, len(want), len(want) + 1} {
		if _, full := ask("@stats_print_clear 0", room); !full {
			t.Errorf("%d bytes for %d: not full", room, len(want))
		}
		if got := b.say("a", "@stats_print 0"); got != want {
			t.Fatalf("%d bytes: counters %q", room, got)
		}
	}
	if got, full := ask("@stats_print_clear 0", len(want)+2); full || got != want {
		t.Errorf("%q, full %v", got, full)
	}
	if got := b.say("a", "@stats_print 0"); strings.Count(got, " 0 0 0 0 0 0 0 0 0 0 0 0 0\n") != 8 {
		t.Errorf("not cleared: %q", got)
	}
}

// The kernel keeps statistics within a quarter of its memory.
func TestStatsMemory(t *testing.T) {
	b := newStatsBench(t)
	create(t, b.tr, "a", linearTo("1:0", 64))
	create(t, b.tr, "b", linearTo("1:0", 64))
	try := func(name, text string) error {
		payload := make([]byte, dmwire.MessageSize(text))
		dmwire.PutMessage(payload, 0, text)
		_, _, err := call(t, b.tr, dmwire.CmdMessage, named(name), payload)
		return err
	}
	if err := try("a", "@stats_create 0+2000000 1"); err != nil {
		t.Error(err)
	}
	if err := try("b", "@stats_create 0+2000000 1"); err != ENOMEM {
		t.Errorf("both together: %v", err)
	}
	if err := try("b", "@stats_create 0+18446744073709551615 1"); err != EOVERFLOW {
		t.Errorf("2^64 areas: %v", err)
	}
	b.say("a", "@stats_delete 0")
	if err := try("b", "@stats_create 0+2000000 1"); err != nil {
		t.Error(err)
	}
	if err := try("a", "@stats_create 0+300000 1 1 histogram:1,2,3,4,5,6,7,8"); err != ENOMEM {
		t.Errorf("bins: %v", err)
	}
}

// Newer kernels have a limit besides.
func TestStatsLimits(t *testing.T) {
	for text, want := range map[string][2]error{ // before 6.8, and since
		"@stats_create 0+8388608 1":                           {ENOMEM, ENOMEM},
		"@stats_create 0+8388609 1":                           {ENOMEM, EOVERFLOW},
		"@stats_create 0+1000 1":                              {nil, nil},
		"@stats_create 0+8388608 1 1 histogram:" + bounds(15): {ENOMEM, ENOMEM},
		"@stats_create 0+8388608 1 1 histogram:" + bounds(16): {ENOMEM, EOVERFLOW},
	} {
		for i, minor := range []uint32{47, 48} {
			_, tr := setup(t, WithVersion(4, minor, 0))
			create(t, tr, "a", linearTo("1:0", 64))
			payload := make([]byte, dmwire.MessageSize(text))
			dmwire.PutMessage(payload, 0, text)
			if _, _, err := call(t, tr, dmwire.CmdMessage, named("a"), payload); err != want[i] {
				t.Errorf("4.%d %s: %v, want %v", minor, text, err, want[i])
			}
		}
	}
}

// bounds are n of them.
func bounds(n int) string {
	var list []string
	for i := range n {
		list = append(list, strconv.Itoa(i+1))
	}
	return strings.Join(list, ",")
}

// Discards are writes; those of a stripe are not split.
func TestStatsDiscard(t *testing.T) {
	b := newStatsBench(t)
	create(t, b.tr, "a", spec(64, "striped", "2 8 1:0 0 1:1 0"))
	b.say("a", "@stats_create - /1")
	f := openIO(t, b.k, "a")
	defer f.Close()
	if err := f.Discard(8*512, 32*512); err != nil {
		t.Fatal(err)
	}
	b.prints("@stats_print_clear 0", "0+64 0 0 0 0 1 0 32 0 0 0 0 0 0\n")
	writeAt(t, f, make([]byte, 32*512), 4*512)
	b.prints("@stats_print_clear 0", "0+64 0 0 0 0 5 4 32 0 0 0 0 0 0\n")
	// One that fails below counts, one that nobody takes too.
	b.disk.Fail(0, 64)
	if _, err := f.ReadAt(make([]byte, 512), 0); err != EIO {
		t.Error(err)
	}
	b.prints("@stats_print_clear 0", "0+64 1 0 1 0 0 0 0 0 0 0 0 0 0\n")
}
