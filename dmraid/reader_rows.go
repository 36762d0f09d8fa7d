// SPDX-License-Identifier: MIT

package dmraid

import "fmt"

// band is a piece of a row that is handled at once: the same part of all its
// chunks, and of those the data from first to last is wanted.
type band struct {
	row         int64
	lo, hi      int64 // of the chunk
	first, last int
	failed      legSet // legs that failed to be read
	cause       error  // of the last that did
}

// sum is how the one or two missing data of a band are had: they lie in
// lost, which holds P or Q at first, or both.
type sum struct {
	of    int // index of the band
	lost  [2][]byte
	power [2]int
	q     bool // lost[0] alone, and from Q
	terms []term
}

// rowReader reads bands of one form.
type rowReader struct {
	r     *Reader
	f     *form
	p     []byte // what is wanted
	off   int64  // where it is in the array
	arena *arena
	bands []band
	cost  int64
	reads []read
	sums  []sum
}

// readRows reads from raid 0, 4, 5 or 6.
func (r *Reader) readRows(f *form, p []byte, off int64) error {
	b := rowReader{r: r, f: f, p: p, off: off}
	row := f.chunk * int64(f.data)
	for at, end := off, off+int64(len(p)); at < end; {
		next := min(at-at%row+row, end)
		if err := b.addRow(at/row, at%row, next-at+at%row); err != nil {
			return err
		}
		at = next
	}
	return b.flush()
}

// addRow wants the bytes from..to of a row's data. The chunks that it begins
// and ends in are wanted in part, so that it falls into up to three bands.
func (b *rowReader) addRow(row, from, to int64) error {
	chunk := b.f.chunk
	first, lo := int(from/chunk), from%chunk
	last, hi := int((to-1)/chunk), (to-1)%chunk+1
	if first == last {
		return b.addBand(band{row: row, lo: lo, hi: hi, first: first, last: last})
	}
	for at := int64(0); at < chunk; {
		next, c := chunk, band{row: row, first: first + 1, last: last}
		if at >= lo {
			c.first = first
		} else {
			next = lo
		}
		if at >= hi {
			c.last = last - 1
		} else {
			next = min(next, hi)
		}
		if c.first <= c.last {
			c.lo, c.hi = at, next
			if err := b.addBand(c); err != nil {
				return err
			}
		}
		at = next
	}
	return nil
}

// addBand adds a band, cut where the state of a leg changes and where it would
// need too much memory.
func (b *rowReader) addBand(c band) error {
	for end := c.hi; c.lo < end; c.lo = c.hi {
		c.hi = min(end, c.lo+b.r.sum)
		for _, cut := range b.r.cuts {
			if cut -= c.row * b.f.chunk; cut > c.lo && cut < c.hi {
				c.hi = cut
			}
		}
		b.bands = append(b.bands, c)
		b.cost += (c.hi - c.lo) * int64(b.f.legs)
		if b.cost >= maxSummed {
			if err := b.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush reads the bands. Those with a leg that failed are read again without
// it, until all is there or can't be had.
func (b *rowReader) flush() error {
	if len(b.bands) == 0 {
		return nil
	}
	b.arena = arenas.Get().(*arena)
	defer func() {
		b.arena.reset()
		arenas.Put(b.arena)
		b.arena, b.bands, b.cost = nil, b.bands[:0], 0
	}()
	for todo := b.bands; len(todo) > 0; {
		b.reads, b.sums = b.reads[:0], b.sums[:0]
		b.arena.reset()
		for i := range todo {
			if err := b.plan(i, &todo[i]); err != nil {
				return err
			}
		}
		b.r.run(b.reads)
		again := map[int]bool{}
		for _, x := range b.reads {
			if x.err != nil {
				c := &todo[x.of]
				c.failed.add(x.leg)
				c.cause = fmt.Errorf("leg %d: %w", x.leg, x.err)
				again[x.of] = true
			}
		}
		for i := range b.sums {
			if s := &b.sums[i]; !again[s.of] {
				s.compute()
			}
		}
		if len(again) == 0 {
			return nil
		}
		var left []band
		for i := range todo {
			if again[i] {
				left = append(left, todo[i])
			}
		}
		todo = left
	}
	return nil
}

// gone reports whether a band can't use a leg.
func (b *rowReader) gone(c *band, leg int) bool {
	n := c.hi - c.lo
	return c.failed.has(leg) || b.r.usable(leg, c.row*b.f.chunk+c.lo, n) < n
}

// want is where data i of a band goes, nil when it is not wanted.
func (b *rowReader) want(c *band, i int) []byte {
	if i < c.first || i > c.last {
		return nil
	}
	at := (c.row*int64(b.f.data)+int64(i))*b.f.chunk + c.lo - b.off
	return b.p[at : at+c.hi-c.lo]
}

// room is where data i goes, wanted or not.
func (b *rowReader) room(c *band, i int) []byte {
	if dst := b.want(c, i); dst != nil {
		return dst
	}
	return b.arena.take(int(c.hi - c.lo))
}

func (b *rowReader) read(of int, c *band, leg int, dst []byte) {
	b.reads = append(b.reads, read{leg: leg, off: b.f.offset + c.row*b.f.chunk + c.lo, dst: dst, of: of})
}

// plan adds the reads of a band, and its sum if something wanted is gone.
func (b *rowReader) plan(of int, c *band) error {
	rot := b.f.rotation(c.row)
	whole := true
	for i := c.first; i <= c.last && whole; i++ {
		whole = !b.gone(c, rot.leg(i))
	}
	if whole {
		for i := c.first; i <= c.last; i++ {
			b.read(of, c, rot.leg(i), b.want(c, i))
		}
		return nil
	}

	// What is left of the others and of the parity must make up for it.
	s := sum{of: of, terms: make([]term, 0, b.f.data)}
	var lost []int // data
	var legs []int // all
	for i := range b.f.data {
		if leg := rot.leg(i); b.gone(c, leg) {
			lost, legs = append(lost, i), append(legs, leg)
		}
	}
	parity := make([]int, 0, 2)
	for _, leg := range []int{rot.p, rot.q} {
		switch {
		case leg < 0:
		case b.gone(c, leg):
			legs = append(legs, leg)
		default:
			parity = append(parity, leg)
		}
	}
	at := (c.row*int64(b.f.data)+int64(max(lost[0], c.first)))*b.f.chunk + c.lo
	if len(lost) > len(parity) {
		return b.r.degraded(at, legs, c.cause)
	}
	if c.row*b.f.chunk+c.hi > b.r.synced {
		return &Error{
			Op: "read", Object: fmt.Sprintf("sector %d", at/sectorSize),
			Detail: fmt.Sprintf("legs %v can't be used, and the parity was not synced there", legs), Err: ErrState,
		}
	}
	s.q = len(lost) == 1 && parity[0] == rot.q
	for n, i := range lost {
		s.lost[n] = b.room(c, i)
		if rot.q >= 0 {
			s.power[n] = rot.power(rot.leg(i))
		}
		b.read(of, c, parity[n], s.lost[n])
	}
	for i := range b.f.data {
		leg := rot.leg(i)
		if b.gone(c, leg) {
			continue
		}
		t := term{b: b.room(c, i)}
		if rot.q >= 0 {
			t.power = rot.power(leg)
		}
		s.terms = append(s.terms, t)
		b.read(of, c, leg, t.b)
	}
	b.sums = append(b.sums, s)
	return nil
}

func (s *sum) compute() {
	switch {
	case s.lost[1] != nil:
		recoverPQ(s.lost[0], s.lost[1], s.power[0], s.power[1], s.terms)
	case s.q:
		recoverQ(s.lost[0], s.power[0], s.terms)
	default:
		addP(s.lost[0], s.terms)
	}
}
