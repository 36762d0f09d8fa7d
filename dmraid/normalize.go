// SPDX-License-Identifier: MIT

package dmraid

import "slices"

// Normalize gives the table that has the same effect and is written in one
// way only, so that tables can be compared: values that are the kernel's
// defaults are left out, a type that is raid10 by another name is
// [RAID10], MaxWriteBehind is even, and so on. The table that comes back
// shares nothing with t.
func (t Table) Normalize() Table {
	t = t.clone()
	if typ, err := ParseType(string(t.Type)); err == nil {
		t.Type = typ
	}
	if t.Type.IsRAID10() {
		t.Type = RAID10
	}
	if t.Type == RAID1 {
		t.ChunkSize = 0
	}
	if t.Copies == 2 && t.Type.IsRAID10() {
		t.Copies = 0
	}
	if t.Format == FormatNear {
		t.Format = ""
	}
	if t.JournalMode == WriteThrough {
		t.JournalMode = ""
	}
	if t.StripeCache == defaultStripeCache {
		t.StripeCache = 0
	}
	// parse_raid_params takes half of it.
	t.MaxWriteBehind -= t.MaxWriteBehind % 2
	slices.Sort(t.Rebuild)
	slices.Sort(t.WriteMostly)
	// A leg that is named twice is marked once, though it counts twice
	// against the rule that one leg at least is read.
	t.WriteMostly = slices.Compact(t.WriteMostly)
	for i := range t.Legs {
		t.Legs[i] = Leg{Meta: unDash(t.Legs[i].Meta), Data: unDash(t.Legs[i].Data)}
	}
	return t
}

// Reload gives the table as one would load it again once t did its work: a
// table keeps what was to be done once, and loading it again would do it
// again. Sync, Rebuild, DeltaDisks and DataOffset are left out, and so are
// positions of WriteMostly that are none. A rebuild that has not ended goes
// on without the word: the superblocks know.
func (t Table) Reload() Table {
	t = t.clone()
	t.Sync, t.Rebuild, t.DeltaDisks, t.DataOffset = SyncDefault, nil, 0, nil
	t.WriteMostly = slices.DeleteFunc(t.WriteMostly, func(i int) bool { return i < 0 || i >= len(t.Legs) })
	if len(t.WriteMostly) == 0 {
		t.WriteMostly = nil
	}
	return t
}

// clone copies what t points to.
func (t Table) clone() Table {
	t.Legs = slices.Clone(t.Legs)
	t.Rebuild = slices.Clone(t.Rebuild)
	t.WriteMostly = slices.Clone(t.WriteMostly)
	if t.DataOffset != nil {
		o := *t.DataOffset
		t.DataOffset = &o
	}
	return t
}
