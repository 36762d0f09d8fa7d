// SPDX-License-Identifier: MIT

package memlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tree is one view of mounts and sysfs.
type tree struct {
	System
	mounts []mount
}

func (s System) tree() (*tree, error) {
	data, err := s.read("self/mountinfo")
	if err != nil {
		return nil, err
	}
	list, err := parseMountinfo(data)
	if err != nil {
		return nil, fail("needs", s.proc("self/mountinfo"), err)
	}
	return &tree{s, list}, nil
}

// walk collects the devices below one thing.
type walk struct {
	*tree
	devs    map[Dev]bool
	paths   map[string]bool // against loops: an overlay on itself, a loop file on its own loop device
	unknown []string
}

func (t *tree) walk() *walk {
	return &walk{tree: t, devs: map[Dev]bool{}, paths: map[string]bool{}}
}

func (w *walk) need(what, path string) Need {
	n := Need{What: what, Path: path, Unknown: strings.Join(w.unknown, "; ")}
	for d := range w.devs {
		n.Devices = append(n.Devices, d)
	}
	slices.SortFunc(n.Devices, func(a, b Dev) int {
		if a.Major != b.Major {
			return int(int64(a.Major) - int64(b.Major))
		}
		return int(int64(a.Minor) - int64(b.Minor))
	})
	return n
}

func (w *walk) lost(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(w.unknown, s) {
		w.unknown = append(w.unknown, s)
	}
}

// nodeOrFile follows a path that is a block node or lies in a file system.
func (w *walk) nodeOrFile(p string) {
	if st, err := w.stat(p); err == nil && st.Block {
		w.device(st.Rdev)
		return
	}
	w.path(p)
}

// path follows a file or folder to the devices of its file system.
func (w *walk) path(p string) {
	if !filepath.IsAbs(p) {
		abs, err := filepath.Abs(p)
		if err != nil {
			w.lost("%s: %v", p, err)
			return
		}
		p = abs
	}
	st, err := w.stat(p)
	for errors.Is(err, fs.ErrNotExist) && p != filepath.Dir(p) {
		p = filepath.Dir(p)
		st, err = w.stat(p)
	}
	if err != nil {
		w.lost("%s: %v", p, err)
		return
	}
	if real, err := w.resolve(p); err == nil {
		p = real
	}
	if w.paths[p] {
		return
	}
	w.paths[p] = true
	m, ok := mountOf(w.mounts, p)
	if st.Dev.Major != 0 {
		// The file system says its device itself.
		w.device(st.Dev)
		if ok && m.dev == st.Dev {
			w.sideDevices(m)
		}
		return
	}
	if !ok {
		w.lost("%s: no mount", p)
		return
	}
	w.mount(m, p)
}

// sideDevices follows journals and the like outside a file system's main device.
func (w *walk) sideDevices(m mount) {
	for _, key := range [...]string{"logdev", "rtdev", "journal_path"} {
		for _, p := range m.values(key) {
			w.nodeOrFile(p)
		}
	}
}

// inMemory are file systems without a device or a peer. Their pages may be in
// swap, which is listed on its own.
var inMemory = []string{"tmpfs", "ramfs", "devtmpfs", "rootfs", "proc", "sysfs", "devpts", "cgroup", "cgroup2",
	"securityfs", "debugfs", "tracefs", "configfs", "bpf", "mqueue", "hugetlbfs", "pstore", "efivarfs"}

// remote are file systems whose data comes over a network or from the host of
// a virtual machine, so no device here carries it.
var remote = []string{"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "afs", "fuse.sshfs"}

// mount follows a file system whose st_dev is no block device.
func (w *walk) mount(m mount, p string) {
	switch {
	case slices.Contains(inMemory, m.fstype), slices.Contains(remote, m.fstype):
		return
	case m.fstype == "overlay":
		w.overlay(m, p)
		return
	case m.fstype == "btrfs":
		w.btrfs(m)
		return
	}
	// bcachefs names all its devices in the source, joined by colons.
	found := false
	for _, part := range strings.Split(m.source, ":") {
		if st, err := w.stat(part); strings.HasPrefix(part, "/") && err == nil && st.Block {
			w.device(st.Rdev)
			found = true
		}
	}
	if !found {
		w.lost("%s on %s: devices of %s are not known", m.fstype, m.point, m.source)
	}
	w.sideDevices(m)
}

// overlay follows the folders it is made of. Those of a container lie outside
// its mounts and cannot be followed.
func (w *walk) overlay(m mount, p string) {
	n := 0
	var dirs []string
	for _, v := range m.values("lowerdir") {
		dirs = append(dirs, splitEscaped(v, ':')...)
	}
	// lowerdir+ and datadir+ name one folder each since Linux 6.5.
	for _, key := range [...]string{"lowerdir+", "datadir+", "upperdir"} {
		dirs = append(dirs, m.values(key)...)
	}
	for _, dir := range dirs {
		if dir == "" {
			continue // "::" starts the data-only layers
		}
		n++
		dir = dropBackslash(dir)
		if _, err := w.stat(dir); err != nil || !filepath.IsAbs(dir) {
			w.lost("overlay on %s: folder %s cannot be seen", m.point, dir)
			continue
		}
		w.path(dir)
	}
	if n == 0 {
		w.lost("overlay on %s: its folders are not known", m.point)
	}
}

// btrfs follows all devices of the file system that has the source as a member:
// /sys/fs/btrfs/<fsid>/devices/<kernel name>.
func (w *walk) btrfs(m mount) {
	st, err := w.stat(m.source)
	if err != nil || !st.Block {
		w.lost("btrfs on %s: source %s is no device", m.point, m.source)
		return
	}
	w.device(st.Rdev)
	all, _ := filepath.Glob(w.sys("fs/btrfs/*/devices"))
	for _, dir := range all {
		items, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		var devs []Dev
		for _, item := range items {
			if d, ok := w.named(item.Name()); ok {
				devs = append(devs, d)
			} else {
				w.lost("btrfs on %s: member %s is not known", m.point, item.Name())
			}
		}
		if slices.Contains(devs, st.Rdev) {
			for _, d := range devs {
				w.device(d)
			}
			return
		}
	}
	w.lost("btrfs on %s: its members are not known", m.point)
}

// named finds a device by the kernel's name for it.
func (w *walk) named(name string) (Dev, bool) {
	data, err := os.ReadFile(w.sys("class/block/" + name + "/dev"))
	if err != nil {
		return Dev{}, false
	}
	return parseDev(string(data))
}

// device adds a device and what lies below it.
func (w *walk) device(d Dev) {
	if w.devs[d] {
		return
	}
	w.devs[d] = true
	dir, err := filepath.EvalSymlinks(w.sys("dev/block/" + d.String()))
	if err != nil {
		w.lost("device %s is not in sysfs", d)
		return
	}
	name := filepath.Base(dir)
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		if data, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "dev")); err == nil {
			if disk, ok := parseDev(string(data)); ok {
				w.device(disk)
				return
			}
		}
		w.lost("disk of partition %s is not known", name)
		return
	}
	slaves, err := os.ReadDir(filepath.Join(dir, "slaves"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.lost("%s: %v", name, cause(err))
	}
	for _, s := range slaves {
		if low, ok := w.named(s.Name()); ok {
			w.device(low)
		} else {
			w.lost("%s lies on %s, which is not known", name, s.Name())
		}
	}
	for _, file := range [...]string{"loop/backing_file", "backing_dev"} { // loop, zram
		data, err := os.ReadFile(filepath.Join(dir, file))
		p := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), " (deleted)")
		if err == nil && strings.HasPrefix(p, "/") {
			w.nodeOrFile(p)
		}
	}
	if strings.HasPrefix(name, "drbd") && len(slaves) == 0 {
		// DRBD links no holder, its lower device is told over netlink only.
		w.lost("lower device of %s is not known", name)
	}
}
