// SPDX-License-Identifier: MIT

package vmtest

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// zero fills a block device with zeros. It opens the device exclusively, so
// that a device which is still part of something is an error and not a
// mystery.
func zero(device string) error {
	f, err := openExclusive(device)
	if err != nil {
		return err
	}
	defer f.Close()
	var size uint64
	if err := ioctl(f, unix.BLKGETSIZE64, unsafe.Pointer(&size)); err != nil {
		return err
	}
	span := [2]uint64{0, size}
	if err := ioctl(f, unix.BLKZEROOUT, unsafe.Pointer(&span)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// Nobody shall read pages of the former owner from the cache.
	return ioctl(f, unix.BLKFLSBUF, nil)
}

// openExclusive tries for a moment: udevd or the test before may have the
// device open just now.
func openExclusive(device string) (*os.File, error) {
	for try := 0; ; try++ {
		f, err := os.OpenFile(device, os.O_RDWR|unix.O_EXCL, 0)
		if err == nil || try == 40 {
			return f, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func ioctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg))
	if errno != 0 {
		return &os.PathError{Op: "ioctl", Path: f.Name(), Err: errno}
	}
	return nil
}
