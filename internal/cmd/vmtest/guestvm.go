// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/linuxblock/linuxblock/internal/cmd/vmtest/wire"
)

var errTimeout = errors.New("the VM ran longer than -vm-timeout allows")

const (
	// bootTime is how long a VM may take until init reports. On a busy host,
	// emulation has been seen to take more than a minute.
	bootTime = 5 * time.Minute
	// offTime is how long it may take to power off afterwards.
	offTime = 20 * time.Second
	// tailLines is how much of the console is shown when something is wrong.
	tailLines = 60
)

// guestVM is a VM while it runs tests, and the report of them.
type guestVM struct {
	m     *machine
	log   *tracer
	label string
	r     *reporter
	err   error // of vmtest itself, not of a test

	hello bool
	done  bool
	stuck bool  // the last binary cannot be killed
	shown int64 // console offset where the current package began
}

type frame struct {
	t   wire.Type
	p   []byte
	err error
}

// run boots the VM, reports its packages and returns when it is off.
func (g *guestVM) run(ctx context.Context) {
	begin := time.Now()
	// QEMU is not bound to ctx: when the time is over, the VM is asked for
	// the stacks of its tasks first.
	life, cancel := context.WithCancel(context.Background())
	defer cancel()
	vm, err := g.m.start(life, true)
	if err != nil {
		g.err = err
		return
	}
	defer vm.conn.Close()
	frames := make(chan frame)
	go read(vm.conn, frames, vm.exited)
	boot := time.NewTimer(bootTime)
	defer boot.Stop()
	why := ""
loop:
	for {
		select {
		case f := <-frames:
			if f.err != nil {
				break loop
			}
			if err := g.take(f); err != nil {
				g.err = err
				break loop
			}
			if g.hello && boot.Stop() {
				g.log.trace("booted %s%s in %.1fs", g.m.kernel.Release, g.label, time.Since(begin).Seconds())
			}
			if g.done {
				break loop
			}
		case <-boot.C:
			why = fmt.Sprintf("no word from the VM's init after %v", bootTime)
			break loop
		case <-ctx.Done():
			why = context.Cause(ctx).Error()
			if errors.Is(ctx.Err(), context.Canceled) {
				why = "interrupted"
			} else {
				g.dump(vm.conn, frames)
			}
			break loop
		}
	}
	if g.done {
		select {
		case <-vm.exited:
		case <-time.After(offTime):
			g.log.say("the VM did not power off within %v; killed%s", offTime, g.label)
		}
		g.log.trace("VM off%s after %.1fs", g.label, time.Since(begin).Seconds())
	} else if why == "" {
		// The port is gone; let QEMU write the rest of the console.
		select {
		case <-vm.exited:
		case <-time.After(5 * time.Second):
		}
	}
	vm.kill()
	<-vm.exited
	g.finish(why, vm.err)
}

// read passes frames on until the port is closed or QEMU has ended.
func read(c net.Conn, frames chan<- frame, exited <-chan struct{}) {
	for {
		t, p, err := wire.Read(c)
		select {
		case frames <- frame{t, p, err}:
		case <-exited:
			// Whatever is still in the socket is read before this is chosen
			// for ever: the receiver goes on until an error comes.
			select {
			case frames <- frame{t, p, err}:
			case <-time.After(2 * time.Second):
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// take handles one frame.
func (g *guestVM) take(f frame) error {
	switch f.t {
	case wire.Hello:
		var h wire.Greeting
		if err := json.Unmarshal(f.p, &h); err != nil {
			return err
		}
		g.hello = true
	case wire.Log:
		g.log.say("%s%s", f.p, g.label)
	case wire.Start:
		var b wire.Begin
		if err := json.Unmarshal(f.p, &b); err != nil {
			return err
		}
		_, g.shown = g.m.console().from(g.shown)
		return g.r.start(g.position(b.Index))
	case wire.Output:
		g.r.output(f.p)
	case wire.End:
		var res wire.Result
		if err := json.Unmarshal(f.p, &res); err != nil {
			return err
		}
		g.end(res)
	case wire.Done:
		g.done = true
	}
	return nil
}

// position turns init's number of a package into that of the list, which also
// has packages without a binary.
func (g *guestVM) position(n int) int {
	for i, p := range g.r.list {
		if p.Binary == "" {
			continue
		}
		if n == 0 {
			return i
		}
		n--
	}
	return len(g.r.list) - 1
}

func (g *guestVM) end(res wire.Result) {
	text, offset := g.m.console().from(g.shown)
	g.shown = offset
	failed := res.Code != 0 || res.Stuck
	if t := findTrouble(text, tailLines); t != nil {
		// A warning of the kernel is worth a look, but many drivers warn
		// where they mean to inform.
		g.log.say("%s%s: %s: %s", g.r.list[g.position(res.Index)].ImportPath, g.label, t.name, t.line)
		if failed {
			g.log.lines("console", t.tail)
		}
	} else if res.Stuck {
		g.log.lines("console", tailOf(text, tailLines))
	}
	g.stuck = res.Stuck
	g.r.end(res)
}

// dump asks init for the stacks of what hangs, and gives the VM a moment to
// print them.
func (g *guestVM) dump(c net.Conn, frames <-chan frame) {
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write([]byte{wire.Dump})
	after := time.After(3 * time.Second)
	for {
		select {
		case f := <-frames:
			if f.err != nil || g.take(f) != nil {
				return
			}
		case <-after:
			return
		}
	}
}

// finish reports what was not run, and why.
func (g *guestVM) finish(why string, qemu error) {
	var text []string
	reason := "an earlier package stopped the run"
	if !g.done {
		log, _ := g.m.console().from(0)
		t := findTrouble(log, tailLines)
		switch {
		case why != "":
			reason = why
			text = tailOf(log, tailLines)
		case t != nil:
			reason = t.name
			text = t.tail
			why = t.name + ": " + t.line
		case qemu != nil:
			reason = "QEMU failed"
			why = qemu.Error()
			text = tailOf(log, tailLines)
		default:
			reason = "the VM ended early"
			why = "the VM ended without a word"
			text = tailOf(log, tailLines)
		}
		g.r.failed = true
	} else if g.stuck {
		reason = "the VM is stuck"
	} else if g.m.o.failFast {
		reason = "-failfast"
	}
	if g.m.o.shell {
		g.r.failed = false
		return
	}
	if !g.done {
		said := []string{"vmtest: " + why}
		if len(text) > 0 {
			said = append(said, "vmtest: the console's last lines:")
			for _, l := range text {
				said = append(said, "    | "+l)
			}
		}
		if g.r.current != nil {
			g.r.die(said)
		} else {
			// It died between two packages, or before the first.
			g.log.say("%s%s", strings.TrimPrefix(strings.Join(said, "\n"), "vmtest: "), g.label)
		}
	}
	g.r.upTo(len(g.r.list), reason)
}
