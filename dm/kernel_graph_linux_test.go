// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// treeEdges reads a tree of dmsetup, or ours, of any style: each line's device
// and the one above it, as "254:3 on 254:1".
func treeEdges(t *testing.T, text string) (edges []string) {
	t.Helper()
	number := regexp.MustCompile(`\((\d+:\d+)\)`)
	type level struct {
		column int
		dev    string
	}
	var above []level
	for l := range strings.Lines(text) {
		m := number.FindStringSubmatch(l)
		if m == nil {
			t.Fatalf("no device in %q of\n%s", l, text)
		}
		// The column of the name, in characters: the bars are not one byte.
		// A root without a name has a blank in its place.
		column := len([]rune(l)) - len([]rune(strings.TrimLeft(l, " │├└─|`-")))
		if !strings.ContainsAny(l[:strings.IndexByte(l, '(')], "─`|") {
			column = 0
		}
		for len(above) > 0 && above[len(above)-1].column >= column {
			above = above[:len(above)-1]
		}
		if len(above) > 0 {
			edges = append(edges, above[len(above)-1].dev+" on "+m[1])
		} else {
			edges = append(edges, m[1]+" on top")
		}
		above = append(above, level{column, m[1]})
	}
	slices.Sort(edges)
	return edges
}

// Our tree has the lines of dmsetup ls --tree, on a stack of five levels with
// diamonds, and the reverse of it those of --inverted.
func TestKernelGraphDmsetup(t *testing.T) {
	vmtest.Require(t, "dm-mod", "dm-zero", "dm-snapshot", "brd")
	disks := vmtest.RAMDisks(t, 3)
	ctx := context.Background()
	c, err := dm.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var made []dm.Dev
	defer func() {
		for _, d := range slices.Backward(made) {
			if err := c.Remove(ctx, d, dm.RemoveOptions{Retries: 20}); err != nil {
				t.Error(err)
			}
		}
	}()
	create := func(name, format string, args ...any) dm.Dev {
		t.Helper()
		tab, err := dm.ParseTable(fmt.Sprintf(format, args...))
		if err != nil {
			t.Fatal(err)
		}
		info, err := c.Create(ctx, dm.Name(name), tab, dm.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, info.Dev)
		return info.Dev
	}
	base := create("g-base", "0 4096 linear %s 0\n4096 4096 linear %s 0", disks[0], disks[1])
	left := create("g-left", "0 4096 linear %v 0", base)
	right := create("g-right", "0 4096 linear %v 4096", base)
	middle := create("g-middle", "0 8192 striped 2 8 %v 0 %v 0", left, right)
	origin := create(`g-\x22o\x22`, "0 8192 snapshot-origin %v", middle)
	create("g-snap", "0 8192 snapshot %v %s N 8", middle, disks[2])
	create("g-top", "0 4096 linear %v 0\n4096 4096 linear %v 0", origin, left)
	create("g-zero", "0 8 zero")
	made = append(made, func() dm.Dev {
		i, err := c.Create(ctx, "g-none", nil, dm.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return i.Dev
	}())

	g, err := c.Graph(ctx, dm.GraphOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, inverted := range []bool{false, true} {
		args, ours := []string{"ls", "--tree"}, g.Tree(dm.TreeOptions{Inverted: inverted})
		if inverted {
			args = append(args, "-o", "inverted")
		}
		theirs := vmtest.Output(t, "dmsetup", args...)
		t.Logf("dmsetup %v:\n%s\nours:\n%s", args, theirs, ours)
		if a, b := treeEdges(t, ours), treeEdges(t, theirs); !slices.Equal(a, b) {
			t.Errorf("inverted %v: %q\ndmsetup %q", inverted, a, b)
		}
	}
	// Down to the disks there is nothing more than RAM disks here, by name.
	for i, d := range disks {
		n := g.Leaves()
		at := slices.IndexFunc(n, func(n dm.Node) bool { return string(n.Name) == path.Base(d) })
		if at < 0 || n[at].Kind != dm.KindDisk {
			t.Errorf("disk %d: %s is not in %v", i, d, n)
		}
	}
}

// loop binds a loop device to a file or a device, until the test ends.
func loop(t *testing.T, node, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := os.OpenFile(node, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetInt(int(l.Fd()), unix.LOOP_SET_FD, int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.IoctlSetInt(int(l.Fd()), unix.LOOP_CLR_FD, 0); err != nil {
			t.Error(err)
		}
		l.Close()
	})
}

// partition adds or deletes the first partition of a disk, of 1 MiB at 1 MiB.
func partition(t *testing.T, disk string, op int32) {
	t.Helper()
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := unix.BlkpgPartition{Start: 1 << 20, Length: 1 << 20, Pno: 1}
	arg := unix.BlkpgIoctlArg{Op: op, Datalen: int32(unsafe.Sizeof(p)), Data: (*byte)(unsafe.Pointer(&p))}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg))); errno != 0 {
		t.Fatal(errno)
	}
}

// What sysfs adds: a partition's disk, the file of a loop device, and a loop
// device on a mapped one with a further one on top.
func TestKernelGraphLayers(t *testing.T) {
	vmtest.Require(t, "dm-mod", "loop")
	disk := vmtest.Disk(t)
	ctx := context.Background()
	c, err := dm.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	file := t.TempDir() + "/disk image"
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	loop(t, "/dev/loop6", file)
	partition(t, disk, unix.BLKPG_ADD_PARTITION)
	t.Cleanup(func() { partition(t, disk, unix.BLKPG_DEL_PARTITION) })
	create := func(name dm.Name, tab dm.Table) dm.Info {
		t.Helper()
		info, err := c.Create(ctx, name, tab, dm.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			c, err := dm.Open(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Remove(ctx, info.Dev, dm.RemoveOptions{Retries: 20}); err != nil {
				t.Error(err)
			}
		})
		return info
	}
	low := create("gl-low", dm.Table{}.Append(1024, dm.Linear{Device: disk + "1"}).Append(1024, dm.Linear{Device: "/dev/loop6"}))
	loop(t, "/dev/loop7", low.Dev.Path())
	create("gl-top", dm.Table{}.Append(8, dm.Linear{Device: "/dev/loop7"}))

	g, err := c.Graph(ctx, dm.GraphOptions{Layers: true})
	if err != nil {
		t.Fatal(err)
	}
	numbers := regexp.MustCompile(` \(\d+:\d+\)`)
	base := path.Base(disk)
	want := "gl-top\n └─loop7 [" + low.Dev.Path() + "]\n    └─gl-low\n       ├─loop6 [" + file + "]\n       └─" + base + "1\n          └─" + base + "\n"
	if got := numbers.ReplaceAllString(g.String(), ""); got != want {
		t.Errorf("%s\nwant\n%s", g, want)
	}
	for _, n := range g.Nodes {
		want := dm.KindMapped
		switch {
		case strings.HasPrefix(string(n.Name), "loop"):
			want = dm.KindLoop
		case string(n.Name) == base:
			want = dm.KindDisk
		case string(n.Name) == base+"1":
			want = dm.KindPartition
		}
		if n.Kind != want {
			t.Errorf("%v is of kind %s", n, n.Kind)
		}
	}
	flat, err := c.Graph(ctx, dm.GraphOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want = "gl-low\n ├─loop6 [" + file + "]\n └─" + base + "1\ngl-top\n └─loop7 [" + low.Dev.Path() + "]\n"
	if got := numbers.ReplaceAllString(flat.String(), ""); got != want {
		t.Errorf("%s\nwant\n%s", flat, want)
	}
}
