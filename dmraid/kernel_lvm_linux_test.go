// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/internal/blockdev"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// TestKernelLVM has lvm make raid volumes of every kind, and reads them: the
// table that lvm loaded, the status, the superblocks below, and the data from
// the legs alone.
func TestKernelLVM(t *testing.T) {
	vmtest.Require(t, "dm-raid", "raid0", "raid1", "raid10", "raid456")
	disks := vmtest.RAMDisks(t, 5)
	lvm(t, "vgcreate", append([]string{"-s", "1m", "raidvg"}, disks...)...)
	defer func() {
		lvm(t, "vgremove", "-f", "raidvg")
		lvm(t, "pvremove", append([]string{"-ff", "-y"}, disks...)...)
	}()
	for _, tt := range []struct {
		args string
		want dmraid.Type
		legs int
	}{
		{"--type raid0_meta -i 2", dmraid.RAID0, 2},
		{"--type raid0 -i 3", dmraid.RAID0, 3},
		{"--type raid1 -m 1", dmraid.RAID1, 2},
		{"--type raid1 -m 2", dmraid.RAID1, 3},
		{"--type raid4 -i 2", dmraid.RAID4, 3},
		{"--type raid5 -i 2", dmraid.RAID5LS, 3},
		{"--type raid5_ra -i 3", dmraid.RAID5RA, 4},
		{"--type raid5_n -i 2", dmraid.RAID5N, 3},
		{"--type raid6 -i 3", dmraid.RAID6ZR, 5},
		{"--type raid6_nc -i 3", dmraid.RAID6NC, 5},
		{"--type raid6_ls_6 -i 3", dmraid.RAID6LS6, 5},
		{"--type raid10 -i 2 -m 1", dmraid.RAID10, 4},
	} {
		t.Run(strings.ReplaceAll(tt.args, " ", "_"), func(t *testing.T) {
			lvm(t, "lvcreate", append(strings.Fields(tt.args), "-y", "-Wn", "-L", "8m", "-n", "lv", "raidvg")...)
			defer lvm(t, "lvremove", "-f", "raidvg/lv")
			readLVM(t, tt.want, tt.legs)
		})
	}
	t.Run("split", func(t *testing.T) {
		lvm(t, "lvcreate", "--type", "raid1", "-m", "2", "-y", "-Wn", "-L", "8m", "-n", "lv", "raidvg")
		defer lvm(t, "lvremove", "-f", "raidvg/lv")
		readLVM(t, dmraid.RAID1, 3)
		lvm(t, "lvconvert", "-y", "--splitmirrors", "1", "--trackchanges", "raidvg/lv")
		ctx := context.Background()
		c, a := openLVM(t, ctx)
		defer c.Close()
		s, err := a.State(ctx)
		if err != nil {
			t.Fatal(err)
		}
		h := s.Health
		if h.Condition != dmraid.Degraded || len(h.Missing) != 1 || !s.Table.Legs[h.Missing[0]].Missing() || h.Spare != 1 {
			t.Errorf("%v, %+v", s.Table, h)
		}
	})
}

// lvm runs a tool of lvm without its daemon.
func lvm(t *testing.T, tool string, args ...string) {
	t.Helper()
	vmtest.Run(t, tool, append([]string{"--config", "activation/monitoring=0"}, args...)...)
}

func openLVM(t *testing.T, ctx context.Context) (*dm.Client, *dmraid.Array) {
	t.Helper()
	c, err := dm.Open(ctx, dm.WithTargets(dmraid.Parsers()))
	if err != nil {
		t.Fatal(err)
	}
	a, err := dmraid.OpenArray(ctx, c, dm.Name("raidvg-lv"))
	if err != nil {
		t.Fatal(err)
	}
	return c, a
}

func readLVM(t *testing.T, typ dmraid.Type, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, a := openLVM(t, ctx)
	defer c.Close()
	if _, err := a.WaitIdle(ctx, dmraid.WatchOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := a.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s.Table.Type != typ || len(s.Table.Legs) != n || s.Health.Condition != dmraid.Clean {
		t.Errorf("want %s of %d legs: %v, %v", typ, n, s.Table, s.Health)
	}
	// What the kernel prints is what lvm loaded; it must load again.
	line := vmtest.Output(t, "dmsetup", "table", "raidvg-lv")
	tab, err := dm.ParseTable(line, dmraid.Parsers())
	if err != nil {
		t.Fatal(err)
	}
	if err := tab.Validate(); err != nil {
		t.Errorf("%s: %v", line, err)
	}
	text, err := dmraid.Explain(line)
	if err != nil || !strings.Contains(text, "capacity") {
		t.Errorf("%s: %v\n%s", line, err, text)
	}
	if typ == dmraid.RAID0 {
		readLegs(t, s, nil)
		return // it writes no superblocks
	}
	var sources []dmraid.LegSource
	for _, l := range s.Table.Legs {
		sources = append(sources, dmraid.LegSource{Name: l.Meta, Open: func(context.Context) (io.ReaderAt, error) {
			return dmraid.HostDevices{}.OpenDevice(l.Meta, false)
		}})
	}
	images, err := dmraid.Scan(ctx, sources)
	if err != nil {
		t.Fatal(err)
	}
	report, err := dmraid.Verify(images)
	if err != nil || report.Type != typ || !report.Clean || report.Lost != 0 {
		t.Errorf("%v, %v", report, err)
	}
	for i, l := range report.Legs {
		if l.Verdict != dmraid.LegCurrent || l.Position != i {
			t.Errorf("leg %d: %+v", i, l)
		}
	}
	table, length, err := report.Newest.Table()
	if err != nil || table.Type != typ || table.ChunkSize != s.Table.ChunkSize || len(table.Legs) != n || length != s.Length {
		t.Errorf("the superblock makes %v of %v, %v; the table is %v of %v", table, length, err, s.Table, s.Length)
	}
	readLegs(t, s, nil)
	readLegs(t, s, []int{n - 1})
}

// readLegs reads the array from its legs but some, and compares with what the
// kernel gives.
func readLegs(t *testing.T, s dmraid.ArrayState, missing []int) {
	t.Helper()
	g, err := s.Table.Geometry(s.Length)
	if err != nil {
		t.Fatal(err)
	}
	legs := make([]io.ReaderAt, len(s.Table.Legs))
	for i, l := range s.Table.Legs {
		if slices.Contains(missing, i) {
			continue
		}
		d, err := dmraid.HostDevices{}.OpenDevice(l.Data, false)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		legs[i] = d
	}
	r, err := dmraid.NewReader(g, legs)
	if err != nil {
		t.Fatal(err)
	}
	f, err := blockdev.Open(s.Info.Dev.Path(), blockdev.Options{Write: true, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := make([]byte, s.Length.Bytes())
	if missing == nil { // what is there is zeros so far
		for i := range want {
			want[i] = byte(i>>9 + i*7)
		}
		if _, err := f.WriteAt(want, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := r.ReadAt(got, 0); err != nil && err != io.EOF || !bytes.Equal(got, want) {
		t.Errorf("without %v: the legs hold something else, %v", missing, err)
	}
}
