// SPDX-License-Identifier: MIT

package blockdev

import (
	"context"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// Options say how Open opens. The zero value is a shared, cached, read-only
// handle.
type Options struct {
	// Write opens for reading and writing. A device that the kernel marks
	// read-only is refused with ErrReadOnly instead of failing at the first
	// write.
	Write bool
	// Exclusive claims a block device (O_EXCL): ErrBusy when it is mounted,
	// swapped to, held by a stacked device or claimed by another opener.
	// Regular files cannot be claimed; for them it has no effect.
	Exclusive bool
	// Direct bypasses the page cache (O_DIRECT). ReadAt and WriteAt still
	// take any offset, length and memory. Where the file system cannot do
	// it, Open fails with errors.ErrUnsupported.
	Direct bool
}

// Device is an open block device, or a regular file that stands for one. All
// methods are safe for concurrent use.
type Device struct {
	path     string
	f        *os.File
	block    bool
	write    bool
	sector   int
	physical int
	dio      *directIO // nil without Options.Direct

	pending sync.WaitGroup // kernel calls that outlived their context
	once    sync.Once
	closed  error
}

// Path is the path that was given to Open.
func (d *Device) Path() string { return d.path }

// IsBlock tells a block device from a regular file.
func (d *Device) IsBlock() bool { return d.block }

// SectorSize gives the logical and the physical sector size in bytes. Regular
// files have 512 for both.
func (d *Device) SectorSize() (logical, physical int) { return d.sector, d.physical }

// Close releases the handle and with it the exclusive claim. It waits for
// calls that returned ErrPending. Calling it again returns the same result.
func (d *Device) Close() error {
	d.once.Do(func() {
		d.pending.Wait()
		if err := d.f.Close(); err != nil {
			d.closed = newError("close", d.path, err)
		}
		if d.dio != nil && d.dio.tail != nil {
			d.dio.tail.Close()
		}
	})
	return d.closed
}

// ReadAt reads len(p) bytes at off, as io.ReaderAt demands: fewer bytes only
// together with an error, io.EOF past the end.
func (d *Device) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errorf("read", d.path, syscall.EINVAL, "offset %d", off)
	}
	var n int
	var err error
	if d.dio != nil {
		n, err = d.dio.readAt(p, off)
	} else {
		n, err = d.f.ReadAt(p, off)
	}
	if err != nil && err != io.EOF {
		err = errorf("read", d.path, err, "offset %d, length %d, got %d", off, len(p), n)
	}
	return n, err
}

// WriteAt writes all of p at off. A range that reaches past the end is refused
// with ErrTooSmall before anything is written; this holds for files too, so
// that an image behaves like the device it stands for.
func (d *Device) WriteAt(p []byte, off int64) (int, error) {
	if err := d.checkWrite("write", off, int64(len(p))); err != nil {
		return 0, err
	}
	var n int
	var err error
	if d.dio != nil {
		n, err = d.dio.writeAt(p, off)
	} else {
		n, err = d.f.WriteAt(p, off)
	}
	if err != nil {
		err = d.denied(errorf("write", d.path, err, "offset %d, length %d, wrote %d", off, len(p), n))
	}
	return n, err
}

// checkWrite refuses what no write to [off, off+n) can do.
func (d *Device) checkWrite(op string, off, n int64) error {
	if off < 0 || n < 0 {
		return errorf(op, d.path, syscall.EINVAL, "offset %d, length %d", off, n)
	}
	if !d.write {
		return errorf(op, d.path, ErrReadOnly, "opened read-only")
	}
	size, err := d.Size()
	if err != nil {
		return err
	}
	if off > size || n > size-off {
		return errorf(op, d.path, ErrTooSmall, "offset %d, length %d, size %d", off, n, size)
	}
	return nil
}

// denied tells a device that became read-only after it was opened from other
// refusals: block/fops.c answers EPERM for it, BLKZEROOUT EBADF or EPERM.
func (d *Device) denied(e *Error) *Error {
	if e.Code != syscall.EPERM && e.Code != syscall.EACCES && e.Code != syscall.EBADF {
		return e
	}
	if ro, err := d.ReadOnly(); err == nil && ro {
		e.Err = ErrReadOnly
	}
	return e
}

// patience is how long a call whose context ended waits for a kernel call that
// may be about to return anyway, before it gives up with ErrPending.
const patience = 50 * time.Millisecond

// await runs fn, which blocks in the kernel, and returns its result. When ctx
// ends first it returns ErrPending together with the cause, and Close waits
// for fn. fn gets ctx so that it can stop between two kernel calls.
func (d *Device) await(ctx context.Context, op string, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return newError(op, d.path, context.Cause(ctx))
	}
	done := make(chan error, 1)
	d.pending.Add(1)
	go func() {
		defer d.pending.Done()
		done <- fn(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return errorf(op, d.path, ErrPending, "%v", context.Cause(ctx))
	}
}

// Flush makes written data durable: fsync, which on a block device writes the
// page cache back and sends a cache flush to the disk.
func (d *Device) Flush(ctx context.Context) error {
	return d.await(ctx, "flush", func(context.Context) error {
		if err := d.f.Sync(); err != nil {
			return newError("flush", d.path, err)
		}
		return nil
	})
}

// ZeroRange makes n bytes at off read as zeros, and they stay allocated where
// the storage knows the difference: BLKZEROOUT on a block device,
// FALLOC_FL_ZERO_RANGE or PUNCH_HOLE in a file, plain writes where those are
// missing; never discard, whose result is not guaranteed to read as zeros.
// A cancelled call may have zeroed a part, from the front.
func (d *Device) ZeroRange(ctx context.Context, off, n int64) error {
	if err := d.checkWrite("zero", off, n); err != nil {
		return err
	}
	return d.await(ctx, "zero", func(ctx context.Context) error {
		return d.zeroRange(ctx, off, n)
	})
}

// zeroByWriting is the last way of ZeroRange and serves the unaligned edges.
func (d *Device) zeroByWriting(ctx context.Context, off, n int64) error {
	zeros := alignedBuf(int(min(n, bounceSize)))
	for n > 0 {
		if ctx.Err() != nil {
			return errorf("zero", d.path, context.Cause(ctx), "stopped at offset %d", off)
		}
		k := min(n, int64(len(zeros)))
		if _, err := d.WriteAt(zeros[:k], off); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
