// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// Writes stay in the cache until they are flushed; what is not stays there
// when the table goes.
func testWritecache(t *testing.T, e *env) {
	ctx := context.Background()
	e.modules(t, "dm-writecache")
	e.wipe(t, e.disks[1], 8)
	slow := e.create(t, "slow", e.table(t, "0 16384 linear %s 0", e.disks[2]), dm.CreateOptions{})
	zeros := make([]byte, 64<<10)
	e.writeAt(t, slow.Name, zeros, 0)
	table := func(opts string) dm.Table {
		return e.table(t, "0 16384 writecache s %s %s 4096 %s", slow.Dev, e.disks[1], opts)
	}
	w := e.create(t, "w", table("0"), dm.CreateOptions{})
	s := typedStatus[dm.WritecacheStatus](t, e, w.Dev)
	if s.Blocks != 8160 || s.Free != s.Blocks || s.Error != 0 {
		t.Errorf("fresh: %+v", s)
	}
	one, two := pattern(8192, 1), pattern(8192, 2)
	e.writeAt(t, w.Name, one, 0)
	e.holds(t, w.Name, one, 0)
	e.holds(t, slow.Name, zeros[:8192], 0)
	s = typedStatus[dm.WritecacheStatus](t, e, w.Dev)
	if s.Free != s.Blocks-2 {
		t.Errorf("two blocks: %+v", s)
	}
	if s.Counters && (s.Writes != 2 || s.WritesAllocate != 2 || s.ReadHits < 1) {
		t.Errorf("counters: %+v", s)
	}
	e.send(t, w.Dev, dm.WritecacheFlush)
	e.holds(t, slow.Name, one, 0)
	if s := typedStatus[dm.WritecacheStatus](t, e, w.Dev); s.Free != s.Blocks {
		t.Errorf("flushed: %+v", s)
	}
	if s.Counters {
		e.send(t, w.Dev, dm.WritecacheClearStats)
		if s := typedStatus[dm.WritecacheStatus](t, e, w.Dev); s.Writes != 0 || s.WritesAllocate != 0 {
			t.Errorf("cleared: %+v", s)
		}
	}
	// What is not flushed outlives the device.
	e.writeAt(t, w.Name, two, 4096)
	e.remove(t, w.Dev)
	e.holds(t, slow.Name, one, 0)
	w = e.create(t, "w", table("2 high_watermark 60"), dm.CreateOptions{})
	if s := typedStatus[dm.WritecacheStatus](t, e, w.Dev); s.Free != s.Blocks-2 {
		t.Errorf("taken up: %+v", s)
	}
	e.holds(t, w.Name, two, 4096)
	e.send(t, w.Dev, dm.WritecacheFlushOnSuspend)
	if err := e.c.Suspend(ctx, w.Dev, dm.SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	e.refused(t, w.Dev, dm.WritecacheFlush, 16, "")
	e.holds(t, slow.Name, two, 4096)
	if _, err := e.c.Resume(ctx, w.Dev, dm.ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	// The cleaner takes nothing new.
	e.writeAt(t, w.Name, two, 0)
	e.send(t, w.Dev, dm.WritecacheCleaner)
	await(t, e, w.Dev, "clean", func(s dm.WritecacheStatus) bool { return s.Free == s.Blocks })
	e.writeAt(t, w.Name, one, 16384)
	e.holds(t, slow.Name, one, 16384)
	e.holds(t, slow.Name, two, 0)
	for _, bad := range []string{"nonsense", "flush now"} {
		_, err := e.c.Message(ctx, w.Dev, 0, bad)
		var de *dm.Error
		if !errors.As(err, &de) || de.Code != 22 {
			t.Errorf("%s: %v", bad, err)
		}
	}
	_, err := e.c.Send(ctx, w.Dev, dm.WritecacheMessage("nonsense"))
	wantErr(t, err, err, "no message")
	e.remove(t, w.Dev)
	_, err = e.c.Create(ctx, e.name("w"), e.table(t, "0 16384 writecache s %s %s 512 0", slow.Dev, e.disks[1]), dm.CreateOptions{})
	wantErr(t, err, err, "Block size does not match superblock")
	e.remove(t, slow.Dev)
	e.wipe(t, e.disks[1], 8)
}

func testEra(t *testing.T, e *env) {
	ctx := context.Background()
	e.modules(t, "dm-era")
	e.wipe(t, e.disks[0], 8)
	tab := dm.Table{}.Append(16384, dm.Era{Metadata: e.disks[0], Origin: e.disks[2], BlockSize: 128})
	d := e.create(t, "era", tab, dm.CreateOptions{})
	expect := func(era uint32, snap bool) {
		t.Helper()
		s := typedStatus[dm.EraStatus](t, e, d.Dev)
		if s.Era != era || (s.MetadataSnap != 0) != snap || s.Error || s.MetadataBlockSize != 8 || s.MetadataUsed == 0 || s.MetadataUsed > s.MetadataTotal {
			t.Errorf("era %d, snapshot %v: %+v", era, snap, s)
		}
	}
	expect(1, false)
	data := pattern(8192, 3)
	e.writeAt(t, d.Name, data, 1<<20)
	expect(1, false)
	e.send(t, d.Dev, dm.EraCheckpoint)
	expect(2, false)
	e.send(t, d.Dev, dm.EraTakeMetadataSnap)
	expect(3, true)
	e.refused(t, d.Dev, dm.EraTakeMetadataSnap, 22, "already exists")
	e.send(t, d.Dev, dm.EraDropMetadataSnap)
	expect(3, false)
	e.refused(t, d.Dev, dm.EraDropMetadataSnap, 22, "no snap to drop")

	// While it is suspended, nobody answers.
	if err := e.c.Suspend(ctx, d.Dev, dm.SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err := e.c.Status(short, d.Dev, dm.StatusOptions{})
	wantErr(t, err, dm.ErrPending)
	if _, err := e.c.Resume(ctx, d.Dev, dm.ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(4, false)
	e.remove(t, d.Dev)
	d = e.create(t, "era", tab, dm.CreateOptions{})
	expect(5, false)
	e.holds(t, d.Name, data, 1<<20)
	e.remove(t, d.Dev)
	_, err = e.c.Create(ctx, e.name("era"), dm.Table{}.Append(16384, dm.Era{Metadata: e.disks[0], Origin: e.disks[2], BlockSize: 64}), dm.CreateOptions{})
	wantErr(t, err, err, "changing the data block size")
	e.wipe(t, e.disks[0], 8)
}
