// SPDX-License-Identifier: MIT

package raidtest

import (
	"context"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/internal/blockdev"
)

// Devices are the disks and devices of a pretended kernel for package dmraid:
// what [dmraid.WithDevices] takes in the place of those of the machine.
type Devices struct{ Kernel *dmtest.Kernel }

var (
	_ dmraid.DeviceOpener   = Devices{}
	_ dmraid.DeviceChecker  = Devices{}
	_ dmraid.DeviceResolver = Devices{}
)

// OpenDevice opens a node by path or by "major:minor".
func (d Devices) OpenDevice(path string, write bool) (dmraid.Device, error) {
	b, err := d.Kernel.OpenBlock(path, write)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// CheckDevice fails for a device that is in use, or that has a signature on
// it.
func (d Devices) CheckDevice(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b, err := d.Kernel.OpenBlock(path, false)
	if err != nil {
		return err
	}
	defer b.Close()
	if b.InUse() {
		return &dmraid.Error{Op: "check", Object: path, Code: dmtest.EBUSY, Err: dm.ErrBusy}
	}
	size, err := b.Size()
	if err != nil {
		return err
	}
	found, err := blockdev.Probe(b, size)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return &dmraid.Error{Op: "check", Object: path, Detail: (&blockdev.SignatureError{Signatures: found}).Error(), Err: dm.ErrRefused}
	}
	return nil
}

// ResolveDevice gives the number of a node.
func (d Devices) ResolveDevice(path string) (major, minor uint32, err error) {
	t := d.Kernel.Transport()
	defer t.Close()
	major, minor, _, err = t.BlockDevice(path)
	return major, minor, err
}
