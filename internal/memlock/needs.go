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

// System is where Needs and Conflict look. The zero value is the real one.
type System struct {
	Proc string // "" is /proc
	Sys  string // "" is /sys
	// Stat returns a path's numbers, following links; nil is stat(2).
	Stat func(path string) (Info, error)
	// Resolve returns the path without links in it; nil is filepath.EvalSymlinks.
	Resolve func(path string) (string, error)
}

// Info is what is used of stat(2).
type Info struct {
	Dev   Dev // of the file system, st_dev
	Block bool
	Rdev  Dev // of a block node
}

// Need is a thing this process cannot go on without, and where it lies.
type Need struct {
	What string // "program code", "swap" or "path"
	Path string
	// Devices are all block devices it lies on, from the file system's down to
	// the lowest, in no order.
	Devices []Dev
	// Unknown says why the list may not be complete; "" when it is.
	Unknown string
}

// What of a Need.
const (
	Code  = "program code"
	Swap  = "swap"
	Extra = "path"
)

// Needs lists the files whose code this process runs, the active swap, and the
// extra paths (log, lock folder), with the block devices below them. A path
// that does not exist stands for the folder it would be made in.
func (s System) Needs(extra ...string) ([]Need, error) {
	t, err := s.tree()
	if err != nil {
		return nil, err
	}
	maps, err := s.read("self/maps")
	if err != nil {
		return nil, err
	}
	list, err := parseMaps(maps)
	if err != nil {
		return nil, fail("needs", s.proc("self/maps"), err)
	}
	var needs []Need
	seen := map[string]bool{}
	for _, m := range codeFiles(list) {
		if seen[m.path] || memoryOnly(m.path) {
			continue
		}
		seen[m.path] = true
		w := t.walk()
		if m.dev.Major != 0 {
			w.device(m.dev)
		} else {
			w.path(strings.TrimSuffix(m.path, " (deleted)"))
		}
		needs = append(needs, w.need(Code, m.path))
	}
	swaps, err := s.read("swaps")
	if errors.Is(err, fs.ErrNotExist) {
		swaps, err = "", nil // a kernel without swap
	}
	if err != nil {
		return nil, err
	}
	for _, p := range parseSwaps(swaps) {
		w := t.walk()
		w.nodeOrFile(strings.TrimSuffix(p, " (deleted)"))
		needs = append(needs, w.need(Swap, p))
	}
	for _, p := range extra {
		w := t.walk()
		w.path(p)
		needs = append(needs, w.need(Extra, p))
	}
	return needs, nil
}

// Conflict returns the needs that lie on one of the devices, as sentences for
// an error message; none means that these devices may be suspended without
// locked memory. A need that cannot be followed to its devices counts as a
// conflict.
func (s System) Conflict(devices []Dev, extra ...string) ([]string, error) {
	needs, err := s.Needs(extra...)
	if err != nil {
		return nil, err
	}
	var reasons []string
	for _, n := range needs {
		hit := false
		for _, d := range devices {
			if slices.Contains(n.Devices, d) {
				reasons = append(reasons, fmt.Sprintf("%s %s lies on %s", n.What, n.Path, d))
				hit = true
			}
		}
		if !hit && n.Unknown != "" {
			reasons = append(reasons, fmt.Sprintf("%s %s may lie on it: %s", n.What, n.Path, n.Unknown))
		}
	}
	return reasons, nil
}

// memoryOnly tells paths in maps that are names for memory, not files
// (Linux mm/memfd.c, ipc/shm.c, mm/shmem.c).
func memoryOnly(p string) bool {
	return strings.HasPrefix(p, "/memfd:") || strings.HasPrefix(p, "/SYSV") ||
		strings.HasPrefix(p, "/dev/zero") || strings.HasPrefix(p, "anon_inode:")
}

func (s System) proc(name string) string {
	if s.Proc == "" {
		return "/proc/" + name
	}
	return filepath.Join(s.Proc, name)
}

func (s System) sys(name string) string {
	if s.Sys == "" {
		return "/sys/" + name
	}
	return filepath.Join(s.Sys, name)
}

func (s System) read(name string) (string, error) {
	data, err := os.ReadFile(s.proc(name))
	if err != nil {
		return "", fail("needs", s.proc(name), cause(err))
	}
	return string(data), nil
}

func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func (s System) stat(p string) (Info, error) {
	if s.Stat != nil {
		return s.Stat(p)
	}
	return stat(p)
}

func (s System) resolve(p string) (string, error) {
	if s.Resolve != nil {
		return s.Resolve(p)
	}
	return filepath.EvalSymlinks(p)
}
