// SPDX-License-Identifier: MIT

package dmraid

import (
	"context"
	"fmt"
	"slices"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
)

// Resize changes the length of an array whose legs have been made larger
// before. What is added is synced in the background; with raid0 there is
// nothing to sync.
type Resize struct {
	Length Sectors
	// Shrink allows a length that is smaller than now. The data behind it is
	// lost: shrink the file system first.
	Shrink bool
}

func (r Resize) plan(_ context.Context, b *planner) error {
	b.begin("resize", "resize to %d sectors", uint64(r.Length))
	if r.Length == b.now.Length {
		return nil
	}
	if r.Length < b.now.Length && !r.Shrink {
		return b.refuse(ErrTrap, "%d sectors would be cut off; set Shrink", uint64(b.now.Length-r.Length))
	}
	if b.base.Type.IsRAID10() && b.base.Format == FormatFar {
		// dm-raid.c changes the size past raid10_resize, which would refuse it.
		return b.refuse(ErrTrap, "a raid10 of format far has its second copies behind the first, and the kernel leaves them where they are")
	}
	if err := b.ready(false); err != nil {
		return err
	}
	need := b.base.shape(r.Length).leg + b.now.Status.DataOffset
	for i, l := range b.base.Legs {
		if err := b.a.large(l.Data, need.Bytes()); err != nil {
			return &Error{Op: b.op, Object: fmt.Sprintf("leg %d", i), Err: err}
		}
		if l.Meta != "" {
			if err := b.a.large(l.Meta, b.base.MetaSectors(r.Length).Bytes()); err != nil {
				return &Error{Op: b.op, Object: fmt.Sprintf("leg %d", i), Err: err}
			}
		}
	}
	return b.reload(b.base, r.Length, nil, true)
}

// Swap is a leg's device that gets another table together with the array: a
// reshape that adds legs wants room before the data, which a device gets by
// being put together anew.
type Swap struct {
	Ref   dm.Ref
	Table dm.Table
}

// StartReshape changes the layout, the chunk or the number of legs of a raid 4, 5, 6
// or 10, in the background. It works out of place: each data device needs room
// of Room sectors that the array does not use, which is
//
//   - before the data to add legs,
//   - behind the data to take legs away,
//   - before or behind the data to change layout or chunk, which moves the data
//     to the other end of the room.
//
// Where the data begin is Status.DataOffset. Without the room the kernel takes
// the table and changes nothing. When the reshape is through, after
// [Array.WaitIdle], [Finish] gives the array its new size.
type StartReshape struct {
	Type  Type    // of the same level; empty leaves it
	Chunk Sectors // 0 leaves it
	Add   []Leg   // new legs, behind those that there are
	Take  int     // how many of the last legs are taken away
	// Room is a multiple of 8, at least 32 and at least a chunk; 0 stands for
	// 2048, or for DataOffset where that is not 0.
	Room Sectors
	// Shrink allows to take legs away. What no longer fits is lost at once: the
	// array is as long as [Array.Plan] says, so shrink the file system first.
	// When the reshape is through, [Finish] lets go of the legs.
	Shrink bool
	// Swaps are made with the first table of the reshape: the array is suspended
	// over them.
	Swaps []Swap
	Force bool // takes new legs that carry a signature or are in use
}

func (r StartReshape) plan(ctx context.Context, b *planner) error {
	b.begin("reshape", "reshape")
	next, err := r.table(b)
	if err != nil {
		return err
	}
	if err := b.ready(false); err != nil {
		return err
	}
	room, err := r.room(b, next)
	if err != nil {
		return err
	}
	length := b.capacity(len(next.Legs))
	if length < b.now.Length && !r.Shrink {
		return b.refuse(ErrTrap, "%d sectors would be cut off, %d are left; set Shrink", uint64(b.now.Length-length), uint64(length))
	}
	if r.Take > 0 {
		return r.planTake(b, next, room)
	}
	return r.planStay(ctx, b, next, length, room)
}

// table is the array when the reshape is done.
func (r StartReshape) table(b *planner) (Table, error) {
	next := b.base
	level := b.base.Type.Level()
	if r.Type != "" {
		if r.Type.Level() != level {
			return next, b.refuse(ErrTable, "%s is of another level than %s; see Takeover", r.Type, b.base.Type)
		}
		next.Type = r.Type
	}
	if r.Chunk != 0 {
		next.ChunkSize = r.Chunk
	}
	moved := next.Type != b.base.Type || next.ChunkSize != b.base.ChunkSize
	switch {
	case level != 5 && level != 6 && level != 10:
		return next, b.refuse(ErrTable, "a %s can't be reshaped", b.base.Type)
	case b.base.JournalDev != "":
		return next, b.refuse(ErrTable, "an array with a journal can't be reshaped")
	case level == 10 && b.base.Format == FormatFar:
		return next, b.refuse(ErrTable, "a raid10 of format far can't be reshaped")
	case level == 10 && r.Take > 0:
		return next, b.refuse(ErrTable, "a raid10 can't get fewer legs")
	case len(r.Add) > 0 && r.Take > 0:
		return next, b.refuse(ErrTable, "legs are added or taken away, not both")
	case (len(r.Add) > 0 || r.Take > 0) && next.Type != b.base.Type:
		// rs_setup_reshape drops the new layout without a word.
		return next, b.refuse(ErrTable, "the number of legs and the layout can't change at once")
	case !moved && len(r.Add) == 0 && r.Take == 0:
		return next, b.refuse(ErrTable, "there is nothing to change")
	case r.Take < 0 || len(b.base.Legs)-r.Take < b.base.Type.MinLegs() || len(b.base.Legs)+len(r.Add) > MaxLegs:
		return next, b.refuse(ErrTable, "%d legs, %d new ones, %d to take away", len(b.base.Legs), len(r.Add), r.Take)
	}
	next.Legs = append(slices.Clone(b.base.Legs[:len(b.base.Legs)-r.Take]), r.Add...)
	return next, nil
}

// room checks that the data can move.
func (r StartReshape) room(b *planner, next Table) (Sectors, error) {
	at := b.now.Status.DataOffset
	room := r.Room
	if room == 0 {
		if room = at; room == 0 {
			room = max(2048, b.base.ChunkSize, next.ChunkSize)
		}
	}
	least := max(32, b.base.ChunkSize, next.ChunkSize)
	switch {
	case room%8 != 0 || room < least:
		return 0, b.refuse(ErrTable, "room of %d sectors: it must be a multiple of 8 and at least %d", uint64(room), uint64(least))
	case at != 0 && at != room:
		return 0, b.refuse(ErrTable, "room of %d sectors: the data begin at %d", uint64(room), uint64(at))
	case len(r.Add) > 0 && at == 0 && len(r.Swaps) == 0:
		return 0, b.refuse(ErrState, "there is no room before the data, which begin at 0: move them by a change of the layout or the chunk, or name Swaps")
	case r.Take > 0 && at != 0:
		return 0, b.refuse(ErrState, "there is no room behind the data, which begin at %d: move them by a change of the layout or the chunk", uint64(at))
	}
	used := b.used()
	for i, l := range b.base.Legs {
		if err := b.a.large(l.Data, (used + room).Bytes()); err != nil {
			return 0, &Error{Op: b.op, Object: fmt.Sprintf("leg %d", i), Err: err}
		}
	}
	return room, nil
}

// capacity is what legs of the size now hold together.
func (b *planner) capacity(legs int) Sectors {
	used := b.used()
	if b.base.Type.IsRAID10() {
		return used * Sectors(legs) / Sectors(max(b.base.Copies, 2))
	}
	return used * Sectors(legs-b.base.Type.Parity())
}

// planStay is a reshape that loses no leg. The kernel starts it with the table
// that orders it, and lets it run with the next one (MD_RECOVERY_WAIT, set by
// rs_start_reshape).
func (r StartReshape) planStay(ctx context.Context, b *planner, next Table, length, room Sectors) error {
	among := b.base.Legs
	for _, l := range r.Add {
		if err := b.a.newLeg(ctx, b.op, l, among, next.MetaSectors(length), b.used()+room, r.Force); err != nil {
			return err
		}
		among = append(slices.Clip(among), l)
		b.a.wipeStep(b.p, l, next.MetaSectors(length))
	}
	order := next
	order.DeltaDisks, order.DataOffset = len(r.Add), &room
	if len(r.Add) > 0 {
		// The new legs get their superblocks first.
		var list []int
		for i := range r.Add {
			list = append(list, len(b.base.Legs)+i)
		}
		back := b.base
		if err := b.reload(next.rebuilding(list...), length, &back, false); err != nil {
			return err
		}
	}
	if err := b.reloadOver(order, length, r.Swaps); err != nil {
		return err
	}
	return b.reload(next, length, nil, false)
}

// reloadOver is the point of no return of a reshape: the table that orders it,
// with other tables beneath.
func (b *planner) reloadOver(order Table, length Sectors, swaps []Swap) error {
	if len(swaps) == 0 {
		return b.reload(order, length, nil, true)
	}
	if err := order.Validate(length); err != nil {
		return b.a.fail(b.op, err)
	}
	a := b.a
	refs := []dm.Ref{a.dev}
	name := fmt.Sprintf("reload %s with %s", a.name, segment(order, length))
	for _, s := range swaps {
		refs = append(refs, s.Ref)
		name += fmt.Sprintf(", over %s with %s", s.Ref, s.Table)
	}
	b.p.Add(linuxblock.Step{Name: name, Final: true, Do: func(ctx context.Context) error {
		ctx = context.WithoutCancel(ctx)
		err := a.c.WhileSuspended(ctx, refs, dm.GuardOptions{Udev: a.udev}, func(ctx context.Context) error {
			for _, s := range swaps {
				if err := a.c.Load(ctx, s.Ref, s.Table, dm.LoadOptions{}); err != nil {
					return err
				}
			}
			return a.c.Load(ctx, a.dev, segment(order, length), dm.LoadOptions{})
		})
		return a.settle(ctx, b.op, err)
	}})
	return nil
}

// planTake is a reshape that takes legs away. The table keeps its length, which
// the kernel divides by the legs that it names, until the legs go: with
// [Finish]. The array itself is smaller at once (rs_setup_reshape), and I/O
// behind its end waits till then.
func (r StartReshape) planTake(b *planner, next Table, room Sectors) error {
	order := next
	order.Legs = b.base.Legs
	order.DeltaDisks, order.DataOffset = -r.Take, &room
	if err := b.reloadOver(order, b.now.Length, r.Swaps); err != nil {
		return err
	}
	return b.reload(order.Reload(), b.now.Length, nil, false)
}

// Tune changes what does not touch the data: how the bitmap is kept, how fast
// legs are synced, which of a raid1 are read last. Nil fields stay as they are.
type Tune struct {
	RegionSize      *Sectors // a power of 2
	MinRecoveryRate *int64   // KiB/s for each leg
	MaxRecoveryRate *int64   // KiB/s for each leg
	WriteMostly     *[]int   // raid1: positions
	MaxWriteBehind  *int64   // raid1; see Table
	StripeCache     *int64   // raid 4, 5, 6: entries
	DaemonSleep     *int64   // see Table; the kernel takes that of an existing bitmap
}

func (c Tune) plan(_ context.Context, b *planner) error {
	b.begin("tune", "tuning")
	if b.now.Info.Suspended || b.now.Info.InactiveTable {
		return b.refuse(ErrState, "the device is suspended, or a table waits; see Revive")
	}
	if b.now.Health.Running == ActionReshape {
		return b.refuse(ErrState, "%s", b.now.Health)
	}
	next := b.base
	set(&next.RegionSize, c.RegionSize)
	set(&next.MinRecoveryRate, c.MinRecoveryRate)
	set(&next.MaxRecoveryRate, c.MaxRecoveryRate)
	set(&next.MaxWriteBehind, c.MaxWriteBehind)
	set(&next.StripeCache, c.StripeCache)
	set(&next.DaemonSleep, c.DaemonSleep)
	if c.WriteMostly != nil {
		next.WriteMostly = slices.Sorted(slices.Values(*c.WriteMostly))
	}
	back := b.base
	return b.reload(next, b.now.Length, &back, false)
}

func set[T any](dst *T, src *T) {
	if src != nil {
		*dst = *src
	}
}

// Finish takes words out of the table that ordered something once: "rebuild",
// "delta_disks", "data_offset", "nosync". The kernel keeps printing them, and
// would do it all again when that table is loaded another time. What goes on
// meanwhile goes on, and a reshape that was only ordered, because its plan
// failed in the middle, begins.
//
// Behind a reshape it gives the array its size: one that took legs away lets go
// of them and is cut to its length, and one that added legs gets the room that
// came with them, which md alone would give to an array of its own only
// (md_do_sync in drivers/md/md.c).
type Finish struct{}

func (Finish) plan(_ context.Context, b *planner) error {
	b.begin("finish", "finish")
	if b.now.Info.Suspended || b.now.Info.InactiveTable {
		return b.refuse(ErrState, "the device is suspended, or a table waits; see Revive")
	}
	next, length := b.base, b.now.Length
	n, reshaping := b.now.Status.Devices, b.now.Health.Running == ActionReshape
	switch unsettled := b.now.Table.unsettled(); {
	case unsettled && reshaping:
		// The table that ordered the reshape: it runs with the next one.
	case n < len(next.Legs) && next.Type.IsRAID456() && reshaping:
		return b.refuse(ErrState, "%s", b.now.Health)
	case n < len(next.Legs) && next.Type.IsRAID456():
		length = b.capacity(n)
		next.Legs = next.Legs[:n]
	case !unsettled && !b.smaller():
		return nil
	}
	return b.reload(next, length, nil, true)
}

// smaller reports whether the superblocks say that the array is shorter than
// its table, and nothing runs that would end that.
func (b *planner) smaller() bool {
	newest := newestEvents(b.now.Legs)
	return b.now.Health.Running == ActionIdle && slices.ContainsFunc(b.now.Legs, func(l LegFound) bool {
		return l.Meta == MetaValid && l.Super.Events == newest && l.Super.Extended && l.Super.ArraySectors < b.base.shape(b.now.Length).array
	})
}

// Stop takes an array down. Its superblocks and bitmaps say then where it
// stands, so that what was not through goes on when it is created again.
type Stop struct {
	// Wait waits for what runs or is due; otherwise it is broken off. A resync
	// or a recovery goes on at the next start from where it was.
	Wait bool
	// Retries is how often a busy device is tried again; see dm.RemoveOptions.
	Retries int
}

func (s Stop) plan(_ context.Context, b *planner) error {
	b.begin("stop", "stop")
	a := b.a
	if b.now.Info.InactiveTable {
		b.p.Do("drop the table in the inactive slot of "+string(a.name), func(ctx context.Context) error {
			return a.fail(b.op, a.c.Clear(ctx, a.dev))
		}, nil)
	}
	if b.now.Info.Suspended {
		b.p.Do("resume "+string(a.name), a.resume, nil)
	}
	if s.Wait {
		b.p.Do("wait until nothing runs", func(ctx context.Context) error {
			_, err := a.WaitIdle(ctx, WatchOptions{})
			return err
		}, nil)
	}
	b.p.Add(linuxblock.Step{Name: "remove " + string(a.name), Final: true, Do: func(ctx context.Context) error {
		return a.fail(b.op, a.c.Remove(ctx, a.dev, dm.RemoveOptions{Retries: s.Retries, Udev: a.udev}))
	}})
	return nil
}

// resume runs a suspended device on the table that it has.
func (a *Array) resume(ctx context.Context) error {
	_, err := a.c.Resume(ctx, a.dev, dm.ResumeOptions{Udev: a.udev})
	return a.fail("resume", err)
}
