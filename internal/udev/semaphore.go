// SPDX-License-Identifier: MIT

package udev

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// Semaphore is one cookie semaphore that exists in this IPC namespace, whoever
// made it.
type Semaphore struct {
	SemID int
	Key   uint32
	// Value is the number of events still awaited plus one for the waiting
	// program; -1 when it may not be read (another user's).
	Value int
	// LastPID is the process that changed it last, 0 when nobody has yet, -1
	// when it may not be read. Both 0 and Value 0 mean: made, not yet set.
	LastPID int
	UID     int       // owner
	Changed time.Time // made or set to a value (sem_ctime), whole seconds
	Used    time.Time // last semop (sem_otime); zero when there was none
}

// sysvipc lists every semaphore set of the reader's IPC namespace, readable by
// everybody (Linux ipc/sem.c sysvipc_sem_proc_show).
const sysvipc = "/proc/sysvipc/sem"

// List returns every cookie semaphore in this IPC namespace, in the kernel's
// order. A semaphore that vanishes meanwhile is left out.
func List() ([]Semaphore, error) {
	if runtime.GOOS != "linux" {
		return nil, fail("list", "", errors.ErrUnsupported)
	}
	f, err := os.Open(sysvipc)
	if err != nil {
		return nil, fail("list", sysvipc, err)
	}
	defer f.Close()
	all, err := parseSysvipc(f)
	if err != nil {
		return nil, fail("list", sysvipc, err)
	}
	found := all[:0]
	for _, s := range all {
		if err := s.read(); isGone(err) {
			continue
		} else if err != nil && !errors.Is(err, fs.ErrPermission) {
			return nil, fail("list", object(s.Key), err)
		}
		found = append(found, s)
	}
	return found, nil
}

// read fills in what /proc/sysvipc/sem does not have.
func (s *Semaphore) read() error {
	s.Value, s.LastPID = -1, -1
	pid, err := semgetpid(s.SemID)
	if err != nil {
		return err
	}
	val, err := semgetval(s.SemID)
	if err != nil {
		return err
	}
	s.Value, s.LastPID = val, pid
	return nil
}

// parseSysvipc reads the columns key semid perms nsems uid gid cuid cgid otime
// ctime and keeps the cookies: sets of one semaphore with a cookie's key.
func parseSysvipc(r io.Reader) ([]Semaphore, error) {
	var found []Semaphore
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if n == 1 {
			continue // headings
		}
		f := bytes.Fields(lines.Bytes())
		if len(f) == 0 {
			continue
		}
		if len(f) < 10 {
			return nil, fmt.Errorf("line %d: %d columns, want 10", n, len(f))
		}
		var v [10]int64
		for i := range v {
			x, err := strconv.ParseInt(string(f[i]), 10, 64)
			if err != nil && i != 2 { // perms are octal and not needed
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			v[i] = x
		}
		key := uint32(int32(v[0])) // key_t is printed signed
		if int64(int32(v[0])) != v[0] || !IsKey(key) || v[3] != 1 || v[1] < 0 || v[1] > 1<<31-1 {
			continue
		}
		s := Semaphore{SemID: int(v[1]), Key: key, UID: int(v[4]), Changed: time.Unix(v[9], 0)}
		if v[8] != 0 {
			s.Used = time.Unix(v[8], 0)
		}
		found = append(found, s)
	}
	return found, lines.Err()
}

// Inspect returns the cookie semaphore with this key; fs.ErrNotExist when
// there is none.
func Inspect(key uint32) (Semaphore, error) {
	if !IsKey(key) {
		return Semaphore{}, &Error{Area: area, Op: "inspect", Object: object(key), Err: ErrMismatch, Detail: "not a cookie's key"}
	}
	all, err := List()
	if err != nil {
		return Semaphore{}, err
	}
	for _, s := range all {
		if s.Key == key {
			return s, nil
		}
	}
	return Semaphore{}, fail("inspect", object(key), syscall.ENOENT)
}

// Remove destroys a semaphore if its key still leads to this semid. It
// returns fs.ErrNotExist when the key leads nowhere and ErrMismatch when it
// leads to another one, which is left alone. A semid is not reused before
// 2^16 or more others were made, so the little time between look and removal
// does no harm.
func Remove(semid int, key uint32) error {
	if !IsKey(key) {
		return &Error{Area: area, Op: "remove", Object: object(key), Err: ErrMismatch, Detail: "not a cookie's key"}
	}
	id, err := semget(key, 0)
	if err != nil {
		return fail("remove", object(key), err)
	}
	if id != semid {
		return &Error{Area: area, Op: "remove", Object: object(key), Err: ErrMismatch,
			Detail: fmt.Sprintf("semid is %d, not %d", id, semid)}
	}
	if err := semrmid(semid); err != nil && !isGone(err) {
		return fail("remove", object(key), err)
	}
	return nil
}

// settle is how long a semaphore without a value must stay so before Recover
// takes it for abandoned. A living maker sets it microseconds after semget.
const settle = 250 * time.Millisecond

// Recover removes what a killed process left of a cookie, told by its run
// file: the key, the semid or -1 when the process died before it could note it,
// and the process id. With an unknown semid only a semaphore that this very
// process touched last, or that nobody has ever given a value, is removed:
// otherwise the key was taken by somebody else and New had gone on to another
// one. removed is false when there was nothing to remove.
func Recover(key uint32, semid, pid int) (removed bool, err error) {
	if semid >= 0 {
		err := Remove(semid, key)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrMismatch) && IsKey(key) {
			return false, nil
		}
		return err == nil, err
	}
	var fresh int
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		s, err := Inspect(key)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		switch {
		case s.LastPID == pid:
		case s.LastPID == 0 && s.Value == 0:
			if time.Since(start) < settle || s.SemID != fresh {
				if s.SemID != fresh {
					start, fresh = time.Now(), s.SemID
				}
				continue
			}
		default:
			return false, nil
		}
		return Recover(key, s.SemID, pid)
	}
}
