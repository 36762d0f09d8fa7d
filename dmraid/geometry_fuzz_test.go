// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"errors"
	"io"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// endless is a leg of any size that holds zeroes, without memory for them.
type endless struct{ fails bool }

func (e endless) ReadAt(p []byte, off int64) (int, error) {
	if e.fails || off < 0 {
		return 0, errBad
	}
	clear(p)
	return len(p), nil
}

// FuzzGeometry asks any superblock for its geometry, and that for everything:
// Map and Find stay inverse, nothing panics, and a read of the largest array
// takes no more memory than what is read.
func FuzzGeometry(f *testing.F) {
	for _, name := range recordedNames(f, "-super") {
		f.Add(recordedBlock(f, name), uint64(100), uint32(0), uint32(0))
	}
	reshape := dmraid.Superblock{
		Extended: true, NumDevices: 5, Level: 6, Layout: 18, Chunk: 8, NewLevel: 6, NewLayout: 9, NewChunk: 64,
		Reshaping: true, Backwards: true, ReshapePosition: 384, NewDataOffset: 2048, ArraySectors: 3 * 8192,
		DiskRecovery: dmraid.MaxSector, ArrayResync: dmraid.MaxSector,
	}
	f.Add(reshape.Encode(512), uint64(380), uint32(2), uint32(8))
	reshape.DeltaDisks, reshape.Level, reshape.NewLevel = 1, 5, 5
	reshape.Layout, reshape.NewLayout, reshape.Backwards = 2, 2, false
	f.Add(reshape.Encode(512), uint64(500), uint32(4), uint32(1))
	f.Add(dmraid.Superblock{
		Extended: true, NumDevices: 253, Level: 10, Layout: 0x50201, Chunk: 1 << 31, NewLevel: 10, NewLayout: 0x50201,
		ReshapePosition: dmraid.MaxSector, ArraySectors: 1 << 51, DiskRecovery: 77, ArrayResync: 12345,
	}.Encode(4096), uint64(1)<<44, uint32(6), uint32(9))
	f.Fuzz(func(t *testing.T, block []byte, at uint64, missing, failing uint32) {
		super, _ := dmraid.DecodeSuperblock(block)
		g, err := super.Geometry()
		if err != nil {
			var e *dmraid.Error
			if !errors.As(err, &e) || g != (dmraid.Geometry{}) {
				t.Fatalf("%#v, %+v", err, g)
			}
			return
		}
		if err := g.Check(); err != nil {
			t.Fatal(err)
		}
		size := g.ArraySectors()
		if size == 0 {
			return
		}
		for _, sector := range []dmraid.Sectors{dmraid.Sectors(at) % size, size - 1} {
			l := g.Map(sector)
			if l.Leg < 0 || l.Leg >= g.Positions() || l.Run < 1 || l.Run > size-sector {
				t.Fatalf("%+v: %v is at %+v", g, sector, l)
			}
			side := g.Old()
			if l.Reshaped {
				side = g.New()
			}
			for i, p := range g.Copies(sector) {
				if role := side.Find(p); role.Kind != dmraid.RoleData || role.Sector != sector || role.Copy != i {
					t.Fatalf("%+v: %v is at %v, which is %+v", g, sector, p, role)
				}
			}
			side.Stripe(l.Stripe)
		}
		g.Stripe(int64(at))
		g.Find(dmraid.Place{Leg: int(int32(missing)), Sector: dmraid.Sectors(at)})
		g.Map(dmraid.Sectors(at))

		legs := make([]io.ReaderAt, g.Positions())
		for i := range legs {
			if i >= 32 || missing>>i&1 == 0 {
				legs[i] = endless{i < 32 && failing>>i&1 != 0}
			}
		}
		r, err := dmraid.NewReader(g, legs, dmraid.WithSuperblock(int(super.ArrayPosition)%len(legs), super), dmraid.WithLosses())
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 70000)
		off := (dmraid.Sectors(at) % size).Bytes() + int64(at%512)
		n, err := r.ReadAt(buf, off)
		if want := min(int64(len(buf)), r.Size()-off); err == nil && int64(n) != want || err == io.EOF && int64(n) != want || n < 0 {
			t.Fatalf("%+v: read %d at %d of %d: %v", g, n, off, r.Size(), err)
		}
	})
}
