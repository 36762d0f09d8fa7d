// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// image is a leg in memory. Its bad range fails, and it counts its reads.
type image struct {
	b            []byte
	badLo, badHi int64
	reads        atomic.Int64
}

var errBad = errors.New("medium error")

func (m *image) ReadAt(p []byte, off int64) (int, error) {
	m.reads.Add(1)
	if off < m.badHi && off+int64(len(p)) > m.badLo {
		return 0, errBad
	}
	return bytes.NewReader(m.b).ReadAt(p, off)
}

// readers are legs without some; the content of these is never seen.
func readers(legs [][]byte, missing ...int) []io.ReaderAt {
	list := make([]io.ReaderAt, len(legs))
	for i, b := range legs {
		if !slices.Contains(missing, i) {
			list[i] = &image{b: b}
		}
	}
	return list
}

// subsets are all sets of 0 to n-1 with no more than most members.
func subsets(n, most int) [][]int {
	var list [][]int
	for set := range 1 << n {
		var s []int
		for i := range n {
			if set>>i&1 != 0 {
				s = append(s, i)
			}
		}
		if len(s) <= most {
			list = append(list, s)
		}
	}
	return list
}

// checkReads reads all of an array, and pieces of any alignment.
func checkReads(t *testing.T, what string, r *dmraid.Reader, want []byte) {
	t.Helper()
	if r.Size() != int64(len(want)) {
		t.Fatalf("%s: size %d, want %d", what, r.Size(), len(want))
	}
	got := make([]byte, len(want)+1)
	if n, err := r.ReadAt(got, 0); n != len(want) || err != io.EOF || !bytes.Equal(got[:n], want) {
		t.Fatalf("%s: read %d of %d, %v; first difference at %d", what, n, len(want), err, differs(got, want))
	}
	for range 8 {
		lo := rand.IntN(len(want))
		n := 1 + rand.IntN(min(len(want)-lo, 20000))
		got := make([]byte, n)
		if m, err := r.ReadAt(got, int64(lo)); m != n || err != nil || !bytes.Equal(got, want[lo:lo+n]) {
			t.Fatalf("%s: %d bytes at %d: %d, %v; first difference at %d", what, n, lo, m, err, differs(got, want[lo:]))
		}
	}
}

func differs(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// All types and layouts, with 2 to 7 legs, without every set of legs that the
// level can do without.
func TestReaderMissing(t *testing.T) {
	sets := 0
	for _, l := range layoutCases(t) {
		const chunk, legChunks, offset = 4096, 12, 3 * 512
		g := l.geometry(t, chunk/512, legChunks)
		g.DataOffset = offset / 512
		array := random(int(g.ArraySectors()) * 512)
		legs := l.write(array, chunk, legChunks, offset)
		for _, missing := range subsets(l.legs, l.legs) {
			r, err := dmraid.NewReader(g, readers(legs, missing...))
			if !g.Tolerates(missing...) {
				if !errors.Is(err, dmraid.ErrDegraded) {
					t.Fatalf("%v without %v: %v", l, missing, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%v without %v: %v", l, missing, err)
			}
			sets++
			checkReads(t, fmt.Sprintf("%v without %v", l, missing), r, array)
			if f := r.Failures(); f != nil {
				t.Fatalf("%v without %v: %v", l, missing, f)
			}
		}
	}
	if sets < 3000 {
		t.Errorf("only %d sets", sets)
	}
}

// Reads that fail are made up for, piece by piece: a leg that fails in one
// place and another one in another are both of use.
func TestReaderFailures(t *testing.T) {
	failed := 0
	for _, l := range layoutCases(t) {
		if !l.typ.Redundant() {
			continue
		}
		const chunk, legChunks = 4096, 24
		g := l.geometry(t, chunk/512, legChunks)
		array := random(int(g.ArraySectors()) * 512)
		legs := l.write(array, chunk, legChunks, 0)
		if l.legs == 1 {
			continue
		}
		list := readers(legs)
		for i := range list {
			// Never two in one row; with far copies, in the first ones only.
			lo := int64((3*i+1)*chunk + 600)
			list[i].(*image).badLo, list[i].(*image).badHi = lo, lo+100
		}
		if l.typ == dmraid.RAID1 || l.typ == dmraid.RAID10 {
			for i := range list {
				if i > 0 {
					list[i].(*image).badHi = 0
				}
			}
		}
		r, err := dmraid.NewReader(g, list)
		if err != nil {
			t.Fatal(l, err)
		}
		checkReads(t, l.String(), r, array)
		// Some bad places are never asked for: they are parity, or the
		// other copy.
		if f := r.Failures(); len(f) > 0 {
			if failed++; f[0].Count == 0 || !errors.Is(f[0].Err, errBad) {
				t.Fatalf("%v: failures %+v", l, f)
			}
		}
	}
	if failed < 80 {
		t.Errorf("only %d arrays had reads that failed", failed)
	}

	// What can't be made up for fails there, and only there.
	for _, typ := range []dmraid.Type{dmraid.RAID0, dmraid.RAID1, dmraid.RAID5LS, dmraid.RAID6ZR, dmraid.RAID10} {
		l := layoutCase{typ: typ, legs: 4}
		if typ == dmraid.RAID10 {
			l.copies, l.format = 2, dmraid.FormatNear
		}
		g := l.geometry(t, 8, 600)
		array := random(int(g.ArraySectors()) * 512)
		list := readers(l.write(array, 4096, 600, 0))
		for _, leg := range list {
			leg.(*image).badLo, leg.(*image).badHi = 500*4096, 501*4096
		}
		r, err := dmraid.NewReader(g, list)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(array))
		n, err := r.ReadAt(got, 0)
		lo := 500 * len(array) / 600
		if !errors.Is(err, dmraid.ErrDegraded) || !errors.Is(err, errBad) || n > lo || !bytes.Equal(got[:n], array[:n]) {
			t.Fatalf("%v: %d, %v", l, n, err)
		}
		if n == 0 {
			t.Errorf("%v: nothing was read of what is in front of the bad place", l)
		}
		hi := 501 * len(array) / 600
		if n, err := r.ReadAt(got[hi:], int64(hi)); err != nil || n != len(got)-hi || !bytes.Equal(got[hi:], array[hi:]) {
			t.Fatalf("%v behind the bad place: %d, %v", l, n, err)
		}
	}
}

// A leg that ends too early is one that fails there.
func TestReaderShortLeg(t *testing.T) {
	l := layoutCase{typ: dmraid.RAID5RS, legs: 3}
	g := l.geometry(t, 8, 10)
	array := random(int(g.ArraySectors()) * 512)
	legs := l.write(array, 4096, 10, 0)
	legs[1] = legs[1][:5*4096+17]
	r, err := dmraid.NewReader(g, readers(legs))
	if err != nil {
		t.Fatal(err)
	}
	checkReads(t, "a short leg", r, array)
	if f := r.Failures(); len(f) != 1 || f[0].Leg != 1 || !errors.Is(f[0].Err, io.ErrUnexpectedEOF) {
		t.Errorf("%+v", f)
	}
}

// A leg that is being rebuilt counts up to where it has come.
func TestReaderRecovered(t *testing.T) {
	for _, l := range layoutCases(t) {
		const chunk, legChunks = 4096, 12
		if !l.typ.Redundant() || l.legs == 1 || l.legs > 5 {
			continue
		}
		g := l.geometry(t, chunk/512, legChunks)
		array := random(int(g.ArraySectors()) * 512)
		written := l.write(array, chunk, legChunks, 0)
		for upto := dmraid.Sectors(0); upto < g.LegSectors; upto += 5 {
			legs := slices.Clone(written)
			legs[1] = slices.Clone(legs[1])
			for i := int(upto) * 512; i < len(legs[1]); i++ {
				legs[1][i] = 0xee
			}
			r, err := dmraid.NewReader(g, readers(legs), dmraid.WithRecovered(1, upto))
			if err != nil {
				t.Fatal(l, err)
			}
			checkReads(t, fmt.Sprintf("%v, leg 1 rebuilt to %v", l, upto), r, array)
		}
	}

	// Below the offset the leg helps another one that is missing.
	l := layoutCase{typ: dmraid.RAID5LA, legs: 3}
	g := l.geometry(t, 8, 12)
	array := random(int(g.ArraySectors()) * 512)
	legs := l.write(array, 4096, 12, 0)
	if _, err := dmraid.NewReader(g, readers(legs, 0), dmraid.WithRecovered(1, 20)); !errors.Is(err, dmraid.ErrDegraded) {
		t.Errorf("two legs of raid5: %v", err)
	}
	r, err := dmraid.NewReader(g, readers(legs, 0), dmraid.WithRecovered(1, 20), dmraid.WithLosses())
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 2*2*4096)
	if n, err := r.ReadAt(got, 0); err != nil || !bytes.Equal(got, array[:n]) {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := r.ReadAt(got, 2*2*4096); !errors.Is(err, dmraid.ErrDegraded) {
		t.Errorf("above the offset: %v", err)
	}
	if _, err := dmraid.NewReader(g, readers(legs), dmraid.WithRecovered(3, 20)); !errors.Is(err, dmraid.ErrTable) {
		t.Errorf("leg 3 of 3: %v", err)
	}
}

// Parity that was never synced is not used.
func TestReaderSynced(t *testing.T) {
	l := layoutCase{typ: dmraid.RAID5LS, legs: 3}
	g := l.geometry(t, 8, 12)
	array := random(int(g.ArraySectors()) * 512)
	legs := l.write(array, 4096, 12, 0)
	got := make([]byte, len(array))
	r, err := dmraid.NewReader(g, readers(legs), dmraid.WithSynced(0))
	if err != nil {
		t.Fatal(err)
	}
	checkReads(t, "not synced, whole", r, array)
	if r, err = dmraid.NewReader(g, readers(legs, 2), dmraid.WithSynced(5*8+4)); err != nil {
		t.Fatal(err)
	}
	if n, err := r.ReadAt(got, 0); !errors.Is(err, dmraid.ErrState) || n > (2*5+2)*4096 {
		t.Errorf("read %d beyond what is synced, %v", n, err)
	}
	if n, err := r.ReadAt(got[:2*5*4096], 0); err != nil || !bytes.Equal(got[:n], array[:n]) {
		t.Errorf("synced: %d, %v", n, err)
	}
	// Half a chunk is synced in row 5; P is on leg 0 there, 10 is on leg 1 and 11 on 2.
	if n, err := r.ReadAt(got[:2048], 11*4096); err != nil || !bytes.Equal(got[:n], array[11*4096:][:n]) {
		t.Errorf("the half that is synced: %d, %v", n, err)
	}
	if _, err := r.ReadAt(got[:2048], 11*4096+2048); !errors.Is(err, dmraid.ErrState) {
		t.Errorf("the half that is not synced: %v", err)
	}

	// Of copies that can differ it is always the first.
	l = layoutCase{typ: dmraid.RAID1, legs: 3}
	g = l.geometry(t, 8, 1024)
	legs = [][]byte{bytes.Repeat([]byte{1}, 4<<20), bytes.Repeat([]byte{2}, 4<<20), bytes.Repeat([]byte{3}, 4<<20)}
	if r, err = dmraid.NewReader(g, readers(legs, 0), dmraid.WithSynced(0)); err != nil {
		t.Fatal(err)
	}
	checkReads(t, "raid1 not synced", r, legs[1])
	// And of those that are equal it is all in turn.
	if r, err = dmraid.NewReader(g, readers(legs)); err != nil {
		t.Fatal(err)
	}
	got = make([]byte, 4<<20)
	if _, err = r.ReadAt(got, 0); err != nil || bytes.Count(got, []byte{1}) != 2<<20 || bytes.Count(got, []byte{2}) != 1<<20 {
		t.Errorf("the legs of raid1 were not read in turn: %v", err)
	}
}

func TestReaderSuperblocks(t *testing.T) {
	l := layoutCase{typ: dmraid.RAID6NC, legs: 5}
	g := l.geometry(t, 8, 12)
	array := random(int(g.ArraySectors()) * 512)
	legs := l.write(array, 4096, 12, 0)
	clear(legs[3])
	for i := 40 * 512; i < len(legs[2]); i++ {
		legs[2][i] = 7
	}
	super := dmraid.Superblock{Events: 9, DiskRecovery: dmraid.MaxSector, ArrayResync: dmraid.MaxSector, FailedDevices: [4]uint64{1 << 3}}
	var options []dmraid.ReaderOption
	for i := range legs {
		s := super
		switch i {
		case 2:
			s.DiskRecovery = 40
		case 3: // was left behind, and knows nothing of it
			s.Events, s.FailedDevices, s.ArrayResync = 8, [4]uint64{1}, 0
		}
		options = append(options, dmraid.WithSuperblock(i, s))
	}
	list := readers(legs)
	r, err := dmraid.NewReader(g, list, options...)
	if err != nil {
		t.Fatal(err)
	}
	checkReads(t, "by superblocks", r, array)
	if n := list[3].(*image).reads.Load(); n != 0 {
		t.Errorf("the failed leg was read %d times", n)
	}
}

// An array in the middle of a reshape has both forms.
func TestReaderReshape(t *testing.T) {
	const chunk, legChunks, room = 4096, 24, 16 * 4096
	type side struct {
		l      layoutCase
		offset int
	}
	for _, c := range []struct {
		name      string
		old, now  side
		backwards bool
	}{
		{"raid5 grows", side{layoutCase{typ: dmraid.RAID5LS, legs: 3}, room}, side{layoutCase{typ: dmraid.RAID5LS, legs: 5}, 0}, false},
		{"raid6 shrinks", side{layoutCase{typ: dmraid.RAID6ZR, legs: 6}, 0}, side{layoutCase{typ: dmraid.RAID6ZR, legs: 5}, room}, true},
		{"raid6 changes its layout", side{layoutCase{typ: dmraid.RAID6LS6, legs: 5}, 0}, side{layoutCase{typ: dmraid.RAID6NR, legs: 5}, room}, true},
		{"raid10 grows", side{layoutCase{typ: dmraid.RAID10, legs: 4, copies: 2, format: dmraid.FormatNear}, room},
			side{layoutCase{typ: dmraid.RAID10, legs: 6, copies: 2, format: dmraid.FormatNear}, 0}, false},
	} {
		g := c.old.l.geometry(t, chunk/512, legChunks)
		now := c.now.l.geometry(t, chunk/512, legChunks)
		size := min(g.ArraySectors(), now.ArraySectors())
		array := random(int(max(g.ArraySectors(), now.ArraySectors())) * 512)
		oldLegs := c.old.l.write(array, chunk, legChunks, c.old.offset)
		newLegs := c.now.l.write(array, chunk, legChunks, c.now.offset)
		// md goes by whole stripes of the new form, raid10 by chunks.
		step := now.Chunk * dmraid.Sectors(now.DataLegs())
		for position := dmraid.Sectors(0); position <= size; position += step {
			g.DataOffset = dmraid.Sectors(c.old.offset / 512)
			g.Reshape = dmraid.Reshape{
				Layout: now.Layout, Legs: now.Legs, Chunk: now.Chunk, DataOffset: dmraid.Sectors(c.now.offset / 512),
				Position: position, Backwards: c.backwards,
			}
			// The rows that are through lie over the old ones.
			legs := make([][]byte, g.Positions())
			row := int(position/step) * chunk
			for i := range legs {
				legs[i] = make([]byte, room+legChunks*chunk)
				if i < len(oldLegs) {
					copy(legs[i], oldLegs[i])
				}
				if i < len(newLegs) && c.backwards {
					copy(legs[i][c.now.offset+row:], newLegs[i][c.now.offset+row:])
				} else if i < len(newLegs) {
					copy(legs[i], newLegs[i][:row])
				}
			}
			for _, missing := range subsets(len(legs), 2) {
				if !g.Tolerates(missing...) {
					continue
				}
				r, err := dmraid.NewReader(g, readers(legs, missing...))
				if err != nil {
					t.Fatal(c.name, err)
				}
				checkReads(t, fmt.Sprintf("%s at %v without %v", c.name, position, missing), r, array[:size*512])
			}
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	l := layoutCase{typ: dmraid.RAID5LS, legs: 3}
	g := l.geometry(t, 8, 12)
	legs := l.write(make([]byte, g.ArraySectors()*512), 4096, 12, 0)
	if _, err := dmraid.NewReader(g, readers(legs)[:2]); !errors.Is(err, dmraid.ErrTable) {
		t.Error(err)
	}
	if _, err := dmraid.NewReader(dmraid.Geometry{}, nil); !errors.Is(err, dmraid.ErrTable) {
		t.Error(err)
	}
	r, err := dmraid.NewReader(g, readers(legs))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative offset")
	}
	if n, err := r.ReadAt(make([]byte, 1), r.Size()); n != 0 || err != io.EOF {
		t.Error(n, err)
	}
	if n, err := r.ReadAt(nil, r.Size()+5); n != 0 || err != nil {
		t.Error(n, err)
	}
}

func ExampleNewReader() {
	// Three legs of 64 KiB in chunks of 4 KiB; the second one is lost.
	table := dmraid.Table{Type: dmraid.RAID5LS, ChunkSize: 8, Legs: make([]dmraid.Leg, 3)}
	g, err := table.Geometry(256)
	if err != nil {
		panic(err)
	}
	text := []byte("the content of the array")
	legs := [3][]byte{make([]byte, 64<<10), make([]byte, 64<<10), make([]byte, 64<<10)}
	second := g.Map(8) // the second chunk
	copy(legs[second.Leg][second.Sector.Bytes():], text)
	other := legs[g.Map(0).Leg][:4096]
	if err := g.Parity(0, [][]byte{other, legs[second.Leg][:4096]}, legs[second.P][:4096], nil); err != nil {
		panic(err)
	}

	images := []io.ReaderAt{bytes.NewReader(legs[0]), nil, bytes.NewReader(legs[2])}
	r, err := dmraid.NewReader(g, images)
	if err != nil {
		panic(err)
	}
	got := make([]byte, len(text))
	if _, err := r.ReadAt(got, 4096); err != nil {
		panic(err)
	}
	fmt.Printf("%d bytes, with %q on leg %d\n", r.Size(), got, second.Leg)
	// Output: 131072 bytes, with "the content of the array" on leg 1
}

func TestScrub(t *testing.T) {
	for _, l := range layoutCases(t) {
		if !l.typ.Redundant() || l.legs == 1 {
			continue
		}
		const chunk, legChunks, offset = 8192, 12, 512
		g := l.geometry(t, chunk/512, legChunks)
		g.DataOffset = offset / 512
		legs := l.write(random(int(g.ArraySectors())*512), chunk, legChunks, offset)
		scrub := func(missing ...int) (list []dmraid.Mismatch) {
			t.Helper()
			r, err := dmraid.NewReader(g, readers(legs, missing...))
			if err != nil {
				t.Fatal(l, err)
			}
			for m, err := range r.Scrub(context.Background()) {
				if err != nil {
					t.Fatal(l, err)
				}
				list = append(list, m)
			}
			return list
		}
		if list := scrub(); list != nil {
			t.Fatalf("%v: %+v where all is well", l, list)
		}
		// One wrong byte on each leg in turn, in the second block of row 2,
		// which every leg uses.
		for bad := range legs {
			at := offset + 2*chunk + 4096 + 99
			if l.typ == dmraid.RAID1 {
				at = offset + 4096 + 99
			}
			legs[bad][at] ^= 0x40
			list := scrub()
			if len(list) != 1 || list[0].Blocks != 1 || list[0].Unread != nil {
				t.Fatalf("%v: leg %d is wrong: %+v", l, bad, list)
			}
			m, role := list[0], g.Find(dmraid.Place{Leg: bad, Sector: dmraid.Sectors(at / 512)})
			knows := l.typ.Parity() == 2 || l.typ == dmraid.RAID1 && l.legs > 2 || l.typ == dmraid.RAID10 && l.copies > 2
			if want := map[bool]int{true: bad, false: -1}[knows]; m.Leg != want {
				t.Fatalf("%v: leg %d is wrong, not %d: %+v", l, bad, m.Leg, m)
			}
			switch {
			case l.typ.Parity() > 0:
				if m.Stripe != 2 || m.P != (role.Kind != dmraid.RoleQ) || m.Q != (l.typ.Parity() == 2 && role.Kind != dmraid.RoleP) {
					t.Fatalf("%v: leg %d is wrong: %+v", l, bad, m)
				}
			case role.Sector < m.Sector || role.Sector >= m.Sector+m.Sectors:
				t.Fatalf("%v: sector %v is wrong: %+v", l, role.Sector, m)
			}
			// Raid6 without a leg still has something to compare.
			if l.typ.Parity() == 2 {
				for missing := range legs {
					want := 1
					if missing == bad {
						want = 0
					}
					if list := scrub(missing); len(list) != want || want == 1 && list[0].Leg != -1 {
						t.Fatalf("%v: leg %d is wrong, %d missing: %+v", l, bad, missing, list)
					}
				}
			}
			legs[bad][at] ^= 0x40
		}
		// Two legs are more than can be told.
		if l.typ.Parity() == 2 {
			at := offset + 5*chunk
			legs[0][at] ^= 1
			legs[1][at] ^= 2
			if list := scrub(); len(list) != 1 || list[0].Leg != -1 || list[0].Stripe != 5 {
				t.Fatalf("%v: two legs are wrong: %+v", l, list)
			}
		}
	}
}

func TestScrubEdges(t *testing.T) {
	l := layoutCase{typ: dmraid.RAID5LS, legs: 3}
	g := l.geometry(t, 8, 3000) // some batches
	array := random(int(g.ArraySectors()) * 512)
	legs := l.write(array, 4096, 3000, 0)
	legs[0][100*4096]++
	legs[0][2900*4096]++
	all := func(r *dmraid.Reader, err error) (stripes []int64, last error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for m, err := range r.Scrub(context.Background()) {
			if err != nil {
				return stripes, err
			}
			stripes = append(stripes, m.Stripe)
			if m.Unread != nil {
				stripes = append(stripes, -int64(m.Unread[0]))
			}
		}
		return stripes, nil
	}
	if got, err := all(dmraid.NewReader(g, readers(legs))); err != nil || !slices.Equal(got, []int64{100, 2900}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := all(dmraid.NewReader(g, readers(legs), dmraid.WithSynced(2000*8))); err != nil || !slices.Equal(got, []int64{100}) {
		t.Errorf("synced in part: %v, %v", got, err)
	}
	if _, err := all(dmraid.NewReader(g, readers(legs, 1))); !errors.Is(err, dmraid.ErrDegraded) {
		t.Errorf("degraded: %v", err)
	}
	list := readers(legs)
	list[2].(*image).badLo, list[2].(*image).badHi = 200*4096, 200*4096+1
	if got, err := all(dmraid.NewReader(g, list)); err != nil || !slices.Equal(got, []int64{100, 200, -2, 2900}) {
		t.Errorf("unreadable: %v, %v", got, err)
	}
	r, err := dmraid.NewReader(g, readers(legs))
	if err != nil {
		t.Fatal(err)
	}
	for m := range r.Scrub(context.Background()) {
		if m.Stripe != 100 {
			t.Error(m)
		}
		break // the rest is not read, and nothing is left behind
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var last error
	for _, err := range r.Scrub(ctx) {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) || !strings.Contains(last.Error(), "scrub") {
		t.Errorf("cancelled: %v", last)
	}
	zero := layoutCase{typ: dmraid.RAID0, legs: 2}
	if got, err := all(dmraid.NewReader(zero.geometry(t, 8, 4), readers([][]byte{random(16384), random(16384)}))); got != nil || err != nil {
		t.Errorf("raid0: %v, %v", got, err)
	}
	g.Reshape = dmraid.Reshape{Layout: 3, Legs: 3, Chunk: 8, DataOffset: 64}
	if _, err := all(dmraid.NewReader(g, readers(legs))); !errors.Is(err, dmraid.ErrState) {
		t.Errorf("reshape: %v", err)
	}
}
