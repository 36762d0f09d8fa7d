// SPDX-License-Identifier: MIT

package kmod

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Release returns the running kernel's release, as `uname -r` prints it.
func Release() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("kmod: uname: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// Loader loads modules into the running kernel.
type Loader struct {
	Index *Index
	dir   string // /lib/modules/<release>
}

// Open reads the running kernel's index. The error is fs.ErrNotExist where
// there is none, that is outside the VM.
func Open() (*Loader, error) {
	release, err := Release()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join("/lib/modules", release)
	data, err := os.ReadFile(filepath.Join(dir, IndexName))
	if err != nil {
		return nil, fmt.Errorf("kmod: %w", err)
	}
	x, err := ReadIndex(data)
	if err != nil {
		return nil, err
	}
	return &Loader{Index: x, dir: dir}, nil
}

// Load loads a module by name or alias, dependencies first. Parameters go to
// the named module only. What is built in or loaded already is no error; its
// parameters are then not changed.
func (l *Loader) Load(name, params string) error {
	steps, err := l.Index.Resolve(name)
	if err != nil {
		return err
	}
	loaded := loadedModules()
	var last error // of the optional ones
	wanted, ok := l.Index.lookup(name), false
	for _, s := range steps {
		target := slices.Contains(wanted, s.Name)
		if loaded[s.Name] {
			ok = ok || target
			continue
		}
		p := ""
		if target {
			p = params
		}
		err := l.insert(s.Module, p)
		switch {
		case err == nil:
			ok = ok || target
		case s.Optional:
			if target {
				last = err
			}
		default:
			return err
		}
	}
	// Of several modules behind one alias, one is enough.
	if len(steps) > 0 && !ok && last != nil {
		return last
	}
	return nil
}

// Loaded reports whether a module is loaded, or built in.
func (l *Loader) Loaded(name string) bool {
	if l.Index.Builtin(name) {
		return true
	}
	return loadedModules()[Canonical(name)]
}

func (l *Loader) insert(m *Module, params string) error {
	f, err := os.Open(filepath.Join(l.dir, m.Path))
	if err != nil {
		return fmt.Errorf("kmod: %w", err)
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), params, 0)
	if errors.Is(err, unix.EEXIST) {
		return nil // another loader was faster
	}
	if err != nil {
		return fmt.Errorf("kmod: finit_module %s: %w", m.Name, err)
	}
	return nil
}

// Unload removes one module, not what it depends on.
func Unload(name string) error {
	name = Canonical(name)
	if err := unix.DeleteModule(name, unix.O_NONBLOCK); err != nil {
		if errors.Is(err, unix.ENOENT) {
			err = fs.ErrNotExist
		}
		return fmt.Errorf("kmod: delete_module %s: %w", name, err)
	}
	return nil
}

func loadedModules() map[string]bool {
	loaded := make(map[string]bool)
	data, err := os.ReadFile("/proc/modules")
	if err != nil {
		return loaded
	}
	for line := range bytes.Lines(data) {
		// Columns: name size users dependents state address. A module that
		// is still Loading is not there yet; finit_module waits for it.
		f := strings.Fields(string(line))
		if len(f) >= 5 && f[4] == "Live" {
			loaded[f[0]] = true
		}
	}
	return loaded
}
