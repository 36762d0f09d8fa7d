// SPDX-License-Identifier: MIT

//go:build !linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
)

func run(*options) int {
	fmt.Fprintf(os.Stderr, "vmtest: needs Linux for QEMU's host and for apt, this is %s; the tests that need no VM run with go test ./...\n", runtime.GOOS)
	return exitError
}

func isolate(*exec.Cmd) {}
