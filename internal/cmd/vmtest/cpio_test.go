// SPDX-License-Identifier: MIT

package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/internal/cmd/vmtest/wire"
)

type cpioEntry struct {
	mode         uint64
	major, minor uint64
	data         string
}

// readCpio reads newc archives, one or several, as the kernel does.
func readCpio(t *testing.T, data []byte) (map[string]cpioEntry, []string) {
	t.Helper()
	entries := make(map[string]cpioEntry)
	var order []string
	field := func(h []byte, n int) uint64 {
		v, err := strconv.ParseUint(string(h[6+8*n:14+8*n]), 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for off := 0; off < len(data); {
		if data[off] == 0 { // between archives
			off += 4
			continue
		}
		h := data[off:]
		if string(h[:6]) != "070701" {
			t.Fatalf("no header at %d: %q", off, h[:6])
		}
		size, nameSize := int(field(h, 6)), int(field(h, 11))
		name := string(h[110 : 110+nameSize-1])
		if h[110+nameSize-1] != 0 {
			t.Fatalf("name %q does not end in NUL", name)
		}
		body := (110 + nameSize + 3) &^ 3
		if name == "TRAILER!!!" {
			off += body
			continue
		}
		if _, twice := entries[name]; !twice {
			order = append(order, name)
		}
		entries[name] = cpioEntry{field(h, 1), field(h, 9), field(h, 10), string(h[body : body+size])}
		off += (body + size + 3) &^ 3
	}
	return entries, order
}

func TestCpio(t *testing.T) {
	var b bytes.Buffer
	c := newCpioWriter(&b)
	c.Bytes("/usr/bin/tool", 0o4755, []byte("12345"))
	c.Bytes("usr/bin/other", 0o644, nil)
	c.Dir("usr/bin", 0o700) // too late, made already
	c.Symlink("bin", "usr/bin")
	c.Char("dev/console", 0o600, 5, 1)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if b.Len()%512 != 0 {
		t.Errorf("length %d is not a multiple of 512", b.Len())
	}
	got, order := readCpio(t, append(b.Bytes(), b.Bytes()...))
	if want := "usr usr/bin usr/bin/tool usr/bin/other bin dev dev/console"; strings.Join(order, " ") != want {
		t.Errorf("order %v, want %s", order, want)
	}
	for name, want := range map[string]cpioEntry{
		"usr/bin":      {mode: 0o040755},
		"usr/bin/tool": {mode: 0o104755, data: "12345"}, "usr/bin/other": {mode: 0o100644},
		"bin": {mode: 0o120777, data: "usr/bin"}, "dev/console": {mode: 0o020600, major: 5, minor: 1},
	} {
		if got[name] != want {
			t.Errorf("%s: %+v, want %+v", name, got[name], want)
		}
	}
}

func TestCpioShortFile(t *testing.T) {
	c := newCpioWriter(new(bytes.Buffer))
	c.File("a", 0o644, 10, strings.NewReader("short"))
	if err := c.Close(); err == nil {
		t.Error("no error for a file that is shorter than it said")
	}
}

func TestBaseArchive(t *testing.T) {
	var b bytes.Buffer
	if err := baseArchive(&b); err != nil {
		t.Fatal(err)
	}
	got, _ := readCpio(t, b.Bytes())
	for name, target := range map[string]string{"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "etc/mtab": "/proc/self/mounts"} {
		if got[name].data != target {
			t.Errorf("%s -> %q, want %q", name, got[name].data, target)
		}
	}
	if !strings.Contains(got["etc/group"].data, "\ndisk:x:6:\n") {
		t.Errorf("etc/group:\n%s", got["etc/group"].data)
	}
}

// A package as of Debian 12, with files in /lib and a hard link.
func TestAddTarEntry(t *testing.T) {
	var tarball bytes.Buffer
	w := tar.NewWriter(&tarball)
	for _, h := range []*tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./lib/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./lib/udev/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./lib/udev/tool", Typeflag: tar.TypeReg, Mode: 0o755, Size: 3},
		{Name: "./lib64/ld.so", Typeflag: tar.TypeSymlink, Linkname: "/lib/ld.so"},
		{Name: "./sbin/mkfs.ext4", Typeflag: tar.TypeLink, Linkname: "./sbin/mke2fs"},
		{Name: "./usr/share/doc/tool/copyright", Typeflag: tar.TypeReg, Mode: 0o644, Size: 3},
		{Name: "./usr/lib/udev/hwdb.d/20.hwdb", Typeflag: tar.TypeReg, Mode: 0o644, Size: 3},
		{Name: "./../../etc/evil", Typeflag: tar.TypeReg, Mode: 0o644, Size: 3},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			fmt.Fprint(w, "abc")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	c := newCpioWriter(&b)
	err := walkTar(&tarball, func(h *tar.Header, r io.Reader) error { addTarEntry(c, h, r); return c.err })
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	got, order := readCpio(t, b.Bytes())
	want := "usr usr/lib usr/lib/udev usr/lib/udev/tool usr/lib64 usr/lib64/ld.so usr/sbin usr/sbin/mkfs.ext4 etc etc/evil"
	if strings.Join(order, " ") != want {
		t.Errorf("entries\n     %s\nwant %s", strings.Join(order, " "), want)
	}
	if e := got["usr/sbin/mkfs.ext4"]; e.data != "/usr/sbin/mke2fs" || e.mode != 0o120777 {
		t.Errorf("hard link became %+v", e)
	}
}

func TestRunArchive(t *testing.T) {
	root, bin := t.TempDir(), filepath.Join(t.TempDir(), "x.test")
	for name, text := range map[string]string{
		"go.mod": "module m\n", "p/p.go": "package p\n", "p/testdata/in": "data", ".git/config": "secret", "p/.hidden": "kept",
	} {
		f := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(bin, []byte("binary"), 0o755); err != nil {
		t.Fatal(err)
	}
	list := []testPackage{
		{ImportPath: "m", Dir: root, NoTests: true},
		{ImportPath: "m/p", Dir: filepath.Join(root, "p"), Binary: bin},
	}
	var b bytes.Buffer
	if err := runArchive(&b, bin, wire.Config{FailFast: true}, list, root); err != nil {
		t.Fatal(err)
	}
	got, _ := readCpio(t, b.Bytes())
	for name, data := range map[string]string{
		"src/go.mod": "module m\n", "src/p/testdata/in": "data", "src/p/.hidden": "kept", "init": "/vmtest/guest",
		"usr/sbin/modprobe": "/vmtest/guest", "vmtest/bin/p.test": "binary", "vmtest/guest": "binary",
	} {
		if got[name].data != data {
			t.Errorf("%s: %q, want %q", name, got[name].data, data)
		}
	}
	if _, ok := got["src/.git/config"]; ok {
		t.Error(".git was packed")
	}
	var c wire.Config
	if err := json.Unmarshal([]byte(got["vmtest/config.json"].data), &c); err != nil {
		t.Fatal(err)
	}
	want := wire.Package{ImportPath: "m/p", Dir: wire.SourceDir + "/p", Binary: wire.BinDir + "/p.test"}
	if !c.FailFast || len(c.Packages) != 1 || c.Packages[0] != want {
		t.Errorf("config %+v, want the package %+v", c, want)
	}
}
