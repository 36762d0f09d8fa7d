// SPDX-License-Identifier: MIT

package dmtest

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"strings"
	"sync"
)

// exceptions are the chunks of a snapshot that live on the copy-on-write
// device, and the store that remembers them: struct dm_exception_store of
// dm-exception-store.h with either dm-snap-persistent.c (kept on the device,
// in the real format) or dm-snap-transient.c.
type exceptions struct {
	k          *Kernel
	persistent bool
	overflowOK bool // PO: fill up with "Overflow" and not "Invalid"

	// mu guards what follows, and is not held over I/O. Where, order and
	// next change only with originGroup.io held for writing too, so that
	// who holds io reads them freely.
	mu         sync.Mutex
	cow        *Dev
	chunk      uint64 // sectors; zero until a handover
	valid      bool
	overflowed bool
	where      map[uint64]uint64 // chunk of the origin to chunk of the device
	order      [][2]uint64       // the same in the order of commitment
	next       uint64            // next free chunk
}

const (
	snapMagic          = 0x70416e53 // "SnAp"
	snapVersion        = 1
	snapHeaderChunks   = 1
	snapDefaultSectors = 32 // DM_CHUNK_SIZE_DEFAULT_SECTORS
	exceptionSize      = 16
	logSnap            = "snapshots"
	logSnapPersistent  = "persistent snapshot"
)

// perArea is how many exceptions a metadata chunk holds.
func (x *exceptions) perArea() uint64 { return x.chunk * sectorSize / exceptionSize }

func (x *exceptions) areaChunk(area uint64) uint64 {
	return snapHeaderChunks + (x.perArea()+1)*area
}

// newExceptions reads the type and the chunk size of a table line. The text
// of a refusal is replaced by the caller, as in the kernel.
func newExceptions(a *Args, cow, origin *Dev, kind, chunk string) *exceptions {
	x := &exceptions{k: a.Kernel(), cow: cow, valid: true, where: map[uint64]uint64{}}
	switch {
	case strings.HasPrefix(strings.ToUpper(kind), "P"):
		x.persistent = true
		x.next = snapHeaderChunks + 1
		if len(kind) > 1 {
			if strings.ToUpper(kind[1:2]) != "O" {
				x.k.Log(logSnapPersistent, "Unsupported persistent store option: %s", kind[1:])
				return nil
			}
			x.overflowOK = true
		}
	case strings.HasPrefix(strings.ToUpper(kind), "N"):
	default:
		return nil
	}
	n, err := strconv.ParseUint(chunk, 10, 32)
	if err != nil {
		return nil
	}
	if n == 0 {
		return x // the header says, or the default
	}
	if !x.setChunk(n, origin) {
		return nil
	}
	return x
}

// setChunk is dm_exception_store_set_chunk_size.
func (x *exceptions) setChunk(n uint64, origin *Dev) bool {
	for _, d := range []*Dev{x.cow, origin} {
		if n%uint64(max(d.BlockSize()/sectorSize, 1)) != 0 {
			return false
		}
	}
	if bits.OnesCount64(n) != 1 || n > (1<<31-1)>>9 {
		return false
	}
	x.chunk = n
	return true
}

// load is the read_metadata of the store. marked is true for a store that an
// overflow made invalid earlier.
func (x *exceptions) load(origin *Dev) (marked bool, err error) {
	if !x.persistent {
		return false, nil
	}
	head := make([]byte, sectorSize)
	if err := x.cow.ReadSectors(head, 0); err != nil {
		return false, err
	}
	le := binary.LittleEndian
	switch le.Uint32(head) {
	case 0:
		if x.chunk == 0 {
			x.chunk = snapDefaultSectors
		}
		if x.chunk > x.cow.Sectors() {
			return false, EIO
		}
		if err := x.writeHeader(true); err != nil {
			return false, err
		}
		return false, x.writeArea(0)
	case snapMagic:
	default:
		x.k.Log(logSnapPersistent, "Invalid or corrupt snapshot")
		return false, ENXIO
	}
	x.valid = le.Uint32(head[4:]) != 0
	version, chunk := le.Uint32(head[8:]), uint64(le.Uint32(head[12:]))
	if chunk != x.chunk {
		if x.chunk != 0 {
			x.k.Log(logSnapPersistent, "chunk size %d in device metadata overrides table chunk size of %d.", chunk, x.chunk)
		}
		if chunk == 0 || !x.setChunk(chunk, origin) {
			x.k.Log(logSnapPersistent, "invalid on-disk chunk size %d: Chunk size is not a power of 2.", chunk)
			return false, EINVAL
		}
	}
	if x.chunk > x.cow.Sectors() {
		return false, EIO
	}
	if version != snapVersion {
		x.k.Log(logSnapPersistent, "unable to handle snapshot disk version %d", version)
		return false, EINVAL
	}
	if !x.valid {
		return true, nil
	}
	return false, x.readAreas()
}

func (x *exceptions) readAreas() error {
	area := make([]byte, x.chunk*sectorSize)
	for n := uint64(0); ; n++ {
		if err := x.cow.ReadSectors(area, x.areaChunk(n)*x.chunk); err != nil {
			return err
		}
		for i := range x.perArea() {
			rec := area[i*exceptionSize:]
			old, moved := binary.LittleEndian.Uint64(rec), binary.LittleEndian.Uint64(rec[8:])
			if moved == 0 {
				x.skipMetadata()
				return nil
			}
			x.where[old] = moved
			x.order = append(x.order, [2]uint64{old, moved})
			x.next = max(x.next, moved+1)
		}
	}
}

func (x *exceptions) writeHeader(valid bool) error {
	head := make([]byte, x.chunk*sectorSize)
	le := binary.LittleEndian
	le.PutUint32(head, snapMagic)
	if valid {
		le.PutUint32(head[4:], 1)
	}
	le.PutUint32(head[8:], snapVersion)
	le.PutUint32(head[12:], uint32(x.chunk))
	return x.device().WriteSectors(head, 0)
}

// writeArea writes a metadata chunk as it follows from order.
func (x *exceptions) writeArea(n uint64) error {
	area := make([]byte, x.chunk*sectorSize)
	for i := range x.perArea() {
		at := n*x.perArea() + i
		if at >= uint64(len(x.order)) {
			break
		}
		rec := area[i*exceptionSize:]
		binary.LittleEndian.PutUint64(rec, x.order[at][0])
		binary.LittleEndian.PutUint64(rec[8:], x.order[at][1])
	}
	return x.device().WriteSectors(area, x.areaChunk(n)*x.chunk)
}

// skipMetadata moves the next free chunk off a metadata chunk.
func (x *exceptions) skipMetadata() {
	if x.persistent && x.next%(x.perArea()+1) == snapHeaderChunks {
		x.next++
	}
}

// device is the copy-on-write device now; a handover changes it.
func (x *exceptions) device() *Dev {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.cow
}

// usable reports whether the snapshot can be read and whether it can take
// writes.
func (x *exceptions) usable() (read, write bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	read = x.valid && x.chunk > 0
	return read, read && !x.overflowed
}

// allocate takes a free chunk. Called with io held for writing, as are
// commit and forget.
func (x *exceptions) allocate() (uint64, bool) {
	size := x.device().Sectors()
	x.mu.Lock()
	defer x.mu.Unlock()
	if size < (x.next+1)*x.chunk {
		return 0, false
	}
	n := x.next
	x.next++
	x.skipMetadata()
	return n, true
}

// commit makes an exception durable.
func (x *exceptions) commit(old, moved uint64) error {
	x.mu.Lock()
	x.where[old] = moved
	x.order = append(x.order, [2]uint64{old, moved})
	n := uint64(len(x.order))
	x.mu.Unlock()
	if !x.persistent {
		return nil
	}
	// A full area has a zeroed one behind it before it counts.
	if n%x.perArea() == 0 {
		if err := x.writeArea(n / x.perArea()); err != nil {
			return err
		}
	}
	return x.writeArea((n - 1) / x.perArea())
}

// forget takes the exception that was committed last out, merged.
func (x *exceptions) forget() error {
	x.mu.Lock()
	last := len(x.order) - 1
	delete(x.where, x.order[last][0])
	x.order = x.order[:last]
	n := uint64(last)
	if x.persistent {
		// Only the status looks at the next free chunk from now on.
		x.next = x.areaChunk(n/x.perArea()) + n%x.perArea() + 1
	}
	x.mu.Unlock()
	if !x.persistent {
		return nil
	}
	return x.writeArea(n / x.perArea())
}

// invalidate is __invalidate_snapshot without its event; it reports whether
// the snapshot was valid.
func (x *exceptions) invalidate(why string) bool {
	x.mu.Lock()
	was := x.valid
	x.valid = false
	x.mu.Unlock()
	if !was {
		return false
	}
	x.k.Log(logSnap, "Invalidating snapshot: %s", why)
	if x.persistent {
		if err := x.writeHeader(false); err != nil {
			x.k.Log(logSnapPersistent, "write header failed")
		}
	}
	return true
}

// left is how many chunks a merge has before it.
func (x *exceptions) left() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.order)
}

// usage is the persistent_usage and the transient_usage.
func (x *exceptions) usage() (allocated, total, metadata uint64) {
	total = x.device().Sectors()
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.persistent || x.chunk == 0 {
		return x.next * x.chunk, total, 0
	}
	area := uint64(len(x.order)) / x.perArea()
	return x.next * x.chunk, total, (area + 1 + snapHeaderChunks) * x.chunk
}

func (x *exceptions) params() string {
	kind := "N"
	if x.persistent {
		kind = "P"
	}
	if x.overflowOK {
		kind = "PO"
	}
	return kind + " " + strconv.FormatUint(x.chunk, 10)
}
