// SPDX-License-Identifier: MIT

//go:build linux && (mips64 || ppc64 || s390x)

package udev

import "golang.org/x/sys/unix"

const (
	sysSemtimedop = unix.SYS_SEMTIMEDOP
	semunShift    = 32
)
