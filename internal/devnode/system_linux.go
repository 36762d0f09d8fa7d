// SPDX-License-Identifier: MIT

package devnode

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Real uses the kernel; it is what a Dir without System uses.
type Real struct{}

// Mknod needs CAP_MKNOD.
func (Real) Mknod(path string, major, minor uint32, perm fs.FileMode, gid int) error {
	// Made without any rights, then given its group before its mode: nobody
	// can open it meanwhile.
	if err := unix.Mknod(path, unix.S_IFBLK, int(unix.Mkdev(major, minor))); err != nil {
		return err
	}
	err := unix.Lchown(path, -1, gid)
	if err == nil {
		err = unix.Chmod(path, uint32(perm.Perm()))
	}
	if err != nil {
		unix.Unlink(path)
	}
	return err
}

// Lstat looks at path without following a link.
func (Real) Lstat(path string) (Node, error) { return lstat(path) }

func lstat(path string) (Node, error) {
	n := Node{Name: filepath.Base(path)}
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	if err == unix.ENOENT {
		return n, nil
	}
	if err != nil {
		return n, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFBLK:
		n.Kind = Block
		n.Major, n.Minor = unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	case unix.S_IFLNK:
		n.Kind = Link
		if n.Target, err = os.Readlink(path); err != nil {
			return n, err
		}
	default:
		n.Kind = Other
	}
	return n, nil
}

// sameInode tells whether two names lead to one file.
func sameInode(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Lstat(a, &x) == nil && unix.Lstat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}
