// SPDX-License-Identifier: MIT

package dm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

var crc32c = dm.Alg{Name: "crc32c"}

func (e *env) integrityStatus(t *testing.T, ref dm.Ref) dm.IntegrityStatus {
	t.Helper()
	list, err := e.c.Status(context.Background(), ref, dm.StatusOptions{})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	typed, err := list[0].Typed()
	if err != nil {
		t.Fatal(err)
	}
	return typed.(dm.IntegrityStatus)
}

// formatted wipes the disk, lets a table of 8 sectors format it and swaps in
// one for all that there is.
func (e *env) formatted(t *testing.T, name string, i dm.Integrity) (dm.Info, dm.Integrity, dm.IntegrityStatus) {
	t.Helper()
	ctx := context.Background()
	e.wipe(t, i.Device, 8192)
	if i.MetaDevice != "" {
		e.wipe(t, i.MetaDevice, 8192)
	}
	info := e.create(t, name, dm.Table{}.Append(8, i), dm.CreateOptions{})
	status := e.integrityStatus(t, info.Dev)
	if status.Provided <= 8 || status.Mismatches != 0 {
		t.Fatalf("%v after the format: %+v", i, status)
	}
	printed, err := e.c.Table(ctx, info.Dev, dm.StatusOptions{})
	if err != nil {
		t.Fatal(err)
	}
	i = printed[0].Target.(dm.Integrity)
	if _, err := e.c.Reload(ctx, info.Dev, dm.Table{}.Append(status.Provided, i), dm.ReloadOptions{}); err != nil {
		t.Fatal(err)
	}
	return info, i, status
}

// dataAt is where the data start on a disk that has the tags too, and where
// the tags do, as drivers/md/dm-integrity.c lays them out.
func dataAt(i dm.Integrity) (data, tags dm.Sectors) {
	tags = 8 + i.JournalSectors
	blocks := uint64(i.InterleaveSectors) / uint64(max(i.BlockSize, 512)/512)
	padding := uint64(128 << 10)
	if i.FixPadding {
		padding = 4 << 10
	}
	run := (blocks*uint64(i.TagSize) + padding - 1) / padding * padding
	return tags + dm.Sectors(run/512), tags
}

func testIntegrity(t *testing.T, e *env) {
	e.modules(t, "dm-integrity")
	ctx := context.Background()
	d := e.disks
	for n, i := range []dm.Integrity{
		{Device: d[0], InternalHash: crc32c},
		{Device: d[0], InternalHash: crc32c, BlockSize: 4096},
		{Device: d[0], InternalHash: crc32c, Mode: dm.IntegrityDirect, BlockSize: 4096},
		{Device: d[0], InternalHash: crc32c, Mode: dm.IntegrityBitmap, InterleaveSectors: 64},
		{Device: d[0], InternalHash: dm.Alg{Name: "sha256"}, FixPadding: true},
		{Device: d[0], InternalHash: dm.Alg{Name: "sha256"}, TagSize: 7, Mode: dm.IntegrityDirect},
		{Device: d[0], InternalHash: crc32c, MetaDevice: d[1]},
		{
			Device: d[0], InternalHash: dm.Alg{Name: "hmac(sha256)", Key: dm.NewKey(secretKey(32))},
			JournalMAC:   dm.Alg{Name: "hmac(sha256)", Key: dm.NewKey(secretKey(16))},
			JournalCrypt: dm.Alg{Name: "ctr(aes)", Key: dm.NewKey(secretKey(32))},
		},
	} {
		info, printed, before := e.formatted(t, "i", i)
		f := e.rw(t, info.Name)
		plain := pattern(64<<10, byte(n))
		if _, err := f.WriteAt(plain, 32<<10); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(plain))
		if _, err := f.ReadAt(got, 32<<10); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d: what was written does not come back: %v", n, err)
		}
		// Nobody wrote here, so the tag is not that of zeros.
		if _, err := f.ReadAt(got[:4096], 1<<20); errno(err) != 84 {
			t.Errorf("%d: read of what was never written: %v", n, err)
		}
		f.Close()
		after := e.integrityStatus(t, info.Dev)
		if after.Mismatches == 0 || after.Provided != before.Provided || after.Recalculating {
			t.Errorf("%d: status %+v, before %+v", n, after, before)
		}
		// Another device with the same table finds it all there.
		tab, err := e.c.Table(ctx, info.Dev, dm.StatusOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if shown := tab.String(); strings.Contains(shown, dm.NewKey(secretKey(16)).Reveal()) {
			t.Errorf("%d: a key is shown", n)
		}
		e.remove(t, info.Dev)
		info = e.create(t, "i", tab, dm.CreateOptions{})
		f = e.rw(t, info.Name)
		if _, err := f.ReadAt(got, 32<<10); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d: lost with the device: %v", n, err)
		}
		f.Close()
		e.remove(t, info.Dev)
		if i.MetaDevice == "" && printed.TagSize == 4 && printed.JournalSectors > 0 {
			// On the disk: data and crc32c of each block's number and data. Linux 7.2
			// tells the size of the journal in journal mode alone.
			data, tags := dataAt(printed)
			block := int(max(printed.BlockSize, 512))
			per := dm.Sectors(block / 512)
			if got := e.raw(t, d[0], data+dm.Sectors(min(64, uint64(printed.InterleaveSectors)-8)), 8, nil); printed.InterleaveSectors > 64 && !bytes.Equal(got, plain[:4096]) {
				t.Errorf("%d: the data are not in their place", n)
			}
			if printed.InterleaveSectors > 64 {
				tagsOnDisk := e.raw(t, d[0], tags, 8, nil)[64/per*4:]
				var number [8]byte
				binary.LittleEndian.PutUint64(number[:], 64)
				table := crc32.MakeTable(crc32.Castagnoli)
				want := crc32.Update(crc32.Checksum(number[:], table), table, plain[:block])
				if got := binary.LittleEndian.Uint32(tagsOnDisk); got != want {
					t.Errorf("%d: tag %08x, want %08x", n, got, want)
				}
			}
		}
	}
}

func testIntegrityTables(t *testing.T, e *env) {
	e.modules(t, "dm-integrity")
	d := e.disks[0]
	ms := func(n int) *time.Duration { return new(time.Duration(n) * time.Millisecond) }
	for n, i := range []dm.Integrity{
		{Device: d, InternalHash: crc32c},
		{Device: d, TagSize: 16},
		{Device: d, InternalHash: crc32c, JournalSectors: 500, InterleaveSectors: 4096, BufferSectors: 64, JournalWatermark: new(uint8(0)), CommitTime: ms(0)},
		{Device: d, InternalHash: crc32c, Mode: dm.IntegrityDirect, AllowDiscards: true, FixPadding: true},
		{Device: d, InternalHash: crc32c, Mode: dm.IntegrityBitmap, SectorsPerBit: 512, BitmapFlushInterval: ms(400)},
		{Device: d, InternalHash: crc32c, BlockSize: 2048, Offset: 4096},
		{Device: d, InternalHash: crc32c, MetaDevice: e.disks[1]},
		{Device: d, InternalHash: dm.Alg{Name: "hmac(sha256)", Key: dm.NewKey(secretKey(32))}, LegacyRecalculate: e.c.Version().AtLeast(4, 47)},
	} {
		if i.FixPadding && !e.c.Version().AtLeast(4, 43) {
			continue
		}
		e.wipe(t, d, 8192)
		e.wipe(t, e.disks[1], 8192)
		got := e.printedAgain(t, 8, i, false).(dm.Integrity)
		if got.Mode != i.Mode || got.InternalHash != i.InternalHash || got.BlockSize != i.BlockSize || got.Offset != i.Offset ||
			got.AllowDiscards != i.AllowDiscards || got.FixPadding != i.FixPadding || got.LegacyRecalculate != i.LegacyRecalculate ||
			got.SectorsPerBit != i.SectorsPerBit || got.TagSize == 0 || got.Mode == dm.IntegrityJournal && got.JournalSectors == 0 || (got.MetaDevice == "") != (i.MetaDevice == "") {
			t.Errorf("%d: %v came back as %v", n, i, got)
		}
		for _, p := range [][2]*time.Duration{{i.CommitTime, got.CommitTime}, {i.BitmapFlushInterval, got.BitmapFlushInterval}} {
			if p[0] != nil && (p[1] == nil || *p[0] != *p[1]) {
				t.Errorf("%d: %v came back as %v", n, i, got)
			}
		}
		if i.JournalWatermark != nil && (got.JournalWatermark == nil || *got.JournalWatermark != *i.JournalWatermark) {
			t.Errorf("%d: %v came back as %v", n, i, got)
		}
	}
	e.wipe(t, d, 8192)
	e.create(t, "i", dm.Table{}.Append(8, dm.Integrity{Device: d, InternalHash: crc32c}), dm.CreateOptions{})
	e.remove(t, e.name("i"))
	for _, tt := range []struct {
		i      dm.Integrity
		length dm.Sectors
		err    error
		says   string
	}{
		{dm.Integrity{Device: d, InternalHash: crc32c, TagSize: 8}, 8, nil, "Tag size doesn't match"},
		{dm.Integrity{Device: d, InternalHash: crc32c, BlockSize: 4096}, 8, nil, "Block size doesn't match"},
		{dm.Integrity{Device: d, InternalHash: crc32c, JournalMAC: dm.Alg{Name: "hmac(sha256)", Key: dm.NewKey(secretKey(32))}}, 8, nil, "Journal mac mismatch"},
		{dm.Integrity{Device: d, InternalHash: dm.Alg{Name: "no-such"}}, 8, nil, "Invalid internal hash"},
		{dm.Integrity{Device: d, InternalHash: crc32c}, 1 << 30, nil, "Not enough provided sectors"},
		{dm.Integrity{Device: d}, 8, dm.ErrBadTable, "tag size"},
		{dm.Integrity{Device: d, TagSize: 4, AllowDiscards: true}, 8, dm.ErrBadTable, "need internal_hash"},
	} {
		_, err := e.c.Create(context.Background(), e.name("bad"), dm.Table{}.Append(tt.length, tt.i), dm.CreateOptions{})
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v: %v, want %q", tt.i, err, tt.says)
		}
		if tt.err != nil {
			wantErr(t, err, tt.err)
		}
	}
	// What is neither empty nor formatted is left alone.
	e.raw(t, d, 0, 8, func(b []byte) { copy(b, "something else") })
	_, err := e.c.Create(context.Background(), e.name("bad"), dm.Table{}.Append(8, dm.Integrity{Device: d, InternalHash: crc32c}), dm.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), "The device is not initialized") {
		t.Errorf("a disk with something else on it: %v", err)
	}
	e.wipe(t, d, 8)
}

func testIntegrityCorruption(t *testing.T, e *env) {
	e.modules(t, "dm-integrity")
	d := e.disks[0]
	info, i, _ := e.formatted(t, "i", dm.Integrity{Device: d, InternalHash: crc32c})
	plain := pattern(16<<10, 9)
	f := e.rw(t, info.Name)
	if _, err := f.WriteAt(plain, 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	e.remove(t, info.Dev)
	data, tags := dataAt(i)
	e.raw(t, d, data+8, 8, func(b []byte) {
		if !bytes.Equal(b, plain[4096:8192]) {
			t.Error("the data are not in their place")
		}
		b[700] ^= 1
	})
	e.raw(t, d, tags, 8, func(b []byte) { b[16*4] ^= 0x80 }) // of sector 16
	info = e.create(t, "i", dm.Table{}.Append(1024, i), dm.CreateOptions{})
	f = e.rw(t, info.Name)
	b := make([]byte, 4096)
	for block, bad := range []bool{false, true, true, false} {
		_, err := f.ReadAt(b, int64(block)*4096)
		if bad && errno(err) != 84 || !bad && (err != nil || !bytes.Equal(b, plain[block*4096:][:4096])) {
			t.Errorf("block %d: %v", block, err)
		}
	}
	if s := e.integrityStatus(t, info.Dev); s.Mismatches < 2 {
		t.Errorf("%+v", s)
	}
	// What is written anew is good again.
	if _, err := f.WriteAt(plain[4096:8192], 4096); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(b, 4096); err != nil || !bytes.Equal(b, plain[4096:8192]) {
		t.Errorf("written again: %v", err)
	}
	f.Close()
	e.remove(t, info.Dev)
	// Recovery mode gives what there is.
	i.Mode = dm.IntegrityRecovery
	info = e.create(t, "i", dm.Table{}.Append(1024, i), dm.CreateOptions{ReadOnly: true})
	f = e.rw(t, info.Name)
	if _, err := f.ReadAt(b, 8192); err != nil || !bytes.Equal(b, plain[8192:][:4096]) {
		t.Errorf("recovery mode: %v", err)
	}
	f.Close()
	e.remove(t, info.Dev)
}

func testIntegrityRecalculate(t *testing.T, e *env) {
	e.modules(t, "dm-integrity")
	e.wipe(t, e.disks[0], 1024)
	i := dm.Integrity{Device: e.disks[0], InternalHash: crc32c, Recalculate: true}
	info := e.create(t, "i", dm.Table{}.Append(16384, i), dm.CreateOptions{})
	deadline := time.Now().Add(time.Minute)
	s := e.integrityStatus(t, info.Dev)
	for ; s.Recalculated < s.Provided; s = e.integrityStatus(t, info.Dev) {
		if !s.Recalculating || time.Now().After(deadline) {
			t.Fatalf("%+v", s)
		}
		time.Sleep(10 * time.Millisecond)
	}
	f := e.rw(t, info.Name)
	if _, err := f.ReadAt(make([]byte, 1<<20), 4<<20); err != nil {
		t.Errorf("read of what was recalculated: %v", err)
	}
	f.Close()
	if s := e.integrityStatus(t, info.Dev); s.Mismatches != 0 {
		t.Errorf("%+v", s)
	}
	e.remove(t, info.Dev)
}
