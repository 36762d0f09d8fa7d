// SPDX-License-Identifier: MIT

package dmtest

import (
	"slices"
	"time"
)

// each cuts an I/O in blocks. A request that is no whole number of them is an
// error: the kernel gives the device logical blocks of that size.
func (w *writecache) each(p []byte, sector uint64, f func(q []byte, sector uint64) error) error {
	if sector%w.block != 0 || uint64(len(p))%uint64(w.blockSize) != 0 {
		w.k.Log(logWritecache, "I/O is not aligned, sector %d, size %d, block size %d", sector, len(p), w.blockSize)
		return EIO
	}
	w.io.Lock()
	defer w.io.Unlock()
	w.age()
	for ; len(p) > 0; p, sector = p[w.blockSize:], sector+w.block {
		if err := f(p[:w.blockSize], sector); err != nil {
			return err
		}
	}
	return nil
}

// count adds to counters and finds the block. Called with io held.
func (w *writecache) count(sector uint64, which ...int) *writecacheEntry {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range which {
		w.counters[i]++
	}
	return w.entries[sector]
}

func (w *writecache) ReadSectors(p []byte, sector uint64) error {
	return w.each(p, sector, func(q []byte, sector uint64) error {
		e := w.count(sector, wcReads)
		if e == nil {
			return w.origin.ReadSectors(q, sector)
		}
		w.count(sector, wcReadHits)
		return w.cache.ReadSectors(q, w.store.sectorOf(e.index))
	})
}

func (w *writecache) WriteSectors(p []byte, sector uint64) error {
	err := w.each(p, sector, w.writeBlock)
	w.k.kick(w)
	return err
}

func (w *writecache) writeBlock(q []byte, sector uint64) error {
	e := w.count(sector, wcWrites)
	w.mu.Lock()
	failed, cleaner := w.failed, w.cleaner
	w.mu.Unlock()
	if failed {
		return EIO
	}
	if e == nil && !cleaner && !w.opts.metadataOnly {
		e = w.allocate(sector)
	} else if e != nil {
		w.count(sector, w.hit(e))
	}
	if e == nil {
		w.count(sector, wcAround)
		return w.origin.WriteSectors(q, sector)
	}
	if err := w.cache.WriteSectors(q, w.store.sectorOf(e.index)); err != nil {
		return err
	}
	if limit := given(w.opts.blocks, 65536); uint64(w.pending()) >= limit {
		w.commit()
	}
	return nil
}

// hit says which kind of hit a block is.
func (w *writecache) hit(e *writecacheEntry) int {
	if e.seq < w.store.seq {
		return wcHitsCommitted
	}
	return wcHitsUncommitted
}

func (w *writecache) pending() uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.uncommitted
}

// allocate takes a free block; nil when there is none.
func (w *writecache) allocate(sector uint64) *writecacheEntry {
	index, ok := w.store.take()
	if !ok {
		return nil
	}
	now := time.Now()
	e := &writecacheEntry{sector: sector, index: index, seq: w.store.seq, written: now}
	w.store.put(index, sector, e.seq)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.entries[sector] = e
	w.order = append(w.order, e)
	w.free--
	if w.uncommitted == 0 {
		w.since = now
	}
	w.uncommitted++
	w.counters[wcAllocate]++
	return e
}

// release frees the block of an entry.
func (w *writecache) release(e *writecacheEntry) {
	w.store.drop(e.index)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.entries, e.sector)
	w.order = slices.DeleteFunc(w.order, func(o *writecacheEntry) bool { return o == e })
	w.free++
}

// DiscardSectors drops the blocks inside, and then the origin is told.
func (w *writecache) DiscardSectors(sector, n uint64) error {
	w.io.Lock()
	defer w.io.Unlock()
	w.mu.Lock()
	w.counters[wcDiscards] += n / w.block
	var inside []*writecacheEntry
	for _, e := range w.order {
		if e.sector >= sector && e.sector < sector+n {
			inside = append(inside, e)
		}
	}
	w.mu.Unlock()
	for _, e := range inside {
		w.release(e)
	}
	if err := w.store.sync(); err != nil {
		w.error("metadata write error", err)
	}
	return w.origin.DiscardSectors(sector, n)
}

// error is writecache_error: from now on all writes fail.
func (w *writecache) error(text string, _ error) {
	w.k.Log(logWritecache, "%s", text)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = true
}

// commit is writecache_flush: what was written so far outlives a crash. Called
// with io held, as all below are.
func (w *writecache) commit() {
	if w.pending() == 0 {
		return
	}
	if err := w.store.sync(); err != nil {
		w.error("metadata write error", err)
		return
	}
	if err := w.store.advance(); err != nil {
		w.error("metadata write error", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.uncommitted = 0
}

// age does what the timers of the kernel would have done by now.
func (w *writecache) age() {
	w.mu.Lock()
	due := w.uncommitted > 0 && time.Since(w.since) >= time.Duration(given(w.opts.commitTime, 1000))*time.Millisecond
	w.mu.Unlock()
	if due {
		w.commit()
	}
	if w.opts.maxAge >= 0 {
		w.writeBack(0, time.Now().Add(-time.Duration(w.opts.maxAge)*time.Millisecond))
	}
}

// background writes back what is above the watermark, or with a cleaner all.
func (w *writecache) background() {
	w.io.Lock()
	defer w.io.Unlock()
	w.age()
	w.mu.Lock()
	cleaner, free := w.cleaner, w.free
	w.mu.Unlock()
	share := func(percent uint64) uint64 { return (w.store.blocks*(100-percent) + 50) / 100 }
	switch {
	case cleaner:
		w.commit()
		w.writeBack(w.store.blocks, time.Time{})
	case free <= share(w.opts.highPercent()):
		w.commit()
		w.writeBack(share(w.opts.lowPercent())+1, time.Time{})
	}
}

// writeBack writes committed blocks to the origin, the oldest first, until so
// many are free, and those that were written before a time.
func (w *writecache) writeBack(free uint64, before time.Time) {
	buf := make([]byte, w.blockSize)
	wrote := false
	for {
		w.mu.Lock()
		var e *writecacheEntry
		if len(w.order) > 0 && !w.failed && (w.free < free || w.order[0].written.Before(before)) {
			e = w.order[0]
		}
		w.mu.Unlock()
		if e == nil || e.seq >= w.store.seq {
			break
		}
		err := w.cache.ReadSectors(buf, w.store.sectorOf(e.index))
		if err == nil {
			err = w.origin.WriteSectors(buf, e.sector)
		}
		if err != nil {
			w.error("copy error", err)
			return
		}
		w.release(e)
		wrote = true
	}
	if wrote {
		if err := w.store.sync(); err != nil {
			w.error("metadata write error", err)
		}
	}
}
