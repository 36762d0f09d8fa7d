// SPDX-License-Identifier: MIT

package dmraid

import (
	"crypto/subtle"
	"fmt"

	"github.com/klauspost/reedsolomon"
)

// Raid6 computes in GF(2^8) with the polynomial 0x11d and the generator 2
// (lib/raid6 of Linux). That is the field of the reedsolomon module, whose
// multiplication of slices is in SIMD; its own matrices are others, so the
// sums are made here.
var field reedsolomon.LowLevel

// powers are those of the generator, logs their inverse.
var powers, logs = func() (exp, log [256]byte) {
	v := 1
	for i := range 255 {
		exp[i], log[v] = byte(v), byte(i)
		if v <<= 1; v >= 256 {
			v ^= 0x11d
		}
	}
	exp[255] = 1
	return exp, log
}()

// mul is the product of two elements that aren't 0.
func mul(a, b byte) byte { return powers[(int(logs[a])+int(logs[b]))%255] }

// sumBlock is how much of each leg is summed at a time, so that the sum stays
// in the processor's first cache.
const sumBlock = 8 << 10

// blocks calls f for each piece of n bytes.
func blocks(n int, f func(lo, hi int)) {
	for lo := 0; lo < n; lo += sumBlock {
		f(lo, min(lo+sumBlock, n))
	}
}

// term is the data of one leg of a row, and the exponent that it has in Q.
type term struct {
	b     []byte
	power int
}

// addP adds the terms to p.
func addP(p []byte, terms []term) {
	blocks(len(p), func(lo, hi int) {
		for _, t := range terms {
			subtle.XORBytes(p[lo:hi], p[lo:hi], t.b[lo:hi])
		}
	})
}

// addQ adds the terms to q.
func addQ(q []byte, terms []term) {
	blocks(len(q), func(lo, hi int) {
		for _, t := range terms {
			field.GalMulSliceXor(powers[t.power], t.b[lo:hi], q[lo:hi])
		}
	})
}

// addPQ adds the terms to p and q while they are in the cache.
func addPQ(p, q []byte, terms []term) {
	blocks(len(p), func(lo, hi int) {
		for _, t := range terms {
			subtle.XORBytes(p[lo:hi], p[lo:hi], t.b[lo:hi])
			field.GalMulSliceXor(powers[t.power], t.b[lo:hi], q[lo:hi])
		}
	})
}

// recoverQ turns q, which is Q, into the one data that is not among the terms.
func recoverQ(q []byte, power int, terms []term) {
	c := powers[(255-power)%255]
	blocks(len(q), func(lo, hi int) {
		for _, t := range terms {
			field.GalMulSliceXor(powers[t.power], t.b[lo:hi], q[lo:hi])
		}
		field.GalMulSlice(c, q[lo:hi], q[lo:hi])
	})
}

// recoverPQ turns x and y, which are P and Q, into the two data that are not
// among the terms.
func recoverPQ(x, y []byte, px, py int, terms []term) {
	// Without the terms, P is X + Y and Q is aX + bY. So Y = (aP + Q)/(a + b).
	a, b := powers[px], powers[py]
	cq := reedsolomon.Inv(a ^ b)
	cp := mul(a, cq)
	blocks(len(x), func(lo, hi int) {
		x, y := x[lo:hi], y[lo:hi]
		for _, t := range terms {
			subtle.XORBytes(x, x, t.b[lo:hi])
			field.GalMulSliceXor(powers[t.power], t.b[lo:hi], y)
		}
		field.GalMulSlice(cq, y, y)
		field.GalMulSliceXor(cp, x, y)
		subtle.XORBytes(x, x, y)
	})
}

// Parity computes P and Q of stripe n from its data, which is in the order of
// the array (Role.Index). All slices have one length; it can be any part of
// the chunk. Q is not computed when it is nil, nor P. It is an error when the
// data is not that of a stripe, or the level does not have what is asked for.
func (g Geometry) Parity(n int64, data [][]byte, p, q []byte) error {
	fail := func(format string, a ...any) error {
		return &Error{Op: "parity", Detail: fmt.Sprintf(format, a...), Err: ErrTable}
	}
	f, ok := g.Old().form()
	switch {
	case !ok:
		return g.Check()
	case n < 0 || n >= f.rows:
		return fail("there is no stripe %d", n)
	case p != nil && f.parity < 1 || q != nil && f.parity < 2:
		return fail("raid level %d does not have it", f.level)
	case f.mirrored() || len(data) != f.data:
		return fail("%d pieces of data where a stripe has %d", len(data), f.data)
	}
	size := len(data[0])
	r := f.rotation(n)
	terms := make([]term, len(data))
	for i, b := range data {
		if len(b) != size {
			return fail("data %d has %d bytes, and the first %d", i, len(b), size)
		}
		terms[i].b = b
		if r.q >= 0 {
			terms[i].power = r.power(r.leg(i))
		}
	}
	if p != nil && len(p) != size || q != nil && len(q) != size {
		return fail("parity of %d and %d bytes for data of %d", len(p), len(q), size)
	}
	clear(p)
	clear(q)
	switch {
	case p != nil && q != nil:
		addPQ(p, q, terms)
	case p != nil:
		addP(p, terms)
	case q != nil:
		addQ(q, terms)
	}
	return nil
}
