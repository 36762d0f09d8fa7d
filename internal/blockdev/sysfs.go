// SPDX-License-Identifier: MIT

package blockdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/linuxblock/linuxblock"
)

// SysFS looks block devices up by number, without opening them. The zero value
// is the running system; tests set Root to a fixture tree.
type SysFS struct {
	Root string // where sysfs is mounted; "" means /sys
}

func (s SysFS) root() string {
	if s.Root == "" {
		return "/sys"
	}
	return s.Root
}

// FormatNumber prints a device number as the kernel does: "254:3".
func FormatNumber(major, minor uint32) string {
	return strconv.FormatUint(uint64(major), 10) + ":" + strconv.FormatUint(uint64(minor), 10)
}

// ParseNumber reads "254:3". Only plain decimal numbers are taken, within the
// kernel's 12 and 20 bits (include/linux/kdev_t.h).
func ParseNumber(s string) (major, minor uint32, err error) {
	ma, mi, ok := strings.Cut(s, ":")
	if ok {
		a, erra := strconv.ParseUint(ma, 10, 32)
		i, erri := strconv.ParseUint(mi, 10, 32)
		if erra == nil && erri == nil && a < 1<<12 && i < 1<<20 {
			return uint32(a), uint32(i), nil
		}
	}
	return 0, 0, errorf("parse", s, syscall.EINVAL, "want major:minor")
}

// Dir is the device's folder below /sys/devices, by way of /sys/dev/block.
// fs.ErrNotExist when the kernel has no such device.
func (s SysFS) Dir(major, minor uint32) (string, error) {
	number := FormatNumber(major, minor)
	dir, err := filepath.EvalSymlinks(filepath.Join(s.root(), "dev", "block", number))
	if err != nil {
		return "", newError("look up", number, err)
	}
	return dir, nil
}

// Name is the kernel's name of the device: "sda1", "dm-3".
func (s SysFS) Name(major, minor uint32) (string, error) {
	dir, err := s.Dir(major, minor)
	if err != nil {
		return "", err
	}
	return kernelName(filepath.Base(dir)), nil
}

// kernelName undoes sysfs's spelling: a '/' in a disk's name (cciss/c0d0) is
// '!' there (lib/kobject.c).
func kernelName(base string) string { return strings.ReplaceAll(base, "!", "/") }

// attr reads one attribute file of a device.
func (s SysFS) attr(major, minor uint32, name string) (string, error) {
	number := FormatNumber(major, minor)
	// The kernel follows the link; to do it here would cost a call for each
	// part of the path.
	b, err := os.ReadFile(filepath.Join(s.root(), "dev", "block", number, filepath.FromSlash(name)))
	if err != nil {
		return "", errorf("read "+name, number, err, "sysfs")
	}
	return strings.TrimSuffix(string(b), "\n"), nil
}

func (s SysFS) number(major, minor uint32, name string) (uint64, error) {
	text, err := s.attr(major, minor, name)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, errorf("read "+name, FormatNumber(major, minor), syscall.EINVAL, "sysfs says %q", text)
	}
	return v, nil
}

// Size is the device's size. Sysfs counts 512-byte sectors whatever the
// logical sector size (block/genhd.c: part_size_show).
func (s SysFS) Size(major, minor uint32) (linuxblock.Sectors, error) {
	v, err := s.number(major, minor, "size")
	return linuxblock.Sectors(v), err
}

// ReadOnly tells whether the kernel marks the device read-only.
func (s SysFS) ReadOnly(major, minor uint32) (bool, error) {
	v, err := s.number(major, minor, "ro")
	return v != 0, err
}

// DiskSeq is the number of this life of the disk: it never repeats within one
// boot, while device numbers and names do. Linux 5.15 and newer, whole disks
// only; else errors.ErrUnsupported.
func (s SysFS) DiskSeq(major, minor uint32) (uint64, error) {
	v, err := s.number(major, minor, "diskseq")
	if errors.Is(err, fs.ErrNotExist) {
		if _, derr := s.Dir(major, minor); derr == nil {
			return 0, errorf("read diskseq", FormatNumber(major, minor), errors.ErrUnsupported, "sysfs has none")
		}
	}
	return v, err
}

// DMName is the device-mapper name, "" for a device of another driver.
func (s SysFS) DMName(major, minor uint32) (string, error) { return s.dm(major, minor, "dm/name") }

// DMUUID is the device-mapper uuid, "" for a device of another driver or
// without one.
func (s SysFS) DMUUID(major, minor uint32) (string, error) { return s.dm(major, minor, "dm/uuid") }

func (s SysFS) dm(major, minor uint32, attr string) (string, error) {
	dir, err := s.Dir(major, minor)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "dm")); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return s.attr(major, minor, attr)
}

// Relative is a neighbour of a device: a holder, a slave, a partition.
type Relative struct {
	Name         string // kernel name, "dm-3"
	Major, Minor uint32
}

// String prints "dm-3 (254:3)".
func (r Relative) String() string {
	return fmt.Sprintf("%s (%s)", r.Name, FormatNumber(r.Major, r.Minor))
}

// Holders are the devices that are stacked on top of this one, sorted by name.
func (s SysFS) Holders(major, minor uint32) ([]Relative, error) {
	return s.links(major, minor, "holders")
}

// Slaves are the devices that this one is stacked on, sorted by name.
func (s SysFS) Slaves(major, minor uint32) ([]Relative, error) {
	return s.links(major, minor, "slaves")
}

// links reads a folder of symbolic links to devices. A missing folder is an
// empty one: partitions have no slaves.
func (s SysFS) links(major, minor uint32, sub string) ([]Relative, error) {
	dir, err := s.Dir(major, minor)
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, sub)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, errorf("read "+sub, FormatNumber(major, minor), err, "sysfs")
	}
	var list []Relative
	for _, e := range entries {
		r, err := relative(filepath.Join(dir, e.Name()), e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // went away meanwhile
		}
		if err != nil {
			return nil, errorf("read "+sub, FormatNumber(major, minor), err, "sysfs")
		}
		list = append(list, r)
	}
	return list, nil
}

// Partitions are the partitions of a whole disk, sorted by name.
func (s SysFS) Partitions(major, minor uint32) ([]Relative, error) {
	dir, err := s.Dir(major, minor)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, errorf("read partitions", FormatNumber(major, minor), err, "sysfs")
	}
	var list []Relative
	for _, e := range entries {
		sub := filepath.Join(dir, e.Name())
		if !e.IsDir() {
			continue
		}
		if _, err := os.Stat(filepath.Join(sub, "partition")); err != nil {
			continue
		}
		r, err := relative(sub, e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, errorf("read partitions", FormatNumber(major, minor), err, "sysfs")
		}
		list = append(list, r)
	}
	return list, nil
}

func relative(dir, base string) (Relative, error) {
	b, err := os.ReadFile(filepath.Join(dir, "dev"))
	if err != nil {
		return Relative{}, err
	}
	major, minor, err := ParseNumber(strings.TrimSpace(string(b)))
	if err != nil {
		return Relative{}, err
	}
	return Relative{Name: kernelName(base), Major: major, Minor: minor}, nil
}
