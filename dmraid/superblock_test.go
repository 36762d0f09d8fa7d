// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

func TestRecordedSuperblocks(t *testing.T) {
	for _, name := range recordedNames(t, "-super") {
		b := recordedBlock(t, name)
		s, err := dmraid.DecodeSuperblock(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := s.Encode(len(b)); !bytes.Equal(got, b) {
			t.Errorf("%s: encoded\n%x\nrecorded\n%x", name, got, b)
		}
		if again, err := dmraid.ReadSuperblock(bytes.NewReader(b)); err != nil || again != s {
			t.Errorf("%s: read %v, %v", name, again, err)
		}
		// The name has the type that was asked for; raid10's parameters and
		// type names don't agree.
		asked := strings.Split(strings.ToLower(name), "-")
		if typ := asked[len(asked)-2]; !strings.HasPrefix(typ, "raid10") && typ != "wb" && string(s.Type()) != typ {
			t.Errorf("%s: type %s", name, s.Type())
		}
	}
}

func TestSuperblockFields(t *testing.T) {
	s, err := dmraid.DecodeSuperblock(recordedBlock(t, "basic-meta-raid5_ls-super"))
	if err != nil {
		t.Fatal(err)
	}
	want := dmraid.Superblock{
		Extended: true, NumDevices: 3, Events: 0x13,
		DiskRecovery: dmraid.MaxSector, ArrayResync: dmraid.MaxSector,
		Level: 5, Layout: 2, Chunk: 64, ReshapePosition: dmraid.MaxSector,
		NewLevel: 5, NewLayout: 2, NewChunk: 64, ArraySectors: 16384, DevSectors: 8192,
	}
	if s != want {
		t.Errorf("got %+v\nwant %+v", s, want)
	}
	if got, want := s.String(), "raid5_ls leg 0 of 3, events 19, chunk 64s, clean"; got != want {
		t.Errorf("String %q, want %q", got, want)
	}
}

func TestSuperblockString(t *testing.T) {
	base, _ := dmraid.DecodeSuperblock(recordedBlock(t, "basic-meta-raid5_ls-super"))
	for want, change := range map[string]func(*dmraid.Superblock){
		"raid5_ls leg 0 of 3, events 19, chunk 64s, synced up to 128s":                 func(s *dmraid.Superblock) { s.ArrayResync = 128 },
		"raid5_ls leg 0 of 3, events 19, chunk 64s, clean, leg rebuilt up to 0s":       func(s *dmraid.Superblock) { s.DiskRecovery = 0 },
		"raid5_ls leg 0 of 3, events 19, chunk 64s, clean, failed [1 200]":             func(s *dmraid.Superblock) { s.SetFailed(1, true); s.SetFailed(200, true) },
		"raid5_ls leg 0 of 3, events 19, chunk 64s, clean, reshaping forwards at 192s": func(s *dmraid.Superblock) { s.Reshaping, s.ReshapePosition = true, 192 },
		"raid5_ls leg 0 of 3, events 19, chunk 64s, clean, reshaping backwards at 0s":  func(s *dmraid.Superblock) { s.Reshaping, s.Backwards, s.ReshapePosition = true, true, 0 },
		"level 7 layout 0x2 leg 0 of 3, events 19, chunk 64s, clean":                   func(s *dmraid.Superblock) { s.Level = 7 },
		"raid5_ls leg 0 of 3, events 19, chunk 64s, clean, format before 1.9.0":        func(s *dmraid.Superblock) { s.Extended = false },
		"raid5_ls spare leg beside 3, events 19, chunk 64s, clean":                     func(s *dmraid.Superblock) { s.ArrayPosition = 0xffffffff },
	} {
		s := base
		change(&s)
		if got := s.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestSuperblockKeepsAll sets each byte of a superblock in turn: whatever it
// means, decoding loses nothing of it.
func TestSuperblockKeepsAll(t *testing.T) {
	b := recordedBlock(t, "basic-meta-raid5_ls-super")
	for i := 4; i < len(b); i++ {
		for _, v := range []byte{b[i] ^ 1, b[i] ^ 0x80, ^b[i]} {
			changed := bytes.Clone(b)
			changed[i] = v
			s, _ := dmraid.DecodeSuperblock(changed)
			if got := s.Encode(len(b)); !bytes.Equal(got, changed) {
				t.Fatalf("byte %d = %#x is lost: %+v", i, v, s)
			}
		}
	}
}

func TestDecodeSuperblockRefuses(t *testing.T) {
	good := recordedBlock(t, "basic-meta-raid5_ls-super")
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
	}
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
		want   error
		text   string
	}{
		{"nothing", cut(0), dmraid.ErrCorrupt, "too few"},
		{"part of a magic", cut(3), dmraid.ErrCorrupt, "too few"},
		{"zeroes", func(b []byte) []byte { clear(b); return b }, dmraid.ErrForeign, "0x000000"},
		{"another's", put32(0, 0xa92b4efc), dmraid.ErrForeign, "0xa92b4efc"},
		{"cut short", cut(147), dmraid.ErrCorrupt, "too few"},
		{"later compatible feature", put32(4, 3), errors.ErrUnsupported, "Unable to assemble array: Unknown flag(s) in compatible feature flags"},
		{"other compatible feature", put32(4, 2), errors.ErrUnsupported, "Unknown flag(s)"},
		{"incompatible feature", put32(144, 1), errors.ErrUnsupported, "Unable to assemble array: No incompatible feature flags supported yet"},
		{"no legs", put32(8, 0), dmraid.ErrCorrupt, "0 legs"},
		{"too many legs", put32(8, 254), dmraid.ErrCorrupt, "254 legs"},
		{"position", put32(12, 253), dmraid.ErrCorrupt, "position 253"},
		{"level", put32(48, 7), dmraid.ErrCorrupt, "level 7"},
		{"layout", put32(52, 6), dmraid.ErrCorrupt, "layout 0x6"},
		{"chunk", put32(56, 65), dmraid.ErrCorrupt, "chunk size 65s"},
		{"no chunk", put32(56, 0), dmraid.ErrCorrupt, "chunk size 0s"},
		{"new level", put32(72, 9), dmraid.ErrCorrupt, "new level 9"},
		{"new chunk", put32(80, 3), dmraid.ErrCorrupt, "new chunk size 3s"},
		{"delta", put32(84, 1000), dmraid.ErrCorrupt, "1000 legs more"},
		{"reshape without a position", put32(60, 1), dmraid.ErrCorrupt, "without a position"},
		{"huge", put32(116, 0xffffffff), dmraid.ErrCorrupt, "larger than any device"},
	} {
		s, err := dmraid.DecodeSuperblock(c.change(bytes.Clone(good)))
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: %v, %v", c.name, s, err)
		}
		if c.want == errors.ErrUnsupported && (!errors.Is(err, syscall.EINVAL) || s.NumDevices != 3) {
			t.Errorf("%s: %v, %#v", c.name, s, err)
		}
	}
}

func TestLegacySuperblock(t *testing.T) {
	b := recordedBlock(t, "basic-meta-raid1-super")
	clear(b[60:])
	binary.LittleEndian.PutUint32(b[4:], 0)
	s, err := dmraid.DecodeSuperblock(b)
	if err != nil || s.Extended || s.NumDevices != 2 {
		t.Fatal(s, err)
	}
	if !bytes.Equal(s.Encode(512), b) {
		t.Error("not the same")
	}
}

func TestFailedDevices(t *testing.T) {
	var s dmraid.Superblock
	for _, i := range []int{0, 63, 64, 252, 255} {
		s.SetFailed(i, true)
	}
	s.SetFailed(256, true)
	s.SetFailed(-1, true)
	if got := fmt.Sprint(s.FailedLegs()); got != "[0 63 64 252 255]" {
		t.Error(got)
	}
	if s.FailedDevices != [4]uint64{1<<63 | 1, 1, 0, 1<<63 | 1<<60} {
		t.Errorf("%x", s.FailedDevices)
	}
	s.SetFailed(64, false)
	if s.Failed(64) || !s.Failed(63) || s.Failed(256) || s.Failed(-1) {
		t.Error(s.FailedLegs())
	}
	// On disk the first 64 are at 24 and the others at 120.
	b := s.Encode(512)
	if binary.LittleEndian.Uint64(b[24:]) != 1<<63|1 || binary.LittleEndian.Uint64(b[120:]) != 0 ||
		binary.LittleEndian.Uint64(b[136:]) != 1<<63|1<<60 {
		t.Errorf("%x", b[:148])
	}
}

func TestDiff(t *testing.T) {
	a, _ := dmraid.DecodeSuperblock(recordedBlock(t, "basic-meta-raid5_ls-super"))
	if d := dmraid.Diff(a, a); d != nil {
		t.Error(d)
	}
	b := a
	b.Events, b.ArrayResync, b.Reshaping = 20, 64, true
	b.SetFailed(1, true)
	got := fmt.Sprint(dmraid.Diff(a, b))
	want := "[events: 19 -> 20 failed_devices: none -> [1] array_resync_offset: all -> 64s flags: none -> reshaping]"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// Each field that is on disk is in the diff.
	raw := recordedBlock(t, "basic-meta-raid5_ls-super")
	for i := 4; i < 160; i++ {
		changed := bytes.Clone(raw)
		changed[i] ^= 0x10
		s, _ := dmraid.DecodeSuperblock(changed)
		if len(dmraid.Diff(a, s)) != 1 {
			t.Errorf("byte %d: %v", i, dmraid.Diff(a, s))
		}
	}
}

func TestReadSuperblockFails(t *testing.T) {
	if _, err := dmraid.ReadSuperblock(failingReader{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if _, err := dmraid.ReadSuperblock(bytes.NewReader(nil)); !errors.Is(err, dmraid.ErrCorrupt) {
		t.Error(err)
	}
}

// failingReader is a device that can't be read.
type failingReader struct{}

func (failingReader) ReadAt([]byte, int64) (int, error) { return 0, io.ErrUnexpectedEOF }
