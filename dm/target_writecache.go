// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"math/bits"
	"time"
)

// Writecache keeps writes on a fast device until they are written back
// (drivers/md/dm-writecache.c, Linux 4.18). Reads are not cached.
//
// What it holds stays there when the device is suspended or removed. Before
// the origin is used alone, send [WritecacheFlush], or
// [WritecacheFlushOnSuspend] before the table is replaced.
//
// The kernel formats a cache whose first 16 bytes are zero.
type Writecache struct {
	// PMEM says that the cache is persistent memory, else it is a disk.
	// Debian's Linux 6.1.192 follows a null pointer in dax_synchronous, and
	// dies, when the device is none.
	PMEM      bool
	Origin    string
	Cache     string
	BlockSize uint32 // bytes: a power of 2 from 512 to the page size of the machine

	StartSector Sectors // where the cache begins on its device
	// Percent of the cache in use at which writeback starts and stops; nil for
	// the kernel's 50 and 45.
	HighWatermark, LowWatermark *uint8
	WritebackJobs               *uint32 // blocks in flight in writeback; nil or 0 for no limit
	AutocommitBlocks            *uint32 // commit after so many blocks; nil for the kernel's choice
	// Commit so long after a write, in whole milliseconds up to an hour; nil
	// for the kernel's 1 s. Before Linux 5.13 it is rounded to clock ticks.
	AutocommitTime *time.Duration
	// Write back what is older, in whole milliseconds up to a day; nil for
	// never. Linux 5.7; not printed by the kernel before 5.13.
	MaxAge *time.Duration

	Cleaner      bool // write all back, take only what is in the cache already
	FUA, NoFUA   bool // how persistent memory is written back; at most one
	MetadataOnly bool // cache only what a filesystem calls metadata; Linux 5.13
	// No writeback until so long after the last read, in whole milliseconds
	// up to a minute; nil for the kernel's choice. Linux 5.14.
	PauseWriteback *time.Duration
}

// TargetType is "writecache".
func (Writecache) TargetType() string { return "writecache" }

// Params is "s|p origin cache block n option…", in the kernel's own order.
func (w Writecache) Params() string {
	var opts []string
	option := func(name string, on bool) {
		if on {
			opts = append(opts, name)
		}
	}
	millis := func(name string, d *time.Duration) {
		if d != nil {
			opts = append(opts, name, num(*d/time.Millisecond))
		}
	}
	if w.StartSector > 0 {
		opts = append(opts, "start_sector", num(w.StartSector))
	}
	number(&opts, "high_watermark", w.HighWatermark)
	number(&opts, "low_watermark", w.LowWatermark)
	number(&opts, "writeback_jobs", w.WritebackJobs)
	number(&opts, "autocommit_blocks", w.AutocommitBlocks)
	millis("autocommit_time", w.AutocommitTime)
	millis("max_age", w.MaxAge)
	option("cleaner", w.Cleaner)
	option("fua", w.FUA)
	option("nofua", w.NoFUA)
	option("metadata_only", w.MetadataOnly)
	millis("pause_writeback", w.PauseWriteback)
	mode := "s"
	if w.PMEM {
		mode = "p"
	}
	args := []string{mode, w.Origin, w.Cache, num(w.BlockSize), num(len(opts))}
	return JoinArgs(append(args, opts...)...)
}

func number[T uint8 | uint32](opts *[]string, name string, n *T) {
	if n != nil {
		*opts = append(*opts, name, num(*n))
	}
}

// Extents is the origin from its start, and the cache.
func (w Writecache) Extents(length Sectors) []Extent {
	return []Extent{{w.Origin, 0, length}, {w.Cache, w.StartSector, 1}}
}

// The defaults and limits of dm-writecache.c.
const (
	highWatermark      = 50
	lowWatermark       = 45
	maxAutocommitTime  = time.Hour
	maxWritecacheAge   = 24 * time.Hour
	maxPauseWriteback  = time.Minute
	largestKernelPage  = 64 << 10
	smallestWritecache = 512
)

// Validate checks the block size, the watermarks, the times, and that fua and
// nofua go with persistent memory.
func (w Writecache) Validate(Sectors) error {
	if err := needDevice(w.Origin, w.Cache); err != nil {
		return err
	}
	high, low := uint8(highWatermark), uint8(lowWatermark)
	if w.HighWatermark != nil {
		high = *w.HighWatermark
	}
	if w.LowWatermark != nil {
		low = *w.LowWatermark
	}
	switch {
	case w.BlockSize < smallestWritecache || w.BlockSize > largestKernelPage || bits.OnesCount32(w.BlockSize) != 1:
		return fmt.Errorf("block size %d is no power of 2 from 512 to a page", w.BlockSize)
	case high > 100 || low > 100:
		return errors.New("a watermark is beyond 100%")
	case high < low:
		return fmt.Errorf("high watermark %d is below the low one, %d", high, low)
	case w.FUA && w.NoFUA:
		return errors.New("fua and nofua exclude each other")
	case !w.PMEM && (w.FUA || w.NoFUA):
		return errors.New("fua and nofua are for persistent memory")
	}
	for _, t := range []struct {
		name string
		d    *time.Duration
		max  time.Duration
	}{
		{"autocommit_time", w.AutocommitTime, maxAutocommitTime},
		{"max_age", w.MaxAge, maxWritecacheAge},
		{"pause_writeback", w.PauseWriteback, maxPauseWriteback},
	} {
		if t.d == nil {
			continue
		}
		if err := wholeUnits(*t.d, time.Millisecond); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		if *t.d > t.max {
			return fmt.Errorf("%s %v is beyond %v", t.name, *t.d, t.max)
		}
	}
	return nil
}

func parseWritecache(params string) (Target, error) {
	r := readArgs(params)
	w := Writecache{PMEM: r.oneOf("mode", "s", "p") == 1, Origin: r.device("origin"), Cache: r.device("cache"), BlockSize: uint32(r.uint("block size", 32))}
	if n := r.group("options"); r.err == nil && n != r.left() {
		return nil, fmt.Errorf("%d options announced, %d given", n, r.left())
	}
	for r.err == nil && r.left() > 0 {
		switch name := r.str("option"); name {
		case "start_sector":
			w.StartSector = r.sectors(name)
		case "high_watermark":
			w.HighWatermark = new(uint8(r.uint(name, 8)))
		case "low_watermark":
			w.LowWatermark = new(uint8(r.uint(name, 8)))
		case "writeback_jobs":
			w.WritebackJobs = new(uint32(r.uint(name, 32)))
		case "autocommit_blocks":
			w.AutocommitBlocks = new(uint32(r.uint(name, 32)))
		case "autocommit_time":
			w.AutocommitTime = new(r.millis(name))
		case "max_age":
			w.MaxAge = new(r.millis(name))
		case "cleaner":
			w.Cleaner = true
		case "fua":
			w.FUA, w.NoFUA = true, false // the last one counts
		case "nofua":
			w.FUA, w.NoFUA = false, true
		case "metadata_only":
			w.MetadataOnly = true
		case "pause_writeback":
			w.PauseWriteback = new(r.millis(name))
		default:
			r.fail("option", fmt.Errorf("%q is unknown", name))
		}
	}
	return w, r.end()
}

// WritecacheStatus is the status of a [Writecache].
type WritecacheStatus struct {
	Error     int64  // not 0 after an I/O error on the cache or in writeback: all writes fail
	Blocks    uint64 // of the cache
	Free      uint64 // blocks that hold nothing
	Writeback uint64 // blocks that are being written back

	// Counters says that the kernel is new enough, Linux 5.15, to count what
	// is below: blocks since the table was loaded or [WritecacheClearStats].
	Counters        bool
	Reads           uint64
	ReadHits        uint64
	Writes          uint64
	HitsUncommitted uint64 // writes to a block of the cache that was not committed
	HitsCommitted   uint64 // writes to one that was
	WritesAround    uint64 // writes that went to the origin
	WritesAllocate  uint64 // writes that took a free block
	WritesBlocked   uint64 // writes that waited for a free block
	Flushes         uint64 // requests
	Discards        uint64
}

// ParseWritecacheStatus reads "0 8160 8160 0", with ten further numbers since
// Linux 5.15.
func ParseWritecacheStatus(text string) (WritecacheStatus, error) {
	r := readArgs(text)
	var s WritecacheStatus
	s.Error = int64(r.uint("error", 63))
	s.Blocks = r.uint("blocks", 64)
	s.Free = r.uint("free blocks", 64)
	s.Writeback = r.uint("writeback", 64)
	if r.err == nil && r.left() > 0 {
		s.Counters = true
		for _, n := range s.counters() {
			*n = r.uint("counter", 64)
		}
	}
	if err := r.end(); err != nil {
		return WritecacheStatus{}, badStatus("writecache", err)
	}
	return s, nil
}

func (s *WritecacheStatus) counters() [10]*uint64 {
	return [...]*uint64{
		&s.Reads, &s.ReadHits, &s.Writes, &s.HitsUncommitted, &s.HitsCommitted,
		&s.WritesAround, &s.WritesAllocate, &s.WritesBlocked, &s.Flushes, &s.Discards,
	}
}

// String is the kernel's text.
func (s WritecacheStatus) String() string {
	text := fmt.Sprintf("%d %d %d %d", s.Error, s.Blocks, s.Free, s.Writeback)
	if s.Counters {
		for _, n := range s.counters() {
			text += " " + num(*n)
		}
	}
	return text
}

// WritecacheMessage is a message to a [Writecache].
type WritecacheMessage string

// The messages of writecache.
const (
	// WritecacheFlush writes back all that is in the cache. The call ends
	// when that is done; EIO when it failed, EBUSY while suspended.
	WritecacheFlush WritecacheMessage = "flush"
	// WritecacheFlushOnSuspend does so at the next suspend, which a swap of
	// tables has too.
	WritecacheFlushOnSuspend WritecacheMessage = "flush_on_suspend"
	// WritecacheCleaner has the effect of the option cleaner.
	WritecacheCleaner WritecacheMessage = "cleaner"
	// WritecacheClearStats sets the counters to 0; Linux 5.15.
	WritecacheClearStats WritecacheMessage = "clear_stats"
)

// TargetType is "writecache".
func (WritecacheMessage) TargetType() string { return "writecache" }

// Text is the message itself.
func (m WritecacheMessage) Text() string { return string(m) }

// Validate refuses what is none of the constants.
func (m WritecacheMessage) Validate() error {
	return knownMessage(m, WritecacheFlush, WritecacheFlushOnSuspend, WritecacheCleaner, WritecacheClearStats)
}
