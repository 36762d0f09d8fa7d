// SPDX-License-Identifier: MIT

package blockdev

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// UseKind says in which way a device is taken.
type UseKind string

// The ways.
const (
	UseMount     UseKind = "mounted"   // a file system of it is mounted
	UseSwap      UseKind = "swap"      // it is an active swap area
	UseHolder    UseKind = "held"      // a block device is stacked on top
	UseLoop      UseKind = "loop"      // a file that backs a loop device
	UseExclusive UseKind = "exclusive" // claimed, and the reason is not visible from here
)

// Use is one reason why a device is taken.
type Use struct {
	Kind UseKind
	// Part is the partition that is taken, by its kernel name; empty when it
	// is the device itself.
	Part string
	By   string // mount point, swap file, holder; empty for UseExclusive
}

// String prints "mounted on /mnt", "partition sda1 held by dm-3 (254:3) vg-root".
func (u Use) String() string {
	var s string
	switch u.Kind {
	case UseMount:
		s = "mounted on " + u.By
	case UseSwap:
		s = "swap area " + u.By
	case UseHolder:
		s = "held by " + u.By
	case UseLoop:
		s = "backs " + u.By
	default:
		s = "claimed by the kernel or another process"
	}
	if u.Part != "" {
		s = "partition " + u.Part + " " + s
	}
	return s
}

// System is where the reasons for a device being taken are read. The zero
// value is the running system; tests set both roots to fixture trees.
type System struct {
	Sys  SysFS
	Proc string // where procfs is mounted; "" means /proc
}

func (s System) proc(name string) string {
	if s.Proc == "" {
		return filepath.Join("/proc", name)
	}
	return filepath.Join(s.Proc, name)
}

// InUse tells why the device or image at path is taken, on the running system.
// The list is empty when it is free. See System.InUse.
func InUse(path string) ([]Use, error) { return System{}.InUse(path) }

// InUse tells why the device or image at path is taken: it asks the kernel by
// an exclusive open, and looks for the names of the takers. A mount in another
// mount namespace, or another program's exclusive open, shows as UseExclusive.
// The answer may be outdated when it arrives; who needs certainty opens with
// Options.Exclusive and keeps the handle. The question itself claims the
// device for a moment, in which another exclusive open is refused.
func (s System) InUse(path string) ([]Use, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, newError("in use", path, err)
	}
	if st.Mode().IsRegular() {
		return s.fileUses(path, st)
	}
	major, minor, err := Resolve(path)
	if err != nil {
		return nil, err
	}
	uses, err := s.Uses(major, minor)
	if err != nil {
		return nil, err
	}
	d, err := Open(path, Options{Exclusive: true})
	switch {
	case err == nil:
		return uses, d.Close()
	case !errors.Is(err, ErrBusy):
		return uses, err
	case len(uses) == 0:
		uses = append(uses, Use{Kind: UseExclusive})
	}
	return uses, nil
}

// Uses lists the visible takers of a block device by its number, its
// partitions included, without opening it.
func (s System) Uses(major, minor uint32) ([]Use, error) {
	name, err := s.Sys.Name(major, minor)
	if err != nil {
		return nil, err
	}
	parts, err := s.Sys.Partitions(major, minor)
	if err != nil {
		return nil, err
	}
	mounts, err := s.mounts()
	if err != nil {
		return nil, err
	}
	swaps, err := s.swaps()
	if err != nil {
		return nil, err
	}
	var uses []Use
	self := Relative{Name: name, Major: major, Minor: minor}
	for i, r := range append([]Relative{self}, parts...) {
		part := ""
		if i > 0 {
			part = r.Name
		}
		number := FormatNumber(r.Major, r.Minor)
		for _, m := range mounts {
			if m.number == number || sameDevice(m.source, r) {
				uses = append(uses, Use{UseMount, part, m.point})
			}
		}
		for _, path := range swaps {
			if sameDevice(path, r) {
				uses = append(uses, Use{UseSwap, part, path})
			}
		}
		holders, err := s.Sys.Holders(r.Major, r.Minor)
		if err != nil {
			return nil, err
		}
		for _, h := range holders {
			by := h.String()
			if dm, err := s.Sys.DMName(h.Major, h.Minor); err == nil && dm != "" {
				by += " " + dm
			}
			uses = append(uses, Use{UseHolder, part, by})
		}
	}
	return uses, nil
}

// sameDevice tells whether the node at path stands for r. It covers file
// systems whose mounts carry an anonymous device number (btrfs: 0:N) and only
// name the node. A node that is gone under its name is compared by the name.
func sameDevice(path string, r Relative) bool {
	if !strings.HasPrefix(path, "/") {
		return false
	}
	if major, minor, err := Resolve(path); err == nil {
		return major == r.Major && minor == r.Minor
	}
	return path == "/dev/"+r.Name
}

// fileUses finds what takes a regular file: swap, and loop devices.
func (s System) fileUses(path string, st os.FileInfo) ([]Use, error) {
	var uses []Use
	swaps, err := s.swaps()
	if err != nil {
		return nil, err
	}
	for _, p := range swaps {
		if ps, err := os.Stat(p); err == nil && os.SameFile(st, ps) {
			uses = append(uses, Use{Kind: UseSwap, By: p})
		}
	}
	// drivers/block/loop.c: the attribute exists while a file is attached.
	names, err := filepath.Glob(filepath.Join(s.Sys.root(), "block", "*", "loop", "backing_file"))
	if err != nil {
		return nil, newError("in use", path, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, newError("in use", path, err)
		}
		backing := strings.TrimSuffix(string(b), "\n")
		if bs, err := os.Stat(backing); err == nil && os.SameFile(st, bs) {
			loop := filepath.Base(filepath.Dir(filepath.Dir(name)))
			uses = append(uses, Use{Kind: UseLoop, By: loop})
		}
	}
	return uses, nil
}

type mount struct {
	number string // major:minor as the kernel prints it
	point  string
	source string
}

func (s System) mounts() ([]mount, error) {
	f, err := os.Open(s.proc("self/mountinfo"))
	if err != nil {
		return nil, newError("read mountinfo", "", err)
	}
	defer f.Close()
	m, err := parseMountinfo(f)
	if err != nil {
		return nil, newError("read mountinfo", "", err)
	}
	return m, nil
}

// parseMountinfo reads the format of proc_pid_mountinfo(5): the third field is
// the device, the fifth the mount point; after any number of optional fields
// and a "-" come type and source.
func parseMountinfo(r io.Reader) ([]mount, error) {
	var list []mount
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) == 0 {
			continue
		}
		if len(f) < 6 {
			return nil, fmt.Errorf("unknown line %q", sc.Text())
		}
		m := mount{number: f[2], point: unescape(f[4])}
		for i := 6; i < len(f); i++ {
			if f[i] == "-" && i+2 < len(f) {
				m.source = unescape(f[i+2])
				break
			}
		}
		list = append(list, m)
	}
	return list, sc.Err()
}

// swaps lists the paths of the active swap areas.
func (s System) swaps() ([]string, error) {
	f, err := os.Open(s.proc("swaps"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a kernel without CONFIG_SWAP
	}
	if err != nil {
		return nil, newError("read swaps", "", err)
	}
	defer f.Close()
	list, err := parseSwaps(f)
	if err != nil {
		return nil, newError("read swaps", "", err)
	}
	return list, nil
}

// parseSwaps reads /proc/swaps: a header, then one line an area that starts
// with its escaped path (mm/swapfile.c: swap_show). The path of a removed file
// has "\040(deleted)" behind it.
func parseSwaps(r io.Reader) ([]string, error) {
	var list []string
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for first := true; sc.Scan(); first = false {
		f := strings.Fields(sc.Text())
		if first || len(f) == 0 {
			continue
		}
		list = append(list, strings.TrimSuffix(unescape(f[0]), " (deleted)"))
	}
	return list, sc.Err()
}

// unescape undoes the kernel's mangling of blanks and backslashes in paths:
// \040 and the like (fs/seq_file.c: mangle_path).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1], '3') && octal(s[i+2], '7') && octal(s[i+3], '7') {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c, last byte) bool { return c >= '0' && c <= last }
