// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

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

func ExampleClient_StatsPrint() {
	ctx := context.Background()
	c, k := open()
	defer c.Close()
	info, _ := c.Create(ctx, "data", dm.Table{}.Append(2048, dm.Linear{Device: "/dev/sda"}), dm.CreateOptions{})
	// Two halves, and how many I/Os took a millisecond or more.
	region, err := c.StatsCreate(ctx, info.Dev, dm.StatsOptions{Areas: 2, Histogram: []time.Duration{time.Millisecond}, Program: "example"})
	fmt.Println(region, err)
	defer c.StatsDelete(ctx, info.Dev, region)

	f, _ := k.OpenDevice("data")
	defer f.Close()
	for i := range int64(10) {
		f.WriteAt(make([]byte, 4096), i*4096) // ten in the first half
	}
	f.ReadAt(make([]byte, 8192), 1<<19) // one in the second

	areas, err := c.StatsPrint(ctx, info.Dev, region, dm.StatsPrintOptions{Clear: true})
	for _, a := range areas {
		fmt.Println(a.Start, a.Length, a.Reads, a.ReadSectors, a.Writes, a.WriteSectors, a.WritesPerSecond(5*time.Second), a.AverageSize())
	}
	areas, _ = c.StatsPrint(ctx, info.Dev, region, dm.StatsPrintOptions{})
	fmt.Println(areas[0].Writes, err)
	// Output:
	// 0: 0+2048 1024 example - histogram:1 <nil>
	// 0s 1024s 0 0s 10 80s 2 4096
	// 1024s 1024s 1 16s 0 0s 0 8192
	// 0 <nil>
}

func ExampleClient_StatsList() {
	ctx := context.Background()
	c, _ := open()
	defer c.Close()
	info, _ := c.Create(ctx, "data", dm.Table{}.Append(2048, dm.Zero{}), dm.CreateOptions{})
	c.StatsCreate(ctx, info.Dev, dm.StatsOptions{Program: "monitor", Aux: "host 7, shift 2"})
	c.StatsCreate(ctx, info.Dev, dm.StatsOptions{Start: 1024, Length: 512, Step: 64, Precise: true})
	list, err := c.StatsList(ctx, info.Dev, "monitor")
	fmt.Printf("%v %q %v\n", list[0].Length, list[0].Aux, err)
	// One that an earlier run of this program has left is found by its name.
	for _, r := range list {
		fmt.Println(c.StatsDelete(ctx, info.Dev, r))
	}
	list, _ = c.StatsList(ctx, info.Dev, "")
	fmt.Println(list)
	// Output:
	// 2048s "host 7, shift 2" <nil>
	// <nil>
	// [1: 1024+512 64 - - precise_timestamps]
}
