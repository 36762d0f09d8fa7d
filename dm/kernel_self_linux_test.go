// SPDX-License-Identifier: MIT

package dm_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/blockdev"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// The device that is suspended and swapped carries the program that does it,
// its log and its swap. The program runs from the device; nothing of it is in
// the page cache when the device stops.
func TestKernelSelfHosted(t *testing.T) {
	vmtest.Require(t, "dm-mod", "ext4")
	disk := vmtest.Disk(t)
	ctx := context.Background()
	c, err := dm.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const sectors = 240 << 11
	info, err := c.Create(ctx, "self", dm.Table{}.Append(sectors, dm.Linear{Device: disk}), dm.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Remove(ctx, info.Dev, dm.RemoveOptions{Retries: 50})
	vmtest.Run(t, "mke2fs", "-q", "-t", "ext4", info.Dev.Path())
	mnt := t.TempDir()
	if err := unix.Mount(info.Dev.Path(), mnt, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(mnt, 0)
	copyFile(t, mnt+"/program", "/proc/self/exe")
	swap := mnt + "/swap"
	makeSwap(t, swap, 32<<20)
	if err := swapCall(unix.SYS_SWAPON, swap); err != nil {
		t.Fatal("swapon:", err)
	}
	defer swapCall(unix.SYS_SWAPOFF, swap)
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.StartProcess(mnt+"/program", []string{"self"}, &os.ProcAttr{
		Dir: mnt, Env: append(os.Environ(), victimEnv+"=self "+disk), Files: []*os.File{nil, w, w},
	})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	// Should the program stand still, the device is resumed from here, so
	// that the machine lives on; the test has failed then.
	rescue := time.AfterFunc(60*time.Second, func() {
		t.Error("the program stood still")
		c.Resume(ctx, info.Dev, dm.ResumeOptions{})
		p.Kill()
	})
	out, _ := io.ReadAll(r)
	state, err := p.Wait()
	rescue.Stop()
	if err != nil || !state.Success() {
		t.Errorf("%v %v: %s", state, err, out)
	}
	t.Logf("%s", out)
	if now, err := c.Info(ctx, info.Dev); err != nil || now.Suspended || now.InactiveTable {
		t.Errorf("%+v %v", now, err)
	}
	log, err := os.ReadFile(mnt + "/log")
	if err != nil || !strings.Contains(string(log), "swapped 20 times") {
		t.Errorf("log %q, %v", log, err)
	}
}

// selfHosted is the program on the device.
func selfHosted(disk string) {
	ctx := context.Background()
	logFile, err := os.OpenFile("log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	check(err)
	log := slog.New(slog.NewTextHandler(logFile, nil))
	traces := 0
	c, err := dm.Open(ctx, dm.WithLogger(log), dm.WithTrace(func(tr dm.Trace) {
		traces++
		log.Info("ioctl", "command", tr.Command) // to the device that may be suspended
	}))
	check(err)
	self := dm.Name("self")
	half := dm.Sectors(120 << 11)
	for i := range 20 {
		tab := dm.Table{}.Append(2*half, dm.Linear{Device: disk})
		if i%2 == 0 {
			tab = dm.Table{}.Append(half, dm.Linear{Device: disk}).Append(half, dm.Linear{Device: disk, Offset: half})
		}
		if i%4 == 3 {
			_, err := c.Reload(ctx, self, tab, dm.ReloadOptions{})
			check(err)
			continue
		}
		check(c.WhileSuspended(ctx, []dm.Ref{self}, dm.GuardOptions{Paths: []string{"log"}}, func(ctx context.Context) error {
			runtime.GC()
			touchCode() // on the first round most of it was never read before
			if info, err := c.Info(ctx, self); err != nil || !info.Suspended {
				return fmt.Errorf("not suspended: %+v %v", info, err)
			}
			return c.Load(ctx, self, tab, dm.LoadOptions{})
		}))
	}
	log.Info("swapped 20 times")
	check(logFile.Sync())
	check(c.Close())
	fmt.Println("swapped 20 times,", traces, "ioctls traced")
	os.Exit(0)
}

// touchCode reads a byte of every page of the program. While the device is
// suspended that works only if the pages are in memory already.
func touchCode() (sum byte) {
	maps, err := os.ReadFile("/proc/self/maps")
	check(err)
	pages := 0
	for line := range strings.Lines(string(maps)) {
		var start, end uintptr
		var perms string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &start, &end, &perms); err != nil || perms[0] != 'r' || !strings.Contains(line, "/program") {
			continue
		}
		for at := start; at < end; at += uintptr(os.Getpagesize()) {
			p := at
			sum += **(**byte)(unsafe.Pointer(&p)) // an address of the kernel's, not of the collector's
			pages++
		}
	}
	if pages < 500 {
		check(fmt.Errorf("%d pages of code", pages))
	}
	return sum
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, bufio.NewReaderSize(in, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// makeSwap writes a swap file: a header page of version 1 with the magic at
// its end (include/linux/swap.h, union swap_header).
func makeSwap(t *testing.T, path string, size int) {
	t.Helper()
	b := make([]byte, size)
	page := os.Getpagesize()
	binary.NativeEndian.PutUint32(b[1024:], 1)
	binary.NativeEndian.PutUint32(b[1028:], uint32(size/page-1))
	copy(b[page-10:], "SWAPSPACE2")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func swapCall(nr uintptr, path string) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(nr, uintptr(unsafe.Pointer(p)), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// A swap of tables waits for I/O in flight. Signals, of which the Go runtime
// sends many, must not fail it; on 5.10 and 6.1 they do not even end the wait.
func TestKernelReloadUnderSignals(t *testing.T) {
	vmtest.Require(t, "dm-mod", "dm-delay", "brd")
	disk := vmtest.RAMDisk(t)
	ctx := context.Background()
	interrupted := 0
	c, err := dm.Open(ctx, dm.WithTrace(func(tr dm.Trace) {
		if tr.Err == unix.EINTR {
			interrupted++
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// A delay target lets its own I/O go at once when it is suspended; one
	// below keeps it in flight.
	slow, err := c.Create(ctx, "slow", dm.Table{}.Append(1024, dm.Delay{Read: dm.DelayLeg{Device: disk, Delay: 20 * time.Millisecond}}), dm.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Remove(ctx, slow.Dev, dm.RemoveOptions{Retries: 50})
	tab := dm.Table{}.Append(1024, dm.Linear{Device: slow.Dev.String()})
	info, err := c.Create(ctx, "signals", tab, dm.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Remove(ctx, info.Dev, dm.RemoveOptions{Retries: 50})
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		f, err := blockdev.Open(info.Dev.Path(), blockdev.Options{Write: true, Direct: true})
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		for b := make([]byte, 4096); !stop.Load(); {
			if _, err := f.WriteAt(b, 0); err != nil {
				t.Error(err)
				return
			}
		}
	})
	sent := 0
	wg.Go(func() {
		for !stop.Load() {
			tasks, _ := os.ReadDir("/proc/self/task")
			for _, e := range tasks {
				var tid int
				fmt.Sscan(e.Name(), &tid)
				unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
				sent++
			}
			time.Sleep(200 * time.Microsecond)
		}
	})
	for i := range 50 {
		if _, err := c.Reload(ctx, info.Dev, tab, dm.ReloadOptions{}); err != nil {
			t.Errorf("reload %d: %v", i, err)
			break
		}
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d signals", sent)
	if interrupted > 0 || sent < 50 {
		t.Errorf("%d calls were interrupted by %d signals", interrupted, sent)
	}
}
