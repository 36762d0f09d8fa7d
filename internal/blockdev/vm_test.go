// SPDX-License-Identifier: MIT

//go:build linux

package blockdev

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/internal/vmtest"
	"golang.org/x/sys/unix"
)

// The tests of this file run on real block devices, in the VM only.

func TestVMGeometry(t *testing.T) {
	for _, path := range []string{vmtest.RAMDisk(t), vmtest.Disk(t)} {
		d := open(t, path, Options{})
		size, err := d.Size()
		if err != nil || size < 32<<20 || !d.IsBlock() {
			t.Errorf("%s: size %d, %v", path, size, err)
		}
		if l, p := d.SectorSize(); l != 512 || p < l {
			t.Errorf("%s: sector sizes %d, %d", path, l, p)
		}
		major, minor, err := d.Number()
		if err != nil {
			t.Fatal(err)
		}
		if ma, mi, err := Resolve(path); ma != major || mi != minor || err != nil {
			t.Errorf("%s: resolved to %d:%d, %v", path, ma, mi, err)
		}
		var s SysFS
		if n, err := s.Size(major, minor); n.Bytes() != size || err != nil {
			t.Errorf("%s: sysfs size %v, %v", path, n, err)
		}
		if name, err := s.Name(major, minor); "/dev/"+name != path || err != nil {
			t.Errorf("%s: name %q, %v", path, name, err)
		}
		if seq, err := s.DiskSeq(major, minor); seq == 0 || err != nil {
			if !errors.Is(err, errors.ErrUnsupported) || vmtest.KernelVersion().AtLeast(5, 15) {
				t.Errorf("%s: diskseq %d, %v", path, seq, err)
			}
		}
		if uses, err := InUse(path); len(uses) > 0 || err != nil {
			t.Errorf("%s: in use: %v, %v", path, uses, err)
		}
	}
}

func TestVMReadOnly(t *testing.T) {
	path := vmtest.RAMDisk(t)
	d := open(t, path, Options{Write: true})
	setRO := func(v int32) {
		t.Helper()
		if err := d.ioctl("set read-only", unix.BLKROSET, unsafe.Pointer(&v)); err != nil {
			t.Fatal(err)
		}
	}
	setRO(1)
	defer setRO(0)
	if ro, err := d.ReadOnly(); !ro || err != nil {
		t.Errorf("read-only: %v, %v", ro, err)
	}
	major, minor, _ := d.Number()
	if ro, err := (SysFS{}).ReadOnly(major, minor); !ro || err != nil {
		t.Errorf("sysfs: %v, %v", ro, err)
	}
	if _, err := Open(path, Options{Write: true}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("open for writing: %v", err)
	}
	if _, err := d.WriteAt([]byte{1}, 0); !errors.Is(err, ErrReadOnly) {
		t.Errorf("write on an older handle: %v", err)
	}
	if err := d.ZeroRange(t.Context(), 0, 4096); !errors.Is(err, ErrReadOnly) {
		t.Errorf("zero on an older handle: %v", err)
	}
}

func TestVMReadAhead(t *testing.T) {
	d := open(t, vmtest.Disk(t), Options{})
	old, err := d.ReadAhead()
	if err != nil {
		t.Fatal(err)
	}
	defer d.SetReadAhead(old)
	for _, want := range []linuxblock.Sectors{0, 64, 8192} {
		if err := d.SetReadAhead(want); err != nil {
			t.Fatal(err)
		}
		if got, err := d.ReadAhead(); got != want || err != nil {
			t.Errorf("read-ahead %v, %v, want %v", got, err, want)
		}
	}
}

// devices gives a RAM disk, the virtio disk, and one with logical sectors of
// 4096 bytes.
func devices(t *testing.T) []string {
	vmtest.Require(t, "sd_mod")
	vmtest.LoadModule(t, "scsi_debug", "sector_size=4096 dev_size_mb=32 lbpws=1 lbprz=1")
	var disks []string
	for range 100 { // sd looks at its disks in the background
		disks, _ = filepath.Glob("/sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*:*/block/*")
		if len(disks) == 1 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if len(disks) != 1 {
		t.Fatalf("scsi_debug's disks: %v", disks)
	}
	return []string{vmtest.RAMDisk(t), vmtest.Disk(t), "/dev/" + filepath.Base(disks[0])}
}

func TestVMReadWrite(t *testing.T) {
	for _, path := range devices(t) {
		for _, direct := range []bool{false, true} {
			t.Run(path+map[bool]string{false: " cached", true: " direct"}[direct], func(t *testing.T) {
				d := open(t, path, Options{Write: true, Exclusive: true, Direct: direct})
				size, _ := d.Size()
				base := size - 6<<20 // exercise the end of the device
				want := make([]byte, 6<<20)
				r := rand.New(rand.NewPCG(1, 1))
				for i := range want {
					want[i] = byte(r.Uint32())
				}
				if _, err := d.WriteAt(want, base); err != nil {
					t.Fatal(err)
				}
				for range 150 {
					n := 1 + r.IntN(2<<20)
					if r.IntN(2) == 0 {
						n = 1 + r.IntN(9000)
					}
					off := r.IntN(len(want) - n + 1)
					buf := make([]byte, n)
					switch r.IntN(3) {
					case 0:
						for i := range buf {
							buf[i] = byte(r.Uint32())
						}
						if k, err := d.WriteAt(buf, base+int64(off)); k != n || err != nil {
							t.Fatalf("write %d at %d: %d, %v", n, off, k, err)
						}
						copy(want[off:], buf)
					case 1:
						if err := d.ZeroRange(t.Context(), base+int64(off), int64(n)); err != nil {
							t.Fatalf("zero %d at %d: %v", n, off, err)
						}
						clear(want[off : off+n])
					default:
						if k, err := d.ReadAt(buf, base+int64(off)); k != n || err != nil {
							t.Fatalf("read %d at %d: %d, %v", n, off, k, err)
						}
						if !bytes.Equal(buf, want[off:off+n]) {
							t.Fatalf("read %d at %d: wrong bytes", n, off)
						}
					}
				}
				if err := d.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := d.DropCaches(t.Context()); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(want))
				if _, err := d.ReadAt(got, base); err != nil || !bytes.Equal(got, want) {
					t.Errorf("after dropping the cache: %v, equal %v", err, bytes.Equal(got, want))
				}
				if _, err := d.WriteAt([]byte{1, 2}, size-1); !errors.Is(err, ErrTooSmall) {
					t.Errorf("write over the end: %v", err)
				}
				if n, err := d.ReadAt(make([]byte, 2), size-1); n != 1 || err == nil {
					t.Errorf("read over the end: %d, %v", n, err)
				}
			})
		}
	}
}

func TestVMExclusive(t *testing.T) {
	path := vmtest.RAMDisk(t)
	d := open(t, path, Options{Exclusive: true})
	_, err := Open(path, Options{Exclusive: true})
	if !errors.Is(err, ErrBusy) {
		t.Errorf("second exclusive open: %v", err)
	}
	uses, err := InUse(path)
	if err != nil || !slices.Equal(uses, []Use{{Kind: UseExclusive}}) {
		t.Errorf("in use: %v, %v", uses, err)
	}
	err = CheckWipeable(t.Context(), path)
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "claimed") {
		t.Errorf("check: %v", err)
	}
	if _, err := Open(path, Options{}); err != nil {
		t.Errorf("shared open: %v", err)
	}
	d.Close()
	if err := CheckWipeable(t.Context(), path); err != nil {
		t.Errorf("check when free: %v", err)
	}
}

// busy asserts that the device is busy for the reason.
func busy(t *testing.T, path, reason string) {
	t.Helper()
	uses, err := InUse(path)
	if err != nil || len(uses) != 1 || uses[0].String() != reason {
		t.Errorf("%s: in use: %q, %v, want %q", path, uses, err, reason)
	}
	err = CheckWipeable(t.Context(), path)
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), reason) {
		t.Errorf("%s: check: %v, want %q", path, err, reason)
	}
}

func TestVMMounted(t *testing.T) {
	vmtest.Require(t, "ext4")
	path, point := vmtest.RAMDisk(t), filepath.Join(t.TempDir(), "a mount")
	vmtest.Run(t, "mke2fs", "-q", "-t", "ext4", "-L", "data", path)
	err := CheckWipeable(t.Context(), path)
	var se *SignatureError
	if !errors.As(err, &se) || len(se.Signatures) != 1 || se.Signatures[0].Type != "ext4" || se.Signatures[0].Label != "data" {
		t.Errorf("check: %v", err)
	}
	if err := os.Mkdir(point, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(path, point, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	busy(t, path, "mounted on "+point)
	if err := unix.Unmount(point, 0); err != nil {
		t.Fatal(err)
	}
}

func TestVMPartitionMounted(t *testing.T) {
	vmtest.Require(t, "ext4")
	path, point := vmtest.Disk(t), t.TempDir()
	mbr := make([]byte, 512)
	copy(mbr[446:], "\x00\x00\x00\x00\x83\x00\x00\x00\x00\x08\x00\x00\x00\x00\x01\x00") // 65536 sectors from 2048 on
	mbr[510], mbr[511] = 0x55, 0xaa
	d := open(t, path, Options{Write: true})
	reread := func(table []byte) {
		t.Helper()
		if _, err := d.WriteAt(table, 0); err != nil {
			t.Fatal(err)
		}
		if err := d.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := d.ioctl("reread", unix.BLKRRPART, nil); err != nil {
			t.Fatal(err)
		}
	}
	reread(mbr)
	defer reread(make([]byte, 512))
	vmtest.Run(t, "mke2fs", "-q", "-t", "ext4", path+"1")
	if err := unix.Mount(path+"1", point, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(point, 0)
	name := filepath.Base(path) + "1"
	busy(t, path, "partition "+name+" mounted on "+point)
	busy(t, path+"1", "mounted on "+point)
	major, minor, _ := Resolve(path)
	if parts, err := (SysFS{}).Partitions(major, minor); err != nil || len(parts) != 1 || parts[0].Name != name {
		t.Errorf("partitions %v, %v", parts, err)
	}
	if found, err := d.Probe(t.Context()); err != nil || len(found) != 1 || found[0].Type != "dos" {
		t.Errorf("signatures %v, %v", found, err)
	}
}

func TestVMSwap(t *testing.T) {
	path := vmtest.RAMDisk(t)
	d := open(t, path, Options{Write: true})
	size, _ := d.Size()
	page := os.Getpagesize()
	h := make([]byte, page)
	// include/linux/swap.h: union swap_header, in the machine's byte order.
	*(*uint32)(unsafe.Pointer(&h[1024])) = 1
	*(*uint32)(unsafe.Pointer(&h[1028])) = uint32(size/int64(page)) - 1
	copy(h[page-10:], "SWAPSPACE2")
	if _, err := d.WriteAt(h, 0); err != nil {
		t.Fatal(err)
	}
	d.Close()
	cpath, _ := unix.BytePtrFromString(path)
	if _, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(cpath)), 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	busy(t, path, "swap area "+path)
	if _, _, errno := unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(cpath)), 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	if err := CheckWipeable(t.Context(), path); !errors.Is(err, ErrSignature) {
		t.Errorf("check after swapoff: %v", err)
	}
}

// TestVMHolder puts a device-mapper device on top, and writes through it: what
// it wrote must be seen below, though the two have caches of their own.
func TestVMHolder(t *testing.T) {
	vmtest.Require(t, "dm-mod")
	path := vmtest.RAMDisk(t)
	below := open(t, path, Options{})
	buf := make([]byte, 4096)
	if _, err := below.ReadAt(buf, 0); err != nil { // fill the cache with zeros
		t.Fatal(err)
	}
	vmtest.Run(t, "dmsetup", "create", "blockdev-holder", "--table", "0 8192 linear "+path+" 0")
	removed := false
	defer func() {
		if !removed {
			vmtest.Run(t, "dmsetup", "remove", "blockdev-holder")
		}
	}()
	const node = "/dev/mapper/blockdev-holder"
	ma, mi, err := Resolve(node)
	if err != nil {
		t.Fatal(err)
	}
	var s SysFS
	if name, err := s.DMName(ma, mi); name != "blockdev-holder" || err != nil {
		t.Errorf("name %q, %v", name, err)
	}
	major, minor, _ := Resolve(path)
	if slaves, err := s.Slaves(ma, mi); err != nil || len(slaves) != 1 || slaves[0].Major != major || slaves[0].Minor != minor {
		t.Errorf("slaves %v, %v", slaves, err)
	}
	kernel, _ := s.Name(ma, mi)
	busy(t, path, "held by "+Relative{kernel, ma, mi}.String()+" blockdev-holder")

	top := open(t, node, Options{Write: true})
	if _, err := top.WriteAt([]byte("SWAPSPACE2"), 4086); err != nil {
		t.Fatal(err)
	}
	if err := top.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	top.Close()
	vmtest.Run(t, "dmsetup", "remove", "blockdev-holder")
	removed = true
	if err := CheckWipeable(t.Context(), path); !errors.Is(err, ErrSignature) {
		t.Errorf("what was written through the mapping is not seen: %v", err)
	}
	if err := below.DropCaches(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := below.ReadAt(buf, 0); err != nil || string(buf[4086:]) != "SWAPSPACE2" {
		t.Errorf("cached read after DropCaches: %q, %v", buf[4086:], err)
	}
}

// TestVMNotThere opens a node without a device behind it.
func TestVMNotThere(t *testing.T) {
	vmtest.Require(t)
	const node = "/dev/blockdev-test-node" // /tmp is mounted nodev
	defer os.Remove(node)
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(254, 1000))); err != nil {
		t.Fatal(err)
	}
	_, err := Open(node, Options{})
	if !errors.Is(err, os.ErrNotExist) || !errors.Is(err, syscall.ENXIO) {
		t.Errorf("open: %v", err)
	}
	if ma, mi, err := Resolve(node); ma != 254 || mi != 1000 || err != nil {
		t.Errorf("resolve: %d:%d, %v", ma, mi, err)
	}
}

// TestVMLoopImage finds the loop device that an image backs.
func TestVMLoopImage(t *testing.T) {
	vmtest.Require(t, "loop")
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	loop := open(t, "/dev/loop7", Options{Write: true})
	set := func(req uint, arg uintptr) {
		t.Helper()
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, loop.f.Fd(), uintptr(req), arg); errno != 0 {
			t.Fatal(errno)
		}
	}
	set(unix.LOOP_SET_FD, f.Fd())
	defer set(unix.LOOP_CLR_FD, 0)
	busy(t, path, "backs loop7")
}

// TestVMPhysicalVolume compares with what LVM wrote.
func TestVMPhysicalVolume(t *testing.T) {
	vmtest.Require(t, "dm-mod")
	path := vmtest.RAMDisk(t)
	vmtest.Run(t, "lvm", "pvcreate", "-qq", path)
	uuid := strings.TrimSpace(vmtest.Output(t, "lvm", "pvs", "--noheadings", "-o", "pv_uuid", path))
	d := open(t, path, Options{Direct: true})
	found, err := d.Probe(t.Context())
	if err != nil || len(found) != 1 || found[0].Type != "LVM2_member" || found[0].UUID != uuid || found[0].Damaged {
		t.Errorf("%v, %v, want uuid %s", found, err, uuid)
	}
}
