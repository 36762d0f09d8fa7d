// SPDX-License-Identifier: MIT

package dmraid

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Of drivers/md/md-bitmap.h.
const (
	bitmapMagic      = 0x6d746962 // BITMAP_MAGIC, "bitm"
	bitmapSuperSize  = 256        // sizeof(bitmap_super_t)
	bitmapLow        = 3          // BITMAP_MAJOR_HOSTENDIAN
	bitmapVersion    = 4          // BITMAP_MAJOR_HI
	bitmapClustered  = 5          // BITMAP_MAJOR_CLUSTERED
	bitmapCounterMax = 1<<14 - 1  // COUNTER_MAX
)

// DecodeBitmap reads a bitmap from the bytes of a metadata device from byte
// 4096 on ([BitmapOffset]): its head of 256 bytes and then a bit for each
// region. Bytes beyond go to Tail, so that Encode gives back all of b.
//
// Errors: [ErrForeign] without the magic, [ErrCorrupt] for a head that md does
// not load (md_bitmap_read_sb) or too few bytes for its regions,
// errors.ErrUnsupported for a version that this target does not have.
func DecodeBitmap(b []byte) (Bitmap, error) {
	m, err := decodeBitmapHead(b)
	if err != nil {
		return m, err
	}
	rest := b[bitmapSuperSize:]
	need := (m.Regions() + 7) / 8
	if need > int64(len(rest)) {
		return m, bitmapError(ErrCorrupt, "%d bytes of bits where %d regions need %d", len(rest), m.Regions(), need)
	}
	m.Bits = bytes.Clone(rest[:need])
	if int64(len(rest)) > need {
		m.Tail = bytes.Clone(rest[need:])
	}
	return m, nil
}

func bitmapError(err error, format string, args ...any) error {
	return &Error{Op: "bitmap", Detail: fmt.Sprintf(format, args...), Err: err}
}

func decodeBitmapHead(b []byte) (Bitmap, error) {
	if len(b) < 4 {
		return Bitmap{}, bitmapError(ErrCorrupt, "%d bytes are too few", len(b))
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	if u32(0) != bitmapMagic {
		return Bitmap{}, bitmapError(ErrForeign, "magic %#08x is no bitmap's", u32(0))
	}
	if len(b) < bitmapSuperSize {
		return Bitmap{}, bitmapError(ErrCorrupt, "%d bytes are too few", len(b))
	}
	m := Bitmap{
		Version: u32(4), UUID: [16]byte(b[8:24]),
		Events: u64(24), EventsCleared: u64(32), SyncSize: Sectors(u64(40)),
		State: u32(48), ChunkSize: int64(u32(52)), DaemonSleep: u32(56), WriteBehind: u32(60),
		SectorsReserved: u32(64), Nodes: u32(68),
		ClusterName: [64]byte(b[72:136]), Pad: [120]byte(b[136:256]),
	}
	if m.Version < bitmapLow || m.Version > bitmapClustered {
		return m, bitmapError(errors.ErrUnsupported, "unrecognized superblock version %d", m.Version)
	}
	switch why := m.refused(); {
	case why != "":
		return m, bitmapError(ErrCorrupt, "%s", why)
	case m.SyncSize >= 1<<55 || m.Regions() > 1<<32:
		return m, bitmapError(ErrCorrupt, "%d regions", m.Regions())
	}
	return m, nil
}

// refused is why md doesn't load the bitmap, in its words, or empty
// (md_bitmap_read_sb in drivers/md/md-bitmap.c).
func (b Bitmap) refused() string {
	switch {
	case b.Version < bitmapLow || b.Version > bitmapClustered:
		return "unrecognized superblock version"
	case b.ChunkSize < 512:
		return "bitmap chunksize too small"
	case b.ChunkSize&(b.ChunkSize-1) != 0:
		return "bitmap chunksize not a power of 2"
	case b.DaemonSleep < 1:
		return "daemon sleep period out of range"
	case b.WriteBehind > bitmapCounterMax:
		return "write-behind limit out of range (0 - 16383)"
	}
	return ""
}

// Encode writes head, bits and tail as they lie from byte 4096 on. Bits that
// are fewer than the regions are filled up with clean ones.
func (b Bitmap) Encode() []byte {
	need := max((b.Regions()+7)/8, 0)
	if n := int64(len(b.Bits)); n > need || need > 1<<29 { // 2^32 regions
		need = n
	}
	out := make([]byte, bitmapSuperSize+int(need), bitmapSuperSize+int(need)+len(b.Tail))
	put32 := func(at int, v uint32) { binary.LittleEndian.PutUint32(out[at:], v) }
	put64 := func(at int, v uint64) { binary.LittleEndian.PutUint64(out[at:], v) }
	put32(0, bitmapMagic)
	put32(4, b.Version)
	copy(out[8:], b.UUID[:])
	put64(24, b.Events)
	put64(32, b.EventsCleared)
	put64(40, uint64(b.SyncSize))
	put32(48, b.State)
	put32(52, uint32(b.ChunkSize))
	put32(56, b.DaemonSleep)
	put32(60, b.WriteBehind)
	put32(64, b.SectorsReserved)
	put32(68, b.Nodes)
	copy(out[72:], b.ClusterName[:])
	copy(out[136:], b.Pad[:])
	copy(out[bitmapSuperSize:], b.Bits)
	return append(out, b.Tail...)
}

// ReadBitmap reads the bitmap of a metadata device or of an image of one: the
// pages of 4096 bytes from byte 4096 on that its regions need, and no Tail. A
// device that an active array has must be read past the page cache
// (O_DIRECT). Errors are those of [DecodeBitmap], and of the reader.
func ReadBitmap(r io.ReaderAt) (Bitmap, error) {
	const page = 4096
	b := make([]byte, page)
	n, err := r.ReadAt(b, BitmapOffset)
	if n < bitmapSuperSize && err != nil && !errors.Is(err, io.EOF) {
		return Bitmap{}, &Error{Op: "bitmap", Detail: "read", Err: err}
	}
	m, err := decodeBitmapHead(b[:n])
	if err != nil {
		return m, err
	}
	need := bitmapSuperSize + (m.Regions()+7)/8
	// The head may lie about the size: no more memory than there are bytes.
	buf := bytes.NewBuffer(b[:n])
	for int64(buf.Len()) < need && buf.Len()%page == 0 {
		at := int64(buf.Len())
		step := min((need-at+page-1)/page*page, 64*page)
		chunk := make([]byte, step)
		n, err := r.ReadAt(chunk, BitmapOffset+at)
		buf.Write(chunk[:n])
		if err != nil && !errors.Is(err, io.EOF) {
			return m, &Error{Op: "bitmap", Detail: "read", Err: err}
		}
		if err != nil {
			break
		}
	}
	return DecodeBitmap(buf.Bytes()[:min(need, int64(buf.Len()))])
}
