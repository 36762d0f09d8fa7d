// SPDX-License-Identifier: MIT

package runfile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// DefaultDir is where run files lie unless Open is told another folder.
const DefaultDir = "/run/linuxblock"

// compactAt is the size in bytes from which ended entries are dropped from a
// file that always has an open one.
const compactAt = 64 << 10

// File is the run file of one client. It is safe for concurrent use.
type File struct {
	dir, kind string

	mu     sync.Mutex
	dirfd  int
	fd     int // -1 until the first Begin
	name   string
	head   []byte // first line
	size   int64
	torn   bool // the last line has no end
	closed bool
	next   uint64
	open   map[uint64]*Entry
	owed   []uint64 // ended, but the file does not say so yet
	buf    []byte
}

// Entry is one thing that a kill would leave behind.
type Entry struct {
	f      *File
	id     uint64
	fields []Field
	ended  bool
}

// Open names the folder ("" is DefaultDir) and the kind ("dm", "lvm", …) of a
// run file. Folder and file are made by the first Begin.
func Open(dir, kind string) (*File, error) {
	if dir == "" {
		dir = DefaultDir
	}
	if !validName(kind) {
		return nil, fail("open", dir, ErrInvalid, fmt.Sprintf("kind %q", kind))
	}
	return &File{dir: dir, kind: kind, fd: -1, dirfd: -1, next: 1, open: map[uint64]*Entry{}}, nil
}

// Path is the file's path, "" as long as there is none.
func (f *File) Path() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return ""
	}
	return filepath.Join(f.dir, f.name)
}

// OpenEntries is the number of entries begun and not ended.
func (f *File) OpenEntries() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.open)
}

// openDir opens the folder and refuses one that others could write to.
func openDir(dir string, create bool) (int, error) {
	if create {
		if err := unix.Mkdir(dir, 0o700); err != nil && err != unix.EEXIST {
			return -1, err
		}
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		if err == unix.ELOOP || err == unix.ENOTDIR {
			err = fmt.Errorf("%w: %w", ErrUnsafe, err)
		}
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		switch {
		case int(st.Uid) != os.Geteuid():
			err = fmt.Errorf("%w: owned by uid %d", ErrUnsafe, st.Uid)
		case st.Mode&0o022 != 0:
			err = fmt.Errorf("%w: mode %#o lets others write", ErrUnsafe, st.Mode&0o7777)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// create makes the file with its first line. It appears under its name
// complete or not at all.
func (f *File) create() error {
	owner, err := self()
	if err != nil {
		return err
	}
	dirfd, err := openDir(f.dir, true)
	if err != nil {
		return err
	}
	f.head = appendRecord(nil, verbHead, format, owner.fields())
	for n := 0; n < 1<<20; n++ {
		name := fileName(f.kind, owner.PID, owner.Start, n)
		var fd int
		fd, err = place(dirfd, name, f.head, unix.RENAME_NOREPLACE)
		if err == unix.EEXIST {
			continue // another client of this process, or of another pid namespace
		}
		if err != nil {
			break
		}
		f.dirfd, f.fd, f.name, f.size = dirfd, fd, name, int64(len(f.head))
		return nil
	}
	unix.Close(dirfd)
	return err
}

// place makes a file with this content, ready for appending, and gives it its
// name when it is complete.
func place(dirfd int, name string, content []byte, flags uint) (int, error) {
	tmp := name + tmpSuffix
	fd, err := unix.Openat(dirfd, tmp, unix.O_RDWR|unix.O_APPEND|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, err
	}
	n, err := write(fd, content)
	if err == nil && n < len(content) {
		err = unix.ENOSPC
	}
	if err == nil {
		err = unix.Renameat2(dirfd, tmp, dirfd, name, flags)
	}
	if err != nil {
		unix.Close(fd)
		unix.Unlinkat(dirfd, tmp, 0)
		return -1, err
	}
	return fd, nil
}

func write(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Write(fd, b)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// Begin notes that something is about to be made. Only after it returned
// without error may the program make it.
func (f *File) Begin(fields ...Field) (*Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, fail("begin", f.dir, ErrClosed, "")
	}
	if f.fd < 0 {
		if err := f.create(); err != nil {
			return nil, fail("begin", f.dir, err, "")
		}
	}
	e := &Entry{f: f, id: f.next, fields: merge(nil, fields)}
	if err := f.append("begin", verbBegin, e.id, fields); err != nil {
		return nil, err
	}
	f.next++
	f.open[e.id] = e
	return e, nil
}

// append writes one record, behind the ends that are owed, in one piece. f.mu
// is held.
func (f *File) append(op, verb string, id uint64, fields []Field) error {
	for _, x := range fields {
		if !validName(x.Key) {
			return fail(op, f.name, ErrInvalid, fmt.Sprintf("field %q", x.Key))
		}
	}
	return f.put(op, appendRecord(f.pending(), verb, id, fields))
}

// pending starts a write with what must come before the next record.
func (f *File) pending() []byte {
	b := f.buf[:0]
	if f.torn {
		b = append(b, '\n')
	}
	for _, id := range f.owed {
		b = appendRecord(b, verbEnd, id, nil)
	}
	return b
}

// put writes b, which began as pending.
func (f *File) put(op string, b []byte) error {
	f.buf = b
	n, err := write(f.fd, b)
	if n == len(b) {
		f.size += int64(n)
		f.torn, f.owed = false, nil
		return nil
	}
	if err == nil {
		err = unix.ENOSPC
	}
	if n > 0 && unix.Ftruncate(f.fd, f.size) != nil {
		// What was written stays: ends that are complete must not come twice.
		lines := bytes.Count(b[:n], []byte{'\n'})
		if f.torn {
			lines--
		}
		f.owed = f.owed[min(max(lines, 0), len(f.owed)):]
		f.size += int64(n)
		f.torn = true
	}
	return fail(op, filepath.Join(f.dir, f.name), err, "")
}

// Note adds to the entry or replaces what it said.
func (e *Entry) Note(fields ...Field) error {
	e.f.mu.Lock()
	defer e.f.mu.Unlock()
	if e.ended {
		return fail("note", e.f.name, ErrEnded, "")
	}
	if e.f.closed {
		return fail("note", e.f.name, ErrClosed, "")
	}
	if err := e.f.append("note", verbNote, e.id, fields); err != nil {
		return err
	}
	e.fields = merge(e.fields, fields)
	return nil
}

// End notes that the thing is gone, or that it is meant to stay. Ending twice
// is no error, and neither is a write that fails: the entry is ended all the
// same, and the next write says so first. Were it to stay open, a full file
// system would make a later recovery remove what is meant to stay.
func (e *Entry) End() error {
	f := e.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.ended {
		return nil
	}
	if f.closed {
		return fail("end", f.name, ErrClosed, "")
	}
	e.ended = true
	delete(f.open, e.id)
	if len(f.open) == 0 && unix.Ftruncate(f.fd, int64(len(f.head))) == nil {
		// Nothing open any more: back to the first line. One ftruncate is as
		// cheap as a write, and the file does not grow.
		f.size, f.torn, f.owed = int64(len(f.head)), false, nil
	} else if f.append("end", verbEnd, e.id, nil) != nil {
		f.owed = append(f.owed, e.id)
	}
	if f.size > compactAt {
		f.compact()
	}
	return nil
}

// compact replaces the file by one that has only the open entries. Failure is
// harmless: the old file stays as it is. f.mu is held.
func (f *File) compact() {
	b := append([]byte(nil), f.head...)
	for id := range f.next {
		if e := f.open[id]; e != nil {
			b = appendRecord(b, verbBegin, id, e.fields)
		}
	}
	if int64(len(b)) > f.size/2 {
		return
	}
	fd, err := place(f.dirfd, f.name, b, 0)
	if err != nil {
		return
	}
	unix.Close(f.fd)
	f.fd, f.size, f.torn, f.owed = fd, int64(len(b)), false, nil
}

// Close removes the file when no entry is open. Otherwise it leaves it, to be
// found when the process has ended, and returns ErrOpenEntries. A second Close
// does nothing.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	if f.fd < 0 {
		return nil
	}
	var err error
	path := filepath.Join(f.dir, f.name)
	if len(f.open) > 0 {
		if len(f.owed) > 0 {
			f.put("close", f.pending()) // the last chance to say it
		}
		err = fail("close", path, ErrOpenEntries, fmt.Sprintf("%d", len(f.open)))
	} else if err = unix.Unlinkat(f.dirfd, f.name, 0); err != nil {
		err = fail("close", path, err, "")
	}
	unix.Close(f.fd)
	unix.Close(f.dirfd)
	f.fd, f.dirfd = -1, -1
	return err
}

// tmpSuffix marks a file that has not got its name yet.
const tmpSuffix = ".new"
