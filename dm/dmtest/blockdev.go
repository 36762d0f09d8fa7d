// SPDX-License-Identifier: MIT

package dmtest

import (
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// blockDev is struct block_device: a disk or a device-mapper device. sectors,
// blockSize, takesRequests, diskName, open and close are called with Kernel.mu
// held; the I/O is not.
type blockDev interface {
	dev() uint64
	diskName() string // "ram0", as %pg prints it
	sectors() uint64
	blockSize() int
	takesRequests() bool // its driver is of blk-mq
	discards() bool      // whether it takes discards
	open() syscall.Errno // by a device-mapper table
	close()
	readSectors(p []byte, sector uint64) error
	writeSectors(p []byte, sector uint64) error
	discardSectors(sector, count uint64) error
}

func (d *device) sectors() uint64 { return d.size }
func (d *device) blockSize() int  { return 512 }

func (d *device) takesRequests() bool { return d.requests }

// discards goes by the devices below; a target may fail discards all the same.
func (d *device) discards() bool { return d.discardsBelow(0) }

func (d *device) discardsBelow(depth int) bool {
	if d.live == nil || depth > 16 { // devices may map each other in a circle
		return false
	}
	for _, ti := range d.live.targets {
		if _, ok := ti.inst.(Discarder); !ok {
			return false
		}
	}
	return !slices.ContainsFunc(d.live.devs, func(x *Dev) bool {
		if below, ok := x.bdev.(*device); ok {
			return !below.discardsBelow(depth + 1)
		}
		return !x.bdev.discards()
	})
}

// lookupDev is dm_get_dev_t: the number behind a path or "major:minor".
// Called with mu held.
func (k *Kernel) lookupDev(path string) (uint64, syscall.Errno) {
	if major, minor, ok := parseDevNumber(path); ok {
		if major > 4095 || minor > 1<<20-1 {
			return 0, EOVERFLOW
		}
		return makeDev(uint32(major), uint32(minor)), 0
	}
	if disk := k.paths[path]; disk != nil {
		return disk.number, 0
	}
	if n, ok := strings.CutPrefix(path, "/dev/dm-"); ok {
		if minor, err := strconv.ParseUint(n, 10, 20); err == nil {
			if d := k.devices[uint32(minor)]; d != nil && d.registered {
				return d.dev(), 0
			}
		}
	}
	if name, ok := strings.CutPrefix(path, "/dev/mapper/"); ok {
		if d := k.names[name]; d != nil && d.registered {
			return d.dev(), 0
		}
	}
	if k.version.AtLeast(4, 48) {
		// Since Linux 6.5 the reason of lookup_bdev comes through.
		return 0, ENOENT
	}
	return 0, ENODEV
}

// blockDev is what carries a number. Called with mu held.
func (k *Kernel) blockDev(dev uint64) (blockDev, syscall.Errno) {
	if disk := k.disks[dev]; disk != nil {
		return disk, 0
	}
	if major, minor := splitDev(dev); major == k.major {
		if d := k.devices[minor]; d != nil && d.registered {
			return d, 0
		}
	}
	return nil, ENXIO
}

// Dev is a device that a table has open: struct dm_dev.
type Dev struct {
	bdev blockDev
	k    *Kernel
	mode mode
}

// Name is "major:minor", the form in which targets print a device.
func (d *Dev) Name() string {
	major, minor := splitDev(d.bdev.dev())
	return strconv.FormatUint(uint64(major), 10) + ":" + strconv.FormatUint(uint64(minor), 10)
}

// Sectors is the size of the device now.
func (d *Dev) Sectors() uint64 {
	d.k.mu.Lock()
	defer d.k.mu.Unlock()
	return d.bdev.sectors()
}

// BlockSize is the logical block size in bytes.
func (d *Dev) BlockSize() int { return d.bdev.blockSize() }

// ReadSectors reads from a sector of the device; p is a multiple of 512
// bytes. It sleeps while the device is suspended.
func (d *Dev) ReadSectors(p []byte, sector uint64) error { return d.bdev.readSectors(p, sector) }

// WriteSectors is the counterpart of ReadSectors.
func (d *Dev) WriteSectors(p []byte, sector uint64) error { return d.bdev.writeSectors(p, sector) }

// DiscardSectors drops the content of sectors.
func (d *Dev) DiscardSectors(sector, count uint64) error { return d.bdev.discardSectors(sector, count) }

// tableDevKey and tableDev are struct table_device: all tables of a device
// together open a lower device once for each mode.
type tableDevKey struct {
	dev  uint64
	mode mode
}

type tableDev struct {
	bdev blockDev
	refs int
}

// open is dm_get_device of dm-table.c.
func (t *table) open(path string, m mode) (*Dev, error) {
	k := t.d.k
	k.mu.Lock()
	defer k.mu.Unlock()
	dev, errno := k.lookupDev(path)
	if errno != 0 {
		return nil, errno
	}
	if dev == t.d.dev() && k.version.AtLeast(4, 48) {
		return nil, EINVAL // older ones let a table use its own device
	}
	for _, have := range t.devs {
		if have.bdev.dev() != dev {
			continue
		}
		if both := have.mode | m; both != have.mode {
			// upgrade_mode
			if _, errno := t.d.getTableDev(dev, both); errno != 0 {
				return nil, errno
			}
			t.d.putTableDev(have)
			have.mode = both
		}
		return have, nil
	}
	bdev, errno := t.d.getTableDev(dev, m)
	if errno != 0 {
		return nil, errno
	}
	d := &Dev{bdev: bdev, k: k, mode: m}
	t.devs = append([]*Dev{d}, t.devs...)
	return d, nil
}

// getTableDev is dm_get_table_device of dm.c. Called with mu held.
func (d *device) getTableDev(dev uint64, m mode) (blockDev, syscall.Errno) {
	key := tableDevKey{dev, m}
	if td := d.tableDevs[key]; td != nil {
		td.refs++
		return td.bdev, 0
	}
	bdev, errno := d.k.blockDev(dev)
	if errno != 0 {
		return nil, errno
	}
	if errno := bdev.open(); errno != 0 {
		return nil, errno
	}
	d.tableDevs[key] = &tableDev{bdev: bdev, refs: 1}
	return bdev, 0
}

// putTableDev is dm_put_table_device of dm.c. Called with mu held.
func (d *device) putTableDev(dev *Dev) {
	key := tableDevKey{dev.bdev.dev(), dev.mode}
	td := d.tableDevs[key]
	if td.refs--; td.refs == 0 {
		delete(d.tableDevs, key)
		td.bdev.close()
	}
}
