// SPDX-License-Identifier: MIT

package main

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// toolsVersion changes when the same packages make a different archive.
const toolsVersion = "tools-2"

// What a closure of dependencies drags in for maintainer scripts, which are
// never run here. A package that is named in -tools is kept all the same.
var scriptPackages = []string{
	"adduser", "base-files", "base-passwd", "cdebconf", "debconf", "debianutils", "dpkg", "gcc-*-base",
	"init-system-helpers", "libdebconfclient0", "liblocale-gettext-perl", "libpam-modules", "libpam-modules-bin",
	"libpam-runtime", "libsemanage*", "libtext-*", "lsb-base", "passwd", "perl-base", "sensible-utils", "sysv-rc",
	"sysvinit-utils", "tar", "tzdata", "ucf", "libaudit-common", "logsave", "libc-l10n", "locales", "login*",
	"mawk", "systemd-sysv", "linux-base*", "initramfs-tools*", "dracut*", "kmod",
}

// Folders that no test reads. The hardware database is 10 MB of text that
// only a postinst script would compile.
var uselessFolders = []string{
	"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian", "usr/share/bug",
	"usr/share/bash-completion", "usr/share/zsh", "usr/share/initramfs-tools", "usr/share/doc-base",
	"usr/lib/udev/hwdb.d", "usr/lib/udev/hwdb.bin", "usr/share/pixmaps", "usr/share/applications", "usr/share/i18n",
	"usr/share/zoneinfo", "usr/lib/x86_64-linux-gnu/gconv", "usr/share/polkit-1", "usr/share/dbus-1",
}

// toolRoot returns a cpio archive with the files of the named packages of the
// suite and of everything they depend on: with their own libc, so that the
// tools of any suite run under the kernel of any suite.
func toolRoot(ctx context.Context, cache string, apt *aptRoot, names []string) (string, error) {
	list, err := apt.solve(ctx, names)
	if err != nil {
		return "", err
	}
	list = slices.DeleteFunc(list, func(p debPackage) bool {
		return !slices.Contains(names, p.Name) && slices.ContainsFunc(scriptPackages, func(s string) bool {
			ok, _ := path.Match(s, p.Name)
			return ok
		})
	})
	key := []string{toolsVersion}
	for _, p := range list {
		key = append(key, p.File)
	}
	file := filepath.Join(cache, "tools", apt.suite+"-"+hashOf(key...)+".cpio")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	debs, err := apt.fetch(ctx, list)
	if err != nil {
		return "", err
	}
	defer apt.log.step("pack %d packages of %s", len(debs), apt.suite)()
	return file, writeAtomic(file, func(w io.Writer) error {
		c := newCpioWriter(w)
		for _, deb := range debs {
			if err := walkDeb(ctx, deb, func(h *tar.Header, r io.Reader) error {
				addTarEntry(c, h, r)
				return c.err
			}); err != nil {
				return err
			}
		}
		return c.Close()
	})
}

func addTarEntry(c *cpioWriter, h *tar.Header, r io.Reader) {
	name := usrMerge(h.Name)
	if name == "usr/bin" || name == "usr/sbin" || slices.ContainsFunc(uselessFolders, func(d string) bool {
		return name == d || strings.HasPrefix(name, d+"/")
	}) {
		return
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if name != h.Name && !strings.Contains(h.Name, "/") {
			return // /bin and so on: links, made by the base archive
		}
		c.Dir(name, h.FileInfo().Mode().Perm())
	case tar.TypeReg:
		c.File(name, uint32(h.Mode), h.Size, r)
	case tar.TypeSymlink:
		c.Symlink(name, h.Linkname)
	case tar.TypeLink:
		// A second name for a file of the same package; as a symbolic link
		// it does the same for a program.
		c.Symlink(name, "/"+usrMerge(strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")))
	}
}

// writeAtomic writes a file that is either complete or not there.
func writeAtomic(name string, f func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	err = f(tmp)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}
