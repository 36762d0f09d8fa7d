// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// Time, and I/O in flight.
func testStatsTime(t *testing.T, e *env) {
	ctx := context.Background()
	e.modules(t, "dm-delay")
	// The delay target itself shows its I/O in flight only behind the delay,
	// since Linux 5.18; one on top shows it from the beginning.
	slow := e.create(t, "slow", e.table(t, "0 64 delay %[1]s 0 0 %[1]s 0 800", e.disks[0]), dm.CreateOptions{}).Dev
	d := e.create(t, "t", e.table(t, "0 64 linear %s 0", slow), dm.CreateOptions{}).Dev
	below := e.region(t, slow, dm.StatsOptions{Precise: true})
	f := e.rw(t, e.name("t"))
	defer f.Close()
	bounds := []time.Duration{100 * time.Millisecond, time.Hour}
	for _, precise := range []bool{false, true} {
		r := e.region(t, d, dm.StatsOptions{Precise: precise, Histogram: bounds})
		done := make(chan error, 1)
		go func() {
			_, err := f.WriteAt(pattern(4096, 1), 0)
			done <- err
		}()
		// A region that begins meanwhile waits for what is in flight.
		for e.only(t, d, r).InFlight == 0 {
			select {
			case err := <-done:
				t.Fatalf("was not seen in flight, %v", err)
			case <-time.After(time.Millisecond):
			}
		}
		first := e.only(t, d, r)
		if first.InFlight != 1 || first.Writes != 0 {
			t.Errorf("in flight: %+v", first)
		}
		if !e.c.Version().AtLeast(4, 46) {
			eventually(t, "I/O in flight in the delay target", func() bool { return e.only(t, slow, below).InFlight == 1 })
		} else if n := e.only(t, slow, below).InFlight; n != 0 {
			t.Errorf("%d in flight in the delay target", n)
		}
		if err := e.c.StatsClear(ctx, d, r); err != nil {
			t.Error(err)
		}
		if a := e.only(t, d, r); a.InFlight != 1 || a.BusyTime > 700*time.Millisecond {
			t.Errorf("cleared in flight: %+v", a)
		}
		late := e.region(t, d, dm.StatsOptions{Precise: precise})
		if a := e.only(t, d, r); a.Writes != 1 {
			t.Errorf("a region was made while I/O was in flight: %+v", a)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		a := e.only(t, d, r)
		if a.InFlight != 0 || a.Writes != 1 || a.WriteTime < 500*time.Millisecond || a.BusyTime > a.WriteTime || a.BusyTime == 0 ||
			a.BusyTime != a.QueueTime || a.WriteBusy != a.BusyTime || a.ReadBusy != 0 || !reflect.DeepEqual(a.Histogram, []uint64{0, 1, 0}) {
			t.Errorf("precise %v: %+v", precise, a)
		}
		if b := e.only(t, d, late); b.Writes != 0 || b.InFlight != 0 {
			t.Errorf("the new region has %+v", b)
		}
	}
	if a := e.only(t, slow, below); a.Writes != 2 || a.WriteTime < time.Second {
		t.Errorf("the delay target: %+v", a)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	e.remove(t, d, slow)
}
