// SPDX-License-Identifier: MIT

// Command dmtop shows the live I/O of device-mapper devices, as iostat does
// for disks, from the statistics that the driver itself keeps. It is an
// example of package dm: statistics, events, and cleaning up.
//
//	dmtop                  all devices, busiest first, every second
//	dmtop -i 5s -n 12 root home
//	dmtop -json | jq .
//
// On a terminal it draws a table anew each time; otherwise it prints a line a
// device and interval. Devices that come are picked up, and those that go are
// dropped, when the kernel says so.
//
// For each device dmtop asks the kernel for a region of its own, so that it
// gets in nobody's way, and deletes it when it ends. A region left by a dmtop
// that was killed is deleted by the next one.
//
// Exit status: 0 done or interrupted, 1 failed, 2 bad command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr, host{
		open: dm.Open, now: time.Now, tick: ticker, owner: self(), dead: dead,
		screen: func() (screen, bool) { return screenOf(os.Stdout) },
	})
	stop()
	os.Exit(code)
}

// ticker gives the time every d until it is stopped.
func ticker(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTicker(d)
	return t.C, t.Stop
}
