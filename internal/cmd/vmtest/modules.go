// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/linuxblock/linuxblock/internal/vmtest/kmod"
)

// All modules of Debian's kernel are 300 to 500 MB, most of it for hardware
// that QEMU does not have. These folders and modules, with what they depend
// on, are about a sixth of it.
var (
	moduleFolders = []string{
		"arch", "block", "crypto", "lib", "mm", "security",
		"drivers/md", "drivers/block", "drivers/virtio", "drivers/nvme", "drivers/target", "drivers/xen", "drivers/dax",
		"drivers/nvdimm", "drivers/connector", "drivers/scsi/device_handler", "drivers/crypto/virtio", "drivers/cdrom",
		"fs/9p", "fs/btrfs", "fs/configfs", "fs/exfat", "fs/ext4", "fs/f2fs", "fs/fat", "fs/fuse", "fs/isofs", "fs/jbd2",
		"fs/jfs", "fs/netfs", "fs/nls", "fs/overlayfs", "fs/squashfs", "fs/udf", "fs/xfs", "fs/erofs", "fs/fscache",
		"net/9p", "net/core", "net/netlink", "net/packet", "net/unix", "net/vmw_vsock", "net/ipv4", "net/ipv6", "net/tls",
		"net/handshake",
	}
	moduleNames = []string{
		"scsi_mod", "scsi_debug", "sd_mod", "sg", "sr_mod", "virtio_scsi", "iscsi_tcp", "libiscsi", "scsi_transport_iscsi",
		"libata", "ata_piix", "ahci", "virtio_net", "virtio_console", "virtio_rng", "nlmon", "dummy", "veth", "tun",
		"xen_netfront", "xen_netback", "bridge", "rdma_rxe", "softdog", "zram", "configs", "raid_class",
	}
)

// wantModule is the default choice.
func wantModule(m *kmod.Module) bool {
	if slices.Contains(moduleNames, m.Name) {
		return true
	}
	p := strings.TrimPrefix(m.Path, "kernel/")
	return slices.ContainsFunc(moduleFolders, func(d string) bool { return strings.HasPrefix(p, d+"/") })
}

// packModules writes a cpio archive with the chosen modules of a kernel,
// uncompressed, and their index. dir holds the modules and is changed:
// compressed ones are uncompressed in place.
func packModules(ctx context.Context, dir, release, file string, extra []string) error {
	if err := uncompressModules(ctx, dir); err != nil {
		return err
	}
	all, err := indexModules(dir)
	if err != nil {
		return err
	}
	keep := wantModule
	switch {
	case slices.Contains(extra, "all"):
		keep = func(*kmod.Module) bool { return true }
	case len(extra) > 0:
		var names []string
		for _, e := range extra {
			steps, err := all.Resolve(e)
			if err != nil {
				return fmt.Errorf("-modules %s: kernel %s does not have it: %w", e, release, err)
			}
			for _, s := range steps {
				names = append(names, s.Name)
			}
		}
		keep = func(m *kmod.Module) bool { return wantModule(m) || slices.Contains(names, m.Name) }
	}
	chosen := all.Select(keep)
	return writeAtomic(file, func(w io.Writer) error {
		c := newCpioWriter(w)
		base := path.Join("usr/lib/modules", release)
		var index bytes.Buffer
		if err := chosen.Write(&index); err != nil {
			return err
		}
		c.Bytes(path.Join(base, kmod.IndexName), 0o644, index.Bytes())
		for _, n := range chosen.Names() {
			m := chosen.Module(n)
			if err := addFile(c, path.Join(base, m.Path), 0o644, filepath.Join(dir, m.Path)); err != nil {
				return err
			}
		}
		return c.Close()
	})
}

// addFile copies a file of the host into the archive.
func addFile(c *cpioWriter, name string, perm uint32, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	c.File(name, perm, info.Size(), f)
	return c.err
}

// indexModules reads the .modinfo section of every module below dir.
func indexModules(dir string) (*kmod.Index, error) {
	x := kmod.NewIndex()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(name) != ".ko" {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		image, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		m, err := kmod.ParseModule(filepath.ToSlash(rel), image)
		if err != nil {
			return err
		}
		x.Add(m)
		return nil
	})
	if err != nil {
		return nil, err
	}
	list, _ := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	modinfo, _ := os.ReadFile(filepath.Join(dir, "modules.builtin.modinfo"))
	x.AddBuiltin(list, modinfo)
	return x, nil
}

// uncompressModules turns .ko.xz, .ko.zst and .ko.gz into .ko. The programs
// that do it are there wherever dpkg is (xz) or one package away; some
// thousand files take them a few seconds, once for each kernel.
func uncompressModules(ctx context.Context, dir string) error {
	byTool := make(map[string][]string)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		switch filepath.Ext(name) {
		case ".xz":
			byTool["xz"] = append(byTool["xz"], name)
		case ".zst":
			byTool["zstd"] = append(byTool["zstd"], name)
		case ".gz":
			byTool["gzip"] = append(byTool["gzip"], name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for tool, files := range byTool {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("the kernel's modules are compressed: %w", err)
		}
		args := map[string][]string{"xz": {"-d", "-q"}, "gzip": {"-d", "-q"}, "zstd": {"-d", "-q", "--rm"}}[tool]
		var wg sync.WaitGroup
		var mu sync.Mutex
		var errs []error
		limit := make(chan struct{}, 4)
		for batch := range slices.Chunk(files, 200) {
			wg.Add(1)
			go func() {
				defer wg.Done()
				limit <- struct{}{}
				defer func() { <-limit }()
				out, err := exec.CommandContext(ctx, tool, append(slices.Clone(args), batch...)...).CombinedOutput()
				if err != nil {
					mu.Lock()
					errs = append(errs, fmt.Errorf("%s: %w: %s", tool, err, bytes.TrimSpace(out)))
					mu.Unlock()
				}
			}()
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}
