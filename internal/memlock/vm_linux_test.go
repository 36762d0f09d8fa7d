// SPDX-License-Identifier: MIT

package memlock

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/linuxblock/linuxblock/internal/vmtest"
	"golang.org/x/sys/unix"
)

// In childEnv a child of the test finds what to do.
const childEnv = "LINUXBLOCK_MEMLOCK_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	os.Exit(m.Run())
}

// child runs from the device under test: it locks its memory, says so, waits
// for a line and then does things whose code was never run before.
func child() {
	say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	in := bufio.NewReader(os.Stdin)
	before, err := readStatus()
	if err != nil {
		say("error %v", err)
		return
	}
	h, err := Lock()
	after, _ := readStatus()
	say("locked %v %v", err, after.locked > before.locked)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch strings.TrimSpace(line) {
		case "conflict":
			var d Dev
			fmt.Sscanf(os.Getenv(childEnv), "%d:%d", &d.Major, &d.Minor)
			list, err := System{}.Conflict([]Dev{d})
			say("%q %v", list, err)
		case "work":
			sum := 0
			for i := range 100 {
				re := regexp.MustCompile(fmt.Sprintf("(a+b|[c-%c]*)%d$", 'd'+i%20, i))
				sum += len(re.FindString(strings.Repeat("ab", 1000) + fmt.Sprint(i)))
				go deep(100)
				binary.Append(nil, binary.LittleEndian, []uint16{1, 2, 3})
			}
			say("worked %v", sum > 0)
		case "end":
			say("unlocked %v", h.Unlock())
			return
		}
	}
}

// A program whose own binary lies on a suspended device goes on working.
func TestVMBinaryOnSuspendedDevice(t *testing.T) {
	vmtest.Require(t, "dm-mod", "ext4")
	disk := vmtest.Disk(t)
	vmtest.Run(t, "dmsetup", "create", "memlock", "--table", "0 262144 linear "+disk+" 0")
	defer vmtest.Command(t, "dmsetup", "remove", "--retry", "memlock").Run()
	out := strings.TrimSpace(vmtest.Output(t, "dmsetup", "info", "-c", "--noheadings", "-o", "major,minor", "memlock"))
	vmtest.Run(t, "mkfs.ext4", "-q", "/dev/mapper/memlock")
	dir := t.TempDir()
	if err := unix.Mount("/dev/mapper/memlock", dir, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	exe := filepath.Join(dir, "prog")
	to, err := os.OpenFile(exe, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, self); err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	dropCaches(t)
	inR, inW, _ := os.Pipe()
	outR, outW, _ := os.Pipe()
	p, err := os.StartProcess(exe, []string{exe}, &os.ProcAttr{Env: append(os.Environ(), childEnv+"="+out), Files: []*os.File{inR, outW, os.Stderr}})
	inR.Close()
	outW.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Wait()
	defer p.Kill()
	lines := make(chan string)
	go func() {
		s := bufio.NewScanner(outR)
		for s.Scan() {
			lines <- s.Text()
		}
		close(lines)
	}()
	expect := func(ask, want string) {
		t.Helper()
		if ask != "" {
			fmt.Fprintln(inW, ask)
		}
		select {
		case got := <-lines:
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q, want %q", ask, got, want)
			}
		case <-time.After(60 * time.Second):
			t.Errorf("%s: no answer", ask)
		}
	}
	expect("", "locked <nil> true")
	expect("conflict", "lies on "+out)
	// NOLOCKFS keeps the test itself from hanging on a frozen file system.
	vmtest.Run(t, "dmsetup", "suspend", "--nolockfs", "memlock")
	dropCaches(t)
	expect("work", "worked true")
	vmtest.Run(t, "dmsetup", "resume", "memlock")
	expect("end", "unlocked <nil>")
}

func dropCaches(t *testing.T) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0o200); err != nil {
		t.Fatal(err)
	}
}

// Memory that is in swap when Lock is called is brought back.
func TestVMSwappedOut(t *testing.T) {
	vmtest.Require(t, "brd")
	disk := vmtest.RAMDisk(t)
	swapon(t, disk)
	const size = 4 << 20
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	for i := range b {
		b[i] = byte(i >> 7)
	}
	before := uint64(0)
	for range 50 {
		if err := unix.Madvise(b, unix.MADV_PAGEOUT); err != nil {
			t.Fatal(err)
		}
		if before = swapped(t); before > size/2 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if before == 0 {
		t.Fatal("the kernel swaps nothing out")
	}
	needs, err := System{}.Needs()
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v", needs); !strings.Contains(text, "What:swap Path:"+disk) {
		t.Error(text)
	}
	h, err := Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Unlock()
	if after := swapped(t); after != 0 {
		t.Errorf("%d bytes are in swap, were %d", after, before)
	}
}

// swapped counts this process's bytes in swap exactly, from its page tables.
func swapped(t *testing.T) (sum uint64) {
	t.Helper()
	list, err := readMaps("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		sum += m.swap
	}
	return sum
}

// swapon makes a swap device: the header of Linux include/linux/swap.h union
// swap_header, one page, with the magic at its end.
func swapon(t *testing.T, disk string) {
	t.Helper()
	page := os.Getpagesize()
	h := make([]byte, page)
	binary.NativeEndian.PutUint32(h[1024:], 1)                       // version
	binary.NativeEndian.PutUint32(h[1028:], uint32((16<<20)/page)-1) // last page
	copy(h[page-10:], "SWAPSPACE2")
	f, err := os.OpenFile(disk, os.O_WRONLY|unix.O_SYNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(h, 0)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	path, _ := unix.BytePtrFromString(disk)
	if _, _, no := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(path)), 0, 0); no != 0 {
		t.Fatal("swapon:", no)
	}
	t.Cleanup(func() {
		if _, _, no := unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(path)), 0, 0); no != 0 {
			t.Error("swapoff:", no)
		}
	})
}
