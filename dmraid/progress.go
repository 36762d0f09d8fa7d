// SPDX-License-Identifier: MIT

package dmraid

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// Progress is how an array is at a moment of [Array.Watch].
type Progress struct {
	Status  Status
	Health  Health
	Event   bool          // md told of something since the last one: a sync ended, a leg failed
	Elapsed time.Duration // since the watch began
	// Left is how long what runs will take at the speed it has had; 0 when that
	// can't be told.
	Left time.Duration
}

// WatchOptions change Watch and WaitIdle.
type WatchOptions struct {
	// Interval is the time between two looks when no event comes: md tells of
	// the end of a sync, and not how far it is. 0 stands for 500 ms.
	Interval time.Duration
}

// Watch looks at an array again and again: at once, at each event of it, and
// in between. It never ends by itself. The error that ends it, for one because
// the array is removed, comes with a zero Progress.
func (a *Array) Watch(ctx context.Context, opts WatchOptions) iter.Seq2[Progress, error] {
	interval := opts.Interval
	if interval <= 0 {
		interval = 500 * time.Millisecond
	}
	return func(yield func(Progress, error) bool) {
		began := time.Now()
		var speed speedometer
		var nr uint32
		for first := true; ; first = false {
			p, info, err := a.look(ctx)
			if err != nil {
				yield(Progress{}, err)
				return
			}
			p.Event = !first && info.EventNr != nr
			p.Elapsed = time.Since(began)
			p.Left = speed.left(p.Health, p.Elapsed)
			nr = info.EventNr
			if !yield(p, nil) {
				return
			}
			wait, cancel := context.WithTimeout(ctx, interval)
			_, _, err = a.c.WaitEvent(wait, a.dev, nr)
			cancel()
			if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
				yield(Progress{}, a.fail("watch", err))
				return
			}
		}
	}
}

// look takes info before status, so that what the status does not show yet
// makes the next wait end at once.
func (a *Array) look(ctx context.Context) (Progress, dm.Info, error) {
	info, err := a.c.Info(ctx, a.dev)
	if err != nil {
		return Progress{}, info, a.fail("watch", err)
	}
	s, err := a.Status(ctx)
	if err != nil {
		return Progress{}, info, err
	}
	return Progress{Status: s, Health: s.Health(Facts{Suspended: info.Suspended})}, info, nil
}

// speedometer measures from the first look at what runs.
type speedometer struct {
	running Action
	from    Sectors
	since   time.Duration
}

func (m *speedometer) left(h Health, now time.Duration) time.Duration {
	if h.Running != m.running || h.Done < m.from {
		*m = speedometer{h.Running, h.Done, now}
	}
	done, took := h.Done-m.from, now-m.since
	if h.Running == ActionIdle || done == 0 || took <= 0 || h.Done >= h.Total {
		return 0
	}
	return time.Duration(float64(took) * float64(h.Total-h.Done) / float64(done))
}

// WaitIdle waits until nothing runs and nothing is due, and gives the state
// then. It says nothing of legs that are dead or missing: look at its Health.
//
// The error matches ErrState when the array is frozen or suspended while
// something is due, or while it can't be told, because that would last for
// ever.
func (a *Array) WaitIdle(ctx context.Context, opts WatchOptions) (Progress, error) {
	frozen := 0
	for p, err := range a.Watch(ctx, opts) {
		if err != nil {
			return p, err
		}
		h := p.Health
		switch {
		case !h.Frozen && h.Running == ActionIdle && h.Pending == "":
			return p, nil
		case !h.Frozen:
			frozen = 0
		default:
			// Another's reload may hold it for a moment.
			if frozen++; frozen > 4 {
				return p, a.refuse("wait", ErrState, "the array is frozen")
			}
		}
	}
	panic("unreachable: Watch ends with an error only")
}
