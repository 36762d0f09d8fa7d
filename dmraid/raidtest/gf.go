// SPDX-License-Identifier: MIT

package raidtest

import (
	"crypto/subtle"
	"sync"
)

// The field of md's Q: bytes modulo x^8+x^4+x^3+x^2+1, with generator 2.
var gfExp, gfLog = func() (exp [510]byte, log [256]int) {
	v := 1
	for i := range 255 {
		exp[i], exp[i+255] = byte(v), byte(v)
		log[v] = i
		if v <<= 1; v > 255 {
			v ^= 0x11d
		}
	}
	return exp, log
}()

// gfMul is the product of a byte and 2 to the power n.
func gfMul(a byte, n int) byte {
	if a == 0 {
		return 0
	}
	return gfExp[(gfLog[a]+n)%255]
}

// gfTables have the product of 2 to the power n and each byte.
var gfTables = sync.OnceValue(func() *[255][256]byte {
	t := new([255][256]byte)
	for n := range t {
		for i := range t[n] {
			t[n][i] = gfMul(byte(i), n)
		}
	}
	return t
})

// xorInto adds src to dst.
func xorInto(dst, src []byte) { subtle.XORBytes(dst, dst, src) }

// mulInto adds src times 2 to the power n to dst.
func mulInto(dst, src []byte, n int) {
	t := &gfTables()[n%255]
	for i, b := range src {
		dst[i] ^= t[b]
	}
}
