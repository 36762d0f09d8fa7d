// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// swapBelow puts a table below what may have I/O in flight.
func (e *env) swapBelow(t *testing.T, name string, tab dm.Table) {
	t.Helper()
	// Without a flush, so that nothing that waits below holds it up.
	opts := dm.ReloadOptions{SuspendOptions: dm.SuspendOptions{NoFlush: true, SkipLockFS: true}}
	if _, err := e.c.Reload(context.Background(), e.name(name), tab, opts); err != nil {
		t.Fatalf("reload %s: %v", name, err)
	}
}

// legs makes linear devices of n sectors, one on each disk, that hold other
// data each.
func (e *env) legs(t *testing.T, count int, n dm.Sectors) (devs []dm.Dev) {
	t.Helper()
	for i := range count {
		name := fmt.Sprintf("leg%d", i)
		devs = append(devs, e.create(t, name, e.table(t, "0 %d linear %s 0", uint64(n), e.disks[i]), dm.CreateOptions{}).Dev)
		e.writeAt(t, e.name(name), pattern(int(n.Bytes()), byte(i+1)), 0)
	}
	return devs
}

func (e *env) failLeg(t *testing.T, i int, n dm.Sectors) {
	t.Helper()
	e.swapBelow(t, fmt.Sprintf("leg%d", i), e.table(t, "0 %d error", uint64(n)))
}

func (e *env) healLeg(t *testing.T, i int, n dm.Sectors) {
	t.Helper()
	e.swapBelow(t, fmt.Sprintf("leg%d", i), e.table(t, "0 %d linear %s 0", uint64(n), e.disks[i]))
}

// A mirror copies its first leg to the others, tells when it is done, and
// writes to all of them.
func testMirror(t *testing.T, e *env) {
	e.modules(t, "dm-mirror")
	const size = dm.Sectors(8192)
	legs := e.legs(t, 3, size)
	table := dm.Table{}.Append(size, dm.Mirror{
		Log:          dm.MirrorLog{RegionSize: 512},
		Legs:         []dm.MirrorLeg{{Device: legs[0].String()}, {Device: legs[1].String()}, {Device: legs[2].String()}},
		HandleErrors: true,
	})
	m := e.create(t, "m", table, dm.CreateOptions{})
	eventually(t, "sync", func() bool { return typedStatus[dm.MirrorStatus](t, e, m.Dev).Complete() })
	eventually(t, "event of the sync", func() bool { return e.info(t, m.Dev).EventNr == 1 })
	s := typedStatus[dm.MirrorStatus](t, e, m.Dev)
	if s.Regions != 16 || s.LogType != "core" || len(s.Legs) != 3 || s.Legs[1] != (dm.MirrorLegStatus{Device: legs[1].String(), Health: dm.MirrorAlive}) || s.Failed() != nil {
		t.Errorf("status %+v", s)
	}
	for i := range 3 {
		e.holds(t, e.name(fmt.Sprintf("leg%d", i)), pattern(int(size.Bytes()), 1), 0)
	}
	fresh := pattern(1<<20, 9) // over several regions
	e.writeAt(t, e.name("m"), fresh, 8192)
	for i := range 3 {
		e.holds(t, e.name(fmt.Sprintf("leg%d", i)), fresh, 8192)
	}
	// Of the leg that fails reads are served by another one.
	e.failLeg(t, 0, size)
	e.holds(t, e.name("m"), fresh, 8192)
	eventually(t, "event of the read", func() bool { return e.info(t, m.Dev).EventNr == 2 })
	if s := typedStatus[dm.MirrorStatus](t, e, m.Dev); s.Legs[0].Health != dm.MirrorReadFailed || len(s.Failed()) != 1 {
		t.Errorf("status %+v", s)
	}
	e.remove(t, m.Dev, e.name("leg0"), e.name("leg1"), e.name("leg2"))
}

// A write that a leg does not take is held until the device is suspended: then
// it goes to the next table, or fails if the suspend flushes.
func testMirrorHoldsWrites(t *testing.T, e *env) {
	e.modules(t, "dm-mirror")
	const size = dm.Sectors(8192)
	for i, flush := range []bool{false, true} {
		legs := e.legs(t, 2, size)
		m := e.create(t, "m", e.table(t, "0 8192 mirror core 2 512 nosync 2 %s 0 %s 0 1 handle_errors", legs[0], legs[1]), dm.CreateOptions{})
		e.failLeg(t, 1, size)
		f := e.rw(t, m.Name)
		done := make(chan error, 1)
		go func() {
			_, err := f.WriteAt(pattern(4096, 7), 4096)
			done <- err
		}()
		eventually(t, "event of the write", func() bool { return e.info(t, m.Dev).EventNr == 1 }) // there was none of the sync
		eventually(t, "region out of sync", func() bool { return typedStatus[dm.MirrorStatus](t, e, m.Dev).InSync == 15 })
		s := typedStatus[dm.MirrorStatus](t, e, m.Dev)
		if s.Legs[0].Health != dm.MirrorAlive || s.Legs[1].Health != dm.MirrorWriteFailed || s.Complete() {
			t.Errorf("status %+v", s)
		}
		select {
		case err := <-done:
			t.Errorf("the write was not held: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		opts := dm.ReloadOptions{SuspendOptions: dm.SuspendOptions{NoFlush: !flush, SkipLockFS: true}}
		if _, err := e.c.Reload(context.Background(), m.Dev, e.table(t, "0 8192 linear %s 0", legs[0]), opts); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, []error{nil, syscall.EIO}[i]) {
			t.Errorf("flush %t: the write that was held: %v", flush, err)
		}
		f.Close()
		e.holds(t, e.name("m"), pattern(4096, 7), 4096) // it was done on the good leg
		e.remove(t, m.Dev, e.name("leg0"), e.name("leg1"))
	}
}

// With keep_log no write is held, and the log on disk outlives the device.
func testMirrorDiskLog(t *testing.T, e *env) {
	e.modules(t, "dm-mirror")
	const size = dm.Sectors(8192)
	legs := e.legs(t, 2, size)
	e.wipe(t, e.disks[2], 64)
	log := e.create(t, "log", e.table(t, "0 64 linear %s 0", e.disks[2]), dm.CreateOptions{})
	tab := e.table(t, "0 8192 mirror disk 2 %s 512 2 %s 0 %s 0 2 handle_errors keep_log", log.Dev, legs[0], legs[1])
	m := e.create(t, "m", tab, dm.CreateOptions{})
	eventually(t, "sync", func() bool { return e.info(t, m.Dev).EventNr == 1 })
	s := typedStatus[dm.MirrorStatus](t, e, m.Dev)
	if !s.Complete() || s.LogType != "disk" || s.LogDevice != log.Dev.String() || s.LogHealth != dm.MirrorAlive {
		t.Errorf("status %+v", s)
	}
	e.failLeg(t, 1, size)
	e.writeAt(t, e.name("m"), pattern(4096, 7), 0)
	eventually(t, "event of the write", func() bool { return e.info(t, m.Dev).EventNr == 2 })
	if s := typedStatus[dm.MirrorStatus](t, e, m.Dev); s.Legs[1].Health != dm.MirrorWriteFailed || s.InSync != 15 {
		t.Errorf("status %+v", s)
	}
	e.remove(t, m.Dev)
	// The log knows which region to copy, and the leg is good again.
	e.healLeg(t, 1, size)
	other := pattern(4096, 55)
	e.writeAt(t, e.name("leg1"), other, int64(size.Bytes())-4096)
	m = e.create(t, "m", tab, dm.CreateOptions{})
	eventually(t, "sync", func() bool { return typedStatus[dm.MirrorStatus](t, e, m.Dev).Complete() })
	e.holds(t, e.name("leg1"), pattern(4096, 7), 0)
	e.holds(t, e.name("leg1"), other, int64(size.Bytes())-4096) // not copied: it was in sync
	// A log that fails ends the writes.
	e.swapBelow(t, "log", e.table(t, "0 64 error"))
	f := e.rw(t, m.Name)
	if _, err := f.WriteAt(pattern(4096, 8), 1<<20); !errors.Is(err, syscall.EIO) {
		t.Errorf("write without a log: %v", err)
	}
	f.Close()
	if s := typedStatus[dm.MirrorStatus](t, e, m.Dev); s.LogHealth == dm.MirrorAlive {
		t.Errorf("status %+v", s)
	}
	e.remove(t, m.Dev, e.name("leg0"), e.name("leg1"), e.name("log"))
}
