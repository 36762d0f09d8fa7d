// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm/dmtest"
)

func entry(name, uuid string, minor, nr uint32) Entry {
	return Entry{Name: Name(name), UUID: UUID(uuid), Dev: Dev{Major: 254, Minor: minor}, EventNr: nr}
}

// brief is an event as the tests spell it.
func brief(e Event) string {
	text := fmt.Sprintf("%v %s@%d", e.Kind, e.Name, e.Dev.Minor)
	if e.Kind == Renamed {
		text += "<" + string(e.OldName)
	}
	if e.Kind == Triggered {
		text += fmt.Sprintf(" x%d=%d", e.Count, e.EventNr)
	}
	return text
}

func briefs(events []Event) string {
	var words []string
	for _, e := range events {
		words = append(words, brief(e))
	}
	return strings.Join(words, ", ")
}

func TestCompare(t *testing.T) {
	for _, tt := range []struct {
		what     string
		old, now []Entry
		want     string
	}{
		{"nothing", []Entry{entry("a", "", 0, 1)}, []Entry{entry("a", "", 0, 1)}, ""},
		{"a name that moved", []Entry{entry("x", "", 0, 0)}, []Entry{entry("x", "", 1, 0)}, "removed x@0, created x@1"},
		{"a name that moved below another", []Entry{entry("x", "", 0, 0), entry("y", "", 1, 0)}, []Entry{entry("x", "", 1, 0)}, "removed x@0, removed y@1, created x@1"},
		{"removals by name", []Entry{entry("c", "", 0, 0), entry("a", "", 1, 0), entry("b", "", 2, 0), entry("d", "", 3, 0)}, nil, "removed a@1, removed b@2, removed c@0, removed d@3"},
		{"renamed", []Entry{entry("a", "", 0, 4)}, []Entry{entry("b", "", 0, 5)}, "renamed b@0<a"},
		{"renamed and more", []Entry{entry("a", "", 0, 4)}, []Entry{entry("b", "", 0, 7)}, "renamed b@0<a, triggered b@0 x2=7"},
		{"renamed without a table", []Entry{entry("a", "U", 0, 0)}, []Entry{entry("b", "U", 0, 0)}, "renamed b@0<a"},
		{"neither uuid nor event", []Entry{entry("a", "", 0, 0)}, []Entry{entry("b", "", 0, 0)}, "removed a@0, created b@0"},
		{"a new uuid and no event", []Entry{entry("a", "", 0, 0)}, []Entry{entry("b", "U", 0, 0)}, "removed a@0, created b@0"},
		{"another with the uuid", []Entry{entry("a", "U", 0, 3)}, []Entry{entry("b", "U", 0, 2)}, "removed a@0, created b@0"},
		{"another uuid", []Entry{entry("a", "U", 0, 3)}, []Entry{entry("a", "V", 0, 4)}, "removed a@0, created a@0"},
		{"the number wraps", []Entry{entry("a", "", 0, 1<<32-1)}, []Entry{entry("a", "", 0, 1)}, "triggered a@0 x2=1"},
		{"made under the old name", []Entry{entry("a", "", 1, 0)}, []Entry{entry("a", "", 0, 0), entry("b", "", 1, 1)}, "renamed b@1<a, created a@0"},
		{"renamed to one that went", []Entry{entry("a", "", 0, 0), entry("b", "", 1, 0)}, []Entry{entry("b", "", 0, 1)}, "removed b@1, renamed b@0<a"},
		{"a chain of renames", []Entry{entry("a", "", 0, 0), entry("b", "", 1, 0), entry("c", "", 2, 0)}, []Entry{entry("b", "", 0, 1), entry("c", "", 1, 1), entry("d", "", 2, 1)}, "renamed d@2<c, renamed c@1<b, renamed b@0<a"},
		{"traded names", []Entry{entry("a", "", 0, 0), entry("b", "", 1, 0)}, []Entry{entry("a", "", 1, 2), entry("b", "", 0, 1)}, "renamed b@0<a, renamed a@1<b, triggered a@1 x1=2"},
	} {
		if got := briefs(compare(index(tt.old), tt.now)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}
}

func TestUnreadEvents(t *testing.T) {
	ev := func(kind EventKind, name string, minor uint32) Event { return eventOf(kind, entry(name, "", minor, 0)) }
	trig := func(name string, minor, nr uint32) Event {
		e := eventOf(Triggered, entry(name, "", minor, nr))
		e.Count = 1
		return e
	}
	ren := func(from, to string, minor uint32) Event {
		e := ev(Renamed, to, minor)
		e.OldName = Name(from)
		return e
	}
	before := ev(Created, "a", 0)
	before.Initial = true
	for _, tt := range []struct {
		in   []Event
		want string
	}{
		{[]Event{trig("a", 0, 1), trig("b", 1, 1), trig("a", 0, 2), trig("b", 1, 2), trig("a", 0, 3)}, "triggered a@0 x3=3, triggered b@1 x2=2"},
		{[]Event{trig("a", 0, 1), ren("a", "b", 0), trig("b", 0, 3)}, "triggered a@0 x1=1, renamed b@0<a, triggered b@0 x1=3"},
		{[]Event{ev(Created, "a", 0), ev(Created, "b", 1), trig("a", 0, 1), ren("a", "c", 0), ev(Removed, "c", 0)}, "created b@1"},
		{[]Event{ev(Removed, "a", 0), ev(Created, "a", 0), ev(Removed, "a", 0), ev(Created, "c", 0), ev(Removed, "c", 0)}, "removed a@0"},
		{[]Event{trig("a", 0, 1), ev(Removed, "a", 0), ev(Created, "c", 0)}, "triggered a@0 x1=1, removed a@0, created c@0"},
		{[]Event{before, {Kind: Listed}, ev(Removed, "a", 0)}, "listed @0"},
	} {
		var s subscription
		s.add(tt.in...)
		batch, _ := s.take()
		if got := briefs(batch); got != tt.want {
			t.Errorf("%s: %q, want %q", briefs(tt.in), got, tt.want)
		}
		if again, _ := s.take(); len(again) != 0 || s.of != nil {
			t.Errorf("left: %v", again)
		}
	}
}

// Whatever happens to a few devices, a reader that does not come back keeps
// no more than a few events of each, and they still make sense.
func TestUnreadIsBounded(t *testing.T) {
	var s subscription
	s.ready = make(chan struct{}, 1)
	for i := range uint32(10000) {
		minor := i % 3
		name := func(n uint32) Name { return Name(fmt.Sprint(n)) }
		e := eventOf(Renamed, Entry{Name: name(i + 3), Dev: Dev{254, minor}, EventNr: 2 * i})
		e.OldName = name(i)
		s.add(e)
		e = eventOf(Triggered, Entry{Name: name(i + 3), Dev: Dev{254, minor}, EventNr: 2*i + 1})
		e.Count = 1
		s.add(e)
		if i%300 == 299 {
			gone := e
			gone.Kind = Removed
			made := e
			made.Kind = Created
			s.add(gone, made)
		}
		if n := s.queue.Len(); n > 3*(maxUnread+4) {
			t.Fatalf("%d events after %d rounds", n, i)
		}
	}
	batch, _ := s.take()
	names := map[Dev]Name{}
	for _, e := range batch {
		last, known := names[e.Dev]
		said := e.Name
		if e.Kind == Renamed {
			said = e.OldName
		}
		if known && last != said {
			t.Fatalf("%s behind %s", brief(e), last)
		}
		names[e.Dev] = e.Name
		if e.Kind == Removed {
			delete(names, e.Dev)
		}
	}
	for minor := range uint32(3) {
		if n := names[Dev{254, minor}]; n < "10000" || len(n) != 5 {
			t.Errorf("%d is %q at last", minor, n)
		}
	}
}

func TestEventKindText(t *testing.T) {
	if (Event{}).Kind == Created {
		t.Error("the zero Event is a creation")
	}
	var got []string
	for k := range EventKind(7) {
		got = append(got, k.String())
	}
	if want := []string{"none", "created", "removed", "renamed", "triggered", "listed", "event 6"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func openDouble(t *testing.T, k *dmtest.Kernel) *Client {
	t.Helper()
	c, err := Open(t.Context(), WithTransport(k.Transport()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// The devices at the start come by name and end with Listed, which an empty
// machine gives alone.
func TestListed(t *testing.T) {
	k := dmtest.New()
	c := openDouble(t, k)
	initial := func() string {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var got []Event
		for e, err := range c.Events(ctx, EventOptions{Initial: true}) {
			if err != nil || !e.Initial {
				t.Fatal(e, err)
			}
			if got = append(got, e); e.Kind == Listed {
				break
			}
		}
		return briefs(got)
	}
	if got := initial(); got != "listed @0" {
		t.Error(got)
	}
	for _, n := range []Name{"d", "b", "a", "c"} {
		if _, err := c.Create(t.Context(), n, nil, CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := initial(); got != "created a@2, created b@1, created c@3, created d@0, listed @0" {
		t.Error(got)
	}
}

// A device that is replaced while WaitEvent looks, by one whose number is
// the one waited on, must neither end the wait nor hold up ctx and Close.
func TestWaitEventReplaced(t *testing.T) {
	ctx := t.Context()
	k := dmtest.New()
	c, other := openDouble(t, k), openDouble(t, k)
	zero := Table{}.Append(8, Zero{})
	make1 := func() {
		if _, err := other.Create(ctx, "w", zero, CreateOptions{}); err != nil {
			t.Error(err)
		}
	}
	var once *sync.Once
	var replaced chan struct{}
	defer k.HookAfter(func(call *dmtest.Call) error {
		if call.Command == "DEV_WAIT" && call.EventNr < 1<<31 {
			t.Errorf("a wait in the kernel for %d, which a device can have", call.EventNr)
		}
		if call.Command == "DEV_STATUS" && call.Transport == c.t {
			once.Do(func() {
				if err := other.Remove(ctx, Name("w"), RemoveOptions{}); err != nil {
					t.Error(err)
				}
				make1()
				close(replaced)
			})
		}
		return nil
	})()
	begin := func(ctx context.Context) chan error {
		once, replaced = new(sync.Once), make(chan struct{})
		if err := k.Event("w"); err != nil { // 1, which differs
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			info, status, err := c.WaitEvent(ctx, Name("w"), 0)
			if err == nil && (info.EventNr != 1 || len(status) != 1) {
				err = fmt.Errorf("%+v %v", info, status)
			}
			ended <- err
		}()
		<-replaced // it has event number 0 now
		return ended
	}
	end := func(ended chan error) error {
		select {
		case err := <-ended:
			return err
		case <-time.After(10 * time.Second):
			t.Fatal("it hangs")
			return nil
		}
	}
	make1()
	ended := begin(ctx)
	select {
	case err := <-ended:
		t.Errorf("the number is 0 again, but the wait ended: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := k.Event("w"); err != nil {
		t.Fatal(err)
	}
	if err := end(ended); err != nil {
		t.Error(err)
	}
	short, cancel := context.WithCancel(ctx)
	ended = begin(short)
	cancel()
	if err := end(ended); !errors.Is(err, context.Canceled) || errors.Is(err, ErrPending) {
		t.Error(err)
	}
	ended = begin(ctx)
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	if err := end(closed); err != nil {
		t.Error(err)
	}
	if err := end(ended); !errors.Is(err, ErrClosed) || errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
