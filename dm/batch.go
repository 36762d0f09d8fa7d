// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/linuxblock/linuxblock"
)

// Batch is a list of changes of many devices, which [Client.RunBatch] makes
// side by side, each as soon as those it depends on are done. Most of the
// time that a change takes, the kernel waits: for a grace period, for I/O in
// flight, for udev. Those waits overlap.
//
// A Batch is a plain value; nothing happens before it is run. A device may be
// in it once, or be removed and created again under its name.
type Batch struct {
	changes []change
}

type changeKind uint8

const (
	changeCreate changeKind = iota
	changeReload
	changeRemove
)

var changeNames = [...]string{"create", "reload", "remove"}

// change is one entry; of the options the one of its kind is used.
type change struct {
	kind   changeKind
	ref    Ref
	table  Table
	create CreateOptions
	reload ReloadOptions
	remove RemoveOptions
}

func (h change) String() string { return changeNames[h.kind] + " " + objectText(h.ref) }

// Create adds what [Client.Create] does. A table may map devices that the
// batch creates, by /dev/mapper/NAME.
func (b *Batch) Create(name Name, t Table, opts CreateOptions) *Batch {
	b.changes = append(b.changes, change{kind: changeCreate, ref: name, table: t, create: opts})
	return b
}

// Reload adds what [Client.Reload] does.
func (b *Batch) Reload(ref Ref, t Table, opts ReloadOptions) *Batch {
	b.changes = append(b.changes, change{kind: changeReload, ref: ref, table: t, reload: opts})
	return b
}

// Remove adds what [Client.Remove] does.
func (b *Batch) Remove(ref Ref, opts RemoveOptions) *Batch {
	b.changes = append(b.changes, change{kind: changeRemove, ref: ref, remove: opts})
	return b
}

// Len is the number of changes.
func (b *Batch) Len() int { return len(b.changes) }

// BatchStep is a change and what it waits for.
type BatchStep struct {
	Op    string // "create", "reload" or "remove"
	Ref   Ref    // as it was given
	After []int  // indices of the changes that must be done before
}

// BatchPlan is the order in which a batch is run: a step for each change, in
// the order in which they were added.
type BatchPlan []BatchStep

// String prints the plan, a numbered change a line.
func (p BatchPlan) String() string {
	var b strings.Builder
	for i, s := range p {
		fmt.Fprintf(&b, "%3d. %s %s", i+1, s.Op, objectText(s.Ref))
		for j, a := range s.After {
			sep := ", "
			if j == 0 {
				sep = " after "
			}
			fmt.Fprintf(&b, "%s%d", sep, a+1)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// BatchOptions change RunBatch.
type BatchOptions struct {
	// Parallel is how many changes are under way at a time; 0 stands for 32.
	// Each takes a thread while the kernel works on it.
	Parallel int
	// AllOrNothing takes back what was done when a change fails or ctx is
	// cancelled: devices that were created are removed, old tables are put
	// back, devices that were removed are created again with their tables,
	// uuid and minor number. What targets keep in memory only, and the event
	// numbers, are lost to a device that was removed. Before anything is
	// changed, the devices to be removed are checked for other users. A removal
	// that is forced or deferred can't be taken back and is refused.
	//
	// A program that is killed takes nothing back: what was done by then stays,
	// each change whole, and Recover mends those that were under way.
	AllOrNothing bool
	// Progress is called as each change begins and ends, never two calls at
	// a time. Step is the index of the change.
	Progress func(linuxblock.Progress)
}

const defaultParallel = 32

// BatchResult is what became of one change.
type BatchResult struct {
	Op  string
	Ref Ref // as it was given
	// Info is the device behind a create or a reload, or before a remove.
	Info Info
	// State is Done, Failed, Undone or UndoFailed.
	State linuxblock.State
	// Err is why it failed; ErrSkipped when it was not begun. With AllOrNothing
	// a change that was done and taken back has none, and UndoFailed has the
	// error of the undo.
	Err error
}

// ErrSkipped says that a change of a batch was not begun, because one that it
// depends on failed, or because the batch was given up.
var ErrSkipped = errors.New("not begun")

// RunBatch makes the changes of a batch: side by side, but a device before
// those whose tables map it, and a removal behind those of its users. Each
// change is whole by itself, as the call of the same name is; without
// AllOrNothing one that fails keeps those from being begun that depend on it.
//
// There is a result for each change, in their order, also beside an error.
// The error names what failed and matches the errors of all changes.
//
// When ctx is cancelled, no further change is begun. Those under way end as
// their calls do; if the kernel holds one up the error matches ErrPending, and
// the batch is ended, with AllOrNothing taken back, in the background.
func (c *Client) RunBatch(ctx context.Context, b *Batch, opts BatchOptions) ([]BatchResult, error) {
	if err := b.validate(opts); err != nil {
		return nil, fail("batch", nil, err)
	}
	return run(ctx, c, "batch", nil, func(ctx context.Context) ([]BatchResult, error) {
		p, err := c.planBatch(b)
		if err == nil && opts.AllOrNothing {
			err = p.checkUsers()
		}
		if err != nil {
			return nil, err
		}
		return p.run(ctx, opts)
	})
}

// PlanBatch finds the order of a batch without changing anything. The error
// matches ErrBadTable when there is none, because changes wait for each other
// or a table maps a device that the batch removes.
func (c *Client) PlanBatch(ctx context.Context, b *Batch) (BatchPlan, error) {
	if err := b.validate(BatchOptions{}); err != nil {
		return nil, fail("batch", nil, err)
	}
	return run(ctx, c, "batch", nil, func(context.Context) (BatchPlan, error) {
		p, err := c.planBatch(b)
		if err != nil {
			return nil, err
		}
		steps := make(BatchPlan, len(p.nodes))
		for i, n := range p.nodes {
			steps[i] = BatchStep{changeNames[n.kind], n.ref, n.after}
		}
		return steps, nil
	})
}

// validate makes the checks that need no device.
func (b *Batch) validate(opts BatchOptions) error {
	for _, h := range b.changes {
		var err error
		switch h.kind {
		case changeCreate:
			err = validateCreate(h.ref.(Name), h.table, h.create)
		case changeReload:
			err = h.table.Validate()
		case changeRemove:
			if opts.AllOrNothing && (h.remove.Force || h.remove.Deferred) {
				err = refuse("a forced or deferred removal can't be taken back")
			}
		}
		if err == nil && h.ref == nil {
			err = badName("", "no device")
		}
		if err != nil {
			return fail(changeNames[h.kind], h.ref, err)
		}
	}
	return nil
}

// batchError is the error of a batch: it prints the first few, and matches
// all.
type batchError struct {
	total int
	errs  []error
}

func (e *batchError) Error() string {
	const shown = 3
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d changes failed: ", len(e.errs), e.total)
	for i, err := range e.errs[:min(len(e.errs), shown)] {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(strings.TrimPrefix(err.Error(), "dm: "))
	}
	if n := len(e.errs) - shown; n > 0 {
		fmt.Fprintf(&b, "; and %d more", n)
	}
	return b.String()
}

func (e *batchError) Unwrap() []error { return e.errs }
