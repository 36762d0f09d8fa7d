// SPDX-License-Identifier: MIT

//go:build unix

package blockdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// fakeSys lays out the part of sysfs that is read: a disk sda with two
// partitions, dm-3 on the second, a cciss disk, and a loop device.
func fakeSys(t *testing.T, backing string) SysFS {
	root := t.TempDir()
	file := func(path, content string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, path string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(filepath.Dir(path), filepath.Join(root, target))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(rel, path); err != nil {
			t.Fatal(err)
		}
	}
	device := func(dir, number string, attrs ...string) {
		file(dir+"/dev", number+"\n")
		for i := 0; i < len(attrs); i += 2 {
			file(dir+"/"+attrs[i], attrs[i+1]+"\n")
		}
		link(dir, "dev/block/"+number)
	}
	const sda, dm, cciss, loop = "devices/pci/sda", "devices/virtual/block/dm-3", "devices/pci/cciss!c0d0", "devices/virtual/block/loop0"
	device(sda, "8:0", "size", "204800", "ro", "0", "diskseq", "17")
	device(sda+"/sda1", "8:1", "size", "1000", "ro", "0", "partition", "1")
	device(sda+"/sda2", "8:2", "size", "2000", "ro", "1", "partition", "2")
	device(dm, "254:3", "size", "1990", "ro", "0", "dm/name", "vg-root", "dm/uuid", "LVM-abc")
	device(cciss, "104:0", "size", "junk", "ro", "0")
	device(loop, "7:0", "size", "8", "ro", "0", "loop/backing_file", backing)
	os.MkdirAll(filepath.Join(root, sda, "holders"), 0o755)
	link(dm, sda+"/sda2/holders/dm-3")
	link(sda+"/sda2", dm+"/slaves/sda2")
	link(loop, "block/loop0")
	return SysFS{Root: root}
}

func TestSysFS(t *testing.T) {
	s := fakeSys(t, "/none")
	check := func(what string, got any, err error, want any) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v, want %v", what, got, err, want)
		}
	}
	size, err := s.Size(8, 0)
	check("size", size.Bytes(), err, int64(204800*512))
	ro, err := s.ReadOnly(8, 2)
	check("ro", ro, err, true)
	seq, err := s.DiskSeq(8, 0)
	check("diskseq", seq, err, uint64(17))
	name, err := s.Name(104, 0)
	check("name", name, err, "cciss/c0d0")
	name, err = s.DMName(254, 3)
	check("dm name", name, err, "vg-root")
	name, err = s.DMUUID(254, 3)
	check("dm uuid", name, err, "LVM-abc")
	name, err = s.DMName(8, 0)
	check("dm name of sda", name, err, "")
	list, err := s.Holders(8, 2)
	check("holders", list, err, []Relative{{"dm-3", 254, 3}})
	list, err = s.Holders(8, 0)
	check("no holders", list, err, []Relative(nil))
	list, err = s.Slaves(254, 3)
	check("slaves", list, err, []Relative{{"sda2", 8, 2}})
	list, err = s.Slaves(8, 1)
	check("no slaves", list, err, []Relative(nil))
	list, err = s.Partitions(8, 0)
	check("partitions", list, err, []Relative{{"sda1", 8, 1}, {"sda2", 8, 2}})

	if _, err := s.Size(9, 9); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "9:9") {
		t.Errorf("unknown device: %v", err)
	}
	if _, err := s.Size(104, 0); err == nil || !strings.Contains(err.Error(), `"junk"`) {
		t.Errorf("junk: %v", err)
	}
	if _, err := s.DiskSeq(8, 1); !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("diskseq of a partition: %v", err)
	}
	if _, err := s.DiskSeq(9, 9); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("diskseq of nothing: %v", err)
	}
}

func TestParseNumber(t *testing.T) {
	for text, want := range map[string]string{
		"8:0": "8:0", "254:1048575": "254:1048575", "4095:1": "4095:1",
		"4096:0": "", "8:1048576": "", "8": "", ":": "", "8:": "", "-8:0": "", "+8:0": "", "8:0 ": "", "0x8:0": "", "8:0:0": "",
	} {
		got := ""
		if major, minor, err := ParseNumber(text); err == nil {
			got = FormatNumber(major, minor)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestUses(t *testing.T) {
	image := filepath.Join(t.TempDir(), "disk image")
	if err := os.WriteFile(image, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	s := System{Sys: fakeSys(t, image), Proc: t.TempDir()}
	proc := func(name, content string) {
		t.Helper()
		path := filepath.Join(s.Proc, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	proc("self/mountinfo", `22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/none1 rw
28 1 8:1 /sub /mnt/with\040blank rw shared:1 master:2 - ext4 /dev/none1 rw
29 1 0:44 / /btrfs rw - btrfs /dev/sda1 rw
`)
	proc("swaps", "Filename\t\t\t\tType\t\tSize\n/dev/dm-3 partition 100 0 -2\n"+strings.ReplaceAll(image, " ", `\040`)+"\tfile\t4\t0\t-3\n")
	got, err := s.Uses(8, 0)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, u := range got {
		text = append(text, u.String())
	}
	want := []string{
		"partition sda1 mounted on /", "partition sda1 mounted on /mnt/with blank", "partition sda1 mounted on /btrfs",
		"partition sda2 held by dm-3 (254:3) vg-root",
	}
	// Where the machine has a /dev/sda1 of another number, it is believed.
	if _, err := os.Stat("/dev/sda1"); err == nil {
		t.Skip("this machine has a /dev/sda1")
	}
	if !reflect.DeepEqual(text, want) {
		t.Errorf("got  %q\nwant %q", text, want)
	}
	if got, err = s.Uses(254, 3); err != nil || fmt.Sprint(got) != "[swap area /dev/dm-3]" {
		t.Errorf("dm-3: %v, %v", got, err)
	}
	if got, err = s.InUse(image); err != nil || fmt.Sprint(got) != "[swap area "+image+" backs loop0]" {
		t.Errorf("image: %v, %v", got, err)
	}
	if _, err := s.InUse(image + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	proc("self/mountinfo", "short line\n")
	if _, err := s.Uses(8, 0); err == nil {
		t.Error("an unknown mountinfo was accepted")
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		`a`: `a`, `a\040b`: `a b`, `\134`: `\`, `\11`: `\11`, `\477`: `\477`, `\08x`: `\08x`, `x\012`: "x\n", `\`: `\`,
	} {
		if got := unescape(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzProcFiles(f *testing.F) {
	f.Add("27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n")
	f.Add("Filename\tType\n/a\\040b file 1 0 -2\n")
	f.Fuzz(func(t *testing.T, text string) {
		parseMountinfo(strings.NewReader(text))
		parseSwaps(strings.NewReader(text))
		unescape(text)
		if major, minor, err := ParseNumber(text); err == nil {
			a, b, err := ParseNumber(FormatNumber(major, minor))
			if a != major || b != minor || err != nil {
				t.Errorf("%q: %d:%d", text, a, b)
			}
		}
	})
}
