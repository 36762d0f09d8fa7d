// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/linuxblock/linuxblock/internal/vmtest/kmod"
)

// modprobe does what the kernel, lvm and drbdadm ask of the real one:
// modprobe [-abqsv] [-r] [--] name [parameter=value...]. It returns the exit
// status.
func modprobe(args []string, stderr io.Writer) int {
	var quiet, remove, all, dry bool
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			break
		}
		if strings.HasPrefix(arg, "--") {
			arg = map[string]string{"--quiet": "q", "--remove": "r", "--all": "a", "--dry-run": "n"}[arg]
		}
		for _, c := range strings.TrimPrefix(arg, "-") {
			switch c {
			case 'q':
				quiet = true
			case 'r':
				remove = true
			case 'a':
				all = true
			case 'n':
				dry = true
			}
		}
	}
	if len(args) == 0 {
		fmt.Fprintln(stderr, "modprobe: no module named")
		return 1
	}
	names, params := args[:1], strings.Join(args[1:], " ")
	if all || remove {
		names, params = args, ""
	}
	l, err := kmod.Open()
	if err != nil {
		fmt.Fprintln(stderr, "modprobe:", err)
		return 1
	}
	status := 0
	for _, name := range names {
		switch {
		case dry:
			_, err = l.Index.Resolve(name)
		case remove:
			err = kmod.Unload(name)
		default:
			err = l.Load(name, params)
		}
		if err != nil {
			if !quiet || !errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintln(stderr, "modprobe:", err)
			}
			status = 1
		}
	}
	return status
}
