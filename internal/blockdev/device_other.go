// SPDX-License-Identifier: MIT

//go:build !linux

package blockdev

import (
	"context"
	"errors"
	"runtime"

	"github.com/linuxblock/linuxblock"
)

func unsupported(op, object string) *Error {
	return errorf(op, object, errors.ErrUnsupported, "%s", runtime.GOOS)
}

// Open needs Linux.
func Open(path string, o Options) (*Device, error) { return nil, unsupported("open", path) }

// Resolve gives the number in the text "major:minor"; a path needs Linux.
func Resolve(path string) (major, minor uint32, err error) {
	if major, minor, err = ParseNumber(path); err == nil {
		return major, minor, nil
	}
	return 0, 0, unsupported("resolve", path)
}

// Size needs Linux.
func (d *Device) Size() (int64, error) { return 0, unsupported("size", d.path) }

// ReadOnly needs Linux.
func (d *Device) ReadOnly() (bool, error) { return false, unsupported("read-only", d.path) }

// Number needs Linux.
func (d *Device) Number() (major, minor uint32, err error) {
	return 0, 0, unsupported("number", d.path)
}

// DropCaches needs Linux.
func (d *Device) DropCaches(ctx context.Context) error { return unsupported("drop caches", d.path) }

// ReadAhead needs Linux.
func (d *Device) ReadAhead() (linuxblock.Sectors, error) { return 0, unsupported("read-ahead", d.path) }

// SetReadAhead needs Linux.
func (d *Device) SetReadAhead(linuxblock.Sectors) error {
	return unsupported("set read-ahead", d.path)
}

func (d *Device) zeroRange(ctx context.Context, off, n int64) error {
	return unsupported("zero", d.path)
}
