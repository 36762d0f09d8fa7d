// SPDX-License-Identifier: MIT

package dmraid

import (
	"context"
	"fmt"
	"slices"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
)

// NewArray says which new array is to be made.
type NewArray struct {
	Name dm.Name
	UUID dm.UUID
	// Table is the array. Its legs are all there, and it has none of the words
	// that order something once, but for SyncNone with Equal.
	Table  Table
	Length Sectors
	// Equal says that the legs hold the same, or data that go with their
	// parity: zeroes, for one. Then nothing is synced; without it arrays
	// without metadata are refused, because the kernel never syncs them.
	Equal bool
	Force bool // takes devices that carry a signature or are in use
}

// PlanCreate lists the steps that make a new array: superblocks and bitmaps are
// zeroed, and the device is created. It is synced in the background then,
// unless the legs are equal.
//
// The word "sync" is never written: on Linux 5.10, 6.1 and 6.12 it makes an
// array that calls itself clean with legs that differ. An array that exists is
// not created but assembled: see [PlanAssemble].
func PlanCreate(ctx context.Context, c *dm.Client, n NewArray, opts ...ArrayOption) (*linuxblock.Plan, error) {
	a := newArray(c, opts)
	a.name = n.Name
	t, err := a.checkCreate(ctx, n)
	if err != nil {
		return nil, err
	}
	p := &linuxblock.Plan{Title: fmt.Sprintf("create %s", n.Name)}
	for _, l := range t.Legs {
		a.wipeStep(p, l, t.MetaSectors(n.Length))
	}
	a.createStep(p, n.Name, n.UUID, t, n.Length)
	return p, nil
}

func (a *Array) checkCreate(ctx context.Context, n NewArray) (Table, error) {
	t := n.Table
	const op = "create"
	switch {
	case t.Sync == SyncForce:
		return t, a.refuse(op, ErrTrap, "\"sync\" does not sync; leave it out")
	case t.Sync == SyncNone && !n.Equal:
		return t, a.refuse(op, ErrTrap, "\"nosync\" calls legs in sync that may differ; set Equal if they don't")
	case len(t.Rebuild) > 0 || t.DeltaDisks != 0:
		return t, a.refuse(op, ErrTable, "a new array has nothing to rebuild or to reshape")
	case slices.ContainsFunc(t.Legs, Leg.Missing):
		return t, a.refuse(op, ErrTrap, "a new array needs all its legs; take one out behind that")
	}
	meta := 0
	for _, l := range t.Legs {
		if l.Meta != "" {
			meta++
		}
	}
	switch {
	case meta != 0 && meta != len(t.Legs):
		return t, a.refuse(op, ErrTable, "either all legs have metadata, or none has")
	case meta == 0 && t.Type.Redundant() && !n.Equal:
		return t, a.refuse(op, ErrTrap, "without metadata the legs are never made equal; set Equal if they are")
	case meta == 0 && t.Type.IsRAID10():
		return t, a.refuse(op, ErrTable, "a raid10 needs metadata")
	}
	if n.Equal && t.Type.Redundant() && t.Type.Level() != 6 && meta > 0 {
		t.Sync = SyncNone // raid6 takes no "nosync" and is synced all the same
	}
	if err := t.Validate(n.Length); err != nil {
		return t, a.fail(op, err)
	}
	need := t.shape(n.Length).leg
	if t.DataOffset != nil {
		need += *t.DataOffset
	}
	for i, l := range t.Legs {
		if err := a.newLeg(ctx, op, l, t.Legs[:i], t.MetaSectors(n.Length), need, n.Force); err != nil {
			return t, err
		}
	}
	return t, nil
}

// createStep adds the creation of the device, which an undo removes.
func (a *Array) createStep(p *linuxblock.Plan, name dm.Name, uuid dm.UUID, t Table, length Sectors) {
	table := segment(t, length)
	p.Do(fmt.Sprintf("create %s with %s", name, table),
		func(ctx context.Context) error {
			_, err := a.c.Create(ctx, name, table, dm.CreateOptions{UUID: uuid, Udev: a.udev})
			return a.fail("create", err)
		},
		func(ctx context.Context) error {
			return a.fail("create", a.c.Remove(ctx, name, dm.RemoveOptions{Retries: 5, Udev: a.udev}))
		})
}
