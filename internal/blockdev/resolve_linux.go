// SPDX-License-Identifier: MIT

package blockdev

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Resolve gives the number of a block device, named by the path of its node or
// by the text "major:minor", which is taken as it is: the device need not
// exist.
func Resolve(path string) (major, minor uint32, err error) {
	if major, minor, err = ParseNumber(path); err == nil {
		return major, minor, nil
	}
	st, err := os.Stat(path)
	if err != nil {
		return 0, 0, newError("resolve", path, err)
	}
	if m := st.Mode(); m&os.ModeDevice == 0 || m&os.ModeCharDevice != 0 {
		return 0, 0, errorf("resolve", path, syscall.ENOTBLK, "not a block device")
	}
	major, minor = rdev(st)
	return major, minor, nil
}

// rdev is the number of the device that a node stands for.
func rdev(st os.FileInfo) (major, minor uint32) {
	n := uint64(st.Sys().(*syscall.Stat_t).Rdev)
	return unix.Major(n), unix.Minor(n)
}
