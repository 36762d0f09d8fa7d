// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// watch collects events in the background. It begins with the devices that
// are there, so that it does not matter when it gets going.
func (c *dmChapter) watch(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	c.events = make(chan dm.Event, 1000)
	var done sync.WaitGroup
	done.Go(func() {
		defer close(c.events)
		for e, err := range c.client.Events(ctx, dm.EventOptions{Initial: true}) {
			if err != nil {
				return
			}
			if e.Kind != dm.Listed { // of no device
				c.events <- e
			}
		}
	})
	c.stopWatch = func() { cancel(); done.Wait() }
}

// see waits until the stream has told of something. It tells of what it
// finds when it looks: who removes a device at once is too quick for it.
func (c *dmChapter) see(ctx context.Context, want string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for !slices.Contains(c.seen, want) {
		select {
		case e, open := <-c.events:
			if !open {
				return mismatch("the stream of events ended, without %q", want)
			}
			c.seen = append(c.seen, e.Kind.String()+" "+e.Name.String())
		case <-ctx.Done():
			return mismatch("no event %q, but %q", want, c.seen)
		}
	}
	return nil
}

func (c *dmChapter) told(ctx context.Context) (string, error) {
	for _, name := range []dm.Name{"tour-small", "tour-cow"} {
		if err := c.client.Remove(ctx, name, dm.RemoveOptions{Retries: 24}); err != nil {
			return "", err
		}
		if err := c.see(ctx, "removed "+name.String()); err != nil {
			return "", err
		}
	}
	for _, want := range []string{"created tour-data", "created tour-real", "created tour-snap", "renamed tour-yesterday"} {
		if !slices.Contains(c.seen, want) {
			return "", mismatch("no event %q in %q", want, c.seen)
		}
	}
	for _, e := range c.seen {
		c.s.say("%s", e)
	}
	return "creation, overflow, rename and removal were all told", nil
}
