// SPDX-License-Identifier: MIT

package dmraid

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/linuxblock/linuxblock/dm"
)

// Errors that callers can test for with errors.Is, beside those of package dm
// and those of package fs.
var (
	// ErrTable says that a table breaks a rule of the kernel; nothing was
	// changed.
	ErrTable = errors.New("bad raid table")
	// ErrCorrupt says that a superblock, a bitmap or a status line can't be
	// decoded.
	ErrCorrupt = errors.New("corrupt")
	// ErrForeign says that what was found is no superblock of this target.
	ErrForeign = errors.New("no dm-raid superblock")
	// ErrMixed says that superblocks are not of one array.
	ErrMixed = errors.New("superblocks of different arrays")
	// ErrTrap says that the kernel would do it, and data could be lost: the
	// caller must name the trap to go on.
	ErrTrap = errors.New("refused: data would be at risk")
	// ErrState says that the array is not in a state that allows the call:
	// degraded, syncing, reshaping.
	ErrState = errors.New("the array is not in a state for this")
	// ErrDegraded says that more legs are missing than the level bears.
	ErrDegraded = errors.New("too many legs are missing")
)

// Error is the error of every call of this package.
type Error struct {
	Op     string // the call: "check", "superblock", "replace", …
	Object string // device, leg or array
	// Code is the kernel's answer, or the one that it would have given; 0
	// when there is none.
	Code syscall.Errno
	// Detail is the reason. For a table it is the kernel's own text.
	Detail string
	Err    error // the cause, such as one of the errors above
}

// Error prints "dmraid: op object: detail: cause".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("dmraid: " + e.Op)
	if e.Object != "" {
		b.WriteString(" " + e.Object)
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is matches fs.ErrNotExist, fs.ErrPermission and dm.ErrBusy by the Code, and
// the Code itself.
func (e *Error) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		return e.Code == 6 || e.Code == 2 // ENXIO, ENOENT
	case fs.ErrPermission:
		return e.Code == 1 || e.Code == 13 // EPERM, EACCES
	case dm.ErrBusy:
		return e.Code == ebusy
	}
	code, ok := target.(syscall.Errno)
	return ok && code == e.Code && code != 0
}
