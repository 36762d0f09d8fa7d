// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// open opens a double with two disks; a real program calls dm.Open(ctx).
func open() (*dm.Client, *dmtest.Kernel) {
	k := dmtest.New()
	k.AddDisk("/dev/sda", 8, 0, 1<<20)
	k.AddDisk("/dev/sdb", 8, 16, 1<<20)
	c, err := dm.Open(context.Background(), dm.WithTransport(k.Transport()))
	if err != nil {
		panic(err)
	}
	return c, k
}

func ExampleClient_Create() {
	ctx := context.Background()
	c, _ := open()
	defer c.Close()
	table := dm.Table{}.
		Append(2048, dm.Linear{Device: "/dev/sda", Offset: 8}).
		Append(1024, dm.Zero{})
	info, err := c.Create(ctx, "data", table, dm.CreateOptions{UUID: "MYAPP-data"})
	fmt.Println(info.Name, info.Dev, info.Dev.Path(), err)
	live, err := c.Table(ctx, info.Dev, dm.StatusOptions{})
	fmt.Println(live, err)
	// Output:
	// data 254:0 /dev/dm-0 <nil>
	// 0 2048 linear 8:0 8
	// 2048 1024 zero <nil>
}

func ExampleClient_Create_errors() {
	ctx := context.Background()
	c, _ := open()
	defer c.Close()
	_, err := c.Create(ctx, "data", dm.Table{}.Append(1<<30, dm.Linear{Device: "/dev/sda"}), dm.CreateOptions{})
	fmt.Println(errors.Is(err, dm.ErrBadTable), err)
	_, err = c.Create(ctx, "data", dm.Table{}.Append(8, dm.Raw{Type: "linear", Text: "/dev/sda"}), dm.CreateOptions{})
	fmt.Println(err)
	_, err = c.Info(ctx, dm.Name("data"))
	fmt.Println(errors.Is(err, fs.ErrNotExist), err)
	// Output:
	// true dm: create data: segment 0 (linear): wants sectors 0 to 1073741824 of /dev/sda, which has 1048576
	// dm: create data: linear: Invalid argument count (-EINVAL): EINVAL
	// true dm: info data: no such device (ENXIO)
}

func ExampleClient_Reload() {
	ctx := context.Background()
	c, _ := open()
	defer c.Close()
	info, _ := c.Create(ctx, "data", dm.Table{}.Append(2048, dm.Linear{Device: "/dev/sda"}), dm.CreateOptions{})
	// Grow it, on another disk, while it is in use.
	table := dm.Table{}.
		Append(2048, dm.Linear{Device: "/dev/sda"}).
		Append(4096, dm.Linear{Device: "/dev/sdb"})
	info, err := c.Reload(ctx, info.Dev, table, dm.ReloadOptions{})
	fmt.Println(info.Targets, info.Suspended, err)
	// Output: 2 false <nil>
}

func ExampleClient_Events() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, _ := open()
	defer c.Close()
	c.Create(ctx, "first", nil, dm.CreateOptions{})
	go func() {
		c.Rename(ctx, dm.Name("first"), "second", dm.RenameOptions{})
	}()
	for ev, err := range c.Events(ctx, dm.EventOptions{Initial: true}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if ev.Name == "second" {
			fmt.Println("there is", ev.Name)
			return
		}
	}
	// Output: there is second
}

func ExampleClient_Remove() {
	ctx := context.Background()
	c, k := open()
	defer c.Close()
	c.Create(ctx, "data", dm.Table{}.Append(8, dm.Zero{}), dm.CreateOptions{})
	release, _ := k.Hold("data")
	err := c.Remove(ctx, dm.Name("data"), dm.RemoveOptions{})
	fmt.Println(errors.Is(err, dm.ErrBusy), err)
	release()
	fmt.Println(c.Remove(ctx, dm.Name("data"), dm.RemoveOptions{}))
	// Output:
	// true dm: remove data: in use (EBUSY)
	// <nil>
}

func ExampleClient_WhileSuspended() {
	ctx := context.Background()
	c, _ := open()
	defer c.Close()
	c.Create(ctx, "a", dm.Table{}.Append(8, dm.Linear{Device: "/dev/sda"}), dm.CreateOptions{})
	c.Create(ctx, "b", dm.Table{}.Append(8, dm.Linear{Device: "/dev/sdb"}), dm.CreateOptions{})
	both := []dm.Ref{dm.Name("a"), dm.Name("b")}
	err := c.WhileSuspended(ctx, both, dm.GuardOptions{}, func(ctx context.Context) error {
		// No I/O reaches either device now: swap the two.
		if err := c.Load(ctx, both[0], dm.Table{}.Append(8, dm.Linear{Device: "/dev/sdb"}), dm.LoadOptions{}); err != nil {
			return err
		}
		return c.Load(ctx, both[1], dm.Table{}.Append(8, dm.Linear{Device: "/dev/sda"}), dm.LoadOptions{})
	})
	a, _ := c.Table(ctx, both[0], dm.StatusOptions{})
	b, _ := c.Table(ctx, both[1], dm.StatusOptions{})
	fmt.Println(err, a, b)
	// Output: <nil> 0 8 linear 8:16 0 0 8 linear 8:0 0
}

func ExampleMangle() {
	name, err := dm.Mangle("my volume", dm.MangleAuto)
	fmt.Println(name, err)
	fmt.Println(name.Unmangle())
	// Output:
	// my\x20volume <nil>
	// my volume
}

func ExampleParseTable() {
	table, err := dm.ParseTable("0 2048 striped 2 128 /dev/sda 0 /dev/sdb 0\n# a comment\n2048 8 future-target a b c")
	fmt.Println(err)
	for _, s := range table {
		fmt.Printf("%T %v\n", s.Target, s)
	}
	fmt.Println(table.Length(), table.Validate())
	// Output:
	// <nil>
	// dm.Striped 0 2048 striped 2 128 /dev/sda 0 /dev/sdb 0
	// dm.Raw 2048 8 future-target a b c
	// 2056s <nil>
}

func ExampleParseLVMName() {
	l, ok := dm.ParseLVMName("vg--a-lv--b-real")
	fmt.Println(l.VG, l.LV, l.Layer, ok)
	// Output: vg-a lv-b real true
}
