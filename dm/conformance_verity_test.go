// SPDX-License-Identifier: MIT

package dm_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
)

// verityTree makes the hash tree of data, as it lies on the hash device from
// HashStart on: the top level first. v says how; its RootDigest is filled in.
func verityTree(t *testing.T, v *dm.Verity, data []byte) []byte {
	t.Helper()
	newHash := map[string]func() hash.Hash{"sha256": sha256.New, "sha512": sha512.New}[v.Algorithm]
	salt, err := hex.DecodeString(v.Salt)
	if err != nil {
		t.Fatal(err)
	}
	digests := func(p []byte, size int) (list [][]byte) {
		for ; len(p) > 0; p = p[size:] {
			h := newHash()
			if !v.ChromeOS {
				h.Write(salt)
			}
			h.Write(p[:size])
			if v.ChromeOS {
				h.Write(salt)
			}
			list = append(list, h.Sum(nil))
		}
		return list
	}
	block := int(v.HashBlockSize)
	per := 1
	for per*2*newHash().Size() <= block {
		per *= 2
	}
	room := block / per
	if v.ChromeOS {
		room = newHash().Size()
	}
	level := digests(data, int(v.DataBlockSize))
	var tree []byte
	for len(level) > 1 {
		b := make([]byte, (len(level)+per-1)/per*block)
		for i, d := range level {
			copy(b[i/per*block+i%per*room:], d)
		}
		tree = append(bytes.Clone(b), tree...)
		level = digests(b, block)
	}
	v.RootDigest = hex.EncodeToString(level[0])
	return tree
}

func (e *env) verityStatus(t *testing.T, ref dm.Ref) dm.VerityStatus {
	t.Helper()
	list, err := e.c.Status(context.Background(), ref, dm.StatusOptions{})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	s, err := dm.ParseVerityStatus(list[0].Text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testVerity(t *testing.T, e *env) {
	e.modules(t, "dm-verity")
	const length = 2048
	data := pattern(length*512, 7)
	copy(data[8192:], make([]byte, 4096)) // a block of zeros
	for n, v := range []dm.Verity{
		{Algorithm: "sha256", DataBlockSize: 4096, HashBlockSize: 4096, HashStart: 1, Salt: "0123456789abcdef"},
		{Algorithm: "sha256", DataBlockSize: 4096, HashBlockSize: 4096, HashStart: 3},
		{Algorithm: "sha512", DataBlockSize: 1024, HashBlockSize: 1024, HashStart: 8, Salt: "ff"},
		{Algorithm: "sha256", DataBlockSize: 512, HashBlockSize: 512, Salt: "beef", ChromeOS: true},
	} {
		v.Device, v.HashDevice = e.disks[0], e.disks[1]
		v.DataBlocks = length * 512 / uint64(v.DataBlockSize)
		tree := verityTree(t, &v, data)
		treeAt := dm.Sectors(v.HashStart) * dm.Sectors(v.HashBlockSize/512)
		treeLen := dm.Sectors(len(tree) / 512)
		e.raw(t, v.Device, 0, length, func(b []byte) { copy(b, data) })
		e.raw(t, v.HashDevice, treeAt, treeLen, func(b []byte) { copy(b, tree) })
		read := func(v dm.Verity, at int64, bad bool, after dm.VerityStatus) {
			t.Helper()
			info := e.create(t, "v", dm.Table{}.Append(length, v), dm.CreateOptions{ReadOnly: true})
			defer e.remove(t, info.Dev)
			if s := e.verityStatus(t, info.Dev); s.Corrupted {
				t.Errorf("%d: %+v before any read", n, s)
			}
			f := e.rw(t, info.Name)
			defer f.Close()
			b := make([]byte, 4096)
			_, err := f.ReadAt(b, at)
			if bad && errno(err) != 5 || !bad && err != nil {
				t.Errorf("%d: read at %d: %v", n, at, err)
			}
			if s := e.verityStatus(t, info.Dev); s.Corrupted != after.Corrupted {
				t.Errorf("%d: status %+v, want %+v", n, s, after)
			}
			if !bad && !after.Corrupted && !bytes.Equal(b, data[at:][:4096]) {
				t.Errorf("%d: other data at %d", n, at)
			}
		}
		good, corrupted := dm.VerityStatus{}, dm.VerityStatus{Corrupted: true}
		for _, at := range []int64{0, 8192, 512 << 10, length*512 - 4096} {
			read(v, at, false, good)
		}
		// One bit of the data.
		e.raw(t, v.Device, 1024, 8, func(b []byte) { b[100] ^= 1 })
		read(v, 512<<10, true, corrupted)
		read(v, 0, false, good)
		ignoring := v
		ignoring.OnCorruption = dm.VerityIgnore
		read(ignoring, 512<<10, false, corrupted)
		e.raw(t, v.Device, 1024, 8, func(b []byte) { b[100] ^= 1 })
		once := v
		once.CheckAtMostOnce, once.IgnoreZeroBlocks = true, true
		read(once, 512<<10, false, good)
		read(once, 8192, false, good)
		// One bit of the top of the tree spoils all.
		e.raw(t, v.HashDevice, treeAt, 1, func(b []byte) { b[1] ^= 1 })
		read(v, 0, true, corrupted)
		e.raw(t, v.HashDevice, treeAt, 1, func(b []byte) { b[1] ^= 1 })
		// The wrong root is like it.
		wrong := v
		wrong.RootDigest = strings.Repeat("0", len(v.RootDigest))
		read(wrong, 0, true, corrupted)
	}
}

func testVerityTables(t *testing.T, e *env) {
	e.modules(t, "dm-verity")
	ctx := context.Background()
	base := dm.Verity{
		Device: e.disks[0], HashDevice: e.disks[1], DataBlockSize: 4096, HashBlockSize: 4096, DataBlocks: 256, HashStart: 1,
		Algorithm: "sha256", RootDigest: strings.Repeat("ab", 32),
	}
	with := func(change func(v *dm.Verity)) dm.Verity { v := base; change(&v); return v }
	list := []dm.Verity{
		base,
		with(func(v *dm.Verity) { v.ChromeOS, v.Salt = true, "1234" }),
		with(func(v *dm.Verity) { v.OnCorruption = dm.VerityIgnore }),
		with(func(v *dm.Verity) {
			v.OnCorruption, v.IgnoreZeroBlocks, v.CheckAtMostOnce = dm.VerityRestart, true, true
		}),
		with(func(v *dm.Verity) { v.OnCorruption = dm.VerityPanic }),
	}
	if e.c.Version().AtLeast(4, 47) { // Debian's Linux 5.10 is built without error correction
		list = append(list, with(func(v *dm.Verity) { v.TryVerifyInTasklet, v.OnCorruption = true, dm.VerityRestart }),
			with(func(v *dm.Verity) {
				v.FEC = dm.VerityFEC{Device: e.disks[2], Roots: 2, Blocks: 512, Start: 8}
				v.IgnoreZeroBlocks = true
			}))
	}
	for _, v := range list {
		got := e.printedAgain(t, 2048, v, true).(dm.Verity)
		got.Device, got.HashDevice = v.Device, v.HashDevice
		if v.FEC.Device != "" {
			got.FEC.Device = v.FEC.Device
		}
		if got != v {
			t.Errorf("%v came back as %v", v, got)
		}
	}
	// The kernel wants the table to be read-only: so do we, before anything is
	// done.
	tab := dm.Table{}.Append(2048, base)
	_, err := e.c.Create(ctx, e.name("v"), tab, dm.CreateOptions{})
	wantErr(t, err, dm.ErrBadTable, "needs a read-only table")
	info := e.create(t, "z", e.table(t, "0 2048 zero"), dm.CreateOptions{})
	wantErr(t, e.c.Load(ctx, info.Dev, tab, dm.LoadOptions{}), dm.ErrBadTable, "needs a read-only table")
	_, err = e.c.Reload(ctx, info.Dev, tab, dm.ReloadOptions{})
	wantErr(t, err, dm.ErrBadTable, "needs a read-only table")
	if now := e.info(t, info.Dev); now.InactiveTable || now.Suspended || now.ReadOnly {
		t.Errorf("refused, and yet %+v", now)
	}
	_, err = e.c.Create(ctx, e.name("raw"), dm.Table{}.Append(2048, dm.Raw{Type: "verity", Text: base.Params()}), dm.CreateOptions{})
	wantErr(t, err, err, "Device must be readonly")
	e.remove(t, info.Dev)
	for _, tt := range []struct {
		v    dm.Verity
		err  error
		says string
	}{
		{with(func(v *dm.Verity) { v.Algorithm = "no-such" }), nil, "Cannot initialize hash function"},
		{with(func(v *dm.Verity) { v.HashStart = 1 << 40 }), dm.ErrBadTable, "wants sectors"},
		{with(func(v *dm.Verity) { v.DataBlocks = 255 }), dm.ErrBadTable, "less than the length"},
		{with(func(v *dm.Verity) { v.RootDigest = "ab" }), dm.ErrBadTable, "root digest"},
		{with(func(v *dm.Verity) { v.Salt = "abc" }), dm.ErrBadTable, "salt"},
		{with(func(v *dm.Verity) { v.HashBlockSize = 1000 }), dm.ErrBadTable, "hash block size"},
		{with(func(v *dm.Verity) { v.FEC = dm.VerityFEC{Device: "/dev/x", Roots: 1, Blocks: 512} }), dm.ErrBadTable, "roots"},
	} {
		_, err := e.c.Create(ctx, e.name("bad"), dm.Table{}.Append(2048, tt.v), dm.CreateOptions{ReadOnly: true})
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v: %v, want %q", tt.v, err, tt.says)
		}
		if tt.err != nil {
			wantErr(t, err, tt.err)
		}
	}
}
