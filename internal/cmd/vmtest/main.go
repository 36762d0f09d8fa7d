// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

// Exit statuses. go test has 1 for failed tests and 2 for everything else.
const (
	exitOK     = 0
	exitFailed = 1
	exitError  = 2
)

func main() {
	o, err := parseArgs(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(exitOK)
	case errors.Is(err, errUsage):
		os.Exit(exitError)
	case err != nil:
		fmt.Fprintln(os.Stderr, "vmtest:", err)
		os.Exit(exitError)
	}
	os.Exit(run(o))
}
