// SPDX-License-Identifier: MIT

package dmraid

import "fmt"

// piece is a part of a chunk that is read from one of its copies.
type piece struct {
	chunk  int64
	lo, hi int64 // of the chunk
	failed legSet
	cause  error
}

// readCopies reads from raid 1 or 10.
func (r *Reader) readCopies(f *form, p []byte, off int64) error {
	var todo []piece
	for at, end := off, off+int64(len(p)); at < end; {
		next := min(at-at%f.chunk+f.chunk, end)
		todo = append(todo, piece{chunk: at / f.chunk, lo: at % f.chunk, hi: next - at + at%f.chunk})
		at = next
	}
	var reads []read
	for len(todo) > 0 {
		reads = reads[:0]
		// A copy that ends within the piece leaves a rest, which is added.
		for i := 0; i < len(todo); i++ {
			c := &todo[i]
			leg, row, n := r.choose(f, c)
			if n == 0 {
				var legs []int
				for n := range f.copies() {
					leg, _ := f.copy(c.chunk, n)
					legs = append(legs, leg)
				}
				return r.degraded(c.chunk*f.chunk+c.lo, legs, c.cause)
			}
			at := c.chunk*f.chunk + c.lo - off
			reads = append(reads, read{leg: leg, off: f.offset + row*f.chunk + c.lo, dst: p[at : at+n], of: i})
			if c.lo+n < c.hi {
				rest := *c
				rest.lo += n
				c.hi = rest.lo
				todo = append(todo, rest)
			}
		}
		r.run(reads)
		var again []piece
		for _, x := range reads {
			if x.err != nil {
				c := todo[x.of]
				c.failed.add(x.leg)
				c.cause = fmt.Errorf("leg %d: %w", x.leg, x.err)
				again = append(again, c)
			}
		}
		todo = again
	}
	return nil
}

// choose takes a copy for a piece, and says how much of it there is: 0 when
// there is none. One that has all is better than one that has a part. Of
// equal ones raid1 takes turns with the legs, raid10 near with the rows; far
// and offset read the first copies, which are striped. Where the array is not
// synced it is the first, so that one place always gives the same data.
func (r *Reader) choose(f *form, c *piece) (leg int, row, n int64) {
	copies, start := f.copies(), 0
	switch {
	case c.chunk*f.chunk+c.hi > r.synced:
	case f.level == 1:
		start = int(c.lo / windowSize % int64(copies))
	case f.near > 1:
		start = int(c.chunk * int64(f.near) / int64(f.legs) % int64(copies))
	}
	for i := range copies {
		l, at := f.copy(c.chunk, (start+i)%copies)
		if c.failed.has(l) {
			continue
		}
		if m := r.usable(l, at*f.chunk+c.lo, c.hi-c.lo); m > n {
			leg, row, n = l, at, m
		}
	}
	return leg, row, n
}
