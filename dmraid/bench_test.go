// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bytes"
	"crypto/subtle"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dmraid"
)

// Speeds are ratios of sides that are run in turn; see docs/benchmarks.md.

const benchRounds = 16

// side is another way to do a job.
type side struct {
	name string
	do   func()
}

// inTurn reports for each of the others the ratio of its median time to ours,
// with the lowest and the highest ratio of a round.
func inTurn(b *testing.B, ours func(), others ...side) {
	b.Helper()
	sides := append([]side{{"ours", ours}}, others...)
	for _, s := range sides {
		s.do()
	}
	for b.Loop() {
		times := make([][]float64, len(sides))
		for round := range benchRounds {
			for k := range sides {
				i := (round + k) % len(sides)
				t0 := time.Now()
				sides[i].do()
				times[i] = append(times[i], float64(time.Since(t0).Nanoseconds())/1e3)
			}
		}
		for i, s := range sides {
			b.ReportMetric(medianOf(times[i]), s.name+"-µs")
			if i == 0 {
				continue
			}
			var ratios []float64
			for round := range benchRounds {
				ratios = append(ratios, times[i][round]/times[0][round])
			}
			b.ReportMetric(medianOf(times[i])/medianOf(times[0]), s.name+"/ours")
			b.ReportMetric(slices.Min(ratios), s.name+"/ours-least")
			b.ReportMetric(slices.Max(ratios), s.name+"/ours-most")
		}
	}
	b.ReportMetric(0, "ns/op")
}

func medianOf(list []float64) float64 { return slices.Sorted(slices.Values(list))[len(list)/2] }

// benchArray is a large array in memory, without some legs.
func benchArray(b *testing.B, l layoutCase, missing ...int) (g dmraid.Geometry, legs [][]byte, r *dmraid.Reader) {
	b.Helper()
	const chunk, chunks = 64 << 10, 40
	g = l.geometry(b, chunk/512, chunks)
	legs = l.write(random(int(g.ArraySectors())*512), chunk, chunks, 0)
	list := make([]io.ReaderAt, len(legs))
	for i := range legs {
		if !slices.Contains(missing, i) {
			list[i] = bytes.NewReader(legs[i])
		}
	}
	r, err := dmraid.NewReader(g, list)
	if err != nil {
		b.Fatal(err)
	}
	return g, legs, r
}

// BenchmarkReconstructRAID6 reads an array of six legs that has lost two, next
// to a loop over bytes with a table of products, which is how it is done
// without SIMD. The sides have the same result.
func BenchmarkReconstructRAID6(b *testing.B) {
	g, legs, r := benchArray(b, layoutCase{typ: dmraid.RAID6NC, legs: 6}, 1, 4)
	size := int(r.Size())
	ours, theirs := make([]byte, size), make([]byte, size)
	inTurn(b, func() {
		if _, err := r.ReadAt(ours, 0); err != nil {
			b.Fatal(err)
		}
	}, side{"byte-table", func() { tableRAID6(g, legs, theirs, 1, 4) }})
	if !bytes.Equal(ours, theirs) {
		b.Fatal("the sides differ")
	}
}

// tableRAID6 reads an array without two legs, a byte at a time.
func tableRAID6(g dmraid.Geometry, legs [][]byte, out []byte, gone ...int) {
	var log [256]int
	for i, v := 0, byte(1); i < 255; i, v = i+1, gfMul(v, 2) {
		log[v] = i
	}
	inverse := func(v byte) byte { return pow(255 - log[v]) }
	for row := range g.Stripes() {
		s := g.Stripe(row)
		at := s.Sector.Bytes()
		chunk := func(leg int) []byte { return legs[leg][at:][:s.Sectors.Bytes()] }
		p, q := slices.Clone(chunk(s.P)), slices.Clone(chunk(s.Q))
		var lost []int
		for leg, role := range s.Roles {
			if role.Kind != dmraid.RoleData {
				continue
			}
			if slices.Contains(gone, leg) {
				lost = append(lost, leg)
				continue
			}
			src := chunk(leg)
			copy(out[role.Sector.Bytes():], src)
			times := &gfTable[pow(role.Power)]
			for i, v := range src {
				p[i] ^= v
				q[i] ^= times[v]
			}
		}
		dst := func(n int) []byte { return out[s.Roles[lost[n]].Sector.Bytes():][:len(p)] }
		switch {
		case len(lost) == 2:
			x, y := pow(s.Roles[lost[0]].Power), pow(s.Roles[lost[1]].Power)
			fromQ := inverse(x ^ y)
			tp, tq := &gfTable[gfMul(x, fromQ)], &gfTable[fromQ]
			dx, dy := dst(0), dst(1)
			for i := range p {
				dy[i] = tp[p[i]] ^ tq[q[i]]
				dx[i] = p[i] ^ dy[i]
			}
		case len(lost) == 1 && slices.Contains(gone, s.P):
			t, d := &gfTable[inverse(pow(s.Roles[lost[0]].Power))], dst(0)
			for i := range q {
				d[i] = t[q[i]]
			}
		case len(lost) == 1:
			copy(dst(0), p)
		}
	}
}

func pow(n int) byte {
	v := byte(1)
	for range n % 255 {
		v = gfMul(v, 2)
	}
	return v
}

// BenchmarkReconstructXOR reads an array of five legs that has lost one, next
// to a copy of as much memory as it reads, and to reading it whole.
func BenchmarkReconstructXOR(b *testing.B) {
	l := layoutCase{typ: dmraid.RAID5LS, legs: 5}
	_, legs, r := benchArray(b, l, 2)
	list := make([]io.ReaderAt, len(legs))
	for i := range legs {
		list[i] = bytes.NewReader(legs[i])
	}
	whole, err := dmraid.NewReader(r.Geometry(), list)
	if err != nil {
		b.Fatal(err)
	}
	ours := make([]byte, r.Size())
	to := make([]byte, len(legs[0]))
	read := func(r *dmraid.Reader) func() {
		return func() {
			if _, err := r.ReadAt(ours, 0); err != nil {
				b.Fatal(err)
			}
		}
	}
	inTurn(b, read(r), side{"whole", read(whole)}, side{"copy", func() {
		for i, leg := range legs {
			if i != 2 {
				copy(to, leg)
			}
		}
	}}, side{"byte-loop", func() {
		for i, leg := range legs {
			if i != 2 {
				for j, v := range leg {
					to[j] ^= v
				}
			}
		}
	}})
}

// BenchmarkParity computes P and Q of a stripe, next to P alone and to a copy
// of its data.
func BenchmarkParity(b *testing.B) {
	l := layoutCase{typ: dmraid.RAID6ZR, legs: 6}
	g := l.geometry(b, 128, 4)
	data := make([][]byte, g.DataLegs())
	for i := range data {
		data[i] = random(64 << 10)
	}
	p, q, x := make([]byte, 64<<10), make([]byte, 64<<10), make([]byte, 64<<10)
	const times = 50 // one stripe is too short to be timed
	repeat := func(f func()) func() {
		return func() {
			for range times {
				f()
			}
		}
	}
	inTurn(b, repeat(func() {
		if err := g.Parity(1, data, p, q); err != nil {
			b.Fatal(err)
		}
	}), side{"P", repeat(func() {
		if err := g.Parity(1, data, p, nil); err != nil {
			b.Fatal(err)
		}
	})}, side{"XORBytes", repeat(func() {
		clear(x)
		for _, d := range data {
			subtle.XORBytes(x, x, d)
		}
	})}, side{"copy", repeat(func() {
		for _, d := range data {
			copy(x, d)
		}
	})})
	if !bytes.Equal(p, x) {
		b.Fatal("the sides differ")
	}
}
