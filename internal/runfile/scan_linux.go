// SPDX-License-Identifier: MIT

package runfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Found is what Scan saw.
type Found struct {
	Dead []*Dead // to be recovered; each must be removed or closed
	// Foreign are paths of files written in another pid or time namespace:
	// whether their owner lives cannot be known from here.
	Foreign []string
	// Busy are paths of files that another scanner is recovering right now.
	Busy []string
	// Unknown are paths of files of this kind that could not be understood.
	Unknown []string
}

// Close lets go of every file in Dead that was not removed.
func (r Found) Close() {
	for _, d := range r.Dead {
		d.Close()
	}
}

// Dead is the run file of a process that is gone. Until Remove or Close it is
// locked against other scanners.
type Dead struct {
	Path string
	Log
	// OtherBoot: written before the machine was last started, so nothing in
	// the kernel is left of it.
	OtherBoot bool

	dirfd, fd int
	name      string
}

// maxFile bounds what Scan reads of one file, in bytes.
const maxFile = 64 << 20

// abandoned is the age from which a nameless file without a complete first
// line is taken for a killed process's.
const abandoned = 10 * time.Minute

// Scan looks in dir ("" is DefaultDir) for run files of this kind whose owner
// is gone. A missing folder is the same as an empty one. Files of dead owners
// without an open entry are removed on the way.
func Scan(dir, kind string) (Found, error) {
	if dir == "" {
		dir = DefaultDir
	}
	if !validName(kind) {
		return Found{}, fail("scan", dir, ErrInvalid, fmt.Sprintf("kind %q", kind))
	}
	me, err := self()
	if err != nil {
		return Found{}, fail("scan", dir, err, "")
	}
	dirfd, err := openDir(dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return Found{}, nil
	}
	if err != nil {
		return Found{}, fail("scan", dir, err, "")
	}
	defer unix.Close(dirfd)
	list, err := os.ReadDir(fmt.Sprintf("/proc/self/fd/%d", dirfd))
	if err != nil {
		return Found{}, fail("scan", dir, err, "")
	}
	var found Found
	for _, item := range list {
		name, tmp := strings.CutSuffix(item.Name(), tmpSuffix)
		k, pid, start, ok := parseName(name)
		if !ok || k != kind {
			continue
		}
		s := scanner{me: me, dirfd: dirfd, dir: dir, name: item.Name(), tmp: tmp, pid: pid, start: start}
		if err := s.one(&found); err != nil {
			found.Close()
			return Found{}, fail("scan", filepath.Join(dir, s.name), err, "")
		}
	}
	slices.SortFunc(found.Dead, func(a, b *Dead) int { return strings.Compare(a.Path, b.Path) })
	return found, nil
}

type scanner struct {
	me        Owner
	dirfd     int
	dir, name string
	tmp       bool
	pid       int
	start     uint64
}

// one judges one file.
func (s scanner) one(found *Found) (err error) {
	path := filepath.Join(s.dir, s.name)
	fd, err := unix.Openat(s.dirfd, s.name, unix.O_RDWR|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case err == unix.ENOENT:
		return nil // its owner closed it
	case err == unix.ELOOP, err == unix.ENXIO, err == unix.EISDIR:
		found.Unknown = append(found.Unknown, path)
		return nil
	case err != nil:
		return err
	}
	keep := false
	defer func() {
		if !keep {
			unix.Close(fd)
		}
	}()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 || st.Size > maxFile {
		found.Unknown = append(found.Unknown, path)
		return nil
	}
	log, err := read(fd)
	if err != nil {
		return err
	}
	if !log.Whole {
		if s.tmp && time.Since(time.Unix(st.Mtim.Unix())) > abandoned {
			return ignoreGone(unix.Unlinkat(s.dirfd, s.name, 0))
		}
		if !s.tmp {
			found.Unknown = append(found.Unknown, path)
		}
		return nil
	}
	o := log.Owner
	if o.PID != s.pid || o.Start != s.start {
		found.Unknown = append(found.Unknown, path)
		return nil
	}
	if o.Boot == s.me.Boot {
		if o.PIDNS != s.me.PIDNS || o.TimeNS != s.me.TimeNS {
			if !s.tmp {
				found.Foreign = append(found.Foreign, path)
			}
			return nil
		}
		alive, err := alive(o.PID, o.Start)
		if err != nil || alive {
			return err
		}
	}
	if err := flock(fd); err == unix.EWOULDBLOCK {
		found.Busy = append(found.Busy, path)
		return nil
	} else if err != nil {
		return err
	}
	// With the lock in hand: somebody may have removed it, or the owner may
	// have written its last words after we read.
	var now unix.Stat_t
	err = unix.Fstatat(s.dirfd, s.name, &now, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT || err == nil && (now.Ino != st.Ino || now.Dev != st.Dev) {
		return nil
	}
	if err != nil {
		return err
	}
	if log, err = read(fd); err != nil {
		return err
	}
	if s.tmp || len(log.Open) == 0 && len(log.Damaged) == 0 {
		return ignoreGone(unix.Unlinkat(s.dirfd, s.name, 0))
	}
	dirfd, err := unix.FcntlInt(uintptr(s.dirfd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	keep = true
	found.Dead = append(found.Dead, &Dead{Path: path, Log: log, OtherBoot: o.Boot != s.me.Boot,
		dirfd: dirfd, fd: fd, name: s.name})
	return nil
}

func ignoreGone(err error) error {
	if err == unix.ENOENT {
		return nil
	}
	return err
}

func flock(fd int) error {
	for {
		if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != unix.EINTR {
			return err
		}
	}
}

// read parses the whole file.
func read(fd int) (Log, error) {
	var data []byte
	buf := make([]byte, 64<<10)
	for off := int64(0); off < maxFile; {
		n, err := unix.Pread(fd, buf, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return Log{}, err
		}
		if n == 0 {
			break
		}
		data = append(data, buf[:n]...)
		off += int64(n)
	}
	return Parse(data), nil
}

// End notes in the dead process's file that one entry has been cleaned up, so
// that it is not tried again when the recovery itself is interrupted.
func (d *Dead) End(id uint64) error {
	if d.fd < 0 {
		return fail("end", d.Path, ErrClosed, "")
	}
	// The empty line closes off the line the kill may have torn.
	b := appendRecord([]byte{'\n'}, verbEnd, id, nil)
	n, err := write(d.fd, b)
	if err == nil && n < len(b) {
		err = unix.ENOSPC
	}
	if err != nil {
		return fail("end", d.Path, err, "")
	}
	d.Open = slices.DeleteFunc(d.Open, func(l Left) bool { return l.ID == id })
	return nil
}

// Remove deletes the file: everything in it has been cleaned up.
func (d *Dead) Remove() error {
	if d.fd < 0 {
		return fail("remove", d.Path, ErrClosed, "")
	}
	err := ignoreGone(unix.Unlinkat(d.dirfd, d.name, 0))
	if err != nil {
		return fail("remove", d.Path, err, "")
	}
	d.Close()
	return nil
}

// Close lets go of the file and leaves it to the next Scan.
func (d *Dead) Close() {
	if d.fd >= 0 {
		unix.Close(d.fd) // drops the lock
		unix.Close(d.dirfd)
		d.fd, d.dirfd = -1, -1
	}
}
