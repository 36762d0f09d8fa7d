// SPDX-License-Identifier: MIT

package runfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// unwritable makes writes to the file fail until the returned function is
// called.
func unwritable(t *testing.T, f *File) func() {
	t.Helper()
	ro, err := unix.Open(f.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	rw := f.fd
	f.fd = ro
	return func() {
		f.fd = rw
		unix.Close(ro)
	}
}

// An end that can't be written is an end, and the next write says so.
func TestOwedEnds(t *testing.T) {
	begin := func(f *File, n int) (list []*Entry) {
		for range n {
			e, err := f.Begin()
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, e)
		}
		return list
	}
	end := func(list ...*Entry) {
		t.Helper()
		for _, e := range list {
			if err := e.End(); err != nil {
				t.Error(err)
			}
		}
	}
	left := func(f *File, data []byte, want ...uint64) {
		t.Helper()
		log := Parse(data)
		var got []uint64
		for _, l := range log.Open {
			got = append(got, l.ID)
		}
		if !log.Whole || log.Damaged != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("want %d open: %+v", want, log)
		}
	}
	read := func(path string) []byte {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	dir := filepath.Join(t.TempDir(), "run")

	// The next record brings the ends along.
	f := open(t, dir)
	e := begin(f, 4)
	again := unwritable(t, f)
	end(e[0], e[1])
	if f.OpenEntries() != 2 {
		t.Error(f.OpenEntries())
	}
	again()
	if err := e[3].Note(F("a", "1")); err != nil {
		t.Fatal(err)
	}
	left(f, read(f.Path()), 3, 4)
	// The last end cuts the file, or is owed itself.
	again = unwritable(t, f)
	end(e[2], e[3])
	again()
	left(f, read(f.Path()), 3, 4)
	e = begin(f, 1)
	left(f, read(f.Path()), 5)
	end(e...)
	if len(f.owed) != 0 || f.size != int64(len(f.head)) {
		t.Error(f.owed, f.size)
	}
	// Close unlinks although ends are owed.
	e = begin(f, 2)
	again = unwritable(t, f)
	end(e...)
	path := f.Path()
	again()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("left:", err)
	}

	// Close with an open entry says what is owed.
	f = open(t, dir)
	e = begin(f, 2)
	again = unwritable(t, f)
	end(e[0])
	again()
	path = f.Path()
	if err := f.Close(); !errors.Is(err, ErrOpenEntries) {
		t.Error(err)
	}
	left(f, read(path), 2)

	// Compacting drops what is owed.
	f = open(t, dir)
	e = begin(f, 2)
	big, err := f.Begin(F("big", strings.Repeat("x", compactAt)))
	if err != nil {
		t.Fatal(err)
	}
	again = unwritable(t, f)
	end(e[0])
	again()
	end(big)
	if len(f.owed) != 0 {
		t.Error(f.owed)
	}
	left(f, read(f.Path()), 2)
}

// An end that was written before the line tore is not written twice.
func TestOwedTorn(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	size, err := unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, 4096)
	if err != nil {
		t.Skip(err)
	}
	f := &File{fd: p[1], owed: []uint64{1, 2}} // a pipe can't be cut back
	if err := f.append("begin", verbBegin, 3, []Field{F("a", strings.Repeat("x", size))}); err == nil {
		t.Fatal("it fitted")
	}
	if !f.torn || len(f.owed) != 0 {
		t.Error(f.torn, f.owed)
	}
}

// Where /proc hides a process only its id tells that it lives.
func TestHiddenProcess(t *testing.T) {
	proc := t.TempDir()
	if ok, err := aliveIn(proc, os.Getpid(), 1); !ok || err != nil {
		t.Error("hidden:", ok, err)
	}
	p, err := os.StartProcess("/proc/self/exe", []string{"x", "-test.run=^$"}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	if ok, err := aliveIn(proc, p.Pid, 1); ok || err != nil {
		t.Error("gone:", ok, err)
	}
}
