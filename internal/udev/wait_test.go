// SPDX-License-Identifier: MIT

package udev

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"
)

// A wait in the kernel ends with ctx and not only with its slice.
func TestWaitWakes(t *testing.T) {
	defer func(d time.Duration) { slice = d }(slice)
	slice = 5 * time.Minute
	for _, after := range []time.Duration{0, 30 * time.Millisecond} { // before and within the wait
		c := newCookie(t)
		if err := c.Add(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		if after == 0 {
			cancel()
		}
		defer time.AfterFunc(after, cancel).Stop()
		start := time.Now()
		if out, err := c.Wait(ctx); out != 0 || !errors.Is(err, context.Canceled) {
			t.Error(out, err)
		}
		if d := time.Since(start); d > time.Minute {
			t.Error("woke after", d)
		}
		if _, err := Inspect(c.Key()); !errors.Is(err, fs.ErrNotExist) {
			t.Error("still there:", err)
		}
		if n := len(slots); n != 0 {
			t.Errorf("%d slots are taken", n)
		}
	}
}

// Keys that somebody else has are passed over; the last word is Dropped when
// there is no other.
func TestTakenKeys(t *testing.T) {
	taken := newCookie(t)
	defer func(f func() uint16) { pick = f }(pick)
	misses := 0
	pick = func() uint16 {
		if misses--; misses < 0 {
			return randomBase()
		}
		return taken.Base()
	}
	var seen []Stage
	note := func(s Stage, _ uint32, _ int) error {
		seen = append(seen, s)
		return nil
	}
	misses = 2
	c, err := New(note)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Destroy()
	if !slices.Equal(seen[:3], []Stage{Intended, Intended, Intended}) || seen[len(seen)-1] != Made {
		t.Error(seen)
	}
	seen, misses = nil, tries
	if _, err := New(note); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
	if len(seen) != tries+1 || seen[tries] != Dropped {
		t.Error(seen)
	}
}
