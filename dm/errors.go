// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
)

// Errors that callers can test for with errors.Is. Further ones are
// fs.ErrNotExist (no such device), fs.ErrExist (the name or the uuid is
// taken), fs.ErrPermission and errors.ErrUnsupported.
var (
	// ErrBusy says that the device, or one that a table wants, is in use.
	ErrBusy = errors.New("device is busy")
	// ErrPending says that the call was cancelled while the kernel itself
	// blocked. The change is completed or rolled back in the background;
	// Close waits for it. Other changes of the same device should wait too:
	// calls on one device are not put in order.
	ErrPending = errors.New("still pending in the kernel")
	// ErrClosed says that the client is closed.
	ErrClosed = errors.New("client is closed")
	// ErrBadName says that a name, a uuid or a device number can't be one.
	ErrBadName = errors.New("bad name")
	// ErrBadTable says that a table breaks a rule of the kernel; nothing
	// was changed.
	ErrBadTable = errors.New("bad table")
	// ErrCorrupt says that an answer of the kernel can't be decoded.
	ErrCorrupt = errors.New("corrupt answer")
	// ErrRefused says that a destructive call was not forced, or that a
	// suspend would stop this very program.
	ErrRefused = errors.New("refused")
)

// Linux's numbers, which a double uses on every operating system.
const (
	eperm   = syscall.Errno(1)
	enoent  = syscall.Errno(2)
	eintr   = syscall.Errno(4)
	enxio   = syscall.Errno(6)
	eacces  = syscall.Errno(13)
	ebusy   = syscall.Errno(16)
	eexist  = syscall.Errno(17)
	enodev  = syscall.Errno(19)
	einval  = syscall.Errno(22)
	enotty  = syscall.Errno(25)
	enosys  = syscall.Errno(38)
	enodata = syscall.Errno(61)
)

// errnoNames covers what the device-mapper drivers answer.
var errnoNames = map[syscall.Errno]string{
	1: "EPERM", 2: "ENOENT", 4: "EINTR", 5: "EIO", 6: "ENXIO", 7: "E2BIG", 9: "EBADF",
	11: "EAGAIN", 12: "ENOMEM", 13: "EACCES", 14: "EFAULT", 15: "ENOTBLK", 16: "EBUSY", 17: "EEXIST",
	19: "ENODEV", 22: "EINVAL", 23: "ENFILE", 24: "EMFILE", 25: "ENOTTY", 27: "EFBIG",
	28: "ENOSPC", 29: "ESPIPE", 30: "EROFS", 34: "ERANGE", 38: "ENOSYS", 61: "ENODATA",
	74: "EBADMSG", 75: "EOVERFLOW", 84: "EILSEQ", 90: "EMSGSIZE", 95: "EOPNOTSUPP",
	110: "ETIMEDOUT", 117: "EUCLEAN", 121: "EREMOTEIO", 125: "ECANCELED", 126: "ENOKEY",
	127: "EKEYEXPIRED", 128: "EKEYREVOKED", 129: "EKEYREJECTED",
}

// Error is the error of every call of this package.
type Error struct {
	Op     string // the call: "create", "reload", "suspend", …
	Object string // the device, as the caller named it
	// Code is the kernel's answer, with Linux's number; 0 when there is
	// none. What was refused before the kernel was asked has the number
	// that the kernel would have given, where that is known.
	Code syscall.Errno
	// Detail is the kernel's own reason from its log, or what was found
	// before the kernel was asked, or in what state the device was left.
	// Secrets of tables are taken out.
	Detail string
	Err    error // the cause; the Code itself when there is no other

	taken bool // the ioctl that failed was to give a name, a uuid or a minor number
}

// Error prints "dm: op object: detail: cause".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("dm: ")
	b.WriteString(e.Op)
	if e.Object != "" {
		b.WriteByte(' ')
		b.WriteString(e.Object)
	}
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	cause := ""
	switch {
	case e.Code != 0 && (e.Err == nil || e.Err == error(e.Code)):
		cause = e.errnoText()
	case e.Err != nil:
		cause = e.Err.Error()
	}
	if cause != "" && cause != e.Detail {
		b.WriteString(": ")
		b.WriteString(cause)
	}
	return b.String()
}

// errnoText says in words what the number means here, which is often not
// what strerror says.
func (e *Error) errnoText() string {
	name := errnoNames[e.Code]
	if name == "" {
		name = "errno " + num(uint64(e.Code))
	}
	switch {
	case e.notExist() && e.Code != enoent:
		return "no such device (" + name + ")"
	case e.exist():
		return "taken (" + name + ")"
	case e.Code == ebusy:
		return "in use (" + name + ")"
	case e.Code == eacces:
		return "needs CAP_SYS_ADMIN (" + name + ")"
	case e.Code == enotty:
		return "not known to this kernel (" + name + ")"
	}
	return name
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error {
	if errno, ok := e.Err.(syscall.Errno); ok {
		return kernelErrno(errno)
	}
	if e.Err == nil && e.Code != 0 {
		return kernelErrno(e.Code)
	}
	return e.Err
}

// kernelErrno is a number of the kernel that matches itself and no more: what
// it means here, Error.Is knows. ENOENT from a load, for one, is an unknown
// cipher and no missing device; and away from Linux the number would be read
// as another system's.
type kernelErrno syscall.Errno

func (k kernelErrno) Error() string        { return syscall.Errno(k).Error() }
func (k kernelErrno) Is(target error) bool { return target == syscall.Errno(k) }
func (k kernelErrno) As(target any) bool {
	p, ok := target.(*syscall.Errno)
	if ok {
		*p = syscall.Errno(k)
	}
	return ok
}

func (e *Error) notExist() bool {
	switch e.Code {
	case enxio, enodev:
		return !e.taken
	case enoent:
		// Of a message: no such region, no such thing in the target. Of a
		// load it can be an unknown cipher.
		return e.Op == "message" || e.Op == "target version" || strings.HasPrefix(e.Op, "stats ")
	case enodata:
		return e.Op == "message" // a thin volume that the pool does not have
	}
	return false
}

// exist: the kernel says EBUSY when a name or uuid is taken, and ENXIO when a
// minor number is.
func (e *Error) exist() bool {
	return e.Code == eexist || e.taken && (e.Code == ebusy || e.Code == enxio)
}

// takes marks the error of an ioctl that gives a name.
func takes(err error) error {
	if err == nil {
		return nil
	}
	e := *fail("", nil, err).(*Error)
	e.taken = true
	return &e
}

// Is maps the kernel's answers to the errors of package fs and of this
// package.
func (e *Error) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		return e.notExist()
	case fs.ErrExist:
		return e.exist()
	case fs.ErrPermission:
		return e.Code == eacces || e.Code == eperm
	case errors.ErrUnsupported:
		return e.Code == enotty || e.Code == enosys
	case ErrBusy:
		return e.Code == ebusy && !e.exist()
	}
	return false
}

// fail makes an *Error of any error; one that is an *Error already keeps
// its own code and detail under the outer op.
func fail(op string, object any, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Object: objectText(object)}
	if inner, ok := err.(*Error); ok {
		e.Code, e.Detail, e.Err, e.taken = inner.Code, inner.Detail, inner.Err, inner.taken
		if inner.Object != "" && inner.Object != e.Object {
			e.Detail = strings.TrimSuffix(inner.Op+" "+inner.Object+": "+inner.Detail, ": ")
		}
		return e
	}
	// Of a tree of errors the first number is the code; the rest is kept.
	var inner *Error
	var errno syscall.Errno
	if errors.As(err, &inner) {
		e.Code, e.taken = inner.Code, inner.taken
	} else if errors.As(err, &errno) {
		e.Code = errno
	}
	e.Err = err
	return e
}

func objectText(object any) string {
	switch o := object.(type) {
	case nil:
		return ""
	case string:
		return o
	case interface{ String() string }:
		return o.String()
	}
	return ""
}

// detail adds a remark to an error that fail made.
func detail(err error, remark string) error {
	if remark == "" || err == nil {
		return err
	}
	d := *fail("", nil, err).(*Error)
	if e, ok := err.(*Error); ok {
		d.Op, d.Object = e.Op, e.Object
	}
	if d.Detail != "" {
		d.Detail += "; "
	}
	d.Detail += remark
	return &d
}

// short is the text of an error inside the text of another.
func short(err error) string {
	if e, ok := err.(*Error); ok {
		return strings.TrimPrefix((&Error{Detail: e.Detail, Code: e.Code, Err: e.Err}).Error(), "dm: : ")
	}
	return err.Error()
}

// refuse explains a refusal.
func refuse(why string) error { return &Error{Detail: why, Err: ErrRefused} }

var errNoTable = errors.New("the device has no live table")

// opaque is the error of something beside the device: a node, the run file,
// sysfs. That a file does not exist must not pass for a device that does not.
type opaque struct{ error }

func (o opaque) Is(target error) bool {
	return (target == fs.ErrPermission || target == errors.ErrUnsupported) && errors.Is(o.error, target)
}
