// SPDX-License-Identifier: MIT

package kmsg

import (
	"io"

	"golang.org/x/sys/unix"
)

// maxRecord is more than the kernel prints for one record: 8192 bytes up to
// Linux 6.3 (CONSOLE_EXT_LOG_MAX), 2048 since (PRINTK_MESSAGE_MAX). With less
// room read(2) would fail with EINVAL.
const maxRecord = 8192

// maxRecords bounds one Collect against a kernel that logs faster than we read.
const maxRecords = 4096

// Reader is one cursor into the kernel's log. It is for one goroutine at a
// time.
type Reader struct {
	fd  int
	buf []byte
}

// Open opens the log. The cursor is at its oldest record until Mark.
func Open() (*Reader, error) {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fail("open", err)
	}
	return &Reader{fd: fd}, nil
}

// Mark moves the cursor behind the newest record.
func (r *Reader) Mark() error {
	if r.fd < 0 {
		return fail("mark", ErrClosed)
	}
	_, err := unix.Seek(r.fd, 0, io.SeekEnd)
	return fail("mark", err)
}

// Collect returns every record since Mark or the last Collect, without
// waiting. When the kernel overwrote some meanwhile the rest is returned; the
// gap shows in Seq.
func (r *Reader) Collect() ([]Record, error) {
	if r.fd < 0 {
		return nil, fail("collect", ErrClosed)
	}
	if r.buf == nil {
		r.buf = make([]byte, maxRecord)
	}
	var list []Record
	for len(list) < maxRecords {
		n, err := unix.Read(r.fd, r.buf)
		switch err {
		case nil:
			if n <= 0 {
				return list, nil
			}
			rec, err := ParseRecord(r.buf[:n])
			if err != nil {
				return list, fail("collect", err)
			}
			list = append(list, rec)
		case unix.EAGAIN:
			return list, nil
		case unix.EPIPE, unix.EINTR:
			// EPIPE: the record under the cursor was overwritten; the kernel
			// has moved the cursor to the oldest one left.
		default:
			return list, fail("collect", err)
		}
	}
	return list, nil
}

// Close closes the reader; a second one does nothing.
func (r *Reader) Close() error {
	if r.fd < 0 {
		return nil
	}
	err := unix.Close(r.fd)
	r.fd = -1
	return fail("close", err)
}
