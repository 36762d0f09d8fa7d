// SPDX-License-Identifier: MIT

package dmtest

import (
	"strconv"
	"syscall"
)

// Error numbers of Linux (include/uapi/asm-generic/errno*.h), the same on
// every GOOS, so that a program's tests say the same on darwin and windows.
const (
	EPERM      = syscall.Errno(1)
	ENOENT     = syscall.Errno(2)
	EINTR      = syscall.Errno(4)
	EIO        = syscall.Errno(5)
	ENXIO      = syscall.Errno(6)
	E2BIG      = syscall.Errno(7)
	EBADF      = syscall.Errno(9)
	EAGAIN     = syscall.Errno(11)
	ENOMEM     = syscall.Errno(12)
	EACCES     = syscall.Errno(13)
	EFAULT     = syscall.Errno(14)
	ENOTBLK    = syscall.Errno(15)
	EBUSY      = syscall.Errno(16)
	EEXIST     = syscall.Errno(17)
	ENODEV     = syscall.Errno(19)
	EINVAL     = syscall.Errno(22)
	ENOTTY     = syscall.Errno(25)
	ENOSPC     = syscall.Errno(28)
	EROFS      = syscall.Errno(30)
	ENODATA    = syscall.Errno(61)
	EOVERFLOW  = syscall.Errno(75)
	EILSEQ     = syscall.Errno(84)
	EOPNOTSUPP = syscall.Errno(95)
	ENOTCONN   = syscall.Errno(107)
	ENOKEY     = syscall.Errno(126)
)

var errnoNames = map[syscall.Errno]string{
	EPERM: "EPERM", ENOENT: "ENOENT", EINTR: "EINTR", EIO: "EIO", ENXIO: "ENXIO",
	ENOMEM: "ENOMEM", EACCES: "EACCES", EFAULT: "EFAULT", ENOTBLK: "ENOTBLK",
	EBUSY: "EBUSY", EEXIST: "EEXIST", ENODEV: "ENODEV", EINVAL: "EINVAL",
	ENOTTY: "ENOTTY", ENOSPC: "ENOSPC", EROFS: "EROFS", ENODATA: "ENODATA",
	EOVERFLOW: "EOVERFLOW", E2BIG: "E2BIG", EAGAIN: "EAGAIN", EILSEQ: "EILSEQ",
	EOPNOTSUPP: "EOPNOTSUPP", ENOKEY: "ENOKEY",
}

// errnoText is what %pe of the kernel's printk makes of a negative errno.
func errnoText(e syscall.Errno) string {
	if s, ok := errnoNames[e]; ok {
		return "-" + s
	}
	return strconv.Itoa(-int(e))
}
