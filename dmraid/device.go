// SPDX-License-Identifier: MIT

package dmraid

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/blockdev"
)

// Device is an open block device, past any cache: what is read is what lies on
// it, also while the array that it belongs to writes its superblock. Offsets
// and lengths are in bytes.
type Device interface {
	io.ReaderAt
	io.WriterAt
	// Size is in bytes.
	Size() (int64, error)
	// SectorSize is the logical and the physical sector size in bytes. A
	// superblock takes a logical sector.
	SectorSize() (logical, physical int)
	// Flush makes durable what was written.
	Flush(ctx context.Context) error
	Close() error
}

// DeviceOpener opens the devices that tables name: by path, or by
// "major:minor", as the kernel prints them. A double brings its own.
type DeviceOpener interface {
	OpenDevice(path string, write bool) (Device, error)
}

// DeviceChecker is a DeviceOpener that can tell whether a device may be
// written over: nobody uses it, and no signature is on it.
type DeviceChecker interface {
	CheckDevice(ctx context.Context, path string) error
}

// DeviceResolver is a DeviceOpener that knows the number of a device, so that
// one that is given by two names is seen to be one.
type DeviceResolver interface {
	ResolveDevice(path string) (major, minor uint32, err error)
}

// HostDevices are the block devices of the machine, opened with O_DIRECT.
type HostDevices struct{}

var (
	_ DeviceChecker  = HostDevices{}
	_ DeviceResolver = HostDevices{}
)

// OpenDevice opens a node, or the one that belongs to a number. Errors are
// those of CheckDevice.
func (HostDevices) OpenDevice(path string, write bool) (Device, error) {
	node, err := hostNode(path)
	if err != nil {
		return nil, deviceError("open", path, err)
	}
	d, err := blockdev.Open(node, blockdev.Options{Write: write, Direct: true})
	if err != nil {
		return nil, deviceError("open", path, err)
	}
	return d, nil
}

// CheckDevice is blkid's and the kernel's answer together: the device must be
// free, and nothing that is known may lie on it. The error matches dm.ErrBusy
// when somebody has the device, dm.ErrRefused when it carries something, and
// fs.ErrNotExist when there is none.
func (HostDevices) CheckDevice(ctx context.Context, path string) error {
	node, err := hostNode(path)
	if err == nil {
		err = blockdev.CheckWipeable(ctx, node)
	}
	return deviceError("check", path, err)
}

// ResolveDevice gives the number of a node.
func (HostDevices) ResolveDevice(path string) (major, minor uint32, err error) {
	major, minor, err = blockdev.Resolve(path)
	return major, minor, deviceError("resolve", path, err)
}

// deviceError makes what callers can test for of an internal error.
func deviceError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Object: path, Err: err}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		e.Code = errno
	}
	switch {
	case errors.Is(err, blockdev.ErrBusy):
		e.Code, e.Detail, e.Err = ebusy, err.Error(), dm.ErrBusy
	case errors.Is(err, blockdev.ErrSignature):
		e.Detail, e.Err = err.Error(), dm.ErrRefused
	}
	return e
}

// hostNode is the kernel's own node of a number; udev's links in /dev/block
// need not be there.
func hostNode(path string) (string, error) {
	if strings.HasPrefix(path, "/") {
		return path, nil
	}
	major, minor, err := blockdev.ParseNumber(path)
	if err != nil {
		return "", err
	}
	name, err := blockdev.SysFS{}.Name(major, minor)
	if err != nil {
		return "", err
	}
	return "/dev/" + strings.ReplaceAll(name, "!", "/"), nil
}
