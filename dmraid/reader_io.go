// SPDX-License-Identifier: MIT

package dmraid

import (
	"cmp"
	"io"
	"slices"
	"sync"
)

// read is a piece of a leg that is wanted.
type read struct {
	leg int
	off int64 // on the device
	dst []byte
	of  int // whose it is: index of the caller
	err error
}

// Reads of a leg that are smaller than smallRead and have no more than maxGap
// between them are made as one of up to mergedRead.
const (
	smallRead  = 64 << 10
	maxGap     = 64 << 10
	mergedRead = 512 << 10
	// inlineRead is so little that no goroutine is worth it.
	inlineRead = 32 << 10
)

// run makes the reads, those of different legs in parallel, and leaves the
// error of each in it. It changes their order.
func (r *Reader) run(reads []read) {
	if len(reads) == 1 {
		r.runLeg(reads)
		return
	}
	slices.SortFunc(reads, func(a, b read) int {
		return cmp.Or(cmp.Compare(a.leg, b.leg), cmp.Compare(a.off, b.off))
	})
	total := 0
	for i := range reads {
		total += len(reads[i].dst)
	}
	var wg sync.WaitGroup
	for len(reads) > 0 {
		n := 1
		for n < len(reads) && reads[n].leg == reads[0].leg {
			n++
		}
		mine := reads[:n]
		if reads = reads[n:]; len(reads) == 0 || total <= inlineRead {
			r.runLeg(mine)
		} else {
			wg.Go(func() { r.runLeg(mine) })
		}
	}
	wg.Wait()
}

// runLeg makes reads of one leg, which are in the order of their offset.
func (r *Reader) runLeg(reads []read) {
	for len(reads) > 0 {
		n, end := 1, reads[0].off+int64(len(reads[0].dst))
		for n < len(reads) && len(reads[n-1].dst) < smallRead && len(reads[n].dst) < smallRead {
			next := &reads[n]
			last := next.off + int64(len(next.dst))
			if next.off < end || next.off-end > maxGap || last-reads[0].off > mergedRead {
				break
			}
			n, end = n+1, last
		}
		if n == 1 || !r.runMerged(reads[:n], end-reads[0].off) {
			for i := range reads[:n] {
				x := &reads[i]
				if x.err = readFull(r.legs[x.leg].r, x.dst, x.off); x.err != nil {
					r.failed(x.leg, x.off, x.err)
				}
			}
		}
		reads = reads[n:]
	}
}

// runMerged reads all at once. It reports false when that failed: it may have
// been in a gap.
func (r *Reader) runMerged(reads []read, size int64) bool {
	a := arenas.Get().(*arena)
	defer func() {
		a.reset()
		arenas.Put(a)
	}()
	buf := a.take(int(size))
	start := reads[0].off
	if readFull(r.legs[reads[0].leg].r, buf, start) != nil {
		return false
	}
	for _, x := range reads {
		copy(x.dst, buf[x.off-start:])
	}
	return true
}

func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF // the leg is too short
	}
	return err
}

// arena lends buffers that are all given back at once.
type arena struct {
	blocks [][]byte
	block  int
	used   int
}

const arenaBlock = 64 << 10

func (a *arena) take(n int) []byte {
	for ; a.block < len(a.blocks); a.block, a.used = a.block+1, 0 {
		if b := a.blocks[a.block]; len(b)-a.used >= n {
			b = b[a.used:][:n:n]
			a.used += n
			return b
		}
	}
	a.blocks = append(a.blocks, make([]byte, max(n, arenaBlock)))
	a.used = n
	return a.blocks[a.block][:n:n]
}

func (a *arena) reset() { a.block, a.used = 0, 0 }

var arenas = sync.Pool{New: func() any { return new(arena) }}
