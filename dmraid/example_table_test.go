// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

func ExampleTable() {
	mirror := dmraid.Table{
		Type: dmraid.RAID1,
		Legs: []dmraid.Leg{
			{Meta: "/dev/vg/meta0", Data: "/dev/vg/data0"},
			{Meta: "/dev/vg/meta1", Data: "/dev/vg/data1"},
		},
		RegionSize:      1024,
		MaxRecoveryRate: 4096,
	}
	fmt.Println(dm.Table{}.Append(8192, mirror))
	fmt.Println(mirror.Validate(8192))
	// Output:
	// 0 8192 raid raid1 5 0 max_recovery_rate 4096 region_size 1024 2 /dev/vg/meta0 /dev/vg/data0 /dev/vg/meta1 /dev/vg/data1
	// <nil>
}

func ExampleParse() {
	target, err := dmraid.Parse("RAID5_LS 3 64 REGION_SIZE 1024 3 1:8 1:0 1:9 1:1 - -")
	if err != nil {
		fmt.Println(err)
		return
	}
	t := target.(dmraid.Table)
	fmt.Println(t.Type, t.RegionSize, len(t.Legs), t.Legs[2].Missing())
	_, err = dmraid.Parse("raid1 8 0 region_size 1024 2 - 1:0 - 1:1")
	fmt.Println(err)
	// Output:
	// raid5_ls 1024s 3 true
	// dmraid: parse: #params is 8, but there are 3 words; if a kernel printed it, ParsePrinted reads it: bad raid table
}

// What a kernel prints is not what it was given.
func ExampleParsePrinted() {
	printed, err := dmraid.ParsePrinted("raid1 7 0 rebuild 1 write_mostly 1 max_write_behind 128 2 1:8 1:0 1:9 1:1")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(printed.Params())
	fmt.Println(printed.(dmraid.Table).Reload().Params())
	// Output:
	// raid1 7 0 rebuild 1 write_mostly 1 max_write_behind 256 2 1:8 1:0 1:9 1:1
	// raid1 5 0 write_mostly 1 max_write_behind 256 2 1:8 1:0 1:9 1:1
}

func ExampleCheck() {
	err := dmraid.Check("raid5_ls 3 64 write_mostly 1 3 - 1:0 - 1:1 - 1:2", 16384, nil)
	fmt.Println(err)
	fmt.Println(errors.Is(err, dmraid.ErrTable), errors.Is(err, syscall.EINVAL))
	// Output:
	// dmraid: check: write_mostly option is only valid for RAID1: bad raid table
	// true true
}

func ExampleParseDraft() {
	t, err := dmraid.ParseDraft("raid6_zr 5 64 3 -1 stripecache=512 maxspeed=4096 4 m0 d0 m1 d1 m2 d2 m3 d3")
	fmt.Println(t.Params(), err)
	_, err = dmraid.ParseDraft("raid6_zr 2 64 3 4 m0 d0 m1 d1 m2 d2 m3 d3")
	fmt.Println(err)
	// Output:
	// raid6_zr 7 64 rebuild 3 max_recovery_rate 4096 stripe_cache 512 4 m0 d0 m1 d1 m2 d2 m3 d3 <nil>
	// dmraid: draft: raid6_zr takes 2 rebuild arguments or none; -1 is no position: ambiguous: bad raid table
}

func ExampleExplain() {
	text, err := dmraid.Explain("0 16384 raid raid5_ls 3 64 region_size 1024 3 1:8 1:0 1:9 1:1 - -")
	fmt.Print(text)
	fmt.Println(err)
	// Output:
	// raid5_ls             level 5, left symmetric: parity moves from the last leg to the first, data start behind it
	// capacity             8 MiB (16384 sectors)
	// chunk                32 KiB (64 sectors)
	// of each leg          4 MiB (8192 sectors) of data, metadata device of 8 KiB (16 sectors) or more
	// may fail             any 1 of 3 legs, missing ones included
	// leg 0                1:0, metadata 1:8
	// leg 1                1:1, metadata 1:9
	// leg 2                missing
	// region_size          512 KiB (1024 sectors) for each bit of the bitmap
	// <nil>
}

func ExampleTable_ParamsFor() {
	t := dmraid.Table{Type: dmraid.RAID4, ChunkSize: 64, Legs: []dmraid.Leg{{Data: "a"}, {Data: "b"}}, Rebuild: []int{1}, RegionSize: 8192}
	fmt.Println(t.ParamsFor(dm.Version{Major: 1, Minor: 9}))
	t.JournalDev = "c"
	fmt.Println(t.ParamsFor(dm.Version{Major: 1, Minor: 9}))
	// Output:
	// raid4 5 64 region_size 8192 rebuild 1 2 - a - b <nil>
	//  dmraid: params: journal_dev needs target version 1.10.0, this is 1.9.0: bad raid table
}
