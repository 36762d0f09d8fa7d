// SPDX-License-Identifier: MIT

package dmtest

import (
	"errors"
	"io"
	"io/fs"
	"sync"
)

// direction of an I/O.
type direction uint8

const (
	reading direction = iota
	writing
	discarding
)

// enter waits while I/O is queued and holds the live table. Called with mu
// held.
func (d *device) enter(stop <-chan struct{}) (*table, error) {
	if !d.k.waitUntil(stop, func() bool { return !d.blocked }) {
		return nil, fs.ErrClosed
	}
	if d.live == nil {
		return nil, EIO
	}
	d.inflight++
	d.live.refs++
	return d.live, nil
}

func (d *device) leave(t *table) {
	d.inflight--
	t.refs--
	d.k.broadcast()
}

// Splitter is implemented by a target that wants no I/O across the borders
// of its chunks (dm_set_target_max_io_len). What is split counts in the
// statistics as several.
type Splitter interface {
	MaxIO() (sectors uint64) // counted from the start of the segment
}

// errRequeue is DM_MAPIO_REQUEUE: an I/O that a target gives back during a
// suspend without flush. It starts anew when the device runs.
var errRequeue = errors.New("requeue")

// submit sends an I/O through the live table. Called without mu.
func (d *device) submit(dir direction, p []byte, sector, count uint64, stop <-chan struct{}) error {
	for {
		if err := d.submitOnce(dir, p, sector, count, stop); err != errRequeue {
			return err
		}
	}
}

// submitOnce splits an I/O at the targets of the live table.
func (d *device) submitOnce(dir direction, p []byte, sector, count uint64, stop <-chan struct{}) error {
	k := d.k
	k.mu.Lock()
	t, err := d.enter(stop)
	ro := d.readOnly
	k.mu.Unlock()
	if err != nil {
		return err
	}
	if ro && dir != reading {
		err = EPERM
	}
	for count > 0 && err == nil {
		ti := t.find(sector)
		if ti == nil {
			err = EIO
			break
		}
		at := sector - ti.start
		n := min(count, ti.length-at)
		if s, ok := ti.inst.(Splitter); ok && dir != discarding {
			chunk := s.MaxIO()
			n = min(n, chunk-at%chunk)
		}
		var q []byte
		if dir != discarding {
			q, p = p[:n*sectorSize], p[n*sectorSize:]
		}
		k.mu.Lock()
		io := d.newIO(dir, sector, n)
		h, holds := ti.inst.(holder)
		if holds && k.version.AtLeast(4, 46) {
			d.unlocked(func() { h.hold(dir) })
			d.startIO(io)
		} else {
			d.startIO(io)
			if holds {
				d.unlocked(func() { h.hold(dir) })
			}
		}
		k.mu.Unlock()
		err = ti.do(dir, q, at, n)
		k.mu.Lock()
		// Since Linux 5.18 an I/O counts when it leaves the target.
		d.endIO(io, err != errKilled || !k.version.AtLeast(4, 46))
		k.mu.Unlock()
		if err == errKilled {
			err = EIO
		}
		sector, count = sector+n, count-n
	}
	k.mu.Lock()
	d.leave(t)
	k.mu.Unlock()
	return err
}

func (ti *target) do(dir direction, p []byte, at, n uint64) error {
	m, ok := ti.inst.(Mapper)
	if !ok {
		return EIO
	}
	switch dir {
	case reading:
		return m.ReadSectors(p, at)
	case writing:
		return m.WriteSectors(p, at)
	}
	if x, ok := ti.inst.(Discarder); ok {
		return x.DiscardSectors(at, n)
	}
	return errNotSupported
}

// holder is a target that keeps I/O for a while before it passes it on. Since
// Linux 5.18 such an I/O is not in flight to the statistics until then
// (accounts_remapped_io), though its time counts from the beginning.
type holder interface{ hold(dir direction) }

// errKilled is DM_MAPIO_KILL: the target itself refuses an I/O, which then
// fails with EIO.
var errKilled = errors.New("killed by the target")

var errNotSupported = errors.ErrUnsupported

func (d *device) readSectors(p []byte, sector uint64) error {
	return d.submit(reading, p, sector, uint64(len(p)/sectorSize), nil)
}

func (d *device) writeSectors(p []byte, sector uint64) error {
	return d.submit(writing, p, sector, uint64(len(p)/sectorSize), nil)
}

func (d *device) discardSectors(sector, count uint64) error {
	return d.submit(discarding, nil, sector, count, nil)
}

// IO is an open node of a device-mapper device.
type IO struct {
	d      *device
	closed chan struct{}
	once   sync.Once
}

// OpenDevice opens the node of a device for I/O through its live table. The
// name is that of the device, "major:minor" or a path. It counts as an open.
func (k *Kernel) OpenDevice(name string) (*IO, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.byName(name)
	if d == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if errno := d.open(); errno != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errno}
	}
	return &IO{d: d, closed: make(chan struct{})}, nil
}

// Size is the size in bytes now.
func (f *IO) Size() int64 {
	f.d.k.mu.Lock()
	defer f.d.k.mu.Unlock()
	return int64(f.d.size) * sectorSize
}

// ReadAt reads whole sectors: offset and length are multiples of 512, as
// with O_DIRECT. It sleeps while the device is suspended, until Close.
func (f *IO) ReadAt(p []byte, off int64) (int, error) { return f.do(reading, p, off) }

// WriteAt writes whole sectors and sleeps like ReadAt.
func (f *IO) WriteAt(p []byte, off int64) (int, error) { return f.do(writing, p, off) }

// Discard drops the content of bytes [off, off+n).
func (f *IO) Discard(off, n int64) error {
	if off < 0 || n < 0 || off%sectorSize != 0 || n%sectorSize != 0 || off+n > f.Size() {
		return EINVAL
	}
	return f.d.submit(discarding, nil, uint64(off/sectorSize), uint64(n/sectorSize), f.closed)
}

func (f *IO) do(dir direction, p []byte, off int64) (int, error) {
	select {
	case <-f.closed:
		return 0, fs.ErrClosed
	default:
	}
	if off < 0 || off%sectorSize != 0 || len(p)%sectorSize != 0 {
		return 0, EINVAL
	}
	n, short := len(p), error(nil)
	if size := f.Size(); off >= size {
		n = 0
	} else {
		n = int(min(int64(n), size-off))
	}
	if n < len(p) {
		if short = io.EOF; dir == writing {
			short = ENOSPC
		}
	}
	if n > 0 {
		err := f.d.submit(dir, p[:n], uint64(off/sectorSize), uint64(n/sectorSize), f.closed)
		if err != nil {
			return 0, err
		}
	}
	return n, short
}

// Close closes the node and ends I/O that waits for a resume; it may be
// called more than once.
func (f *IO) Close() error {
	f.once.Do(func() {
		close(f.closed)
		f.d.k.mu.Lock()
		defer f.d.k.mu.Unlock()
		f.d.close()
	})
	return nil
}

// Hold keeps a device open, as a mount or another program does: its open
// count rises, a removal is refused with EBUSY or deferred to release.
func (k *Kernel) Hold(name string) (release func(), err error) {
	f, err := k.OpenDevice(name)
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

// Event raises the event number of a device with a table and wakes those who
// wait, as its target would.
func (k *Kernel) Event(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.byName(name)
	if d == nil {
		return &fs.PathError{Op: "event", Path: name, Err: fs.ErrNotExist}
	}
	if d.live == nil {
		return EINVAL
	}
	d.event()
	return nil
}
