// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"io"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/dmraid/raidtest"
)

// ground is what the tour stands on: doubles, or the kernel.
type ground interface {
	kind() string  // "double" or "kernel": the first column
	about() string // a sentence
	// openDM opens device-mapper.
	openDM(ctx context.Context) (*dm.Client, error)
	// disks gives n block devices that are all zeros.
	disks(n int) ([]disk, error)
	// open opens the node of a disk or of a device that was made.
	open(path string) (blockDevice, error)
	// devices are what package dmraid does I/O on.
	devices() dmraid.DeviceOpener
	// inUse tells whether somebody has a disk for himself.
	inUse(path string) (bool, error)
}

type disk struct {
	path    string
	dev     dm.Dev
	sectors linuxblock.Sectors
}

// blockDevice is an open node. I/O is of whole blocks of 4 KiB.
type blockDevice interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

// double is a kernel in memory. Its fields let tests break it.
type double struct {
	kernel *dmtest.Kernel
	plain  map[string]*dmtest.Disk
}

func newDouble() *double {
	d := &double{kernel: dmtest.New(), plain: map[string]*dmtest.Disk{}}
	d.kernel.AddTarget(raidtest.Target(dmraid.Linux61))
	return d
}

func (d *double) kind() string { return "double" }

func (d *double) about() string {
	return "It runs in memory: no root, and nothing of this machine is touched."
}

func (d *double) openDM(ctx context.Context) (*dm.Client, error) {
	return dm.Open(ctx, dm.WithTransport(d.kernel.Transport()), dm.WithTargets(dmraid.Parsers()))
}

func (d *double) disks(n int) ([]disk, error) {
	const sectors = 32 << 20 / linuxblock.SectorSize
	var list []disk
	for i := range n {
		path := "/dev/ram" + string(rune('0'+i))
		d.plain[path] = d.kernel.AddDisk(path, 1, uint32(i), sectors)
		list = append(list, disk{path, dm.Dev{Major: 1, Minor: uint32(i)}, sectors})
	}
	return list, nil
}

func (d *double) open(path string) (blockDevice, error) {
	if disk := d.plain[path]; disk != nil {
		return plainDisk{disk}, nil
	}
	return d.kernel.OpenDevice(path)
}

func (d *double) devices() dmraid.DeviceOpener { return raidtest.Devices{Kernel: d.kernel} }

func (d *double) inUse(path string) (bool, error) { return d.plain[path].Opens() > 0, nil }

// plainDisk needs no closing.
type plainDisk struct{ *dmtest.Disk }

func (plainDisk) Close() error { return nil }
