// SPDX-License-Identifier: MIT

package dm

import "time"

// What iostat and dmstats show, of counters that are the difference of two
// prints, or of a print with Clear, and the time between the two. Without an
// interval or without I/O the answers are zero.

// ReadsPerSecond is r/s of iostat.
func (a StatsCounters) ReadsPerSecond(interval time.Duration) float64 {
	return perSecond(float64(a.Reads), interval)
}

// WritesPerSecond is w/s of iostat.
func (a StatsCounters) WritesPerSecond(interval time.Duration) float64 {
	return perSecond(float64(a.Writes), interval)
}

// ReadBytesPerSecond is what was read, in bytes a second.
func (a StatsCounters) ReadBytesPerSecond(interval time.Duration) float64 {
	return perSecond(float64(a.ReadSectors)*sectorBytes, interval)
}

// WriteBytesPerSecond is what was written, in bytes a second.
func (a StatsCounters) WriteBytesPerSecond(interval time.Duration) float64 {
	return perSecond(float64(a.WriteSectors)*sectorBytes, interval)
}

// AverageSize is the size of an I/O in bytes: areq-sz of iostat.
func (a StatsCounters) AverageSize() float64 {
	return each(float64(a.ReadSectors+a.WriteSectors)*sectorBytes, a.Reads+a.Writes)
}

// AverageReadSize is rareq-sz of iostat, in bytes.
func (a StatsCounters) AverageReadSize() float64 {
	return each(float64(a.ReadSectors)*sectorBytes, a.Reads)
}

// AverageWriteSize is wareq-sz of iostat, in bytes.
func (a StatsCounters) AverageWriteSize() float64 {
	return each(float64(a.WriteSectors)*sectorBytes, a.Writes)
}

// Wait is how long an I/O took, in the queue and in service: await of iostat.
func (a StatsCounters) Wait() time.Duration {
	return time.Duration(each(float64(a.ReadTime+a.WriteTime), a.Reads+a.Writes))
}

// ReadWait is r_await of iostat.
func (a StatsCounters) ReadWait() time.Duration {
	return time.Duration(each(float64(a.ReadTime), a.Reads))
}

// WriteWait is w_await of iostat.
func (a StatsCounters) WriteWait() time.Duration {
	return time.Duration(each(float64(a.WriteTime), a.Writes))
}

// QueueLength is how many I/Os were in flight on average: aqu-sz of iostat.
func (a StatsCounters) QueueLength(interval time.Duration) float64 {
	return perSecond(a.QueueTime.Seconds(), interval)
}

// Utilization is the part of the interval in which any I/O was in flight, 0 to
// 1: util of iostat. It has a meaning for one area; in a sum of several the
// times that they were busy at once are counted more than once. A device that
// serves I/Os side by side is not at its limit when it is always busy.
func (a StatsCounters) Utilization(interval time.Duration) float64 {
	return min(perSecond(a.BusyTime.Seconds(), interval), 1)
}

const sectorBytes = 512

func perSecond(n float64, interval time.Duration) float64 {
	if interval <= 0 {
		return 0
	}
	return n / interval.Seconds()
}

func each(sum float64, n uint64) float64 {
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}
