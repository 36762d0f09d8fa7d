// SPDX-License-Identifier: MIT

package runfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t testing.TB, dir string) *File {
	t.Helper()
	f, err := Open(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func content(t testing.TB, f *File) Log {
	t.Helper()
	data, err := os.ReadFile(f.Path())
	if err != nil {
		t.Fatal(err)
	}
	return Parse(data)
}

func TestLife(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	f := open(t, dir)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || f.Path() != "" {
		t.Error("made too early:", err)
	}
	a, err := f.Begin(F("cookie", "0xd4d0001"), F("odd", "\x00\n\" ü\xff"))
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Error(st, err)
	}
	if st, err := os.Stat(f.Path()); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st, err)
	}
	b, err := f.Begin(F("node", "x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Note(F("semid", "5"), F("cookie", "0xd4d0002")); err != nil {
		t.Fatal(err)
	}
	want := []Left{
		{1, []Field{{"cookie", "0xd4d0002"}, {"odd", "\x00\n\" ü\xff"}, {"semid", "5"}}},
		{2, []Field{{"node", "x"}}},
	}
	log := content(t, f)
	if !log.Whole || log.Owner.PID != os.Getpid() || !reflect.DeepEqual(log.Open, want) || log.Damaged != nil {
		t.Errorf("%+v", log)
	}
	if want[0].Get("semid") != "5" || want[0].Get("none") != "" {
		t.Error("Get")
	}
	if f.OpenEntries() != 2 {
		t.Error(f.OpenEntries())
	}
	for range 2 {
		if err := a.End(); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Note(F("x", "")); !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
	if log := content(t, f); !reflect.DeepEqual(log.Open, want[1:]) {
		t.Errorf("%+v", log)
	}
	if err := b.End(); err != nil {
		t.Fatal(err)
	}
	st, _ := os.Stat(f.Path())
	if st.Size() != int64(len(f.head)) {
		t.Error("not cut back:", st.Size())
	}
	c, err := f.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if log := content(t, f); !log.Whole || len(log.Open) != 1 {
		t.Errorf("%+v", log)
	}
	path := f.Path()
	if err := f.Close(); !errors.Is(err, ErrOpenEntries) {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("removed with an open entry")
	}
	if err := c.End(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := f.Begin(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestCloseRemoves(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	f, g := open(t, dir), open(t, dir)
	for _, x := range []*File{f, g} {
		e, err := x.Begin()
		if err != nil {
			t.Fatal(err)
		}
		if err := e.End(); err != nil {
			t.Fatal(err)
		}
	}
	if f.Path() == g.Path() {
		t.Error("two clients share", f.Path())
	}
	for _, x := range []*File{f, g} {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := open(t, dir).Close(); err != nil {
		t.Error("unused:", err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}

func TestInvalid(t *testing.T) {
	for _, kind := range []string{"", "a/b", "A", "a b", strings.Repeat("a", 65)} {
		if _, err := Open("", kind); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", kind, err)
		}
		if _, err := Scan("", kind); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", kind, err)
		}
	}
	f := open(t, filepath.Join(t.TempDir(), "run"))
	if _, err := f.Begin(F("a=b", "")); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if f.OpenEntries() != 0 {
		t.Error("counted")
	}
}

func TestUnsafeFolder(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "real")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(top, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(top, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open2 := filepath.Join(top, "open")
	if err := os.Mkdir(open2, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open2, 0o770); err != nil {
		t.Fatal(err)
	}
	bad := []string{link, file, open2}
	if os.Getuid() == 0 {
		other := filepath.Join(top, "other")
		if err := os.Mkdir(other, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(other, 12345, -1); err != nil {
			t.Fatal(err)
		}
		bad = append(bad, other)
	}
	for _, d := range bad {
		if _, err := open(t, d).Begin(); !errors.Is(err, ErrUnsafe) {
			t.Errorf("Begin in %s: %v", d, err)
		}
		if _, err := Scan(d, "test"); !errors.Is(err, ErrUnsafe) {
			t.Errorf("Scan of %s: %v", d, err)
		}
	}
	if _, err := open(t, filepath.Join(top, "no", "such")).Begin(); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestConcurrent(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "run"))
	var wg sync.WaitGroup
	var mu sync.Mutex
	want := map[string]bool{}
	for i := range 50 {
		wg.Go(func() {
			for j := range 40 {
				v := fmt.Sprint(i, " ", j)
				e, err := f.Begin(F("v", v))
				if err != nil {
					t.Error(err)
					return
				}
				if err := e.Note(F("n", v)); err != nil {
					t.Error(err)
				}
				if j%10 == 9 {
					mu.Lock()
					want[v] = true
					mu.Unlock()
				} else if err := e.End(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	log := content(t, f)
	if len(log.Damaged) != 0 || len(log.Open) != len(want) {
		t.Fatalf("%d open, want %d; damaged %q", len(log.Open), len(want), log.Damaged)
	}
	for _, l := range log.Open {
		if !want[l.Get("v")] || l.Get("n") != l.Get("v") {
			t.Errorf("%+v", l)
		}
	}
}

// One entry stays open while thousands come and go.
func TestCompact(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "run"))
	stay, err := f.Begin(F("stay", "1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := stay.Note(F("more", "2")); err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		e, err := f.Begin(F("go", strings.Repeat("x", 50)))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.End(); err != nil {
			t.Fatal(err)
		}
	}
	st, err := os.Stat(f.Path())
	if err != nil || st.Size() > compactAt+1000 {
		t.Error(st.Size(), err)
	}
	want := []Left{{1, []Field{{"stay", "1"}, {"more", "2"}}}}
	if log := content(t, f); !reflect.DeepEqual(log.Open, want) || log.Damaged != nil {
		t.Errorf("%+v", log)
	}
	if list, _ := os.ReadDir(filepath.Dir(f.Path())); len(list) != 1 {
		t.Error(list)
	}
}

// A full file system tears a line; the next one must still be readable.
func TestNoSpace(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "run"))
	e, err := f.Begin(F("a", "1"))
	if err != nil {
		t.Fatal(err)
	}
	// RLIMIT_FSIZE would hit the whole test process with SIGXFSZ; tear by hand.
	if _, err := unix.Write(f.fd, []byte(`note 1 a="`)); err != nil {
		t.Fatal(err)
	}
	f.size += 10
	f.torn = true
	if err := e.Note(F("b", "2")); err != nil {
		t.Fatal(err)
	}
	log := content(t, f)
	if !reflect.DeepEqual(log.Open, []Left{{1, []Field{{"a", "1"}, {"b", "2"}}}}) || len(log.Damaged) != 1 {
		t.Errorf("%+v", log)
	}
	// A failed write changes nothing: the descriptor is made unwritable.
	ro, err := unix.Open(f.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	rw := f.fd
	f.fd = ro
	if _, err := f.Begin(); !errors.Is(err, unix.EBADF) {
		t.Error(err)
	}
	if err := e.Note(F("c", "3")); !errors.Is(err, unix.EBADF) {
		t.Error(err)
	}
	f.fd = rw
	unix.Close(ro)
	if f.OpenEntries() != 1 {
		t.Error(f.OpenEntries())
	}
	if err := e.End(); err != nil {
		t.Error(err)
	}
}

func BenchmarkBeginNoteEnd(b *testing.B) {
	dir, err := os.MkdirTemp("/dev/shm", "runfile")
	if err != nil {
		dir = b.TempDir()
	}
	defer os.RemoveAll(dir)
	f := open(b, filepath.Join(dir, "run"))
	b.ReportAllocs()
	for b.Loop() {
		e, err := f.Begin(F("cookie", "0xd4d1234"), F("op", "create"))
		if err != nil {
			b.Fatal(err)
		}
		if err := e.Note(F("semid", "12345")); err != nil {
			b.Fatal(err)
		}
		if err := e.End(); err != nil {
			b.Fatal(err)
		}
	}
}
