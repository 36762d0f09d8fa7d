// SPDX-License-Identifier: MIT

//go:build unix

package dm

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/linuxblock/linuxblock/internal/blockdev"
)

// The part of sysfs around a small stack: partition, RAID, loop device below,
// a RAID on top; and a device that is gone.
func TestGraphLayers(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dirs := map[string]string{}
	device := func(dir, number string, files ...string) {
		dirs[filepath.Base(dir)] = filepath.Join(root, "devices", dir)
		files = append(files, "dev", number)
		for i := 0; i < len(files); i += 2 {
			path := filepath.Join(root, "devices", dir, files[i])
			must(os.MkdirAll(filepath.Dir(path), 0o755))
			must(os.WriteFile(path, []byte(files[i+1]+"\n"), 0o644))
		}
		must(os.MkdirAll(filepath.Join(root, "dev/block"), 0o755))
		must(os.Symlink(filepath.Join(root, "devices", dir), filepath.Join(root, "dev/block", number)))
	}
	on := func(upper, lower string) {
		for _, l := range [][3]string{{upper, "slaves", lower}, {lower, "holders", upper}} {
			must(os.MkdirAll(filepath.Join(dirs[l[0]], l[1]), 0o755))
			must(os.Symlink(dirs[l[2]], filepath.Join(dirs[l[0]], l[1], l[2])))
		}
	}
	device("sda", "8:0")
	device("sda/sda1", "8:1", "partition", "1")
	device("sdb", "8:16")
	device("sdc", "8:32")
	device("loop0", "7:0", "loop/backing_file", "/disk.img")
	device("md0", "9:0", "md/level", "raid1")
	device("md1", "9:1", "md/level", "raid0")
	device("dm-0", "254:0", "dm/name", "a")
	device("dm-1", "254:1", "dm/name", "b")
	on("md0", "sda1")
	on("md0", "sdb")
	on("dm-0", "md0")
	on("dm-0", "loop0")
	on("dm-1", "dm-0")
	on("md1", "dm-1")
	on("md1", "sdc")

	k, c := smallDouble(t)
	defer c.Close()
	for path, number := range map[string][2]uint32{"/dev/md0": {9, 0}, "/dev/loop0": {7, 0}, "/dev/gone": {8, 48}} {
		k.AddDisk(path, number[0], number[1], 1000)
	}
	a := Table{}.Append(8, Linear{Device: "/dev/md0"}).Append(8, Linear{Device: "/dev/loop0"}).Append(8, Linear{Device: "/dev/gone"})
	_, err := c.Create(ctx, "a", a, CreateOptions{})
	must(err)
	_, err = c.Create(ctx, "b", Table{}.Append(8, Linear{Device: "/dev/mapper/a"}), CreateOptions{})
	must(err)
	release, err := k.Hold("b") // md1 does
	must(err)
	defer release()
	c.host.system = &machine{sysfs: blockdev.SysFS{Root: root}}

	for _, tt := range []struct {
		opts GraphOptions
		want string
	}{
		{GraphOptions{}, `b (254:1)
 └─a (254:0)
    ├─loop0 (7:0) [/disk.img]
    ├─md0 (9:0)
    └─(8:48) [missing]
`},
		{GraphOptions{Layers: true}, `md1 (9:1)
 ├─b (254:1)
 │  └─a (254:0)
 │     ├─loop0 (7:0) [/disk.img]
 │     ├─md0 (9:0)
 │     │  ├─sda1 (8:1)
 │     │  │  └─sda (8:0)
 │     │  └─sdb (8:16)
 │     └─(8:48) [missing]
 └─sdc (8:32)
`},
	} {
		g, err := c.Graph(ctx, tt.opts)
		if err != nil || g.String() != tt.want {
			t.Errorf("%+v: %v\n%v", tt.opts, err, g)
			continue
		}
		kinds := map[string]Kind{"a": KindMapped, "loop0": KindLoop, "md0": KindRAID, "sda1": KindPartition, "sdb": KindDisk, "": KindMissing, "md1": KindRAID}
		for _, n := range g.Nodes {
			if want, ok := kinds[string(n.Name)]; ok && n.Kind != want {
				t.Errorf("%v is of kind %s", n, n.Kind)
			}
		}
		if got, want := names(g.Dependents(Dev{8, 0})), map[bool]string{true: "md1 b a md0 sda1"}[tt.opts.Layers]; got != want {
			t.Errorf("dependents of sda: %q, want %q", got, want)
		}
		if got := g.OpenElsewhere(Dev{254, 1}); got != map[bool]int{false: 1}[tt.opts.Layers] {
			t.Errorf("b is open elsewhere %d times", got)
		}
	}
}
