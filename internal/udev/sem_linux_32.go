// SPDX-License-Identifier: MIT

//go:build linux && (386 || arm || mips || mipsle)

package udev

import "golang.org/x/sys/unix"

const (
	// 32-bit machines have the 64-bit-time call since Linux 5.1; plain
	// semtimedop is missing on 386 (Linux arch/x86/entry/syscalls/syscall_32.tbl).
	sysSemtimedop = unix.SYS_SEMTIMEDOP_TIME64
	semunShift    = 0
)
