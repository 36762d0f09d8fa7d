// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// host is what dmtop runs on: the kernel, the clock, the terminal and the
// process table, or a test's.
type host struct {
	open   func(ctx context.Context, opts ...dm.Option) (*dm.Client, error)
	now    func() time.Time
	tick   func(d time.Duration) (c <-chan time.Time, stop func())
	owner  string                     // what tells this process from all others
	dead   func(owner string) bool    // whether that of another is gone
	screen func() (s screen, ok bool) // the terminal as it is now, if it is one
}

// options are the command line.
type options struct {
	interval time.Duration
	rounds   int
	json     bool
	names    []dm.Name // all devices when empty
}

const usage = `usage: dmtop [-i interval] [-n rounds] [-json] [device…]

  -i interval  how long to count between two tables: 1s, 500ms, or seconds
  -n rounds    end after so many tables
  -json        an object a line for each device and interval

Devices are names as dmsetup prints them, or paths below /dev/mapper.
`

func parse(args []string) (o options, err error) {
	o.interval = time.Second
	f := flag.NewFlagSet("dmtop", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Func("i", "", func(s string) (err error) {
		if n, ferr := strconv.ParseFloat(s, 64); ferr == nil {
			s = strconv.FormatFloat(n, 'f', -1, 64) + "s"
		}
		if o.interval, err = time.ParseDuration(s); err == nil && o.interval < 10*time.Millisecond {
			err = errors.New("below 10ms")
		}
		return err
	})
	f.IntVar(&o.rounds, "n", 0, "")
	f.BoolVar(&o.json, "json", false, "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.rounds < 0 {
		return o, errors.New("negative number of rounds")
	}
	for _, a := range f.Args() {
		name, err := dm.Mangle(strings.TrimPrefix(a, "/dev/mapper/"), dm.MangleAuto)
		if err != nil {
			return o, err
		}
		o.names = append(o.names, name)
	}
	return o, nil
}

// run is dmtop from its command line to its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, h host) int {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		io.WriteString(stdout, usage)
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "dmtop: %v\n%s", err, usage)
		return 2
	}
	if err := runTop(ctx, o, stdout, h); err != nil {
		fmt.Fprintf(stderr, "dmtop: %s\n", strings.TrimPrefix(err.Error(), "dm: "))
		return 1
	}
	return 0
}

func runTop(ctx context.Context, o options, stdout io.Writer, h host) (err error) {
	c, err := h.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, n := range o.names {
		if _, err := c.Info(ctx, n); err != nil {
			return err
		}
	}
	t := &top{Client: c, host: h, options: o, devices: map[dm.Dev]*device{}, touched: map[dm.Dev]bool{}, made: make(chan made)}
	v := newView(stdout, o, h.screen)
	// From here on ctx ends what runs beside the loop, too.
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		err = errors.Join(err, t.cleanUp())
	}()
	return t.loop(ctx, v)
}

// loop waits for what happens: all state is its own.
func (t *top) loop(ctx context.Context, v *view) error {
	events := t.events(ctx)
	ticks, stop := t.tick(t.interval)
	defer stop()
	for round := 0; t.rounds == 0 || round < t.rounds; {
		select {
		case <-ctx.Done():
			return nil
		case e := <-events:
			if e.err != nil {
				return stopped(ctx, e.err)
			}
			if err := t.happened(ctx, e.Event); err != nil {
				return stopped(ctx, err)
			}
		case m := <-t.made:
			if err := t.ready(ctx, m); err != nil {
				return stopped(ctx, err)
			}
		case <-ticks:
			samples, err := t.sample(ctx)
			if err != nil {
				return stopped(ctx, err)
			}
			if err := v.show(samples); err != nil {
				return err
			}
			round++
		}
	}
	return nil
}

// stopped drops the error of a call that ^C ended.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// event is one of the stream, or its end.
type event struct {
	dm.Event
	err error
}

// events has the stream of events as a channel.
func (t *top) events(ctx context.Context) <-chan event {
	c := make(chan event)
	t.beside.Go(func() {
		for e, err := range t.Events(ctx, dm.EventOptions{Initial: true}) {
			select {
			case c <- event{e, err}:
			case <-ctx.Done():
				return
			}
		}
	})
	return c
}

// wanted says whether the command line asks for a device.
func (t *top) wanted(n dm.Name) bool { return len(t.names) == 0 || slices.Contains(t.names, n) }

// gone says that a device or a region is not there any more.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
