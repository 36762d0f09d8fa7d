// SPDX-License-Identifier: MIT

// Command dmctl drives device-mapper by hand, as dmsetup does, without
// libdevmapper. It is an example of package dm that is of use: each
// sub-command is a few lines around one call of the library.
//
//	dmctl create lin --table '0 8192 linear /dev/ram0 0'
//	dmctl table
//	dmctl --dump status lin
//	dmctl events
//
// dmctl help lists the rest. With --dump every ioctl is shown, what was sent
// and what came back, without the keys in it. With --json commands that list
// something print JSON.
//
// Exit status: 0 done, 1 refused or failed, 2 bad command line, 3 no such
// device, 4 the name is taken, 5 the device is in use, 6 no permission,
// 130 interrupted.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/linuxblock/linuxblock/dm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, dm.Open)
	stop()
	os.Exit(code)
}
