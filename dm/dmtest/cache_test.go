// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// cached is a device "c" with a target over RAM disks: metadata on ram9, the
// fast device ram8, the slow one ram0.
func cached(t *testing.T, typ, params string, opts ...Option) (*Kernel, *Transport, *IO) {
	t.Helper()
	k := New(opts...)
	ramdisks(k)
	tr := k.Transport()
	create(t, tr, "c", spec(16384, typ, params))
	f, err := k.OpenDevice("c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Close()
		must(t, tr, dmwire.CmdRemoveAll, dmwire.Header{}, nil)
		k.AssertClean(t)
	})
	return k, tr, f
}

func reload(t *testing.T, tr *Transport, typ, params string) error {
	t.Helper()
	if err := load(t, tr, "c", spec(16384, typ, params)); err != nil {
		return err
	}
	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "c", Flags: dmwire.Suspend}, nil)
	_, _, err := call(t, tr, dmwire.CmdSuspend, named("c"), nil)
	return err
}

// field is a word of the status, counted from the first behind the type.
func field(t *testing.T, tr *Transport, n int) string {
	t.Helper()
	return strings.Fields(status(t, tr, "c", 0))[3+n]
}

const cacheLine = "1:9 1:8 1:0 64 1 "

// Blocks of the status of a cache.
const (
	cacheUsed  = 3
	cacheDemo  = 8
	cachePromo = 9
	cacheDirty = 10
)

func write(t *testing.T, f *IO, block int64, b byte, n int) {
	t.Helper()
	if _, err := f.WriteAt(bytes.Repeat([]byte{b}, n), block*32768); err != nil {
		t.Fatal(err)
	}
}

func (k *Kernel) byteAt(t *testing.T, minor uint32, off int64) byte {
	t.Helper()
	b := make([]byte, 1)
	if _, err := k.disks[makeDev(1, minor)].ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

// The second miss brings a block in; a full cache gives up the block that was
// not used for the longest time, written back if it is dirty.
func TestCachePromotion(t *testing.T) {
	k, tr, f := cached(t, "cache", cacheLine+"writeback smq 0")
	k.disks[makeDev(1, 8)].Resize(128)
	if err := reload(t, tr, "cache", cacheLine+"writeback smq 0"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 512)
	for i, want := range []string{"0/2", "1/2", "1/2"} {
		if _, err := f.ReadAt(buf, 5*32768); err != nil || field(t, tr, cacheUsed) != want {
			t.Errorf("read %d: %s used, %v", i, field(t, tr, cacheUsed), err)
		}
	}
	write(t, f, 7, 7, 32768)
	if _, err := f.ReadAt(buf, 5*32768); err != nil {
		t.Fatal(err)
	}
	if k.byteAt(t, 0, 7*32768) != 0 || field(t, tr, cacheDirty) != "1" || field(t, tr, cachePromo) != "2" {
		t.Error(status(t, tr, "c", 0))
	}
	write(t, f, 9, 9, 512) // two misses of another block: block 7 has to go
	write(t, f, 9, 9, 512)
	if k.byteAt(t, 0, 7*32768) != 7 || field(t, tr, cacheDirty) != "0" || field(t, tr, cacheDemo) != "1" || field(t, tr, cacheUsed) != "2/2" {
		t.Error(status(t, tr, "c", 0))
	}
	write(t, f, 9, 10, 512)
	if k.byteAt(t, 0, 9*32768) != 9 || field(t, tr, cacheDirty) != "1" {
		t.Error(status(t, tr, "c", 0))
	}
	// A cache does not shrink by dirty blocks.
	k.disks[makeDev(1, 8)].Resize(64)
	if err := reload(t, tr, "cache", cacheLine+"writeback smq 0"); err != EINVAL {
		t.Errorf("shrunk: %v", err)
	}
	k.disks[makeDev(1, 8)].Resize(128)
	// What failed to resume once has to be loaded again.
	if _, _, err := call(t, tr, dmwire.CmdSuspend, named("c"), nil); err != EINVAL {
		t.Errorf("resumed: %v", err)
	}
	if err := reload(t, tr, "cache", cacheLine+"writeback smq 0"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(buf, 9*32768); err != nil || buf[0] != 10 {
		t.Errorf("%d, %v", buf[0], err)
	}
}

// A test can look at the dirty blocks before the cleaner takes them, and one
// that the origin refuses stays dirty.
func TestHoldBackground(t *testing.T) {
	k, tr, f := cached(t, "cache", cacheLine+"writeback smq 0")
	write(t, f, 1, 1, 32768)
	write(t, f, 2, 2, 32768)
	k.HoldBackground(true)
	if err := reload(t, tr, "cache", cacheLine+"writeback cleaner 0"); err != nil {
		t.Fatal(err)
	}
	if d := field(t, tr, cacheDirty); d != "2" {
		t.Errorf("%s dirty", d)
	}
	origin := k.disks[makeDev(1, 0)]
	origin.Fail(64, 64)
	k.HoldBackground(false)
	if d := field(t, tr, cacheDirty); d != "1" || k.byteAt(t, 0, 2*32768) != 2 {
		t.Errorf("%s dirty", d)
	}
	origin.FailWith(nil)
	write(t, f, 3, 3, 512)
	if d := field(t, tr, cacheDirty); d != "0" || k.byteAt(t, 0, 32768) != 1 {
		t.Errorf("%s dirty", d)
	}
}

// A commit that fails once leaves metadata that want a check; the device
// serves I/O but takes in nothing new.
func TestCacheNeedsCheck(t *testing.T) {
	k, tr, f := cached(t, "cache", cacheLine+"writeback smq 0")
	write(t, f, 1, 1, 32768)
	meta := k.disks[makeDev(1, 9)]
	meta.FailWith(func(write bool, _, _ uint64) error {
		if write {
			return EIO
		}
		return nil
	})
	if s := status(t, tr, "c", dmwire.NoFlush); !strings.HasSuffix(s, " rw - ") {
		t.Errorf("a status that must not commit: %q", s)
	}
	if s := status(t, tr, "c", 0); !strings.HasSuffix(s, " ro needs_check ") {
		t.Errorf("%q", s)
	}
	if s := status(t, tr, "c", dmwire.IMAMeasurement); !strings.Contains(s, "metadata_mode=ro,") {
		t.Errorf("%q", s)
	}
	if _, err := f.WriteAt(make([]byte, 32768), 4*32768); err != EIO {
		t.Errorf("promotion: %v", err)
	}
	write(t, f, 4, 4, 512)
	if err := say(t, tr, "c", "migration_threshold 1"); err != errOpNotSupp {
		t.Errorf("message: %v", err)
	}
	meta.FailWith(nil)
	f.Close()
	must(t, tr, dmwire.CmdRemove, named("c"), nil)
	collect, _ := tr.KernelLog()
	must(t, tr, dmwire.CmdCreate, named("c"), nil)
	if err := load(t, tr, "c", spec(16384, "cache", cacheLine+"writeback smq 0")); err != EINVAL || !strings.Contains(strings.Join(collect(), "\n"), "until repaired.") {
		t.Errorf("%v, %q", err, collect())
	}
	// Without metadata to read there is nothing to fall back on.
	if _, err := meta.WriteAt(make([]byte, 4096), 0); err != nil {
		t.Fatal(err)
	}
	if err := reload(t, tr, "cache", cacheLine+"writeback smq 0"); err != nil {
		t.Fatal(err)
	}
	meta.Fail(0, 65536)
	for _, want := range []string{"0 16384 cache Error", "0 16384 cache Fail"} {
		if s := status(t, tr, "c", 0); s != want {
			t.Errorf("%q, want %q", s, want)
		}
	}
	meta.FailWith(nil)
}

// What is no metadata is refused, and what the kernel says of it.
func TestForeignMetadata(t *testing.T) {
	k := New()
	ramdisks(k)
	tr := k.Transport()
	meta := k.disks[makeDev(1, 9)]
	for _, tt := range []struct {
		at   int64
		log  string
		fail error
	}{
		{superBlocknr, "blocknr 8680820740569200760: wanted 0", ENOTBLK},
		{100, "magic 0: wanted 6142003", errIllegalSeq},
	} {
		if _, err := meta.WriteAt(make([]byte, 4096), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := meta.WriteAt([]byte("xxxxxxxx"), tt.at); err != nil {
			t.Fatal(err)
		}
		must(t, tr, dmwire.CmdCreate, named("c"), nil)
		collect, _ := tr.KernelLog()
		if err := load(t, tr, "c", spec(16384, "cache", cacheLine+"writeback smq 0")); err != tt.fail {
			t.Errorf("%v, want %v", err, tt.fail)
		}
		if log := strings.Join(collect(), "\n"); !strings.Contains(log, "device-mapper: cache metadata: sb_check failed: "+tt.log) {
			t.Errorf("log %s", log)
		}
		must(t, tr, dmwire.CmdRemove, named("c"), nil)
	}
	k.AssertClean(t)
}

// The store of a writecache is the kernel's: superblock, sequence, entries.
func TestWritecacheStore(t *testing.T) {
	k, tr, f := cached(t, "writecache", "s 1:0 1:8 4096 2 start_sector 8")
	if _, err := f.WriteAt(bytes.Repeat([]byte{5}, 4096), 40960); err != nil {
		t.Fatal(err)
	}
	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "c", Flags: dmwire.Suspend}, nil)
	head := make([]byte, 256)
	if _, err := k.disks[makeDev(1, 8)].ReadAt(head, 4096); err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if le.Uint32(head) != 0x23489321 || le.Uint32(head[4:]) != 1 || le.Uint32(head[8:]) != 4096 || le.Uint64(head[16:]) != 8159 || le.Uint64(head[24:]) != 1 {
		t.Errorf("superblock % x", head[:64])
	}
	if le.Uint64(head[64:]) != 80 || le.Uint64(head[72:]) != 0 || le.Uint64(head[80:]) != 1<<64-1 {
		t.Errorf("entries % x", head[64:96])
	}
	if k.byteAt(t, 8, 4096+131072) != 5 || k.byteAt(t, 0, 40960) != 0 {
		t.Error("the block is elsewhere")
	}
	must(t, tr, dmwire.CmdSuspend, named("c"), nil)
	if err := say(t, tr, "c", "flush"); err != nil || k.byteAt(t, 0, 40960) != 5 {
		t.Errorf("flush: %v", err)
	}
}

// Above the high watermark blocks are written back, down to the low one; a
// failure of the origin is an error of all writes from then on.
func TestWritecacheWatermarks(t *testing.T) {
	k := New()
	ramdisks(k)
	k.disks[makeDev(1, 8)].Resize(72) // eight blocks and the superblock's
	tr := k.Transport()
	create(t, tr, "c", spec(16384, "writecache", "s 1:0 1:8 4096 4 high_watermark 75 low_watermark 25"))
	f, err := k.OpenDevice("c")
	if err != nil {
		t.Fatal(err)
	}
	k.HoldBackground(true)
	for i := range int64(10) { // the last two go around
		if _, err := f.WriteAt(bytes.Repeat([]byte{byte(i + 1)}, 4096), i*4096); err != nil {
			t.Fatal(err)
		}
	}
	if s := status(t, tr, "c", 0); s != "0 16384 writecache 0 8 0 0 0 0 10 0 0 2 8 0 0 0" {
		t.Error(s)
	}
	k.HoldBackground(false)
	if field(t, tr, 2) != "7" || k.byteAt(t, 0, 6*4096) != 7 || k.byteAt(t, 0, 7*4096) != 0 {
		t.Error(status(t, tr, "c", 0))
	}
	k.disks[makeDev(1, 0)].Fail(0, 65536)
	if err := say(t, tr, "c", "flush"); err != EIO || field(t, tr, 0) != "1" {
		t.Errorf("%v %s", err, status(t, tr, "c", 0))
	}
	if _, err := f.WriteAt(make([]byte, 4096), 0); err != EIO {
		t.Errorf("write: %v", err)
	}
	if _, err := f.ReadAt(make([]byte, 4096), 7*4096); err != nil {
		t.Errorf("read: %v", err)
	}
	f.Close()
	must(t, tr, dmwire.CmdRemove, named("c"), nil)
	k.AssertClean(t)
}

// Times are those of the clock: a commit after autocommit_time, a writeback
// after max_age.
func TestWritecacheTimes(t *testing.T) {
	k, tr, f := cached(t, "writecache", "s 1:0 1:8 4096 4 autocommit_time 0 max_age 1")
	for range 2 {
		if _, err := f.WriteAt(bytes.Repeat([]byte{5}, 4096), 0); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); field(t, tr, 2) != "8160"; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(status(t, tr, "c", 0))
		}
	}
	if k.byteAt(t, 0, 0) != 5 {
		t.Error("not written back")
	}
	// Discards drop what is cached.
	if _, err := f.WriteAt(bytes.Repeat([]byte{6}, 4096), 8192); err != nil {
		t.Fatal(err)
	}
	if err := f.Discard(0, 16384); err != nil {
		t.Fatal(err)
	}
	if field(t, tr, 2) != "8160" || field(t, tr, 13) != "4" {
		t.Error(status(t, tr, "c", 0))
	}
}

func TestEraWrites(t *testing.T) {
	k, tr, f := cached(t, "era", "1:9 1:0 128")
	at := func(block int64) {
		t.Helper()
		if _, err := f.WriteAt(make([]byte, 512), block*65536); err != nil {
			t.Fatal(err)
		}
	}
	at(0)
	at(3)
	if err := say(t, tr, "c", "checkpoint"); err != nil {
		t.Fatal(err)
	}
	at(3)
	if err := f.Discard(5*65536, 65536); err != nil {
		t.Fatal(err)
	}
	got, err := k.WrittenIn("c")
	if err != nil || len(got) != 3 || got[0] != 1 || got[3] != 2 || got[5] != 2 {
		t.Errorf("%v, %v", got, err)
	}
	for _, name := range []string{"no-such", "z"} {
		create(t, tr, "z", zeroSpec)
		if _, err := k.WrittenIn(name); err == nil {
			t.Errorf("%s: written", name)
		}
		must(t, tr, dmwire.CmdRemove, named("z"), nil)
	}
}

// Regions are hydrated by writes, discards and in the background; the end
// raises an event.
func TestCloneHydration(t *testing.T) {
	k, tr, f := cached(t, "clone", "1:9 1:8 1:0 16 1 no_hydration", WithVersion(4, 48, 0))
	source, dest := k.disks[makeDev(1, 0)], k.disks[makeDev(1, 8)]
	for _, d := range []*Disk{source, dest} {
		if _, err := d.WriteAt(bytes.Repeat([]byte{byte(d.number) + 1}, 65536), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Discard(4096, 16384); err != nil { // one region lies inside as a whole
		t.Fatal(err)
	}
	if field(t, tr, 3) != "1/1024" || k.byteAt(t, 8, 8192) != 0 || k.byteAt(t, 8, 4096) == 0 {
		t.Error(status(t, tr, "c", 0))
	}
	if _, err := f.WriteAt(make([]byte, 512), 0); err != nil || k.byteAt(t, 8, 512) != k.byteAt(t, 0, 512) {
		t.Errorf("the rest of the region was not copied, %v", err)
	}
	source.Fail(32, 16)
	collect, _ := tr.KernelLog()
	if err := say(t, tr, "c", "enable_hydration"); err != nil {
		t.Fatal(err)
	}
	if field(t, tr, 3) != "2/1024" || !strings.Contains(strings.Join(collect(), ""), "hydration failed") {
		t.Error(status(t, tr, "c", 0), collect())
	}
	source.FailWith(nil)
	if err := say(t, tr, "c", "hydration_threshold 0"); err != nil || field(t, tr, 3) != "2/1024" {
		t.Error(err, status(t, tr, "c", 0))
	}
	if s, _ := k.Device("c"); s.EventNr != 0 {
		t.Errorf("%d events", s.EventNr)
	}
	if err := say(t, tr, "c", "hydration_threshold 2"); err != nil || field(t, tr, 3) != "1024/1024" {
		t.Error(err, status(t, tr, "c", 0))
	}
	if s, _ := k.Device("c"); s.EventNr != 1 {
		t.Errorf("%d events", s.EventNr)
	}
	source.Fail(0, 65536)
	if _, err := f.ReadAt(make([]byte, 65536), 0); err != nil {
		t.Errorf("the source is still needed: %v", err)
	}
	dest.FailWith(nil)
}

// A table of a clone that was loaded too early does not know what was written
// then, and takes it from the source.
func TestCloneLoadedEarly(t *testing.T) {
	k, tr, f := cached(t, "clone", "1:9 1:8 1:0 16 1 no_hydration")
	if err := load(t, tr, "c", spec(16384, "clone", "1:9 1:8 1:0 16 1 no_hydration")); err != nil {
		t.Fatal(err)
	}
	p := bytes.Repeat([]byte{7}, 8192)
	if _, err := f.WriteAt(p, 0); err != nil {
		t.Fatal(err)
	}
	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "c", Flags: dmwire.Suspend}, nil)
	must(t, tr, dmwire.CmdSuspend, named("c"), nil)
	if _, err := f.ReadAt(p, 0); err != nil || p[0] != 0 || k.byteAt(t, 8, 0) != 7 {
		t.Errorf("read %d, %v", p[0], err)
	}
	// Loaded while it is suspended, it does.
	if _, err := f.WriteAt(bytes.Repeat([]byte{8}, 8192), 8192); err != nil {
		t.Fatal(err)
	}
	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "c", Flags: dmwire.Suspend}, nil)
	if err := load(t, tr, "c", spec(16384, "clone", "1:9 1:8 1:0 16 1 no_hydration")); err != nil {
		t.Fatal(err)
	}
	must(t, tr, dmwire.CmdSuspend, named("c"), nil)
	if _, err := f.ReadAt(p, 8192); err != nil || p[0] != 8 {
		t.Errorf("read %d, %v", p[0], err)
	}
}

// A cache behind another segment maps the sectors of the device, as was seen
// on Linux 6.1; an era those of its segment.
func TestCacheBehindSegment(t *testing.T) {
	for _, tt := range []struct {
		typ, params string
		at          int64 // sectors
	}{{"cache", cacheLine + "writethrough smq 0", 256}, {"era", "1:9 1:0 128", 128}} {
		k := New()
		ramdisks(k)
		tr := k.Transport()
		create(t, tr, "c", spec(128, "zero", ""), dmwire.Spec{Start: 128, Length: 16256, Type: tt.typ, Params: tt.params})
		f, err := k.OpenDevice("c")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte(strings.Repeat("x", 512)), 256*512); err != nil || k.byteAt(t, 0, tt.at*512) != 'x' {
			t.Errorf("%s: not at sector %d, %v", tt.typ, tt.at, err)
		}
		f.Close()
		must(t, tr, dmwire.CmdRemove, named("c"), nil)
		k.AssertClean(t)
	}
}
