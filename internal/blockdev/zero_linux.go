// SPDX-License-Identifier: MIT

package blockdev

import (
	"context"
	"errors"
	"unsafe"

	"github.com/linuxblock/linuxblock"
	"golang.org/x/sys/unix"
)

// zeroChunk bounds one BLKZEROOUT, which cannot be interrupted.
const zeroChunk = 64 << 20

// zeroRange zeroes a checked range.
func (d *Device) zeroRange(ctx context.Context, off, n int64) error {
	if !d.block {
		return d.zeroFile(ctx, off, n)
	}
	// The driver takes whole logical sectors only (block/blk-lib.c:
	// __blkdev_issue_zeroout); the edges are written.
	unit := int64(d.sector)
	first := (off + unit - 1) &^ (unit - 1)
	last := (off + n) &^ (unit - 1)
	if first >= last {
		return d.zeroByWriting(ctx, off, n)
	}
	if err := d.zeroByWriting(ctx, off, first-off); err != nil {
		return err
	}
	// A dirty cached page from before would later be written over the zeros;
	// the kernel drops the range from the cache only since 5.10 or so, and
	// only for pages that no write is going on for. Writing back first makes
	// the order certain.
	if err := d.f.Sync(); err != nil {
		return newError("zero", d.path, err)
	}
	for pos := first; pos < last; {
		if ctx.Err() != nil {
			return errorf("zero", d.path, context.Cause(ctx), "stopped at offset %d", pos)
		}
		k := min(last-pos, zeroChunk)
		// block/ioctl.c: blk_ioctl_zeroout, {start, length} in bytes. It
		// passes BLKDEV_ZERO_NOUNMAP, so nothing is discarded.
		arg := [2]uint64{uint64(pos), uint64(k)}
		err := d.ioctl("zero", unix.BLKZEROOUT, unsafe.Pointer(&arg))
		var e *Error
		if errors.As(err, &e) && (e.Code == unix.ENOTTY || e.Code == unix.EOPNOTSUPP) {
			if err := d.zeroByWriting(ctx, pos, last-pos); err != nil {
				return err
			}
			break
		}
		if e != nil {
			return d.denied(e)
		}
		pos += k
	}
	return d.zeroByWriting(ctx, last, off+n-last)
}

// zeroFile zeroes a range of a regular file without changing its length.
func (d *Device) zeroFile(ctx context.Context, off, n int64) error {
	if n == 0 {
		return nil // fallocate refuses an empty range
	}
	for _, mode := range []uint32{unix.FALLOC_FL_ZERO_RANGE, unix.FALLOC_FL_PUNCH_HOLE} {
		var ferr error
		err := d.control(func(fd int) {
			for {
				ferr = unix.Fallocate(fd, mode|unix.FALLOC_FL_KEEP_SIZE, off, n)
				if ferr != unix.EINTR {
					return
				}
			}
		})
		if err != nil {
			return newError("zero", d.path, err)
		}
		switch ferr {
		case nil:
			return nil
		case unix.EOPNOTSUPP, unix.ENOSYS, unix.ENOSPC:
			// ENOSPC: ZERO_RANGE may need to allocate; a hole does not.
		default:
			return newError("zero", d.path, ferr)
		}
	}
	return d.zeroByWriting(ctx, off, n)
}

// ReadAhead is how far the kernel reads ahead of a sequential reader of the
// block device (BLKRAGET).
func (d *Device) ReadAhead() (linuxblock.Sectors, error) {
	var v uintptr // a C long: block/ioctl.c, put_long
	err := d.ioctl("read-ahead", unix.BLKRAGET, unsafe.Pointer(&v))
	return linuxblock.Sectors(v), err
}

// SetReadAhead sets what ReadAhead reads (BLKRASET). The kernel rounds down to
// whole pages. It belongs to the disk: partitions share it, and it lasts until
// the device goes.
func (d *Device) SetReadAhead(s linuxblock.Sectors) error {
	if s > 1<<31-1 {
		return errorf("set read-ahead", d.path, unix.EINVAL, "%v", s)
	}
	var errno unix.Errno
	err := d.control(func(fd int) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKRASET, uintptr(s))
	})
	if err != nil {
		return newError("set read-ahead", d.path, err)
	}
	if errno != 0 {
		return newError("set read-ahead", d.path, errno)
	}
	return nil
}
