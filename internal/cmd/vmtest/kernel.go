// SPDX-License-Identifier: MIT

package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// kernel is a kernel that is ready to boot: its image, and its modules with
// their index as a part of an initramfs.
type kernel struct {
	Release string
	Image   string // path of vmlinuz
	Modules string // path of the cpio archive
	Origin  string // for the person in front of the screen
}

// kernelVersion changes when the same kernel makes different files.
const kernelVersion = "kernel-2"

// suiteKernel fetches the newest kernel of a Debian suite.
func suiteKernel(ctx context.Context, cache string, apt *aptRoot, extra []string) (*kernel, error) {
	list, err := apt.solve(ctx, []string{"linux-image-amd64"})
	if err != nil {
		return nil, err
	}
	// Up to Debian 13 it is one package; later image, modules and the rest
	// are packages of their own, and linux-image only depends on them.
	list = slices.DeleteFunc(list, func(p debPackage) bool { return !kernelPackage.MatchString(p.Name) })
	if len(list) == 0 {
		return nil, fmt.Errorf("no kernel package in %s", apt.suite)
	}
	key := []string{kernelVersion, strings.Join(extra, ",")}
	for _, p := range list {
		key = append(key, p.File)
	}
	dir := filepath.Join(cache, "kernel", apt.suite+"-"+hashOf(key...))
	if k, err := loadKernel(dir); err == nil {
		return k, nil
	}
	debs, err := apt.fetch(ctx, list)
	if err != nil {
		return nil, err
	}
	k := &kernel{Origin: "Debian " + apt.suite + ", " + list[0].Version}
	return k, makeKernel(ctx, dir, k, extra, apt.log, func(tree string) error {
		for _, deb := range debs {
			if err := walkDeb(ctx, deb, func(h *tar.Header, r io.Reader) error { return extractKernelFile(tree, h, r) }); err != nil {
				return err
			}
		}
		return nil
	})
}

var kernelPackage = regexp.MustCompile(`^linux-(image|binary|modules|base)-[0-9]`)

// extractKernelFile writes what matters of a kernel package below tree:
// vmlinuz, and the folder of modules as "modules".
func extractKernelFile(tree string, h *tar.Header, r io.Reader) error {
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	name := usrMerge(h.Name)
	var to string
	switch {
	case path.Base(name) == "vmlinuz", strings.HasPrefix(name, "boot/vmlinuz-"):
		to = "vmlinuz"
	case strings.HasPrefix(name, "usr/lib/modules/"):
		release, rest, ok := strings.Cut(strings.TrimPrefix(name, "usr/lib/modules/"), "/")
		if !ok || !isModuleFile(rest) {
			return nil
		}
		to = filepath.Join("modules", release, filepath.FromSlash(rest))
	default:
		return nil
	}
	to = filepath.Join(tree, to)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

func isModuleFile(rest string) bool {
	base := path.Base(rest)
	return strings.Contains(base, ".ko") || base == "modules.builtin" || base == "modules.builtin.modinfo"
}

// directoryKernel uses a kernel from a folder: an unpacked kernel package, a
// kernel's build tree after "make modules_install INSTALL_MOD_PATH=folder" with
// vmlinuz or bzImage copied into it, or "/" for the machine's own.
func directoryKernel(ctx context.Context, cache, dir string, extra []string, log *tracer) (*kernel, error) {
	release, modules, err := findModules(dir)
	if err != nil {
		return nil, err
	}
	image, err := findImage(dir, release, modules)
	if err != nil {
		return nil, err
	}
	// The newest change of the image and of each folder of modules is what
	// the cache is valid for.
	key := []string{kernelVersion, dir, release, strings.Join(extra, ",")}
	info, err := os.Stat(image)
	if err != nil {
		return nil, err
	}
	key = append(key, info.ModTime().String(), fmt.Sprint(info.Size()))
	_ = filepath.WalkDir(modules, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			if info, err := d.Info(); err == nil {
				key = append(key, name, info.ModTime().String())
			}
		}
		return nil
	})
	cached := filepath.Join(cache, "kernel", "dir-"+hashOf(key...))
	if k, err := loadKernel(cached); err == nil {
		return k, nil
	}
	k := &kernel{Origin: dir}
	return k, makeKernel(ctx, cached, k, extra, log, func(tree string) error {
		if err := copyFile(filepath.Join(tree, "vmlinuz"), image); err != nil {
			return err
		}
		return filepath.WalkDir(modules, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(modules, name)
			if err != nil || !d.Type().IsRegular() || !isModuleFile(rel) {
				return err
			}
			return copyFile(filepath.Join(tree, "modules", release, rel), name)
		})
	})
}

// findModules returns the one folder lib/modules/<release> below dir.
func findModules(dir string) (release, modules string, err error) {
	for _, pattern := range []string{"lib/modules/*/kernel", "usr/lib/modules/*/kernel"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		switch len(found) {
		case 0:
		case 1:
			modules = filepath.Dir(found[0])
			return filepath.Base(modules), modules, nil
		default:
			return "", "", fmt.Errorf("-kernel %s: modules of %d kernels in it, want one", dir, len(found))
		}
	}
	return "", "", fmt.Errorf("-kernel %s: neither a Debian suite nor a folder with lib/modules/<release>/kernel", dir)
}

func findImage(dir, release, modules string) (string, error) {
	for _, p := range []string{
		filepath.Join(modules, "vmlinuz"), filepath.Join(dir, "boot", "vmlinuz-"+release),
		filepath.Join(dir, "vmlinuz-"+release), filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "bzImage"),
		filepath.Join(dir, "arch/x86/boot/bzImage"),
	} {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", fmt.Errorf("-kernel %s: no vmlinuz of %s in it", dir, release)
}

func copyFile(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

// makeKernel fills the cache folder dir for k. fill puts "vmlinuz" and
// "modules/<release>" into an empty folder.
func makeKernel(ctx context.Context, dir string, k *kernel, extra []string, log *tracer, fill func(tree string) error) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	tree := filepath.Join(tmp, "tree")
	done := log.step("unpack the kernel (%s)", k.Origin)
	err = fill(tree)
	done()
	if err != nil {
		return err
	}
	releases, err := os.ReadDir(filepath.Join(tree, "modules"))
	if err != nil || len(releases) != 1 {
		return fmt.Errorf("kernel (%s): want modules of one release: %v, %w", k.Origin, releases, err)
	}
	k.Release = releases[0].Name()
	if err := os.Rename(filepath.Join(tree, "vmlinuz"), filepath.Join(tmp, "vmlinuz")); err != nil {
		return fmt.Errorf("kernel (%s): no image: %w", k.Origin, err)
	}
	done = log.step("index the modules of %s", k.Release)
	err = packModules(ctx, filepath.Join(tree, "modules", k.Release), k.Release, filepath.Join(tmp, "modules.cpio"), extra)
	done()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(tree); err != nil {
		return err
	}
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "kernel.json"), data, 0o644); err != nil {
		return err
	}
	_ = os.RemoveAll(dir)
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	loaded, err := loadKernel(dir)
	if err == nil {
		*k = *loaded
	}
	return err
}

func loadKernel(dir string) (*kernel, error) {
	data, err := os.ReadFile(filepath.Join(dir, "kernel.json"))
	if err != nil {
		return nil, err
	}
	k := new(kernel)
	if err := json.Unmarshal(data, k); err != nil {
		return nil, err
	}
	k.Image, k.Modules = filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "modules.cpio")
	return k, nil
}
