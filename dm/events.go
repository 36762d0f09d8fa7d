// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"sync"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// EventKind says what happened to a device.
type EventKind uint8

// The kinds of events.
const (
	Created EventKind = iota // or was there when the stream began, with Initial
	Removed
	Renamed
	// Triggered: a target reported something (a leg failed, a pool ran low,
	// a resync ended), or the device was renamed: its event number rose.
	Triggered
)

var eventNames = [...]string{"created", "removed", "renamed", "triggered"}

// String is the kind in lower case.
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
	Initial bool   // of Created: the device was there at the start
}

// EventOptions change Events.
type EventOptions struct {
	// Initial begins the stream with the devices that are there. Nothing
	// that happens after is missed.
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
// stay and its event number does not fall. A swap of tables alone has no
// trace in the list and gives no event.
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
// gives the state and the status of its targets then (DM_DEV_WAIT). With the
// number from [Client.Info] no event is missed:
//
//	info, err := c.Info(ctx, ref)
//	// act on the state
//	info, status, err := c.WaitEvent(ctx, ref, info.EventNr)
//
// A wait in the kernel can't be cancelled without a signal; so the wait is
// on the control descriptor, and the kernel is asked when it would answer
// at once. The error matches fs.ErrNotExist when the device is removed.
func (c *Client) WaitEvent(ctx context.Context, ref Ref, nr uint32) (Info, []Status, error) {
	fails := func(err error) (Info, []Status, error) { return Info{}, nil, fail("wait", ref, err) }
	sub, err := c.events.subscribe(false)
	if err != nil {
		return fails(err)
	}
	defer c.events.unsubscribe(sub)
	for {
		info, err := c.Info(ctx, ref)
		if err != nil {
			return fails(err)
		}
		if info.EventNr != nr {
			break
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
	type answer struct {
		info  Info
		specs []dmwire.Spec
	}
	a, err := run(ctx, c, "wait", ref, func(context.Context) (a answer, err error) {
		r := request{cmd: dmwire.CmdWait, ref: ref, eventNr: nr, reply: true, retries: true}
		err = c.ioctl(r, func(h *dmwire.Header, payload []byte) error {
			a.info = infoOf(h)
			a.specs, err = dmwire.ParseStatus(payload, h.TargetCount)
			return err
		})
		return a, err
	})
	return a.info, statusOf(a.specs), err
}

// poller watches the control descriptor while anybody listens.
type poller struct {
	c *Client

	mu      sync.Mutex
	subs    map[*subscription]bool
	stop    context.CancelFunc // of the goroutine; nil when none runs
	stopped chan struct{}      // closed when it has ended
	known   map[Dev]Entry
	closed  bool
}

// subscription is the queue of one listener.
type subscription struct {
	ready chan struct{} // has room for one: there is something to take
	woken chan struct{} // has room for one: the driver reported something

	mu    sync.Mutex
	queue []Event
	err   error
}

func (p *poller) init(c *Client) { p.c, p.subs = c, map[*subscription]bool{} }

func (p *poller) subscribe(initial bool) (*subscription, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.closed {
			return nil, ErrClosed
		}
		if p.stop != nil {
			break
		}
		if last := p.stopped; last != nil {
			// The last goroutine was told to stop; it must not wait on the
			// transport beside a new one, and may need the lock to end.
			p.mu.Unlock()
			<-last
			p.mu.Lock()
			if p.stopped == last {
				p.stopped = nil
			}
			continue
		}
		if err := p.start(); err != nil {
			return nil, err
		}
	}
	s := &subscription{ready: make(chan struct{}, 1), woken: make(chan struct{}, 1)}
	if initial {
		for _, e := range p.known {
			s.add(Event{Kind: Created, Name: e.Name, UUID: e.UUID, Dev: e.Dev, EventNr: e.EventNr, Initial: true})
		}
	}
	p.subs[s] = true
	return s, nil
}

func (p *poller) unsubscribe(s *subscription) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.subs, s)
	if len(p.subs) == 0 && p.stop != nil {
		p.stop()
		p.stop = nil
	}
}

// close ends all streams.
func (p *poller) close() {
	p.mu.Lock()
	p.closed = true
	stop, stopped := p.stop, p.stopped
	p.stop = nil
	for s := range p.subs {
		s.end(ErrClosed)
	}
	p.mu.Unlock()
	if stop != nil {
		stop()
	}
	if stopped != nil {
		<-stopped
	}
}

// start arms the descriptor, takes the first list, and leaves a goroutine
// waiting. p.mu is held.
func (p *poller) start() error {
	list, err := p.arm()
	if err != nil {
		return err
	}
	p.known = index(list)
	ctx, cancel := context.WithCancel(context.Background())
	p.stop, p.stopped = cancel, make(chan struct{})
	go p.loop(ctx, p.stopped)
	return nil
}

// arm takes the list after the cursor of the descriptor has been set, so
// that what happens from then on makes the descriptor readable.
func (p *poller) arm() ([]Entry, error) {
	if err := p.c.ioctl(request{cmd: dmwire.CmdArmPoll}, nil); err != nil {
		return nil, err
	}
	return p.c.list(ListOptions{})
}

func (p *poller) loop(ctx context.Context, stopped chan struct{}) {
	defer close(stopped)
	for {
		err := p.c.t.Wait(ctx)
		if ctx.Err() != nil {
			return
		}
		var list []Entry
		if err == nil {
			list, err = p.arm()
		}
		p.mu.Lock()
		if err != nil {
			for s := range p.subs {
				s.end(err)
			}
			if p.stopped == stopped {
				p.stop = nil
			}
			p.mu.Unlock()
			return
		}
		events := compare(p.known, list)
		p.known = index(list)
		for s := range p.subs {
			s.add(events...)
			s.wake()
		}
		p.mu.Unlock()
	}
}

func index(list []Entry) map[Dev]Entry {
	m := make(map[Dev]Entry, len(list))
	for _, e := range list {
		m[e.Dev] = e
	}
	return m
}

// compare says what must have happened between two lists.
func compare(old map[Dev]Entry, now []Entry) []Event {
	var events []Event
	seen := make(map[Dev]bool, len(now))
	made := func(e Entry) Event {
		return Event{Kind: Created, Name: e.Name, UUID: e.UUID, Dev: e.Dev, EventNr: e.EventNr}
	}
	gone := func(e Entry) Event {
		return Event{Kind: Removed, Name: e.Name, UUID: e.UUID, Dev: e.Dev, EventNr: e.EventNr}
	}
	for _, e := range now {
		seen[e.Dev] = true
		o, known := old[e.Dev]
		switch {
		case !known:
			events = append(events, made(e))
			continue
		case o.UUID != e.UUID && o.UUID != "", int32(e.EventNr-o.EventNr) < 0,
			o.Name != e.Name && e.EventNr == o.EventNr:
			// Another device at the same number: a uuid never changes once
			// set, a rename raises the event number.
			events = append(events, gone(o), made(e))
			continue
		case o.Name != e.Name:
			ev := made(e)
			ev.Kind, ev.OldName = Renamed, o.Name
			events = append(events, ev)
			if e.EventNr-o.EventNr <= 1 {
				continue
			}
			o.EventNr++ // the rename's own
		}
		if e.EventNr != o.EventNr {
			ev := made(e)
			ev.Kind, ev.Count = Triggered, e.EventNr-o.EventNr
			events = append(events, ev)
		}
	}
	for dev, o := range old {
		if !seen[dev] {
			events = append(events, gone(o))
		}
	}
	return events
}

// add queues events. One that only raises the number of the event last
// queued for the same device is joined with it, so that a reader that never
// comes back does not fill the memory.
func (s *subscription) add(events ...Event) {
	if len(events) == 0 {
		return
	}
	s.mu.Lock()
	for _, e := range events {
		if n := len(s.queue); n > 0 && e.Kind == Triggered && s.queue[n-1].Kind == Triggered && s.queue[n-1].Dev == e.Dev && s.queue[n-1].Name == e.Name {
			s.queue[n-1].EventNr = e.EventNr
			s.queue[n-1].Count += e.Count
			continue
		}
		s.queue = append(s.queue, e)
	}
	s.mu.Unlock()
	signal(s.ready)
}

func (s *subscription) wake() { signal(s.woken) }

func (s *subscription) end(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	signal(s.ready)
}

func (s *subscription) take() ([]Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := s.queue
	s.queue = nil
	return batch, s.err
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// gone reports whether err says that there is no such device.
func gone(err error) bool { return errors.Is(fail("", nil, err), fs.ErrNotExist) }
