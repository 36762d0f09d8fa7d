// SPDX-License-Identifier: MIT

package raidtest_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// levelCase is an array of 512 sectors a leg with chunks of 8.
type levelCase struct {
	params string
	legs   int
	length int // sectors
	lost   int // legs that it may lose, whichever they are
}

func levelCases() []levelCase {
	var list []levelCase
	for _, n := range []int{1, 2, 3} {
		list = append(list, levelCase{"raid0 1 8", n, 512 * n, 0}, levelCase{"raid1 1 0", n, 512, n - 1})
	}
	for _, typ := range []string{"raid4", "raid5_n", "raid5_ls", "raid5_rs", "raid5_la", "raid5_ra"} {
		for _, n := range []int{2, 4} {
			list = append(list, levelCase{typ + " 1 8", n, 512 * (n - 1), 1})
		}
	}
	for _, typ := range []string{"raid6_zr", "raid6_nr", "raid6_nc", "raid6_n_6", "raid6_ls_6", "raid6_rs_6", "raid6_la_6", "raid6_ra_6"} {
		for _, n := range []int{4, 6} {
			list = append(list, levelCase{typ + " 1 8", n, 512 * (n - 2), 2})
		}
	}
	for _, c := range []struct{ legs, copies int }{{2, 2}, {3, 2}, {4, 2}, {5, 2}, {3, 3}, {5, 3}, {6, 3}} {
		for _, format := range []string{"near", "far", "offset"} {
			length := 480 * c.legs / c.copies
			length -= length % (c.legs * 8)
			list = append(list, levelCase{fmt.Sprintf("raid10 5 8 raid10_copies %d raid10_format %s", c.copies, format), c.legs, length, 1})
		}
	}
	return list
}

// pattern writes random data in random pieces over the whole of the device,
// and returns what it must hold.
func pattern(t *testing.T, f *dmtest.IO, r *rand.Rand) []byte {
	t.Helper()
	want := make([]byte, f.Size())
	randomize(want, r)
	if _, err := f.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	for range 24 {
		at := r.IntN(len(want)/512) * 512
		n := min((1+r.IntN(40))*512, len(want)-at)
		randomize(want[at:at+n], r)
		if _, err := f.WriteAt(want[at:at+n], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	return want
}

func randomize(p []byte, r *rand.Rand) {
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], r.Uint64())
	}
}

func wantContent(t *testing.T, f *dmtest.IO, want []byte, what string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if !bytes.Equal(got, want) {
		i := 0
		for got[i] == want[i] {
			i++
		}
		t.Fatalf("%s: byte %d differs", what, i)
	}
}

// Data, copies and parity lie where Geometry says; with any legs missing that
// may be, all data can be read, written and, when the legs are back, are on
// all of them again.
func TestLevels(t *testing.T) {
	vmtest.NotInVM(t, "on the double")
	for _, c := range levelCases() {
		if vmtest.RaceDetector && c.legs > 4 {
			continue
		}
		t.Run(fmt.Sprintf("%s/%d", c.params, c.legs), func(t *testing.T) {
			r := rand.New(rand.NewPCG(4, uint64(c.legs)))
			l := newLab(t, dmraid.Linux61)
			line := arrayLine(c.length, c.params, c.legs)
			for _, d := range l.disks[:c.legs] {
				d.WriteAt(fill(byte(r.Uint32()), 512*512), 0)
			}
			l.start(line)
			l.settled()
			f := l.open()
			want := pattern(t, f, r)
			wantContent(t, f, want, "whole")
			l.wantPlaces(line, want)
			f.Close()
			l.remove()
			for _, missing := range subsets(c.legs, c.lost) {
				what := fmt.Sprint("without ", missing)
				l.start(without(line, missing))
				f := l.open()
				wantContent(t, f, want, what)
				want = pattern(t, f, r)
				wantContent(t, f, want, what)
				if err := l.m.Daemon("r"); err != nil {
					t.Fatal(err)
				}
				f.Close()
				l.remove()
				l.start(line)
				l.settled()
				f = l.open()
				wantContent(t, f, want, "behind "+what)
				l.wantPlaces(line, want)
				f.Close()
				l.remove()
			}
		})
	}
}

// subsets are the sets of at most n of legs, none left out.
func subsets(legs, n int) (list [][]int) {
	for i := range legs {
		if n > 0 {
			list = append(list, []int{i})
		}
		for j := range i {
			if n > 1 {
				list = append(list, []int{j, i})
			}
		}
	}
	return list
}

// without is a table with "- -" in some positions.
func without(line string, missing []int) string {
	w := strings.Fields(line)
	legs := w[len(w)-1]
	n := 0
	fmt.Sscanf(legs, "1:%d", &n)
	first := len(w) - 2*(n+1)
	for _, i := range missing {
		w[first+2*i], w[first+2*i+1] = "-", "-"
	}
	return strings.Join(w, " ")
}

// wantPlaces compares the legs with where the geometry says that the content
// and its parity lie.
func (l *lab) wantPlaces(line string, want []byte) {
	l.t.Helper()
	seg := table(l.t, line)[0]
	target, err := dmraid.Parse(seg.Target.(rawTarget).params)
	if err != nil {
		l.t.Fatal(err)
	}
	g, err := target.(dmraid.Table).Geometry(seg.Length)
	if err != nil {
		l.t.Fatal(err)
	}
	on := func(p dmraid.Place, n dmraid.Sectors) []byte {
		b := make([]byte, n*512)
		l.disks[p.Leg].ReadAt(b, int64(p.Sector)*512)
		return b
	}
	for at := dmraid.Sectors(0); at < seg.Length; {
		loc := g.Map(at)
		n := min(loc.Run, seg.Length-at)
		places := g.Copies(at)
		if len(places) == 0 {
			places = []dmraid.Place{loc.Place}
		}
		for _, p := range places {
			if !bytes.Equal(on(p, n), want[at*512:(at+n)*512]) {
				l.t.Fatalf("sector %d is not on leg %d at %d", at, p.Leg, p.Sector)
			}
		}
		at += n
	}
	for i := range g.Stripes() {
		s := g.Stripe(i)
		if s.P < 0 {
			continue
		}
		data := make([][]byte, g.DataLegs())
		for leg, role := range s.Roles {
			if role.Kind == dmraid.RoleData {
				data[role.Index] = on(dmraid.Place{Leg: leg, Sector: s.Sector}, s.Sectors)
			}
		}
		p, q := make([]byte, s.Sectors*512), []byte(nil)
		if s.Q >= 0 {
			q = slices.Clone(p)
		}
		if err := g.Parity(i, data, p, q); err != nil {
			l.t.Fatal(err)
		}
		if !bytes.Equal(p, on(dmraid.Place{Leg: s.P, Sector: s.Sector}, s.Sectors)) {
			l.t.Fatalf("P of stripe %d is wrong", i)
		}
		if q != nil && !bytes.Equal(q, on(dmraid.Place{Leg: s.Q, Sector: s.Sector}, s.Sectors)) {
			l.t.Fatalf("Q of stripe %d is wrong", i)
		}
	}
}
