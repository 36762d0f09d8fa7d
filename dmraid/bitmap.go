// SPDX-License-Identifier: MIT

package dmraid

import (
	"fmt"
	"iter"
	"math/bits"
	"strings"
)

// BitmapOffset is where the bitmap lies on a metadata device, in bytes.
const BitmapOffset = 4096

// Flags in the state of a bitmap (enum bitmap_state of
// drivers/md/md-bitmap.h).
const (
	BitmapStale      = 1 << 1  // out of date: everything counts as dirty
	BitmapWriteError = 1 << 2  // writing it failed
	BitmapHostEndian = 1 << 15 // bits in the order of a big-endian host
)

// Bitmap is the write-intent bitmap of a leg: bitmap_super_t of
// drivers/md/md-bitmap.h, at byte 4096 of the metadata device, and its bits.
// raid0 and arrays with a journal have none.
type Bitmap struct {
	Version       uint32 // 4
	UUID          [16]byte
	Events        uint64
	EventsCleared uint64 // the event at which bits were last cleared
	SyncSize      Sectors
	State         uint32
	ChunkSize     int64  // bytes; a region
	DaemonSleep   uint32 // seconds
	WriteBehind   uint32
	Bits          []byte // one bit a region, little endian

	SectorsReserved uint32   // room for the bitmap; 0 from this target
	Nodes           uint32   // of a cluster; 0
	ClusterName     [64]byte // empty
	Pad             [120]byte
	// Tail is what followed the bits in what was decoded, up to its end. The
	// kernel fills the page of a new bitmap with ones.
	Tail []byte
}

// Regions is the number of regions: of bits that count.
func (b Bitmap) Regions() int64 {
	region := Sectors(b.ChunkSize / 512)
	if region == 0 {
		return 0
	}
	n := int64(b.SyncSize / region)
	if b.SyncSize%region != 0 {
		n++
	}
	return n
}

// RegionSize is what a bit stands for.
func (b Bitmap) RegionSize() Sectors { return Sectors(b.ChunkSize / 512) }

// IsDirty reports whether a region may differ between the legs. Regions that
// are not there are clean.
func (b Bitmap) IsDirty(region int64) bool {
	return region >= 0 && region < b.Regions() && region/8 < int64(len(b.Bits)) && b.Bits[region/8]>>(region%8)&1 != 0
}

// SetDirty marks a region that is there.
func (b Bitmap) SetDirty(region int64, dirty bool) {
	if region < 0 || region >= b.Regions() || region/8 >= int64(len(b.Bits)) {
		return
	}
	if dirty {
		b.Bits[region/8] |= 1 << (region % 8)
	} else {
		b.Bits[region/8] &^= 1 << (region % 8)
	}
}

// Dirty counts the regions that may differ between the legs, and the sectors
// that they cover: of a leg, and with raid10 of the array.
func (b Bitmap) Dirty() (regions int64, sectors Sectors) {
	n := b.Regions()
	whole := min(n/8, int64(len(b.Bits)))
	for _, v := range b.Bits[:whole] {
		regions += int64(bits.OnesCount8(v))
	}
	for i := whole * 8; i < n; i++ {
		if b.IsDirty(i) {
			regions++
		}
	}
	sectors = Sectors(regions) * b.RegionSize()
	if over := Sectors(n)*b.RegionSize() - b.SyncSize; n > 0 && b.IsDirty(n-1) {
		sectors -= over // the last region is short
	}
	return regions, sectors
}

// AllDirty reports whether every region is dirty: a bitmap that was made and
// never worked with, or one that the kernel found out of date.
func (b Bitmap) AllDirty() bool {
	n, _ := b.Dirty()
	return n == b.Regions()
}

// Range is a piece of a leg; with raid10's bitmap, of the array.
type Range struct{ Start, Length Sectors }

// String is "0s+2048s".
func (r Range) String() string { return r.Start.String() + "+" + r.Length.String() }

// DirtyRanges goes through the dirty pieces in order, neighbours joined.
func (b Bitmap) DirtyRanges() iter.Seq[Range] {
	return func(yield func(Range) bool) {
		n, size := b.Regions(), b.RegionSize()
		for i := int64(0); i < n; {
			if i%8 == 0 && i/8 < int64(len(b.Bits)) && b.Bits[i/8] == 0 {
				i += 8
				continue
			}
			if !b.IsDirty(i) {
				i++
				continue
			}
			first := i
			for i < n && b.IsDirty(i) {
				i++
			}
			start := Sectors(first) * size
			end := min(Sectors(i)*size, b.SyncSize)
			if !yield(Range{start, end - start}) {
				return
			}
		}
	}
}

// String is a line for people: "events 19, 8 regions of 1024s, 2 dirty
// (2048s)".
func (b Bitmap) String() string {
	var s strings.Builder
	n, sectors := b.Dirty()
	fmt.Fprintf(&s, "events %d, %d regions of %v, %d dirty (%v)", b.Events, b.Regions(), b.RegionSize(), n, sectors)
	if b.State&BitmapStale != 0 {
		s.WriteString(", out of date")
	}
	if b.State&BitmapWriteError != 0 {
		s.WriteString(", writing it failed")
	}
	return s.String()
}
