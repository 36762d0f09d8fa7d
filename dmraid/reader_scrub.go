// SPDX-License-Identifier: MIT

package dmraid

import (
	"bytes"
	"context"
	"iter"
)

// Mismatch is a part of an array whose copies differ, or whose parity does not
// fit its data.
type Mismatch struct {
	// Stripe is its number; with raid 1 and 10, of the first copy.
	Stripe int64
	// Sector of the array at which the part begins: the first data of the
	// stripe, or the chunk of which there are copies.
	Sector Sectors
	// Sectors of each leg that were looked at together: a chunk, or a piece
	// of a large one.
	Sectors Sectors
	// Blocks is how many 4 KiB blocks of these have a mismatch: 8 sectors of
	// the kernel's mismatch count with raid 4, 5 and 6. With raid 1 and 10 it
	// counts all that it read at once, which is more.
	Blocks int
	P, Q   bool // which parity does not fit
	// Leg is the one that is wrong if only one is: Q tells with raid6, the
	// majority with three copies or more. It is -1 if that can't be told.
	Leg int
	// Unread are legs that can't be read here, or are not in sync, without
	// those that are missing altogether. If that left too little to compare,
	// Blocks is 0.
	Unread []int
}

// mismatchBlock is what md compares at a time (RAID5_STRIPE_SIZE).
const mismatchBlock = 4096

var zeroBlock [mismatchBlock]byte

// Scrub compares all copies, and all parity with its data, like the kernel's
// check, and gives what differs in the order of the array. It repairs nothing.
// What was never synced ([WithSynced]) is left out. A leg that can't be read
// does not end it: see Mismatch.Unread, and [Reader.Failures]. Raid0 has
// nothing to compare. In a reshape the error is [ErrState]; with so many legs
// missing that there is nothing to compare, [ErrDegraded].
func (r *Reader) Scrub(ctx context.Context) iter.Seq2[Mismatch, error] {
	return func(yield func(Mismatch, error) bool) {
		f := &r.m.old
		if r.m.reshaping {
			yield(Mismatch{}, &Error{Op: "scrub", Detail: "a reshape is under way", Err: ErrState})
			return
		}
		if f.parity == 0 && !f.mirrored() {
			return
		}
		missing := 0
		for _, leg := range r.legs {
			if leg.r == nil {
				missing++
			}
		}
		if !f.mirrored() && missing >= f.parity || f.level == 1 && f.legs > 1 && f.legs-missing < 2 {
			yield(Mismatch{}, &Error{Op: "scrub", Detail: "there is nothing to compare", Err: ErrDegraded})
			return
		}
		// While one batch is compared, the next one is read.
		ctx, cancel := context.WithCancel(ctx)
		batches := make(chan *scrubBatch, 1)
		go func() {
			defer close(batches)
			s := scrubber{r: r, f: f}
			for ctx.Err() == nil {
				b := s.next()
				if b == nil {
					return
				}
				select {
				case batches <- b:
				case <-ctx.Done():
				}
			}
		}()
		defer func() {
			cancel()
			for range batches {
			}
		}()
		for b := range batches {
			for i := range b.units {
				if m, ok := b.units[i].compare(r, f, b.arena); ok && !yield(m, nil) {
					return
				}
			}
			b.arena.reset()
			arenas.Put(b.arena)
			if ctx.Err() != nil {
				break
			}
		}
		if err := ctx.Err(); err != nil {
			yield(Mismatch{}, &Error{Op: "scrub", Err: err})
		}
	}
}

// scrubUnit is the same piece of all chunks of a row, or of all copies of a
// chunk.
type scrubUnit struct {
	n      int64 // of the row, or of the chunk in the array
	lo, hi int64 // of the chunk
	legs   []int
	bufs   [][]byte // of each of legs; nil: can't be read
}

type scrubBatch struct {
	units []scrubUnit
	arena *arena
}

// scrubber goes through an array.
type scrubber struct {
	r      *Reader
	f      *form
	n, lo  int64
	recent []read
}

// next reads a batch; nil at the end.
func (s *scrubber) next() *scrubBatch {
	f, b := s.f, &scrubBatch{arena: arenas.Get().(*arena)}
	end, width := f.rows, f.legs
	if f.mirrored() {
		end, width = f.chunks, f.copies()
	}
	reads := s.recent[:0]
	for total := int64(0); total < maxSummed && s.n < end; {
		piece := max(min(maxSummed/int64(width), windowSize)&^(mismatchBlock-1), mismatchBlock)
		u := scrubUnit{n: s.n, lo: s.lo, hi: min(s.lo+piece, f.chunk)}
		if s.lo = u.hi; s.lo == f.chunk {
			s.n, s.lo = s.n+1, 0
		}
		// Rows count on the legs, and so does what is synced of them; copies
		// count on the array.
		if u.n*f.chunk+u.hi > s.r.synced {
			s.n = end
			break
		}
		size := u.hi - u.lo
		u.legs, u.bufs = make([]int, width), make([][]byte, width)
		for i := range width {
			row := u.n
			u.legs[i] = i
			if f.mirrored() {
				u.legs[i], row = f.copy(u.n, i)
			}
			if s.r.usable(u.legs[i], row*f.chunk+u.lo, size) < size {
				continue
			}
			u.bufs[i] = b.arena.take(int(size))
			reads = append(reads, read{leg: u.legs[i], off: f.offset + row*f.chunk + u.lo, dst: u.bufs[i], of: len(b.units)})
		}
		b.units = append(b.units, u)
		total += size * int64(width)
	}
	if len(b.units) == 0 {
		return nil
	}
	if len(reads) > 0 {
		s.r.run(reads)
	}
	for _, x := range reads {
		if x.err != nil {
			u := &b.units[x.of]
			for i, leg := range u.legs {
				if leg == x.leg {
					u.bufs[i] = nil
				}
			}
		}
	}
	s.recent = reads
	return b
}

// compare tells what is wrong with a unit, and false when nothing is.
func (u *scrubUnit) compare(r *Reader, f *form, a *arena) (Mismatch, bool) {
	m := Mismatch{Leg: -1, Sectors: Sectors((u.hi - u.lo) / sectorSize)}
	for i, b := range u.bufs {
		if b == nil && r.legs[u.legs[i]].r != nil {
			m.Unread = append(m.Unread, u.legs[i])
		}
	}
	if f.mirrored() {
		m.Sector = Sectors((u.n*f.chunk + u.lo) / sectorSize)
		_, m.Stripe = f.copy(u.n, 0)
		u.compareCopies(&m)
	} else {
		m.Sector = Sectors((u.n*f.chunk*int64(f.data) + u.lo) / sectorSize)
		m.Stripe = u.n
		u.compareParity(f, a, &m)
	}
	return m, m.Blocks > 0 || len(m.Unread) > 0
}

func (u *scrubUnit) compareCopies(m *Mismatch) {
	var have []int
	for i, b := range u.bufs {
		if b != nil {
			have = append(have, i)
		}
	}
	if len(have) < 2 {
		return
	}
	first := u.bufs[have[0]]
	var odd []int // that differ from the first
	for _, i := range have[1:] {
		if !bytes.Equal(first, u.bufs[i]) {
			odd = append(odd, i)
		}
	}
	if len(odd) == 0 {
		return
	}
	for at := 0; at < len(first); at += mismatchBlock {
		end := min(at+mismatchBlock, len(first))
		for _, i := range odd {
			if !bytes.Equal(first[at:end], u.bufs[i][at:end]) {
				m.Blocks++
				break
			}
		}
	}
	switch {
	case len(have) < 3:
	case len(odd) == 1:
		m.Leg = u.legs[odd[0]]
	case len(odd) == len(have)-1:
		// It is the first, if all others are equal.
		for _, i := range odd[1:] {
			if !bytes.Equal(u.bufs[odd[0]], u.bufs[i]) {
				return
			}
		}
		m.Leg = u.legs[have[0]]
	}
}

// compareParity computes what P and Q are off by, from all legs that are
// there. With a leg missing raid6 has one equation left.
func (u *scrubUnit) compareParity(f *form, a *arena, m *Mismatch) {
	gone := 0
	for _, b := range u.bufs {
		if b == nil {
			gone++
		}
	}
	if gone >= f.parity {
		return
	}
	rot := f.rotation(u.n)
	size := int(u.hi - u.lo)
	terms := make([]term, 0, f.data)
	lost := -1
	for i := range f.data {
		leg := rot.leg(i)
		t := term{b: u.bufs[leg]}
		if rot.q >= 0 {
			t.power = rot.power(leg)
		}
		if t.b == nil {
			lost = t.power
			continue
		}
		terms = append(terms, t)
	}
	var p, q []byte
	if b := u.bufs[rot.p]; b != nil {
		p = a.take(size)
		copy(p, b)
	}
	if rot.q >= 0 && u.bufs[rot.q] != nil {
		q = a.take(size)
		copy(q, u.bufs[rot.q])
	}
	switch {
	case lost >= 0: // P gives the data, Q tests it
		addPQ(p, q, terms)
		addQ(q, []term{{p, lost}})
		p = nil
	case p != nil && q != nil:
		addPQ(p, q, terms)
	case p != nil:
		addP(p, terms)
	default:
		addQ(q, terms)
	}
	u.judge(&rot, p, q, m)
}

// judge counts the blocks in which p and q, what the parity is off by, are not
// zero. With both, one wrong leg shows: q is then p times its coefficient.
func (u *scrubUnit) judge(rot *rotation, p, q []byte, m *Mismatch) {
	wrong := -1 // leg; -2: more than one
	blame := func(leg int) {
		if wrong >= -1 && wrong != leg {
			if wrong == -1 {
				wrong = leg
			} else {
				wrong = -2
			}
		}
	}
	for at := 0; at < int(u.hi-u.lo); at += mismatchBlock {
		badP, badQ := nonzero(p, at), nonzero(q, at)
		if badP == nil && badQ == nil {
			continue
		}
		m.Blocks++
		m.P, m.Q = m.P || badP != nil, m.Q || badQ != nil
		switch {
		case p == nil || q == nil:
			wrong = -2
		case badQ == nil:
			blame(rot.p)
		case badP == nil:
			blame(rot.q)
		default:
			blame(rot.culprit(badP, badQ))
		}
	}
	if wrong >= 0 {
		m.Leg = wrong
	}
}

// nonzero is the block of b at an offset, nil when it is all zeroes or there
// is no b.
func nonzero(b []byte, at int) []byte {
	if b == nil {
		return nil
	}
	b = b[at:min(at+mismatchBlock, len(b))]
	if bytes.Equal(b, zeroBlock[:len(b)]) {
		return nil
	}
	return b
}

// culprit is the data leg that explains what P and Q are off by; -2 when none
// alone does.
func (r *rotation) culprit(p, q []byte) int {
	power := -1
	for i := range p {
		switch {
		case p[i] == 0 && q[i] == 0:
		case p[i] == 0 || q[i] == 0:
			return -2
		default:
			z := (int(logs[q[i]]) - int(logs[p[i]]) + 255) % 255
			if power >= 0 && z != power {
				return -2
			}
			power = z
		}
	}
	for leg := range r.legs {
		if leg != r.p && leg != r.q && r.power(leg) == power {
			return leg
		}
	}
	return -2
}
