// SPDX-License-Identifier: MIT

//go:build unix

package blockdev

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestLayer(t *testing.T) {
	s := fakeSys(t, "/none/disk image")
	md := filepath.Join(s.Root, "devices/virtual/block/md0")
	for _, dir := range []string{"md", "slaves"} {
		if err := os.MkdirAll(filepath.Join(md, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		filepath.Join(md, "slaves/sda1"):        filepath.Join(s.Root, "devices/pci/sda/sda1"),
		filepath.Join(md, "slaves/dm-3"):        filepath.Join(s.Root, "devices/virtual/block/dm-3"),
		filepath.Join(md, "slaves/gone"):        filepath.Join(s.Root, "devices/gone"),
		filepath.Join(s.Root, "dev/block/9:0"):  md,
		filepath.Join(s.Root, "dev/block/8:99"): filepath.Join(s.Root, "devices/pci/sda/sda99"),
	} {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	for number, want := range map[[2]uint32]Layer{
		{8, 0}:   {Name: "sda", Kind: KindDisk},
		{8, 2}:   {Name: "sda2", Kind: KindPartition, Below: []Relative{{"sda", 8, 0}}},
		{104, 0}: {Name: "cciss/c0d0", Kind: KindDisk},
		{7, 0}:   {Name: "loop0", Kind: KindLoop, File: "/none/disk image"},
		{9, 0}:   {Name: "md0", Kind: KindRAID, Below: []Relative{{"dm-3", 254, 3}, {"sda1", 8, 1}}},
		{254, 3}: {Name: "dm-3", Kind: KindMapped, Below: []Relative{{"sda2", 8, 2}}},
	} {
		if got, err := s.Layer(number[0], number[1]); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %+v, %v, want %+v", number, got, err, want)
		}
	}
	for _, minor := range []uint32{98, 99} {
		if _, err := s.Layer(8, minor); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("8:%d: %v", minor, err)
		}
	}
}
