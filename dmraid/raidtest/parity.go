// SPDX-License-Identifier: MIT

package raidtest

import (
	"bytes"

	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// view is an array as it lies on the legs: as it is now or, during a reshape,
// as it was or as it will be.
type view struct {
	*geometry
	next bool // at the new data offset
}

// offset is where the data of a leg begin.
func (v view) offset(l *leg) uint64 {
	if v.next {
		return l.newOffset
	}
	return l.offset
}

// block is a stretch of a stripe on all legs: the same sectors of each chunk
// of a row.
type block struct {
	v      view
	row    uint64
	stripe stripe
	sector uint64   // of the legs, without the data offset
	n      uint64   // sectors
	legs   [][]byte // by position; nil where not loaded
	bad    []*leg   // could not be read there
}

func (s *set) newBlock(v view, sector, n uint64) *block {
	row := sector / uint64(v.chunk)
	return &block{v: v, row: row, stripe: v.stripe(row), sector: sector, n: n, legs: make([][]byte, v.disks)}
}

// load reads the part of the block on a position; false if the leg is not
// there, not in sync there, or fails.
func (s *set) load(b *block, at int) bool {
	if b.legs[at] != nil {
		return true
	}
	l := s.member(at)
	if !l.readable(b.sector, b.n) {
		return false
	}
	p := make([]byte, b.n*sectorSize)
	if l.data.ReadSectors(p, b.v.offset(l)+b.sector) != nil {
		b.bad = append(b.bad, l)
		return false
	}
	b.legs[at] = p
	return true
}

// complete reads all data of a block and works out what is missing. It reads
// parity only as far as it takes.
func (s *set) complete(b *block) error {
	var missing []int // indexes into the data
	for i, at := range b.stripe.data {
		if !s.load(b, at) {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	exps := b.v.exponents(b.stripe)
	zero := func() []byte { return make([]byte, b.n*sectorSize) }
	x := missing[0]
	switch {
	case len(missing) == 1 && s.load(b, b.stripe.p):
		p := bytes.Clone(b.legs[b.stripe.p])
		for i, at := range b.stripe.data {
			if i != x {
				xorInto(p, b.legs[at])
			}
		}
		b.legs[b.stripe.data[x]] = p
		return nil
	case b.stripe.q < 0 || len(missing) > 2 || !s.load(b, b.stripe.q):
		return dmtest.EIO
	}
	q := bytes.Clone(b.legs[b.stripe.q])
	for i, at := range b.stripe.data {
		if b.legs[at] != nil {
			mulInto(q, b.legs[at], exps[i])
		}
	}
	if len(missing) == 1 {
		d := zero()
		mulInto(d, q, 255-exps[x]%255)
		b.legs[b.stripe.data[x]] = d
		return nil
	}
	if !s.load(b, b.stripe.p) {
		return dmtest.EIO
	}
	// Dx + Dy = P', gx Dx + gy Dy = Q': so Dx = (Q' + gy P') / (gx + gy).
	y := missing[1]
	p := bytes.Clone(b.legs[b.stripe.p])
	for _, at := range b.stripe.data {
		if b.legs[at] != nil {
			xorInto(p, b.legs[at])
		}
	}
	mulInto(q, p, exps[y])
	sum := gfExp[exps[x]%255] ^ gfExp[exps[y]%255]
	dx := zero()
	mulInto(dx, q, 255-gfLog[sum])
	xorInto(p, dx)
	b.legs[b.stripe.data[x]], b.legs[b.stripe.data[y]] = dx, p
	return nil
}

// parityOf works P and Q out of the data of a complete block.
func (b *block) parityOf() (p, q []byte) {
	p = make([]byte, b.n*sectorSize)
	for _, at := range b.stripe.data {
		xorInto(p, b.legs[at])
	}
	if b.stripe.q < 0 {
		return p, nil
	}
	q = make([]byte, b.n*sectorSize)
	for i, e := range b.v.exponents(b.stripe) {
		mulInto(q, b.legs[b.stripe.data[i]], e)
	}
	return p, q
}

// store writes the part of a block on a position. A leg that fails is failed.
func (s *set) store(b *block, at int, p []byte) (ok bool) {
	l := s.member(at)
	if !l.writable() {
		return false
	}
	if l.data.WriteSectors(p, b.v.offset(l)+b.sector) != nil {
		s.fail(l)
		return false
	}
	return true
}

// correct writes what was worked out to legs that could not be read.
func (s *set) correct(b *block) {
	for _, l := range b.bad {
		p := b.legs[l.disk]
		if p == nil {
			if at := b.stripe.p; at == l.disk {
				p, _ = b.parityOf()
			} else if b.stripe.q == l.disk {
				_, p = b.parityOf()
			}
		}
		s.rewrite(l, p, b.v.offset(l)+b.sector)
	}
	b.bad = nil
}

// rewrite corrects a read error; a leg that does not take it, or can't be read
// after it, fails.
func (s *set) rewrite(l *leg, p []byte, sector uint64) {
	again := make([]byte, len(p))
	if l.data.WriteSectors(p, sector) != nil || l.data.ReadSectors(again, sector) != nil {
		s.fail(l)
	}
}

// chunkPiece is a stretch of sectors of an array within a chunk.
type chunkPiece struct {
	sector, n uint64 // of the array
	row       uint64
	index     int    // of the data in the stripe
	leg       uint64 // sector on the leg
}

func (v view) piece(sector, n uint64) chunkPiece {
	chunk := uint64(v.chunk)
	c := sector / chunk
	data := uint64(v.dataDisks())
	return chunkPiece{
		sector: sector, n: min(n, chunk-sector%chunk),
		row: c / data, index: int(c % data), leg: c/data*chunk + sector%chunk,
	}
}

// readParity reads from within a chunk.
func (s *set) readParity(v view, p []byte, c chunkPiece) error {
	b := s.newBlock(v, c.leg, c.n)
	at := b.stripe.data[c.index]
	if s.load(b, at) {
		copy(p, b.legs[at])
		return nil
	}
	if err := s.complete(b); err != nil {
		for _, l := range b.bad {
			s.fail(l)
		}
		return err
	}
	copy(p, b.legs[at])
	s.correct(b)
	return nil
}

// writeParity writes within a chunk: the data are completed and the parity is
// worked out anew.
func (s *set) writeParity(v view, p []byte, c chunkPiece) error {
	b := s.newBlock(v, c.leg, c.n)
	at := b.stripe.data[c.index]
	if !s.loadOthers(b, at) {
		// What another leg lacks comes of what was there before.
		if err := s.complete(b); err != nil {
			for _, l := range b.bad {
				s.fail(l)
			}
			return err
		}
		s.correct(b)
	}
	b.legs[at] = p
	ok := s.store(b, at, p)
	pp, q := b.parityOf()
	ok = s.store(b, b.stripe.p, pp) && ok
	if q != nil {
		ok = s.store(b, b.stripe.q, q) && ok
	}
	s.bitmapEnd(v, c, ok && s.md.degraded == 0)
	if s.md.degraded > maxDegraded(v.level) {
		return dmtest.EIO
	}
	return nil
}

// loadOthers reads all data of a block but those on a position.
func (s *set) loadOthers(b *block, but int) bool {
	for _, at := range b.stripe.data {
		if at != but && !s.load(b, at) {
			return false
		}
	}
	return true
}

// bitmapEnd ends a write in the bitmap, which counts in sectors of the legs
// where there is parity.
func (s *set) bitmapEnd(v view, c chunkPiece, ok bool) {
	s.bitmap.endWrite(c.leg, c.n, ok)
}
