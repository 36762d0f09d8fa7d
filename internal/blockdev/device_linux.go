// SPDX-License-Identifier: MIT

package blockdev

import (
	"context"
	"errors"
	"math"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Open opens a block device or a regular file.
func Open(path string, o Options) (*Device, error) {
	flag := os.O_RDONLY
	if o.Write {
		flag = os.O_RDWR
	}
	base := flag
	// O_EXCL without O_CREAT claims a block device; for anything else POSIX
	// leaves it undefined and Linux ignores it. O_NONBLOCK is not set: with
	// it a removable drive without a medium would open.
	if o.Exclusive {
		flag |= unix.O_EXCL
	}
	if o.Direct {
		flag |= unix.O_DIRECT
	}
	// A FIFO or a tape would block or rewind at open, so look first. The
	// open file is looked at again below; this one only avoids the harm.
	if st, err := os.Stat(path); err != nil {
		return nil, newError("open", path, err)
	} else if m := st.Mode(); !m.IsRegular() && (m&os.ModeDevice == 0 || m&os.ModeCharDevice != 0) {
		return nil, errorf("open", path, syscall.ENOTBLK, "neither a block device nor a regular file")
	}
	f, err := os.OpenFile(path, flag, 0) // os adds O_CLOEXEC
	if err != nil {
		e := newError("open", path, err)
		if o.Direct && e.Code == unix.EINVAL {
			// The file system has no direct_IO (fs/open.c: do_dentry_open).
			e.Err, e.Detail = errors.ErrUnsupported, "no direct I/O on this file system"
		}
		return nil, e
	}
	d := &Device{path: path, f: f, write: o.Write, sector: 512, physical: 512}
	if err := d.init(o, base); err != nil {
		f.Close()
		return nil, err
	}
	return d, nil
}

// init learns the geometry of a freshly opened device.
func (d *Device) init(o Options, base int) error {
	st, err := d.f.Stat()
	if err != nil {
		return newError("open", d.path, err)
	}
	switch m := st.Mode(); {
	case m.IsRegular():
	case m&os.ModeDevice != 0 && m&os.ModeCharDevice == 0:
		d.block = true
	default:
		return errorf("open", d.path, syscall.ENOTBLK, "neither a block device nor a regular file")
	}
	align := int64(4096)
	if d.block {
		logical, err := d.ioctlUint32("sector size", unix.BLKSSZGET)
		if err != nil {
			return err
		}
		physical, err := d.ioctlUint32("physical sector size", unix.BLKPBSZGET)
		if err != nil {
			physical = logical // before Linux 2.6.32
		}
		if logical < 512 || logical > 1<<20 || logical&(logical-1) != 0 {
			return errorf("open", d.path, syscall.EINVAL, "logical sector size %d", logical)
		}
		d.sector, d.physical = int(logical), int(physical)
		align = int64(logical)
		if o.Write {
			ro, err := d.ReadOnly()
			if err != nil {
				return err
			}
			if ro {
				return errorf("open", d.path, ErrReadOnly, "the kernel marks the device read-only")
			}
		}
	}
	if !o.Direct {
		return nil
	}
	d.dio = &directIO{align: align, size: d.Size, pread: d.pread, pwrite: d.pwrite}
	if d.block {
		return nil
	}
	if err := d.fileAlignment(); err != nil {
		return err
	}
	// A file need not end on a block boundary, and direct I/O cannot write
	// its last bytes without making it longer; a cached handle can.
	tail, err := os.OpenFile(d.path, base, 0)
	if err != nil {
		return newError("open", d.path, err)
	}
	if ts, err := tail.Stat(); err != nil || !os.SameFile(st, ts) {
		tail.Close()
		return errorf("open", d.path, syscall.ESTALE, "the path changed while it was opened")
	}
	d.dio.tail = tail
	return nil
}

// fileAlignment asks the file system for its direct I/O alignment (statx
// STATX_DIOALIGN, Linux 6.1); without an answer 4096 suits all of them.
func (d *Device) fileAlignment() error {
	var stx unix.Statx_t
	var serr error
	if err := d.control(func(fd int) {
		serr = unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &stx)
	}); err != nil {
		return newError("open", d.path, err)
	}
	if serr != nil || stx.Mask&unix.STATX_DIOALIGN == 0 {
		return nil
	}
	if stx.Dio_offset_align == 0 {
		return errorf("open", d.path, errors.ErrUnsupported, "no direct I/O on this file")
	}
	d.dio.align = max(512, int64(stx.Dio_offset_align))
	return nil
}

// control runs fn with the descriptor, which stays open meanwhile.
func (d *Device) control(fn func(fd int)) error {
	rc, err := d.f.SyscallConn()
	if err != nil {
		return err
	}
	return rc.Control(func(fd uintptr) { fn(int(fd)) })
}

// pread is one read; unlike os.File.ReadAt it does not go on after a short
// one, because the rest would not be aligned.
func (d *Device) pread(p []byte, off int64) (n int, err error) {
	cerr := d.control(func(fd int) {
		for {
			if n, err = unix.Pread(fd, p, off); err != unix.EINTR {
				return
			}
		}
	})
	return max(n, 0), firstError(err, cerr)
}

// pwrite is one write.
func (d *Device) pwrite(p []byte, off int64) (n int, err error) {
	cerr := d.control(func(fd int) {
		for {
			if n, err = unix.Pwrite(fd, p, off); err != unix.EINTR {
				return
			}
		}
	})
	return max(n, 0), firstError(err, cerr)
}

// ioctl hands a pointer to the driver.
func (d *Device) ioctl(op string, req uint, arg unsafe.Pointer) error {
	var errno unix.Errno
	err := d.control(func(fd int) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(arg))
	})
	if err != nil {
		return newError(op, d.path, err)
	}
	if errno != 0 {
		return newError(op, d.path, errno)
	}
	return nil
}

// ioctlUint32 is for the requests that answer with a C int. unix.IoctlGetInt
// reads a Go int, eight bytes, and would be wrong on big-endian machines.
func (d *Device) ioctlUint32(op string, req uint) (uint32, error) {
	var v uint32
	err := d.ioctl(op, req, unsafe.Pointer(&v))
	return v, err
}

// Size is the size in bytes.
func (d *Device) Size() (int64, error) {
	if !d.block {
		st, err := d.f.Stat()
		if err != nil {
			return 0, newError("size", d.path, err)
		}
		return st.Size(), nil
	}
	var v uint64
	if err := d.ioctl("size", unix.BLKGETSIZE64, unsafe.Pointer(&v)); err != nil {
		return 0, err
	}
	if v > math.MaxInt64 {
		return 0, errorf("size", d.path, syscall.EOVERFLOW, "%d bytes", v)
	}
	return int64(v), nil
}

// ReadOnly tells whether the kernel marks the device read-only. A regular file
// is read-only when none of its write permission bits is set.
func (d *Device) ReadOnly() (bool, error) {
	if !d.block {
		st, err := d.f.Stat()
		if err != nil {
			return false, newError("read-only", d.path, err)
		}
		return st.Mode().Perm()&0o222 == 0, nil
	}
	v, err := d.ioctlUint32("read-only", unix.BLKROGET)
	return v != 0, err
}

// Number gives the device number; a regular file has none (ENOTBLK).
func (d *Device) Number() (major, minor uint32, err error) {
	if !d.block {
		return 0, 0, errorf("number", d.path, syscall.ENOTBLK, "a regular file")
	}
	st, err := d.f.Stat()
	if err != nil {
		return 0, 0, newError("number", d.path, err)
	}
	major, minor = rdev(st)
	return major, minor, nil
}

// DropCaches writes back and forgets what the page cache holds of a block
// device (BLKFLSBUF), so that the next cached read sees what lies on it. For a
// file it is a Flush with POSIX_FADV_DONTNEED.
func (d *Device) DropCaches(ctx context.Context) error {
	return d.await(ctx, "drop caches", func(context.Context) error {
		if d.block {
			return d.ioctl("drop caches", unix.BLKFLSBUF, nil)
		}
		if err := d.f.Sync(); err != nil {
			return newError("drop caches", d.path, err)
		}
		var ferr error
		if err := d.control(func(fd int) {
			ferr = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
		}); err != nil {
			return newError("drop caches", d.path, err)
		}
		if ferr != nil {
			return newError("drop caches", d.path, ferr)
		}
		return nil
	})
}
