// SPDX-License-Identifier: MIT

package dmraid

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ScrubOptions change Scrub. The zero value checks and repairs nothing.
type ScrubOptions struct {
	// Repair makes the legs equal when the check finds that they differ, and
	// checks again.
	Repair bool
	// Progress is called as the scrub goes on, from the goroutine of Scrub.
	Progress func(Progress)
	WatchOptions
}

// ScrubResult is what a scrub found.
type ScrubResult struct {
	Found Sectors // that differed; see Status.Mismatches
	// Repaired says that a repair ran, and Left what a second check found.
	Repaired bool
	Left     Sectors
}

// Scrub compares all legs with each other, or the data with the parity, and
// waits for it. The array stays in use. When ctx is cancelled, the scrub is
// broken off.
//
// The error matches ErrState when something else runs or legs are missing,
// and errors.ErrUnsupported with a raid0.
func (a *Array) Scrub(ctx context.Context, opts ScrubOptions) (ScrubResult, error) {
	var r ScrubResult
	p, _, err := a.look(ctx)
	if err != nil {
		return r, err
	}
	if p.Status.Type.Redundant() && p.Health.Condition != Clean {
		return r, a.refuse("scrub", ErrState, p.Health.String())
	}
	if r.Found, err = a.scrub(ctx, MessageCheck, opts); err != nil || r.Found == 0 || !opts.Repair {
		return r, err
	}
	if _, err = a.scrub(ctx, MessageRepair, opts); err != nil {
		return r, err
	}
	r.Repaired = true
	r.Left, err = a.scrub(ctx, MessageCheck, opts)
	return r, err
}

// scrub sends a message and waits for the end of what it starts. A message
// that was lost is sent again.
//
// When an action ends, md clears RUNNING, by which it looks idle, a moment
// before the flags that a message sets (md_reap_sync_thread in
// drivers/md/md.c): a message in between is lost, and nothing tells. An action
// that did run was seen to, or has raised an event.
func (a *Array) scrub(ctx context.Context, m Message, opts ScrubOptions) (Sectors, error) {
	for range scrubTries {
		before, err := a.quiet(ctx)
		if err != nil {
			return 0, err
		}
		for _, m := range []Message{MessageIdle, m} {
			if err := a.Send(ctx, m); err != nil {
				return 0, err
			}
		}
		found, ran, err := a.scrubbed(ctx, m, before, opts)
		if ran || err != nil {
			return found, err
		}
	}
	return 0, a.refuse("scrub", ErrState, fmt.Sprintf("the kernel lost the message %s %d times", m, scrubTries))
}

const (
	scrubTries = 5
	// eventDelay is how late an event may come: md raises it from a work
	// queue.
	eventDelay = 50 * time.Millisecond
)

// quiet waits until no event of an action that ended before is on its way,
// and gives the number of the last.
func (a *Array) quiet(ctx context.Context) (event uint32, err error) {
	info, err := a.c.Info(ctx, a.dev)
	for err == nil {
		event = info.EventNr
		wait, cancel := context.WithTimeout(ctx, eventDelay)
		info, _, err = a.c.WaitEvent(wait, a.dev, event)
		cancel()
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return event, nil
		}
	}
	return 0, a.fail("scrub", err)
}

// scrubbed waits for the end of an action. ran is false when it never began.
func (a *Array) scrubbed(ctx context.Context, m Message, event uint32, opts ScrubOptions) (found Sectors, ran bool, err error) {
	looks := 0
	for p, err := range a.Watch(ctx, opts.WatchOptions) {
		if err != nil {
			return 0, ran, errors.Join(err, a.breakOff(ctx))
		}
		if opts.Progress != nil {
			opts.Progress(p)
		}
		switch h := p.Health; {
		case h.Frozen:
			// Somebody reloads it; a table that is swapped forgets the check.
		case h.Running == ActionIdle && h.Pending == "":
			if h.Condition != Clean {
				return 0, ran, a.refuse("scrub", ErrState, h.String())
			}
			info, err := a.c.Info(ctx, a.dev)
			if err != nil {
				return 0, ran, a.fail("scrub", err)
			}
			if ran = ran || info.EventNr != event; ran || looks > 0 {
				return p.Status.Mismatches, ran, nil
			}
			// One more look, when an event has had the time to come.
			looks++
		case h.Running != Action(m):
			return 0, ran, a.refuse("scrub", ErrState, h.String())
		default:
			ran = true
		}
	}
	panic("unreachable: Watch ends with an error only")
}

// breakOff ends a scrub whose caller has gone.
func (a *Array) breakOff(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	s, err := a.Status(ctx)
	if err != nil || s.Action != ActionCheck && s.Action != ActionRepair {
		return nil
	}
	return a.Send(ctx, MessageIdle)
}
