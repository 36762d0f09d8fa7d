// SPDX-License-Identifier: MIT

package dmraid

import (
	"context"
	"fmt"
	"slices"
)

// Takeover changes the level of an array at once, without moving data. Legs
// that are added hold what the new level needs beside the data and are
// rebuilt in the background; legs that are left out must be the last ones.
//
// Which levels follow each other is decided by what lies where: see
// [CheckTakeover].
type Takeover struct {
	Type   Type
	Add    []Leg  // new legs, behind those that there are
	Take   int    // how many of the last legs are left out
	Copies int    // of a raid10
	Format Format // of a raid10
	Chunk  Sectors
	Force  bool // takes new legs that carry a signature or are in use
}

func (k Takeover) plan(ctx context.Context, b *planner) error {
	b.begin("takeover", "takeover to %s", k.Type)
	if b.base.JournalDev != "" {
		return b.refuse(ErrTable, "an array with a journal can't change its level")
	}
	if k.Take < 0 || k.Take >= len(b.base.Legs) {
		return b.refuse(ErrTable, "%d of %d legs to leave out", k.Take, len(b.base.Legs))
	}
	next := b.base
	next.Type, next.Copies, next.Format, next.NearSets = k.Type, k.Copies, k.Format, false
	if k.Type.Level() != 1 {
		next.WriteMostly, next.MaxWriteBehind = nil, 0
	}
	if !k.Type.IsRAID456() {
		next.StripeCache = 0
	}
	switch {
	case k.Chunk != 0:
		next.ChunkSize = k.Chunk
	case k.Type.Level() == 1:
		next.ChunkSize = 0
	case next.ChunkSize == 0:
		next.ChunkSize = 128
	}
	if k.Type.Level() == 0 {
		next.RegionSize, next.DaemonSleep, next.MinRecoveryRate, next.MaxRecoveryRate = 0, 0, 0, 0
	}
	kept := b.base.Legs[:len(b.base.Legs)-k.Take]
	next.Legs = append(slices.Clone(kept), k.Add...)
	if err := CheckTakeover(b.base, next); err != nil {
		return err
	}
	if err := b.ready(false); err != nil {
		return err
	}
	if next.Type.Redundant() && slices.ContainsFunc(kept, func(l Leg) bool { return l.Meta == "" }) {
		return b.refuse(ErrTable, "the legs have no metadata, which the new level needs")
	}
	among := kept
	var list []int
	for i, l := range k.Add {
		if err := b.a.newLeg(ctx, b.op, l, among, next.MetaSectors(b.now.Length), b.legSectors(), k.Force); err != nil {
			return err
		}
		among = append(slices.Clip(among), l)
		list = append(list, len(kept)+i)
	}
	return b.rebuild(next, b.now.Length, list)
}

// CheckTakeover tells whether an array can be taken over by another level, from
// the tables before and behind. It refuses more than the kernel does
// (rs_check_takeover in drivers/md/dm-raid.c), which takes any layout of raid6
// with Q on the last leg for any layout of raid5, and the other way: the data
// would be in the wrong places.
func CheckTakeover(from, to Table) error {
	if why := takeoverFlaw(from, to); why != "" {
		return &Error{Op: "takeover", Object: fmt.Sprintf("%s to %s", from.Type, to.Type), Code: einval, Detail: why, Err: ErrTable}
	}
	return nil
}

func takeoverFlaw(from, to Table) string {
	a, ok1 := from.Type.info()
	b, ok2 := to.Type.info()
	n, m := len(from.Legs), len(to.Legs)
	legs := func(want int) string {
		if m != want {
			return fmt.Sprintf("%d legs become %d, not %d", n, want, m)
		}
		return ""
	}
	switch {
	case !ok1 || !ok2:
		return "the type is not known"
	case a.level == b.level && from.Type == to.Type:
		return "it is the same level"
	case a.level == b.level:
		return "the level is the same: it is a reshape"
	}
	const impossible = "the kernel knows no way from the one to the other"
	switch a.level {
	case 0:
		return takeoverFrom0(b, n, legs)
	case 1:
		switch {
		case b.level == 0 && n != 1:
			return "the raid1 must have one leg; remove the others first"
		case b.level == 0:
			return legs(1)
		case b.level == 5 && n != 2:
			return "the raid1 must have two legs"
		case b.level == 5:
			return legs(2)
		case b.level == 10 && (to.Format != "" && to.Format != FormatNear || max(to.Copies, 2) != n):
			return "a raid1 becomes a raid10 of format near with as many copies as legs"
		case b.level == 10:
			return legs(n)
		}
		return impossible
	case 10:
		return takeoverFrom10(from, b, n, legs)
	case 5:
		return takeoverFrom5(a, b, n, legs)
	case 6:
		switch {
		case b.level == 0 && a.layout != parityN:
			return "only a raid6_n_6 becomes a raid0"
		case b.level == 0:
			return legs(n - 2)
		case b.level == 5 && !sameParity(b.layout, a.layout):
			return "the parity would have to move; reshape to the layout that goes with it first"
		case b.level == 5:
			return legs(n - 1)
		}
		return impossible
	}
	return impossible
}

// Layouts of drivers/md/raid5.h.
const parityN = 5

// sameParity says whether a raid5 and a raid6 have data and P in the same
// places: raid5_x and raid6_x_6.
func sameParity(raid5, raid6 uint32) bool {
	return raid5 == parityN && raid6 == parityN || raid5 <= 3 && raid6 == raid5+16
}

func takeoverFrom0(b typeInfo, n int, legs func(int) string) string {
	switch {
	case b.level == 1 && n != 1:
		return "only a raid0 of one leg becomes a raid1"
	case b.level == 1:
		return legs(1)
	case b.level == 10:
		return "the legs would have to change places"
	case b.layout != parityN:
		return "a raid0 becomes a raid5_n or a raid6_n_6; reshape behind that"
	}
	return legs(n + b.parity)
}

func takeoverFrom5(a, b typeInfo, n int, legs func(int) string) string {
	switch b.level {
	case 0:
		if a.layout != parityN {
			return "only a raid5_n becomes a raid0; reshape to it first"
		}
		return legs(n - 1)
	case 1, 10:
		if n != 2 {
			return "the array must have two legs"
		}
		return legs(2)
	case 6:
		if !sameParity(a.layout, b.layout) {
			return "the parity would have to move; take the raid6 that goes with it, and reshape behind that"
		}
		return legs(n + 1)
	}
	return "the kernel knows no way from the one to the other"
}

func takeoverFrom10(from Table, b typeInfo, n int, legs func(int) string) string {
	copies := max(from.Copies, 2)
	near := from.Format == "" || from.Format == FormatNear
	switch {
	case from.Format == FormatOffset:
		return "a raid10 of format offset can't be taken over"
	case b.level == 1 && copies != n:
		return "only a raid10 with as many copies as legs becomes a raid1"
	case b.level == 1 && !near:
		return "the copies of a raid10 of format far are not where a raid1 has them"
	case b.level == 1:
		return legs(n)
	case b.level == 0:
		return "the legs would have to change places"
	case b.level == 5 && (n != 2 || !near):
		return "only a raid10 of two legs and format near becomes a raid5"
	case b.level == 5:
		return legs(2)
	}
	return "the kernel knows no way from the one to the other"
}
