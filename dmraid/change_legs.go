// SPDX-License-Identifier: MIT

package dmraid

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// FailLeg takes a leg out of an array, which is degraded then. The bitmap keeps
// track of what is written from then on, so that [MergeLeg] has to copy no more.
//
// Behind the swap of tables the array is suspended and resumed once more, and
// the superblocks of the others are read: a leg that they do not record as
// failed would be taken for good when it comes back, with old data, on Linux
// 5.10 and 6.1 at least.
type FailLeg struct {
	Leg int // position
}

func (f FailLeg) plan(_ context.Context, b *planner) error {
	b.begin("fail", "fail leg %d", f.Leg)
	return b.takeOut(f.Leg)
}

func (b *planner) takeOut(n int) error {
	if err := b.position(n); err != nil {
		return err
	}
	if err := b.readyToLose(); err != nil {
		return err
	}
	if err := b.bears(n); err != nil {
		return err
	}
	next := b.base.with(n, Leg{})
	if !b.base.Legs[n].Missing() {
		back := b.base
		if b.base.Legs[n].Meta == "" {
			// Nothing records what it has missed.
			back = back.rebuilding(n)
		}
		if err := b.reload(next, b.now.Length, &back, false); err != nil {
			return err
		}
	}
	if b.hasMeta(n) {
		b.cycleStep("the superblocks record the leg as failed")
		b.recordedStep(next.Legs, n)
	}
	return nil
}

// readyToLose is ready for a change that takes legs out: a recovery that runs
// goes on, a resync or a reshape must end first.
func (b *planner) readyToLose() error {
	h := b.now.Health
	if h.Running == ActionRecover && !b.now.Info.Suspended && !b.now.Info.InactiveTable && h.Condition != Failed {
		return nil
	}
	return b.ready(true)
}

// hasMeta reports whether another leg than n has metadata.
func (b *planner) hasMeta(n int) bool {
	for i, l := range b.base.Legs {
		if i != n && l.Meta != "" {
			return true
		}
	}
	return false
}

// SplitLeg takes a leg of a raid1 out, as a copy of the data at this moment that
// can be read on its own. It is the first half of what [MergeLeg] ends. What is
// written to the leg meanwhile is lost in part: Merge copies only what was
// written to the array.
type SplitLeg struct {
	Leg int // position
}

func (s SplitLeg) plan(_ context.Context, b *planner) error {
	b.begin("split", "split leg %d", s.Leg)
	if b.now.Status.Type.Level() != 1 {
		return b.refuse(ErrTable, "a leg of a %s is no copy", b.now.Status.Type)
	}
	if err := b.position(s.Leg); err != nil {
		return err
	}
	if slices.Contains(b.now.Health.OutOfSync, s.Leg) || slices.Contains(b.now.Health.Dead, s.Leg) {
		return b.refuse(ErrState, "leg %d is not in sync", s.Leg)
	}
	if b.base.Legs[s.Leg].Meta == "" && !b.base.Legs[s.Leg].Missing() {
		return b.refuse(ErrTable, "without metadata nothing tracks what the leg misses; see FailLeg")
	}
	return b.takeOut(s.Leg)
}

// MergeLeg gives a leg back that [FailLeg] or [SplitLeg] took out. Only what was
// written meanwhile is copied, by the bitmap.
//
// Before that the superblocks of all other legs are read, past any cache: each
// must record the leg as failed. When one does not, the array is suspended and
// resumed until it does.
//
// A leg that is none of this array, or newer than it, is refused: it is for
// [ReplaceLegs]. So is one of a raid10 with far copies on Linux 6.12 and later:
// a region stayed different there behind every such recovery that was tried, on
// 6.12, and behind none on 6.1. Why is not known.
type MergeLeg struct {
	Leg  int // position
	With Leg // its devices
}

func (m MergeLeg) plan(_ context.Context, b *planner) error {
	b.begin("merge", "merge leg %d", m.Leg)
	if err := b.position(m.Leg); err != nil {
		return err
	}
	if m.With.Missing() || m.With.Meta == "" {
		return b.refuse(ErrTable, "a leg without metadata can't be brought up to date, only rebuilt; see ReplaceLegs")
	}
	if b.base.Format == FormatFar && b.a.kernel.AtLeast(6, 12) {
		return b.refuse(ErrTrap, "%v leaves far copies behind when a leg is brought up to date; see ReplaceLegs", b.a.kernel)
	}
	at := b.base.Legs[m.Leg]
	if !at.Missing() {
		if b.a.sameDevice(at.Data, m.With.Data) {
			return nil // an earlier run had come so far
		}
		return b.refuse(ErrTable, "position %d is taken by %s", m.Leg, at.Data)
	}
	if err := b.readyToLose(); err != nil {
		return err
	}
	if err := b.returning(m); err != nil {
		return err
	}
	b.recordedStep(b.base.Legs, m.Leg)
	back := b.base
	return b.reload(b.base.with(m.Leg, m.With), b.now.Length, &back, true)
}

// returning makes sure that a leg comes home.
func (b *planner) returning(m MergeLeg) error {
	found, err := b.a.readLeg(m.With.Meta)
	if err != nil {
		return b.a.fail(b.op, err)
	}
	i := slices.IndexFunc(b.now.Legs, func(l LegFound) bool { return l.Meta == MetaValid })
	if i < 0 {
		return b.refuse(ErrState, "no superblock of the array can be read")
	}
	mine, other := found.Super, b.now.Legs[i].Super
	switch {
	case found.Meta == MetaUnreadable:
		return b.refuse(ErrState, "the superblock on %s can't be read", m.With.Meta)
	case found.Meta != MetaValid:
		return b.refuse(ErrForeign, "%s has no superblock; see ReplaceLegs", m.With.Meta)
	case mine.Level != other.Level || mine.Layout != other.Layout || mine.Chunk != other.Chunk || mine.NumDevices != other.NumDevices:
		return b.refuse(ErrMixed, "%s is of an array of another shape", m.With.Meta)
	case int(mine.ArrayPosition) != m.Leg:
		return b.refuse(ErrMixed, "%s is leg %d", m.With.Meta, mine.ArrayPosition)
	case mine.Events > newestEvents(b.now.Legs):
		return b.refuse(ErrMixed, "%s is newer than the array: it was used without it", m.With.Meta)
	}
	return b.a.large(m.With.Data, b.legSectors().Bytes())
}

// legSectors is how much of each data device the array uses, with what lies
// before the data. The superblocks don't tell: md_finish_reshape leaves there
// what a reshape has taken off (drivers/md/md.c).
func (b *planner) legSectors() Sectors { return b.used() + b.now.Status.DataOffset }

// used is how much data each leg holds.
func (b *planner) used() Sectors { return b.base.shape(b.now.Length).leg }

// ReplaceLegs puts new devices in the place of legs, dead or alive, and has them
// rebuilt from the others. The metadata devices are zeroed first.
//
// The rebuilding goes on in the background: see [Array.WaitIdle]. The table
// that stays says nothing of it; the superblocks know how far it is.
type ReplaceLegs struct {
	Legs map[int]Leg // the new devices by position
	// Force takes devices that carry a signature or are in use.
	Force bool
}

func (r ReplaceLegs) plan(ctx context.Context, b *planner) error {
	list := sortedKeys(r.Legs)
	b.begin("replace", "replace %s", legList(list))
	if len(list) == 0 {
		return b.refuse(ErrTable, "no leg is named")
	}
	if !b.base.Type.Redundant() {
		return b.refuse(ErrTable, "a %s can't be rebuilt", b.base.Type)
	}
	for _, n := range list {
		if err := b.position(n); err != nil {
			return err
		}
	}
	if err := b.ready(true); err != nil {
		return err
	}
	if err := b.bears(list...); err != nil {
		return err
	}
	next, among := b.base, slices.Clone(b.base.Legs)
	for _, n := range list {
		// The old devices may serve again: a leg that has to be made anew.
		among[n] = Leg{}
		next = next.with(n, r.Legs[n])
	}
	for _, n := range list {
		if err := b.join(ctx, r.Legs[n], among, r.Force); err != nil {
			return err
		}
		among[n] = r.Legs[n]
	}
	return b.rebuild(next, b.now.Length, list)
}

// join checks a new leg and adds the wiping of it.
func (b *planner) join(ctx context.Context, l Leg, among []Leg, force bool) error {
	if (l.Meta == "") == b.hasMeta(-1) && !b.allMissing() {
		return b.refuse(ErrTable, "either all legs have metadata, or none has")
	}
	data := b.legSectors()
	for _, old := range b.base.Legs {
		// Devices that are in their old place again are in use by the array.
		if old.Data != "" && b.a.sameDevice(old.Data, l.Data) {
			force = true
		}
	}
	return b.a.newLeg(ctx, b.op, l, among, b.base.MetaSectors(b.now.Length), data, force)
}

func (b *planner) allMissing() bool {
	return !slices.ContainsFunc(b.base.Legs, func(l Leg) bool { return !l.Missing() })
}

// rebuild adds the steps that rebuild legs of a table: they are zeroed, named
// in a first table, and no more in the second, which stays. With the first the
// kernel has written superblocks that know how far each leg is.
func (b *planner) rebuild(next Table, length Sectors, list []int) error {
	// A leg whose devices are live is suspended out of the array first.
	live := b.base
	for _, n := range list {
		if n < len(live.Legs) && b.a.reused(live.Legs[n], next.Legs[n]) {
			live = live.with(n, Leg{})
		}
	}
	if !slices.Equal(live.Legs, b.base.Legs) {
		back := b.base.rebuilding(list...)
		if err := b.reload(live, b.now.Length, &back, false); err != nil {
			return err
		}
	}
	for _, n := range list {
		b.a.wipeStep(b.p, next.Legs[n], next.MetaSectors(length))
	}
	// No way back: what was there before is stale from the first write on.
	if err := b.reload(next.rebuilding(list...), length, nil, true); err != nil {
		return err
	}
	if len(list) == 0 {
		return nil
	}
	return b.reload(next, length, nil, false)
}

func (a *Array) reused(old, fresh Leg) bool {
	return old.Meta != "" && fresh.Meta != "" && a.sameDevice(old.Meta, fresh.Meta) ||
		old.Data != "" && a.sameDevice(old.Data, fresh.Data)
}

func sortedKeys(m map[int]Leg) []int {
	list := make([]int, 0, len(m))
	for n := range m {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

// AddLegs adds legs to a raid1, behind those that it has, and has them rebuilt, as
// [ReplaceLegs] does. Other levels grow by [StartReshape].
type AddLegs struct {
	Legs  []Leg
	Force bool // takes devices that carry a signature or are in use
}

func (c AddLegs) plan(ctx context.Context, b *planner) error {
	var names []string
	for _, l := range c.Legs {
		names = append(names, l.Data)
	}
	b.begin("add", "add %s", strings.Join(names, ", "))
	if b.base.Type.Level() != 1 {
		return b.refuse(ErrTable, "a %s gets more legs by a reshape", b.base.Type)
	}
	if len(c.Legs) == 0 || len(b.base.Legs)+len(c.Legs) > MaxLegs {
		return b.refuse(ErrTable, "%d legs and %d new ones", len(b.base.Legs), len(c.Legs))
	}
	if err := b.ready(false); err != nil {
		return err
	}
	next := b.base
	var list []int
	for _, l := range c.Legs {
		if err := b.join(ctx, l, next.Legs, c.Force); err != nil {
			return err
		}
		list = append(list, len(next.Legs))
		next.Legs = append(slices.Clip(next.Legs), l)
	}
	return b.rebuild(next, b.now.Length, list)
}

// RemoveLegs takes legs out of a raid1 for good: it has fewer positions then.
type RemoveLegs struct {
	Legs []int // positions
	// Keep leaves the superblocks of the removed legs as they are. One that is
	// put in again would be taken for a member, with data that are old by then.
	Keep bool
}

func (r RemoveLegs) plan(_ context.Context, b *planner) error {
	b.begin("remove", "remove %s", legList(r.Legs))
	if b.base.Type.Level() != 1 {
		return b.refuse(ErrTable, "a %s gets fewer legs by a reshape", b.base.Type)
	}
	gone := slices.Sorted(slices.Values(r.Legs))
	if len(gone) == 0 || len(slices.Compact(slices.Clone(gone))) != len(gone) {
		return b.refuse(ErrTable, "%d legs, each to be named once", len(gone))
	}
	for _, n := range gone {
		if err := b.position(n); err != nil {
			return err
		}
	}
	if err := b.ready(true); err != nil {
		return err
	}
	if err := b.bears(gone...); err != nil {
		return err
	}
	// The superblocks keep the failed bits by the old positions.
	for _, n := range slices.Concat(b.now.Health.Dead, b.now.Health.Missing) {
		if !slices.Contains(gone, n) {
			return b.refuse(ErrState, "leg %d is dead or missing, and its position would change or be forgotten: remove it too, or replace it first", n)
		}
	}
	next := b.base
	next.Legs, next.WriteMostly = nil, nil
	for i, l := range b.base.Legs {
		if slices.Contains(gone, i) {
			continue
		}
		if slices.Contains(b.base.WriteMostly, i) {
			next.WriteMostly = append(next.WriteMostly, len(next.Legs))
		}
		next.Legs = append(next.Legs, l)
	}
	if err := b.reload(next, b.now.Length, nil, true); err != nil {
		return err
	}
	for _, n := range gone {
		if l := b.base.Legs[n]; !r.Keep && !slices.Contains(b.now.Health.Dead, n) {
			b.a.wipeStep(b.p, l, pageSectors)
		}
	}
	return nil
}

// Revive brings an array back to work that was left in the middle of something,
// or whose legs failed and can be read again: a device that is suspended runs,
// a table that waits is dropped, and legs that failed are given another chance
// by a suspend and a resume. Those that come back are brought up to date by
// the bitmap.
type Revive struct{}

func (Revive) plan(_ context.Context, b *planner) error {
	b.begin("revive", "revive legs")
	a, h := b.a, b.now.Health
	if b.now.Info.InactiveTable {
		b.p.Do("drop the table in the inactive slot of "+string(a.name), func(ctx context.Context) error {
			return a.fail("revive", a.c.Clear(ctx, a.dev))
		}, nil)
	}
	if b.now.Info.Suspended {
		b.p.Do("resume "+string(a.name), func(ctx context.Context) error {
			return a.resume(ctx)
		}, nil)
	}
	if b.base.Type.Level() == 0 {
		return nil
	}
	var back, lost []int
	for _, n := range h.Dead {
		if b.base.Legs[n].Meta != "" && b.now.Legs[n].Meta != MetaUnreadable {
			back = append(back, n)
		} else {
			lost = append(lost, n)
		}
	}
	if len(back) == 0 {
		if len(lost) > 0 && len(b.p.Steps) == 0 {
			return b.refuse(ErrState, "the superblock of %s can't be read yet", legList(lost))
		}
		return nil
	}
	b.cycleStep(fmt.Sprintf("the kernel tries %s again", legList(back)))
	b.p.Do("see in the status that the legs are back", func(ctx context.Context) error {
		s, err := a.Status(ctx)
		if err != nil {
			return err
		}
		for _, n := range back {
			if n < len(s.Letters) && s.Letters[n] == LetterDead {
				// Dead since the table was loaded: it has to be loaded again.
				if err := a.ensureRecorded(ctx, "revive", b.base.Legs, n); err != nil {
					return err
				}
				return a.swap(ctx, b.base, b.now.Length)
			}
		}
		return nil
	}, nil)
	return nil
}
