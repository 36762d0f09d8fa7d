// SPDX-License-Identifier: MIT

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// screenOf asks for the size of a terminal; ok is false for what is none.
func screenOf(f *os.File) (s screen, ok bool) {
	w, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return screen{}, false
	}
	if w.Col == 0 || w.Row == 0 { // a serial line that does not know
		return screen{80, 24}, true
	}
	return screen{int(w.Col), int(w.Row)}, true
}
