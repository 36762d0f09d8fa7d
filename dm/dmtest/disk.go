// SPDX-License-Identifier: MIT

package dmtest

import (
	"io"
	"path"
	"sync"
	"sync/atomic"
	"syscall"
)

const sectorSize = 512

// Disk is a plain block device beneath the tables: memory that is zero where
// nothing was written.
type Disk struct {
	k      *Kernel
	path   string
	number uint64

	mu      sync.Mutex
	size    uint64 // sectors
	block   int
	content map[uint64]*[chunkSize]byte
	fail    func(write bool, sector, count uint64) error
	keeps   bool // takes no discards

	requests atomic.Bool

	claimed bool // guarded by k.mu, as is opened
	opened  int
}

// chunkSize is the grain of the sparse content.
const chunkSize = 64 << 10

// AddDisk makes a block device: "/dev/ram0", 1, 0. A device with the same
// path or number is replaced for those who open it from now on.
func (k *Kernel) AddDisk(path string, major, minor uint32, sectors uint64) *Disk {
	d := &Disk{
		k: k, path: path, number: makeDev(major, minor), size: sectors,
		block: sectorSize, content: map[uint64]*[chunkSize]byte{},
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.disks[d.number] = d
	k.paths[path] = d
	return d
}

// RemoveDisk takes a disk's node and number away. Tables that have it open
// get I/O errors.
func (k *Kernel) RemoveDisk(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.paths[path]
	if d == nil {
		return
	}
	delete(k.paths, path)
	if k.disks[d.number] == d {
		delete(k.disks, d.number)
	}
	d.FailWith(func(bool, uint64, uint64) error { return EIO })
}

// Path is the path of the node.
func (d *Disk) Path() string { return d.path }

// Name is "major:minor".
func (d *Disk) Name() string { return (&Dev{bdev: d}).Name() }

// Claim takes the disk for one holder, as a mount does: tables that would
// open it get EBUSY until release. It fails with EBUSY when a table has the
// disk open or it is claimed.
func (d *Disk) Claim() (release func(), err error) {
	d.k.mu.Lock()
	defer d.k.mu.Unlock()
	if d.claimed || d.opened > 0 {
		return nil, EBUSY
	}
	d.claimed = true
	return sync.OnceFunc(func() {
		d.k.mu.Lock()
		defer d.k.mu.Unlock()
		d.claimed = false
	}), nil
}

// Opens is the number of device-mapper devices that have the disk open.
func (d *Disk) Opens() int {
	d.k.mu.Lock()
	defer d.k.mu.Unlock()
	return d.opened
}

// SetBlockSize sets the logical block size, 512 by default. Tables must be
// aligned to it.
func (d *Disk) SetBlockSize(bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.block = bytes
}

// SetRequestBased says whether the driver of the disk takes whole requests, as
// those of SCSI, NVMe and virtio do. A ramdisk's does not, and neither does a
// new Disk: a multipath target in its default queue mode refuses it.
func (d *Disk) SetRequestBased(on bool) { d.requests.Store(on) }

// SetDiscards says whether the disk takes discards, as a new one does. One
// that does not fails them with errors.ErrUnsupported.
func (d *Disk) SetDiscards(takes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keeps = !takes
}

// Resize changes the number of sectors.
func (d *Disk) Resize(sectors uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.size = sectors
}

// FailWith asks f about every I/O that comes through a table, in sectors; an
// error of it is the I/O's. Nil ends it.
func (d *Disk) FailWith(f func(write bool, sector, count uint64) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = f
}

// Fail makes every I/O to the given sectors fail with EIO.
func (d *Disk) Fail(start, count uint64) {
	d.FailWith(func(_ bool, sector, n uint64) error {
		if sector < start+count && start < sector+n {
			return EIO
		}
		return nil
	})
}

// ReadAt reads the content from a byte offset, past any injected failure.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := int64(d.size) * sectorSize
	if off < 0 {
		return 0, EINVAL
	}
	if off >= end {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), end-off))
	d.walk(p[:n], off, false)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt changes the content at a byte offset, past any injected failure.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := int64(d.size) * sectorSize
	if off < 0 || off > end {
		return 0, EINVAL
	}
	n := int(min(int64(len(p)), end-off))
	d.walk(p[:n], off, true)
	if n < len(p) {
		return n, ENOSPC
	}
	return n, nil
}

func (d *Disk) walk(p []byte, off int64, write bool) {
	for len(p) > 0 {
		i, at := uint64(off)/chunkSize, off%chunkSize
		n := min(len(p), int(chunkSize-at))
		c := d.content[i]
		switch {
		case write && c == nil && isZero(p[:n]):
		case write:
			if c == nil {
				c = new([chunkSize]byte)
				d.content[i] = c
			}
			copy(c[at:], p[:n])
		case c == nil:
			clear(p[:n])
		default:
			copy(p[:n], c[at:])
		}
		p, off = p[n:], off+int64(n)
	}
}

func isZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

func (d *Disk) takesRequests() bool { return d.requests.Load() }

func (d *Disk) dev() uint64      { return d.number }
func (d *Disk) diskName() string { return path.Base(d.path) }

func (d *Disk) sectors() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.size
}

func (d *Disk) blockSize() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.block
}

func (d *Disk) discards() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.keeps
}

func (d *Disk) open() syscall.Errno {
	if d.claimed {
		return EBUSY
	}
	d.opened++
	return 0
}

func (d *Disk) close() { d.opened-- }

// check asks the injected failure and the size.
func (d *Disk) check(write bool, sector, count uint64) error {
	d.mu.Lock()
	fail, size := d.fail, d.size
	d.mu.Unlock()
	if sector > size || count > size-sector {
		return EIO
	}
	if fail != nil {
		return fail(write, sector, count)
	}
	return nil
}

func (d *Disk) readSectors(p []byte, sector uint64) error {
	if err := d.check(false, sector, uint64(len(p)/sectorSize)); err != nil {
		return err
	}
	_, err := d.ReadAt(p, int64(sector)*sectorSize)
	return err
}

func (d *Disk) writeSectors(p []byte, sector uint64) error {
	if err := d.check(true, sector, uint64(len(p)/sectorSize)); err != nil {
		return err
	}
	_, err := d.WriteAt(p, int64(sector)*sectorSize)
	return err
}

func (d *Disk) discardSectors(sector, count uint64) error {
	if !d.discards() {
		return errNotSupported
	}
	if err := d.check(true, sector, count); err != nil {
		return err
	}
	zero := make([]byte, min(count*sectorSize, chunkSize))
	for at, left := int64(sector)*sectorSize, int64(count)*sectorSize; left > 0; {
		n := min(left, int64(len(zero)))
		if _, err := d.WriteAt(zero[:n], at); err != nil {
			return err
		}
		at, left = at+n, left-n
	}
	return nil
}
