// SPDX-License-Identifier: MIT

package dmraid

import "fmt"

// Table gives the table of the array that a superblock is of, and its length.
// The legs are as many as the array has, and empty: which devices they are, a
// superblock does not know. It does not know the size of a region either,
// which the bitmap has, nor what only tunes the array.
//
// The error matches ErrState in the middle of a reshape, whose table has more
// to say, and ErrCorrupt when there is no such array.
func (s Superblock) Table() (Table, Sectors, error) {
	const op = "superblock"
	if s.Reshaping || s.ReshapePosition != MaxSector && s.Extended {
		return Table{}, 0, &Error{Op: op, Detail: "the array is being reshaped", Err: ErrState}
	}
	g, err := s.Geometry()
	if err != nil {
		return Table{}, 0, err
	}
	t := Table{Type: s.Type(), ChunkSize: g.Chunk, Legs: make([]Leg, g.Legs)}
	if g.Level == 10 {
		t.Type = RAID10
		near, far := int(g.Layout&raid10NearMask), int(g.Layout>>raid10FarShift&raid10NearMask)
		t.Copies = near
		if far > 1 {
			t.Copies, t.Format = far, FormatFar
			if g.Layout&raid10Offset != 0 {
				t.Format = FormatOffset
			}
			t.NearSets = g.Layout&raid10FarSets == 0
		}
		if near > 1 && far > 1 {
			return Table{}, 0, &Error{Op: op, Detail: fmt.Sprintf("raid10 layout %#x is near and far at once, for which there is no table", g.Layout), Err: ErrTable}
		}
	}
	if t.Type == "" {
		return Table{}, 0, &Error{Op: op, Detail: fmt.Sprintf("level %d with layout %d", s.Level, s.Layout), Err: ErrCorrupt}
	}
	return t.Normalize(), g.ArraySectors(), nil
}
