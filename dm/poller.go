// SPDX-License-Identifier: MIT

package dm

import (
	"container/list"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

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
		for _, e := range slices.SortedFunc(maps.Values(p.known), byName) {
			ev := eventOf(Created, e)
			ev.Initial = true
			s.add(ev)
		}
		s.add(Event{Kind: Listed, Initial: true})
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
	there, err := p.arm()
	if err != nil {
		return err
	}
	p.known = index(there)
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
		var there []Entry
		if err == nil {
			there, err = p.arm()
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
		events := compare(p.known, there)
		p.known = index(there)
		for s := range p.subs {
			s.add(events...)
			s.wake()
		}
		p.mu.Unlock()
	}
}

func index(there []Entry) map[Dev]Entry {
	m := make(map[Dev]Entry, len(there))
	for _, e := range there {
		m[e.Dev] = e
	}
	return m
}

func byName(a, b Entry) int { return strings.Compare(string(a.Name), string(b.Name)) }

func eventOf(kind EventKind, e Entry) Event {
	return Event{Kind: kind, Name: e.Name, UUID: e.UUID, Dev: e.Dev, EventNr: e.EventNr}
}

// compare says what must have happened between two lists. Removals come
// first and renames next: a name that moved to another device is free then.
func compare(old map[Dev]Entry, now []Entry) []Event {
	var removed []Entry
	var renamed, rest []Event
	seen := make(map[Dev]bool, len(now))
	for _, e := range now {
		seen[e.Dev] = true
		o, known := old[e.Dev]
		if !known {
			rest = append(rest, eventOf(Created, e))
			continue
		}
		if !same(o, e) {
			removed = append(removed, o)
			rest = append(rest, eventOf(Created, e))
			continue
		}
		count := e.EventNr - o.EventNr
		if o.Name != e.Name {
			ev := eventOf(Renamed, e)
			ev.OldName = o.Name
			renamed = append(renamed, ev)
			if count > 0 {
				count-- // the rename's own
			}
		}
		if count > 0 {
			ev := eventOf(Triggered, e)
			ev.Count = count
			rest = append(rest, ev)
		}
	}
	for dev, o := range old {
		if !seen[dev] {
			removed = append(removed, o)
		}
	}
	slices.SortFunc(removed, byName)
	events := make([]Event, 0, len(removed)+len(renamed)+len(rest))
	for _, o := range removed {
		events = append(events, eventOf(Removed, o))
	}
	return append(append(events, inOrder(renamed)...), rest...)
}

// same says whether two lines of the same number are about one device: a
// uuid never changes once set, and event numbers never fall.
func same(o, e Entry) bool {
	switch {
	case o.UUID != e.UUID && o.UUID != "", int32(e.EventNr-o.EventNr) < 0:
		return false
	case o.Name == e.Name || e.EventNr != o.EventNr:
		return true
	}
	// The table makes the event of a rename (dm_hash_rename in
	// drivers/md/dm-ioctl.c). Without one only a uuid tells a device that
	// was renamed from another one.
	return o.UUID != "" && o.UUID == e.UUID
}

// inOrder puts a rename behind the one that frees its name. Where names are
// traded in a circle there is no such order, and one of them is first.
func inOrder(renames []Event) []Event {
	if len(renames) < 2 {
		return renames
	}
	from := make(map[Name]int, len(renames))
	for i, e := range renames {
		from[e.OldName] = i
	}
	out := make([]Event, 0, len(renames))
	begun := make([]bool, len(renames))
	for i := range renames {
		// Follow the names to the end of the chain, and tell it backwards.
		var chain []int
		for more := true; more && !begun[i]; {
			begun[i] = true
			chain = append(chain, i)
			i, more = next(from, renames[i].Name, i)
		}
		for _, j := range slices.Backward(chain) {
			out = append(out, renames[j])
		}
	}
	return out
}

// next is the rename that frees name, or i itself when there is none.
func next(from map[Name]int, name Name, i int) (int, bool) {
	if j, ok := from[name]; ok {
		return j, true
	}
	return i, false
}

// subscription is the queue of one listener. What is unread is bounded by
// the devices that are there and the removals, whatever happens to them.
type subscription struct {
	ready chan struct{} // has room for one: there is something to take
	woken chan struct{} // has room for one: the driver reported something

	mu    sync.Mutex
	queue list.List // of *Event, in the order they are read
	// of has the unread events of each device. There is at most one Removed
	// among them, and a Created only behind it or at the start.
	of  map[Dev][]*list.Element
	err error
}

// maxUnread is the number of unread events of a device from which its
// renames are joined. Fewer are told one by one, since other devices may
// have used the names in between.
const maxUnread = 16

// add queues events.
func (s *subscription) add(events ...Event) {
	if len(events) == 0 {
		return
	}
	s.mu.Lock()
	for _, e := range events {
		s.addOne(e)
	}
	s.mu.Unlock()
	signal(s.ready)
}

func (s *subscription) addOne(e Event) {
	if e.Kind == Listed {
		s.queue.PushBack(&e)
		return
	}
	unread := s.of[e.Dev]
	switch e.Kind {
	case Triggered:
		if n := len(unread); n > 0 {
			if last := unread[n-1].Value.(*Event); last.Kind == Triggered && last.Name == e.Name {
				last.UUID, last.EventNr = e.UUID, e.EventNr
				last.Count += e.Count
				return
			}
		}
	case Removed:
		// Nobody has heard of a device whose Created is unread.
		if i := lastOf(unread, Created); i >= 0 {
			for _, el := range unread[i:] {
				s.queue.Remove(el)
			}
			s.of[e.Dev] = unread[:i]
			return
		}
	case Renamed:
		i := lastOf(unread, Renamed)
		if len(unread) < maxUnread || i < max(lastOf(unread, Created), lastOf(unread, Removed), 0) {
			break
		}
		r := unread[i].Value.(*Event)
		r.Name, r.UUID, r.EventNr = e.Name, e.UUID, e.EventNr
		// The Triggered between the two go along: their name is never told.
		for _, el := range unread[i+1:] {
			el.Value.(*Event).Name = e.Name
		}
		return
	}
	if s.of == nil {
		s.of = map[Dev][]*list.Element{}
	}
	s.of[e.Dev] = append(unread, s.queue.PushBack(&e))
}

// lastOf is the index of the last event of a kind, or -1.
func lastOf(unread []*list.Element, kind EventKind) int {
	for i, el := range slices.Backward(unread) {
		if el.Value.(*Event).Kind == kind {
			return i
		}
	}
	return -1
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
	batch := make([]Event, 0, s.queue.Len())
	for el := s.queue.Front(); el != nil; el = el.Next() {
		batch = append(batch, *el.Value.(*Event))
	}
	s.queue.Init()
	s.of = nil
	return batch, s.err
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
