// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/linuxblock/linuxblock/internal/cmd/vmtest/wire"
)

// The initramfs is four archives one after the other: the base with the links
// that a merged /usr needs, the tools, the modules, and what belongs to this
// run. Tools and modules come from the cache.

// baseArchive writes what every system has.
func baseArchive(w io.Writer) error {
	c := newCpioWriter(w)
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		c.Dir("usr/"+d, 0o755)
		c.Symlink(d, "usr/"+d)
	}
	for _, d := range []string{"dev", "proc", "sys", "run", "tmp", "mnt", "root", "etc", "var/tmp", "var/lib", "var/log", "var/cache"} {
		c.Dir(d, 0o755)
	}
	c.Symlink("var/run", "/run")
	c.Symlink("var/lock", "/run/lock")
	// The kernel opens it for init before devtmpfs is mounted.
	c.Char("dev/console", 0o600, 5, 1)
	c.Char("dev/null", 0o666, 1, 3)
	c.Bytes("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"))
	c.Bytes("etc/group", 0o644, []byte(groupFile()))
	c.Bytes("etc/hosts", 0o644, []byte("127.0.0.1 localhost vmtest\n::1 localhost\n10.77.0.1 peer0\n10.77.0.2 peer1\n"))
	c.Bytes("etc/nsswitch.conf", 0o644, []byte("passwd: files\ngroup: files\nhosts: files\n"))
	c.Bytes("etc/machine-id", 0o444, []byte("6c696e7578626c6f636b766d74657374\n"))
	c.Symlink("etc/mtab", "/proc/self/mounts")
	return c.Close()
}

// groupFile has the groups that udev's rules name: udevd complains about each
// that is missing.
func groupFile() string {
	names := []struct {
		name string
		gid  int
	}{
		{"root", 0}, {"tty", 5}, {"disk", 6}, {"lp", 7}, {"kmem", 15}, {"dialout", 20}, {"cdrom", 24}, {"floppy", 25},
		{"tape", 26}, {"audio", 29}, {"video", 44}, {"users", 100}, {"input", 101}, {"sgx", 102}, {"kvm", 103},
		{"render", 104}, {"systemd-journal", 105}, {"clock", 106}, {"plugdev", 46}, {"netdev", 107}, {"nogroup", 65534},
	}
	var b strings.Builder
	for _, g := range names {
		fmt.Fprintf(&b, "%s:x:%d:\n", g.name, g.gid)
	}
	return b.String()
}

// runArchive writes init, the configuration, the test binaries and the
// module's source tree. It fills in the places of the binaries inside.
func runArchive(w io.Writer, guest string, config wire.Config, list []testPackage, root string) error {
	c := newCpioWriter(w)
	if err := addFile(c, wire.GuestPath, 0o755, guest); err != nil {
		return err
	}
	c.Symlink("init", wire.GuestPath)
	c.Symlink("usr/sbin/modprobe", wire.GuestPath)
	for _, p := range list {
		if p.Binary == "" {
			continue
		}
		inside, err := placeOf(root, p)
		if err != nil {
			return err
		}
		config.Packages = append(config.Packages, inside)
		if err := addFile(c, inside.Binary, 0o755, p.Binary); err != nil {
			return err
		}
	}
	data, err := json.Marshal(config)
	if err != nil {
		return err
	}
	c.Bytes(wire.ConfigPath, 0o644, data)
	if root != "" {
		if err := addTree(c, wire.SourceDir, root); err != nil {
			return err
		}
	}
	return c.Close()
}

// placeOf returns where a package's folder and test binary are inside.
func placeOf(root string, p testPackage) (wire.Package, error) {
	rel, err := filepath.Rel(root, p.Dir)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return wire.Package{}, fmt.Errorf("%s lies outside its module %s", p.Dir, root)
	}
	name := strings.ReplaceAll(filepath.ToSlash(rel), "/", "-")
	if rel == "." {
		name = path.Base(p.ImportPath)
	}
	return wire.Package{
		ImportPath: p.ImportPath,
		Dir:        path.Join(wire.SourceDir, filepath.ToSlash(rel)),
		Binary:     path.Join(wire.BinDir, name+".test"),
	}, nil
}

// addTree copies the module's source tree: tests read testdata, and some
// parse the tree itself. Folders with a dot in front, as .git, stay out.
func addTree(c *cpioWriter, to, root string) error {
	c.Dir(to, 0o755)
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		// Someone may be editing the tree meanwhile: a file that is gone is
		// no error, and each is read before its size is written.
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil || rel == "." {
			return err
		}
		inside := path.Join(to, filepath.ToSlash(rel))
		switch {
		case d.IsDir():
			if strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			c.Dir(inside, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			c.Symlink(inside, target)
		case d.Type().IsRegular():
			data, err := os.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			perm := uint32(0o644)
			if info, err := d.Info(); err == nil {
				perm = uint32(info.Mode().Perm())
			}
			c.Bytes(inside, perm, data)
		}
		return c.err
	})
}

// concatenate writes files one after the other.
func concatenate(to string, parts ...string) error {
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	for _, p := range parts {
		in, err := os.Open(p)
		if err != nil {
			out.Close()
			return err
		}
		_, err = io.Copy(out, in)
		in.Close()
		if err != nil {
			out.Close()
			return err
		}
	}
	return out.Close()
}

func writeRun(to, guest string, config wire.Config, list []testPackage, root string) error {
	return writeAtomic(to, func(w io.Writer) error { return runArchive(w, guest, config, list, root) })
}

// writeInitrd makes an initramfs from its parts.
func writeInitrd(to, guest string, config wire.Config, list []testPackage, root, tools, modules string) error {
	base, run := to+".base", to+".run"
	if err := writeAtomic(base, baseArchive); err != nil {
		return err
	}
	defer os.Remove(base)
	if err := writeRun(run, guest, config, list, root); err != nil {
		return err
	}
	defer os.Remove(run)
	return concatenate(to, base, tools, modules, run)
}
