// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// The reference writer: it draws the rows of each layout the way the manuals
// do, by inserting, turning and repeating, and shares nothing with Geometry.

// cell is a chunk of a leg: data chunk n of the array, or parity.
type cell struct {
	n    int    // of the array; with parity the row
	what string // "D", "P", "Q" or "" for unused
}

// turn rotates to the right.
func turn[T any](s []T, n int) []T {
	n %= len(s)
	return slices.Concat(s[len(s)-n:], s[:len(s)-n])
}

// drawParity draws a row of raid 0, 4, 5 or 6 with its data chunks from first
// on.
func drawParity(typ dmraid.Type, legs, row int) []cell {
	p, q := cell{row, "P"}, cell{row, "Q"}
	data := func(n int) []cell {
		list := make([]cell, n)
		for i := range list {
			list[i] = cell{row*n + i, "D"}
		}
		return list
	}
	switch typ {
	case dmraid.RAID0:
		return data(legs)
	case dmraid.RAID4:
		return slices.Insert(data(legs-1), 0, p)
	case dmraid.RAID5N:
		return append(data(legs-1), p)
	case dmraid.RAID5LA: // P walks to the left through the data
		return slices.Insert(data(legs-1), legs-1-row%legs, p)
	case dmraid.RAID5RA:
		return slices.Insert(data(legs-1), row%legs, p)
	case dmraid.RAID5LS: // P and what follows it turn to the left
		return turn(slices.Insert(data(legs-1), 0, p), legs-1-row%legs)
	case dmraid.RAID5RS:
		return turn(slices.Insert(data(legs-1), 0, p), row%legs)
	case dmraid.RAID6ZR: // PQ walks to the right; past the end Q is first
		if row%legs == legs-1 {
			return slices.Concat([]cell{q}, data(legs-2), []cell{p})
		}
		return slices.Insert(data(legs-2), row%legs, p, q)
	case dmraid.RAID6NR: // PQ walks to the left from the end
		switch at := legs - 2 - row%legs; at {
		case -1:
			return slices.Concat([]cell{q}, data(legs-2), []cell{p})
		default:
			return slices.Insert(data(legs-2), at, p, q)
		}
	case dmraid.RAID6NC: // D D Q P turns to the left
		return turn(append(data(legs-2), q, p), legs-row%legs)
	}
	for five, six := range map[dmraid.Type]dmraid.Type{
		dmraid.RAID5N: dmraid.RAID6N6, dmraid.RAID5LA: dmraid.RAID6LA6, dmraid.RAID5RA: dmraid.RAID6RA6,
		dmraid.RAID5LS: dmraid.RAID6LS6, dmraid.RAID5RS: dmraid.RAID6RS6,
	} {
		if six == typ {
			return append(drawParity(five, legs-1, row), q)
		}
	}
	panic(typ)
}

// drawCopies draws all rows of a raid10, or of raid1 as one chunk.
func drawCopies(l layoutCase, chunks int) [][]cell {
	if l.typ == dmraid.RAID1 {
		return [][]cell{slices.Repeat([]cell{{0, "D"}}, l.legs)}
	}
	var row []cell
	var rows [][]cell
	put := func(c cell) {
		if row = append(row, c); len(row) == l.legs {
			rows, row = append(rows, row), nil
		}
	}
	times := 1
	if l.format == dmraid.FormatNear {
		times = l.copies
	}
	for n := range chunks {
		for range times {
			put(cell{n, "D"})
		}
	}
	for len(row) > 0 {
		put(cell{})
	}
	if times > 1 {
		return rows
	}
	// The sets of legs, in which each copy is turned by one more.
	size := l.legs
	if !l.nearSets {
		size = l.copies
	}
	copyOf := func(row []cell, n int) []cell {
		var out []cell
		for start := 0; start < l.legs; {
			end := start + size
			if l.legs-end < size {
				end = l.legs
			}
			out = append(out, turn(row[start:end], n)...)
			start = end
		}
		return out
	}
	var all [][]cell
	if l.format == dmraid.FormatFar {
		for n := range l.copies {
			for _, r := range rows {
				all = append(all, copyOf(r, n))
			}
		}
		return all
	}
	for _, r := range rows {
		for n := range l.copies {
			all = append(all, copyOf(r, n))
		}
	}
	return all
}

// layoutCase is an array that can be.
type layoutCase struct {
	typ      dmraid.Type
	legs     int
	copies   int
	format   dmraid.Format
	nearSets bool
}

func (l layoutCase) String() string {
	if l.typ != dmraid.RAID10 {
		return fmt.Sprintf("%s/%d", l.typ, l.legs)
	}
	sets := ""
	if l.nearSets {
		sets = "-near-sets"
	}
	return fmt.Sprintf("%s-%s%s-%dx/%d", l.typ, l.format, sets, l.copies, l.legs)
}

// table is the case as a table, and its length for legs of some chunks.
func (l layoutCase) table(chunk dmraid.Sectors, legChunks int) (dmraid.Table, dmraid.Sectors) {
	t := dmraid.Table{Type: l.typ, ChunkSize: chunk, Legs: make([]dmraid.Leg, l.legs), Copies: l.copies, Format: l.format, NearSets: l.nearSets}
	length := chunk * dmraid.Sectors(legChunks*(l.legs-l.typ.Parity()))
	switch {
	case l.typ == dmraid.RAID1:
		t.ChunkSize, length = 0, chunk*dmraid.Sectors(legChunks)
	case l.typ == dmraid.RAID10:
		length = chunk * dmraid.Sectors(legChunks*l.legs) / dmraid.Sectors(l.copies)
	}
	return t, length
}

// draw is the case drawn.
func (l layoutCase) draw(legChunks int) [][]cell {
	if l.typ == dmraid.RAID1 || l.typ == dmraid.RAID10 {
		onLeg := legChunks
		if l.typ == dmraid.RAID10 && l.format != dmraid.FormatNear {
			return drawCopies(l, onLeg/l.copies*l.legs)
		}
		return drawCopies(l, onLeg*l.legs/max(l.copies, 1))
	}
	rows := make([][]cell, legChunks)
	for i := range rows {
		rows[i] = drawParity(l.typ, l.legs, i)
	}
	return rows
}

// gfMul multiplies in raid6's field bit by bit.
func gfMul(a, b byte) byte {
	var p byte
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			p ^= a
		}
		high := a&0x80 != 0
		if a <<= 1; high {
			a ^= 0x1d
		}
	}
	return p
}

// gfTable is gfMul of everything, for the time that tests take.
var gfTable = func() (t [256][256]byte) {
	for a := range t {
		for b := range t[a] {
			t[a][b] = gfMul(byte(a), byte(b))
		}
	}
	return t
}()

// write lays an array out on legs, in chunks of some bytes.
func (l layoutCase) write(array []byte, chunk, legChunks, offset int) [][]byte {
	if l.typ == dmraid.RAID1 {
		chunk, legChunks = chunk*legChunks, 1
	}
	legs := make([][]byte, l.legs)
	for i := range legs {
		legs[i] = make([]byte, offset+chunk*legChunks)
		for j := range legs[i] {
			legs[i][j] = 0xa5 // where nothing belongs
		}
	}
	ddf := l.typ == dmraid.RAID6ZR || l.typ == dmraid.RAID6NR || l.typ == dmraid.RAID6NC
	for r, row := range l.draw(legChunks) {
		p, q := make([]byte, chunk), make([]byte, chunk)
		g := byte(1)
		for leg, c := range row {
			if c.what == "D" {
				b := array[c.n*chunk:][:chunk]
				copy(legs[leg][offset+r*chunk:], b)
				for i, v := range b {
					p[i] ^= v
				}
				if l.typ.Parity() == 2 {
					times := &gfTable[g]
					for i, v := range b {
						q[i] ^= times[v]
					}
				}
			}
			if c.what == "D" || ddf {
				g = gfMul(g, 2)
			}
		}
		for leg, c := range row {
			switch c.what {
			case "P":
				copy(legs[leg][offset+r*chunk:], p)
			case "Q":
				copy(legs[leg][offset+r*chunk:], q)
			}
		}
	}
	return legs
}

// layoutCases are all types with 2 to 7 legs, and all formats of raid10 with 2
// to 4 copies.
func layoutCases(t testing.TB) []layoutCase {
	t.Helper()
	var list []layoutCase
	for _, typ := range dmraid.Types() {
		for legs := typ.MinLegs(); legs <= 7; legs++ {
			if !typ.IsRAID10() {
				list = append(list, layoutCase{typ: typ, legs: legs})
			}
		}
	}
	for legs := 2; legs <= 7; legs++ {
		for copies := 2; copies <= min(legs, 4); copies++ {
			list = append(list, layoutCase{typ: dmraid.RAID10, legs: legs, copies: copies, format: dmraid.FormatNear})
			for _, near := range []bool{false, true} {
				list = append(list,
					layoutCase{typ: dmraid.RAID10, legs: legs, copies: copies, format: dmraid.FormatFar, nearSets: near},
					layoutCase{typ: dmraid.RAID10, legs: legs, copies: copies, format: dmraid.FormatOffset, nearSets: near})
			}
		}
	}
	return list
}
