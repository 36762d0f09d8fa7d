// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// cpioWriter writes an archive in the kernel's "newc" format
// (Documentation/driver-api/early-userspace/buffer-format.rst). Several
// archives one after the other are one initramfs, so that parts can be cached.
//
// Names are relative, without a leading slash. Directories that were not
// written before their contents are made with mode 0755.
type cpioWriter struct {
	w    *bufio.Writer
	n    int64 // bytes written
	ino  uint32
	dirs map[string]bool
	err  error
}

func newCpioWriter(w io.Writer) *cpioWriter {
	return &cpioWriter{w: bufio.NewWriterSize(w, 1<<20), dirs: map[string]bool{".": true}}
}

// File types as in stat(2)'s st_mode.
const (
	modeDir     = 0o040000
	modeChar    = 0o020000
	modeRegular = 0o100000
	modeSymlink = 0o120000
)

type cpioHeader struct {
	name         string
	mode         uint32 // type and permissions
	size         int64
	major, minor uint32 // of a device node
}

func (c *cpioWriter) header(h cpioHeader) {
	if c.err != nil {
		return
	}
	if h.size > 0xffffffff {
		c.err = fmt.Errorf("cpio: %s is larger than 4 GiB", h.name)
		return
	}
	c.ino++
	nlink := 1
	if h.mode&modeDir != 0 && h.mode&modeRegular == 0 {
		nlink = 2
	}
	// magic ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor
	// rdevminor namesize check
	_, c.err = fmt.Fprintf(c.w, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		c.ino, h.mode, 0, 0, nlink, 0, h.size, 0, 0, h.major, h.minor, len(h.name)+1, 0)
	c.n += 110
	c.write([]byte(h.name + "\x00"))
	c.pad()
}

func (c *cpioWriter) write(p []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(p)
		c.n += int64(len(p))
	}
}

func (c *cpioWriter) pad() {
	var zero [4]byte
	c.write(zero[:(4-c.n%4)%4])
}

func (c *cpioWriter) parents(name string) {
	if d := path.Dir(name); !c.dirs[d] {
		c.Dir(d, 0o755)
	}
}

// Dir writes a directory, once.
func (c *cpioWriter) Dir(name string, perm fs.FileMode) {
	name = clean(name)
	if c.dirs[name] {
		return
	}
	c.parents(name)
	c.dirs[name] = true
	c.header(cpioHeader{name: name, mode: modeDir | uint32(perm)&0o7777})
}

// File writes a regular file of exactly size bytes.
func (c *cpioWriter) File(name string, perm uint32, size int64, r io.Reader) {
	name = clean(name)
	c.parents(name)
	c.header(cpioHeader{name: name, mode: modeRegular | perm&0o7777, size: size})
	if c.err != nil {
		return
	}
	n, err := io.CopyN(c.w, r, size)
	c.n += n
	if err != nil {
		c.err = fmt.Errorf("cpio: %s: %w", name, err)
		return
	}
	c.pad()
}

// Bytes writes a regular file.
func (c *cpioWriter) Bytes(name string, perm uint32, data []byte) {
	c.File(name, perm, int64(len(data)), strings.NewReader(string(data)))
}

// Symlink writes a symbolic link.
func (c *cpioWriter) Symlink(name, target string) {
	name = clean(name)
	c.parents(name)
	c.header(cpioHeader{name: name, mode: modeSymlink | 0o777, size: int64(len(target))})
	c.write([]byte(target))
	c.pad()
}

// Char writes a character device node.
func (c *cpioWriter) Char(name string, perm, major, minor uint32) {
	name = clean(name)
	c.parents(name)
	c.header(cpioHeader{name: name, mode: modeChar | perm&0o7777, major: major, minor: minor})
}

// Close writes the trailer. It does not close the underlying writer.
func (c *cpioWriter) Close() error {
	c.header(cpioHeader{name: "TRAILER!!!"})
	// The kernel wants each archive to start at a multiple of four; 512 is
	// what cpio does.
	if c.err == nil {
		c.write(make([]byte, (512-c.n%512)%512))
	}
	if c.err != nil {
		return c.err
	}
	return c.w.Flush()
}

func clean(name string) string { return path.Clean(strings.TrimLeft(name, "/")) }
