// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// TestSuperblockTable goes from a table to its geometry, from there to the
// superblock that the kernel would write, and back.
func TestSuperblockTable(t *testing.T) {
	var tables []dmraid.Table
	for _, typ := range dmraid.Types() {
		switch typ {
		case dmraid.RAID10Near, dmraid.RAID10Off, dmraid.RAID10Far: // words for the same
			continue
		}
		for n := max(typ.MinLegs(), 2); n < 7; n++ {
			table := dmraid.Table{Type: typ, ChunkSize: 64, Legs: make([]dmraid.Leg, n)}
			if typ == dmraid.RAID1 {
				table.ChunkSize = 0
			}
			tables = append(tables, table)
		}
	}
	for _, format := range []dmraid.Format{"", dmraid.FormatOffset, dmraid.FormatFar} {
		for copies := 2; copies < 4; copies++ {
			for _, sets := range []bool{false, true} {
				if format == "" && sets {
					continue
				}
				tables = append(tables, dmraid.Table{Type: dmraid.RAID10, ChunkSize: 128, Legs: make([]dmraid.Leg, 6), Format: format, Copies: copies, NearSets: sets})
			}
		}
	}
	for _, want := range tables {
		const length = 122880 // goes with every number of legs here
		g, err := want.Geometry(length)
		if err != nil {
			t.Fatalf("%v: %v", want, err)
		}
		sb := dmraid.Superblock{
			Extended: true, NumDevices: uint32(g.Legs), Level: uint32(g.Level), Layout: g.Layout, Chunk: g.Chunk,
			ReshapePosition: dmraid.MaxSector, NewLevel: uint32(g.Level), NewLayout: g.Layout, NewChunk: g.Chunk,
			ArraySectors: g.ArraySectors(), DevSectors: g.LegSectors,
		}
		got, n, err := sb.Table()
		if err != nil || got.String() != want.Normalize().String() || n != g.ArraySectors() {
			t.Errorf("got  %v, %v, %v\nwant %v, %v", got, n, err, want.Normalize(), g.ArraySectors())
		}
	}
}

func TestSuperblockTableRefuses(t *testing.T) {
	good := dmraid.Superblock{Extended: true, NumDevices: 3, Level: 5, Layout: 2, Chunk: 64, ReshapePosition: dmraid.MaxSector, NewLevel: 5, NewLayout: 2, NewChunk: 64, ArraySectors: 16384, DevSectors: 8192}
	if _, _, err := good.Table(); err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		change func(*dmraid.Superblock)
		want   error
	}{
		{func(s *dmraid.Superblock) { s.Reshaping, s.ReshapePosition = true, 128 }, dmraid.ErrState},
		{func(s *dmraid.Superblock) { s.Level = 7 }, nil},
		{func(s *dmraid.Superblock) { s.Level, s.Layout = 10, 0x10202 }, nil},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			s := good
			tt.change(&s)
			table, _, err := s.Table()
			e := (*dmraid.Error)(nil)
			if !errors.As(err, &e) || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("%v, %v", table, err)
			}
		})
	}
}
