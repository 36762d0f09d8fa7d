// SPDX-License-Identifier: MIT

package memlock

import (
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// take locks or skips where it is not allowed.
func take(t *testing.T) *Held {
	t.Helper()
	h, err := Lock()
	if errors.Is(err, ErrLimit) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Unlock() })
	return h
}

func locked(t *testing.T) int64 {
	t.Helper()
	st, err := readStatus()
	if err != nil {
		t.Fatal(err)
	}
	return st.locked
}

func TestLockNests(t *testing.T) {
	if n := locked(t); n != 0 {
		t.Skipf("%d KiB are locked already", n)
	}
	a, b := take(t), take(t)
	if locked(t) == 0 {
		t.Error("nothing is locked")
	}
	// All code is in memory.
	maps, err := readMaps("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range codeFiles(maps) {
		if m.perm != "r-xp" {
			continue
		}
		pages := make([]byte, (m.end-m.start)/uint64(os.Getpagesize()))
		if _, _, no := unix.Syscall(unix.SYS_MINCORE, uintptr(m.start), uintptr(m.end-m.start), uintptr(unsafe.Pointer(&pages[0]))); no != 0 {
			t.Fatal(no)
		}
		for i, p := range pages {
			if p&1 == 0 {
				t.Errorf("page %d of %s is not in memory", i, m.path)
			}
		}
	}
	for range 2 {
		if err := a.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
	if locked(t) == 0 {
		t.Error("the first Unlock unlocked all")
	}
	if err := b.Unlock(); err != nil {
		t.Fatal(err)
	}
	if n := locked(t); n != 0 {
		t.Errorf("%d KiB are left", n)
	}
	var none *Held
	if err := none.Unlock(); err != nil {
		t.Error(err)
	}
}

// The Go runtime goes on mapping, growing stacks and collecting.
func TestWorkWhileLocked(t *testing.T) {
	h := take(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if deep(2000) != 2000 {
				t.Error("deep")
			}
			b := make([]byte, 2<<20)
			for i := range b {
				b[i] = 1
			}
		})
	}
	wg.Wait()
	if err := h.Unlock(); err != nil {
		t.Fatal(err)
	}
}

//go:noinline
func deep(n int) int {
	var room [100]int
	if n == 0 {
		return room[0]
	}
	return deep(n-1) + 1
}

// What the host program locked before stays locked, and nothing more.
func TestHostsLockStays(t *testing.T) {
	if n := locked(t); n != 0 {
		t.Skipf("%d KiB are locked already", n)
	}
	page, err := unix.Mmap(-1, 0, 4*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(page)
	if err := unix.Mlock(page[:os.Getpagesize()]); err != nil {
		t.Skip(err)
	}
	defer unix.Munlock(page)
	before := locked(t)
	h := take(t)
	if locked(t) <= before {
		t.Error("nothing more is locked")
	}
	if err := h.Unlock(); err != nil {
		t.Fatal(err)
	}
	maps, err := readMaps("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	at := uint64(uintptr(unsafe.Pointer(&page[0])))
	var all []uint64
	for _, m := range maps {
		if m.locked {
			all = append(all, m.start)
		}
	}
	if !slices.Equal(all, []uint64{at}) {
		t.Errorf("locked are %#x, want only %#x", all, at)
	}
	if n := locked(t); n != before {
		t.Errorf("%d KiB are locked, were %d", n, before)
	}
}

// A host that locks everything to come keeps that.
func TestHostsFutureLockStays(t *testing.T) {
	take(t).Unlock() // may we at all?
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &lim); err != nil || lim.Cur != unix.RLIM_INFINITY && os.Geteuid() != 0 {
		t.Skip("would hit the limit")
	}
	if err := unix.Mlockall(unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		t.Skip(err)
	}
	defer unix.Munlockall()
	h := take(t)
	if err := h.Unlock(); err != nil {
		t.Fatal(err)
	}
	if !lockedAtBirth() {
		t.Error("MCL_FUTURE is gone")
	}
}

func TestConcurrentLocks(t *testing.T) {
	take(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				h, err := Lock()
				if err != nil {
					t.Error(err)
					return
				}
				if err := h.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if locked(t) == 0 {
		t.Error("the outer lock is gone")
	}
}

func TestExplain(t *testing.T) {
	for no, limit := range map[unix.Errno]bool{unix.ENOMEM: true, unix.EPERM: true, unix.EAGAIN: true, unix.EINVAL: false} {
		err := explain(no)
		if errors.Is(err, ErrLimit) != limit || !errors.Is(err, no) {
			t.Error(err)
		}
	}
}

func BenchmarkLockUnlock(b *testing.B) {
	for b.Loop() {
		h, err := Lock()
		if err != nil {
			b.Skip(err)
		}
		if err := h.Unlock(); err != nil {
			b.Fatal(err)
		}
	}
}
