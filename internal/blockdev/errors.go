// SPDX-License-Identifier: MIT

package blockdev

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// Sentinels. Every error of this package is an *Error; test it with errors.Is.
var (
	// ErrBusy means that somebody else holds the device: a mount, swap, a
	// device stacked on top, or another exclusive opener.
	ErrBusy = errors.New("device is in use")
	// ErrSignature means that a destructive call was refused because the
	// device carries something. The chain holds a *SignatureError.
	ErrSignature = errors.New("device carries a signature")
	// ErrReadOnly means that the device refuses writes, or that the handle
	// was opened without Options.Write.
	ErrReadOnly = errors.New("device is read-only")
	// ErrTooSmall means that a range reaches past the end of the device.
	ErrTooSmall = errors.New("device is too small")
	// ErrPending means that the context ended while the kernel itself was
	// blocking. The operation goes on by itself and Device.Close waits for it.
	ErrPending = errors.New("still going on in the kernel")
)

// Error is what every call of this package returns.
type Error struct {
	Op     string        // "open", "read", "zero", "probe", …
	Object string        // path, or "major:minor"
	Code   syscall.Errno // errno of the kernel, 0 when the error is ours
	Detail string        // what else is known: the holder, the offset, the length
	Err    error         // cause; an errno, a sentinel, a *SignatureError, a *ReadError
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("blockdev: ")
	b.WriteString(e.Op)
	if e.Object != "" {
		b.WriteString(" ")
		b.WriteString(e.Object)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	if e.Detail != "" {
		b.WriteString(" (")
		b.WriteString(e.Detail)
		b.WriteString(")")
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is maps the errno to the sentinels of this package and of io/fs. What
// syscall.Errno maps by itself (ENOENT, EEXIST, EACCES, EPERM, ENOSYS,
// EOPNOTSUPP) arrives by way of Unwrap.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrBusy:
		return e.Code == syscall.EBUSY
	case ErrReadOnly:
		return e.Code == syscall.EROFS
	case fs.ErrNotExist:
		// A node without a driver behind it answers ENXIO or ENODEV.
		return e.Code == syscall.ENOENT || e.Code == syscall.ENXIO || e.Code == syscall.ENODEV
	case errors.ErrUnsupported:
		// An ioctl that the driver does not know answers ENOTTY.
		return e.Code == syscall.ENOTTY
	}
	return false
}

// newError wraps err; an errno anywhere in it becomes Code, and a *fs.PathError
// is peeled off because Op and Object already say what it says.
func newError(op, object string, err error) *Error {
	e := &Error{Op: op, Object: object, Err: err}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		e.Err = pe.Err
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		e.Code = errno
	}
	return e
}

// errorf is newError with a formatted Detail.
func errorf(op, object string, err error, format string, a ...any) *Error {
	e := newError(op, object, err)
	e.Detail = fmt.Sprintf(format, a...)
	return e
}

// SignatureError lists what stands in the way of a destructive call.
// errors.Is(err, ErrSignature) holds for it.
type SignatureError struct {
	Signatures []Signature
	Err        error // regions that could not be read, nil when there are none
}

// Error names every signature with its offset.
func (e *SignatureError) Error() string {
	names := make([]string, len(e.Signatures))
	for i, s := range e.Signatures {
		names[i] = s.String()
	}
	s := ErrSignature.Error() + ": " + strings.Join(names, ", ")
	if e.Err != nil {
		s += "; and " + e.Err.Error()
	}
	return s
}

// Unwrap gives the read errors.
func (e *SignatureError) Unwrap() error { return e.Err }

// Is makes ErrSignature match.
func (e *SignatureError) Is(target error) bool { return target == ErrSignature }

// ReadError is a region that Probe could not read; what lies there is unknown.
type ReadError struct {
	Offset int64 // bytes from the start of the device
	Length int64 // bytes
	Err    error
}

// Error implements error.
func (e *ReadError) Error() string {
	return fmt.Sprintf("read %d bytes at offset %d: %v", e.Length, e.Offset, e.Err)
}

// Unwrap gives the cause.
func (e *ReadError) Unwrap() error { return e.Err }
