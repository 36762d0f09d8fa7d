// SPDX-License-Identifier: MIT

//go:build !linux

package devnode

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Real exists on Linux only.
type Real struct{}

// Mknod returns errors.ErrUnsupported.
func (Real) Mknod(string, uint32, uint32, fs.FileMode, int) error { return errors.ErrUnsupported }

// Lstat returns errors.ErrUnsupported.
func (Real) Lstat(string) (Node, error) { return Node{}, errors.ErrUnsupported }

func lstat(path string) (Node, error) {
	n := Node{Name: filepath.Base(path)}
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		return n, err
	}
	n.Kind = Other
	if st.Mode()&fs.ModeSymlink != 0 {
		n.Kind = Link
		n.Target, err = os.Readlink(path)
	}
	return n, err
}

func sameInode(a, b string) bool {
	x, err1 := os.Lstat(a)
	y, err2 := os.Lstat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
