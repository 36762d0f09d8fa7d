// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"context"
	"fmt"
	"log"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/dmraid/raidtest"
)

// exampleKernel is a pretended kernel with ten disks. On a real one it would be
//
//	c, err := dm.Open(ctx, dm.WithTargets(dmraid.Parsers()))
//
// without the options for devices below.
func exampleKernel() (*dm.Client, dmraid.ArrayOption, *dmtest.Kernel) {
	k := dmtest.New()
	k.AddTarget(raidtest.Target(dmraid.Linux61))
	for i := range 10 {
		k.AddDisk(fmt.Sprintf("/dev/sd%c", 'a'+i), 8, uint32(16*i), 16384)
	}
	c, err := dm.Open(context.Background(), dm.WithTransport(k.Transport()), dm.WithTargets(dmraid.Parsers()))
	if err != nil {
		log.Fatal(err)
	}
	return c, dmraid.WithDevices(raidtest.Devices{Kernel: k}), k
}

// exampleArray is a raid1 of /dev/sda to /dev/sdd, in sync.
func exampleArray() (*dmraid.Array, *dm.Client, *dmtest.Kernel) {
	ctx := context.Background()
	c, devices, k := exampleKernel()
	p, err := dmraid.PlanCreate(ctx, c, dmraid.NewArray{
		Name:   "home",
		Table:  dmraid.Table{Type: dmraid.RAID1, RegionSize: 1024, Legs: []dmraid.Leg{{Meta: "/dev/sda", Data: "/dev/sdb"}, {Meta: "/dev/sdc", Data: "/dev/sdd"}}},
		Length: 8192,
	}, devices)
	if err == nil {
		err = p.Run(ctx, linuxblock.RunOptions{})
	}
	if err != nil {
		log.Fatal(err)
	}
	a, err := dmraid.OpenArray(ctx, c, dm.Name("home"), devices)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := a.WaitIdle(ctx, dmraid.WatchOptions{}); err != nil {
		log.Fatal(err)
	}
	return a, c, k
}

func ExamplePlanCreate() {
	ctx := context.Background()
	c, devices, _ := exampleKernel()
	defer c.Close()
	p, err := dmraid.PlanCreate(ctx, c, dmraid.NewArray{
		Name:   "home",
		Table:  dmraid.Table{Type: dmraid.RAID1, Legs: []dmraid.Leg{{Meta: "/dev/sda", Data: "/dev/sdb"}, {Meta: "/dev/sdc", Data: "/dev/sdd"}}},
		Length: 8192,
	}, devices)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(p)
	fmt.Println(p.Run(ctx, linuxblock.RunOptions{}))
	// Output:
	// create home
	//   1. zero the superblock and the bitmap on /dev/sda
	//   2. zero the superblock and the bitmap on /dev/sdc
	//   3. create home with 0 8192 raid raid1 1 0 2 /dev/sda /dev/sdb /dev/sdc /dev/sdd
	// <nil>
}

// The word sync would make an array that calls itself clean and is not.
func ExamplePlanCreate_trap() {
	c, devices, _ := exampleKernel()
	defer c.Close()
	_, err := dmraid.PlanCreate(context.Background(), c, dmraid.NewArray{
		Name:   "home",
		Table:  dmraid.Table{Type: dmraid.RAID1, Sync: dmraid.SyncForce, Legs: []dmraid.Leg{{Meta: "/dev/sda", Data: "/dev/sdb"}, {Meta: "/dev/sdc", Data: "/dev/sdd"}}},
		Length: 8192,
	}, devices)
	fmt.Println(err)
	// Output:
	// dmraid: create home: "sync" does not sync; leave it out: refused: data would be at risk
}

func ExampleArray_Plan() {
	ctx := context.Background()
	a, c, _ := exampleArray()
	defer c.Close()
	for _, op := range []dmraid.Operation{
		dmraid.ReplaceLegs{Legs: map[int]dmraid.Leg{1: {Meta: "/dev/sde", Data: "/dev/sdf"}}},
		dmraid.AddLegs{Legs: []dmraid.Leg{{Meta: "/dev/sde", Data: "/dev/sdf"}}},
		dmraid.RemoveLegs{Legs: []int{0}},
		dmraid.Resize{Length: 16384},
		dmraid.Takeover{Type: dmraid.RAID5LS, Chunk: 64},
		dmraid.Stop{Wait: true},
	} {
		p, err := a.Plan(ctx, op)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(p)
	}
	_, err := a.Plan(ctx, dmraid.Takeover{Type: dmraid.RAID6ZR})
	fmt.Println(err)
	// Output:
	// home: replace leg 1
	//   1. zero the superblock and the bitmap on /dev/sde
	//   2. reload home with 0 8192 raid raid1 5 0 rebuild 1 region_size 1024 2 8:0 8:16 /dev/sde /dev/sdf (point of no return)
	//   3. reload home with 0 8192 raid raid1 3 0 region_size 1024 2 8:0 8:16 /dev/sde /dev/sdf (nothing to undo)
	// home: add /dev/sdf
	//   1. zero the superblock and the bitmap on /dev/sde
	//   2. reload home with 0 8192 raid raid1 5 0 rebuild 2 region_size 1024 3 8:0 8:16 8:32 8:48 /dev/sde /dev/sdf (point of no return)
	//   3. reload home with 0 8192 raid raid1 3 0 region_size 1024 3 8:0 8:16 8:32 8:48 /dev/sde /dev/sdf (nothing to undo)
	// home: remove leg 0
	//   1. reload home with 0 8192 raid raid1 3 0 region_size 1024 1 8:32 8:48 (point of no return)
	//   2. zero the superblock and the bitmap on 8:0
	// home: resize to 16384 sectors
	//   1. reload home with 0 16384 raid raid1 3 0 region_size 1024 2 8:0 8:16 8:32 8:48 (point of no return)
	// home: takeover to raid5_ls
	//   1. reload home with 0 8192 raid raid5_ls 3 64 region_size 1024 2 8:0 8:16 8:32 8:48 (point of no return)
	// home: stop
	//   1. wait until nothing runs (nothing to undo)
	//   2. remove home (point of no return)
	// dmraid: takeover raid1 to raid6_zr: the kernel knows no way from the one to the other: bad raid table
}

// A leg is taken out, the array is written to, and the leg comes back: what it
// has missed is copied to it, however soon that is.
func ExampleSplitLeg() {
	ctx := context.Background()
	a, c, k := exampleArray()
	defer c.Close()

	p, err := a.Plan(ctx, dmraid.SplitLeg{Leg: 1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(p)
	if err := p.Run(ctx, linuxblock.RunOptions{}); err != nil {
		log.Fatal(err)
	}
	f, err := k.OpenDevice("home")
	if err != nil {
		log.Fatal(err)
	}
	block := make([]byte, 512)
	copy(block, "hello")
	if _, err := f.WriteAt(block, 4096); err != nil {
		log.Fatal(err)
	}
	f.Close()

	p, err = a.Plan(ctx, dmraid.MergeLeg{Leg: 1, With: dmraid.Leg{Meta: "/dev/sdc", Data: "/dev/sdd"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(p)
	if err := p.Run(ctx, linuxblock.RunOptions{}); err != nil {
		log.Fatal(err)
	}
	last, err := a.WaitIdle(ctx, dmraid.WatchOptions{})
	fmt.Println(last.Health, err)
	d, err := k.OpenBlock("/dev/sdd", false)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	d.ReadAt(block, 4096)
	fmt.Printf("%s\n", block[:5])
	// Output:
	// home: split leg 1
	//   1. reload home with 0 8192 raid raid1 3 0 region_size 1024 2 8:0 8:16 - -
	//   2. suspend and resume home, so that the superblocks record the leg as failed (nothing to undo)
	//   3. see in the superblocks that leg 1 is recorded as failed (nothing to undo)
	// home: merge leg 1
	//   1. see in the superblocks that leg 1 is recorded as failed (nothing to undo)
	//   2. reload home with 0 8192 raid raid1 3 0 region_size 1024 2 8:0 8:16 /dev/sdc /dev/sdd (point of no return)
	// clean <nil>
	// hello
}

func ExampleArray_Scrub() {
	ctx := context.Background()
	a, c, k := exampleArray()
	defer c.Close()
	d, err := k.OpenBlock("/dev/sdd", true)
	if err != nil {
		log.Fatal(err)
	}
	d.WriteAt([]byte("what does not belong there"), 1<<20)
	d.Close()

	r, err := a.Scrub(ctx, dmraid.ScrubOptions{Repair: true})
	fmt.Println(r.Found, r.Repaired, r.Left, err)
	// Output:
	// 128s true 0s <nil>
}

func ExampleArray_State() {
	ctx := context.Background()
	a, c, _ := exampleArray()
	defer c.Close()
	s, err := a.State(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Table)
	fmt.Println(s.Status)
	fmt.Println(s.Health)
	fmt.Println(s.Legs[1].Super.ArrayPosition, s.Legs[1].Super.NumDevices)
	// Output:
	// raid raid1 3 0 region_size 1024 2 8:0 8:16 8:32 8:48
	// raid1 2 AA 8192/8192 idle 0 0 -
	// clean
	// 1 2
}

func ExampleArray_Watch() {
	ctx := context.Background()
	a, c, _ := exampleArray()
	defer c.Close()
	for p, err := range a.Watch(ctx, dmraid.WatchOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		percent, known := p.Health.Percent()
		fmt.Println(p.Health, percent, known)
		if p.Health.InSync {
			break
		}
	}
	// Output:
	// clean 100 true
}

func ExampleArray_Send() {
	ctx := context.Background()
	a, c, _ := exampleArray()
	defer c.Close()
	fmt.Println(a.Send(ctx, dmraid.MessageFrozen))
	s, err := a.Status(ctx)
	fmt.Println(s, err)
	fmt.Println(s.Health(dmraid.Facts{}))
	fmt.Println(a.Send(ctx, dmraid.MessageIdle))
	// Output:
	// <nil>
	// raid1 2 AA 0/8192 frozen 0 0 - <nil>
	// unknown: frozen
	// <nil>
}

func ExamplePlanAssemble() {
	ctx := context.Background()
	a, c, k := exampleArray()
	defer c.Close()
	if err := a.Run(ctx, dmraid.Stop{}, linuxblock.RunOptions{}); err != nil {
		log.Fatal(err)
	}
	p, err := dmraid.PlanAssemble(ctx, c, dmraid.Assemble{
		Name:   "home",
		Table:  dmraid.Table{Type: dmraid.RAID1, RegionSize: 1024, Legs: []dmraid.Leg{{Meta: "/dev/sda", Data: "/dev/sdb"}, {Meta: "/dev/sdc", Data: "/dev/sdd"}}},
		Length: 8192,
	}, dmraid.WithDevices(raidtest.Devices{Kernel: k}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(p)
	// Output:
	// assemble home
	//   1. create home with 0 8192 raid raid1 3 0 region_size 1024 2 /dev/sda /dev/sdb /dev/sdc /dev/sdd
}

func ExampleParseStatus() {
	s, err := dmraid.ParseStatus("raid5_ls 3 AaA 2048/8192 recover 0 0 -")
	fmt.Println(s.Type, s.Done, s.Total, s.Action, err)
	fmt.Println(s.Health(dmraid.Facts{}))
	// Output:
	// raid5_ls 2048s 8192s recover <nil>
	// syncing: recover 25 %, leg 1
}

// While a device is suspended, the kernel prints 0 of whatever is in sync.
func ExampleStatus_Health() {
	s, err := dmraid.ParseStatus("raid1 2 AA 0/8192 frozen 0 0 -")
	if err != nil {
		log.Fatal(err)
	}
	h := s.Health(dmraid.Facts{Suspended: true})
	_, known := h.Percent()
	fmt.Println(h, known)
	inSync := dmraid.LegFound{Meta: dmraid.MetaValid, Super: dmraid.Superblock{Events: 20, ArrayResync: dmraid.MaxSector, DiskRecovery: dmraid.MaxSector}}
	h = s.Health(dmraid.Facts{Suspended: true, Legs: []dmraid.LegFound{inSync, inSync}})
	percent, known := h.Percent()
	fmt.Println(h, percent, known)
	// Output:
	// unknown: frozen false
	// clean: frozen 100 true
}

func ExampleCheckTakeover() {
	four := make([]dmraid.Leg, 4)
	five := make([]dmraid.Leg, 5)
	from := dmraid.Table{Type: dmraid.RAID5LS, Legs: four}
	fmt.Println(dmraid.CheckTakeover(from, dmraid.Table{Type: dmraid.RAID6LS6, Legs: five}))
	fmt.Println(dmraid.CheckTakeover(from, dmraid.Table{Type: dmraid.RAID6RA6, Legs: five}))
	// Output:
	// <nil>
	// dmraid: takeover raid5_ls to raid6_ra_6: the parity would have to move; take the raid6 that goes with it, and reshape behind that: bad raid table
}
