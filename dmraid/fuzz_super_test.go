// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

func FuzzSuperblock(f *testing.F) {
	for _, name := range recordedNames(f, "-super") {
		f.Add(recordedBlock(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := dmraid.DecodeSuperblock(b)
		_ = s.String()
		if len(b) < 148 || err != nil && s == (dmraid.Superblock{}) {
			if err == nil {
				t.Fatal("decoded from nothing")
			}
			return
		}
		// Whatever it is, nothing of it is lost.
		if got := s.Encode(len(b)); !bytes.Equal(got[:len(b)], b) {
			t.Fatalf("encoded %x", got)
		}
		if d := dmraid.Diff(s, s); d != nil {
			t.Fatal(d)
		}
	})
}

func FuzzBitmap(f *testing.F) {
	for _, name := range recordedNames(f, "-bitmap") {
		f.Add(recordedBlock(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := dmraid.DecodeBitmap(b)
		if err != nil {
			return
		}
		if !bytes.Equal(m.Encode(), b) {
			t.Fatalf("encoded %x", m.Encode())
		}
		regions, sectors := m.Dirty()
		var n dmraid.Sectors
		last := dmraid.Sectors(0)
		for r := range m.DirtyRanges() {
			if r.Length == 0 || r.Start < last || r.Start+r.Length > m.SyncSize {
				t.Fatal("range", r)
			}
			n, last = n+r.Length, r.Start+r.Length
		}
		if n != sectors || regions > m.Regions() || (regions == 0) != (n == 0) {
			t.Fatalf("%d regions, %v sectors, ranges cover %v", regions, sectors, n)
		}
	})
}

// What a leg has of the fuzzer's bytes: all fields, and little else.
const fuzzSuper, fuzzHead = 152, 72

// FuzzVerify takes the bytes for the metadata of four legs.
func FuzzVerify(f *testing.F) {
	for _, typ := range []dmraid.Type{dmraid.RAID1, dmraid.RAID5LS, dmraid.RAID10} {
		var all []byte
		for _, s := range arraySupers(f, typ, 4) {
			m := bitmapOf(8192, 1)
			all = append(all, s.Encode(512)[:fuzzSuper]...)
			all = append(all, m.Encode()[:fuzzHead]...)
		}
		f.Add(all, uint8(0))
	}
	f.Fuzz(func(t *testing.T, b []byte, missing uint8) {
		var legs []dmraid.LegImage // not from Scan: what runs at the same time confuses a fuzzer
		for i := range 4 {
			n := len(b) / 4
			part := b[i*n : (i+1)*n]
			if missing>>i&1 != 0 {
				legs = append(legs, dmraid.LegImage{Missing: true})
				continue
			}
			image := make([]byte, 8192)
			copy(image, part[:min(len(part), fuzzSuper)])
			copy(image[4096:], part[min(len(part), fuzzSuper):])
			image[4096+256] = 2 // a region is dirty
			leg := dmraid.LegImage{}
			leg.Super, leg.Err = dmraid.ReadSuperblock(bytes.NewReader(image))
			if m, err := dmraid.ReadBitmap(bytes.NewReader(image)); err == nil {
				leg.Bitmap = &m
			} else {
				leg.BitmapErr = err
			}
			legs = append(legs, leg)
		}
		r, err := dmraid.Verify(legs)
		if len(r.Legs) != 4 || err == nil && r.Leader < 0 || len(r.String()) == 0 {
			t.Fatal(r, err)
		}
		for _, l := range r.Legs {
			if l.Verdict == "" {
				t.Fatal("no verdict", r)
			}
		}
		// The kernel's part must stand it too.
		s := dmraid.Situation{Table: dmraid.Table{Type: r.Type, ChunkSize: 64}, Length: 24576}
		if s.Table.Type == "" {
			s.Table.Type = dmraid.RAID5LS
		}
		for _, l := range legs {
			leg := dmraid.Leg{Meta: "m", Data: "d"}
			if l.Missing {
				leg = dmraid.Leg{}
			}
			s.Table.Legs = append(s.Table.Legs, leg)
			s.Legs = append(s.Legs, l.Found())
		}
		for _, k := range []dmraid.Kernel{dmraid.Linux510, dmraid.Linux61, dmraid.Linux612, dmraid.Linux72} {
			for _, rebuild := range [][]int{nil, {1}} {
				s.Table.Rebuild = rebuild
				state, err := dmraid.KernelState(k, s)
				if err == nil && (len(state.Legs) != 4 || len(state.Health) != 4) {
					t.Fatal(state)
				}
				_ = dmraid.CheckTraps(k, s)
			}
		}
	})
}

func TestFuzzSeedsScan(t *testing.T) {
	// The seeds are arrays that are found.
	var images [][]byte
	for _, s := range arraySupers(t, dmraid.RAID10, 4) {
		images = append(images, metaImage(s, nil))
	}
	if _, err := dmraid.Verify(scanned(t, images)); err != nil {
		t.Error(err)
	}
	if _, err := dmraid.Scan(context.Background(), nil); err != nil {
		t.Error(err)
	}
}
