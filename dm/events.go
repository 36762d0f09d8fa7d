// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"io/fs"
	"iter"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// EventKind says what happened to a device.
type EventKind uint8

// The kinds of events. The zero value is none of them, because the Event
// that comes with the error at the end of a stream is the zero Event.
const (
	Created EventKind = iota + 1 // or was there when the stream began, with Initial
	Removed
	Renamed
	// Triggered: a target reported something (a leg failed, a pool ran low,
	// a resync ended), or the device got its uuid: its event number rose.
	Triggered
	// Listed: all devices that were there when the stream began have been
	// told of. It comes once, with EventOptions.Initial, and names no device.
	Listed
)

var eventNames = [...]string{"none", "created", "removed", "renamed", "triggered", "listed"}

// String is the kind in lower case; of the zero value it is "none".
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "event " + num(uint8(k))
}

// Event is a change that the driver told of.
type Event struct {
	Kind EventKind
	Name Name
	UUID UUID
	Dev  Dev
	// EventNr is the device's event number. When several events came
	// before the stream was read, one Event carries the last number, and
	// Count says how many there were.
	EventNr uint32
	Count   uint32 // of Triggered; otherwise 0
	OldName Name   // of Renamed
	Initial bool   // of Created: the device was there at the start; and of Listed
}

// EventOptions change Events.
type EventOptions struct {
	// Initial begins the stream with the devices that are there, by name,
	// and then one event Listed, also when there are none. Nothing that
	// happens after is missed.
	Initial bool
}

// Events streams what happens to the devices of the machine until ctx is
// done, the client is closed, or the loop is left. All streams of a client
// share one poll of the control descriptor and one list per wake-up, however
// many devices there are; a slow reader holds nobody up. The error that
// ends the stream comes with a zero Event; leaving the loop gives none.
//
// The kernel tells that something happened, and the list then says to what:
// a device that is created and removed again before the list is taken is
// not seen. A device is taken for the same one while its number and uuid
// stay and its event number does not fall; without a uuid it must rise with
// the name, which it does not for a device without a table: that one is
// removed and created. A swap of tables alone has no trace in the list and
// gives no event.
//
// What happened between two lists comes as removals first, then renames,
// then the rest, so that a name is free before it is told of again. Only
// devices that trade their names can't be put in such an order: who follows
// them goes by Dev.
//
// What a reader leaves unread takes memory for each device, not for each
// event: Triggered are counted in one, a device that came and went
// unread is not told of, and many renames become one.
func (c *Client) Events(ctx context.Context, opts EventOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		sub, err := c.events.subscribe(opts.Initial)
		if err != nil {
			yield(Event{}, fail("events", nil, err))
			return
		}
		defer c.events.unsubscribe(sub)
		for {
			select {
			case <-ctx.Done():
				yield(Event{}, fail("events", nil, ctx.Err()))
				return
			case <-sub.ready:
			}
			batch, err := sub.take()
			for _, e := range batch {
				if ctx.Err() != nil {
					break
				}
				if !yield(e, nil) {
					return
				}
			}
			if err != nil {
				yield(Event{}, fail("events", nil, err))
				return
			}
		}
	}
}

// WaitEvent waits until the event number of a device differs from nr, and
// gives the state and the status of its targets then. With the number from
// [Client.Info] no event is missed:
//
//	info, err := c.Info(ctx, ref)
//	// act on the state
//	info, status, err := c.WaitEvent(ctx, ref, info.EventNr)
//
// The error matches fs.ErrNotExist when the device is removed. One that is
// made anew meanwhile under the same ref is waited for.
//
// A wait in the kernel can't be cancelled without a signal, and would keep
// Close from ending. So the wait is on the control descriptor, and DM_DEV_WAIT
// is asked with a number that no device has, so that it answers at once.
func (c *Client) WaitEvent(ctx context.Context, ref Ref, nr uint32) (Info, []Status, error) {
	fails := func(err error) (Info, []Status, error) { return Info{}, nil, fail("wait", ref, err) }
	sub, err := c.events.subscribe(false)
	if err != nil {
		return fails(err)
	}
	defer c.events.unsubscribe(sub)
	for {
		// Info first: it does not trouble the targets, who may have to
		// commit their metadata for a status.
		info, err := c.Info(ctx, ref)
		if err != nil {
			return fails(err)
		}
		if info.EventNr != nr {
			info, status, err := c.stateAndStatus(ctx, ref, nr)
			if err != nil || info.EventNr != nr {
				return info, status, err
			}
			// Replaced in between: the number is what the caller has seen.
		}
		select {
		case <-ctx.Done():
			return fails(ctx.Err())
		case <-sub.woken:
		case <-sub.ready:
			if _, err := sub.take(); err != nil {
				return fails(err)
			}
		}
	}
}

// stateAndStatus takes both from one answer, so that they belong together.
func (c *Client) stateAndStatus(ctx context.Context, ref Ref, nr uint32) (Info, []Status, error) {
	type answer struct {
		info  Info
		specs []dmwire.Spec
	}
	a, err := run(ctx, c, "wait", ref, func(context.Context) (a answer, err error) {
		r := request{cmd: dmwire.CmdWait, ref: ref, eventNr: nr ^ 1<<31, reply: true, retries: true}
		err = c.ioctl(r, func(h *dmwire.Header, payload []byte) error {
			a.info = infoOf(h)
			a.specs, err = dmwire.ParseStatus(payload, h.TargetCount)
			return err
		})
		return a, err
	})
	return a.info, statusOf(a.specs), err
}

// gone reports whether err says that there is no such device.
func gone(err error) bool { return errors.Is(fail("", nil, err), fs.ErrNotExist) }
