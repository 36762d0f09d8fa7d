// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bytes"
	"context"
	"fmt"
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

// Each leg of these tests is one RAM disk: 1 MiB of metadata, then room that a
// reshape can have, then data.
const (
	imgMeta = 2048
	imgRoom = 2048
)

// imageRig is an array of the kernel over legs that a Reader reads too.
type imageRig struct {
	c     *dm.Client
	disks []*blockdev.Device
	meta  []dm.Info
	data  []dm.Info
	begin dm.Sectors // of the data devices, on the disks
	name  dm.Name
}

func newImageRig(t testing.TB, legs int, begin, length dm.Sectors) *imageRig {
	t.Helper()
	ctx := context.Background()
	c, err := dm.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r := &imageRig{c: c, begin: begin, name: "image"}
	t.Cleanup(func() {
		c.Remove(ctx, r.name, dm.RemoveOptions{Retries: 3})
		for _, l := range slices.Concat(r.meta, r.data) {
			if err := c.Remove(ctx, l.Dev, dm.RemoveOptions{Retries: 3}); err != nil {
				t.Error(err)
			}
		}
		for _, d := range r.disks {
			d.Close()
		}
		c.Close()
	})
	for i, path := range vmtest.RAMDisks(t, legs) {
		d, err := blockdev.Open(path, blockdev.Options{Write: true, Direct: true})
		if err != nil {
			t.Fatal(err)
		}
		r.disks = append(r.disks, d)
		if _, err := d.WriteAt(make([]byte, imgMeta*512), 0); err != nil {
			t.Fatal(err)
		}
		// What an array does not write is not zero.
		if _, err := d.WriteAt(random(int(imgRoom+length+imgRoom)*512), imgMeta*512); err != nil {
			t.Fatal(err)
		}
		for _, part := range []struct {
			list *[]dm.Info
			name string
			len  dm.Sectors
			at   dm.Sectors
		}{{&r.meta, "meta", imgMeta, 0}, {&r.data, "data", length, begin}} {
			info, err := c.Create(ctx, dm.Name(fmt.Sprintf("image-%s-%d", part.name, i)), dm.Table{}.Append(part.len, dm.Linear{Device: path, Offset: part.at}), dm.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			*part.list = append(*part.list, info)
		}
	}
	return r
}

// legs are the table's words for the first n legs, without the missing ones.
func (r *imageRig) legs(n int, missing ...int) []dmraid.Leg {
	list := make([]dmraid.Leg, n)
	for i := range list {
		if !slices.Contains(missing, i) {
			list[i] = dmraid.Leg{Meta: r.meta[i].Dev.String(), Data: r.data[i].Dev.String()}
		}
	}
	return list
}

// settled waits until nothing runs and all legs that are there are in sync.
func (r *imageRig) settled(t testing.TB) dmraid.Status {
	t.Helper()
	return r.await(t, func(s dmraid.Status) bool {
		return s.Action == dmraid.ActionIdle && s.Done == s.Total && strings.Trim(s.Letters, "A-") == ""
	})
}

func (r *imageRig) await(t testing.TB, until func(s dmraid.Status) bool) dmraid.Status {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		list, err := r.c.Status(context.Background(), r.name, dm.StatusOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := dmraid.ParseStatus(list[0].Text)
		if err != nil {
			t.Fatal(err)
		}
		if until(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited too long: %s", list[0].Text)
		}
	}
}

func (r *imageRig) create(t testing.TB, table dmraid.Table, length dm.Sectors) *blockdev.Device {
	t.Helper()
	info, err := r.c.Create(context.Background(), r.name, dm.Table{}.Append(length, table), dm.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r.open(t, info)
}

func (r *imageRig) open(t testing.TB, info dm.Info) *blockdev.Device {
	t.Helper()
	d, err := blockdev.Open(info.Dev.Path(), blockdev.Options{Write: true, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (r *imageRig) remove(t testing.TB) {
	t.Helper()
	if err := r.c.Remove(context.Background(), r.name, dm.RemoveOptions{Retries: 10}); err != nil {
		t.Fatal(err)
	}
}

// images are the data legs, past device-mapper.
func (r *imageRig) images(n int, missing ...int) []io.ReaderAt {
	list := make([]io.ReaderAt, n)
	for i := range list {
		if !slices.Contains(missing, i) {
			list[i] = io.NewSectionReader(r.disks[i], r.begin.Bytes(), 1<<40)
		}
	}
	return list
}

func (r *imageRig) super(t testing.TB, leg int) dmraid.Superblock {
	t.Helper()
	s, err := dmraid.ReadSuperblock(r.disks[leg])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func readAll(t testing.TB, d io.ReaderAt, n int64) []byte {
	t.Helper()
	p := make([]byte, n)
	if m, err := d.ReadAt(p, 0); int64(m) != n || err != nil && err != io.EOF {
		t.Fatalf("read %d of %d: %v", m, n, err)
	}
	return p
}

// What the Reader has from the legs, without each set of them that can be
// missing, is what the kernel's device gives.
func TestKernelReader(t *testing.T) {
	vmtest.Require(t, "dm-raid", "raid1", "raid10", "raid456")
	var cases []layoutCase
	for _, l := range layoutCases(t) {
		switch {
		case l.legs > 5, l.copies > 3, l.typ == dmraid.RAID1 && l.legs > 3, l.copies == 3 && l.legs == 5:
		case testing.Short() && l.legs != 4 && l.typ != dmraid.RAID1:
		default:
			cases = append(cases, l)
		}
	}
	for _, l := range cases {
		t.Run(l.String(), func(t *testing.T) {
			const chunk, chunks = 16, 37 // a rest stays at the end of each leg
			r := newImageRig(t, l.legs, imgMeta, chunk*chunks)
			table, length := l.table(chunk, chunks)
			if l.typ == dmraid.RAID10 {
				// A table of far copies must be a whole number of them.
				table, length = l.table(chunk, chunks-chunks%l.copies)
			}
			table.Legs = r.legs(l.legs)
			d := r.create(t, table, length)
			defer d.Close()
			r.settled(t)
			g, err := table.Geometry(length)
			if err != nil {
				t.Fatal(err)
			}
			array := random(int(g.ArraySectors()) * 512)
			if _, err := d.WriteAt(array, 0); err != nil {
				t.Fatal(err)
			}
			r.settled(t)
			if got := readAll(t, d, int64(len(array))); !bytes.Equal(got, array) {
				t.Fatal("the kernel does not give what was written")
			}
			d.Close()
			r.remove(t) // writes the superblocks
			var options []dmraid.ReaderOption
			if l.typ.Redundant() {
				for i := range l.legs {
					super := r.super(t, i)
					options = append(options, dmraid.WithSuperblock(i, super))
					if fromSuper, err := super.Geometry(); err != nil || fromSuper != g {
						t.Fatalf("superblock %+v: %+v, table %+v, %v", super, fromSuper, g, err)
					}
				}
			}
			for _, missing := range subsets(l.legs, l.legs) {
				if !g.Tolerates(missing...) {
					continue
				}
				reader, err := dmraid.NewReader(g, r.images(l.legs, missing...), options...)
				if err != nil {
					t.Fatal(missing, err)
				}
				if got := readAll(t, reader, reader.Size()); !bytes.Equal(got, array) {
					t.Fatalf("without %v: differs at %d", missing, differs(got, array))
				}
				if f := reader.Failures(); f != nil {
					t.Fatalf("without %v: %v", missing, f)
				}
			}
			reader, err := dmraid.NewReader(g, r.images(l.legs), options...)
			if err != nil {
				t.Fatal(err)
			}
			for m, err := range reader.Scrub(context.Background()) {
				t.Fatalf("%+v, %v", m, err)
			}
		})
	}
}

// A reshape that is stopped half-way leaves both forms on the legs, and the
// superblocks say where one ends.
func TestKernelReaderReshape(t *testing.T) {
	vmtest.Require(t, "dm-raid", "raid1", "raid10", "raid456")
	offset := dmraid.Sectors(imgRoom)
	for _, c := range []struct {
		name     string
		from, to layoutCase
		front    bool // the room is in front of the data, and the reshape goes forwards
	}{
		{"raid5 grows", layoutCase{typ: dmraid.RAID5LS, legs: 3}, layoutCase{typ: dmraid.RAID5LS, legs: 5}, true},
		{"raid6 grows", layoutCase{typ: dmraid.RAID6ZR, legs: 4}, layoutCase{typ: dmraid.RAID6ZR, legs: 5}, true},
		{"raid5 shrinks", layoutCase{typ: dmraid.RAID5RS, legs: 5}, layoutCase{typ: dmraid.RAID5RS, legs: 4}, false},
		{"raid6 changes its layout", layoutCase{typ: dmraid.RAID6LS6, legs: 5}, layoutCase{typ: dmraid.RAID6NR, legs: 5}, false},
		{"raid10 grows", layoutCase{typ: dmraid.RAID10, legs: 4, copies: 2, format: dmraid.FormatNear},
			layoutCase{typ: dmraid.RAID10, legs: 6, copies: 2, format: dmraid.FormatNear}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := context.Background()
			const chunk, chunks = 64, 256
			positions := max(c.from.legs, c.to.legs)
			r := newImageRig(t, positions, imgMeta+imgRoom, chunk*chunks)
			table, length := c.from.table(chunk, chunks)
			table.Legs = r.legs(c.from.legs)
			d := r.create(t, table, length)
			r.settled(t)
			array := random(int(length) * 512)
			if _, err := d.WriteAt(array, 0); err != nil {
				t.Fatal(err)
			}
			d.Close()
			r.settled(t)
			r.remove(t)

			// The legs get their room, and the array the table of the reshape.
			if c.front {
				r.begin = imgMeta
			}
			for i, info := range r.data {
				linear := dm.Linear{Device: r.disks[i].Path(), Offset: r.begin}
				if _, err := r.c.Reload(ctx, info.Dev, dm.Table{}.Append(chunk*chunks+imgRoom, linear), dm.ReloadOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			to, newLength := c.to.table(chunk, chunks)
			to.Legs = r.legs(positions)
			to.DeltaDisks = c.to.legs - c.from.legs
			to.DataOffset = &offset
			to.MaxRecoveryRate, to.MinRecoveryRate = 1024, 1024
			size := min(length, newLength)
			if c.to.legs <= c.from.legs {
				// The table has the old legs still, and the length that
				// belongs to them: with the new one the legs would shrink
				// (rs_set_dev_and_array_sectors).
				newLength = length
			}
			r.create(t, to, newLength).Close()
			// It waits until the table is loaded without these words
			// (rs_start_reshape sets MD_RECOVERY_WAIT).
			to.DeltaDisks, to.DataOffset = 0, nil
			info, err := r.c.Reload(ctx, r.name, dm.Table{}.Append(newLength, to), dm.ReloadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			d = r.open(t, info)
			defer d.Close()
			r.await(t, func(s dmraid.Status) bool {
				return s.Action == dmraid.ActionReshape && s.Done > 0 && s.Done < s.Total
			})
			if got := readAll(t, d, 1<<20); !bytes.Equal(got, array[:len(got)]) {
				t.Error("the kernel does not give what was written, while it reshapes")
			}
			d.Close()
			r.remove(t)
			newest := r.super(t, 0)
			var options []dmraid.ReaderOption
			for i := range positions {
				s := r.super(t, i)
				options = append(options, dmraid.WithSuperblock(i, s))
				if s.Events > newest.Events {
					newest = s
				}
			}
			t.Logf("%#v", newest)
			g, err := newest.Geometry()
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v of %v", g, g.ArraySectors())
			if p := g.Reshape.Position; g.Reshape.Legs == 0 || p == 0 || p >= g.ArraySectors() || g.Reshape.Backwards == c.front {
				t.Fatal("it was not stopped half-way, or goes the wrong way")
			}
			if g.ArraySectors() != size {
				t.Errorf("array of %v, want %v", g.ArraySectors(), size)
			}
			for _, missing := range subsets(positions, 2) {
				if !g.Tolerates(missing...) {
					continue
				}
				reader, err := dmraid.NewReader(g, r.images(positions, missing...), options...)
				if err != nil {
					t.Fatal(missing, err)
				}
				if got := readAll(t, reader, reader.Size()); !bytes.Equal(got, array[:len(got)]) {
					t.Fatalf("without %v: differs at sector %d", missing, differs(got, array)/512)
				}
			}
		})
	}
}

// BenchmarkKernelReader reads degraded arrays with both: from the kernel's
// device, and from the legs.
func BenchmarkKernelReader(b *testing.B) {
	vmtest.Require(b, "dm-raid", "raid1", "raid10", "raid456")
	for _, c := range []struct {
		l       layoutCase
		missing []int
	}{
		{layoutCase{typ: dmraid.RAID5LS, legs: 5}, nil},
		{layoutCase{typ: dmraid.RAID5LS, legs: 5}, []int{2}},
		{layoutCase{typ: dmraid.RAID6ZR, legs: 6}, []int{2}},
		{layoutCase{typ: dmraid.RAID6ZR, legs: 6}, []int{1, 4}},
		{layoutCase{typ: dmraid.RAID10, legs: 4, copies: 2, format: dmraid.FormatFar}, []int{0}},
	} {
		b.Run(fmt.Sprintf("%v-without-%d", c.l, len(c.missing)), func(b *testing.B) {
			const chunk, chunks = 128, 96
			r := newImageRig(b, c.l.legs, imgMeta, chunk*chunks)
			table, length := c.l.table(chunk, chunks)
			table.Legs = r.legs(c.l.legs)
			d := r.create(b, table, length)
			r.settled(b)
			array := random(int(length) * 512)
			if _, err := d.WriteAt(array, 0); err != nil {
				b.Fatal(err)
			}
			d.Close()
			r.remove(b)
			table.Legs = r.legs(c.l.legs, c.missing...)
			d = r.create(b, table, length)
			defer d.Close()
			g, err := table.Geometry(length)
			if err != nil {
				b.Fatal(err)
			}
			reader, err := dmraid.NewReader(g, r.images(c.l.legs, c.missing...))
			if err != nil {
				b.Fatal(err)
			}
			p := make([]byte, len(array))
			all := func(d io.ReaderAt) func() {
				return func() {
					for off := 0; off < len(p); off += 4 << 20 {
						part := p[off:min(off+4<<20, len(p))]
						if _, err := d.ReadAt(part, int64(off)); err != nil && err != io.EOF {
							b.Fatal(err)
						}
					}
					if !bytes.Equal(p[:4096], array[:4096]) {
						b.Fatal("another content")
					}
				}
			}
			inTurn(b, all(reader), side{"md", all(d)})
		})
	}
}
