// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// top is one run: the devices and the regions in which their I/O is counted.
type top struct {
	*dm.Client
	host
	options

	devices map[dm.Dev]*device
	touched map[dm.Dev]bool // where there may be a region of ours
	made    chan made       // regions that are ready
	beside  sync.WaitGroup  // what runs beside the loop
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
func (t *top) happened(ctx context.Context, e dm.Event) error {
	d := t.devices[e.Dev]
	switch e.Kind {
	case dm.Created, dm.Renamed:
		switch {
		case !t.wanted(e.Name):
			if d != nil {
				delete(t.devices, e.Dev)
				return t.leave(ctx, e.Dev)
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
	return nil
}

// begin asks for the region of a device, beside the loop: the kernel waits
// for the I/O in flight, and on a device that hangs that is for ever.
func (t *top) begin(ctx context.Context, d *device) {
	d.making, d.counts = true, false
	t.touched[d.dev] = true
	dev := d.dev
	t.beside.Go(func() {
		m := made{d: d}
		if m.err = t.sweep(ctx, dev, nil); m.err == nil {
			o := wholeDevice
			o.Aux = t.owner
			m.region, m.err = t.StatsCreate(ctx, dev, o)
		}
		select {
		case t.made <- m:
		case <-ctx.Done(): // cleanUp finds it
		}
	})
}

// sweep deletes the regions on a device of dmtops that are no more, and our
// own but the one to keep. It looks at the list: the device behind a number
// may be another one by now, on which somebody else has that region.
func (t *top) sweep(ctx context.Context, dev dm.Dev, keep *device) error {
	regions, err := t.StatsList(ctx, dev, program)
	for _, r := range regions {
		ours := r.Aux == t.owner && (keep == nil || !keep.counts || keep.region.ID != r.ID)
		if !ours && !t.dead(r.Aux) {
			continue
		}
		if err := t.StatsDelete(ctx, dev, r); err != nil && !gone(err) {
			return err
		}
	}
	return err
}

// ready takes a region over.
func (t *top) ready(ctx context.Context, m made) error {
	m.d.making = false
	switch {
	case gone(m.err): // the event that says so is under way
	case m.err != nil:
		return m.err
	case t.devices[m.d.dev] != m.d: // it was dropped meanwhile
		return t.leave(ctx, m.d.dev)
	default:
		m.d.region, m.d.counts, m.d.since = m.region, true, t.now()
	}
	return nil
}

// leave deletes our region on a device that is not shown; one that is
// keeps its own.
func (t *top) leave(ctx context.Context, dev dm.Dev) error {
	if err := t.sweep(ctx, dev, t.devices[dev]); err != nil && !gone(err) {
		return err
	}
	return nil
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
	clear(t.devices) // none is kept
	for dev := range t.touched {
		failed = append(failed, t.leave(context.Background(), dev))
	}
	return errors.Join(failed...)
}
