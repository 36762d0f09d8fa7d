// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"slices"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// made is a clean array of a type over the first n legs: its table, length and
// metadata.
type made struct {
	table  dmraid.Table
	length dmraid.Sectors
	images [][]byte
}

// make runs a new array until it is synced.
func (l *stateLab) make(typ dmraid.Type, n int) made {
	l.t.Helper()
	m := made{table: dmraid.Table{Type: typ, ChunkSize: 64}}
	if typ == dmraid.RAID1 {
		m.table.ChunkSize = 0
	}
	if typ != dmraid.RAID0 {
		m.table.RegionSize = 1024
	}
	for i := range n {
		m.table.Legs = append(m.table.Legs, dmraid.Leg{Meta: l.metas[i], Data: l.datas[i]})
	}
	switch typ.Level() {
	case 1:
		m.length = labLeg
	case 10:
		m.length = labLeg * dmraid.Sectors(n) / 2
	default:
		m.length = labLeg * dmraid.Sectors(n-typ.Parity())
	}
	l.store(blank())
	if err := l.start(m.table, m.length); err != nil {
		l.t.Fatal(typ, err)
	}
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if w := l.status(); w[4] == "idle" && !slices.Contains([]byte(w[2]), 'a') {
			break
		} else if time.Now().After(deadline) {
			l.t.Fatal(typ, w)
		}
	}
	l.stop()
	m.images = l.load()
	return m
}

// TestKernelStateChanges loads tables that ask for another level, layout,
// chunk size or number of legs than the superblocks have.
func TestKernelStateChanges(t *testing.T) {
	vmtest.OnlyKernel(t, 6, 1, "what later and older kernels answer is not all known")
	l := newStateLab(t)
	var r1, r5, r5n, r6, r10, r0, r4 made
	t.Run("prepare", func(t *testing.T) {
		l.t = t
		r1, r5, r5n = l.make(dmraid.RAID1, 2), l.make(dmraid.RAID5LS, 3), l.make(dmraid.RAID5N, 3)
		r6, r10, r0, r4 = l.make(dmraid.RAID6LS6, 4), l.make(dmraid.RAID10, 4), l.make(dmraid.RAID0, 2), l.make(dmraid.RAID4, 3)
	})
	if t.Failed() {
		return
	}
	legs := func(n int) (list []dmraid.Leg) {
		for i := range n {
			list = append(list, dmraid.Leg{Meta: l.metas[i], Data: l.datas[i]})
		}
		return list
	}
	room := dmraid.Sectors(2048)
	to := func(typ dmraid.Type, n int, change ...func(*dmraid.Table)) dmraid.Table {
		x := dmraid.Table{Type: typ, ChunkSize: 64, RegionSize: 1024, Legs: legs(n)}
		if typ == dmraid.RAID1 {
			x.ChunkSize = 0
		}
		if typ == dmraid.RAID0 {
			x.RegionSize = 0
		}
		for _, f := range change {
			f(&x)
		}
		return x
	}
	rebuild := func(legs ...int) func(*dmraid.Table) { return func(x *dmraid.Table) { x.Rebuild = legs } }
	offset := func(x *dmraid.Table) { x.DataOffset = &room }
	delta := func(n int) func(*dmraid.Table) { return func(x *dmraid.Table) { x.DeltaDisks = n } }
	chunk := func(x *dmraid.Table) { x.ChunkSize = 128 }
	missing := func(i int) func(*dmraid.Table) { return func(x *dmraid.Table) { x.Legs[i] = dmraid.Leg{} } }
	nosync := func(x *dmraid.Table) { x.Sync = dmraid.SyncNone }
	half := func(images [][]byte) [][]byte {
		return edit(images, func(_ int, s *dmraid.Superblock) { s.ArrayResync = 1024 })
	}
	l.t = t
	for _, c := range []struct {
		name   string
		from   made
		table  dmraid.Table
		length dmraid.Sectors
	}{
		{"raid1 to raid5_n", r1, to(dmraid.RAID5N, 2), labLeg},
		{"raid1 to raid5_ls", r1, to(dmraid.RAID5LS, 2), labLeg},
		{"raid1 to raid10", r1, to(dmraid.RAID10, 2), labLeg},
		{"raid1 to raid0", r1, to(dmraid.RAID0, 1), labLeg},
		{"raid1 to raid6", r1, to(dmraid.RAID6ZR, 4, rebuild(2, 3)), 2 * labLeg},
		{"raid1, a leg more", r1, to(dmraid.RAID1, 3, rebuild(2)), labLeg},
		{"raid1, a leg more without rebuild", r1, to(dmraid.RAID1, 3), labLeg},
		{"raid1, a leg fewer", r1, to(dmraid.RAID1, 1), labLeg},
		{"raid5_ls to raid6_ls_6", r5, to(dmraid.RAID6LS6, 4, rebuild(3)), 2 * labLeg},
		{"raid5_ls to raid6_ls_6 without rebuild", r5, to(dmraid.RAID6LS6, 4), 2 * labLeg},
		{"raid5_ls to raid6_zr", r5, to(dmraid.RAID6ZR, 4, rebuild(3)), 2 * labLeg},
		{"raid5_ls to raid0", r5, to(dmraid.RAID0, 2), 2 * labLeg},
		{"raid5_ls to raid1", r5, to(dmraid.RAID1, 3), labLeg},
		{"raid5_ls to raid10", r5, to(dmraid.RAID10, 4, rebuild(3)), 2 * labLeg},
		{"raid5_n to raid6_n_6", r5n, to(dmraid.RAID6N6, 4, rebuild(3)), 2 * labLeg},
		{"raid5_n to raid0", r5n, to(dmraid.RAID0, 2), 2 * labLeg},
		{"raid6_ls_6 to raid5_ls", r6, to(dmraid.RAID5LS, 3), 2 * labLeg},
		{"raid6_ls_6 to raid5_n", r6, to(dmraid.RAID5N, 3), 2 * labLeg},
		{"raid6_ls_6 to raid6_ls_6, degraded", r6, to(dmraid.RAID6LS6, 4, missing(3)), 2 * labLeg},
		{"raid10 to raid0", r10, to(dmraid.RAID0, 2), 2 * labLeg},
		{"raid10 to raid1", r10, to(dmraid.RAID1, 4), 2 * labLeg},
		{"raid10 to raid5_n", r10, to(dmraid.RAID5N, 4), 3 * labLeg},
		{"raid0 to raid5_n", r0, to(dmraid.RAID5N, 3, rebuild(2)), 2 * labLeg},
		{"raid0 to raid5_ls", r0, to(dmraid.RAID5LS, 3, rebuild(2)), 2 * labLeg},
		{"raid0 to raid6_n_6", r0, to(dmraid.RAID6N6, 4, rebuild(2, 3)), 2 * labLeg},
		{"raid0 to raid10", r0, to(dmraid.RAID10, 4, rebuild(2, 3)), 2 * labLeg},
		{"raid4 to raid5_n, no room", r4, to(dmraid.RAID5N, 3), 2 * labLeg},
		{"raid5_ls to raid5_ra, no room", r5, to(dmraid.RAID5RA, 3), 2 * labLeg},
		{"raid5_ls, other chunks, no room", r5, to(dmraid.RAID5LS, 3, chunk), 2 * labLeg},
		{"raid5_ls, a leg more, no room", r5, to(dmraid.RAID5LS, 4, delta(1)), 2 * labLeg},
		{"raid10, other copies", r10, to(dmraid.RAID10, 4, func(x *dmraid.Table) { x.Copies = 4 }), labLeg},
		{"raid10 to offset, no room", r10, to(dmraid.RAID10, 4, func(x *dmraid.Table) { x.Format = dmraid.FormatOffset }), 2 * labLeg},
		{"raid10 to far", r10, to(dmraid.RAID10, 4, func(x *dmraid.Table) { x.Format = dmraid.FormatFar }), 2 * labLeg},
		{"raid5_ls to raid5_ra, degraded", r5, to(dmraid.RAID5RA, 3, offset, missing(1)), 2 * labLeg},
		{"raid5_ls, dirty, to raid5_ra", made{images: half(r5.images)}, to(dmraid.RAID5RA, 3, offset), 2 * labLeg},
		{"raid5_ls, dirty, to raid6_ls_6", made{images: half(r5.images)}, to(dmraid.RAID6LS6, 4, rebuild(3)), 2 * labLeg},
		{"raid5_ls, before 1.9.0, to raid6_ls_6", made{images: beforeV190(r5.images)}, to(dmraid.RAID6LS6, 4, rebuild(3)), 2 * labLeg},
		{"raid5_ls, before 1.9.0, to raid5_ra", made{images: beforeV190(r5.images)}, to(dmraid.RAID5RA, 3), 2 * labLeg},
		{"raid1, nosync to raid5_n", r1, to(dmraid.RAID5N, 2, nosync), labLeg},
		{"raid5_ls with room only", r5, to(dmraid.RAID5LS, 3, offset), 2 * labLeg},
		{"raid5_ls to raid5_ra", r5, to(dmraid.RAID5RA, 3, offset), 2 * labLeg},
		{"raid5_ls, other chunks", r5, to(dmraid.RAID5LS, 3, offset, chunk), 2 * labLeg},
		{"raid10 to offset", r10, to(dmraid.RAID10, 4, offset, func(x *dmraid.Table) { x.Format = dmraid.FormatOffset }), 2 * labLeg},
	} {
		images := slices.Clone(c.from.images)
		for i := range images { // legs that come new have no superblock
			if i >= len(c.from.table.Legs) && c.from.table.Legs != nil {
				images[i] = make([]byte, labSave)
			}
		}
		l.run(c.name, images, c.table, c.length)
	}
}
