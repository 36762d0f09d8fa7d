// SPDX-License-Identifier: MIT

package raidtest_test

import (
	"context"
	"fmt"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/dmraid/raidtest"
)

// A mirror that a test lets sync step by step.
func ExampleModel_Step() {
	k := dmtest.New()
	model := raidtest.New(dmraid.Linux61)
	model.HoldSync(true)
	k.AddTarget(model.Target())
	for i, name := range []string{"data0", "data1", "meta0", "meta1"} {
		k.AddDisk("/dev/"+name, 8, uint32(16*i), 8192)
	}
	ctx := context.Background()
	c, err := dm.Open(ctx, dm.WithTransport(k.Transport()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	table := dm.Table{{Length: 8192, Target: dmraid.Table{
		Type: dmraid.RAID1,
		Legs: []dmraid.Leg{{Meta: "/dev/meta0", Data: "/dev/data0"}, {Meta: "/dev/meta1", Data: "/dev/data1"}},
	}}}
	if _, err := c.Create(ctx, "mirror", table, dm.CreateOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	status := func() {
		list, err := c.Status(ctx, dm.Name("mirror"), dm.StatusOptions{})
		fmt.Println(list[0].Text, err)
	}
	status()
	more, err := model.Step("mirror", 4096)
	fmt.Println(more, err)
	status()
	more, err = model.Step("mirror", 4096)
	fmt.Println(more, err)
	status()
	// Output:
	// raid1 2 aa 0/8192 resync 0 0 - <nil>
	// true <nil>
	// raid1 2 aa 4096/8192 resync 0 0 - <nil>
	// false <nil>
	// raid1 2 AA 8192/8192 idle 0 0 - <nil>
}

// Devices give package dmraid the disks of the double: here to read a
// superblock.
func ExampleDevices() {
	k := dmtest.New()
	k.AddTarget(raidtest.Target(dmraid.Linux61))
	for i := range uint32(4) {
		k.AddDisk(fmt.Sprintf("/dev/ram%d", i), 1, i, 8192)
	}
	ctx := context.Background()
	c, err := dm.Open(ctx, dm.WithTransport(k.Transport()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	table := dm.Table{{Length: 8192, Target: dmraid.Table{
		Type: dmraid.RAID1, Sync: dmraid.SyncNone,
		Legs: []dmraid.Leg{{Meta: "1:2", Data: "1:0"}, {Meta: "1:3", Data: "1:1"}},
	}}}
	if _, err := c.Create(ctx, "mirror", table, dm.CreateOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	d, err := raidtest.Devices{Kernel: k}.OpenDevice("1:3", false)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	fmt.Println(dmraid.ReadSuperblock(d))
	// Output: raid1 leg 1 of 2, events 2, clean <nil>
}
