// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"fmt"

	"github.com/linuxblock/linuxblock/dm"
)

func ExampleClient_Graph() {
	ctx := context.Background()
	c, _ := open()
	defer c.Close()
	on := func(device string) dm.Table { return dm.Table{}.Append(8, dm.Linear{Device: device}) }
	pool, _ := c.Create(ctx, "pool", on("/dev/sda").Append(8, dm.Linear{Device: "/dev/sdb"}), dm.CreateOptions{})
	c.Create(ctx, "lv10", on("/dev/mapper/pool"), dm.CreateOptions{})
	c.Create(ctx, "lv9", on("/dev/mapper/pool"), dm.CreateOptions{})
	c.Create(ctx, "crypt", on("/dev/mapper/lv9"), dm.CreateOptions{})

	g, err := c.Graph(ctx, dm.GraphOptions{})
	fmt.Print(g)
	fmt.Println("error:", err)
	fmt.Println("on the pool:", g.Users(pool.Dev))
	for _, n := range g.Dependents(pool.Dev) {
		fmt.Println("remove", n.Name, c.Remove(ctx, n.Dev, dm.RemoveOptions{}))
	}
	fmt.Println("remove pool", c.Remove(ctx, pool.Dev, dm.RemoveOptions{}))
	// Output:
	// crypt (254:3)
	//  └─lv9 (254:2)
	//     └─pool (254:0)
	//        ├─sda (8:0)
	//        └─sdb (8:16)
	// lv10 (254:1)
	//  └─pool (254:0)
	//     ├─sda (8:0)
	//     └─sdb (8:16)
	// error: <nil>
	// on the pool: [lv9 (254:2) lv10 (254:1)]
	// remove lv10 <nil>
	// remove crypt <nil>
	// remove lv9 <nil>
	// remove pool <nil>
}
