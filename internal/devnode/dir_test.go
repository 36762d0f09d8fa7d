// SPDX-License-Identifier: MIT

package devnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fake returns a folder with the kernel's own nodes dm-0 … dm-3 of major 254.
func fake(t *testing.T) Dir {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("links and names with a backslash")
	}
	d := Dir{Root: t.TempDir(), System: Fake{}}
	for i := range uint32(4) {
		if err := d.sys().Mknod(filepath.Join(d.Root, fmt.Sprintf("dm-%d", i)), 254, i, 0o600, -1); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (d Dir) want(t *testing.T, name string, minor uint32, want State) {
	t.Helper()
	if got, err := d.Verify(name, 254, minor); got != want || err != nil {
		t.Errorf("Verify(%q, 254:%d) = %v, %v, want %v", name, minor, got, err, want)
	}
}

func (d Dir) link(t *testing.T, name, target string) {
	t.Helper()
	os.MkdirAll(d.mapper(), 0o755)
	if err := os.Symlink(target, d.Path(name)); err != nil {
		t.Fatal(err)
	}
}

// left checks that nothing but these names lies in the folder.
func (d Dir) left(t *testing.T, want ...string) {
	t.Helper()
	items, _ := os.ReadDir(d.mapper())
	var got []string
	for _, i := range items {
		got = append(got, i.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("left %q, want %q", got, want)
	}
}

func TestCreate(t *testing.T) {
	d := fake(t)
	const name = `t\x20two` // literally
	d.want(t, name, 1, Absent)
	for range 2 {
		if err := d.Create(name, 254, 1); err != nil {
			t.Fatal(err)
		}
		d.want(t, name, 1, Right)
		d.want(t, name, 2, Wrong)
	}
	if st, err := os.Stat(d.mapper()); err != nil || st.Mode().Perm() != 0o755 {
		t.Error(st, err)
	}
	// A stale node of another device.
	if err := d.Create(name, 254, 2); err != nil {
		t.Fatal(err)
	}
	d.want(t, name, 2, Right)
	d.left(t, name)
}

func TestLinks(t *testing.T) {
	d := fake(t)
	d.link(t, "a", "../dm-1")
	d.link(t, "b", filepath.Join(d.Root, "dm-1"))
	d.link(t, "gone", "../dm-9")
	d.link(t, "foreign", "../sda")
	d.link(t, "deep", "../x/dm-1")
	d.link(t, "odd", "../dm-01")
	d.want(t, "a", 1, Right)
	d.want(t, "b", 1, Right)
	d.want(t, "a", 2, Wrong)
	d.want(t, "gone", 9, Wrong)
	for _, n := range []string{"foreign", "deep", "odd"} {
		d.want(t, n, 1, Foreign)
		if err := d.Create(n, 254, 1); !errors.Is(err, ErrForeign) {
			t.Error(n, err)
		}
		if err := d.Remove(n, 254, 1); !errors.Is(err, ErrForeign) {
			t.Error(n, err)
		}
		if err := d.Rename("a", n, 254, 1); !errors.Is(err, ErrForeign) {
			t.Error(n, err)
		}
	}
	if err := d.Create("a", 254, 1); err != nil { // right already: stays a link
		t.Error(err)
	}
	if n, _ := d.sys().Lstat(d.Path("a")); n.Kind != Link {
		t.Error("link was replaced")
	}
	if err := d.Create("gone", 254, 3); err != nil {
		t.Error(err)
	}
	d.want(t, "gone", 3, Right)
	if err := d.Remove("a", 254, 2); !errors.Is(err, ErrForeign) {
		t.Error("removed another device's link", err)
	}
	if err := d.Remove("a", 254, 1); err != nil {
		t.Error(err)
	}
	d.want(t, "a", 1, Absent)
	// The kernel has removed dm-1 already.
	os.Remove(filepath.Join(d.Root, "dm-1"))
	if err := d.Remove("b", 254, 1); err != nil {
		t.Error(err)
	}
	d.want(t, "b", 1, Absent)
}

func TestForeign(t *testing.T) {
	d := fake(t)
	if err := os.MkdirAll(filepath.Join(d.mapper(), "dir", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.Path("file"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Create("n", 254, 1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dir", "file"} {
		d.want(t, name, 1, Foreign)
		for _, err := range []error{d.Create(name, 254, 1), d.Remove(name, 254, 1), d.Rename("n", name, 254, 1)} {
			e, ok := errors.AsType[*Error](err)
			if !ok || !errors.Is(err, ErrForeign) || e.Object != d.Path(name) {
				t.Error(err)
			}
		}
		d.want(t, name, 1, Foreign)
	}
	d.want(t, "n", 1, Right)
	if err := d.Remove("n", 254, 2); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
}

func TestRename(t *testing.T) {
	d := fake(t)
	if err := d.Create("a", 254, 1); err != nil {
		t.Fatal(err)
	}
	if err := d.Rename("a", "b", 254, 1); err != nil {
		t.Fatal(err)
	}
	d.left(t, "b")
	if err := d.Rename("b", "b", 254, 1); err != nil {
		t.Fatal(err)
	}
	// The old one is missing: the new one is made.
	if err := d.Rename("none", "c", 254, 2); err != nil {
		t.Fatal(err)
	}
	d.want(t, "c", 2, Right)
	// The old one is another device's: left alone.
	if err := d.Rename("b", "d", 254, 3); err != nil {
		t.Fatal(err)
	}
	d.want(t, "b", 1, Right)
	d.want(t, "d", 3, Right)
	// Over a stale node.
	if err := d.Rename("b", "d", 254, 1); err != nil {
		t.Fatal(err)
	}
	d.want(t, "d", 1, Right)
	// Two names of one inode.
	if err := os.Link(d.Path("d"), d.Path("e")); err != nil {
		t.Fatal(err)
	}
	if err := d.Rename("d", "e", 254, 1); err != nil {
		t.Fatal(err)
	}
	d.left(t, "c", "e")
	// A link moves as it is.
	d.link(t, "l", "../dm-3")
	if err := d.Rename("l", "m", 254, 3); err != nil {
		t.Fatal(err)
	}
	d.want(t, "m", 3, Right)
	d.left(t, "c", "e", "m")
}

func TestNames(t *testing.T) {
	d := fake(t)
	for _, name := range []string{"", ".", "..", "control", "a/b", "/", "a\x00b", strings.Repeat("n", 256), ".linuxblock-1-2.tmp"} {
		_, err := d.Verify(name, 1, 1)
		for _, err := range []error{err, d.Create(name, 1, 1), d.Remove(name, 1, 1), d.Rename(name, "x", 1, 1), d.Rename("x", name, 1, 1)} {
			if !errors.Is(err, ErrName) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	d.left(t)
	for _, name := range []string{"...", "controls", ".hidden", "ünï", strings.Repeat("n", 127), ".linuxblock-x"} {
		if err := d.Create(name, 254, 1); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestListAndSweep(t *testing.T) {
	d := fake(t)
	if list, err := d.List(); len(list) != 0 || err != nil {
		t.Error(list, err)
	}
	if err := d.Sweep(); err != nil {
		t.Error(err)
	}
	if err := d.Create("b", 254, 1); err != nil {
		t.Fatal(err)
	}
	d.link(t, "a", "../dm-2")
	old, young, alien := d.Path(".linuxblock-77-1.tmp"), d.Path(".linuxblock-77-2.tmp"), d.Path(".linuxblock-77-3.tmp")
	for _, p := range []string{old, young} {
		if err := d.sys().Mknod(p, 254, 1, Perm, -1); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{d.Path("control"), alien, d.Path("file")} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{old, alien} {
		if err := os.Chtimes(p, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	list, err := d.List()
	want := []Node{{Name: "a", Kind: Link, Target: "../dm-2"}, {Name: "b", Kind: Block, Major: 254, Minor: 1}, {Name: "file", Kind: Other}}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("%+v %v", list, err)
	}
	if err := d.Sweep(); err != nil {
		t.Error(err)
	}
	d.left(t, filepath.Base(young), filepath.Base(alien), "a", "b", "control", "file")
}

// A reader of the name sees the old or the new node at every moment.
func TestAtomic(t *testing.T) {
	d := fake(t)
	if err := d.Create("n", 254, 0); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if n, err := (Fake{}).Lstat(d.Path("n")); err != nil || n.Kind != Block {
				t.Errorf("%+v %v", n, err)
				return
			}
		}
	})
	var makers sync.WaitGroup
	for g := range 4 {
		makers.Go(func() {
			for i := range 100 {
				if err := d.Create("n", 254, uint32(i+g)%4); err != nil {
					t.Error(err)
				}
			}
		})
	}
	makers.Wait()
	close(stop)
	wg.Wait()
	d.left(t, "n")
}

// failing makes Mknod fail with an errno.
type failing struct {
	Fake
	err error
}

func (f failing) Mknod(string, uint32, uint32, fs.FileMode, int) error { return f.err }

func TestMknodFails(t *testing.T) {
	d := Dir{Root: t.TempDir(), System: failing{err: syscall.EPERM}}
	err := d.Create("n", 254, 1)
	e, ok := errors.AsType[*Error](err)
	if !ok || !errors.Is(err, fs.ErrPermission) || e.Code != int(syscall.EPERM) || e.Op != "create" {
		t.Error(err)
	}
	d.left(t)
	d = Dir{Root: filepath.Join(t.TempDir(), "none"), System: Fake{}}
	if err := d.Create("n", 254, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestGroup(t *testing.T) {
	const text = "root:x:0:\n# a comment\nbroken\ndisk2:x:9:\ndisk:x:6:a,b\ndisk:x:7:\n"
	if id := parseGroup(strings.NewReader(text), "disk"); id != 6 {
		t.Error(id)
	}
	for _, bad := range []string{"", "disk:x:-1:\n", "disk:x:99999999999:\n", "disk:x\n"} {
		if id := parseGroup(strings.NewReader(bad), "disk"); id != 0 {
			t.Errorf("%q: %d", bad, id)
		}
	}
	if id := groupID(filepath.Join(t.TempDir(), "none"), "disk"); id != 0 {
		t.Error(id)
	}
}

func FuzzParseGroup(f *testing.F) {
	f.Add("root:x:0:\ndisk:x:6:a,b\n")
	f.Fuzz(func(t *testing.T, text string) {
		if id := parseGroup(strings.NewReader(text), "disk"); id < 0 {
			t.Fatal(id)
		}
	})
}

func FuzzLinksTo(f *testing.F) {
	f.Add("../dm-1")
	f.Add("/dev/dm-12")
	f.Fuzz(func(t *testing.T, target string) {
		if n, ok := (Dir{}).linksTo(target); ok && !strings.HasSuffix(filepath.Clean(target), fmt.Sprintf("dm-%d", n)) {
			t.Fatal(n)
		}
	})
}

func TestStrings(t *testing.T) {
	if s := fmt.Sprint(Missing, Block, Link, Other, Kind(9), Absent, Right, Wrong, Foreign, State(9)); s !=
		"missing block node link other file kind(9) absent right wrong foreign state(9)" {
		t.Error(s)
	}
	err := foreign("create", "/x", Node{Kind: Block, Major: 1, Minor: 2})
	if s := err.Error(); s != "node: create /x: not a device-mapper node of ours: block node 1:2" {
		t.Error(s)
	}
	if runtime.GOOS != "linux" {
		if err := (Dir{Root: t.TempDir()}).Create("x", 1, 1); !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
	}
}
