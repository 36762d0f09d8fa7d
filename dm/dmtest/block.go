// SPDX-License-Identifier: MIT

package dmtest

import (
	"context"
	"io"
	"io/fs"
	"sync"
)

// Block is an open node of a block device, of a disk or a device-mapper
// device, as a program has it that opened it with O_DIRECT. Its methods are
// safe for concurrent use.
type Block struct {
	k     *Kernel
	path  string
	write bool
	bdev  blockDev

	mu     sync.Mutex // lets the edges of a write be read and written as one
	closed bool       // guarded by k.mu
}

// OpenBlock opens a node by its path or by "major:minor": a disk, past any
// claim of others on it, or a device-mapper device, which counts as an open of
// it. The I/O is the device's own: a disk fails it as [Disk.FailWith] says, a
// suspended device keeps it waiting. The error matches fs.ErrNotExist when
// there is no such device.
func (k *Kernel) OpenBlock(path string, write bool) (*Block, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	fail := func(err error) (*Block, error) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	dev, errno := k.lookupDev(path)
	if errno != 0 {
		return fail(fs.ErrNotExist)
	}
	bdev, errno := k.blockDev(dev)
	if errno != 0 {
		return fail(fs.ErrNotExist)
	}
	if d, ok := bdev.(*device); ok {
		if errno := d.open(); errno != 0 {
			return fail(errno)
		}
	}
	return &Block{k: k, path: path, write: write, bdev: bdev}, nil
}

// Size is the size in bytes now.
func (b *Block) Size() (int64, error) {
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	if b.closed {
		return 0, fs.ErrClosed
	}
	return int64(b.bdev.sectors()) * sectorSize, nil
}

// SectorSize is the logical and the physical sector size in bytes.
func (b *Block) SectorSize() (logical, physical int) {
	n := b.bdev.blockSize()
	return n, n
}

// InUse reports whether the device is taken: a disk by a claim or a table, a
// device-mapper device by a table or by another open node.
func (b *Block) InUse() bool {
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	switch d := b.bdev.(type) {
	case *Disk:
		return d.claimed || d.opened > 0
	case *device:
		return d.openCount > 1 || d.openCount == 1 && b.closed
	}
	return false
}

// check cuts an I/O at the end of the device.
func (b *Block) check(n int, off int64, write bool) (int, error) {
	size, err := b.Size()
	switch {
	case err != nil:
		return 0, err
	case write && !b.write:
		return 0, EBADF
	case off < 0:
		return 0, EINVAL
	}
	return int(max(min(int64(n), size-off), 0)), nil
}

// around reads the whole sectors that hold n bytes from off on. skip is where
// off lies in them.
func (b *Block) around(n int, off int64) (buf []byte, sector uint64, skip int, err error) {
	first, last := off/sectorSize, (off+int64(n)+sectorSize-1)/sectorSize
	buf = make([]byte, (last-first)*sectorSize)
	return buf, uint64(first), int(off % sectorSize), b.bdev.readSectors(buf, uint64(first))
}

// ReadAt reads from any byte offset.
func (b *Block) ReadAt(p []byte, off int64) (int, error) {
	n, err := b.check(len(p), off, false)
	if err != nil || n == 0 && len(p) == 0 {
		return 0, err
	}
	if n > 0 {
		buf, _, skip, err := b.around(n, off)
		if err != nil {
			return 0, &fs.PathError{Op: "read", Path: b.path, Err: err}
		}
		copy(p, buf[skip:skip+n])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes at any byte offset. Sectors of which it writes a part are
// read first.
func (b *Block) WriteAt(p []byte, off int64) (int, error) {
	n, err := b.check(len(p), off, true)
	if err != nil {
		return 0, err
	}
	if n > 0 {
		if err := b.put(p[:n], off); err != nil {
			return 0, &fs.PathError{Op: "write", Path: b.path, Err: err}
		}
	}
	if n < len(p) {
		return n, ENOSPC
	}
	return n, nil
}

func (b *Block) put(p []byte, off int64) error {
	if off%sectorSize == 0 && len(p)%sectorSize == 0 {
		return b.bdev.writeSectors(p, uint64(off/sectorSize))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	buf, sector, skip, err := b.around(len(p), off)
	if err != nil {
		return err
	}
	copy(buf[skip:], p)
	return b.bdev.writeSectors(buf, sector)
}

// Flush is fsync, which has nothing to do here.
func (b *Block) Flush(ctx context.Context) error { return ctx.Err() }

// Close closes the node; it may be called more than once.
func (b *Block) Close() error {
	b.k.mu.Lock()
	defer b.k.mu.Unlock()
	if d, ok := b.bdev.(*device); ok && !b.closed {
		d.close()
	}
	b.closed = true
	return nil
}
