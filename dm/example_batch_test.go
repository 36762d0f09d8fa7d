// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"fmt"

	"github.com/linuxblock/linuxblock/dm"
)

// A stack comes up in one call, in the order that its tables need.
func ExampleClient_RunBatch() {
	ctx := context.Background()
	c, _ := open()
	defer c.Close()
	leg := func(path string) dm.Table { return dm.Table{}.Append(4096, dm.Linear{Device: path}) }
	b := new(dm.Batch).
		Create("vol", dm.Table{}.Append(8192, dm.Striped{ChunkSize: 128, Stripes: []dm.Stripe{
			{Device: "/dev/mapper/leg0"}, {Device: "/dev/mapper/leg1"},
		}}), dm.CreateOptions{}).
		Create("leg0", leg("/dev/sda"), dm.CreateOptions{}).
		Create("leg1", leg("/dev/sdb"), dm.CreateOptions{})
	plan, err := c.PlanBatch(ctx, b)
	fmt.Printf("%v%v\n", plan, err)
	results, err := c.RunBatch(ctx, b, dm.BatchOptions{AllOrNothing: true})
	for _, r := range results {
		fmt.Println(r.Ref, r.State)
	}
	fmt.Println(err)
	// Output:
	//   1. create vol after 2, 3
	//   2. create leg0
	//   3. create leg1
	// <nil>
	// vol done
	// leg0 done
	// leg1 done
	// <nil>
}

// A monitor asks for the same devices again and again.
func ExampleStatusReader() {
	ctx := context.Background()
	c, _ := open()
	defer c.Close()
	c.Create(ctx, "slow", dm.Table{}.Append(8, dm.Delay{Read: dm.DelayLeg{Device: "/dev/sda"}}), dm.CreateOptions{})
	devices, _ := c.List(ctx, dm.ListOptions{})
	r := c.StatusReader(dm.StatusOptions{NoFlush: true})
	for _, d := range devices {
		segments, err := r.Read(ctx, d.Dev)
		for _, s := range segments {
			st, err := dm.ParseDelayStatus(s.Text)
			fmt.Println(d.Name, s.Type, st.Reads, "held back", err)
		}
		fmt.Println(err)
	}
	// Output:
	// slow delay 0 held back <nil>
	// <nil>
}
