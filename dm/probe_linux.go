// SPDX-License-Identifier: MIT

package dm

import (
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// mpathProbePaths is DM_MPATH_PROBE_PATHS of include/uapi/linux/dm-ioctl.h:
// _IO(0xfd, 18).
const mpathProbePaths = 0xfd12

// ProbePaths opens the node for reading only, so that udev sees no writer
// leave and does not look at the device again.
func (m *machine) ProbePaths(major, minor uint32) error {
	path := filepath.Join(m.dev, "dm-"+strconv.FormatUint(uint64(minor), 10))
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &Error{Detail: path, Err: opaque{err}}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK || uint64(st.Rdev) != unix.Mkdev(major, minor) {
		return enxio // another device by now, or no device at all
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), mpathProbePaths, 0); errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}
