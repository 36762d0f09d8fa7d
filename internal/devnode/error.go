// SPDX-License-Identifier: MIT

package devnode

import (
	"errors"
	"strings"
	"syscall"
)

var (
	// ErrForeign: what lies under the name is not a node or link of this device
	// and was left alone.
	ErrForeign = errors.New("not a device-mapper node of ours")
	// ErrName: the name can't be a file's name below /dev/mapper, or is the
	// control node's.
	ErrName = errors.New("name cannot be a node")
)

// Error is what every method here returns on failure. It matches
// fs.ErrNotExist, fs.ErrPermission, errors.ErrUnsupported and the sentinels of
// this package through errors.Is.
type Error struct {
	Op     string // "create", "rename", "remove", …
	Object string // path or name
	Code   int    // errno, 0 when there is none
	Detail string // may be empty
	Err    error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("node: " + e.Op)
	if e.Object != "" {
		b.WriteString(" " + e.Object)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

func fail(op, object string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Object: object, Err: err}
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		e.Code = int(no)
	}
	return e
}
