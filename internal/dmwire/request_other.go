// SPDX-License-Identifier: MIT

//go:build mips || mipsle || mips64 || mips64le || ppc64 || ppc64le || sparc64

package dmwire

// iocReadWrite is _IOC_READ|_IOC_WRITE where _IOC_SIZEBITS is 13 and the
// direction takes three bits: arch/{mips,powerpc,sparc}/include/uapi/asm/ioctl.h.
const iocReadWrite = 6 << 29
