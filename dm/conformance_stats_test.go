// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

func (e *env) region(t *testing.T, ref dm.Ref, o dm.StatsOptions) dm.StatsRegion {
	t.Helper()
	r, err := e.c.StatsCreate(context.Background(), ref, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (e *env) areas(t *testing.T, ref dm.Ref, r dm.StatsRegion, o dm.StatsPrintOptions) []dm.StatsArea {
	t.Helper()
	list, err := e.c.StatsPrint(context.Background(), ref, r, o)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// only is the one area of a region.
func (e *env) only(t *testing.T, ref dm.Ref, r dm.StatsRegion) dm.StatsArea {
	t.Helper()
	list := e.areas(t, ref, r, dm.StatsPrintOptions{})
	if len(list) != 1 {
		t.Fatalf("%d areas", len(list))
	}
	return list[0]
}

// anIO is one that a test has done, in sectors.
type anIO struct {
	write        bool
	start, count dm.Sectors
}

// counted is what a region must show of them, area by area.
func counted(r dm.StatsRegion, ios []anIO) []dm.StatsArea {
	var list []dm.StatsArea
	for at := r.Start; at < r.Start+r.Length; at += r.Step {
		a := dm.StatsArea{Start: at, Length: min(r.Step, r.Start+r.Length-at)}
		for _, io := range ios {
			from, to := max(a.Start, io.start), min(a.Start+a.Length, io.start+io.count)
			switch {
			case from >= to:
			case io.write:
				a.Writes, a.WriteSectors = a.Writes+1, a.WriteSectors+to-from
			default:
				a.Reads, a.ReadSectors = a.Reads+1, a.ReadSectors+to-from
			}
		}
		list = append(list, a)
	}
	return list
}

// plain is an area without what depends on time, and the number of I/Os in
// its histogram.
func plain(a dm.StatsArea) (dm.StatsArea, uint64) {
	total := uint64(0)
	for _, n := range a.Histogram {
		total += n
	}
	c := a.StatsCounters
	a.StatsCounters = dm.StatsCounters{Reads: c.Reads, ReadSectors: c.ReadSectors, Writes: c.Writes, WriteSectors: c.WriteSectors}
	return a, total
}

func (e *env) checkCounted(t *testing.T, ref dm.Ref, r dm.StatsRegion, ios []anIO, o dm.StatsPrintOptions) {
	t.Helper()
	got, want := e.areas(t, ref, r, o), counted(r, ios)
	if len(got) != len(want) || len(got) != r.Areas() {
		t.Errorf("%v: %d areas, want %d", r, len(got), len(want))
		return
	}
	for i, a := range got {
		p, bins := plain(a)
		if !reflect.DeepEqual(p, want[i]) {
			t.Errorf("%v:\n got %+v\nwant %+v", r, p, want[i])
		}
		if n := a.Reads + a.Writes; r.Histogram != nil && (bins != n || len(a.Histogram) != len(r.Histogram)+1) {
			t.Errorf("%v: histogram %v of %d I/Os", r, a.Histogram, n)
		}
		if a.InFlight != 0 || a.ReadTime < 0 || a.Reads == 0 && a.ReadTime != 0 || a.BusyTime > a.QueueTime {
			t.Errorf("%v: %+v", r, a)
		}
		if r.Precise && a.Writes > 0 && (a.WriteTime == 0 || a.WriteBusy == 0 || a.BusyTime == 0 || a.QueueTime == 0) {
			t.Errorf("%v: writes took no time: %+v", r, a)
		}
	}
}

// Regions of every kind count the same I/O.
func testStats(t *testing.T, e *env) {
	ctx := context.Background()
	d := e.create(t, "s", e.table(t, "0 8192 linear %s 0", e.disks[0]), dm.CreateOptions{}).Dev
	const ms = time.Millisecond
	var regions []dm.StatsRegion
	for i, tt := range []struct {
		o    dm.StatsOptions
		want dm.StatsRegion
	}{
		{dm.StatsOptions{}, dm.StatsRegion{Length: 8192, Step: 8192}},
		{dm.StatsOptions{Step: 1000, Program: "p"}, dm.StatsRegion{Length: 8192, Step: 1000, Program: "p"}},
		{dm.StatsOptions{Start: 8, Length: 100, Areas: 3, Aux: "x"}, dm.StatsRegion{Start: 8, Length: 100, Step: 34, Aux: "x"}},
		{dm.StatsOptions{Start: 4, Length: 3, Areas: 10}, dm.StatsRegion{Start: 4, Length: 3, Step: 1}},
		{dm.StatsOptions{Areas: 4, Histogram: []time.Duration{1 * ms, 10 * ms, 1000 * ms}},
			dm.StatsRegion{Length: 8192, Step: 2048, Histogram: []time.Duration{1 * ms, 10 * ms, 1000 * ms}}},
		{dm.StatsOptions{Precise: true, Histogram: []time.Duration{1500, 3 * ms}, Program: "p", Aux: "precise"},
			dm.StatsRegion{Length: 8192, Step: 8192, Precise: true, Histogram: []time.Duration{1500, 3 * ms}, Program: "p", Aux: "precise"}},
		{dm.StatsOptions{Precise: true, Start: 8000, Length: 1000, Step: 1 << 40}, dm.StatsRegion{Start: 8000, Length: 1000, Step: 1 << 40, Precise: true}},
	} {
		r := e.region(t, d, tt.o)
		tt.want.ID = i
		if !reflect.DeepEqual(r, tt.want) {
			t.Errorf("created %+v, want %+v", r, tt.want)
		}
		regions = append(regions, r)
	}
	if list, err := e.c.StatsList(ctx, d, ""); err != nil || !reflect.DeepEqual(list, regions) {
		t.Errorf("list %v, %v", list, err)
	}
	if list, err := e.c.StatsList(ctx, e.name("s"), "p"); err != nil || !reflect.DeepEqual(list, []dm.StatsRegion{regions[1], regions[5]}) {
		t.Errorf("list of p: %v, %v", list, err)
	}
	if list, err := e.c.StatsList(ctx, d, "q"); err != nil || list != nil {
		t.Errorf("list of q: %v, %v", list, err)
	}

	// One descriptor for all: behind a close for writing udev reads.
	f := e.rw(t, e.name("s"))
	defer f.Close()
	ios := []anIO{
		{true, 16, 8}, {true, 24, 8}, {false, 16, 16}, {true, 992, 16}, {true, 2040, 16}, {false, 4096, 8},
		{true, 8184, 8}, {false, 8176, 16}, {true, 96, 24}, {false, 0, 8}, {true, 8, 8}, {false, 3000, 8},
	}
	do := func() {
		t.Helper()
		for _, io := range ios {
			p, err := pattern(int(io.count.Bytes()), 5), error(nil)
			if io.write {
				_, err = f.WriteAt(p, io.start.Bytes())
			} else {
				_, err = f.ReadAt(p, io.start.Bytes())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	do()
	for _, r := range regions {
		e.checkCounted(t, d, r, ios, dm.StatsPrintOptions{})
		e.checkCounted(t, d, r, ios, dm.StatsPrintOptions{Clear: true})
		e.checkCounted(t, d, r, nil, dm.StatsPrintOptions{})
	}
	do()
	steps := regions[1]
	want := counted(steps, ios)
	got := e.areas(t, d, steps, dm.StatsPrintOptions{First: 2, Count: 1, Clear: true})
	if p, _ := plain(got[0]); len(got) != 1 || !reflect.DeepEqual(p, want[2]) || want[2].Writes == 0 {
		t.Errorf("area 2: %+v, want %+v", got, want[2])
	}
	all := e.areas(t, d, steps, dm.StatsPrintOptions{})
	if all[2].Writes != 0 || all[0].Writes != want[0].Writes || all[8].Reads != want[8].Reads {
		t.Errorf("after the clear of one area: %+v", all)
	}
	if got := e.areas(t, d, steps, dm.StatsPrintOptions{First: 8, Count: 7}); len(got) != 1 || got[0].Start != 8000 || got[0].Length != 192 {
		t.Errorf("the last area: %+v", got)
	}
	if got := e.areas(t, d, steps, dm.StatsPrintOptions{First: 9}); got != nil {
		t.Errorf("beyond the last area: %+v", got)
	}
	if err := e.c.StatsClear(ctx, d, steps); err != nil {
		t.Error(err)
	}
	e.checkCounted(t, d, steps, nil, dm.StatsPrintOptions{})
	e.checkCounted(t, d, regions[4], ios, dm.StatsPrintOptions{})

	// Regions live on behind a swap of tables.
	if _, err := e.c.Reload(ctx, d, e.table(t, "0 8192 linear %s 0", e.disks[1]), dm.ReloadOptions{}); err != nil {
		t.Fatal(err)
	}
	// udev looks at what a device has become: there may be more reads.
	for i, a := range e.areas(t, d, regions[4], dm.StatsPrintOptions{}) {
		if w := counted(regions[4], ios)[i]; a.Writes != w.Writes || a.WriteSectors != w.WriteSectors || a.Reads < w.Reads {
			t.Errorf("after the swap: %+v, want %+v", a, w)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	e.remove(t, d)
}

// What a program keeps with a region, and regions that are not there.
func testStatsRegions(t *testing.T, e *env) {
	ctx := context.Background()
	d := e.create(t, "r", e.table(t, "0 64 linear %s 0", e.disks[0]), dm.CreateOptions{}).Dev
	texts := []string{"", "12", "a b", " two  blanks ", `back\slash \`, "à la carte", "--", `DMS_GROUP="x y":0-3#-`, "precise_timestamps", strings.Repeat("long ", 900)}
	for i, text := range texts {
		o := dm.StatsOptions{Program: strings.ReplaceAll(text, " ", "_"), Aux: text}
		if i%2 == 1 {
			o.Precise, o.Histogram = true, []time.Duration{1, 2, 3}
		}
		r := e.region(t, d, o)
		if r.Program != o.Program || r.Aux != o.Aux || r.Precise != o.Precise || !reflect.DeepEqual(r.Histogram, o.Histogram) {
			t.Errorf("%q came back as %+v", text, r)
		}
		if list, err := e.c.StatsList(ctx, d, o.Program); err != nil || o.Program != "" && (len(list) != 1 || list[0].ID != i) {
			t.Errorf("list of %q: %v, %v", o.Program, list, err)
		}
		if err := e.c.StatsSetAux(ctx, d, r, text+"+"); err != nil {
			t.Error(err)
		}
	}
	list, err := e.c.StatsList(ctx, d, "")
	if err != nil || len(list) != len(texts) {
		t.Fatalf("%v, %v", list, err)
	}
	for i, r := range list {
		if r.Aux != texts[i]+"+" {
			t.Errorf("aux %q, set to %q", r.Aux, texts[i]+"+")
		}
		if i == 0 {
			if err := e.c.StatsSetAux(ctx, d, r, ""); err != nil {
				t.Error(err)
			}
			if none, err := e.c.StatsList(ctx, d, "-"); err != nil || len(none) != 1 || none[0].Aux != "" {
				t.Errorf("without a program: %v, %v", none, err)
			}
		}
		if err := e.c.StatsDelete(ctx, d, r); err != nil {
			t.Error(err)
		}
	}

	for _, o := range []dm.StatsOptions{
		{Program: "a b"}, {Program: "-"}, {Aux: "-"}, {Aux: "a\nb"}, {Aux: "x precise_timestamps"}, {Aux: "x histogram:1,2"},
		{Start: 8}, {Start: 8, Length: 1<<64 - 1}, {Step: 1, Areas: 1}, {Areas: -1},
		{Histogram: []time.Duration{0}}, {Histogram: []time.Duration{2e6, 1e6}}, {Histogram: []time.Duration{1500000}},
	} {
		_, err := e.c.StatsCreate(ctx, d, o)
		var de *dm.Error
		if !errors.As(err, &de) || de.Code != 22 {
			t.Errorf("%+v: %v", o, err)
		}
	}
	_, err = e.c.StatsCreate(ctx, d, dm.StatsOptions{Length: 1 << 50, Step: 1})
	var de *dm.Error
	if !errors.As(err, &de) || de.Code != 12 && de.Code != 75 { // ENOMEM, and EOVERFLOW since 6.8
		t.Errorf("2^50 areas: %v", err)
	}

	// A number that nobody has, and one that somebody else has now.
	missing := func(r dm.StatsRegion) {
		t.Helper()
		_, err := e.c.StatsPrint(ctx, d, r, dm.StatsPrintOptions{Clear: true})
		wantErr(t, err, fs.ErrNotExist)
	}
	old := e.region(t, d, dm.StatsOptions{Areas: 4})
	if err := e.c.StatsDelete(ctx, d, old); err != nil {
		t.Fatal(err)
	}
	missing(old)
	wantErr(t, e.c.StatsDelete(ctx, d, old), fs.ErrNotExist, "stats delete", "no such region")
	wantErr(t, e.c.StatsClear(ctx, d, old), fs.ErrNotExist)
	wantErr(t, e.c.StatsSetAux(ctx, d, old, "x"), fs.ErrNotExist)
	for _, o := range []dm.StatsOptions{{Areas: 2}, {Areas: 8}, {Start: 1, Length: 64, Areas: 4}, {Areas: 4, Histogram: []time.Duration{1e6}}, {Start: 0, Length: 48, Step: 16}} {
		r := e.region(t, d, o)
		if r.ID != old.ID {
			t.Errorf("region %d, want the free number", r.ID)
		}
		missing(old)
		if err := e.c.StatsDelete(ctx, d, r); err != nil {
			t.Error(err)
		}
	}
	_, err = e.c.StatsPrint(ctx, d, dm.StatsRegion{}, dm.StatsPrintOptions{})
	if !errors.As(err, &de) || de.Code != 22 {
		t.Errorf("a region out of nothing: %v", err)
	}
	_, err = e.c.StatsList(ctx, e.name("none"), "")
	wantErr(t, err, fs.ErrNotExist)
	_, err = e.c.StatsCreate(ctx, e.name("none"), dm.StatsOptions{})
	wantErr(t, err, fs.ErrNotExist)
	bare := e.create(t, "bare", nil, dm.CreateOptions{}).Dev
	if r := e.region(t, bare, dm.StatsOptions{}); r.Length != 1 {
		t.Errorf("of a device without a size: %v", r)
	}
	e.remove(t, d, bare)
}

// What counts as one I/O, and what the kernel calls a merge.
func testStatsSplit(t *testing.T, e *env) {
	d := e.create(t, "x", e.table(t, "0 64 linear %[1]s 0\n64 64 linear %[1]s 128\n128 64 striped 2 8 %[1]s 256 %[2]s 0\n192 64 error", e.disks[0], e.disks[1]), dm.CreateOptions{}).Dev
	r := e.region(t, d, dm.StatsOptions{})
	f := e.rw(t, e.name("x"))
	defer f.Close()
	io := func(write bool, start, count dm.Sectors) dm.StatsArea {
		t.Helper()
		p, err := pattern(int(count.Bytes()), 9), error(nil)
		if write {
			_, err = f.WriteAt(p, start.Bytes())
		} else {
			_, err = f.ReadAt(p, start.Bytes())
		}
		if start+count > 192 != (err != nil) {
			t.Errorf("I/O at %v: %v", start, err)
		}
		list := e.areas(t, d, r, dm.StatsPrintOptions{Clear: true})
		return list[0]
	}
	// A write behind the one before, if they are on one CPU; older kernels
	// count the one at 0 instead.
	first, second := io(true, 0, 8), io(true, 8, 8)
	if first.Writes != 1 || second.Writes != 1 || first.WriteMerges+second.WriteMerges > 1 || first.ReadMerges+second.ReadMerges > 0 {
		t.Errorf("two writes: %+v %+v", first, second)
	}
	t.Logf("merges: %d of the first write at 0, %d of the next", first.WriteMerges, second.WriteMerges)
	if a := io(true, 56, 16); a.Writes != 2 || a.WriteSectors != 16 {
		t.Errorf("across targets: %+v", a)
	}
	if a := io(false, 128, 32); a.Reads != 4 || a.ReadSectors != 32 {
		t.Errorf("across stripes: %+v", a)
	}
	n := uint64(1)
	if e.c.Version().AtLeast(4, 46) {
		n = 0
	}
	if a := io(true, 200, 8); a.Writes != n || a.InFlight != 0 {
		t.Errorf("refused by the target: %+v, want %d", a, n)
	}
	f.Close()
	// One that fails further down counts, with what it was to write.
	top := e.create(t, "top", e.table(t, "0 256 linear %s 0", d), dm.CreateOptions{}).Dev
	r = e.region(t, top, dm.StatsOptions{})
	f = e.rw(t, e.name("top"))
	defer f.Close()
	d = top
	if a := io(true, 200, 8); a.Writes != 1 || a.WriteSectors != 8 || a.InFlight != 0 {
		t.Errorf("refused below: %+v", a)
	}
	f.Close()
	e.remove(t, top, e.name("x"))
}

// A region of more areas than an answer holds is printed and cleared while
// I/O runs: what the prints show together is the I/O that was done, in every
// area.
func testStatsLossless(t *testing.T, e *env) {
	const sectors, step, size, writers, least, most, prints = 32768, 3, 8, 3, 200, 4000, 3
	d := e.create(t, "big", e.table(t, "0 %d linear %s 0", sectors, e.disks[0]), dm.CreateOptions{}).Dev
	r := e.region(t, d, dm.StatsOptions{Step: step, Histogram: []time.Duration{time.Millisecond, time.Second}})
	if r.Areas() < 10000 {
		t.Fatalf("%d areas", r.Areas())
	}
	f := e.rw(t, e.name("big"))
	defer f.Close()
	var stop atomic.Bool
	var done [writers][]anIO
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			p := pattern(int(dm.Sectors(size).Bytes()), byte(i))
			for n := 0; n < least || n < most && !stop.Load(); n++ {
				io := anIO{n%3 != 0, dm.Sectors(rng.IntN(sectors/size)) * size, size}
				var err error
				if io.write {
					_, err = f.WriteAt(p, io.start.Bytes())
				} else {
					_, err = f.ReadAt(p, io.start.Bytes())
				}
				if err != nil {
					t.Error(err)
					return
				}
				done[i] = append(done[i], io)
			}
		})
	}
	got := make([]dm.StatsCounters, r.Areas())
	add := func() {
		for i, a := range e.areas(t, d, r, dm.StatsPrintOptions{Clear: true}) {
			got[i] = got[i].Add(a.StatsCounters)
		}
	}
	for range prints {
		add()
	}
	stop.Store(true)
	group.Wait()
	add()
	want := make([]dm.StatsCounters, r.Areas())
	count := 0
	for _, list := range done {
		count += len(list)
		for _, io := range list {
			end := io.start + io.count
			for x := io.start / step; x*step < end; x++ {
				n := min(end, x*step+step) - max(io.start, x*step)
				if io.write {
					want[x].Writes, want[x].WriteSectors = want[x].Writes+1, want[x].WriteSectors+n
				} else {
					want[x].Reads, want[x].ReadSectors = want[x].Reads+1, want[x].ReadSectors+n
				}
			}
		}
	}
	for i, a := range got {
		w := want[i]
		if a.Reads != w.Reads || a.Writes != w.Writes || a.ReadSectors != w.ReadSectors || a.WriteSectors != w.WriteSectors {
			t.Fatalf("area %d: %+v, want %+v", i, a, w)
		}
		if bins := a.Histogram[0] + a.Histogram[1] + a.Histogram[2]; bins != a.Reads+a.Writes {
			t.Fatalf("area %d: %+v", i, a)
		}
	}
	t.Logf("%d I/Os", count)
	f.Close()
	e.remove(t, d)
}
