// SPDX-License-Identifier: MIT

package dmraid

import (
	"fmt"

	"github.com/linuxblock/linuxblock"
)

// Sectors are units of 512 bytes.
type Sectors = linuxblock.Sectors

// MaxSector is the offset that stands for "all of it": a leg that is in sync,
// an array that is (MaxSector in drivers/md/md.h).
const MaxSector Sectors = 1<<64 - 1

// MaxLegs is how many legs a table can have since target version 1.9.0
// (MAX_RAID_DEVICES in drivers/md/dm-raid.c); before, 64.
const MaxLegs = 253

// Type is the word for level and layout in a table: "raid5_ls". The kernel
// takes it in any case and prints what it was given; this package writes it
// in lower case.
type Type string

// The types of dm-raid.c.
const (
	RAID0       Type = "raid0"         // striping
	RAID1       Type = "raid1"         // mirroring
	RAID10      Type = "raid10"        // format and copies are parameters
	RAID10Far   Type = "raid10_far"    // as a word of a table it is RAID10, near; see [Table.Normalize]
	RAID10Off   Type = "raid10_offset" // the same
	RAID10Near  Type = "raid10_near"   // the same
	RAID4       Type = "raid4"         // parity on the first leg
	RAID5N      Type = "raid5_n"       // parity on the last leg
	RAID5LS     Type = "raid5_ls"      // left symmetric
	RAID5RS     Type = "raid5_rs"      // right symmetric
	RAID5LA     Type = "raid5_la"      // left asymmetric
	RAID5RA     Type = "raid5_ra"      // right asymmetric
	RAID6ZR     Type = "raid6_zr"      // zero restart
	RAID6NR     Type = "raid6_nr"      // N restart
	RAID6NC     Type = "raid6_nc"      // N continue
	RAID6N6     Type = "raid6_n_6"     // raid5_n and Q on the last leg
	RAID6LS6    Type = "raid6_ls_6"    // raid5_ls and Q on the last leg
	RAID6RS6    Type = "raid6_rs_6"    // raid5_rs and Q on the last leg
	RAID6LA6    Type = "raid6_la_6"    // raid5_la and Q on the last leg
	RAID6RA6    Type = "raid6_ra_6"    // raid5_ra and Q on the last leg
	maxTypeName      = len(RAID10Off)
)

// typeInfo is a row of raid_types in dm-raid.c.
type typeInfo struct {
	name   Type
	level  int
	layout uint32 // algorithm of raid5.h; for raid10 that of the type alone
	parity int
	min    int // what really works, not minimal_devs of the kernel's table
}

var typeTable = [...]typeInfo{
	{RAID0, 0, 0, 0, 1},
	{RAID1, 1, 0, 0, 1},
	{RAID10, 10, 0, 0, 2},
	{RAID10Off, 10, 0, 0, 2},
	{RAID10Near, 10, 0, 0, 2},
	{RAID10Far, 10, 0, 0, 2},
	{RAID4, 5, 4, 1, 2},
	{RAID5N, 5, 5, 1, 2},
	{RAID5LS, 5, 2, 1, 2},
	{RAID5RS, 5, 3, 1, 2},
	{RAID5LA, 5, 0, 1, 2},
	{RAID5RA, 5, 1, 1, 2},
	{RAID6ZR, 6, 8, 2, 4},
	{RAID6NR, 6, 9, 2, 4},
	{RAID6NC, 6, 10, 2, 4},
	{RAID6N6, 6, 5, 2, 4},
	{RAID6LS6, 6, 18, 2, 4},
	{RAID6RS6, 6, 19, 2, 4},
	{RAID6LA6, 6, 16, 2, 4},
	{RAID6RA6, 6, 17, 2, 4},
}

func (t Type) info() (typeInfo, bool) {
	for _, i := range typeTable {
		if i.name == t {
			return i, true
		}
	}
	return typeInfo{}, false
}

// Types lists all types.
func Types() []Type {
	list := make([]Type, len(typeTable))
	for i, t := range typeTable {
		list[i] = t.name
	}
	return list
}

// ParseType reads a type in any case, as the kernel does.
func ParseType(s string) (Type, error) {
	for _, i := range typeTable {
		if foldEqual(string(i.name), s) {
			return i.name, nil
		}
	}
	return "", fmt.Errorf("raid type %q is not known", s)
}

// Level is md's level of the type: 0, 1, 5, 6 or 10; raid4 is level 5 with a
// layout of its own. It is -1 for a Type that is none.
func (t Type) Level() int {
	if i, ok := t.info(); ok {
		return i.level
	}
	return -1
}

// Parity is the number of legs of a stripe that hold parity.
func (t Type) Parity() int { i, _ := t.info(); return i.parity }

// MinLegs is the smallest number of legs with which the kernel makes an
// array. It is not what the kernel's own table of types says, which is not
// enforced: raid4 and raid5 run with 2 legs, raid6 needs 4.
func (t Type) MinLegs() int { i, _ := t.info(); return i.min }

// IsRAID10 reports whether the level is 10.
func (t Type) IsRAID10() bool { return t.Level() == 10 }

// IsRAID456 reports whether there is parity.
func (t Type) IsRAID456() bool { return t.Parity() > 0 }

// Redundant reports whether the level can lose a leg: all but raid0.
func (t Type) Redundant() bool { return t.Level() > 0 }
