// SPDX-License-Identifier: MIT

package dmraid

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
)

// Operation is a change of a live array: [FailLeg], [ReplaceLegs], [AddLegs], [RemoveLegs],
// [SplitLeg], [MergeLeg], [Revive], [Resize], [StartReshape], [Takeover], [Tune],
// [Finish] or [Stop]. Each is a plain value that says what is wanted.
type Operation interface {
	plan(ctx context.Context, b *planner) error
}

// Plan looks at the array and lists the steps of a change, without making any.
// What the change may not be made in is an error now, with the reason: one that
// matches ErrState because of what the array is doing, ErrDegraded because
// data would be lost, ErrTrap because the kernel would do it wrongly, ErrTable
// because the kernel would refuse.
//
// A plan is for the array as it is: run it at once. A step that swaps tables is
// not broken off by the context of Run, because the kernel does not break it
// off. When a step fails, the steps before are taken back; a leg that comes
// back by that is rebuilt or brought up to date, never trusted. Behind the
// point of no return nothing is taken back, and [Finish] or the same change
// again completes what is left.
//
// All tables are loaded while the array is suspended: the kernel reads the
// superblocks when a table is loaded (analyse_superblocks in
// drivers/md/dm-raid.c), and what the live array writes there behind that
// would be forgotten, such as that a leg has been missing.
func (a *Array) Plan(ctx context.Context, op Operation) (*linuxblock.Plan, error) {
	b := &planner{a: a, p: &linuxblock.Plan{}}
	var err error
	if b.now, err = a.State(ctx); err != nil {
		return nil, err
	}
	b.base = b.now.Table.Reload()
	if err := op.plan(ctx, b); err != nil {
		return nil, err
	}
	return b.p, nil
}

// Run plans a change and runs the plan.
func (a *Array) Run(ctx context.Context, op Operation, opts linuxblock.RunOptions) error {
	p, err := a.Plan(ctx, op)
	if err != nil {
		return err
	}
	return p.Run(ctx, opts)
}

// planner makes the plan of one change.
type planner struct {
	a    *Array
	p    *linuxblock.Plan
	op   string
	now  ArrayState
	base Table // the live table without what belongs to changes that were made
}

// begin names the change.
func (b *planner) begin(op, format string, args ...any) {
	b.op = op
	b.p.Title = string(b.a.name) + ": " + fmt.Sprintf(format, args...)
}

func (b *planner) refuse(cause error, format string, args ...any) error {
	return b.a.refuse(b.op, cause, fmt.Sprintf(format, args...))
}

// unsettled reports whether the table has words that order something once.
func (t Table) unsettled() bool {
	return t.Sync != SyncDefault || len(t.Rebuild) > 0 || t.DeltaDisks != 0 || t.DataOffset != nil
}

// with is t with a leg changed.
func (t Table) with(n int, l Leg) Table {
	t.Legs = slices.Clone(t.Legs)
	t.Legs[n] = l
	return t
}

// rebuilding is t with legs that are to be rebuilt.
func (t Table) rebuilding(legs ...int) Table {
	t.Rebuild = slices.Sorted(slices.Values(legs))
	return t
}

// ready refuses a change of an array that is not quiet.
func (b *planner) ready(degraded bool) error {
	h := b.now.Health
	switch {
	case b.now.Info.Suspended:
		return b.refuse(ErrState, "the device is suspended")
	case b.now.Info.InactiveTable:
		return b.refuse(ErrState, "a table waits in the inactive slot; see Revive")
	case h.Condition == Failed:
		return b.refuse(ErrDegraded, "%s", h)
	case h.Running != ActionIdle || h.Pending != "":
		return b.refuse(ErrState, "%s: wait, or break it off first", h)
	case !degraded && h.Condition != Clean:
		return b.refuse(ErrState, "%s", h)
	}
	return nil
}

func (b *planner) position(n int) error {
	if n < 0 || n >= len(b.base.Legs) {
		return b.refuse(ErrTable, "there is no leg %d: the array has legs 0 to %d", n, len(b.base.Legs)-1)
	}
	return nil
}

// bears refuses what would leave too few legs.
func (b *planner) bears(gone ...int) error {
	h := b.now.Health
	list := slices.Concat(h.Dead, h.Missing, h.OutOfSync, gone)
	slices.Sort(list)
	list = slices.Compact(list)
	if b.now.Status.tolerance(&b.base, list) < 0 {
		return b.refuse(ErrDegraded, "without %s there are too few legs", legList(list))
	}
	return nil
}

// segment is a table of one array.
func segment(t Table, length Sectors) dm.Table { return dm.Table{}.Append(length, t) }

// reload adds the step that makes a table live. back is the table that an undo
// loads, nil when there is no way back.
func (b *planner) reload(next Table, length Sectors, back *Table, final bool) error {
	if err := next.Validate(length); err != nil {
		return b.a.fail(b.op, err)
	}
	a, before := b.a, b.now.Length
	step := linuxblock.Step{
		Name:  fmt.Sprintf("reload %s with %s", a.name, segment(next, length)),
		Final: final,
	}
	undo := func(ctx context.Context) error { return nil }
	if back != nil {
		old := *back
		undo = func(ctx context.Context) error { return a.swap(ctx, old, before) }
		step.Undo = undo
	}
	step.Do = func(ctx context.Context) error {
		err := a.swap(ctx, next, length)
		if err == nil {
			return nil
		}
		// What comes behind the swap may fail too, the wait for udev for one.
		if live, n, lerr := a.table(ctx); lerr == nil && n == length && sameShape(live, next) && !sameShape(live, b.now.Table) {
			if final {
				return nil
			}
			err = errors.Join(err, undo(context.WithoutCancel(ctx)))
		}
		return err
	}
	b.p.Add(step)
	return nil
}

// sameShape compares what a swap of tables changes and the kernel does not
// print in its own way. Devices are numbers in one and may be paths in the
// other.
func sameShape(live, wanted Table) bool {
	if live.Type != wanted.Type || len(live.Legs) != len(wanted.Legs) || !slices.Equal(live.Rebuild, wanted.Rebuild) || live.DeltaDisks != wanted.DeltaDisks {
		return false
	}
	for i, l := range live.Legs {
		if l.Missing() != wanted.Legs[i].Missing() {
			return false
		}
	}
	return true
}

// swap makes a table live. It is not broken off: with the device suspended in
// the middle, there is nothing better than to go on.
func (a *Array) swap(ctx context.Context, t Table, length Sectors) error {
	ctx = context.WithoutCancel(ctx)
	_, err := a.c.Reload(ctx, a.dev, segment(t, length), dm.ReloadOptions{Udev: a.udev})
	return a.settle(ctx, "reload", err)
}

// cycle suspends the array and resumes it. The suspend has the superblocks
// written, with the legs that are gone; the resume looks whether legs that
// failed can be read again (raid_postsuspend and raid_resume in
// drivers/md/dm-raid.c).
func (a *Array) cycle(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	err := a.c.WhileSuspended(ctx, []dm.Ref{a.dev}, dm.GuardOptions{Udev: a.udev}, func(context.Context) error { return nil })
	return a.settle(ctx, "suspend and resume", err)
}

// settle makes sure that the device runs behind a failure, on the table that it
// had if the new one is not live yet.
func (a *Array) settle(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	err = a.fail(op, err)
	info, ierr := a.c.Info(ctx, a.dev)
	if ierr != nil {
		return errors.Join(err, ierr)
	}
	if info.InactiveTable {
		err = errors.Join(err, a.c.Clear(ctx, a.dev))
	}
	if info.Suspended {
		_, rerr := a.c.Resume(ctx, a.dev, dm.ResumeOptions{Udev: a.udev})
		err = errors.Join(err, rerr)
	}
	return err
}

// cycleStep adds a cycle.
func (b *planner) cycleStep(why string) {
	b.p.Do(fmt.Sprintf("suspend and resume %s, so that %s", b.a.name, why), b.a.cycle, nil)
}

// recordedStep adds the step that makes sure that the superblocks of the
// others tell of a leg that is gone: only then does the kernel bring it up to
// date when it comes back.
func (b *planner) recordedStep(legs []Leg, n int) {
	b.p.Do(fmt.Sprintf("see in the superblocks that leg %d is recorded as failed", n), func(ctx context.Context) error {
		return b.a.ensureRecorded(ctx, b.op, legs, n)
	}, nil)
}

func (a *Array) ensureRecorded(ctx context.Context, op string, legs []Leg, n int) error {
	for try := 0; ; try++ {
		missing, err := a.unrecorded(legs, n)
		if err != nil {
			return a.fail(op, err)
		}
		if len(missing) == 0 {
			return nil
		}
		if try == 3 {
			return a.refuse(op, ErrTrap, fmt.Sprintf("leg %d is not recorded as failed by %s: given back it would be taken for good", n, legList(missing)))
		}
		if err := a.cycle(ctx); err != nil {
			return err
		}
	}
}
