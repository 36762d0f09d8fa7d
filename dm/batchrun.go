// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// batchRun is a batch on its way.
type batchRun struct {
	*batchPlan
	opts  BatchOptions
	began time.Time

	mu      sync.Mutex
	results []BatchResult
	undos   []func(context.Context) error // of changes that took effect, if they are to be taken back
	giveUp  bool

	telling sync.Mutex
}

func (p *batchPlan) run(ctx context.Context, opts BatchOptions) ([]BatchResult, error) {
	r := &batchRun{batchPlan: p, opts: opts, began: time.Now(), results: make([]BatchResult, len(p.nodes)), undos: make([]func(context.Context) error, len(p.nodes))}
	if r.opts.Parallel <= 0 {
		r.opts.Parallel = defaultParallel
	}
	after := make([][]int, len(p.nodes))
	for i, n := range p.nodes {
		r.results[i] = BatchResult{Op: changeNames[n.kind], Ref: n.ref, Info: n.info, State: linuxblock.Failed, Err: ErrSkipped}
		after[i] = n.after
	}
	walk(after, r.opts.Parallel, func(i int) { r.do(ctx, i) })
	if r.giveUp {
		r.undo(ctx)
	}
	var errs []error
	for _, res := range r.results {
		if res.State == linuxblock.Failed || res.State == linuxblock.UndoFailed {
			errs = append(errs, fail(res.Op, res.Ref, res.Err))
		}
	}
	if len(errs) == 0 {
		return r.results, nil
	}
	return r.results, &Error{Err: &batchError{len(p.nodes), errs}}
}

// walk calls do for each index when it has returned for those that the index
// comes after, at most parallel at a time.
func walk(after [][]int, parallel int, do func(int)) {
	waits := make([]int, len(after))
	then := make([][]int, len(after))
	ready := make(chan int, len(after))
	for i, list := range after {
		if waits[i] = len(list); waits[i] == 0 {
			ready <- i
		}
		for _, j := range list {
			then[j] = append(then[j], i)
		}
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	left := len(after)
	for range min(parallel, len(after)) {
		all.Go(func() {
			for i := range ready {
				do(i)
				mu.Lock()
				for _, j := range then[i] {
					if waits[j]--; waits[j] == 0 {
						ready <- j
					}
				}
				if left--; left == 0 {
					close(ready)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
}

// do makes one change, unless there is a reason not to begin it.
func (r *batchRun) do(ctx context.Context, i int) {
	n := r.nodes[i]
	if err := r.skip(ctx, n); err != nil {
		r.end(i, n.info, err)
		return
	}
	r.tell(i, linuxblock.Started, nil)
	var info Info
	var err error
	switch n.kind {
	case changeCreate:
		info, err = r.create(ctx, i, n)
	case changeReload:
		info, err = r.reload(ctx, i, n)
	case changeRemove:
		info, err = n.info, r.remove(ctx, i, n)
	}
	r.end(i, info, err)
}

func (r *batchRun) skip(ctx context.Context, n *batchNode) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		r.giveUp = r.opts.AllOrNothing
		return fmt.Errorf("%w: %w", ErrSkipped, err)
	}
	if r.giveUp {
		return ErrSkipped
	}
	for _, j := range n.after {
		if r.results[j].State != linuxblock.Done {
			return fmt.Errorf("%w: %s comes before and failed", ErrSkipped, r.nodes[j])
		}
	}
	return nil
}

func (r *batchRun) end(i int, info Info, err error) {
	r.mu.Lock()
	res := &r.results[i]
	res.Info, res.Err, res.State = info, err, linuxblock.Done
	if err != nil {
		res.State = linuxblock.Failed
		res.Err = fail(res.Op, res.Ref, err)
		r.giveUp = r.opts.AllOrNothing
	}
	state, err := res.State, res.Err
	r.mu.Unlock()
	r.tell(i, state, err)
}

func (r *batchRun) tell(i int, state linuxblock.State, err error) {
	if r.opts.Progress == nil {
		return
	}
	r.telling.Lock()
	defer r.telling.Unlock()
	r.opts.Progress(linuxblock.Progress{Step: i, Name: r.nodes[i].String(), State: state, Err: err, Elapsed: time.Since(r.began)})
}

// effective notes how to take back a change that took effect.
func (r *batchRun) effective(i int, undo func(context.Context) error) {
	if r.opts.AllOrNothing {
		r.mu.Lock()
		r.undos[i] = undo
		r.mu.Unlock()
	}
}

func (r *batchRun) create(ctx context.Context, i int, n *batchNode) (Info, error) {
	info, err := r.c.create(ctx, n.ref.(Name), n.table, n.change.create)
	if err == nil {
		r.effective(i, func(ctx context.Context) error { return r.c.takeAway(ctx, info, n.change.create.Udev) })
	}
	return info, err
}

func (r *batchRun) reload(ctx context.Context, i int, n *batchNode) (Info, error) {
	old, err := r.keep(n)
	if err != nil {
		return n.info, err
	}
	opts := n.change.reload
	info, swapped, err := r.c.reloadDevice(ctx, n.info, n.table, opts)
	if swapped {
		r.effective(i, func(ctx context.Context) error { return r.c.putBack(ctx, old, opts) })
	}
	return info, err
}

func (r *batchRun) remove(ctx context.Context, i int, n *batchNode) error {
	old, err := r.keep(n)
	if err != nil {
		return err
	}
	removed, err := r.c.removeDevice(ctx, n.info.Dev, n.change.remove)
	if removed {
		r.effective(i, func(ctx context.Context) error { return r.c.bringBack(ctx, old, n.change.remove.Udev) })
	}
	return err
}

// undo takes back what took effect, in the opposite order. It is not broken
// off: the context carries only the values of the caller's.
func (r *batchRun) undo(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	walk(r.undoOrder(), r.opts.Parallel, func(i int) {
		if r.undos[i] == nil {
			return
		}
		err := r.missing(i)
		if err == nil {
			err = r.undos[i](ctx)
		}
		r.mu.Lock()
		res := &r.results[i]
		switch {
		case err != nil:
			res.State, res.Err = linuxblock.UndoFailed, detail(fail(res.Op, res.Ref, err), "could not be taken back")
		case res.State == linuxblock.Done:
			res.State = linuxblock.Undone
		default:
			res.Err = detail(res.Err, "it was taken back")
		}
		state, err := res.State, res.Err
		r.mu.Unlock()
		r.tell(i, state, err)
	})
}

// undoOrder is the order turned around. A device that comes back wants its
// number again, which the kernel may have given to a device of the batch
// since: that goes first.
func (r *batchRun) undoOrder() [][]int {
	after := r.followers()
	made := map[Dev]int{}
	for i, n := range r.nodes {
		if n.kind == changeCreate && r.undos[i] != nil {
			made[r.results[i].Info.Dev] = i
		}
	}
	for i, n := range r.nodes {
		if j, ok := made[n.info.Dev]; ok && n.kind == changeRemove {
			after[i] = append(after[i], j)
		}
	}
	return after
}

// missing is the error of an old table that maps a device which could not be
// brought back: its number may be another's by now.
func (r *batchRun) missing(i int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for j, n := range r.nodes {
		if n.kind == changeRemove && r.results[j].State == linuxblock.UndoFailed && slices.Contains(r.nodes[i].deps, n.info.Dev) {
			return fmt.Errorf("%w: %v is not there any more", ErrSkipped, n.info.Name)
		}
	}
	return nil
}

// kept is what a device was before the batch.
type kept struct {
	info           Info
	live, inactive Table
}

// keep reads what an undo needs.
func (r *batchRun) keep(n *batchNode) (k kept, err error) {
	k.info = n.info
	if !r.opts.AllOrNothing {
		return k, nil
	}
	if k.live, err = r.c.rawTable(n.info, false); err == nil {
		k.inactive, err = r.c.rawTable(n.info, true)
	}
	if err == nil && n.kind == changeReload && len(k.live) == 0 {
		err = refuse("the device has no live table that could be put back")
	}
	return k, err
}

// rawTable is the live or the inactive table in a form that can be loaded.
func (c *Client) rawTable(i Info, inactive bool) (Table, error) {
	o := StatusOptions{Inactive: inactive}
	if inactive && !i.InactiveTable || !inactive && !i.ActiveTable {
		return nil, nil
	}
	specs, err := c.tableStatus(i.Dev, o.flags()|dmwire.StatusTable, true)
	return tableOf(specs, c.parsers), err
}

// putBack gives a device its old tables again.
func (c *Client) putBack(ctx context.Context, k kept, opts ReloadOptions) error {
	now, err := c.info(k.info.Dev)
	if err != nil {
		return err
	}
	opts.ReadOnly = k.info.ReadOnly
	_, swapped, err := c.reloadDevice(ctx, now, k.live, opts)
	if !swapped {
		return err
	}
	if k.info.Suspended {
		if serr := c.suspend(k.info.Dev, opts.SuspendOptions); err == nil {
			err = serr
		}
	}
	return c.reloadInactive(k, err)
}

// takeAway removes a device that the batch made. udev may look at it still.
func (c *Client) takeAway(ctx context.Context, i Info, o UdevOptions) error {
	err := c.remove(ctx, i.Dev, RemoveOptions{Retries: 24, Udev: o})
	if err == nil || gone(err) {
		return nil
	}
	if c.discard(i) == nil {
		err = detail(err, "it goes at its last close")
	}
	return err
}

// bringBack makes a device again that was removed.
func (c *Client) bringBack(ctx context.Context, k kept, o UdevOptions) error {
	minor := k.info.Dev.Minor
	_, err := c.create(ctx, k.info.Name, k.live, CreateOptions{UUID: k.info.UUID, Minor: &minor, ReadOnly: k.info.ReadOnly, Udev: o})
	return c.reloadInactive(k, err)
}

func (c *Client) reloadInactive(k kept, err error) error {
	if err == nil && len(k.inactive) > 0 {
		_, err = c.load(k.info.Dev, k.inactive, k.info.ReadOnly)
	}
	return err
}
