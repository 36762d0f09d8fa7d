// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// A checksum that Linux 6.1 printed: the bytes 0, 1, 2 … with the block
// number and the magic in their places.
func TestThinChecksum(t *testing.T) {
	sb := make([]byte, thinBlock)
	for i := range sb {
		sb[i] = byte(i)
	}
	binary.LittleEndian.PutUint64(sb[offThinBlock:], 0)
	binary.LittleEndian.PutUint64(sb[offThinMagic:], thinMagic)
	if got := thinSum(sb[4:]); got != 2386190158 {
		t.Errorf("checksum %d", got)
	}
}

// What a pool says to a metadata device that is not zeros, and to one that is
// too small. Texts are those of Linux 6.1.
func TestThinBadMetadata(t *testing.T) {
	k := New()
	meta := k.AddDisk("/dev/meta", 8, 0, 16384)
	k.AddDisk("/dev/data", 8, 16, 1<<20)
	tr := k.Transport()
	table := spec(8192, "thin-pool", "8:0 8:16 128 0")
	sb := make([]byte, thinBlock)
	for i := range sb {
		sb[i] = byte(i)
	}
	put := func(at int, n uint64) func() {
		return func() { binary.LittleEndian.PutUint64(sb[at:], n); meta.WriteAt(sb, 0) }
	}
	ours := func() {
		meta.WriteAt(make([]byte, thinBlock), 0)
		create(t, tr, "p", table)
		mustSay(t, tr, "p", "create_thin 5")
		remove(t, tr, "p")
	}
	validator := "device-mapper: block manager: superblock validator check failed for block 0"
	for _, tt := range []struct {
		prepare func()
		errno   syscall.Errno
		lines   []string
	}{
		{put(0, 0x0706050403020100), ENOTBLK, []string{"device-mapper: thin metadata: sb_check failed: blocknr 1084818905618843912: wanted 0", validator}},
		{put(8, 0), EILSEQ, []string{"device-mapper: thin metadata: sb_check failed: magic 2820983053732684064: wanted 27022010", validator}},
		{put(32, thinMagic), EILSEQ, []string{"device-mapper: thin metadata: sb_check failed: csum 2386190158: wanted 50462976", validator}},
		{func() { meta.WriteAt(make([]byte, thinBlock), 0); meta.Resize(4) }, EIO, nil},
		{func() { meta.Resize(16) }, EINVAL, []string{"device-mapper: space map common: metadata block out of bounds"}},
		{func() { meta.Resize(56) }, ENOSPC, []string{"device-mapper: space map metadata: unable to allocate new metadata block"}},
		{func() { meta.Resize(16384); ours(); table.Params = "8:0 8:16 256 0" }, EINVAL,
			[]string{"device-mapper: thin metadata: changing the data block size (from 128 to 256) is not supported"}},
		{func() { // the volumes, not the superblock
			table.Params = "8:0 8:16 128 0"
			p := make([]byte, 16384*sectorSize)
			meta.ReadAt(p, 0)
			for i := thinBlock; i < len(p); i++ {
				if p[i] != 0 {
					p[i] ^= 1
				}
			}
			meta.WriteAt(p, 0)
		}, EILSEQ, nil},
		{func() { // a superblock of the kernel
			meta.WriteAt(make([]byte, thinBlock), 0)
			ours()
			p := make([]byte, thinBlock)
			meta.ReadAt(p, 0)
			clear(p[offThinRoot : offThinRoot+256])
			binary.LittleEndian.PutUint32(p, thinSum(p[4:]))
			meta.WriteAt(p, 0)
		}, EILSEQ, nil},
	} {
		tt.prepare()
		must(t, tr, dmwire.CmdCreate, named("p"), nil)
		collect, _ := tr.KernelLog()
		if err := load(t, tr, "p", table); err != tt.errno {
			t.Errorf("%v, want %v", err, tt.errno)
		}
		got := collect()
		want := tt.lines
		if len(want) == 2 {
			want = append(want, "device-mapper: thin metadata: couldn't read superblock")
		}
		want = append(want, "device-mapper: table: 254:0: thin-pool: Error creating metadata object ("+errnoText(tt.errno)+")",
			"device-mapper: ioctl: error adding target to table")
		if !slices.Equal(got, want) {
			t.Errorf("log\n got %s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		remove(t, tr, "p")
	}
	// Ten blocks are enough to load and not to run, twelve do for no volume.
	for _, tt := range []struct {
		blocks uint64
		status string
	}{
		{10, "0 8192 thin-pool 0 9/10 0/0 - ro discard_passdown queue_if_no_space needs_check 2 "},
		{12, "0 8192 thin-pool 0 10/12 0/64 - rw discard_passdown queue_if_no_space - 3 "},
	} {
		meta.WriteAt(make([]byte, thinBlock), 0)
		meta.Resize(tt.blocks * thinBlockSects)
		create(t, tr, "p", table)
		if got := status(t, tr, "p", 0); got != tt.status {
			t.Errorf("%d blocks: %q, want %q", tt.blocks, got, tt.status)
		}
		remove(t, tr, "p")
	}
	k.AssertClean(t)
}

// The tables of two pools on the same devices.
func TestThinPoolTable(t *testing.T) {
	k := New()
	for i, path := range []string{"/dev/a", "/dev/b", "/dev/c", "/dev/d"} {
		k.AddDisk(path, 8, uint32(i), 16384)
	}
	tr := k.Transport()
	create(t, tr, "x", spec(8192, "thin-pool", "8:0 8:1 128 0"))
	must(t, tr, dmwire.CmdCreate, named("y"), nil)
	for _, tt := range []struct{ dev, params, text string }{
		{"y", "8:0 8:1 128 0", "metadata device already in use by a pool (-EBUSY)"},
		{"y", "8:2 8:1 128 0 1 read_only", "Error creating metadata object (-EPERM)"},
		{"x", "8:0 8:3 128 0", "data device already in use by a pool (-EBUSY)"},
		{"x", "8:2 8:1 128 0", "different pool cannot replace a pool (-EINVAL)"},
		{"x", "8:0 8:1 128 0 1 ignore_discard", "Discard support cannot be disabled once enabled (-EINVAL)"},
		{"x", "8:0 8:1 100 0", "Invalid block size (-EINVAL)"},
		{"x", "8:0 8:1 128 -1", "Invalid low water mark (-EINVAL)"},
		{"x", "8:0 9:9 128 0", "Error getting data device (-ENXIO)"},
		{"x", "9:9 8:1 128 0", "Error opening metadata block device (-ENXIO)"},
	} {
		collect, _ := tr.KernelLog()
		if load(t, tr, tt.dev, spec(8192, "thin-pool", tt.params)) == nil {
			t.Errorf("%s was taken", tt.params)
		}
		if got := collect(); len(got) != 2 || !strings.HasSuffix(got[0], "thin-pool: "+tt.text) {
			t.Errorf("%s: log %q", tt.params, got)
		}
	}
	// Another block size is not looked at once the pool is there.
	if err := load(t, tr, "x", spec(8192, "thin-pool", "8:0 8:1 256 7 0 what follows")); err != nil {
		t.Error(err)
	}
	if got := status(t, tr, "x", dmwire.StatusTable|dmwire.QueryInactive); got != "0 8192 thin-pool 8:0 8:1 128 7 0 " {
		t.Errorf("%q", got)
	}
	remove(t, tr, "y", "x")
	k.AssertClean(t)
}

func FuzzThinStore(f *testing.F) {
	m := newThinMeta(nil, 128, 1000)
	m.data = 50
	f.Add(m.encode())
	m.create(3)
	for i := range uint64(5) {
		m.insert(m.vols[3], i*100, m.alloc())
	}
	m.snap(4, 3)
	m.insert(m.vols[4], 7, m.alloc())
	f.Add(m.encode())
	m.reserve()
	m.remove(3)
	f.Add(m.encode())
	f.Fuzz(func(t *testing.T, p []byte) {
		first := newThinMeta(nil, 128, 1000)
		if first.decode(p) != nil {
			return
		}
		stream := first.encode()
		second := newThinMeta(nil, 128, 1000)
		if err := second.decode(stream); err != nil || !bytes.Equal(second.encode(), stream) {
			t.Fatalf("%x came back as %x, %v", stream, second.encode(), err)
		}
		if first.inUse() != second.inUse() {
			t.Fatalf("%d blocks became %d", first.inUse(), second.inUse())
		}
		// It can be used.
		for id := range second.vols {
			if second.free() > 0 {
				second.insert(second.vols[id], 1, second.alloc())
			}
			second.snap(1<<24, id)
			second.remove(id)
			break
		}
		second.release()
	})
}

// A metadata device that fails, with the texts of Linux 6.1: what was not
// committed is lost, and the pool is read-only, or fails when it can't be
// read either.
func TestThinMetadataFails(t *testing.T) {
	for _, reads := range []bool{true, false} { // whether reads still succeed
		k, tr, v := thinSetup(t, 64, "0")
		meta := k.disks[makeDev(8, 0)]
		writeAt(t, v, blocks(1, 1)[:512], 0)
		meta.FailWith(func(write bool, _, _ uint64) error {
			if write || !reads {
				return EIO
			}
			return nil
		})
		collect, _ := tr.KernelLog()
		pool, volume, table := status(t, tr, "pool", 0), status(t, tr, "v", 0), status(t, tr, "v", dmwire.StatusTable)
		want := []string{
			"device-mapper: thin: 254:0: metadata operation 'dm_pool_commit_metadata' failed: error = -5",
			"device-mapper: thin: 254:0: aborting current metadata transaction",
		}
		if reads {
			want = append(want, "device-mapper: thin: 254:0: switching pool to read-only mode")
			if pool != "0 8192 thin-pool 0 214/2048 0/64 - ro discard_passdown queue_if_no_space needs_check 512 " ||
				volume != "0 8192 thin 128 -" || table != "0 8192 thin 254:0 0" {
				t.Errorf("%q, %q, %q", pool, volume, table)
			}
		} else {
			want = append(want, "device-mapper: thin: 254:0: failed to abort metadata transaction",
				"device-mapper: thin: 254:0: switching pool to fail mode",
				"device-mapper: thin: 254:0: failed to set 'needs_check' flag in metadata",
				"device-mapper: thin: 254:0: dm_pool_get_metadata_transaction_id returned -22")
			if again := status(t, tr, "pool", 0); again != "0 8192 thin-pool Fail" {
				t.Errorf("%q", again)
			}
			if pool != "0 8192 thin-pool Error" || volume != "0 8192 thin Fail" || table != "0 8192 thin Fail" {
				t.Errorf("%q, %q, %q", pool, volume, table)
			}
		}
		if got := collect(); !slices.Equal(got, want) {
			t.Errorf("log\n got %s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if _, err := v.WriteAt(blocks(1, 2), 0); err != EIO {
			t.Error(err)
		}
		got := blocks(1, 9)
		if _, err := v.ReadAt(got, 0); (err == nil) != reads || err == nil && !isZero(got) {
			t.Errorf("read: %v", err)
		}
		// Mended, the pool needs a check all the same, if it could be told so.
		meta.FailWith(nil)
		v.Close()
		remove(t, tr, "v", "pool")
		collect, _ = tr.KernelLog()
		create(t, tr, "pool", spec(64*128, "thin-pool", "8:0 8:16 128 0"))
		want = nil
		if reads {
			want = []string{
				"device-mapper: thin: 254:0: unable to switch pool to write mode until repaired.",
				"device-mapper: thin: 254:0: switching pool to read-only mode",
			}
		}
		if got := collect(); !slices.Equal(got, want) {
			t.Errorf("log %q, want %q", got, want)
		}
		remove(t, tr, "pool")
		k.AssertClean(t)
	}
}

// Whether a pool passes discards down goes by what is below its data device.
func TestDiscardSupport(t *testing.T) {
	k := New(WithVersion(4, 43, 0))
	k.AddDisk("/dev/meta", 8, 0, 16384)
	data := k.AddDisk("/dev/data", 8, 1, 16384)
	tr := k.Transport()
	create(t, tr, "low", linearTo("8:1", 8192))
	create(t, tr, "high", linearTo("/dev/mapper/low", 8192))
	for _, takes := range []bool{true, false} {
		data.SetDiscards(takes)
		create(t, tr, "pool", spec(8192, "thin-pool", "8:0 /dev/mapper/high 128 0"))
		if got := strings.Contains(status(t, tr, "pool", 0), " discard_passdown "); got != takes {
			t.Errorf("passed down: %v, the disk takes discards: %v", got, takes)
		}
		remove(t, tr, "pool")
	}
	// A circle ends somewhere.
	swapTable(t, tr, "low", linearTo("/dev/mapper/high", 8192))
	create(t, tr, "pool", spec(8192, "thin-pool", "8:0 /dev/mapper/high 128 0"))
	if got := status(t, tr, "pool", 0); !strings.Contains(got, " no_discard_passdown ") {
		t.Errorf("%q", got)
	}
	remove(t, tr, "pool")
	swapTable(t, tr, "low", linearTo("8:1", 8192))
	remove(t, tr, "high", "low")
	k.AssertClean(t)
}
