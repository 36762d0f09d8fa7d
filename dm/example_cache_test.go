// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"fmt"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// A cache is put in front of a device that is in use, and taken away again.
func ExampleCache() {
	ctx := context.Background()
	c, k := open()
	defer c.Close()
	k.AddDisk("/dev/nvme0n1", 259, 0, 1<<16)
	k.AddDisk("/dev/nvme0n2", 259, 1, 1<<13)
	plain := dm.Table{}.Append(1<<16, dm.Linear{Device: "/dev/sda"})
	data, err := c.Create(ctx, "data", plain, dm.CreateOptions{})
	fmt.Println(err)

	cached := func(policy string) dm.Table {
		return dm.Table{}.Append(1<<16, dm.Cache{
			Metadata: "/dev/nvme0n2", Cache: "/dev/nvme0n1", Origin: "/dev/sda",
			BlockSize: 128, Metadata2: true, Mode: dm.Writeback, Policy: policy,
		})
	}
	_, err = c.Reload(ctx, data.Dev, cached("smq"), dm.ReloadOptions{})
	fmt.Println(err)
	f, _ := k.OpenDevice("data")
	f.WriteAt(make([]byte, 128<<9), 0) // a program writes
	f.Close()
	status := func() dm.CacheStatus {
		list, _ := c.Status(ctx, data.Dev, dm.StatusOptions{})
		s, _ := dm.ParseCacheStatus(list[0].Text)
		return s
	}
	s := status()
	fmt.Printf("%s, %d of %d blocks in use, %d dirty\n", s.Mode, s.Used, s.Total, s.Dirty)

	// The policy cleaner writes all back. Wait for it, then go without.
	_, err = c.Reload(ctx, data.Dev, cached("cleaner"), dm.ReloadOptions{})
	fmt.Println(err)
	for s = status(); s.Dirty > 0 && !s.Fail; s = status() {
		time.Sleep(time.Second) // there is no event for it
	}
	fmt.Println(s.Dirty, "dirty")
	_, err = c.Reload(ctx, data.Dev, plain, dm.ReloadOptions{})
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
	// writeback, 1 of 512 blocks in use, 1 dirty
	// <nil>
	// 0 dirty
	// <nil>
}
