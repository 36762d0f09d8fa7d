// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

func TestRecordedBitmaps(t *testing.T) {
	for _, name := range recordedNames(t, "-bitmap") {
		b := recordedBlock(t, name)
		m, err := dmraid.DecodeBitmap(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := m.Encode(); !bytes.Equal(got, b) {
			t.Errorf("%s: encoded\n%x\nrecorded\n%x", name, got, b)
		}
		if m.Version != 4 || m.Regions() < 1 || m.SyncSize == 0 {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestBitmapFields(t *testing.T) {
	m, err := dmraid.DecodeBitmap(recordedBlock(t, "basic-meta-raid5_ls-bitmap"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Events != 0x13 || m.EventsCleared != 1 || m.SyncSize != 8192 || m.ChunkSize != 512<<10 ||
		m.RegionSize() != 1024 || m.Regions() != 8 || m.DaemonSleep != 5 || len(m.Bits) != 1 || len(m.Tail) != 255 {
		t.Errorf("%+v", m)
	}
}

// bitmapOf makes a bitmap whose regions are 1024 sectors.
func bitmapOf(size dmraid.Sectors, dirty ...int64) dmraid.Bitmap {
	m := dmraid.Bitmap{Version: 4, Events: 5, SyncSize: size, ChunkSize: 1024 * 512, DaemonSleep: 5}
	m.Bits = make([]byte, (m.Regions()+7)/8)
	for _, i := range dirty {
		m.SetDirty(i, true)
	}
	return m
}

func TestBitmapDirty(t *testing.T) {
	for _, c := range []struct {
		size    dmraid.Sectors
		dirty   []int64
		regions int64
		sectors dmraid.Sectors
		ranges  string
	}{
		{8192, nil, 0, 0, "[]"},
		{8192, []int64{0}, 1, 1024, "[0s+1024s]"},
		{8192, []int64{1, 2, 7}, 3, 3072, "[1024s+2048s 7168s+1024s]"},
		{8192, []int64{0, 1, 2, 3, 4, 5, 6, 7}, 8, 8192, "[0s+8192s]"},
		{8193, []int64{8}, 1, 1, "[8192s+1s]"},
		{8193, []int64{7, 8}, 2, 1025, "[7168s+1025s]"},
		{1 << 20, []int64{8, 9, 1023}, 3, 3072, "[8192s+2048s 1047552s+1024s]"},
		{100, []int64{0}, 1, 100, "[0s+100s]"},
		{0, nil, 0, 0, "[]"},
	} {
		m := bitmapOf(c.size, c.dirty...)
		if n, s := m.Dirty(); n != c.regions || s != c.sectors {
			t.Errorf("%v %v: %d, %v", c.size, c.dirty, n, s)
		}
		if got := fmt.Sprint(slices.Collect(m.DirtyRanges())); got != c.ranges {
			t.Errorf("%v %v: %s", c.size, c.dirty, got)
		}
		if m.AllDirty() != (c.regions == m.Regions()) {
			t.Errorf("%v %v: all dirty %v", c.size, c.dirty, m.AllDirty())
		}
		// Bits beyond the last region don't count.
		if len(m.Bits) > 0 {
			for i := m.Regions(); i%8 != 0; i++ {
				m.Bits[len(m.Bits)-1] |= 1 << (i % 8)
			}
		}
		if n, s := m.Dirty(); n != c.regions || s != c.sectors {
			t.Errorf("%v %v with pad bits: %d, %v", c.size, c.dirty, n, s)
		}
	}
	m := bitmapOf(8192, 1, 3, 5)
	for range m.DirtyRanges() {
		break // an iterator has to stop when it is told
	}
	m.SetDirty(3, false)
	m.SetDirty(8, true)
	m.SetDirty(-1, true)
	if m.IsDirty(3) || !m.IsDirty(1) || m.IsDirty(8) || m.IsDirty(-1) {
		t.Errorf("%08b", m.Bits)
	}
	if got, want := m.String(), "events 5, 8 regions of 1024s, 2 dirty (2048s)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	m.State = dmraid.BitmapStale | dmraid.BitmapWriteError
	if got := m.String(); !strings.HasSuffix(got, ", out of date, writing it failed") {
		t.Error(got)
	}
}

func TestDecodeBitmapRefuses(t *testing.T) {
	good := recordedBlock(t, "basic-meta-raid5_ls-bitmap")
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
	}
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
		want   error
		text   string
	}{
		{"nothing", func(b []byte) []byte { return nil }, dmraid.ErrCorrupt, "too few"},
		{"zeroes", func(b []byte) []byte { clear(b); return b }, dmraid.ErrForeign, "magic"},
		{"cut short", func(b []byte) []byte { return b[:255] }, dmraid.ErrCorrupt, "too few"},
		{"no bits", func(b []byte) []byte { return b[:256] }, dmraid.ErrCorrupt, "8 regions need 1"},
		{"version 6", put32(4, 6), errors.ErrUnsupported, "version 6"},
		{"version 2", put32(4, 2), errors.ErrUnsupported, "version 2"},
		{"regions of a byte", put32(52, 1), dmraid.ErrCorrupt, "bitmap chunksize too small"},
		{"odd regions", put32(52, 513), dmraid.ErrCorrupt, "bitmap chunksize not a power of 2"},
		{"no sleep", put32(56, 0), dmraid.ErrCorrupt, "daemon sleep period out of range"},
		{"write-behind", put32(60, 1<<14), dmraid.ErrCorrupt, "write-behind limit"},
		{"huge", put32(44, 0xffffffff), dmraid.ErrCorrupt, "regions"},
		{"large", put32(44, 1), dmraid.ErrCorrupt, "regions need"},
	} {
		m, err := dmraid.DecodeBitmap(c.change(bytes.Clone(good)))
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: %v, %v", c.name, m, err)
		}
	}
}

func TestReadBitmap(t *testing.T) {
	// A bitmap of 2^20 regions is 128 KiB and lies in 33 pages.
	m := bitmapOf(1<<30, 0, 5, 1<<19, 1<<20-1)
	image := append(make([]byte, dmraid.BitmapOffset), m.Encode()...)
	full := append(bytes.Clone(image), make([]byte, 5000)...)
	for name, b := range map[string][]byte{"exact": image, "with more behind": full} {
		got, err := dmraid.ReadBitmap(bytes.NewReader(b))
		if err != nil || !bytes.Equal(got.Encode(), m.Encode()) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := dmraid.ReadBitmap(bytes.NewReader(image[:len(image)-1])); !errors.Is(err, dmraid.ErrCorrupt) {
		t.Error("cut short:", err)
	}
	if _, err := dmraid.ReadBitmap(bytes.NewReader(image[:100])); !errors.Is(err, dmraid.ErrCorrupt) {
		t.Error("too small:", err)
	}
	if _, err := dmraid.ReadBitmap(failingReader{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("unreadable:", err)
	}
	// A head that claims 2^31 regions in an image of two pages costs no memory.
	lie := bitmapOf(8192)
	lie.SyncSize = 1 << 41
	lie.Bits, lie.Tail = nil, nil
	head := make([]byte, 8192)
	binary.LittleEndian.PutUint64(recordedInto(head[4096:], bitmapOf(8192).Encode())[40:], 1<<41)
	if _, err := dmraid.ReadBitmap(bytes.NewReader(head)); !errors.Is(err, dmraid.ErrCorrupt) {
		t.Error("lying head:", err)
	}
	if n := testing.AllocsPerRun(1, func() { dmraid.ReadBitmap(bytes.NewReader(head)) }); n > 30 {
		t.Errorf("%v allocations", n)
	}
}

func recordedInto(dst, src []byte) []byte {
	copy(dst, src)
	return dst
}
