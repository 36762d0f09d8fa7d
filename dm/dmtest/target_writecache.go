// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"math/bits"
	"strings"
	"sync"
	"time"
)

const logWritecache = "writecache"

// writecache is struct dm_writecache of dm-writecache.c. Commits and the age
// of blocks follow the clock, and are looked at with each I/O, message and
// status. Writing back is done at once, unless [Kernel.HoldBackground].
type writecache struct {
	a             *Args
	k             *Kernel
	old           bool // Linux 5.10
	origin, cache *Dev
	blockSize     uint32 // bytes
	block         uint64 // sectors
	opts          writecacheOptions
	store         writecacheStore

	io sync.Mutex // orders I/O and writing back

	// mu guards the rest and is not held over I/O. What the cache holds
	// changes only with io held too.
	mu             sync.Mutex
	entries        map[uint64]*writecacheEntry // by the first sector on the origin
	order          []*writecacheEntry          // what was written last comes last
	free           uint64                      // blocks
	uncommitted    uint32
	since          time.Time // the oldest write that is not committed
	cleaner        bool
	flushOnSuspend bool
	running        bool
	failed         bool
	counters       [10]uint64
}

// The counters of the status, in its order.
const (
	wcReads = iota
	wcReadHits
	wcWrites
	wcHitsUncommitted
	wcHitsCommitted
	wcAround
	wcAllocate
	wcBlocked
	wcFlushes
	wcDiscards
)

type writecacheEntry struct {
	sector, index uint64
	seq           uint64
	written       time.Time
}

// writecacheOptions are the optional arguments; a negative number was not
// given.
type writecacheOptions struct {
	start                                      uint64
	high, low                                  int64 // percent
	jobs, blocks, commitTime, maxAge, pauseFor int64
	cleaner, metadataOnly                      bool
}

func writecacheTarget(old bool) Target {
	t := Target{Name: "writecache", Version: [3]uint32{1, 6, 0}, Autoload: true, New: func(a *Args) (Instance, error) {
		return newWritecache(a, old)
	}}
	if old {
		t.Version[1] = 4
	}
	return t
}

func newWritecache(a *Args, old bool) (Instance, error) {
	w := &writecache{a: a, k: a.Kernel(), old: old, entries: map[uint64]*writecacheEntry{}}
	bad := func() error { return a.Fail(EINVAL, "Bad arguments") }
	argv := a.Argv
	if len(argv) == 0 || !strings.EqualFold(argv[0], "s") && !strings.EqualFold(argv[0], "p") {
		return nil, bad()
	}
	pmem := strings.EqualFold(argv[0], "p")
	for i, d := range []struct {
		name string
		dev  **Dev
	}{{"Origin", &w.origin}, {"Cache", &w.cache}} {
		if len(argv) <= i+1 {
			return nil, bad()
		}
		dev, err := a.Open(argv[i+1])
		if err != nil {
			return nil, withText(err, d.name+" data device lookup failed")
		}
		*d.dev = dev
	}
	if len(argv) == 3 {
		return nil, bad()
	}
	var ok bool
	if w.blockSize, ok = scanUint(argv[3]); !ok || w.blockSize < 512 || w.blockSize > 4096 || bits.OnesCount32(w.blockSize) != 1 {
		return nil, a.Fail(EINVAL, "Invalid block size")
	}
	if int(w.blockSize) < max(w.origin.BlockSize(), w.cache.BlockSize()) {
		return nil, a.Fail(EINVAL, "Block size is smaller than device logical block size")
	}
	w.block = uint64(w.blockSize) / sectorSize
	limit := uint32(18)
	if old {
		limit = 10
	}
	group, _, ok := argGroup(argv[4:], limit)
	if !ok {
		return nil, a.Fail(EINVAL, "Invalid number of feature args")
	}
	if !w.opts.parse(group, w.cache.Sectors(), old) {
		return nil, a.Fail(EINVAL, "Invalid optional argument")
	}
	if w.opts.highPercent() < w.opts.lowPercent() {
		return nil, a.Fail(EINVAL, "High watermark must be greater than or equal to low watermark")
	}
	if pmem {
		// The disks of the double are no persistent memory. Linux 6.1.192 dies
		// of that.
		return nil, a.Fail(errOpNotSupp, "Asynchronous persistent memory not supported as pmem cache")
	}
	if text, err := w.store.open(w.cache, w.opts.start, w.blockSize); err != nil {
		return nil, withText(err, text)
	}
	w.free = w.store.blocks
	if w.cleaner = w.opts.cleaner; w.cleaner {
		w.flushOnSuspend = true
	}
	return w, nil
}

func (o *writecacheOptions) parse(argv []string, deviceSize uint64, old bool) bool {
	*o = writecacheOptions{high: -1, low: -1, jobs: -1, blocks: -1, commitTime: -1, maxAge: -1, pauseFor: -1}
	for ; len(argv) > 0; argv = argv[1:] {
		name := strings.ToLower(argv[0])
		switch {
		case name == "cleaner":
			o.cleaner = true
			continue
		case name == "metadata_only" && !old:
			o.metadataOnly = true
			continue
		case len(argv) == 1:
			return false
		case name == "start_sector":
			n, ok := scanSector(argv[1])
			if !ok || n >= deviceSize {
				return false
			}
			o.start = n
			argv = argv[1:]
			continue
		}
		dst, limit := (*int64)(nil), int64(1<<32-1)
		switch name {
		case "high_watermark":
			dst, limit = &o.high, 100
		case "low_watermark":
			dst, limit = &o.low, 100
		case "writeback_jobs":
			dst = &o.jobs
		case "autocommit_blocks":
			dst = &o.blocks
		case "autocommit_time":
			dst, limit = &o.commitTime, 3600000
		case "max_age":
			dst, limit = &o.maxAge, 86400000
		case "pause_writeback":
			dst, limit = &o.pauseFor, 60000
		}
		if dst == nil || old && dst == &o.pauseFor {
			return false
		}
		n, ok := scanUint(argv[1])
		if !ok || int64(n) > limit {
			return false
		}
		*dst, argv = int64(n), argv[1:]
	}
	return true
}

func (o *writecacheOptions) highPercent() uint64 { return given(o.high, 50) }
func (o *writecacheOptions) lowPercent() uint64  { return given(o.low, 45) }

func given(n int64, standard uint64) uint64 {
	if n < 0 {
		return standard
	}
	return uint64(n)
}

func (w *writecache) Devices() []Area { return []Area{{w.origin, 0, w.a.Length}} }

// Table prints what was given, but for a start of 0. Before Linux 5.13 the
// watermarks are left out with the cleaner, and the age always.
func (w *writecache) Table() string {
	w.mu.Lock()
	cleaner := w.opts.cleaner || w.old && w.cleaner
	w.mu.Unlock()
	o, words := w.opts, []string(nil)
	number := func(name string, n int64) {
		if n >= 0 {
			words = append(words, name, fmt.Sprint(n))
		}
	}
	if o.start > 0 {
		words = append(words, "start_sector", fmt.Sprint(o.start))
	}
	if !w.old || !cleaner {
		number("high_watermark", o.high)
		number("low_watermark", o.low)
	}
	number("writeback_jobs", o.jobs)
	number("autocommit_blocks", o.blocks)
	number("autocommit_time", o.commitTime)
	if !w.old {
		number("max_age", o.maxAge)
	}
	if cleaner {
		words = append(words, "cleaner")
	}
	if o.metadataOnly {
		words = append(words, "metadata_only")
	}
	number("pause_writeback", o.pauseFor)
	head := fmt.Sprintf("s %s %s %d %d", w.origin.Name(), w.cache.Name(), w.blockSize, len(words))
	return strings.Join(append([]string{head}, words...), " ")
}

func (w *writecache) Status(bool) string {
	w.k.kick(w)
	w.mu.Lock()
	defer w.mu.Unlock()
	failed := 0
	if w.failed {
		failed = 1
	}
	text := fmt.Sprintf("%d %d %d 0", failed, w.store.blocks, w.free)
	if !w.old {
		for _, n := range w.counters {
			text += fmt.Sprintf(" %d", n)
		}
	}
	return text
}

func (w *writecache) Message(argv []string) (string, error) {
	known := []string{"flush", "flush_on_suspend", "cleaner", "clear_stats"}
	if w.old {
		known = known[:3]
	}
	for _, name := range known {
		if !strings.EqualFold(argv[0], name) {
			continue
		}
		if len(argv) != 1 {
			return "", EINVAL
		}
		return "", w.do(name)
	}
	w.k.Log(logWritecache, "unrecognised message received: %s", argv[0])
	return "", EINVAL
}

func (w *writecache) do(name string) error {
	if name == "flush" {
		return w.flush()
	}
	w.mu.Lock()
	switch name {
	case "flush_on_suspend":
		w.flushOnSuspend = true
	case "cleaner":
		w.cleaner, w.flushOnSuspend = true, true
	case "clear_stats":
		w.counters = [10]uint64{}
	}
	w.mu.Unlock()
	w.k.kick(w)
	return nil
}

// flush is process_flush_mesg: all is written back when it returns.
func (w *writecache) flush() error {
	w.mu.Lock()
	running := w.running
	w.mu.Unlock()
	if !running {
		return EBUSY
	}
	w.io.Lock()
	defer w.io.Unlock()
	w.commit()
	w.writeBack(w.store.blocks, time.Time{})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed {
		return EIO
	}
	return nil
}

// Resume reads what the cache holds, which the table before this one may have
// changed since the constructor ran.
func (w *writecache) Resume() {
	w.io.Lock()
	list, err := w.store.load()
	w.mu.Lock()
	w.running = true
	if err != nil {
		w.k.Log(logWritecache, "unable to read metadata: %d", -5)
		w.failed = true
	}
	w.entries, w.order, w.uncommitted = map[uint64]*writecacheEntry{}, list, 0
	for _, e := range list {
		e.written = time.Now()
		w.entries[e.sector] = e
	}
	w.free = w.store.blocks - uint64(len(list))
	w.mu.Unlock()
	w.io.Unlock()
	w.k.startBackground(w, w.background)
}

func (w *writecache) Presuspend()     { w.k.stopBackground(w) }
func (w *writecache) PresuspendUndo() { w.k.startBackground(w, w.background) }

// Postsuspend commits; what the cache holds stays there.
func (w *writecache) Postsuspend() {
	w.io.Lock()
	defer w.io.Unlock()
	w.commit()
	w.mu.Lock()
	all := w.flushOnSuspend
	w.flushOnSuspend, w.running = false, false
	w.mu.Unlock()
	if all {
		w.writeBack(w.store.blocks, time.Time{})
	}
}
