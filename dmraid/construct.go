// SPDX-License-Identifier: MIT

package dmraid

import (
	"fmt"
	"slices"
)

// Construct says all that a kernel says to the argument text of a table: what
// [Check] does before the superblocks, what [KernelState] makes of them, and
// what md refuses when it runs. legs is what lies on the devices, one for each
// leg; nil takes all metadata devices for fresh, as those of a new array are.
// The sizes of data devices are those of env when legs does not give them.
//
// A refusal is an *[Error] with the kernel's text and errno. When there is
// none, the State is what the array is after the first resume.
func Construct(k Kernel, params string, length Sectors, env Environment, legs []LegFound) (State, error) {
	c := newConstructor(params, length, env)
	if err := c.early(); err != nil {
		return State{}, err
	}
	if legs != nil && len(legs) != len(c.legs) {
		return State{}, &Error{Op: "construct", Detail: fmt.Sprintf("%d legs described of %d in the table", len(legs), len(c.legs)), Err: ErrTable}
	}
	if c.dies() {
		return State{}, c.room()
	}
	situation := Situation{Table: c.table(), Length: length, Legs: slices.Clone(legs)}
	for i, l := range c.legs {
		if legs == nil {
			found := LegFound{}
			if l.meta {
				found.Meta = MetaFresh
			}
			situation.Legs = append(situation.Legs, found)
		}
		if f := &situation.Legs[i]; f.Sectors == 0 {
			f.Sectors = l.size
		}
	}
	state, err := KernelState(k, situation)
	if err != nil {
		return State{}, err
	}
	degraded := slices.ContainsFunc(state.Legs, func(l LegState) bool { return !l.InSync || l.Faulty })
	if err := c.running(degraded); err != nil {
		return State{}, err
	}
	return state, nil
}

// table is what the constructor made of the text: other than [Parse] it takes
// what the kernel takes, and it drops nothing but the words behind the legs.
func (c *constructor) table() Table {
	t := Table{
		Type: c.typ.name, ChunkSize: Sectors(c.chunk),
		DaemonSleep: int64(c.sleep), MinRecoveryRate: int64(c.minRate), MaxRecoveryRate: int64(c.maxRate),
		WriteMostly: slices.Sorted(slices.Values(c.mostly)), MaxWriteBehind: int64(c.behind),
		RegionSize: Sectors(c.region), Format: c.format, NearSets: c.given[paramNearSets],
		DeltaDisks: int(c.delta), JournalDev: c.journal,
	}
	switch {
	case c.given[paramSync]:
		t.Sync = SyncForce
	case c.given[paramNoSync]:
		t.Sync = SyncNone
	}
	if c.given[paramCache] {
		t.StripeCache = c.cache
	}
	if c.given[paramCopies] {
		t.Copies = int(c.copies)
	}
	if c.given[paramDataOffset] {
		offset := c.offset
		t.DataOffset = &offset
	}
	if c.given[paramMode] {
		t.JournalMode = c.mode
	}
	for i, l := range c.legs {
		t.Legs = append(t.Legs, l.name)
		if l.rebuild {
			t.Rebuild = append(t.Rebuild, i)
		}
	}
	return t
}
