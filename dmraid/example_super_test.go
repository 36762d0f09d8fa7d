// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/linuxblock/linuxblock/dmraid"
)

// exampleMeta is the start of a metadata device of a raid5 over three legs,
// for its position.
func exampleMeta(position uint32) []byte {
	text, err := os.ReadFile("testdata/sb/basic-meta-raid5_ls-super.hex")
	if err != nil {
		panic(err)
	}
	b, _ := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	s, _ := dmraid.DecodeSuperblock(b)
	s.ArrayPosition = position
	m := dmraid.Bitmap{Version: 4, Events: s.Events, SyncSize: 8192, ChunkSize: 512 << 10, DaemonSleep: 5}
	image := make([]byte, dmraid.BitmapOffset)
	copy(image, s.Encode(dmraid.SuperblockSize))
	return append(image, m.Encode()...)
}

func ExampleReadSuperblock() {
	s, err := dmraid.ReadSuperblock(bytes.NewReader(exampleMeta(1)))
	if err != nil {
		panic(err)
	}
	fmt.Println(s)
	fmt.Println("failed legs:", s.FailedLegs())
	_, err = dmraid.ReadSuperblock(bytes.NewReader(make([]byte, 4096)))
	fmt.Println(errors.Is(err, dmraid.ErrForeign), err)
	// Output:
	// raid5_ls leg 1 of 3, events 19, chunk 64s, clean
	// failed legs: []
	// true dmraid: superblock: magic 0x00000000: no dm-raid superblock
}

func ExampleDecodeSuperblock() {
	s, err := dmraid.DecodeSuperblock(exampleMeta(0)[:dmraid.SuperblockSize])
	fmt.Println(s.Type(), s.Clean(), s.InSync(), err)
	// Output:
	// raid5_ls true true <nil>
}

func ExampleSuperblock_Encode() {
	s, _ := dmraid.DecodeSuperblock(exampleMeta(0)[:dmraid.SuperblockSize])
	block := s.Resync().Encode(dmraid.SuperblockSize)
	fmt.Println(len(block), string(block[:4]))
	// Output:
	// 512 DmRd
}

func ExampleDiff() {
	before, _ := dmraid.ReadSuperblock(bytes.NewReader(exampleMeta(0)))
	after := before
	after.Events++
	after.SetFailed(2, true)
	for _, c := range dmraid.Diff(before, after) {
		fmt.Println(c)
	}
	// Output:
	// events: 19 -> 20
	// failed_devices: none -> [2]
}

func ExampleReadBitmap() {
	image := exampleMeta(0)
	image[dmraid.BitmapOffset+256] = 0b110 // writes were on their way
	m, err := dmraid.ReadBitmap(bytes.NewReader(image))
	if err != nil {
		panic(err)
	}
	fmt.Println(m)
	for r := range m.DirtyRanges() {
		fmt.Println("differs perhaps:", r)
	}
	// Output:
	// events 19, 8 regions of 1024s, 2 dirty (2048s)
	// differs perhaps: 1024s+2048s
}

func ExampleDecodeBitmap() {
	m, err := dmraid.DecodeBitmap(exampleMeta(0)[dmraid.BitmapOffset:])
	regions, sectors := m.Dirty()
	fmt.Println(m.Regions(), regions, sectors, err)
	// Output:
	// 8 0 0s <nil>
}

// The legs of an array, one of which missed some writes while it was away.
func ExampleVerify() {
	stale := exampleMeta(1)
	s, _ := dmraid.ReadSuperblock(bytes.NewReader(stale))
	s.Events -= 3
	copy(stale, s.Encode(dmraid.SuperblockSize))
	legs, err := dmraid.Scan(context.Background(), []dmraid.LegSource{
		dmraid.LegReader("sda1", bytes.NewReader(exampleMeta(0))),
		dmraid.LegReader("sdb1", bytes.NewReader(stale)),
		dmraid.LegReader("sdc1", bytes.NewReader(exampleMeta(2))),
	})
	if err != nil {
		panic(err)
	}
	report, err := dmraid.Verify(legs)
	fmt.Print(report)
	fmt.Println(err)
	// Output:
	// raid5_ls leg 0 of 3, events 19, chunk 64s, clean
	// leg 0 sda1: current
	// leg 1 sdb1: stale, 3 events behind
	// leg 2 sdc1: current
	// leg 1: 3 events behind, and not recorded as failed: the kernel would take it for in sync
	// rebuild 1
	// <nil>
}

func ExampleScan() {
	legs, err := dmraid.Scan(context.Background(), []dmraid.LegSource{
		dmraid.LegReader("sda1", bytes.NewReader(exampleMeta(0))),
		{Name: "gone"},
	})
	if err != nil {
		panic(err)
	}
	for _, l := range legs {
		fmt.Println(l.Name, l.Missing, l.Bitmap != nil)
	}
	// Output:
	// sda1 false true
	// gone true false
}

// exampleMirror is a table over two new legs.
func exampleMirror() dmraid.Situation {
	return dmraid.Situation{
		Table: dmraid.Table{Type: dmraid.RAID1, Legs: []dmraid.Leg{
			{Meta: "/dev/vg/meta0", Data: "/dev/vg/data0"}, {Meta: "/dev/vg/meta1", Data: "/dev/vg/data1"},
		}},
		Length: 8192,
		Legs:   []dmraid.LegFound{{Meta: dmraid.MetaFresh}, {Meta: dmraid.MetaFresh}},
	}
}

func ExampleKernelState() {
	s := exampleMirror()
	state, err := dmraid.KernelState(dmraid.Linux61, s)
	fmt.Println(state.Health, state.Action, err)

	s.Table.Sync = dmraid.SyncForce
	state, err = dmraid.KernelState(dmraid.Linux61, s)
	fmt.Println(state.Health, state.Action, err)

	s.Table.Sync, s.Table.Legs[1] = dmraid.SyncDefault, dmraid.Leg{}
	_, err = dmraid.KernelState(dmraid.Linux61, s)
	var refused *dmraid.Error
	fmt.Println(errors.As(err, &refused), refused.Detail)
	// Output:
	// aa resync <nil>
	// AA idle <nil>
	// true Unable to assemble array: Invalid superblocks
}

func ExampleTraps() {
	s := exampleMirror()
	s.Table.Sync = dmraid.SyncForce
	fmt.Printf("%q\n", dmraid.Traps(dmraid.Linux61, s))
	// Output:
	// ["sync does not sync"]
}

func ExampleCheckTraps() {
	s := exampleMirror()
	s.Table.Legs[0].Meta, s.Table.Legs[1].Meta = "", ""
	s.Legs = make([]dmraid.LegFound, 2)
	fmt.Println(errors.Is(dmraid.CheckTraps(dmraid.Linux61, s), dmraid.ErrTrap))
	fmt.Println(dmraid.CheckTraps(dmraid.Linux61, s, dmraid.NeverSyncsWithoutMetadata))
	// Output:
	// true
	// <nil>
}

func ExampleParseKernel() {
	k, err := dmraid.ParseKernel("6.1.0-56-amd64")
	fmt.Println(k, err)
	// Output:
	// Linux 6.1 <nil>
}
