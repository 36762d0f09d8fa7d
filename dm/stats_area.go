// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// StatsArea is one area of a region with what was counted in it. The last
// one ends with the region; the kernel prints it as long as the others.
type StatsArea struct {
	Start, Length Sectors
	StatsCounters
}

// StatsCounters are the counters of an area, or a sum or a difference of
// such. An I/O that touches several areas counts in each of them, with the
// sectors that are there; its time counts whole in each. One that the table
// splits, at the border of two targets or of two stripes, counts as several. A
// discard is a write. Failed I/O counts, unless the target itself refused it.
//
// Times come in steps of the kernel's tick, 1 to 10 ms, unless the region is
// precise. They are sums and wrap around at 2^64 ns: Sub is right across that.
type StatsCounters struct {
	Reads       uint64 // completed
	ReadMerges  uint64 // see WriteMerges
	ReadSectors Sectors
	ReadTime    time.Duration // of all reads together, from submission to completion

	Writes uint64
	// WriteMerges counts those that began where the one before on the same
	// CPU ended, in the same direction: nothing is merged. Kernels that are
	// not of late compare the wrong thing there (dm_stats_account_io), and
	// the number says nothing.
	WriteMerges  uint64
	WriteSectors Sectors
	WriteTime    time.Duration

	InFlight  int           // I/Os at this moment: no counter, Clear leaves it
	BusyTime  time.Duration // while any I/O was in flight
	QueueTime time.Duration // the same, times the number of I/Os in flight
	ReadBusy  time.Duration // while a read was in flight
	WriteBusy time.Duration

	// Histogram counts the I/Os by their duration: bin i those that took
	// less than bound i of the region and not less than the one before.
	// There is one bin more than bounds. Nil without bounds.
	Histogram []uint64
}

// Add is the sum, also of the I/Os in flight. Bins are added one by one:
// they must be those of the same bounds.
func (a StatsCounters) Add(b StatsCounters) StatsCounters {
	a.Reads += b.Reads
	a.ReadMerges += b.ReadMerges
	a.ReadSectors += b.ReadSectors
	a.ReadTime += b.ReadTime
	a.Writes += b.Writes
	a.WriteMerges += b.WriteMerges
	a.WriteSectors += b.WriteSectors
	a.WriteTime += b.WriteTime
	a.InFlight += b.InFlight
	a.BusyTime += b.BusyTime
	a.QueueTime += b.QueueTime
	a.ReadBusy += b.ReadBusy
	a.WriteBusy += b.WriteBusy
	a.Histogram = eachBin(a.Histogram, b.Histogram, func(x, y uint64) uint64 { return x + y })
	return a
}

// Sub is what was counted since b, an earlier print of the same area. InFlight
// stays that of a, since it is no counter.
func (a StatsCounters) Sub(b StatsCounters) StatsCounters {
	a.Reads -= b.Reads
	a.ReadMerges -= b.ReadMerges
	a.ReadSectors -= b.ReadSectors
	a.ReadTime -= b.ReadTime
	a.Writes -= b.Writes
	a.WriteMerges -= b.WriteMerges
	a.WriteSectors -= b.WriteSectors
	a.WriteTime -= b.WriteTime
	a.BusyTime -= b.BusyTime
	a.QueueTime -= b.QueueTime
	a.ReadBusy -= b.ReadBusy
	a.WriteBusy -= b.WriteBusy
	a.Histogram = eachBin(a.Histogram, b.Histogram, func(x, y uint64) uint64 { return x - y })
	return a
}

// eachBin leaves its arguments as they are; absent bins are zero.
func eachBin(a, b []uint64, f func(x, y uint64) uint64) []uint64 {
	if len(a) == 0 && len(b) == 0 {
		return nil
	}
	sum := slices.Clone(a)
	if n := len(b) - len(a); n > 0 {
		sum = append(sum, make([]uint64, n)...)
	}
	for i, y := range b {
		sum[i] = f(sum[i], y)
	}
	return sum
}

// ParseAreas reads an answer to @stats_print of the region r, all of whose
// areas or some.
func (r StatsRegion) ParseAreas(text string) ([]StatsArea, error) {
	var list []StatsArea
	for line := range strings.Lines(text) {
		a, err := r.parseArea(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, badStats(line, err)
		}
		list = append(list, a)
	}
	return list, nil
}

// errOtherRegion: between the list and the print somebody deleted the region
// and made another one, which has its number now.
var errOtherRegion = &Error{Code: enoent, Detail: "the number of the region belongs to another one now"}

// appendAreas reads the answer for n areas from the one with number first.
func (r StatsRegion) appendAreas(list []StatsArea, first, n int, text string) ([]StatsArea, error) {
	at := r.Start + Sectors(first)*r.Step
	for line := range strings.Lines(text) {
		a, err := r.parseArea(strings.TrimSuffix(line, "\n"))
		if errors.Is(err, errAlien) || err == nil && (a.Start != at || n == 0) {
			return list, errOtherRegion
		}
		if err != nil {
			return list, badStats(line, err)
		}
		list = append(list, a)
		at += r.Step
		n--
	}
	if n > 0 {
		return list, errOtherRegion
	}
	return list, nil
}

// errAlien is the cause when a line is well made but not of this region.
var errAlien = errors.New("not of this region")

// parseArea reads "start+step", 13 counters, and the histogram if the region
// has one.
func (r StatsRegion) parseArea(line string) (a StatsArea, err error) {
	f := statsFields{rest: line}
	unit := statsUnit(r.Precise)
	last := byte(' ')
	if len(r.Histogram) == 0 {
		last = 0
	}
	a.Start, a.Length = Sectors(f.number('+')), Sectors(f.number(' '))
	a.Reads, a.ReadMerges, a.ReadSectors, a.ReadTime = f.number(' '), f.number(' '), Sectors(f.number(' ')), f.time(unit, ' ')
	a.Writes, a.WriteMerges, a.WriteSectors, a.WriteTime = f.number(' '), f.number(' '), Sectors(f.number(' ')), f.time(unit, ' ')
	a.InFlight = f.signed(' ')
	a.BusyTime, a.QueueTime, a.ReadBusy = f.time(unit, ' '), f.time(unit, ' '), f.time(unit, ' ')
	if last == 0 && strings.IndexByte(f.rest, ' ') >= 0 {
		return StatsArea{}, fmt.Errorf("more than 13 counters: %w", errAlien)
	}
	if last != 0 && f.err == nil && strings.IndexByte(f.rest, ' ') < 0 {
		return StatsArea{}, fmt.Errorf("no histogram: %w", errAlien)
	}
	a.WriteBusy = f.time(unit, last)
	if f.err == nil && last != 0 {
		bins := len(r.Histogram) + 1
		if strings.Count(f.rest, ":") != bins-1 {
			return StatsArea{}, fmt.Errorf("not %d bins: %w", bins, errAlien)
		}
		a.Histogram = make([]uint64, bins)
		for i := range bins {
			sep := byte(':')
			if i == bins-1 {
				sep = 0
			}
			a.Histogram[i] = f.number(sep)
		}
	}
	if f.err != nil {
		return StatsArea{}, f.err
	}
	end := r.Start + r.Length
	if r.Step == 0 || a.Length != r.Step || a.Start < r.Start || a.Start >= end || (a.Start-r.Start)%r.Step != 0 {
		return StatsArea{}, fmt.Errorf("area %d+%d: %w", uint64(a.Start), uint64(a.Length), errAlien)
	}
	a.Length = min(a.Length, end-a.Start)
	return a, nil
}

func (f *statsFields) time(unit time.Duration, sep byte) time.Duration {
	return time.Duration(f.number(sep) * uint64(unit))
}

// signed: the kernel prints the sum of two atomic_t, which a race may show
// below zero.
func (f *statsFields) signed(sep byte) int {
	word := f.word(sep)
	if f.err != nil {
		return 0
	}
	n, err := strconv.ParseInt(word, 10, 32)
	if err != nil {
		f.fail("%.40q is no number of I/Os", word)
	}
	return int(n)
}

// longestLine is how long a line of @stats_print can get, whatever was
// counted.
func (r StatsRegion) longestLine() int {
	const counter = 1 + len("18446744073709551615")
	end := r.Start + r.Length
	n := len(num(end)) + 1 + len(num(r.Step)) + 12*counter + 1 + len(strconv.Itoa(math.MinInt32)) + 1
	if len(r.Histogram) > 0 {
		n += (len(r.Histogram) + 1) * counter
	}
	return n
}
