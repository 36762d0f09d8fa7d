// SPDX-License-Identifier: MIT

package dmraid

import "fmt"

// Geometry is what the table says of an array of that length, as
// rs_set_dev_and_array_sectors of dm-raid.c and md make it: the legs' share,
// which for raid 0, 4, 5 and 6 is cut to whole chunks.
//
// A table is right about a new array. For one that exists its superblocks are,
// and after a reshape they can differ in type, layout and data offset: use
// [Superblock.Geometry]. For a table that asks for a reshape, with DeltaDisks
// or a DataOffset other than 0, the error is [ErrState].
func (t Table) Geometry(length Sectors) (Geometry, error) {
	fail := func(err error, format string, a ...any) (Geometry, error) {
		return Geometry{}, &Error{Op: "geometry", Detail: fmt.Sprintf(format, a...), Err: err}
	}
	info, ok := t.Type.info()
	if !ok {
		return fail(ErrTable, "raid type %q is not known", string(t.Type))
	}
	if t.DeltaDisks != 0 || t.DataOffset != nil && *t.DataOffset != 0 {
		return fail(ErrState, "the table asks for a reshape: only the superblocks know where the data is")
	}
	g := Geometry{Level: info.level, Layout: info.layout, Legs: len(t.Legs), Chunk: t.ChunkSize}
	share, of := Sectors(1), Sectors(max(len(t.Legs)-info.parity, 1))
	switch info.level {
	case 1:
		g.Chunk, of = 0, 1
	case 10:
		copies := t.Copies
		if copies == 0 {
			copies = 2
		}
		if copies < 0 || copies > 0xff {
			return fail(ErrTable, "%d copies", copies)
		}
		g.Layout = raid10Layout(t.Format, copies, t.NearSets)
		share = Sectors(copies)
	}
	if length > maxArraySectors {
		return fail(ErrTable, "length of %v is too large", length)
	}
	if length*share%of != 0 {
		return fail(ErrTable, "Target length not divisible by number of data devices")
	}
	g.LegSectors = length * share / of
	return g.whole()
}

// whole cuts a geometry's legs to what md uses of them, and checks it.
func (g Geometry) whole() (Geometry, error) {
	if err := g.Check(); err != nil {
		return Geometry{}, err
	}
	old, _ := g.Old().form()
	used := old.rows * old.chunk
	if g.Reshape.Legs != 0 {
		now, _ := g.New().form()
		used = min(used/now.chunk*now.chunk, now.rows*now.chunk/old.chunk*old.chunk)
	}
	if g.Level != 1 {
		g.LegSectors = Sectors(used / sectorSize)
	}
	return g, nil
}

// Geometry is what the superblock says, in a reshape both sides of it. That is
// what the kernel goes by, whatever the table says: a table can still have the
// type from before a reshape. All legs of an array say the same; take the one
// with the most events.
//
// LegSectors is made from ArraySectors. DevSectors can't be used: a forward
// reshape adds its room to it, at the start (rs_setup_reshape) and again at the
// end (md_finish_reshape), until the table is loaded again.
//
// A superblock from before target version 1.9.0 (Extended is false) does not
// say how large the array is: the error is [ErrState], and [Table.Geometry]
// knows. An interrupted takeover, which changes the level, is ErrState too: md
// can't go on with it.
func (s Superblock) Geometry() (Geometry, error) {
	fail := func(err error, format string, a ...any) (Geometry, error) {
		return Geometry{}, &Error{Op: "geometry", Detail: fmt.Sprintf(format, a...), Err: err}
	}
	switch {
	case !s.Extended:
		return fail(ErrState, "a superblock of before version 1.9.0 does not have the array's size")
	case s.NumDevices > MaxLegs:
		return fail(ErrCorrupt, "%d legs", s.NumDevices)
	case s.Level > 10:
		return fail(ErrCorrupt, "raid level %d is not known", s.Level)
	}
	g := Geometry{
		Level: int(s.Level), Layout: s.Layout, Legs: int(s.NumDevices), Chunk: s.Chunk,
		DataOffset: s.DataOffset,
	}
	if g.Level == 1 {
		g.Chunk = 0
	}
	if s.Reshaping && s.ReshapePosition != MaxSector {
		if s.NewLevel != s.Level {
			return fail(ErrState, "a change from raid level %d to %d is under way", s.Level, s.NewLevel)
		}
		// While it runs, num_devices is md's raid_disks, which is the new
		// number (raid5_start_reshape, raid10_start_reshape).
		before := int64(s.NumDevices) - int64(s.DeltaDisks)
		if before < 1 || before > MaxLegs {
			return fail(ErrCorrupt, "a reshape from %d legs to %d", before, s.NumDevices)
		}
		g.Legs = int(before)
		g.Reshape = Reshape{
			Layout: s.NewLayout, Legs: int(s.NumDevices), Chunk: s.NewChunk, DataOffset: s.NewDataOffset,
			Backwards: s.DeltaDisks < 0 || s.DeltaDisks == 0 && s.Backwards,
		}
	}
	err := g.Check() // with no sectors
	if err == nil {
		old, _ := g.Old().form()
		now, _ := g.New().form()
		g.LegSectors = max(old.share(s.ArraySectors), now.share(s.ArraySectors))
		if g.Reshape.Legs != 0 {
			g.Reshape.Position = s.ReshapePosition
		}
		g, err = g.whole()
	}
	if err != nil {
		err.(*Error).Err = ErrCorrupt
		return Geometry{}, err
	}
	return g, nil
}

// share is what an array of that size takes of each leg. It is too much, and
// not an overflow, for an array that is too large.
func (f *form) share(array Sectors) Sectors {
	chunk := Sectors(f.chunk / sectorSize)
	switch {
	case array > maxArraySectors:
		return array
	case f.level == 1:
		return array
	case f.level == 10:
		// As calc_sectors of raid10.c has it, and rounded up.
		legs := Sectors(f.legs)
		return (array/chunk*Sectors(f.copies()) + legs - 1) / legs * chunk
	}
	return array / Sectors(f.data)
}
