// SPDX-License-Identifier: MIT

// Command tour shows what linuxblock does, step by step, and checks each
// step.
//
//	go run ./examples/tour        # on doubles in memory: no root, any system
//	go run ./examples/tour -vm    # the same on a real kernel, in a virtual machine
//
// The first column of each line says what is real: "image" is a value or an
// image in memory alone, "double" a double of the kernel's driver that speaks
// its bytes, "kernel" the running Linux kernel. At the end one table lists
// the steps, how long they took and what was verified. The exit status is 1
// when anything was not as it should be.
//
// The file of each chapter reads as an example of its package.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/linuxblock/linuxblock/internal/vmtest"
)

func main() {
	vm := flag.Bool("vm", false, "run on a real kernel, in a virtual machine that is started for it")
	kernel := flag.Bool("kernel", false, "run on this machine's kernel; only inside the virtual machine")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: tour [-vm]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(start(ctx, *vm, *kernel))
}

func start(ctx context.Context, vm, kernel bool) int {
	switch {
	case kernel && !vmtest.InVM():
		fmt.Fprintln(os.Stderr, "tour: -kernel overwrites /dev/ram0 to /dev/ram3, so it wants the virtual machine: use -vm")
		return 2
	case kernel || vm && vmtest.InVM():
		return tour(ctx, os.Stdout, newKernel(), chapters())
	case vm:
		// The same chapters, by the name under which the package's tests run them.
		return vmtest.RunMain(ctx, "github.com/linuxblock/linuxblock/examples/tour", "TestTourKernel", os.Stdout, os.Stderr)
	}
	return tour(ctx, os.Stdout, newDouble(), chapters())
}

// chapters are told in this order.
func chapters() []chapter {
	return []chapter{&dmChapter{}, &raidChapter{}}
}
