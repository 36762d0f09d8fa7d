// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// top is one run: the devices and the regions in which their I/O is counted.
type top struct {
	*dm.Client
	host
	options
	warn io.Writer

	devices map[dm.Dev]*device
	made    chan made      // regions that are ready
	beside  sync.WaitGroup // what runs beside the loop
}

// device is one that is shown.
type device struct {
	name   dm.Name
	dev    dm.Dev
	region dm.StatsRegion
	counts bool      // the region is there
	making bool      // and will be
	since  time.Time // of the last print
}

// made is a region that was asked for, or why there is none.
type made struct {
	d      *device
	region dm.StatsRegion
	err    error
}

// sample is what a device did in an interval.
type sample struct {
	name     dm.Name
	dev      dm.Dev
	at       time.Time
	interval time.Duration
	dm.StatsCounters
}

const program = "dmtop"

// wholeDevice is a region that covers a device however large it gets: one
// made of its size today would not see what a later table adds.
var wholeDevice = dm.StatsOptions{Length: 1 << 54, Areas: 1, Precise: true, Program: program}

// happened takes note of an event.
func (t *top) happened(ctx context.Context, e dm.Event) {
	d := t.devices[e.Dev]
	switch e.Kind {
	case dm.Created, dm.Renamed:
		switch {
		case !t.wanted(e.Name):
			if d != nil {
				t.forget(ctx, d)
			}
		case d != nil && e.Kind == dm.Renamed:
			d.name = e.Name
		default:
			d = &device{name: e.Name, dev: e.Dev}
			t.devices[e.Dev] = d
			t.begin(ctx, d)
		}
	case dm.Removed:
		delete(t.devices, e.Dev) // its regions went with it
	}
}

// begin asks for the region of a device, beside the loop: the kernel waits
// for the I/O in flight, and on a device that hangs that is for ever.
func (t *top) begin(ctx context.Context, d *device) {
	d.making, d.counts = true, false
	dev := d.dev
	t.beside.Go(func() {
		m := made{d: d}
		if m.err = t.sweep(ctx, dev); m.err == nil {
			o := wholeDevice
			o.Aux = t.owner
			m.region, m.err = t.StatsCreate(ctx, dev, o)
		}
		select {
		case t.made <- m:
		case <-ctx.Done():
			if m.err == nil {
				t.drop(dev, m.region)
			}
		}
	})
}

// sweep deletes the regions of dmtops that are no more.
func (t *top) sweep(ctx context.Context, dev dm.Dev) error {
	regions, err := t.StatsList(ctx, dev, program)
	for _, r := range regions {
		if t.dead(r.Aux) {
			if err := t.StatsDelete(ctx, dev, r); err != nil && !gone(err) {
				return err
			}
		}
	}
	return err
}

// ready takes a region over.
func (t *top) ready(m made) error {
	m.d.making = false
	switch {
	case gone(m.err): // the event that says so is under way
	case m.err != nil:
		return m.err
	case t.devices[m.d.dev] != m.d:
		t.drop(m.d.dev, m.region)
	default:
		m.d.region, m.d.counts, m.d.since = m.region, true, t.now()
	}
	return nil
}

// forget stops showing a device that is still there.
func (t *top) forget(_ context.Context, d *device) {
	delete(t.devices, d.dev)
	if d.counts {
		t.drop(d.dev, d.region)
	}
}

// drop deletes a region whatever has happened to ctx.
func (t *top) drop(dev dm.Dev, r dm.StatsRegion) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := t.StatsDelete(ctx, dev, r); err != nil && !gone(err) {
		fmt.Fprintf(t.warn, "dmtop: %v\n", err)
	}
}

// sample prints and clears all regions.
func (t *top) sample(ctx context.Context) ([]sample, error) {
	var list []sample
	for _, d := range t.devices {
		switch {
		case d.making:
			continue
		case !d.counts: // it was gone, and the device is not
			t.begin(ctx, d)
			continue
		}
		areas, err := t.StatsPrint(ctx, d.dev, d.region, dm.StatsPrintOptions{Clear: true})
		switch {
		case gone(err):
			d.counts = false
		case err != nil:
			return nil, err
		default:
			now := t.now()
			s := sample{name: d.name, dev: d.dev, at: now, interval: now.Sub(d.since)}
			for _, a := range areas {
				s.StatsCounters = s.Add(a.StatsCounters)
			}
			d.since = now
			list = append(list, s)
		}
	}
	return list, nil
}

// cleanUp waits for what runs beside the loop, whose context has ended, and
// deletes the regions.
func (t *top) cleanUp() error {
	t.beside.Wait()
	var failed []error
	for _, d := range t.devices {
		if !d.counts {
			continue
		}
		if err := t.StatsDelete(context.Background(), d.dev, d.region); err != nil && !gone(err) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}
