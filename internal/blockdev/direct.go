// SPDX-License-Identifier: MIT

package blockdev

import (
	"io"
	"os"
	"sync"
	"unsafe"
)

const (
	// bounceSize bounds the aligned copy buffer of one transfer.
	bounceSize = 1 << 20
	// memAlign is the alignment of buffers given to the kernel. It satisfies
	// every known dma_alignment (511 at most in practice, include/linux/blkdev.h).
	memAlign = 4096
)

// alignedBuf gives n bytes at an address that is a multiple of memAlign. The
// Go heap does not move objects, so over-allocating is enough.
func alignedBuf(n int) []byte {
	b := make([]byte, n+memAlign)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (memAlign - 1))
	return b[skip : skip+n : skip+n]
}

func aligned(p []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(p)))&(memAlign-1) == 0
}

// directIO does reads and writes of any shape over calls that take only
// aligned offsets, lengths and memory.
type directIO struct {
	align  int64 // a power of two: offsets and lengths must be multiples
	size   func() (int64, error)
	pread  func([]byte, int64) (int, error)
	pwrite func([]byte, int64) (int, error)
	tail   *os.File // cached handle for the last, partial block of a file

	// edge serialises read-modify-write, so that two writers of different
	// bytes of one block do not undo each other.
	edge sync.Mutex
}

// readAt implements io.ReaderAt.
func (d *directIO) readAt(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	size, err := d.size()
	if err != nil {
		return 0, err
	}
	if off >= size {
		return 0, io.EOF
	}
	var eof error
	if int64(len(p)) > size-off {
		p, eof = p[:size-off], io.EOF
	}
	var bounce []byte
	done := 0
	for done < len(p) {
		pos, rest := off+int64(done), p[done:]
		skip := pos & (d.align - 1)
		if whole := int64(len(rest)) &^ (d.align - 1); skip == 0 && whole > 0 && aligned(rest) {
			n, err := d.readBlocks(rest[:whole], pos, whole)
			done += n
			if err != nil {
				return done, err
			}
			continue
		}
		want := min(skip+int64(len(rest)), bounceSize)
		whole := (want + d.align - 1) &^ (d.align - 1)
		if int64(len(bounce)) < whole {
			bounce = alignedBuf(int(whole))
		}
		n, err := d.readBlocks(bounce[:whole], pos-skip, want)
		if int64(n) > skip {
			done += copy(rest, bounce[skip:min(int64(n), want)])
		}
		if err != nil {
			return done, err
		}
	}
	return done, eof
}

// readBlocks fills the aligned buffer p from the aligned offset pos, or at
// least its first want bytes: the block at the end of a file may be short.
func (d *directIO) readBlocks(p []byte, pos, want int64) (int, error) {
	n := 0
	for int64(n) < want {
		k, err := d.pread(p[n:], pos+int64(n))
		n += k
		switch {
		case err != nil:
			return n, err
		case int64(n) >= want:
		case k == 0, int64(k)&(d.align-1) != 0:
			// Not the end of the device by its size, yet no more comes.
			return n, io.ErrUnexpectedEOF
		}
	}
	return n, nil
}

// writeAt writes all of p; the caller has checked that it fits.
func (d *directIO) writeAt(p []byte, off int64) (int, error) {
	size, err := d.size()
	if err != nil {
		return 0, err
	}
	var bounce []byte
	done := 0
	for done < len(p) {
		pos, rest := off+int64(done), p[done:]
		skip := pos & (d.align - 1)
		whole := int64(len(rest)) &^ (d.align - 1)
		var n int
		switch {
		case pos-skip+d.align > size && d.tail != nil:
			n, err = d.tail.WriteAt(rest, pos)
		case skip != 0 || whole == 0:
			n, err = d.modifyBlock(rest, pos)
		case aligned(rest):
			n, err = d.writeBlocks(rest[:whole], pos)
		default:
			whole = min(whole, bounceSize)
			if int64(len(bounce)) < whole {
				bounce = alignedBuf(int(whole))
			}
			copy(bounce[:whole], rest)
			n, err = d.writeBlocks(bounce[:whole], pos)
		}
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// writeBlocks writes the aligned buffer p at the aligned offset pos.
func (d *directIO) writeBlocks(p []byte, pos int64) (int, error) {
	n := 0
	for n < len(p) {
		k, err := d.pwrite(p[n:], pos+int64(n))
		n += k
		switch {
		case err != nil:
			return n, err
		case n < len(p) && (k == 0 || int64(k)&(d.align-1) != 0):
			return n, io.ErrShortWrite
		}
	}
	return n, nil
}

// modifyBlock writes the part of p that lies in the block around pos by
// reading the block, changing it and writing it back.
func (d *directIO) modifyBlock(p []byte, pos int64) (int, error) {
	skip := pos & (d.align - 1)
	d.edge.Lock()
	defer d.edge.Unlock()
	block := alignedBuf(int(d.align))
	if _, err := d.readBlocks(block, pos-skip, d.align); err != nil {
		return 0, err
	}
	n := copy(block[skip:], p)
	if k, err := d.writeBlocks(block, pos-skip); err != nil {
		// What the caller may count as written starts after skip.
		return min(max(k-int(skip), 0), n), err
	}
	return n, nil
}
