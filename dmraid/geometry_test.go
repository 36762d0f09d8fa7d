// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// geometry is the case's, from its table.
func (l layoutCase) geometry(t testing.TB, chunk dmraid.Sectors, legChunks int) dmraid.Geometry {
	t.Helper()
	table, length := l.table(chunk, legChunks)
	g, err := table.Geometry(length)
	if err != nil {
		t.Fatalf("%v: %v", l, err)
	}
	return g
}

// The reference writer is right about what the kernel wrote: chunks full of
// 0x10, 0x20 and so on.
func TestReferenceRecorded(t *testing.T) {
	text, err := os.ReadFile("testdata/layouts-superblocks-lvm.txt")
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string][][]byte{}
	for line := range strings.Lines(string(text)) {
		line, ok := strings.CutPrefix(line, "LAYOUT ")
		if !ok {
			continue
		}
		head, bytes, _ := strings.Cut(strings.TrimSpace(line), ": ")
		name, _, _ := strings.Cut(head, " ")
		var leg []byte
		for _, b := range strings.Fields(bytes) {
			v, err := strconv.ParseUint(b, 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			leg = append(leg, byte(v))
		}
		recorded[name] = append(recorded[name], leg)
	}
	if len(recorded) != 17 {
		t.Fatalf("%d layouts are recorded", len(recorded))
	}
	for _, name := range slices.Sorted(maps.Keys(recorded)) {
		legs := recorded[name]
		l := layoutCase{typ: dmraid.Type(name), legs: len(legs)}
		rows, filled := len(legs[0]), 99
		if format, ok := strings.CutPrefix(name, "raid10_"); ok {
			// 9 chunks were there; far copies are on the second half of the leg.
			l = layoutCase{typ: dmraid.RAID10, legs: len(legs), copies: 2, format: dmraid.Format(format)}
			filled = 8
		}
		rowsOnLeg := rows
		if l.format == dmraid.FormatFar {
			rowsOnLeg = 2 * rows
		}
		array := make([]byte, 64)
		for i := range min(filled, 15) {
			array[i] = byte(i+1) * 0x10
		}
		for leg, got := range l.write(array, 1, rowsOnLeg, 0) {
			if want := legs[leg]; !slices.Equal(got[:rows], want) {
				t.Errorf("%s leg %d: % x, the kernel wrote % x", name, leg, got[:rows], want)
			}
		}
	}
}

// Map, Copies, Find and Stripe say what the reference draws.
func TestGeometryReference(t *testing.T) {
	const chunk = 16
	for _, l := range layoutCases(t) {
		for _, legChunks := range []int{0, 1, 2, 5, 24} {
			table, length := l.table(chunk, legChunks)
			if l.typ == dmraid.RAID10 && legChunks*l.legs%l.copies != 0 {
				continue
			}
			g, err := table.Geometry(length)
			if err != nil {
				t.Fatalf("%v %d chunks: %v", l, legChunks, err)
			}
			g.DataOffset = 100
			checkDrawing(t, l, g, chunk, legChunks)
		}
	}
}

func checkDrawing(t *testing.T, l layoutCase, g dmraid.Geometry, chunk dmraid.Sectors, legChunks int) {
	t.Helper()
	if l.typ == dmraid.RAID1 {
		chunk *= dmraid.Sectors(legChunks)
		legChunks = min(legChunks, 1)
	}
	var places [][]dmraid.Place // of each chunk
	rows := [][]cell{}
	if legChunks > 0 {
		rows = l.draw(legChunks)
	}
	if int64(len(rows)) != g.Stripes() {
		t.Fatalf("%v, %d chunks: %d stripes, the reference has %d", l, legChunks, g.Stripes(), len(rows))
	}
	for r, row := range rows {
		s := g.Stripe(int64(r))
		if s.Number != int64(r) || s.Sectors != chunk || s.Sector != 100+dmraid.Sectors(r)*chunk || len(s.Roles) != len(row) {
			t.Fatalf("%v stripe %d: %+v", l, r, s)
		}
		for leg, c := range row {
			role := s.Roles[leg]
			at := dmraid.Place{Leg: leg, Sector: s.Sector + 3}
			found := g.Find(at)
			if found.Kind == dmraid.RoleData {
				found.Sector -= 3
			}
			if found != role {
				t.Fatalf("%v: Find(%v) is %+v, Stripe says %+v", l, at, found, role)
			}
			kind := map[string]dmraid.RoleKind{"D": dmraid.RoleData, "P": dmraid.RoleP, "Q": dmraid.RoleQ}[c.what]
			if role.Kind != kind {
				t.Fatalf("%v stripe %d leg %d is %v, the reference draws %v", l, r, leg, role.Kind, kind)
			}
			switch kind {
			case dmraid.RoleP:
				if s.P != leg {
					t.Fatalf("%v stripe %d: P is on %d, not %d", l, r, s.P, leg)
				}
			case dmraid.RoleQ:
				if s.Q != leg {
					t.Fatalf("%v stripe %d: Q is on %d, not %d", l, r, s.Q, leg)
				}
			case dmraid.RoleData:
				if role.Sector != dmraid.Sectors(c.n)*chunk {
					t.Fatalf("%v stripe %d leg %d begins with %v, the reference draws chunk %d", l, r, leg, role.Sector, c.n)
				}
				places = append(places, make([][]dmraid.Place, max(c.n+1-len(places), 0))...)
				places[c.n] = append(places[c.n], at)
			}
		}
	}
	if want := dmraid.Sectors(len(places)) * chunk; g.ArraySectors() != want {
		t.Fatalf("%v, %d chunks: array of %v, want %v", l, legChunks, g.ArraySectors(), want)
	}
	for n, want := range places {
		sector := dmraid.Sectors(n)*chunk + 3
		loc := g.Map(sector)
		got := g.Copies(sector)
		if loc.Place != got[0] || loc.Run != chunk-3 || loc.Reshaped {
			t.Fatalf("%v sector %v: %+v, copies %v", l, sector, loc, got)
		}
		s := g.Stripe(loc.Stripe)
		if loc.P != s.P || loc.Q != s.Q || s.Sector+3 != loc.Sector {
			t.Fatalf("%v sector %v: %+v in stripe %+v", l, sector, loc, s)
		}
		for i, p := range got {
			if role := g.Find(p); role.Sector != sector || role.Kind != dmraid.RoleData || role.Copy != i {
				t.Fatalf("%v sector %v: copy %d at %v is %+v", l, sector, i, p, role)
			}
		}
		slices.SortFunc(got, func(a, b dmraid.Place) int { return (a.Leg - b.Leg) })
		slices.SortFunc(want, func(a, b dmraid.Place) int { return (a.Leg - b.Leg) })
		if !slices.Equal(got, want) {
			t.Fatalf("%v sector %v: at %v, the reference draws %v", l, sector, got, want)
		}
	}
	for _, beyond := range []dmraid.Sectors{g.ArraySectors(), dmraid.MaxSector} {
		if loc := g.Map(beyond); loc.Leg != -1 || g.Copies(beyond) != nil {
			t.Fatalf("%v: beyond the end: %+v", l, loc)
		}
	}
}

// Map and Find are inverse for many legs too, up to the largest array.
func TestGeometryRoundTrip(t *testing.T) {
	for _, typ := range dmraid.Types() {
		for _, legs := range []int{8, 9, 16, 31, 64, 250, 253} {
			cases := []layoutCase{{typ: typ, legs: legs}}
			if typ.IsRAID10() {
				cases = nil
				for _, copies := range []int{2, 3, 4} {
					for _, f := range []dmraid.Format{dmraid.FormatNear, dmraid.FormatFar, dmraid.FormatOffset} {
						cases = append(cases, layoutCase{typ: typ, legs: legs, copies: copies, format: f},
							layoutCase{typ: typ, legs: legs, copies: copies, format: f, nearSets: true})
					}
				}
			}
			for _, l := range cases {
				table, _ := l.table(1024, 1)
				length := dmraid.Sectors(1<<28) * dmraid.Sectors(legs*(legs-1)*(legs-2))
				if typ == dmraid.RAID1 {
					length = 1 << 46
				}
				g, err := table.Geometry(length)
				if err != nil {
					t.Fatal(l, err)
				}
				size := g.ArraySectors()
				for i := range dmraid.Sectors(500) {
					sector := size / 500 * i
					if i%2 == 1 {
						sector = size - i
					}
					for n, p := range g.Copies(sector) {
						if role := g.Find(p); role.Kind != dmraid.RoleData || role.Sector != sector || role.Copy != n {
							t.Fatalf("%v: sector %v copy %d is at %v, which is %+v", l, sector, n, p, role)
						}
					}
				}
			}
		}
	}
}

func TestTableGeometry(t *testing.T) {
	zero, some := dmraid.Sectors(0), dmraid.Sectors(2048)
	legs := func(n int) []dmraid.Leg { return make([]dmraid.Leg, n) }
	for _, c := range []struct {
		name   string
		table  dmraid.Table
		length dmraid.Sectors
		want   dmraid.Geometry
		array  dmraid.Sectors
		err    error
	}{
		// Lengths as in the recorded superblocks of 6.1.192.
		{"raid5", dmraid.Table{Type: dmraid.RAID5LS, ChunkSize: 64, Legs: legs(3)}, 16384,
			dmraid.Geometry{Level: 5, Layout: 2, Legs: 3, Chunk: 64, LegSectors: 8192}, 16384, nil},
		{"a leg that is no whole chunks", dmraid.Table{Type: dmraid.RAID5LS, ChunkSize: 64, Legs: legs(3)}, 16376,
			dmraid.Geometry{Level: 5, Layout: 2, Legs: 3, Chunk: 64, LegSectors: 8128}, 16256, nil},
		{"raid4", dmraid.Table{Type: dmraid.RAID4, ChunkSize: 64, Legs: legs(3), DataOffset: &zero}, 16384,
			dmraid.Geometry{Level: 5, Layout: 4, Legs: 3, Chunk: 64, LegSectors: 8192}, 16384, nil},
		{"raid6_zr", dmraid.Table{Type: dmraid.RAID6ZR, ChunkSize: 64, Legs: legs(4)}, 16384,
			dmraid.Geometry{Level: 6, Layout: 8, Legs: 4, Chunk: 64, LegSectors: 8192}, 16384, nil},
		{"raid1", dmraid.Table{Type: dmraid.RAID1, ChunkSize: 64, Legs: legs(3)}, 8191,
			dmraid.Geometry{Level: 1, Legs: 3, LegSectors: 8191}, 8191, nil},
		{"raid10", dmraid.Table{Type: dmraid.RAID10, ChunkSize: 64, Legs: legs(4)}, 16384,
			dmraid.Geometry{Level: 10, Layout: 0x102, Legs: 4, Chunk: 64, LegSectors: 8192}, 16384, nil},
		{"raid10_far the word", dmraid.Table{Type: dmraid.RAID10Far, ChunkSize: 64, Legs: legs(4)}, 16384,
			dmraid.Geometry{Level: 10, Layout: 0x102, Legs: 4, Chunk: 64, LegSectors: 8192}, 16384, nil},
		{"near 3 copies", dmraid.Table{Type: dmraid.RAID10, ChunkSize: 64, Legs: legs(6), Copies: 3}, 16384,
			dmraid.Geometry{Level: 10, Layout: 0x103, Legs: 6, Chunk: 64, LegSectors: 8192}, 16384, nil},
		{"near on 3 legs", dmraid.Table{Type: dmraid.RAID10, ChunkSize: 64, Legs: legs(3)}, 12288,
			dmraid.Geometry{Level: 10, Layout: 0x102, Legs: 3, Chunk: 64, LegSectors: 8192}, 12288, nil},
		{"far", dmraid.Table{Type: dmraid.RAID10, ChunkSize: 64, Legs: legs(4), Format: dmraid.FormatFar}, 16384,
			dmraid.Geometry{Level: 10, Layout: 0x40201, Legs: 4, Chunk: 64, LegSectors: 8192}, 16384, nil},
		{"far with an odd number of chunks", dmraid.Table{Type: dmraid.RAID10, ChunkSize: 64, Legs: legs(4), Format: dmraid.FormatFar}, 16512,
			dmraid.Geometry{Level: 10, Layout: 0x40201, Legs: 4, Chunk: 64, LegSectors: 8192}, 16384, nil},
		{"offset", dmraid.Table{Type: dmraid.RAID10, ChunkSize: 64, Legs: legs(4), Format: dmraid.FormatOffset}, 16384,
			dmraid.Geometry{Level: 10, Layout: 0x50201, Legs: 4, Chunk: 64, LegSectors: 8192}, 16384, nil},
		{"offset in near sets", dmraid.Table{Type: dmraid.RAID10, ChunkSize: 64, Legs: legs(4), Format: dmraid.FormatOffset, NearSets: true}, 16384,
			dmraid.Geometry{Level: 10, Layout: 0x10201, Legs: 4, Chunk: 64, LegSectors: 8192}, 16384, nil},

		{"not divisible", dmraid.Table{Type: dmraid.RAID5LS, ChunkSize: 64, Legs: legs(4)}, 16384, dmraid.Geometry{}, 0, dmraid.ErrTable},
		{"too few", dmraid.Table{Type: dmraid.RAID6NC, ChunkSize: 64, Legs: legs(3)}, 16384, dmraid.Geometry{}, 0, dmraid.ErrTable},
		{"no legs", dmraid.Table{Type: dmraid.RAID6NC, ChunkSize: 64}, 16384, dmraid.Geometry{}, 0, dmraid.ErrTable},
		{"too many", dmraid.Table{Type: dmraid.RAID1, Legs: legs(254)}, 16384, dmraid.Geometry{}, 0, dmraid.ErrTable},
		{"more copies than legs", dmraid.Table{Type: dmraid.RAID10, ChunkSize: 64, Legs: legs(2), Copies: 4}, 16384, dmraid.Geometry{}, 0, dmraid.ErrTable},
		{"no chunk", dmraid.Table{Type: dmraid.RAID0, Legs: legs(2)}, 16384, dmraid.Geometry{}, 0, dmraid.ErrTable},
		{"odd chunk", dmraid.Table{Type: dmraid.RAID0, ChunkSize: 24, Legs: legs(2)}, 16384, dmraid.Geometry{}, 0, dmraid.ErrTable},
		{"unknown", dmraid.Table{Type: "raid7", ChunkSize: 64, Legs: legs(4)}, 16384, dmraid.Geometry{}, 0, dmraid.ErrTable},
		{"huge", dmraid.Table{Type: dmraid.RAID0, ChunkSize: 64, Legs: legs(4)}, dmraid.MaxSector, dmraid.Geometry{}, 0, dmraid.ErrTable},
		{"new legs", dmraid.Table{Type: dmraid.RAID5LS, ChunkSize: 64, Legs: legs(4), DeltaDisks: 1}, 16384, dmraid.Geometry{}, 0, dmraid.ErrState},
		{"new offset", dmraid.Table{Type: dmraid.RAID5LS, ChunkSize: 64, Legs: legs(3), DataOffset: &some}, 16384, dmraid.Geometry{}, 0, dmraid.ErrState},
	} {
		g, err := c.table.Geometry(c.length)
		if g != c.want || !errors.Is(err, c.err) || g.ArraySectors() != c.array {
			t.Errorf("%s: %+v of %v, %v\nwant %+v of %v, %v", c.name, g, g.ArraySectors(), err, c.want, c.array, c.err)
		}
	}
}

// What is missing is tolerated when the reference still has every chunk.
func TestTolerates(t *testing.T) {
	for _, l := range layoutCases(t) {
		g := l.geometry(t, 8, 12)
		rows := l.draw(12)
		for missing := range 1 << l.legs {
			var list []int
			for leg := range l.legs {
				if missing>>leg&1 != 0 {
					list = append(list, leg)
				}
			}
			want := len(list) <= l.typ.Parity()
			if l.typ == dmraid.RAID1 || l.typ == dmraid.RAID10 {
				have, all := map[int]bool{}, map[int]bool{}
				for _, row := range rows {
					for leg, c := range row {
						if c.what == "D" {
							all[c.n] = true
							if missing>>leg&1 == 0 {
								have[c.n] = true
							}
						}
					}
				}
				want = len(have) == len(all)
			}
			if got := g.Tolerates(list...); got != want {
				t.Fatalf("%v without %v: %v", l, list, got)
			}
		}
		if g.Tolerates(l.legs) || g.Tolerates(-1) {
			t.Fatalf("%v can do without a leg that it does not have", l)
		}
	}
}

// Every table that the kernel took gives the geometry of the superblock that
// it wrote.
func TestGeometryRecorded(t *testing.T) {
	cases := map[string]string{}
	for _, c := range recordedCases(t) {
		cases[strings.ReplaceAll(c.Case, " ", "-")] = c.In
	}
	compared := 0
	for _, name := range recordedNames(t, "-super") {
		in, ok := cases[strings.TrimSuffix(name, "-super")]
		if !ok {
			continue
		}
		super, err := dmraid.DecodeSuperblock(recordedBlock(t, name))
		if errors.Is(err, dmraid.ErrForeign) {
			continue // raid0 has none
		}
		if err != nil {
			t.Fatal(name, err)
		}
		length, params := cut(t, in)
		fromTable, err := parse(t, dmraid.Parse, params).Geometry(length)
		if err != nil {
			t.Errorf("%s: %v", in, err)
		}
		fromSuper, err := super.Geometry()
		if err != nil || fromTable != fromSuper {
			t.Errorf("%s: table %+v\nsuperblock %+v, %v", in, fromTable, fromSuper, err)
		}
		if got := fromSuper.ArraySectors(); got != super.ArraySectors {
			t.Errorf("%s: %v, the superblock has %v", in, got, super.ArraySectors)
		}
		compared++
	}
	if compared < 30 {
		t.Errorf("only %d superblocks belong to a table", compared)
	}
}

func TestMapAllocates(t *testing.T) {
	for _, l := range layoutCases(t) {
		g := l.geometry(t, 8, 12)
		if n := testing.AllocsPerRun(10, func() { g.Map(9) }); n != 0 {
			t.Fatalf("%v: Map allocates %v times", l, n)
		}
	}
}

func TestGeometryReshape(t *testing.T) {
	// raid5_ls, 3 legs to 4, forwards; 40 chunks of 64 sectors are through.
	super := dmraid.Superblock{
		Extended: true, NumDevices: 4, Level: 5, Layout: 2, Chunk: 64, NewLevel: 5, NewLayout: 2, NewChunk: 64,
		DeltaDisks: 1, Reshaping: true, ReshapePosition: 42 * 64, DataOffset: 2048, ArraySectors: 16384, DevSectors: 8192 + 2048, // as recorded
	}
	g, err := super.Geometry()
	if err != nil {
		t.Fatal(err)
	}
	old := dmraid.Geometry{Level: 5, Layout: 2, Legs: 3, Chunk: 64, LegSectors: 8192, DataOffset: 2048}
	now := dmraid.Geometry{Level: 5, Layout: 2, Legs: 4, Chunk: 64, LegSectors: 8192}
	if g.Old() != old || g.New() != now || g.Positions() != 4 || g.ArraySectors() != 16384 {
		t.Fatalf("%+v of %v", g, g.ArraySectors())
	}
	for sector := dmraid.Sectors(0); sector < 16384; sector += 32 {
		want := old.Map(sector)
		if sector < 42*64 {
			want = now.Map(sector)
			want.Reshaped = true
		}
		if got := g.Map(sector); got != want {
			t.Fatalf("sector %v: %+v, want %+v", sector, got, want)
		}
	}
	if !g.Tolerates(0) || !g.Tolerates(3) || g.Tolerates(2, 3) {
		t.Error("tolerates the wrong legs")
	}

	// Backwards the other side is the new one.
	super.NumDevices, super.DeltaDisks, super.DataOffset, super.NewDataOffset = 3, -1, 0, 2048
	super.Backwards = true
	g, err = super.Geometry()
	if err != nil {
		t.Fatal(err)
	}
	if g.Old() != now || g.New() != old || g.Positions() != 4 || g.ArraySectors() != 16384 {
		t.Fatalf("%+v of %v", g, g.ArraySectors())
	}
	if before, after := g.Map(42*64-1), g.Map(42*64); before.Reshaped || !after.Reshaped || before.Run != 1 {
		t.Fatalf("%+v, %+v", before, after)
	}

	// Other chunks: what lies before is cut to whole ones of both.
	super = dmraid.Superblock{
		Extended: true, NumDevices: 4, Level: 6, Layout: 18, Chunk: 64, NewLevel: 6, NewLayout: 9, NewChunk: 128,
		Reshaping: true, Backwards: true, ReshapePosition: 0, NewDataOffset: 2048, ArraySectors: 2 * (128*7 + 64),
	}
	if g, err = super.Geometry(); err != nil || g.ArraySectors() != 2*128*7 || !g.Map(0).Reshaped {
		t.Fatalf("%+v of %v, %v", g, g.ArraySectors(), err)
	}
}

func TestSuperblockGeometryRefuses(t *testing.T) {
	good := dmraid.Superblock{Extended: true, NumDevices: 3, Level: 5, Layout: 2, Chunk: 64, NewLevel: 5, NewLayout: 2, NewChunk: 64,
		ReshapePosition: dmraid.MaxSector, ArraySectors: 16384, DevSectors: 8192}
	if g, err := good.Geometry(); err != nil || g != (dmraid.Geometry{Level: 5, Layout: 2, Legs: 3, Chunk: 64, LegSectors: 8192}) {
		t.Fatalf("%+v, %v", g, err)
	}
	for name, c := range map[string]struct {
		change func(s *dmraid.Superblock)
		err    error
	}{
		"old":          {func(s *dmraid.Superblock) { s.Extended = false }, dmraid.ErrState},
		"level":        {func(s *dmraid.Superblock) { s.Level = 4 }, dmraid.ErrCorrupt},
		"huge level":   {func(s *dmraid.Superblock) { s.Level = 1<<32 - 1 }, dmraid.ErrCorrupt},
		"layout":       {func(s *dmraid.Superblock) { s.Layout = 6 }, dmraid.ErrCorrupt},
		"legs":         {func(s *dmraid.Superblock) { s.NumDevices = 1 }, dmraid.ErrCorrupt},
		"many legs":    {func(s *dmraid.Superblock) { s.NumDevices = 1 << 31 }, dmraid.ErrCorrupt},
		"chunk":        {func(s *dmraid.Superblock) { s.Chunk = 0 }, dmraid.ErrCorrupt},
		"size":         {func(s *dmraid.Superblock) { s.ArraySectors = dmraid.MaxSector }, dmraid.ErrCorrupt},
		"offset":       {func(s *dmraid.Superblock) { s.DataOffset = dmraid.MaxSector }, dmraid.ErrCorrupt},
		"bug of md":    {func(s *dmraid.Superblock) { s.Level, s.Layout = 10, 0x20201 }, dmraid.ErrCorrupt},
		"near and far": {func(s *dmraid.Superblock) { s.Level, s.Layout, s.NumDevices = 10, 0x202, 4 }, dmraid.ErrCorrupt},
		"no copies":    {func(s *dmraid.Superblock) { s.Level, s.Layout = 10, 0x100 }, dmraid.ErrCorrupt},
		"takeover": {func(s *dmraid.Superblock) {
			s.Reshaping, s.ReshapePosition, s.NewLevel = true, 0, 6
		}, dmraid.ErrState},
		"from no legs": {func(s *dmraid.Superblock) {
			s.Reshaping, s.ReshapePosition, s.DeltaDisks = true, 0, 3
		}, dmraid.ErrCorrupt},
		"to an odd layout": {func(s *dmraid.Superblock) {
			s.Reshaping, s.ReshapePosition, s.NewLayout = true, 0, 9
		}, dmraid.ErrCorrupt},
		"past the end": {func(s *dmraid.Superblock) {
			s.Reshaping, s.ReshapePosition = true, 16385
		}, dmraid.ErrCorrupt},
	} {
		s := good
		c.change(&s)
		if g, err := s.Geometry(); !errors.Is(err, c.err) || g != (dmraid.Geometry{}) {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
	}
}

func TestParity(t *testing.T) {
	for _, l := range layoutCases(t) {
		if l.typ.Parity() == 0 {
			continue
		}
		const chunk, rows = 8 * 512, 24
		g := l.geometry(t, 8, rows)
		array := random(chunk * rows * (l.legs - l.typ.Parity()))
		legs := l.write(array, chunk, rows, 0)
		for row := range int64(rows) {
			s := g.Stripe(row)
			data := make([][]byte, g.DataLegs())
			for leg, role := range s.Roles {
				if role.Kind == dmraid.RoleData {
					data[role.Index] = legs[leg][row*chunk:][:chunk]
				}
			}
			p, q := random(chunk), []byte(nil)
			if s.Q >= 0 {
				q = random(chunk)
			}
			if err := g.Parity(row, data, p, q); err != nil {
				t.Fatal(l, err)
			}
			if !slices.Equal(p, legs[s.P][row*chunk:][:chunk]) || q != nil && !slices.Equal(q, legs[s.Q][row*chunk:][:chunk]) {
				t.Fatalf("%v stripe %d: parity differs from the reference", l, row)
			}
		}
	}
	g := layoutCase{typ: dmraid.RAID5LS, legs: 3}.geometry(t, 8, 2)
	for _, err := range []error{
		g.Parity(2, [][]byte{{1}, {2}}, []byte{0}, nil),
		g.Parity(0, [][]byte{{1}}, []byte{0}, nil),
		g.Parity(0, [][]byte{{1}, {2, 3}}, []byte{0}, nil),
		g.Parity(0, [][]byte{{1}, {2}}, []byte{0, 0}, nil),
		g.Parity(0, [][]byte{{1}, {2}}, []byte{0}, []byte{0}),
		dmraid.Geometry{}.Parity(0, nil, nil, nil),
	} {
		if !errors.Is(err, dmraid.ErrTable) {
			t.Errorf("Parity: %v", err)
		}
	}
}

func ExampleGeometry_Map() {
	table := dmraid.Table{Type: dmraid.RAID6ZR, ChunkSize: 128, Legs: make([]dmraid.Leg, 5)}
	g, err := table.Geometry(3 << 20)
	if err != nil {
		panic(err)
	}
	l := g.Map(1000)
	fmt.Printf("leg %d at %v, %v to the end of the chunk, stripe %d with P on %d and Q on %d\n",
		l.Leg, l.Sector, l.Run, l.Stripe, l.P, l.Q)
	fmt.Printf("%+v\n", g.Find(l.Place))
	// Output:
	// leg 1 at 360s, 24s to the end of the chunk, stripe 2 with P on 2 and Q on 3
	// {Kind:data Sector:1000s Index:1 Copy:0 Power:1}
}
