// SPDX-License-Identifier: MIT

package devnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Kind is what lies under a path.
type Kind uint8

const (
	Missing Kind = iota
	Block        // block node
	Link         // symbolic link
	Other        // anything else
)

func (k Kind) String() string {
	switch k {
	case Missing:
		return "missing"
	case Block:
		return "block node"
	case Link:
		return "link"
	case Other:
		return "other file"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Node describes what lies under a path, without following a link.
type Node struct {
	Name         string // last part of the path
	Kind         Kind
	Major, Minor uint32 // of a block node
	Target       string // of a link
}

// System is the part of the system that needs root. The other calls (rename,
// remove, mkdir) go to the file system directly.
type System interface {
	// Mknod makes a block node that does not exist yet, with exactly these
	// rights whatever the umask is. A gid of -1 leaves the group as it comes.
	Mknod(path string, major, minor uint32, perm fs.FileMode, gid int) error
	// Lstat tells what lies under path; a missing file is no error.
	Lstat(path string) (Node, error)
}

// Fake is a System that needs no rights: a block node is a small regular file.
// For tests, also of programs above this package.
type Fake struct{}

const fakeFormat = "fake block node %d:%d\n"

// Mknod writes a regular file that Fake's Lstat takes for a block node.
func (Fake) Mknod(path string, major, minor uint32, perm fs.FileMode, _ int) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, fakeFormat, major, minor)
	return errors.Join(err, f.Close())
}

// Lstat reads what Mknod wrote; other files are what they are.
func (Fake) Lstat(path string) (Node, error) {
	n, err := lstat(path)
	if err != nil || n.Kind != Other {
		return n, err
	}
	if st, err := os.Lstat(path); err != nil || !st.Mode().IsRegular() || st.Size() > 64 {
		return n, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return n, err
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(string(data), fakeFormat, &major, &minor); err == nil {
		n.Kind, n.Major, n.Minor = Block, major, minor
	}
	return n, nil
}
