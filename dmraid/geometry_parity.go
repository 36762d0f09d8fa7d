// SPDX-License-Identifier: MIT

package dmraid

// parityKey is how a superblock names a layout.
type parityKey struct {
	level  int
	layout uint32
}

// parityLayout is one of the algorithms of raid5.h, taken apart. They are
// few questions: where P is and which way it moves, where Q is, in which order
// the data is.
type parityLayout struct {
	p    parityMove
	q    qPlace
	ring bool // data begins behind the parity and goes round; else it is in the order of the legs
	ddf  bool // Q's powers count all legs from the first on; else from the one behind Q, without P and Q
}

type parityMove uint8

const (
	pFirst parityMove = iota // stays on the first leg
	pLast                    // stays on the last leg of those that Q does not stay on
	pRight                   // leg 0, 1, 2, …
	pLeft                    // last leg, the one before, …
	pLeft1                   // the same, a stripe earlier
)

type qPlace uint8

const (
	qNone   qPlace = iota
	qAfter         // on the leg after P, and the first after the last
	qBefore        // on the leg before P, and the last before the first
	qLast          // stays on the last leg
)

// parityLayouts are the layouts that dm-raid.c has types for. Those of raid6
// that end in _6 are of raid5 with one more leg.
var parityLayouts = map[parityKey]parityLayout{
	{5, 0}:  {p: pLeft},                                    // raid5_la
	{5, 1}:  {p: pRight},                                   // raid5_ra
	{5, 2}:  {p: pLeft, ring: true},                        // raid5_ls
	{5, 3}:  {p: pRight, ring: true},                       // raid5_rs
	{5, 4}:  {p: pFirst},                                   // raid4
	{5, 5}:  {p: pLast},                                    // raid5_n
	{6, 5}:  {p: pLast, q: qLast},                          // raid6_n_6
	{6, 8}:  {p: pRight, q: qAfter, ddf: true},             // raid6_zr
	{6, 9}:  {p: pLeft1, q: qAfter, ddf: true},             // raid6_nr
	{6, 10}: {p: pLeft, q: qBefore, ring: true, ddf: true}, // raid6_nc
	{6, 16}: {p: pLeft, q: qLast},                          // raid6_la_6
	{6, 17}: {p: pRight, q: qLast},                         // raid6_ra_6
	{6, 18}: {p: pLeft, q: qLast, ring: true},              // raid6_ls_6
	{6, 19}: {p: pRight, q: qLast, ring: true},             // raid6_rs_6
}

// rotation is who does what in one row: raid5_compute_sector of raid5.c and
// its inverse raid5_compute_blocknr.
type rotation struct {
	legs  int
	p, q  int // -1: none
	start int // leg of the first data in a ring; -1: the data is in the order of the legs
	ring  int // legs that P and data go round on
	ddf   bool
}

func (f *form) rotation(row int64) rotation {
	r := rotation{legs: f.legs, p: -1, q: -1, start: -1, ring: f.legs, ddf: f.layout.ddf}
	if f.parity == 0 {
		return r
	}
	if f.layout.q == qLast {
		r.ring--
		r.q = r.ring
	}
	last := r.ring - 1
	switch f.layout.p {
	case pFirst:
		r.p = 0
	case pLast:
		r.p = last
	case pRight:
		r.p = int(row % int64(r.ring))
	case pLeft:
		r.p = last - int(row%int64(r.ring))
	case pLeft1:
		r.p = last - int((row+1)%int64(r.ring))
	}
	switch f.layout.q {
	case qAfter:
		r.q = (r.p + 1) % r.ring
	case qBefore:
		r.q = (r.p + last) % r.ring
	}
	if f.layout.ring {
		r.start = r.p + 1
	}
	return r
}

// leg is the one that holds data i of the row.
func (r *rotation) leg(i int) int {
	if r.start >= 0 {
		return (r.start + i) % r.ring
	}
	lo, hi := min(r.p, r.q), max(r.p, r.q)
	if lo >= 0 && i >= lo {
		i++
	}
	if hi >= 0 && i >= hi {
		i++
	}
	return i
}

// index is the inverse of leg, which must hold data.
func (r *rotation) index(leg int) int {
	if r.start >= 0 {
		return (leg + r.ring - r.start) % r.ring
	}
	i := leg
	if r.p >= 0 && leg > r.p {
		i--
	}
	if r.q >= 0 && leg > r.q {
		i--
	}
	return i
}

// power is the exponent of a data leg in Q's sum: raid6_d0 and
// raid6_idx_to_slot of raid5.c. With the layouts of DDF, P and Q take part as
// zeroes.
func (r *rotation) power(leg int) int {
	if r.ddf {
		return leg
	}
	// Q is on the last leg in all the others: they begin with the first.
	if leg > r.p {
		return leg - 1
	}
	return leg
}
