// SPDX-License-Identifier: MIT

// Package loop makes block devices of regular files (drivers/block/loop.c).
//
// [Attach] takes the first free loop device and gives it the file in one call
// (LOOP_CONFIGURE, Linux 5.8), with LO_FLAGS_AUTOCLEAR: the kernel lets go of
// the file when the last one who has the device open closes it. So there is
// nothing to clean up. A program that is killed leaves nothing, and a device
// that something else holds, such as a device-mapper table, stays for exactly
// as long as that.
package loop

import (
	"errors"

	"github.com/linuxblock/linuxblock/internal/fault"
)

// Error is the error of every call of this package.
type Error = fault.Error

// ErrBusy says that the file is attached to a loop device already.
var ErrBusy = errors.New("a loop device has the file")

const area = "loop"

// Options change Attach. The zero value attaches a file for reading and
// writing through the page cache, with logical blocks of 512 bytes.
type Options struct {
	ReadOnly  bool
	Direct    bool // I/O on the file goes around the page cache
	BlockSize int  // of the device in bytes: 512 to 4096, 0 is 512
	// Shared allows a file that another loop device has. Two devices over
	// one file do not see each other's writes in time: data is lost.
	Shared bool
}
