// SPDX-License-Identifier: MIT

//go:build !linux

package kmod

import (
	"errors"
	"fmt"
)

// Release returns the running kernel's release. Linux only.
func Release() (string, error) { return "", unsupported() }

// Loader loads modules into the running kernel. Linux only.
type Loader struct{ Index *Index }

// Open reads the running kernel's index. Linux only.
func Open() (*Loader, error) { return nil, unsupported() }

// Load loads a module by name or alias. Linux only.
func (*Loader) Load(name, params string) error { return unsupported() }

// Loaded reports whether a module is loaded, or built in. Linux only.
func (*Loader) Loaded(name string) bool { return false }

// Unload removes one module. Linux only.
func Unload(name string) error { return unsupported() }

func unsupported() error {
	return fmt.Errorf("kmod: loading modules needs Linux: %w", errors.ErrUnsupported)
}
