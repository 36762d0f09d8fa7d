// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

// kernel is the running Linux kernel with the RAM disks of the virtual
// machine.
type kernel struct{ release string }

func newKernel() ground {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return &kernel{"an unknown release"}
	}
	return &kernel{unix.ByteSliceToString(u.Release[:])}
}

func (k *kernel) kind() string { return "kernel" }

func (k *kernel) about() string {
	return "It runs on Linux " + k.release + ", in a virtual machine."
}

func (k *kernel) openDM(ctx context.Context) (*dm.Client, error) {
	return dm.Open(ctx, dm.WithTargets(dmraid.Parsers()))
}

func (k *kernel) disks(n int) ([]disk, error) {
	var list []disk
	for i := range n {
		d, err := blankRAMDisk(fmt.Sprintf("/dev/ram%d", i))
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

func blankRAMDisk(path string) (disk, error) {
	// The kernel lends O_EXCL to one at a time, mounts and tables included.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_EXCL|unix.O_DIRECT, 0)
	if err != nil {
		return disk{}, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return disk{}, err
	}
	zeros := aligned(1 << 20)
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return disk{}, err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return disk{}, err
	}
	dev := dm.Dev{Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev)}
	return disk{path, dev, linuxblock.SectorsOf(size)}, nil
}

// open goes around the page cache: what is read is what the devices hold.
func (k *kernel) open(path string) (blockDevice, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_SYNC|unix.O_DIRECT, 0)
}

func (k *kernel) devices() dmraid.DeviceOpener { return dmraid.HostDevices{} }

func (k *kernel) inUse(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_EXCL, 0)
	if errors.Is(err, syscall.EBUSY) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, f.Close()
}
