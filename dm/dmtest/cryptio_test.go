// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

func sectors(n int, fill byte) []byte { return bytes.Repeat([]byte{fill}, n*sectorSize) }

// Discards pass crypt and integrity only where they are allowed.
func TestDiscardsThroughCryptAndIntegrity(t *testing.T) {
	key := strings.Repeat("0f", 32)
	for _, tt := range []struct {
		typ, params string
		allowed     bool
	}{
		{"crypt", "aes-xts-plain64 " + key + " 0 1:0 0", false},
		{"crypt", "aes-xts-plain64 " + key + " 0 1:0 0 1 allow_discards", true},
		{"integrity", "1:0 0 - J 1 internal_hash:crc32c", false},
		{"integrity", "1:0 0 - D 2 internal_hash:crc32c allow_discards", true},
		{"integrity", "1:0 0 - D 3 internal_hash:crc32c allow_discards interleave_sectors:8", true},
	} {
		k := New()
		disk := k.AddDisk("/dev/ram0", 1, 0, 65536)
		tr := k.Transport()
		create(t, tr, "a", spec(512, tt.typ, tt.params))
		f := openIO(t, k, "a")
		if _, err := f.WriteAt(sectors(64, 7), 0); err != nil {
			t.Fatal(err)
		}
		err := f.Discard(16*sectorSize, 16*sectorSize)
		if !tt.allowed {
			if !errors.Is(err, errNotSupported) {
				t.Errorf("%s %s: discard: %v", tt.typ, tt.params, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %s: discard: %v", tt.typ, tt.params, err)
		}
		b := make([]byte, 64*sectorSize)
		if _, err := f.ReadAt(b, 0); err != nil || !bytes.Equal(b[:16*sectorSize], sectors(16, 7)) || !bytes.Equal(b[32*sectorSize:], sectors(32, 7)) {
			t.Errorf("%s %s: read around a discard: %v", tt.typ, tt.params, err)
		}
		if tt.typ == "crypt" {
			if _, err := disk.ReadAt(b[:sectorSize], 16*sectorSize); err != nil || !isZero(b[:sectorSize]) {
				t.Errorf("%s: the disk was not discarded", tt.params)
			}
		}
	}
}

// I/O that is not of whole units of encryption or of checksums is an error.
func TestUnalignedCryptAndIntegrity(t *testing.T) {
	for typ, params := range map[string]string{
		"crypt":     "aes-xts-plain64 " + strings.Repeat("0f", 32) + " 0 1:0 0 1 sector_size:4096",
		"integrity": "1:0 0 - J 2 internal_hash:crc32c block_size:4096",
	} {
		k := New()
		k.AddDisk("/dev/ram0", 1, 0, 65536)
		tr := k.Transport()
		create(t, tr, "a", spec(512, typ, params))
		f := openIO(t, k, "a")
		if _, err := f.WriteAt(sectors(8, 1), 0); err != nil {
			t.Error(err)
		}
		for _, at := range []int64{0, 512} {
			if _, err := f.WriteAt(sectors(1, 1), at); err != EIO {
				t.Errorf("%s: write of a sector at %d: %v", typ, at, err)
			}
			if _, err := f.ReadAt(sectors(1, 1), at); err != EIO {
				t.Errorf("%s: read of a sector at %d: %v", typ, at, err)
			}
		}
	}
}

// A disk that fails under a target fails its I/O, and a recalculation stands
// still until the disk is well.
func TestFailingDiskBelowIntegrity(t *testing.T) {
	k := New()
	disk := k.AddDisk("/dev/ram0", 1, 0, 65536)
	tr := k.Transport()
	must(t, tr, dmwire.CmdCreate, named("a"), nil)
	if err := load(t, tr, "a", spec(32768, "integrity", "1:0 0 - J 2 internal_hash:crc32c recalculate")); err != nil {
		t.Fatal(err)
	}
	disk.Fail(1000, 8)
	must(t, tr, dmwire.CmdSuspend, named("a"), nil)
	for range 3 {
		if got := status(t, tr, "a", 0); got != "0 32768 integrity 0 64664 0" {
			t.Errorf("status %q", got)
		}
	}
	f := openIO(t, k, "a")
	if _, err := f.ReadAt(sectors(2048, 0), 0); err != EIO {
		t.Errorf("read of a failing disk: %v", err)
	}
	disk.FailWith(nil)
	want := []string{"0", "32768", "64664", "64664"}
	for _, n := range want {
		if got := status(t, tr, "a", 0); got != "0 32768 integrity 0 64664 "+n {
			t.Errorf("status %q, want %s", got, n)
		}
	}
	if _, err := f.ReadAt(sectors(2048, 0), 0); err != nil {
		t.Errorf("after the recalculation: %v", err)
	}
}

// Vectors 1, 2 and 10 of IEEE 1619: short and long keys.
func TestXTSVectors(t *testing.T) {
	hexBytes := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	counting := make([]byte, 512)
	for i := range counting {
		counting[i] = byte(i)
	}
	for _, tt := range []struct {
		key    string
		n      uint64
		plain  []byte
		cipher string
	}{
		{strings.Repeat("00", 32), 0, make([]byte, 32), "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e"},
		{strings.Repeat("11", 16) + strings.Repeat("22", 16), 0x3333333333, bytes.Repeat([]byte{0x44}, 32), "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0"},
		{
			"27182818284590452353602874713526624977572470936999595749669676273141592653589793238462643383279502884197169399375105820974944592",
			0xff, counting, "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b",
		},
	} {
		b, ok := newBlockCipher("xts(aes)", "plain64", "", 1)
		if !ok || !b.setKey(hexBytes(tt.key)) {
			t.Fatal(tt.key)
		}
		got := make([]byte, len(tt.plain))
		b.convert(got, tt.plain, tt.n, tt.n, true)
		if want := hexBytes(tt.cipher); !bytes.HasPrefix(got, want) {
			t.Errorf("sector %x: %x, want %x", tt.n, got[:len(want)], want)
		}
		back := make([]byte, len(got))
		b.convert(back, got, tt.n, tt.n, false)
		if !bytes.Equal(back, tt.plain) {
			t.Errorf("sector %x is not decrypted", tt.n)
		}
	}
	if b, _ := newBlockCipher("xts(aes)", "plain64", "", 1); b.setKey(make([]byte, aes.BlockSize)) || b.setKey(make([]byte, 33)) {
		t.Error("a key of the wrong size was taken")
	}
}
