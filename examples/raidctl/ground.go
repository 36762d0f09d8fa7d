// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/internal/loop"
)

// ground is the machine that raidctl runs on, or a test's double.
type ground interface {
	open(ctx context.Context) (*dm.Client, error)
	// devices are what plans and readers do I/O on.
	devices() opener
	// attach makes a device of a file, which release lets go of.
	attach(ctx context.Context, file string) (path string, release func(), err error)
}

// opener opens devices, and says why one must not be overwritten.
type opener interface {
	dmraid.DeviceOpener
	dmraid.DeviceChecker
}

// system is the running machine.
type system struct{}

func (system) open(ctx context.Context) (*dm.Client, error) {
	return dm.Open(ctx, dm.WithTargets(dmraid.Parsers()))
}

func (system) devices() opener { return dmraid.HostDevices{} }

func (system) attach(ctx context.Context, file string) (string, func(), error) {
	d, err := loop.Attach(ctx, file, loop.Options{})
	if err != nil {
		return "", nil, err
	}
	return d.Path(), func() { d.Close() }, nil
}

// makeFiles makes the empty files of legs, DIR/NAME-leg-N. One that exists is
// not touched.
func makeFiles(dir, name string, count int, n linuxblock.Sectors) (files []string, err error) {
	defer func() {
		if err != nil {
			for _, f := range files {
				os.Remove(f)
			}
			files = nil
		}
	}()
	for i := range count {
		path, err := filepath.Abs(filepath.Join(dir, fmt.Sprintf("%s-leg-%d", name, i)))
		if err != nil {
			return files, err
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return files, fmt.Errorf("%w; give it as a leg to use it: raidctl create %s TYPE %s …", err, name, path)
		}
		if err != nil {
			return files, err
		}
		files = append(files, path)
		if err := errors.Join(f.Truncate(n.Bytes()), f.Close()); err != nil {
			return files, err
		}
	}
	return files, nil
}
