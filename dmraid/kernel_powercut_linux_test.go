// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/internal/blockdev"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// The open problem of the mail of 2010: behind a machine that died in the
// middle of writes, is the bitmap consulted? It is not: dm-raid keeps calling
// the array clean (super_sync writes recovery_cp, which is MaxSector), and
// md_bitmap_load drops bits below recovery_cp. PlanAssemble mends that. Here the legs fail all at once,
// between two of their requests, which is what a power cut looks like from
// the array; the superblocks and bitmaps stay as they were at that moment.

const (
	cutMeta   = 2048  // sectors of a leg's metadata
	cutLeg    = 16384 // sectors of its data
	cutRegion = 128   // sectors that a bit of the bitmap stands for
)

// cutRig is an array over legs that can lose their power.
type cutRig struct {
	c     *dm.Client
	disks []string
	legs  []dm.Ref // metadata and data of each leg in turn
	table dm.Table
	array dm.Name
	typ   dmraid.Type
}

func newCutRig(t *testing.T, typ dmraid.Type, n int, length dm.Sectors) *cutRig {
	t.Helper()
	ctx := context.Background()
	c, err := dm.Open(ctx, dm.WithTargets(dmraid.Parsers()))
	if err != nil {
		t.Fatal(err)
	}
	r := &cutRig{c: c, disks: vmtest.RAMDisks(t, n), array: "cut", typ: typ}
	chunk := dm.Sectors(64)
	if typ == dmraid.RAID1 {
		chunk = 0
	}
	// The kernel clears bits after one to two periods of daemon_sleep, which
	// is in jiffies: 4 s where there are 250 a second.
	table := dmraid.Table{Type: typ, ChunkSize: chunk, RegionSize: cutRegion, DaemonSleep: 1000}
	for i, disk := range r.disks {
		var pair [2]string
		for j, part := range []dm.Linear{{Device: disk}, {Device: disk, Offset: cutMeta}} {
			name := dm.Name(fmt.Sprintf("cut-%d-%d", i, j))
			info, err := c.Create(ctx, name, dm.Table{}.Append(partSize(j), part), dm.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			r.legs = append(r.legs, info.Dev)
			pair[j] = info.Dev.String()
		}
		table.Legs = append(table.Legs, dmraid.Leg{Meta: pair[0], Data: pair[1]})
	}
	r.table = dm.Table{}.Append(length, table)
	t.Cleanup(func() {
		c.Remove(ctx, r.array, dm.RemoveOptions{Retries: 3})
		for _, l := range r.legs {
			if err := c.Remove(ctx, l, dm.RemoveOptions{Retries: 3}); err != nil {
				t.Error(err)
			}
		}
		c.Close()
	})
	return r
}

func partSize(part int) dm.Sectors { return []dm.Sectors{cutMeta, cutLeg}[part] }

func (r *cutRig) start(t *testing.T) dm.Info {
	t.Helper()
	info, err := r.c.Create(context.Background(), r.array, r.table, dm.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// assemble makes the array live again as a machine would that comes up.
func (r *cutRig) assemble(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	n := dmraid.Assemble{Name: r.array, Table: r.table[0].Target.(dmraid.Table), Length: r.table[0].Length}
	p, err := dmraid.PlanAssemble(ctx, r.c, n)
	if err == nil {
		err = p.Run(ctx, linuxblock.RunOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (r *cutRig) status(t *testing.T) string {
	t.Helper()
	s, err := r.c.Status(context.Background(), r.array, dm.StatusOptions{})
	if err != nil || len(s) != 1 {
		t.Fatal(s, err)
	}
	return s[0].Text
}

// settle waits until nothing runs and everything is in sync.
func (r *cutRig) settle(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		f := strings.Fields(r.status(t))
		done, total, _ := strings.Cut(f[3], "/")
		if f[4] == "idle" && done == total && strings.Trim(f[2], "A") == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not in sync in time: %v", f)
		}
	}
}

// power gives all legs the table that part makes of them, at one moment as
// far as the array can tell.
func (r *cutRig) power(t *testing.T, part func(leg, part int) dm.Target) {
	t.Helper()
	err := r.c.WhileSuspended(context.Background(), r.legs, dm.GuardOptions{SuspendOptions: dm.SuspendOptions{NoFlush: true, SkipLockFS: true}}, func(ctx context.Context) error {
		for i, l := range r.legs {
			if err := r.c.Load(ctx, l, dm.Table{}.Append(partSize(i%2), part(i/2, i%2)), dm.LoadOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (r *cutRig) cut(t *testing.T) {
	t.Helper()
	r.power(t, func(int, int) dm.Target { return dm.ErrorTarget{} })
}

func (r *cutRig) restore(t *testing.T) {
	t.Helper()
	r.power(t, func(leg, part int) dm.Target {
		return dm.Linear{Device: r.disks[leg], Offset: dm.Sectors(part) * cutMeta}
	})
}

// writeUntilFailure writes blocks at random until the device fails.
func writeUntilFailure(t *testing.T, path string, size int64, seed uint64, hot int64) (written int) {
	f, err := blockdev.Open(path, blockdev.Options{Write: true, Direct: true})
	if err != nil {
		t.Error(err)
		return 0
	}
	defer f.Close()
	rnd := rand.New(rand.NewPCG(seed, 1))
	p := make([]byte, 4096)
	for ; ; written++ {
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		if _, err := f.WriteAt(p, rnd.Int64N(hot/4096)*4096); err != nil {
			return written
		}
	}
}

// disk is the content of one leg's data, past device-mapper.
func (r *cutRig) disk(t *testing.T, leg int) []byte {
	t.Helper()
	f, err := blockdev.Open(r.disks[leg], blockdev.Options{Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, cutLeg*512)
	if _, err := f.ReadAt(p, cutMeta*512); err != nil {
		t.Fatal(err)
	}
	return p
}

// spoil changes a byte of a leg behind the array's back.
func (r *cutRig) spoil(t *testing.T, leg int, off int64) {
	t.Helper()
	f, err := blockdev.Open(r.disks[leg], blockdev.Options{Write: true, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 512)
	if _, err := f.ReadAt(p, cutMeta*512+off); err != nil {
		t.Fatal(err)
	}
	p[0] ^= 0xff
	if _, err := f.WriteAt(p, cutMeta*512+off); err != nil {
		t.Fatal(err)
	}
}

// bitmap reads a leg's, past device-mapper.
func (r *cutRig) bitmap(t *testing.T, leg int) dmraid.Bitmap {
	t.Helper()
	f, err := blockdev.Open(r.disks[leg], blockdev.Options{Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := dmraid.ReadBitmap(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// settleBitmap waits until the bitmap on disk says that all is clean.
func (r *cutRig) settleBitmap(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		n, _ := r.bitmap(t, 0).Dirty()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d regions stay dirty", n)
		}
	}
}

// scrub compares the legs and gives how much differs.
func (r *cutRig) scrub(t *testing.T) dmraid.Sectors {
	t.Helper()
	ctx := context.Background()
	a, err := dmraid.OpenArray(ctx, r.c, r.array)
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.Scrub(ctx, dmraid.ScrubOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s.Found
}

func TestKernelPowerCut(t *testing.T) {
	vmtest.Require(t, "dm-raid", "raid1", "raid10", "raid456")
	rounds := 2
	if testing.Short() {
		rounds = 1
	}
	for _, tt := range []struct {
		typ  dmraid.Type
		legs int
		data dm.Sectors // legs' worth of data
	}{{dmraid.RAID1, 2, 1}, {dmraid.RAID5LS, 3, 2}, {dmraid.RAID6ZR, 4, 2}, {dmraid.RAID10, 4, 2}} {
		t.Run(string(tt.typ), func(t *testing.T) {
			r := newCutRig(t, tt.typ, tt.legs, tt.data*cutLeg)
			r.start(t)
			r.settle(t)
			size := tt.data * cutLeg
			for round := range rounds {
				r.settleBitmap(t)
				r.powerCut(t, uint64(round), size)
			}
			r.c.Remove(context.Background(), r.array, dm.RemoveOptions{Retries: 3})
		})
	}
}

func (r *cutRig) powerCut(t *testing.T, seed uint64, size dm.Sectors) {
	ctx := context.Background()
	info, err := r.c.Info(ctx, r.array)
	if err != nil {
		t.Fatal(err)
	}
	// Only the first half of the array is written to.
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			if n := writeUntilFailure(t, info.Dev.Path(), size.Bytes(), seed*16+uint64(i), size.Bytes()/2); n == 0 {
				t.Error("nothing was written before the power went")
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	r.cut(t)
	wg.Wait()
	if err := r.c.Remove(ctx, r.array, dm.RemoveOptions{Retries: 5}); err != nil {
		t.Fatal(err)
	}

	// What lies there now is what a machine finds that comes up again.
	bitmap := r.bitmap(t, 0)
	dirty, _ := bitmap.Dirty()
	if dirty == 0 {
		t.Fatalf("no region is dirty in %v", bitmap)
	}
	// In a clean region the legs are made to differ: a resync that keeps
	// to the bitmap does not see that.
	clean := bitmap.Regions() - 1
	for clean >= 0 && bitmap.IsDirty(clean) {
		clean--
	}
	if clean < 0 {
		t.Fatal("no region is clean")
	}
	leg, off := 1, clean*cutRegion*512
	if r.typ == dmraid.RAID10 { // its bitmap counts the array's sectors
		g, err := r.table[0].Target.(dmraid.Table).Geometry(size)
		if err != nil {
			t.Fatal(err)
		}
		second := g.Copies(dmraid.Sectors(clean * cutRegion))[1]
		leg, off = second.Leg, second.Sector.Bytes()
	}
	r.spoil(t, leg, off)
	r.restore(t)
	r.assemble(t)
	status := r.status(t)
	r.settle(t)
	t.Logf("round %d: %d of %d regions dirty; status %s", seed, dirty, bitmap.Regions(), status)
	// Behind the resync nothing differs but what it could not see.
	if r.scrub(t) == 0 {
		t.Errorf("the whole of the array was resynchronised, not the %d dirty regions", dirty)
	}
	r.spoil(t, leg, off)
	if n := r.scrub(t); n != 0 {
		t.Errorf("%v differ", n)
	}
	if r.typ == dmraid.RAID1 && !bytes.Equal(r.disk(t, 0), r.disk(t, 1)) {
		t.Error("the legs differ")
	}
}
