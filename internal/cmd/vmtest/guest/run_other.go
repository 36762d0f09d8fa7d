// SPDX-License-Identifier: MIT

//go:build !linux

package main

import (
	"fmt"
	"os"
)

func run() {
	fmt.Fprintln(os.Stderr, "guest: runs on Linux only")
	os.Exit(2)
}
