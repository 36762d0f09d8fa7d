// SPDX-License-Identifier: MIT

package vmtest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/internal/vmtest"
	"github.com/linuxblock/linuxblock/internal/vmtest/kmod"
)

func TestRequire(t *testing.T) {
	vmtest.Require(t, "dm-raid", "dm_snapshot", "brd", "ext4", "crypto-sha256")
	if !vmtest.InVM() {
		t.Fatal("went on outside the VM")
	}
	data, err := os.ReadFile("/proc/modules")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"dm_raid ", "dm_snapshot "} {
		if !bytes.Contains(data, []byte("\n"+m)) && !bytes.HasPrefix(data, []byte(m)) {
			t.Errorf("%sis not in /proc/modules", m)
		}
	}
}

func TestLoadModule(t *testing.T) {
	vmtest.Require(t)
	t.Run("with parameters", func(t *testing.T) {
		vmtest.LoadModule(t, "null_blk", "nr_devices=1 gb=1")
		if _, err := os.Stat("/sys/block/nullb0"); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat("/sys/block/nullb0"); err == nil {
		t.Error("null_blk was not unloaded")
	}
}

// The kernel calls /sbin/modprobe for a dm target's name.
func TestAutoload(t *testing.T) {
	disk := vmtest.RAMDisk(t)
	l, err := kmod.Open()
	if err != nil {
		t.Fatal(err)
	}
	if l.Loaded("dm_delay") {
		if err := kmod.Unload("dm_delay"); err != nil {
			t.Fatal(err)
		}
	}
	vmtest.Run(t, "dmsetup", "create", "vmtest-autoload", "--noudevsync", "--table", "0 2048 delay "+disk+" 0 0")
	defer vmtest.Run(t, "dmsetup", "remove", "--noudevsync", "vmtest-autoload")
	if !l.Loaded("dm_delay") {
		t.Error("dm-delay is not loaded")
	}
}

func TestCommand(t *testing.T) {
	out := vmtest.Run(t, "dmsetup", "version")
	if !strings.Contains(out, "Driver version:") {
		t.Errorf("dmsetup version: %q", out)
	}
	if out := vmtest.Output(t, "lvm", "version"); !strings.Contains(out, "LVM version:") {
		t.Errorf("lvm version: %q", out)
	}
}

func TestWorkingDirectory(t *testing.T) {
	vmtest.Require(t)
	for _, f := range []string{"vm_test.go", "../../go.mod", "kmod/index.go"} {
		if _, err := os.Stat(f); err != nil {
			t.Error(err)
		}
	}
}

func TestDisksAreZeroedAndExclusive(t *testing.T) {
	vmtest.Require(t)
	check := func(t *testing.T, disk string) {
		t.Helper()
		f, err := os.OpenFile(disk, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		buf := make([]byte, 1<<20)
		for _, off := range []int64{0, 16 << 20, 31 << 20} {
			if _, err := f.ReadAt(buf, off); err != nil {
				t.Fatal(err)
			}
			if len(bytes.TrimLeft(buf, "\x00")) != 0 {
				t.Fatalf("%s is not zero at %d", disk, off)
			}
			if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, len(buf)), off); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		t.Run("ram", func(t *testing.T) {
			seen := make(map[string]bool)
			for _, d := range append(vmtest.RAMDisks(t, 3), vmtest.RAMDisk(t)) {
				if seen[d] {
					t.Errorf("%s was handed out twice", d)
				}
				seen[d] = true
				check(t, d)
			}
		})
		t.Run("disk", func(t *testing.T) { check(t, vmtest.Disk(t)) })
	}
}

// A cookie is completed only if udevd runs dmsetup's rules, and these call
// dmsetup udevcomplete.
func TestUdevd(t *testing.T) {
	disk := vmtest.RAMDisk(t)
	for round := range 2 {
		if _, err := os.Stat("/run/udev/control"); err == nil {
			t.Fatal("udevd seems to run before it was started")
		}
		t.Run("running", func(t *testing.T) {
			vmtest.StartUdevd(t)
			vmtest.Run(t, "dmsetup", "create", "vmtest-udev", "--table", "0 2048 linear "+disk+" 0")
			defer func() {
				vmtest.Run(t, "dmsetup", "remove", "vmtest-udev")
				if out := vmtest.Run(t, "dmsetup", "udevcookies"); strings.Contains(out, "0xd4d") {
					t.Errorf("a cookie is left:\n%s", out)
				}
			}()
			target, err := os.Readlink("/dev/mapper/vmtest-udev")
			if err != nil || !strings.HasPrefix(target, "../dm-") {
				t.Errorf("round %d: /dev/mapper/vmtest-udev: %q, %v; want a link, as udevd's rules make it", round, target, err)
			}
			out := vmtest.Run(t, "udevadm", "info", "/dev/mapper/vmtest-udev")
			if !strings.Contains(out, "DM_NAME=vmtest-udev") {
				t.Errorf("udev's database:\n%s", out)
			}
		})
	}
	links, _ := filepath.Glob("/dev/disk/*")
	if len(links) > 0 {
		t.Errorf("left in /dev/disk: %v", links)
	}
	vmtest.Run(t, "dmsetup", "create", "vmtest-noudev", "--table", "0 2048 linear "+disk+" 0")
	defer vmtest.Run(t, "dmsetup", "remove", "vmtest-noudev")
	if _, err := os.Stat("/dev/mapper/vmtest-noudev"); err != nil {
		t.Errorf("without udevd, dmsetup makes the node itself: %v", err)
	}
}

func TestKernelVersion(t *testing.T) {
	vmtest.Require(t)
	if v := vmtest.KernelVersion(); !v.AtLeast(5, 10) {
		t.Errorf("KernelVersion() = %v, want 5.10 or newer", v)
	}
}

// lvm works with and without udevd.
func TestLVM(t *testing.T) {
	disk := vmtest.RAMDisk(t)
	volumes := func(t *testing.T) {
		vmtest.Run(t, "lvm", "pvcreate", "-y", disk)
		vmtest.Run(t, "lvm", "vgcreate", "vmtest", disk)
		vmtest.Run(t, "lvm", "lvcreate", "-y", "-n", "lv", "-l", "2", "vmtest")
		if _, err := os.Stat("/dev/vmtest/lv"); err != nil {
			t.Error(err)
		}
		vmtest.Run(t, "mkfs.ext4", "-q", "/dev/vmtest/lv")
		vmtest.Run(t, "lvm", "vgremove", "-y", "vmtest")
		vmtest.Run(t, "lvm", "pvremove", "-y", disk)
	}
	t.Run("without udevd", volumes)
	t.Run("with udevd", func(t *testing.T) {
		vmtest.StartUdevd(t)
		volumes(t)
	})
}

// What the kernel, lvm and drbdadm ask of modprobe.
func TestModprobe(t *testing.T) {
	vmtest.Require(t)
	vmtest.Run(t, "modprobe", "-q", "--", "dm-zero")
	l, err := kmod.Open()
	if err != nil {
		t.Fatal(err)
	}
	if !l.Loaded("dm_zero") {
		t.Error("dm-zero is not loaded")
	}
	vmtest.Run(t, "modprobe", "-r", "dm_zero")
	if l.Loaded("dm-zero") {
		t.Error("dm-zero is still loaded")
	}
	out, err := vmtest.Command(t, "modprobe", "no-such-module").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no_such_module") && !strings.Contains(string(out), "no-such-module") {
		t.Errorf("no-such-module: %v, %q", err, out)
	}
	if out, err := vmtest.Command(t, "modprobe", "-q", "no-such-module").CombinedOutput(); err == nil || len(out) > 0 {
		t.Errorf("-q no-such-module: %v, %q", err, out)
	}
}
