// SPDX-License-Identifier: MIT

package blockdev

import (
	"os"
	"path/filepath"
	"strings"
)

// What a device is, as far as its place in a stack goes.
const (
	KindDisk      = "disk" // a whole device of any driver that is not told apart here
	KindPartition = "part"
	KindLoop      = "loop"
	KindRAID      = "md"
	KindMapped    = "dm"
)

// Layer is the place of one device in a stack of devices.
type Layer struct {
	Name string // kernel name, "sda1"
	Kind string
	// Below are the devices it stands on: a partition's disk, the members of
	// a RAID, the device behind a loop device, and what any other driver
	// lists as slaves.
	Below []Relative
	File  string // what is behind a loop device
}

// Layer looks one device up. fs.ErrNotExist when the kernel has no such
// device (any more).
func (s SysFS) Layer(major, minor uint32) (Layer, error) {
	dir, err := s.Dir(major, minor)
	if err != nil {
		return Layer{}, err
	}
	l := Layer{Name: kernelName(filepath.Base(dir)), Kind: KindDisk}
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	switch {
	case has("partition"):
		l.Kind = KindPartition
		disk, err := relative(filepath.Dir(dir), filepath.Base(filepath.Dir(dir)))
		if err != nil { // fs.ErrNotExist: it went away meanwhile
			return Layer{}, newError("look up", FormatNumber(major, minor), err)
		}
		l.Below = []Relative{disk}
		return l, nil
	case has("loop"):
		l.Kind = KindLoop
		b, err := os.ReadFile(filepath.Join(dir, "loop", "backing_file"))
		if err == nil { // without a file nothing is bound
			l.File = strings.TrimSuffix(string(b), "\n")
			l.Below = behindLoop(l.File)
		}
		return l, nil
	case has("md"):
		l.Kind = KindRAID
	case has("dm"):
		l.Kind = KindMapped
	}
	l.Below, err = s.Slaves(major, minor)
	return l, err
}

// behindLoop is the device when a loop device was put on one, not on a file.
func behindLoop(file string) []Relative {
	if !strings.HasPrefix(file, "/dev/") {
		return nil
	}
	major, minor, err := Resolve(file)
	if err != nil {
		return nil
	}
	return []Relative{{Name: filepath.Base(file), Major: major, Minor: minor}}
}
