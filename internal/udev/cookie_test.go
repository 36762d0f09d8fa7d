// SPDX-License-Identifier: MIT

package udev

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func needSemaphores(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("SysV semaphores of Linux")
	}
	if _, err := os.Stat(sysvipc); err != nil {
		t.Skip(err)
	}
}

func newCookie(t testing.TB) *Cookie {
	t.Helper()
	needSemaphores(t)
	c, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Destroy(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// complete does what "dmsetup udevcomplete" does with a DM_COOKIE number.
func complete(value uint32) error {
	_, base := Split(value)
	id, err := semget(Key(base), 0)
	if err != nil {
		return err
	}
	return semop(id, -1, ipcNoWait)
}

func TestValue(t *testing.T) {
	// From strace-create.txt and strace-nosync.txt of dmsetup 1.02.185.
	for _, c := range []struct {
		value uint32
		flags Flags
		base  uint16
		key   uint32
	}{
		{6333908, PrimarySource | DisableLibraryFallback, 0xa5d4, 0xd4da5d4},
		{6295718, PrimarySource | DisableLibraryFallback, 0x10a6, 0xd4d10a6},
		{0x630000, PrimarySource | DisableLibraryFallback | DisableSubsystemRules | DisableDMRules, 0, 0xd4d0000},
		{0x14f0000, Subsystem0 | PrimarySource | 0xf, 0, 0xd4d0000},
	} {
		flags, base := Split(c.value)
		if flags != c.flags || base != c.base || Key(base) != c.key || Value(flags, base) != c.value {
			t.Errorf("Split(%#x) = %v, %#x", c.value, flags, base)
		}
		if IsKey(c.key) != (c.base != 0) {
			t.Errorf("IsKey(%#x)", c.key)
		}
	}
	if s := (PrimarySource | DisableDMRules | 0x80).String(); s != "DISABLE_DM_RULES|PRIMARY_SOURCE|0x0080" {
		t.Error(s)
	}
	if s := Flags(0).String(); s != "0" {
		t.Error(s)
	}
}

func TestWaitCompleted(t *testing.T) {
	c := newCookie(t)
	const n = 5
	for range n {
		if err := c.Add(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Undo(); err != nil {
		t.Fatal(err)
	}
	if v, _ := semgetval(c.SemID()); v != n {
		t.Fatalf("value %d, want %d", v, n)
	}
	go func() {
		for range n - 1 {
			time.Sleep(20 * time.Millisecond)
			if err := complete(c.Value(PrimarySource)); err != nil {
				t.Error(err)
			}
		}
	}()
	out, err := c.Wait(context.Background())
	if out != Completed || err != nil {
		t.Fatal(out, err)
	}
	if _, err := Inspect(c.Key()); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("still there: %v", err)
	}
	if out, err := c.Wait(context.Background()); out != Destroyed || err != nil {
		t.Fatal("second Wait:", out, err)
	}
	if err := c.Add(); !errors.Is(err, ErrDestroyed) {
		t.Fatal("Add afterwards:", err)
	}
	if err := c.Undo(); err != nil {
		t.Fatal("Undo afterwards:", err)
	}
}

func TestWaitNothing(t *testing.T) {
	if out, err := newCookie(t).Wait(context.Background()); out != Completed || err != nil {
		t.Fatal(out, err)
	}
}

func TestWaitCancelled(t *testing.T) {
	for _, busy := range []bool{false, true} { // with and without a free slot
		c := newCookie(t)
		if err := c.Add(); err != nil {
			t.Fatal(err)
		}
		if busy {
			for range cap(slots) {
				slots <- struct{}{}
			}
			defer func() {
				for range cap(slots) {
					<-slots
				}
			}()
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		why := errors.New("enough")
		var at time.Time
		time.AfterFunc(70*time.Millisecond, func() { at = time.Now(); cancel(why) })
		out, err := c.Wait(ctx)
		late := time.Since(at)
		if out != 0 || !errors.Is(err, why) {
			t.Fatal(out, err)
		}
		if late > 100*time.Millisecond {
			t.Logf("returned %v after cancellation", late) // no time is asserted on a busy machine
		}
		if _, err := Inspect(c.Key()); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("still there: %v", err)
		}
	}
}

func TestWaitDeadline(t *testing.T) {
	c := newCookie(t)
	_ = c.Add()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestWaitDestroyed(t *testing.T) {
	c := newCookie(t)
	_ = c.Add()
	removed := make(chan error)
	time.AfterFunc(30*time.Millisecond, func() { removed <- Remove(c.SemID(), c.Key()) })
	if out, err := c.Wait(context.Background()); out != Destroyed || err != nil {
		t.Fatal(out, err)
	}
	if err := <-removed; err != nil {
		t.Error(err)
	}
	// Gone before the wait.
	c = newCookie(t)
	if err := Remove(c.SemID(), c.Key()); err != nil {
		t.Fatal(err)
	}
	if err := c.Add(); !errors.Is(err, ErrDestroyed) {
		t.Fatal(err)
	}
	if out, err := c.Wait(context.Background()); out != Destroyed || err != nil {
		t.Fatal(out, err)
	}
}

// Somebody counts down more often than there are events.
func TestUnderflow(t *testing.T) {
	c := newCookie(t)
	if err := complete(c.Value(0)); err != nil {
		t.Fatal(err)
	}
	if err := c.Undo(); err != nil {
		t.Fatal(err)
	}
	if out, err := c.Wait(context.Background()); out != Completed || err != nil {
		t.Fatal(out, err)
	}
}

func TestTooManyEvents(t *testing.T) {
	c := newCookie(t)
	if err := semsetval(c.SemID(), 32767); err != nil { // SEMVMX
		t.Fatal(err)
	}
	if err := c.Add(); !errors.Is(err, ErrLimit) {
		t.Fatal(err)
	}
}

func TestLimitError(t *testing.T) {
	err := makeError(0x0d4d0001, syscall.ENOSPC)
	e, ok := errors.AsType[*Error](err)
	if !ok || !errors.Is(err, ErrLimit) || !errors.Is(err, syscall.ENOSPC) || e.Code != int(syscall.ENOSPC) {
		t.Fatal(err)
	}
	if !strings.Contains(err.Error(), "kernel.sem") {
		t.Fatal(err)
	}
}

func TestNotes(t *testing.T) {
	needSemaphores(t)
	type step struct {
		stage Stage
		key   uint32
		semid int
	}
	var seen []step
	stop := errors.New("stop")
	for fail := Intended; fail <= Dropped; fail++ {
		seen = nil
		c, err := New(func(s Stage, key uint32, semid int) error {
			seen = append(seen, step{s, key, semid})
			if s == Made {
				if id, err := semget(key, 0); err != nil || id != semid {
					t.Error("not made:", id, err)
				}
			}
			if s == fail {
				return stop
			}
			return nil
		})
		if fail == Dropped {
			if err != nil {
				t.Fatal(err)
			}
			if len(seen) != 2 || seen[1] != (step{Made, c.Key(), c.SemID()}) || seen[0] != (step{Intended, c.Key(), -1}) {
				t.Errorf("%v", seen)
			}
			c.Destroy()
			continue
		}
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
		last := seen[len(seen)-1]
		if _, err := Inspect(last.key); !errors.Is(err, fs.ErrNotExist) {
			t.Error("left behind:", err)
		}
		if fail == Made && last.stage != Dropped {
			t.Error(seen)
		}
	}
}

func TestParallel(t *testing.T) {
	needSemaphores(t)
	n := 1000
	if testing.Short() {
		n = 50
	}
	var wg sync.WaitGroup
	keys := make([]uint32, n)
	for i := range n {
		wg.Go(func() {
			c, err := New(nil)
			if err != nil {
				t.Error(err)
				return
			}
			keys[i] = c.Key()
			for range 3 {
				if err := c.Add(); err != nil {
					t.Error(err)
				}
			}
			go func() {
				for range 3 {
					// By semid: a key may be a new cookie's after cancellation.
					if err := semop(c.SemID(), -1, ipcNoWait); err != nil && !isGone(err) {
						t.Error(err)
					}
				}
			}()
			ctx := context.Background()
			if i%3 == 0 {
				var cancel func()
				ctx, cancel = context.WithCancel(ctx)
				time.AfterFunc(time.Duration(i)*time.Microsecond, cancel)
			}
			out, err := c.Wait(ctx)
			if err == nil && out != Completed || err != nil && !errors.Is(err, context.Canceled) {
				t.Error(out, err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		if _, err := semget(k, 0); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("key %#x is left: %v", k, err)
		}
	}
	if n := len(slots); n != 0 {
		t.Errorf("%d slots are taken", n)
	}
}

func TestListInspectRemove(t *testing.T) {
	c := newCookie(t)
	_ = c.Add()
	s, err := Inspect(c.Key())
	if err != nil {
		t.Fatal(err)
	}
	if s.SemID != c.SemID() || s.Key != c.Key() || s.Value != 2 || s.LastPID != os.Getpid() ||
		s.UID != os.Getuid() || time.Since(s.Changed) > time.Minute || s.Used.IsZero() {
		t.Errorf("%+v", s)
	}
	if err := Remove(c.SemID()+1, c.Key()); !errors.Is(err, ErrMismatch) {
		t.Error(err)
	}
	if _, err := Inspect(0x1234); !errors.Is(err, ErrMismatch) {
		t.Error(err)
	}
	if err := Remove(1, 0x1234); !errors.Is(err, ErrMismatch) {
		t.Error(err)
	}
	if err := Remove(c.SemID(), c.Key()); err != nil {
		t.Error(err)
	}
	if err := Remove(c.SemID(), c.Key()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestRecover(t *testing.T) {
	me := os.Getpid()
	gone := func(c *Cookie) bool {
		_, err := Inspect(c.Key())
		return errors.Is(err, fs.ErrNotExist)
	}
	c := newCookie(t)
	if done, err := Recover(c.Key(), c.SemID()+1, me); done || err != nil || gone(c) {
		t.Error("other semid:", done, err)
	}
	if done, err := Recover(c.Key(), -1, me+1); done || err != nil || gone(c) {
		t.Error("other process's:", done, err)
	}
	if done, err := Recover(c.Key(), -1, me); !done || err != nil || !gone(c) {
		t.Error("ours without semid:", done, err)
	}
	if done, err := Recover(c.Key(), -1, me); done || err != nil {
		t.Error("twice:", done, err)
	}
	c = newCookie(t)
	if done, err := Recover(c.Key(), c.SemID(), 0); !done || err != nil || !gone(c) {
		t.Error("known semid:", done, err)
	}
	// Killed between semget and SETVAL.
	key := Key(randomBase())
	id, err := semget(key, ipcCreat|ipcExcl|0o600)
	if err != nil {
		t.Skip(err)
	}
	defer semrmid(id)
	if done, err := Recover(key, -1, me+1); !done || err != nil {
		t.Error("without value:", done, err)
	}
	// The same moment of a living process: it gets its value meanwhile.
	id, err = semget(key, ipcCreat|ipcExcl|0o600)
	if err != nil {
		t.Skip(err)
	}
	defer semrmid(id)
	time.AfterFunc(50*time.Millisecond, func() { semsetval(id, 1) })
	if done, err := Recover(key, -1, me+1); done || err != nil {
		t.Error("a living one:", done, err)
	}
}

func TestErrors(t *testing.T) {
	err := fail("remove", "cookie 0x1", syscall.EPERM)
	if !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	if fail("x", "", nil) != nil {
		t.Error("nil")
	}
	if s := err.Error(); s != "udev: remove cookie 0x1: operation not permitted" && runtime.GOOS == "linux" {
		t.Error(s)
	}
	if Intended.String()+Made.String()+Dropped.String()+Stage(9).String() != "intendedmadedroppedstage(9)" {
		t.Error("stages")
	}
	if Completed.String()+Destroyed.String()+Outcome(9).String() != "completeddestroyedoutcome(9)" {
		t.Error("outcomes")
	}
}

// What a process pays for one synchronised operation, without udev's part.
func BenchmarkCookie(b *testing.B) {
	needSemaphores(b)
	for b.Loop() {
		c, err := New(nil)
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Add()
		_ = complete(c.Value(PrimarySource))
		if _, err := c.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
