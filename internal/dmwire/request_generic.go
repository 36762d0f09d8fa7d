// SPDX-License-Identifier: MIT

//go:build !(mips || mipsle || mips64 || mips64le || ppc64 || ppc64le || sparc64)

package dmwire

// iocReadWrite is _IOC_READ|_IOC_WRITE of include/uapi/asm-generic/ioctl.h.
const iocReadWrite = 3 << 30
