// SPDX-License-Identifier: MIT

package dmraid

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// Reader reads the content of an array from its legs, without the kernel. What
// a leg can't give is taken from the copies and parity on the others, as md
// does: legs that are missing, that are not rebuilt yet, and reads that fail.
// It is safe for concurrent use, if the legs are. It only reads.
type Reader struct {
	g      Geometry
	m      mapping
	legs   []readerLeg
	synced int64   // md's recovery_cp, bytes
	cuts   []int64 // offsets on the legs, ascending, where what can be used changes
	sum    int64   // largest piece of a chunk that is summed at a time

	mu       sync.Mutex
	failures map[int]*LegFailure
}

type readerLeg struct {
	r    io.ReaderAt // nil: missing
	upto int64       // how much of it is in sync, bytes from its data offset on
}

// LegFailure is what became of the reads of a leg.
type LegFailure struct {
	Leg    int
	Count  int     // of reads that failed; neighbouring ones can be read as one
	Sector Sectors // of the leg's data device: where the first of them began
	Err    error   // of the first
}

// ReaderOption changes a [Reader].
type ReaderOption func(*readerOptions)

type readerOptions struct {
	recovered map[int]Sectors
	synced    Sectors
	losses    bool
	events    uint64
	failed    [4]uint64
}

// WithRecovered says that a leg is in sync only below an offset: it is being
// rebuilt. The offset is md's recovery_offset, which does not count the data
// offset ([Superblock.DiskRecovery]). Above it the leg is not read.
func WithRecovered(leg int, upto Sectors) ReaderOption {
	return func(o *readerOptions) { o.recovered[leg] = upto }
}

// WithSynced says how far the array is synced: md's recovery_cp
// ([Superblock.ArrayResync]), counted on the legs with raid 4, 5 and 6, on the
// array with raid 1 and 10. Above it parity is not used: what needs it fails
// with [ErrState], where md does not start such an array at all ("cannot start
// dirty degraded array"). Of copies the first that can be read counts, as with
// md.
func WithSynced(upto Sectors) ReaderOption {
	return func(o *readerOptions) { o.synced = upto }
}

// WithSuperblock takes over what the superblock of a leg says: how far the leg
// is rebuilt and the array synced, and, from the one with the most events,
// which legs failed.
func WithSuperblock(leg int, s Superblock) ReaderOption {
	return func(o *readerOptions) {
		if s.DiskRecovery != MaxSector {
			o.recovered[leg] = s.DiskRecovery
		}
		if events := max(s.Events, 1); events > o.events {
			o.events, o.failed, o.synced = events, s.FailedDevices, s.ArrayResync
		}
	}
}

// WithLosses makes a reader even where data is lost for good, for a rescue:
// the reads of what is gone fail, the others don't.
func WithLosses() ReaderOption { return func(o *readerOptions) { o.losses = true } }

// NewReader makes a reader from the data devices of all positions of the
// array, or images of them; nil is a leg that is missing. When more is missing
// than [Geometry.Tolerates], the error is [ErrDegraded].
func NewReader(g Geometry, legs []io.ReaderAt, options ...ReaderOption) (*Reader, error) {
	fail := func(err error, format string, a ...any) (*Reader, error) {
		return nil, &Error{Op: "read", Detail: fmt.Sprintf(format, a...), Err: err}
	}
	m, ok := g.mapping()
	if err := g.Check(); err != nil || !ok {
		return nil, err
	}
	if len(legs) != g.Positions() {
		return fail(ErrTable, "%d legs, and the array has %d", len(legs), g.Positions())
	}
	o := readerOptions{recovered: map[int]Sectors{}, synced: MaxSector}
	for _, option := range options {
		option(&o)
	}
	r := &Reader{g: g, m: m, legs: make([]readerLeg, len(legs)), synced: offsetOf(o.synced), failures: map[int]*LegFailure{}}
	var missing []int
	for i, leg := range legs {
		upto, partly := o.recovered[i]
		if !partly {
			upto = MaxSector
		}
		if o.failed[i/64]>>(i%64)&1 != 0 {
			leg = nil
		}
		r.legs[i] = readerLeg{leg, offsetOf(upto)}
		if leg == nil || upto < g.LegSectors {
			missing = append(missing, i)
		}
		if leg != nil && upto < g.LegSectors {
			r.cuts = append(r.cuts, offsetOf(upto))
		}
	}
	for leg := range o.recovered {
		if leg < 0 || leg >= len(legs) {
			return fail(ErrTable, "there is no leg %d", leg)
		}
	}
	if r.synced < math.MaxInt64 {
		r.cuts = append(r.cuts, r.synced)
	}
	slices.Sort(r.cuts)
	if !o.losses && !g.Tolerates(missing...) {
		return fail(ErrDegraded, "legs %v are missing, or not in sync", missing)
	}
	r.sum = max(maxSummed/int64(len(legs))&^4095, 4096)
	return r, nil
}

// offsetOf is s in bytes, with all that is too much the largest number.
func offsetOf(s Sectors) int64 { return s.Bytes() }

// Geometry is what NewReader was given.
func (r *Reader) Geometry() Geometry { return r.g }

// Size is that of the array in bytes.
func (r *Reader) Size() int64 { return r.m.size() }

// Failures lists the legs that failed to be read so far, with nothing when
// all went well.
func (r *Reader) Failures() []LegFailure {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []LegFailure
	for leg := range r.legs {
		if f := r.failures[leg]; f != nil {
			list = append(list, *f)
		}
	}
	return list
}

func (r *Reader) failed(leg int, off int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.failures[leg]
	if f == nil {
		f = &LegFailure{Leg: leg, Sector: Sectors(off / sectorSize), Err: err}
		r.failures[leg] = f
	}
	f.Count++
}

const (
	windowSize = 1 << 20 // of the array, read at a time
	maxSummed  = 4 << 20 // of all legs together, summed at a time
)

// ReadAt implements [io.ReaderAt] over the content of the array. Large reads
// are read from all legs in parallel.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, &Error{Op: "read", Detail: fmt.Sprintf("offset %d", off), Err: ErrTable}
	}
	var end error
	if left := max(r.Size()-off, 0); int64(len(p)) > left {
		p, end = p[:left], io.EOF
	}
	read := 0
	for read < len(p) {
		at := off + int64(read)
		f, _ := r.m.at(at)
		part := p[read:min(int64(len(p)), int64(read)+r.m.until(at)-at)]
		n, err := r.readForm(f, part, at)
		if read += n; err != nil {
			return read, err
		}
	}
	return read, end
}

// readForm reads a range of the array that one form is for.
func (r *Reader) readForm(f *form, p []byte, off int64) (int, error) {
	read, window := r.readCopies, int64(windowSize)
	if !f.mirrored() {
		row := f.chunk * int64(f.data)
		read, window = r.readRows, max(windowSize/row, 1)*row
	}
	head := window - off%window
	if int64(len(p)) <= head {
		if err := read(f, p, off); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	windows := 1 + int((int64(len(p))-head+window-1)/window)
	workers := min(windows, max(runtime.GOMAXPROCS(0), 2))
	starts := func(i int) int64 {
		if i == 0 {
			return 0
		}
		return min(head+int64(i-1)*window, int64(len(p)))
	}
	var (
		next   atomic.Int64
		wg     sync.WaitGroup
		mu     sync.Mutex
		first  = windows // the first window that failed
		failed error
	)
	for range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= windows {
					return
				}
				lo := starts(i)
				err := read(f, p[lo:starts(i+1)], off+lo)
				if err == nil {
					continue
				}
				mu.Lock()
				if i < first {
					first, failed = i, err
				}
				mu.Unlock()
				next.Store(int64(windows)) // those before are under way already
				return
			}
		})
	}
	wg.Wait()
	return int(starts(first)), failed
}

// usable is how much of a piece of a leg can be used, from its begin on. The
// piece is n bytes at off, which does not count the data offset.
func (r *Reader) usable(leg int, off, n int64) int64 {
	l := &r.legs[leg]
	if l.r == nil {
		return 0
	}
	return min(max(l.upto-off, 0), n)
}

// degraded is the error for what can't be had any more.
func (r *Reader) degraded(off int64, gone []int, cause error) error {
	err := error(ErrDegraded)
	if cause != nil {
		err = fmt.Errorf("%w: %w", ErrDegraded, cause)
	}
	return &Error{Op: "read", Object: fmt.Sprintf("sector %d", off/sectorSize), Detail: fmt.Sprintf("legs %v can't be used", gone), Err: err}
}
