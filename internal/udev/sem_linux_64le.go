// SPDX-License-Identifier: MIT

//go:build linux && (amd64 || arm64 || loong64 || mips64le || ppc64le || riscv64)

package udev

import "golang.org/x/sys/unix"

const (
	sysSemtimedop = unix.SYS_SEMTIMEDOP
	semunShift    = 0
)
