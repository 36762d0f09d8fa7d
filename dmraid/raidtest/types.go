// SPDX-License-Identifier: MIT

package raidtest

import (
	"math"
	"strings"
)

const (
	sectorSize = 512
	maxSector  = math.MaxUint64
	pageSector = 8 // sectors of a page
)

// raidType is a row of raid_types in dm-raid.c.
type raidType struct {
	name   string
	parity int
	min    int // minimal_devs
	level  int
	layout int
}

// The layouts of raid10 that raid_types knows by a number of its own.
const (
	raid10Default = iota
	raid10Near
	raid10Offset
	raid10Far
)

// Layouts of raid5.h that the rules of a takeover name.
const (
	layoutLA  = 0
	layoutRS  = 3
	parityN   = 5
	layoutLA6 = 16
	layoutRS6 = 19
	layoutP06 = 20
	offsetBit = 1 << 16
)

var raidTypes = []raidType{
	{"raid0", 0, 2, 0, 0},
	{"raid1", 0, 2, 1, 0},
	{"raid10_far", 0, 2, 10, raid10Far},
	{"raid10_offset", 0, 2, 10, raid10Offset},
	{"raid10_near", 0, 2, 10, raid10Near},
	{"raid10", 0, 2, 10, raid10Default},
	{"raid4", 1, 2, 5, 4},
	{"raid5_n", 1, 2, 5, parityN},
	{"raid5_ls", 1, 2, 5, 2},
	{"raid5_rs", 1, 2, 5, 3},
	{"raid5_la", 1, 2, 5, 0},
	{"raid5_ra", 1, 2, 5, 1},
	{"raid6_zr", 2, 4, 6, 8},
	{"raid6_nr", 2, 4, 6, 9},
	{"raid6_nc", 2, 4, 6, 10},
	{"raid6_n_6", 2, 4, 6, parityN},
	{"raid6_ls_6", 2, 4, 6, 18},
	{"raid6_rs_6", 2, 4, 6, 19},
	{"raid6_la_6", 2, 4, 6, 16},
	{"raid6_ra_6", 2, 4, 6, 17},
}

func typeByName(name string) *raidType {
	for i := range raidTypes {
		if strings.EqualFold(raidTypes[i].name, name) {
			return &raidTypes[i]
		}
	}
	return nil
}

// typeByLayout is get_raid_type_by_ll: the last row that fits, or nil.
func typeByLayout(level, layout int) *raidType {
	for i := len(raidTypes) - 1; i >= 0; i-- {
		t := &raidTypes[i]
		if t.level != level {
			continue
		}
		fits := t.layout == layout
		if level == 10 {
			switch t.layout {
			case raid10Default, raid10Near:
				fits = fits || isNear(layout)
			case raid10Offset:
				fits = fits || isOffset(layout)
			case raid10Far:
				fits = fits || isFar(layout)
			}
		}
		if fits {
			return t
		}
	}
	return nil
}

// The layout word of raid10: near copies in the lowest byte, far copies in the
// next, two flags.
func nearCopies(layout int) int { return layout & 0xff }
func farCopies(layout int) int  { return layout >> 8 & 0xff }
func isOffset(layout int) bool  { return layout&offsetBit != 0 }
func isNear(layout int) bool    { return !isOffset(layout) && nearCopies(layout) > 1 }
func isFar(layout int) bool     { return !isOffset(layout) && farCopies(layout) > 1 }
func copiesOf(layout int) int   { return max(nearCopies(layout), farCopies(layout)) }

func formatOf(layout int) string {
	switch {
	case isOffset(layout):
		return "offset"
	case nearCopies(layout) > 1:
		return "near"
	case farCopies(layout) > 1:
		return "far"
	}
	return "unknown"
}

// layoutWord is raid10_format_to_md_layout.
func layoutWord(format, copies int, nearSets bool) int {
	far := copies << 8
	// The two formats share the bit that md calls the fixed far sets.
	const fixedSets = 1 << 18
	switch format {
	case raid10Offset:
		far |= offsetBit | 1
	case raid10Far:
		far |= 1
	default:
		return 1<<8 | copies
	}
	if !nearSets {
		far |= fixedSets
	}
	return far
}
