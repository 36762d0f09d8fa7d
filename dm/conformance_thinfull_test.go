// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// A full pool queues writes until it has grown.
func testThinQueue(t *testing.T, e *env) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	p := newThinPool(t, e, 4, dm.ThinPool{LowWaterMark: 2})
	p.send(t, dm.CreateThin{ID: 1})
	v := p.volume(t, "v", 1, 16)
	e.put(t, v, blockOf(1), 0)
	before := e.info(t, p.dev.Dev).EventNr
	e.put(t, v, blockOf(2), 1)
	e.put(t, v, blockOf(3), 2) // two are free when it asks
	after, _, err := e.c.WaitEvent(ctx, p.dev.Dev, before)
	if err != nil || after.EventNr != before+1 {
		t.Errorf("low water: event %d after %d, %v", after.EventNr, before, err)
	}
	e.put(t, v, blockOf(4), 3)
	if nr := e.info(t, p.dev.Dev).EventNr; nr != before+1 {
		t.Errorf("low water fired again: %d", nr)
	}
	if s := p.status(t); s.Mode != dm.ThinPoolReadWrite || s.UsedData != 4 {
		t.Errorf("nobody asked for more: %v", s)
	}
	wrote := make(chan error, 1)
	f := e.rw(t, v.Name)
	defer f.Close()
	go func() {
		_, err := f.WriteAt(blockOf(5), 4*thinBlock)
		wrote <- err
	}()
	rescued := false
	defer func() {
		if !rescued {
			p.rescue(t)
			<-wrote
		}
	}()
	after, _, err = e.c.WaitEvent(ctx, p.dev.Dev, before+1)
	if err != nil {
		t.Fatal(err)
	}
	if s := p.status(t); s.Mode != dm.ThinPoolOutOfDataSpace || s.ErrorIfNoSpace || s.UsedData != 4 {
		t.Errorf("full: %v", s)
	}
	select {
	case err := <-wrote:
		t.Fatalf("the write did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	// What is mapped can be read and written meanwhile.
	e.put(t, v, blockOf(6), 0)
	e.holds(t, v.Name, append(blockOf(6), blockOf(2)...), 0)
	p.grow(t, 8)
	rescued = true
	if err := <-wrote; err != nil {
		t.Errorf("the queued write: %v", err)
	}
	if s := p.status(t); s.Mode != dm.ThinPoolReadWrite || s.UsedData != 5 || s.TotalData != 8 {
		t.Errorf("grown: %v", s)
	}
	e.holds(t, v.Name, blockOf(5), 4*thinBlock)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	// A pool does not shrink. The kernel finds out when the table is live, and
	// leaves the device suspended on it.
	_, err = e.c.Reload(ctx, p.dev.Dev, p.table(4), dm.ReloadOptions{})
	if err == nil || !strings.Contains(err.Error(), "pool target (4 blocks) too small: expected 8") {
		t.Errorf("the pool has shrunk: %v", err)
	}
	if e.info(t, p.dev.Dev).Suspended {
		p.grow(t, 8)
	}
	e.holds(t, v.Name, blockOf(5), 4*thinBlock)
	e.remove(t, v.Dev)
	p.down(t)
}

// A full pool fails writes at once if it is told to.
func testThinNoSpace(t *testing.T, e *env) {
	ctx := context.Background()
	p := newThinPool(t, e, 2, dm.ThinPool{ErrorIfNoSpace: true})
	p.send(t, dm.CreateThin{ID: 1})
	v := p.volume(t, "v", 1, 16)
	e.put(t, v, append(blockOf(1), blockOf(2)...), 0)
	if err := e.write(t, v.Name, blockOf(3), 2*thinBlock); !errors.Is(err, syscall.Errno(28)) {
		t.Errorf("a write beyond the room: %v", err)
	}
	if s := p.status(t); s.Mode != dm.ThinPoolOutOfDataSpace || !s.ErrorIfNoSpace {
		t.Errorf("full: %v", s)
	}
	e.holds(t, v.Name, make([]byte, thinBlock), 2*thinBlock)
	// A volume that goes makes room.
	e.remove(t, v.Dev)
	p.send(t, dm.DeleteThin{ID: 1})
	if s := p.status(t); s.Mode != dm.ThinPoolReadWrite || s.UsedData != 0 {
		t.Errorf("emptied: %v", s)
	}
	// Read-only.
	p.send(t, dm.CreateThin{ID: 2})
	v = p.volume(t, "v", 2, 16)
	e.put(t, v, blockOf(4), 1)
	p.target.ReadOnly = true
	if _, err := e.c.Reload(ctx, p.dev.Dev, p.table(2), dm.ReloadOptions{}); err != nil {
		t.Fatal(err)
	}
	if s := p.status(t); s.Mode != dm.ThinPoolReadOnly || s.NeedsCheck {
		t.Errorf("read-only: %v", s)
	}
	_, err := e.c.Send(ctx, p.dev.Dev, dm.CreateThin{ID: 3})
	var de *dm.Error
	if !errors.As(err, &de) || de.Code != 95 {
		t.Errorf("a message to a read-only pool: %v", err)
	}
	if err := e.write(t, v.Name, blockOf(5), 0); !errors.Is(err, syscall.Errno(5)) {
		t.Errorf("a write that needs a block of a read-only pool: %v", err)
	}
	e.put(t, v, blockOf(6), 1) // in place
	e.holds(t, v.Name, append(make([]byte, thinBlock), blockOf(6)...), 0)
	p.target.ReadOnly = false
	if _, err := e.c.Reload(ctx, p.dev.Dev, p.table(2), dm.ReloadOptions{}); err != nil {
		t.Fatal(err)
	}
	e.put(t, v, blockOf(5), 0)
	e.remove(t, v.Dev)
	p.down(t)
}

// A pool whose metadata can't be written is read-only and needs a check; one
// whose metadata can't be read has failed.
func testThinMetadata(t *testing.T, e *env) {
	ctx := context.Background()
	for _, tt := range []struct {
		name string
		bad  string // what comes below the metadata
		mode dm.ThinPoolMode
		ask  bool // a status is the first to notice, and not a message
	}{
		{"write errors", "0 16384 flakey " + e.disks[1] + " 0 0 100 1 error_writes", dm.ThinPoolReadOnly, false},
		{"write errors, asked", "0 16384 flakey " + e.disks[1] + " 0 0 100 1 error_writes", dm.ThinPoolReadOnly, true},
		{"all errors", "0 16384 error", dm.ThinPoolFail, false},
		{"all errors, asked", "0 16384 error", dm.ThinPoolFail, true},
	} {
		p := newThinPool(t, e, 8, dm.ThinPool{})
		p.send(t, dm.CreateThin{ID: 1})
		v := p.volume(t, "v", 1, 16)
		e.put(t, v, blockOf(1), 0)
		before := e.info(t, p.dev.Dev).EventNr
		p.status(t) // commits
		if _, err := e.c.Reload(ctx, p.meta.Dev, e.table(t, "%s", tt.bad), dm.ReloadOptions{}); err != nil {
			t.Fatal(err)
		}
		if tt.ask {
			e.put(t, v, blockOf(3), 2)
			// Once, unless the pool found out by itself, the status is "Error".
			if s := p.status(t); s.Mode != tt.mode && (s.Mode != dm.ThinPoolError || tt.mode != dm.ThinPoolFail) {
				t.Errorf("%s: %v", tt.name, s)
			}
		} else if _, err := e.c.Send(ctx, p.dev.Dev, dm.CreateThin{ID: 2}); err != nil {
			// The commit behind a message fails without a word to the caller.
			t.Errorf("%s: message: %v", tt.name, err)
		}
		s, vol := p.status(t), typedStatus[dm.ThinStatus](t, e, v.Dev)
		if failed := tt.mode == dm.ThinPoolFail; (vol.State == dm.ThinFail) != failed {
			t.Errorf("%s: volume %v", tt.name, vol)
		} else if table := e.liveTable(t, v.Dev); strings.HasSuffix(table, "thin Fail") != failed {
			t.Errorf("%s: table %q", tt.name, table) // a failed one has lost its arguments
		}
		if s.Mode != tt.mode || s.NeedsCheck != (tt.mode == dm.ThinPoolReadOnly) {
			t.Errorf("%s: %v", tt.name, s)
		}
		if nr := e.info(t, p.dev.Dev).EventNr; nr != before+1 {
			t.Errorf("%s: event %d after %d", tt.name, nr, before)
		}
		err := e.write(t, v.Name, blockOf(2), thinBlock)
		if !errors.Is(err, syscall.Errno(5)) {
			t.Errorf("%s: a write that needs a block: %v", tt.name, err)
		}
		if tt.mode == dm.ThinPoolReadOnly {
			e.holds(t, v.Name, append(blockOf(1), make([]byte, thinBlock)...), 0)
		}
		if _, err := e.c.Reload(ctx, p.meta.Dev, e.table(t, "0 %d linear %s 0", thinMetaSize, e.disks[1]), dm.ReloadOptions{}); err != nil {
			t.Fatal(err)
		}
		_, err = e.c.Reload(ctx, p.dev.Dev, p.table(8), dm.ReloadOptions{})
		if s := p.status(t); s.Mode != tt.mode || (err != nil) != (tt.mode == dm.ThinPoolFail) {
			t.Errorf("%s: a reload made it %v, %v", tt.name, s, err)
		}
		e.remove(t, v.Dev, p.dev.Dev)
		p.dev = e.create(t, "pool", p.table(8), dm.CreateOptions{})
		// needs_check is in the metadata; the failed pool's are as they were.
		again := p.status(t)
		if again.UsedData != 1 || again.NeedsCheck != (tt.mode == dm.ThinPoolReadOnly) || (again.Mode == dm.ThinPoolReadWrite) == again.NeedsCheck {
			t.Errorf("%s: made again: %v", tt.name, again)
		}
		p.down(t)
	}
}

// What a full pool has queued fails after a while.
func testThinTimeout(t *testing.T, e *env) {
	e.modules(t, "dm-thin-pool")
	e.noSpaceTimeout(t, time.Second)
	p := newThinPool(t, e, 1, dm.ThinPool{})
	p.send(t, dm.CreateThin{ID: 1})
	v := p.volume(t, "v", 1, 16)
	e.put(t, v, blockOf(1), 0)
	before := e.info(t, p.dev.Dev).EventNr
	if err := e.write(t, v.Name, blockOf(2), thinBlock); !errors.Is(err, syscall.Errno(28)) {
		t.Errorf("a queued write: %v", err)
	}
	if s := p.status(t); s.Mode != dm.ThinPoolOutOfDataSpace || !s.ErrorIfNoSpace {
		t.Errorf("%v", s)
	}
	// Low water, full, and no longer waiting.
	if nr := e.info(t, p.dev.Dev).EventNr; nr != before+3 {
		t.Errorf("event %d after %d", nr, before)
	}
	// To load the same table again makes it wait again.
	if _, err := e.c.Reload(context.Background(), p.dev.Dev, p.table(1), dm.ReloadOptions{}); err != nil {
		t.Fatal(err)
	}
	if s := p.status(t); s.Mode != dm.ThinPoolReadWrite || s.ErrorIfNoSpace {
		t.Errorf("loaded again: %v", s)
	}
	e.remove(t, v.Dev)
	p.down(t)
}

// A suspend waits for what a full pool has queued, unless it is one without a
// flush: then the writes go through the next table.
func testThinNoFlush(t *testing.T, e *env) {
	ctx := context.Background()
	p := newThinPool(t, e, 1, dm.ThinPool{})
	p.send(t, dm.CreateThin{ID: 1})
	v := p.volume(t, "v", 1, 16)
	e.put(t, v, blockOf(1), 0)
	before := e.info(t, p.dev.Dev).EventNr
	f := e.rw(t, v.Name)
	defer f.Close()
	wrote := make(chan error, 1)
	go func() {
		_, err := f.WriteAt(blockOf(2), thinBlock)
		wrote <- err
	}()
	rescued := false
	defer func() {
		if !rescued {
			p.rescue(t)
			<-wrote
		}
	}()
	short, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for nr := before; nr < before+2; { // low water, full
		info, _, err := e.c.WaitEvent(short, p.dev.Dev, nr)
		if err != nil {
			t.Fatal(err)
		}
		nr = info.EventNr
	}
	table := dm.Table{}.Append(16*128, dm.ErrorTarget{})
	if _, err := e.c.Reload(ctx, v.Dev, table, dm.ReloadOptions{SuspendOptions: dm.SuspendOptions{NoFlush: true, SkipLockFS: true}}); err != nil {
		t.Fatal(err)
	}
	rescued = true
	if err := <-wrote; !errors.Is(err, syscall.Errno(5)) {
		t.Errorf("the write went elsewhere: %v", err)
	}
	f.Close()
	e.remove(t, v.Dev)
	p.down(t)
}

// Metadata that fill up: a large device keeps a tenth back and becomes
// read-only until it has grown; a tiny one fails and needs a check.
func testThinMetadataFull(t *testing.T, e *env) {
	ctx := context.Background()
	meta := func(sectors int) dm.Table { return e.table(t, "0 %d linear %s 0", sectors, e.disks[1]) }
	e.modules(t, "dm-thin-pool")
	for _, tt := range []struct {
		sectors, volumes int
		needsCheck       bool
	}{{1024, 107, false}, {256, 19, true}} {
		e.wipe(t, e.disks[1], 8)
		p := makeThinPool(t, e, meta(tt.sectors), 8, dm.ThinPool{})
		var refused error
		made := 0
		for refused == nil && made < 200 {
			if _, refused = e.c.Send(ctx, p.dev.Dev, dm.CreateThin{ID: uint32(made)}); refused == nil {
				made++
			}
		}
		s := p.status(t)
		if s.Mode != dm.ThinPoolReadOnly || s.NeedsCheck != tt.needsCheck {
			t.Errorf("full: %v", s)
		}
		// The last one of the tiny device was taken, and then could not be
		// written: a message does not report that.
		want := tt.volumes
		if tt.needsCheck {
			want++
		}
		var de *dm.Error
		if made != want || !errors.As(refused, &de) || de.Code != 95 {
			t.Errorf("%d volumes, want %d, then %v", made, want, refused)
		}
		if _, err := e.c.Reload(ctx, p.meta.Dev, meta(4096), dm.ReloadOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := e.c.Reload(ctx, p.dev.Dev, p.table(8), dm.ReloadOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d volumes: %v, grown %v", made, s, p.status(t))
		if s := p.status(t); (s.Mode == dm.ThinPoolReadWrite) == tt.needsCheck || (s.TotalMetadata == 512) == tt.needsCheck {
			t.Errorf("grown: %v", s)
		}
		p.down(t)
	}
}
