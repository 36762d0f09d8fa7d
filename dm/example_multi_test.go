// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
)

func ExampleMultipath() {
	ctx := context.Background()
	c, k := open()
	defer c.Close()
	table := dm.Table{}.Append(1024, dm.Multipath{
		QueueMode:    dm.QueueBio, // for disks whose drivers take no requests
		InitialGroup: 1,
		Groups: []dm.PathGroup{
			{Selector: "round-robin", Paths: []dm.Path{{Device: "/dev/sda"}}},
			{Selector: "round-robin", Paths: []dm.Path{{Device: "/dev/sdb"}}},
		},
	})
	info, err := c.Create(ctx, "mpatha", table, dm.CreateOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := c.Send(ctx, info.Dev, dm.FailPath{Device: "/dev/sda"}); err != nil {
		fmt.Println(err)
	}
	f, err := k.OpenDevice("mpatha")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	_, err = f.WriteAt(make([]byte, 4096), 0)
	fmt.Println("write:", err)
	list, err := c.Status(ctx, info.Dev, dm.StatusOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	status, err := dm.ParseMultipathStatus(list[0].Text)
	for i, g := range status.Groups {
		fmt.Printf("group %d %v: %s failed %t\n", i+1, g.State, g.Paths[0].Device, g.Paths[0].Failed)
	}
	fmt.Println(status.ValidPaths(), err)
	// Output:
	// write: <nil>
	// group 1 E: 8:0 failed true
	// group 2 A: 8:16 failed false
	// 1 <nil>
}

func ExampleClient_ProbePaths() {
	ctx := context.Background()
	k := dmtest.New(dmtest.WithVersion(4, 50, 0)) // Linux 6.16
	disk := k.AddDisk("/dev/sda", 8, 0, 1024)
	c, err := dm.Open(ctx, dm.WithTransport(k.Transport()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	table, err := dm.ParseTable("0 1024 multipath 2 queue_mode bio 0 1 1 round-robin 0 1 0 /dev/sda")
	if err != nil {
		fmt.Println(err)
		return
	}
	info, err := c.Create(ctx, "mpatha", table, dm.CreateOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := k.OpenDevice("mpatha")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	if _, err := f.ReadAt(make([]byte, 512), 0); err != nil { // chooses a group
		fmt.Println(err)
	}
	fmt.Println(c.ProbePaths(ctx, info.Dev))
	disk.Fail(0, 1024)
	err = c.ProbePaths(ctx, info.Dev)
	fmt.Println(errors.Is(err, dm.ErrNoPath), err)
	// Output:
	// <nil>
	// true dm: probe paths 254:0: no path left
}

func ExampleMirror() {
	ctx := context.Background()
	c, k := open()
	defer c.Close()
	k.HoldResyncs(true) // to see it half done
	info, err := c.Create(ctx, "mirror", dm.Table{}.Append(8192, dm.Mirror{
		Log:          dm.MirrorLog{RegionSize: 1024},
		Legs:         []dm.MirrorLeg{{Device: "/dev/sda"}, {Device: "/dev/sdb"}},
		HandleErrors: true,
	}), dm.CreateOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		list, err := c.Status(ctx, info.Dev, dm.StatusOptions{})
		if err != nil {
			fmt.Println(err)
			return
		}
		s, err := dm.ParseMirrorStatus(list[0].Text)
		fmt.Printf("%d of %d regions, complete %t, %d legs failed, %v\n", s.InSync, s.Regions, s.Complete(), len(s.Failed()), err)
		if _, err := k.Resync("mirror", 8); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// 0 of 8 regions, complete false, 0 legs failed, <nil>
	// 8 of 8 regions, complete true, 0 legs failed, <nil>
}

func ExampleSetRegionMappings() {
	m := dm.SetRegionMappings{Runs: []dm.RegionRun{
		{First: 0, Paths: []uint32{0, 1, 0, 1, 0, 1, 0, 1}},
		{First: 100, Paths: []uint32{2}},
	}}
	fmt.Println(m.Text())
	// Output:
	// set_region_mappings 0:0 :1 R2,6 64:2
}

func ExampleOpenWriteLog() {
	ctx := context.Background()
	k := dmtest.New()
	k.AddDisk("/dev/sda", 8, 0, 1024)
	log := k.AddDisk("/dev/sdb", 8, 16, 1024)
	c, err := dm.Open(ctx, dm.WithTransport(k.Transport()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	info, err := c.Create(ctx, "logged", dm.Table{}.Append(1024, dm.LogWrites{Device: "/dev/sda", LogDevice: "/dev/sdb"}), dm.CreateOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := c.Send(ctx, info.Dev, dm.LogMark{Mark: "mkfs done"}); err != nil {
		fmt.Println(err)
	}
	if err := c.Remove(ctx, info.Dev, dm.RemoveOptions{}); err != nil {
		fmt.Println(err)
	}
	l, err := dm.OpenWriteLog(log)
	if err != nil {
		fmt.Println(err)
		return
	}
	for e, err := range l.All() {
		fmt.Println(e.Mark, err)
	}
	// Output:
	// mkfs done <nil>
	// dm-log-writes-end <nil>
}
