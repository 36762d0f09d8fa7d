// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// BenchmarkKernelGraph is the list and the tree of 500 devices, five on each
// other, next to dmsetup's.
func BenchmarkKernelGraph(b *testing.B) {
	vmtest.Require(b, "dm-mod", "brd")
	disk := vmtest.RAMDisk(b)
	ctx := context.Background()
	c, err := dm.Open(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	var made []dm.Dev
	defer func() {
		for i := len(made) - 1; i >= 0; i-- {
			c.Remove(ctx, made[i], dm.RemoveOptions{Retries: 10})
		}
	}()
	const many = 500
	for i := range many {
		below := disk
		if i%5 > 0 {
			below = made[i-1].String()
		}
		info, err := c.Create(ctx, dm.Name(fmt.Sprintf("bench-%03d", i)), dm.Table{}.Append(8, dm.Linear{Device: below}), dm.CreateOptions{})
		if err != nil {
			b.Fatal(err)
		}
		made = append(made, info.Dev)
	}
	dmsetup := func(args ...string) func() {
		return func() { vmtest.Run(b, "dmsetup", args...) }
	}
	b.Run("list-500-devices", func(b *testing.B) {
		against(b, func() {
			if list, err := c.List(ctx, dm.ListOptions{}); err != nil || len(list) != many {
				b.Fatal(len(list), err)
			}
		}, dmsetup("ls"))
	})
	b.Run("tree-500-devices", func(b *testing.B) {
		against(b, func() {
			g, err := c.Graph(ctx, dm.GraphOptions{})
			if err != nil || len(g.Nodes) != many+1 {
				b.Fatal(g, err)
			}
			_ = g.Tree(dm.TreeOptions{})
		}, dmsetup("ls", "--tree"))
	})
	// Where the time goes.
	for _, part := range []struct {
		name string
		f    func() error
	}{
		{"graph", func() error { _, err := c.Graph(ctx, dm.GraphOptions{}); return err }},
		{"graph-layers", func() error { _, err := c.Graph(ctx, dm.GraphOptions{Layers: true}); return err }},
		{"graph-inactive", func() error { _, err := c.Graph(ctx, dm.GraphOptions{Inactive: true}); return err }},
	} {
		b.Run(part.name, func(b *testing.B) {
			for b.Loop() {
				if err := part.f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
