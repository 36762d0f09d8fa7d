// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"math"
	"math/bits"
	"sort"
	"strings"
	"syscall"
	"time"
)

// WithClock sets the clock by which statistics measure I/O, time.Now by
// default. With one that stands still all times are zero, and what
// @stats_print says is the same in every run.
func WithClock(now func() time.Time) Option { return func(k *Kernel) { k.clock = now } }

// jiffy is the kernel's tick, with HZ=250 as Debian builds it.
const jiffy = 4 * time.Millisecond

// now is the time since the Kernel was made.
func (k *Kernel) now() time.Duration { return k.clock().Sub(k.booted) }

// statsArea is struct dm_stat_shared and dm_stat_percpu: times are in the
// unit of the region.
type statsArea struct {
	ios, merges, sectors, ticks, busy [2]uint64 // of reads and writes
	anyBusy, queue                    uint64
	histogram                         []uint64

	inflight [2]uint64
	stamp    uint64 // when busy and queue were brought up to date
}

// statsPosition is struct dm_stats_last_position: where the I/O before ended.
// The kernel has one for each CPU, here there is a single one.
type statsPosition struct {
	sector uint64
	dir    int
}

// statsIO is an I/O from its submission to its end.
type statsIO struct {
	dir           int // 0 for a read, 1 for what changes data
	sector, count uint64
	start         time.Duration
	merged        uint64
}

// The sizes of the kernel's structures, on 64 bits.
const (
	sizeofStat   = 8 * 1024 // with its array for each of NR_CPUS
	sizeofShared = 120
	sizeofPerCPU = 104
	statsRAM     = 2 << 30 // of which statistics may take a quarter
)

// DM_STAT_MAX_ENTRIES and DM_STAT_MAX_HISTOGRAM_ENTRIES, since Linux 6.8.
const (
	maxStatsAreas = 1 << 23
	maxStatsBins  = 1 << 27
)

// statsMemory is __check_shared_memory of dm-stats.c. Called with mu held.
func (k *Kernel) statsMemory(s *statsRegion) syscall.Errno {
	size, ok := s.size()
	n, bins := s.count(), uint64(len(s.bounds)+1)
	if !ok || k.version.AtLeast(4, 48) && (n > maxStatsAreas || n*bins > maxStatsBins) {
		return EOVERFLOW
	}
	for _, d := range k.devices {
		for _, o := range d.stats {
			n, _ := o.size()
			size += n // no sum of what exists overflows
		}
	}
	if size > statsRAM/4 {
		return ENOMEM
	}
	return 0
}

func (r *statsRegion) size() (n uint64, ok bool) {
	area := uint64(sizeofShared + sizeofPerCPU)
	if len(r.bounds) > 0 {
		area += 2 * 8 * uint64(len(r.bounds)+1)
	}
	over, n := bits.Mul64(r.count(), area)
	return n + sizeofStat, over == 0 && n < math.MaxUint64/2
}

// atRest runs f while no I/O is in flight, as between
// dm_internal_suspend_fast and dm_internal_resume_fast. No signal ends the
// wait. Called with mu held, which it gives up meanwhile.
func (d *device) atRest(f func()) {
	d.locked(&d.suspendLock)
	defer d.suspendLock.Unlock()
	if d.suspended {
		f()
		return
	}
	d.blocked = true
	d.k.waitUntil(nil, func() bool { return d.inflight == 0 })
	f()
	d.blocked = false
	d.k.broadcast()
}

// unit is a point in time as the region counts it.
func (r *statsRegion) unit(t time.Duration) uint64 {
	if r.precise {
		return uint64(t)
	}
	return uint64(t / jiffy)
}

// shown is dm_jiffies_to_msec64.
func (r *statsRegion) shown(n uint64) uint64 {
	if r.precise {
		return n
	}
	return n * uint64(jiffy/time.Millisecond)
}

func (r *statsRegion) area(x uint64) *statsArea {
	if r.areas == nil {
		r.areas = map[uint64]*statsArea{}
	}
	a := r.areas[x]
	if a == nil {
		a = &statsArea{}
		if len(r.bounds) > 0 {
			a.histogram = make([]uint64, len(r.bounds)+1)
		}
		r.areas[x] = a
	}
	return a
}

// round is dm_stat_round: it counts the time since the last change.
func (a *statsArea) round(now uint64) {
	passed := now - a.stamp
	for i, n := range a.inflight {
		if n > 0 {
			a.busy[i] += passed
		}
	}
	if n := a.inflight[0] + a.inflight[1]; n > 0 {
		a.anyBusy += passed
		a.queue += n * passed
	}
	a.stamp = now
}

// clear sets counters back; what is in flight stays.
func (r *statsRegion) clear(from, to uint64) {
	for x, a := range r.areas {
		switch {
		case x < from || x >= to:
		case a.inflight == [2]uint64{}:
			delete(r.areas, x)
		default:
			fresh := &statsArea{inflight: a.inflight, stamp: a.stamp}
			if a.histogram != nil {
				fresh.histogram = make([]uint64, len(a.histogram))
			}
			r.areas[x] = fresh
		}
	}
}

// print is a line of @stats_print. The last area shows the full step too,
// though it may be shorter.
func (r *statsRegion) print(b *strings.Builder, x uint64, now time.Duration) {
	a := r.areas[x]
	if a == nil {
		a = &statsArea{}
	}
	a.round(r.unit(now))
	fmt.Fprintf(b, "%d+%d", r.start+x*r.step, r.step)
	for i := range 2 {
		fmt.Fprintf(b, " %d %d %d %d", a.ios[i], a.merges[i], a.sectors[i], r.shown(a.ticks[i]))
	}
	fmt.Fprintf(b, " %d %d %d %d %d", a.inflight[0]+a.inflight[1], r.shown(a.anyBusy), r.shown(a.queue), r.shown(a.busy[0]), r.shown(a.busy[1]))
	if len(r.bounds) > 0 {
		sep := " "
		for i := range len(r.bounds) + 1 {
			n := uint64(0)
			if a.histogram != nil {
				n = a.histogram[i]
			}
			fmt.Fprintf(b, "%s%d", sep, n)
			sep = ":"
		}
	}
	b.WriteByte('\n')
}

// each runs f for the areas that an I/O touches, with the sectors in each:
// __dm_stat_bio.
func (r *statsRegion) each(io *statsIO, f func(a *statsArea, sectors uint64)) {
	from, to := max(io.sector, r.start), min(io.sector+io.count, r.end)
	for from < to {
		x := (from - r.start) / r.step
		end := to
		if left := r.start + x*r.step + r.step; left > from { // or beyond 2^64
			end = min(left, to)
		}
		f(r.area(x), end-from)
		from = end
	}
}

// newIO is alloc_io of dm.c: from here on its time counts. Called with mu
// held.
func (d *device) newIO(dir direction, sector, count uint64) *statsIO {
	io := &statsIO{sector: sector, count: count, start: d.k.now()}
	if dir != reading {
		io.dir = 1 // the kernel knows no third direction
	}
	return io
}

// startIO is dm_stats_account_io when the I/O is passed on. Called with mu
// held.
func (d *device) startIO(io *statsIO) {
	if len(d.stats) == 0 || io.count == 0 {
		return
	}
	if next := (statsPosition{io.sector, io.dir}); d.last == next {
		io.merged = 1
	}
	d.last = statsPosition{io.sector + io.count, io.dir}
	now := d.k.now()
	for _, s := range d.stats {
		s.each(io, func(a *statsArea, _ uint64) {
			a.round(s.unit(now))
			a.inflight[io.dir]++
		})
	}
}

// endIO is its counterpart at the completion; counts is false for an I/O that
// the kernel would not have begun to count. Called with mu held.
func (d *device) endIO(io *statsIO, counts bool) {
	now := d.k.now()
	for _, s := range d.stats {
		took := s.unit(now) - s.unit(io.start)
		if s.precise {
			took = uint64(now - io.start)
		}
		bin := sort.Search(len(s.bounds), func(i int) bool { return s.bounds[i] > s.shown(took) })
		s.each(io, func(a *statsArea, sectors uint64) {
			a.round(s.unit(now))
			a.inflight[io.dir]--
			if !counts {
				return
			}
			a.ios[io.dir]++
			a.merges[io.dir] += io.merged
			a.sectors[io.dir] += sectors
			a.ticks[io.dir] += took
			if a.histogram != nil {
				a.histogram[bin]++
			}
		})
	}
}
