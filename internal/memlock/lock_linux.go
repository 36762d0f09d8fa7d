// SPDX-License-Identifier: MIT

package memlock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// held counts the locks. Being locked is a property of the process, so this
// can't be anywhere but here.
var held struct {
	sync.Mutex
	n      int
	undo   []mapping // what to unlock again, one by one
	wholly bool      // undo with munlockall instead
}

// Held is one hold on the lock.
type Held struct{ once sync.Once }

// Lock makes this process able to run without reading code or its own memory
// from disk until Unlock. Calls nest; the memory stays locked until the last
// Unlock. It takes about a millisecond and the size of the binary in memory:
// the code is read in, while heap that was never touched is locked as it
// comes into use (MCL_ONFAULT), not filled in advance.
//
// It needs CAP_IPC_LOCK in the initial user namespace or a generous
// RLIMIT_MEMLOCK, else the error is ErrLimit or matches fs.ErrPermission.
//
// Memory that the host program locked itself stays locked after Unlock. Its
// own munlock or munlockall between Lock and Unlock takes effect, of course.
func Lock() (*Held, error) {
	held.Lock()
	defer held.Unlock()
	if held.n == 0 {
		if err := lock(); err != nil {
			return nil, err
		}
	}
	held.n++
	return &Held{}, nil
}

// Unlock gives the hold back. A second one does nothing; nil does nothing.
func (h *Held) Unlock() error {
	if h == nil {
		return nil
	}
	var err error
	h.once.Do(func() {
		held.Lock()
		defer held.Unlock()
		if held.n--; held.n == 0 {
			err = unlock()
		}
	})
	return err
}

func lock() error {
	before, err := readStatus()
	if err != nil {
		return fail("lock", "/proc/self/status", err)
	}
	if before.locked == 0 && !lockedAtBirth() {
		// Nobody locked anything: munlockall will restore exactly that.
		err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_ONFAULT)
		if err == nil {
			held.wholly = true
			if mayLockFuture(before) {
				// Sets the flag for new mappings only (Linux mm/mlock.c
				// apply_mlockall_flags).
				err = unix.Mlockall(unix.MCL_FUTURE | unix.MCL_ONFAULT)
			}
			if err == nil {
				err = resident()
			}
			if err != nil {
				return errors.Join(explain(err), unlock())
			}
			return nil
		}
		// ENOMEM: the whole address space is more than RLIMIT_MEMLOCK. What is
		// accessible of it may still fit.
		if err != unix.ENOMEM {
			return explain(err)
		}
	}
	return lockEach()
}

// mayLockFuture tells whether MCL_FUTURE is harmless. When a limit applies to
// us, the first mapping beyond it fails with EAGAIN, which the Go runtime
// answers with a fatal error. After mlockall has locked more than the limit
// allows we know that it does not apply; CapEff would not tell, since in a
// user namespace it shows capabilities that mlock does not accept.
func mayLockFuture(before status) bool {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &lim) != nil {
		return false
	}
	if lim.Cur == unix.RLIM_INFINITY {
		return true
	}
	now, err := readStatus()
	return err == nil && now.locked > before.locked && uint64(now.locked)<<10 > lim.Cur
}

// lockedAtBirth tells whether the host program has set MCL_FUTURE: a new page
// comes locked.
func lockedAtBirth() bool {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return true // EAGAIN: MCL_FUTURE beyond the limit
	}
	defer unix.Munmap(page)
	st, err := readStatus()
	return err != nil || st.locked != 0
}

// lockEach locks every accessible mapping that is not locked yet and remembers
// it, so that what the host locked is not undone.
func lockEach() error {
	list, err := readMaps("/proc/self/smaps")
	if err != nil {
		return fail("lock", "/proc/self/smaps", err)
	}
	for _, m := range list {
		if m.locked || m.none() || m.special() {
			continue
		}
		err := mlock2(m, unix.MLOCK_ONFAULT)
		if err == unix.ENOMEM && !stillThere(m) {
			continue // unmapped meanwhile
		}
		if err != nil {
			return errors.Join(explain(err), unlock())
		}
		held.undo = append(held.undo, m)
	}
	if err := resident(); err != nil {
		return errors.Join(explain(err), unlock())
	}
	return nil
}

// stillThere tells whether some mapping has the whole range.
func stillThere(m mapping) bool {
	list, err := readMaps("/proc/self/maps")
	return err != nil || slices.ContainsFunc(list, func(n mapping) bool {
		return n.start <= m.start && n.end >= m.end
	})
}

func unlock() error {
	undo, wholly := held.undo, held.wholly
	held.undo, held.wholly = nil, false
	if wholly {
		return fail("unlock", "", unix.Munlockall())
	}
	for _, m := range undo {
		_, _, no := unix.Syscall(unix.SYS_MUNLOCK, uintptr(m.start), uintptr(m.end-m.start), 0)
		if no != 0 && no != unix.ENOMEM { // ENOMEM: unmapped meanwhile
			return fail("unlock", "", no)
		}
	}
	return nil
}

// resident brings in what MLOCK_ONFAULT leaves out: code that was not run yet,
// and memory that is in swap at the moment.
func resident() error {
	list, err := readMaps("/proc/self/maps")
	if err != nil {
		return err
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		return cause(err)
	}
	defer mem.Close()
	for _, m := range codeFiles(list) {
		if touch(mem, m, nil) == 0 && m.perm[2] == 'x' && stillThere(m) {
			return fmt.Errorf("%s cannot be read in", m.path)
		}
	}
	// VmSwap would not tell: threads add to it with a delay of up to 64 pages
	// each (Linux mm/memory.c SPLIT_RSS_COUNTING; a per-CPU counter since 6.2).
	swaps, err := os.ReadFile("/proc/swaps")
	if err == nil && len(parseSwaps(string(swaps))) == 0 || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return swapIn(mem)
}

// touch reads a byte of every page, or of those that want is true for. Reading
// through /proc/self/mem faults a page in like an access, but a mapping
// that another thread takes away meanwhile gives an error, not a crash. It
// returns how many pages could be read.
func touch(mem *os.File, m mapping, want func(page int) bool) (pages int) {
	size := uint64(os.Getpagesize())
	var b [1]byte
	for i, at := 0, m.start; at < m.end; i, at = i+1, at+size {
		if want == nil || want(i) {
			// An error: beyond the end of the file, or gone. Nothing can run
			// from there.
			if _, err := mem.ReadAt(b[:], int64(at)); err == nil {
				pages++
			}
		}
	}
	return pages
}

// swapIn reads every page back that /proc/self/pagemap says is in swap: bit 62
// of its entry (Linux Documentation/admin-guide/mm/pagemap.rst).
func swapIn(mem *os.File) error {
	list, err := readMaps("/proc/self/smaps")
	if err != nil {
		return err
	}
	pagemap, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return cause(err)
	}
	defer pagemap.Close()
	size := uint64(os.Getpagesize())
	const chunk = 4096 // pages
	buf := make([]byte, 8*chunk)
	for _, m := range list {
		if m.swap == 0 || m.none() {
			continue
		}
		for at := m.start; at < m.end; at += chunk * size {
			part := m
			part.start, part.end = at, min(m.end, at+chunk*size)
			n, err := pagemap.ReadAt(buf[:8*(part.end-part.start)/size], int64(at/size*8))
			if err != nil && n == 0 {
				return cause(err)
			}
			touch(mem, part, func(page int) bool {
				return 8*page+8 <= n && binary.NativeEndian.Uint64(buf[8*page:])>>62&1 != 0
			})
		}
	}
	return nil
}

func mlock2(m mapping, flags int) error {
	_, _, no := unix.Syscall(unix.SYS_MLOCK2, uintptr(m.start), uintptr(m.end-m.start), uintptr(flags))
	if no != 0 {
		return no
	}
	return nil
}

func explain(err error) error {
	var lim unix.Rlimit
	e := fail("lock", "", err).(*Error)
	switch {
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EAGAIN), errors.Is(err, fs.ErrPermission):
		e.Err = fmt.Errorf("%w: %w", ErrLimit, err)
		if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &lim) == nil {
			e.Detail = fmt.Sprintf("needs CAP_IPC_LOCK or a greater RLIMIT_MEMLOCK than %d bytes", lim.Cur)
		}
	}
	return e
}

func readStatus() (status, error) {
	data, err := os.ReadFile("/proc/self/status")
	return parseStatus(string(data)), cause(err)
}

func readMaps(path string) ([]mapping, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, cause(err)
	}
	return parseMaps(string(data))
}

func stat(p string) (Info, error) {
	var st unix.Stat_t
	if err := unix.Stat(p, &st); err != nil {
		return Info{}, err
	}
	dev := func(n uint64) Dev { return Dev{unix.Major(n), unix.Minor(n)} }
	return Info{
		Dev:   dev(uint64(st.Dev)),
		Block: st.Mode&unix.S_IFMT == unix.S_IFBLK,
		Rdev:  dev(uint64(st.Rdev)),
	}, nil
}
