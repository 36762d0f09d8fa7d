// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// cacheBlock is the block size of the caches here, in bytes; 64 sectors.
const cacheBlock = 64 * 512

// await asks for the status until it is as wanted.
func await[T any](t *testing.T, e *env, ref dm.Ref, what string, ok func(T) bool) T {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s := typedStatus[T](t, e, ref)
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("not %s: %+v", what, s)
		}
	}
}

// refused sends what the kernel does not take.
func (e *env) refused(t *testing.T, ref dm.Ref, m dm.TargetMessage, code int, says string) {
	t.Helper()
	_, err := e.c.Send(context.Background(), ref, m)
	var de *dm.Error
	if !errors.As(err, &de) || int(de.Code) != code || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v, want %d and %q", m.Text(), err, code, says)
	}
}

// Attach a cache to a device with data, write, flush it, detach it: the origin
// has all.
func testCache(t *testing.T, e *env) {
	e.modules(t, "dm-cache", "dm-cache-smq")
	e.wipe(t, e.disks[0], 8)
	meta, fast, slow := e.disks[0], e.disks[1], e.disks[2]
	origin := e.create(t, "origin", e.table(t, "0 16384 linear %s 0", slow), dm.CreateOptions{})
	old := pattern(4*cacheBlock, 1)
	e.writeAt(t, origin.Name, old, 0)

	table := func(mode dm.CacheMode, policy string) dm.Table {
		return dm.Table{}.Append(16384, dm.Cache{
			Metadata: meta, Cache: fast, Origin: origin.Dev.String(), BlockSize: 64, Mode: mode, Policy: policy,
			Args: []dm.CacheArg{{Key: "migration_threshold", Value: "4096"}},
		})
	}
	c := e.create(t, "c", table(dm.Writeback, "smq"), dm.CreateOptions{})
	e.holds(t, c.Name, old, 0)
	fresh := typedStatus[dm.CacheStatus](t, e, c.Dev)
	if n, ok := fresh.MigrationThreshold(); n != 4096 || !ok || fresh.BlockSize != 64 || fresh.Total != 65536/64 || fresh.Mode != dm.Writeback ||
		fresh.Policy != "smq" || fresh.ReadOnly || fresh.NeedsCheck || fresh.Dirty != 0 || fresh.MetadataBlockSize != 8 {
		t.Errorf("fresh: %+v", fresh)
	}
	// A block that is written as a whole goes to the cache. The kernel begins
	// to write back when it is idle for a second.
	var fill []byte
	var s dm.CacheStatus
	for seed := byte(2); seed < 40 && s.Dirty == 0; seed++ {
		fill = pattern(cacheBlock, seed)
		e.writeAt(t, c.Name, fill, 2*cacheBlock)
		e.writeAt(t, c.Name, fill, 9*cacheBlock)
		s = typedStatus[dm.CacheStatus](t, e, c.Dev)
	}
	if s.Dirty == 0 || s.Used < 2 || s.Promotions < 2 {
		t.Errorf("after writes: %+v", s)
	}
	e.writeAt(t, c.Name, pattern(4096, 99), 4096) // not cached, or hardly
	e.send(t, c.Dev, dm.SetCacheArg{Key: "migration_threshold", Value: "2048"})
	if n, _ := typedStatus[dm.CacheStatus](t, e, c.Dev).MigrationThreshold(); n != 2048 {
		t.Errorf("threshold %d", n)
	}
	e.refused(t, c.Dev, dm.SetCacheArg{Key: "no_such_key", Value: "1"}, 22, "no_such_key")
	e.refused(t, c.Dev, dm.InvalidateCblocks{{Begin: 0, End: 1}}, 1, "passthrough")
	_, err := e.c.Send(context.Background(), c.Dev, dm.InvalidateCblocks{{Begin: 0, End: 1}})
	wantErr(t, err, fs.ErrPermission)

	e.reload(t, c.Dev, table(dm.Writeback, "cleaner"))
	s = await(t, e, c.Dev, "clean", func(s dm.CacheStatus) bool { return s.Dirty == 0 })
	if s.Policy != "cleaner" || s.Used < 2 {
		t.Errorf("cleaned: %+v", s)
	}
	e.reload(t, c.Dev, e.table(t, "0 16384 linear %s 0", origin.Dev))
	for range 2 { // through the old cache device, then without it
		e.holds(t, c.Name, fill, 2*cacheBlock)
		e.holds(t, c.Name, fill, 9*cacheBlock)
		e.holds(t, c.Name, pattern(4096, 99), 4096)
		e.holds(t, c.Name, old[cacheBlock:2*cacheBlock], cacheBlock)
		e.reload(t, c.Dev, e.table(t, "0 16384 linear %s 0", slow))
	}
	e.remove(t, c.Dev, origin.Dev)
}

// What is mapped outlives a new table. Writethrough leaves nothing dirty,
// passthrough drops what is written to, and wiped metadata are a new cache.
func testCacheModes(t *testing.T, e *env) {
	ctx := context.Background()
	e.modules(t, "dm-cache", "dm-cache-smq")
	e.wipe(t, e.disks[0], 8)
	table := func(feat, policy string) dm.Table {
		return e.table(t, "0 16384 cache %s %s %s 64 %s %s 0", e.disks[0], e.disks[1], e.disks[2], feat, policy)
	}
	c := e.create(t, "c", table("2 metadata2 writeback", "default"), dm.CreateOptions{})
	const blocks = 6
	block := func(i int64, seed byte) ([]byte, int64) { return pattern(cacheBlock, seed+byte(i)), i * cacheBlock }
	for i := range int64(blocks) {
		data, off := block(i, 10)
		e.writeAt(t, c.Name, data, off)
	}
	dirty := typedStatus[dm.CacheStatus](t, e, c.Dev)
	if dirty.Used < blocks || !dirty.Metadata2 || dirty.Policy != "smq" {
		t.Errorf("filled: %+v", dirty)
	}
	e.reload(t, c.Dev, table("2 metadata2 writeback", "cleaner"))
	await(t, e, c.Dev, "clean", func(s dm.CacheStatus) bool { return s.Dirty == 0 })

	e.reload(t, c.Dev, table("2 metadata2 writethrough", "smq"))
	before := typedStatus[dm.CacheStatus](t, e, c.Dev)
	if before.Used < blocks || before.Mode != dm.Writethrough {
		t.Errorf("writethrough: %+v", before)
	}
	data, off := block(1, 50)
	e.writeAt(t, c.Name, data, off)
	e.holds(t, c.Name, data, off)
	after := typedStatus[dm.CacheStatus](t, e, c.Dev)
	if after.Dirty != 0 || after.WriteHits <= before.WriteHits || after.ReadHits <= before.ReadHits {
		t.Errorf("writethrough: %+v, then %+v", before, after)
	}
	o := e.create(t, "o", e.table(t, "0 16384 linear %s 0", e.disks[2]), dm.CreateOptions{})
	e.holds(t, o.Name, data, off)

	e.reload(t, c.Dev, table("2 metadata2 passthrough", "smq"))
	before = typedStatus[dm.CacheStatus](t, e, c.Dev)
	after = before
	writes := e.c.Version().AtLeast(4, 45) // on Debian's Linux 5.10 the write never ends
	if writes {
		data, off = block(2, 60)
		e.writeAt(t, c.Name, data, off)
		after = typedStatus[dm.CacheStatus](t, e, c.Dev)
		if after.Used+1 != before.Used || after.Demotions != 1 {
			t.Errorf("passthrough: %+v, then %+v", before, after)
		}
		e.holds(t, o.Name, data, off)
	}
	if after.Mode != dm.Passthrough {
		t.Errorf("passthrough: %+v", after)
	}
	for _, bad := range []dm.InvalidateCblocks{{{Begin: 1024, End: 1025}}, {{Begin: 0, End: 1025}}} {
		e.refused(t, c.Dev, bad, 22, "out of range")
	}
	e.send(t, c.Dev, dm.InvalidateCblocks{{Begin: 7, End: 8}, {Begin: 0, End: uint32(after.Total)}})
	if s := typedStatus[dm.CacheStatus](t, e, c.Dev); s.Used != 0 {
		t.Errorf("invalidated: %+v", s)
	}
	for i := range int64(blocks) {
		data, off := block(i, 10)
		switch {
		case i == 1:
			data, _ = block(1, 50)
		case i == 2 && writes:
			data, _ = block(2, 60)
		}
		e.holds(t, c.Name, data, off)
	}
	// Another block size needs fresh metadata.
	_, err := e.c.Reload(ctx, c.Dev, e.table(t, "0 16384 cache %s %s %s 128 0 smq 0", e.disks[0], e.disks[1], e.disks[2]), dm.ReloadOptions{})
	wantErr(t, err, err, "Error creating metadata object")
	e.remove(t, c.Dev)
	e.wipe(t, e.disks[0], 8)
	c = e.create(t, "c", e.table(t, "0 16384 cache %s %s %s 128 0 smq 0", e.disks[0], e.disks[1], e.disks[2]), dm.CreateOptions{})
	if s := typedStatus[dm.CacheStatus](t, e, c.Dev); s.Used != 0 || s.BlockSize != 128 || s.WriteHits != 0 || s.Metadata2 {
		t.Errorf("wiped: %+v", s)
	}
	e.remove(t, c.Dev, o.Dev)
}

// A cache with dirty blocks does not go to passthrough.
func testCacheDirtyPassthrough(t *testing.T, e *env) {
	ctx := context.Background()
	e.modules(t, "dm-cache", "dm-cache-smq")
	e.wipe(t, e.disks[0], 8)
	table := func(mode string) dm.Table {
		return e.table(t, "0 16384 cache %s %s %s 64 1 %s smq 0", e.disks[0], e.disks[1], e.disks[2], mode)
	}
	for try := 0; ; try++ {
		c := e.create(t, "c", table("writeback"), dm.CreateOptions{})
		e.writeAt(t, c.Name, pattern(cacheBlock, byte(try)), 0)
		e.remove(t, c.Dev)
		_, err := e.c.Create(ctx, e.name("c"), table("passthrough"), dm.CreateOptions{})
		if err != nil {
			if !strings.Contains(strings.ToLower(err.Error()), "cannot enter passthrough mode unless all blocks are clean") {
				t.Error(err)
			}
			break
		}
		if try == 20 { // the kernel was idle and wrote back each time
			t.Error("a dirty cache went to passthrough")
			break
		}
		e.remove(t, e.name("c"))
	}
	if _, err := e.c.Info(ctx, e.name("c")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the refused device is there: %v", err)
	}
}

// A cache whose metadata device fails says so, and so do the metadata when
// they could still be marked.
func testCacheFails(t *testing.T, e *env) {
	ctx := context.Background()
	e.modules(t, "dm-cache", "dm-cache-smq", "dm-flakey")
	e.wipe(t, e.disks[0], 8)
	good := e.table(t, "0 16384 linear %s 0", e.disks[0])
	meta := e.create(t, "meta", good, dm.CreateOptions{})
	table := e.table(t, "0 16384 cache %s %s %s 64 0 smq 0", meta.Dev, e.disks[1], e.disks[2])
	for _, tt := range []struct {
		bad   dm.Table
		as    func(dm.CacheStatus) bool
		again string // what the next table is told
	}{
		{dm.Table{}.Append(16384, dm.ErrorTarget{}), func(s dm.CacheStatus) bool { return s.Fail }, ""},
		{
			e.table(t, "0 16384 flakey %s 0 0 1 1 error_writes", e.disks[0]),
			func(s dm.CacheStatus) bool { return s.ReadOnly && s.NeedsCheck && !s.Fail },
			"check/repair metadata",
		},
	} {
		c := e.create(t, "c", table, dm.CreateOptions{})
		data := pattern(cacheBlock, 7)
		e.writeAt(t, c.Name, data, 0)
		typedStatus[dm.CacheStatus](t, e, c.Dev) // commits
		e.reload(t, meta.Dev, tt.bad)
		f := e.rw(t, c.Name)
		f.WriteAt(pattern(cacheBlock, 8), 5*cacheBlock) // may fail or not
		f.Close()
		await(t, e, c.Dev, "broken", tt.as)
		if i := e.info(t, c.Dev); i.EventNr == 0 {
			t.Error("no event")
		}
		e.refused(t, c.Dev, dm.SetCacheArg{Key: "migration_threshold", Value: "1"}, 95, "READ_ONLY or FAIL")
		e.holds(t, c.Name, data, 0)
		e.reload(t, meta.Dev, good)
		if s := typedStatus[dm.CacheStatus](t, e, c.Dev); !tt.as(s) {
			t.Errorf("healed by itself: %+v", s)
		}
		e.remove(t, c.Dev)
		_, err := e.c.Create(ctx, e.name("c"), table, dm.CreateOptions{})
		if tt.again == "" && err == nil {
			e.remove(t, e.name("c"))
		} else {
			wantErr(t, err, err, tt.again)
		}
	}
	e.remove(t, meta.Dev)
	e.wipe(t, e.disks[0], 8)
}

// What the kernel prints of these targets can be parsed, is typed, and loads
// again.
func testCacheRoundTrip(t *testing.T, e *env) {
	ctx := context.Background()
	e.modules(t, "dm-cache", "dm-cache-smq", "dm-writecache", "dm-era")
	meta, fast, slow := e.disks[0], e.disks[1], e.disks[2]
	newer := e.c.Version().AtLeast(4, 45)
	var texts []string
	add := func(disk string, list ...string) {
		for _, text := range list {
			texts = append(texts, disk+"|"+text)
		}
	}
	devs := fmt.Sprintf("%s %s %s ", meta, fast, slow)
	add(meta,
		"cache "+devs+"64 1 writeback smq 0",
		"cache "+devs+"64 1 writethrough default 0",
		"cache "+devs+"64 1 passthrough cleaner 0",
		"cache "+devs+"192 2 metadata2 writeback smq 2 migration_threshold 100",
		"cache "+devs+"2048 3 metadata2 writethrough no_discard_passdown smq 0",
		"cache "+devs+"64 1 writeback mq 4 random_threshold 10 migration_threshold 1",
		"era "+meta+" "+slow+" 8",
		"era "+meta+" "+slow+" 1000",
	)
	wc := "writecache s " + slow + " " + fast + " "
	add(fast,
		wc+"4096 0",
		wc+"512 2 start_sector 16",
		wc+"1024 4 high_watermark 60 low_watermark 40",
		wc+"4096 10 high_watermark 100 low_watermark 0 writeback_jobs 16 autocommit_blocks 32 autocommit_time 1000",
		wc+"4096 1 cleaner",
	)
	if newer {
		add(fast,
			wc+"4096 2 max_age 5000",
			wc+"4096 3 metadata_only pause_writeback 500",
			wc+"4096 18 start_sector 8 high_watermark 60 low_watermark 40 writeback_jobs 0 autocommit_blocks 0 autocommit_time 0 max_age 0 cleaner metadata_only pause_writeback 0",
		)
	}
	for _, text := range texts {
		wipe, text, _ := strings.Cut(text, "|")
		e.wipe(t, wipe, 64)
		tab := e.table(t, "0 16384 %s", text)
		info := e.create(t, "t", tab, dm.CreateOptions{})
		printed, err := e.c.Table(ctx, info.Dev, dm.StatusOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, raw := printed[0].Target.(dm.Raw); raw {
			t.Errorf("the kernel's %q was not understood", printed)
		}
		if a, b := blind(printed.Format()), blind(tab.Format()); a != b || b != "0 16384 "+blind(text) {
			t.Errorf("printed %q, loaded %q", a, b)
		}
		e.reload(t, info.Dev, printed)
		again, err := e.c.Table(ctx, info.Dev, dm.StatusOptions{})
		if err != nil || !again.Equal(printed) {
			t.Errorf("printed %q, then %q, %v", printed, again, err)
		}
		list, err := e.c.Status(ctx, info.Dev, dm.StatusOptions{NoFlush: true})
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		if s, err := list[0].Typed(); err != nil || s.String() != strings.TrimSpace(list[0].Text) {
			t.Errorf("%q came back as %v, %v", list[0].Text, s, err)
		}
		e.remove(t, info.Dev)
	}
	e.wipe(t, meta, 8)
	e.wipe(t, fast, 64)
}
