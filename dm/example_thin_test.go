// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"fmt"

	"github.com/linuxblock/linuxblock/dm"
)

// A pool of eight blocks, a volume in it and a snapshot of that; then the
// pool grows while it is in use.
func ExampleThinPool() {
	ctx := context.Background()
	c, _ := open()
	defer c.Close()

	must := func(info dm.Info, err error) dm.Info {
		if err != nil {
			fmt.Println(err)
		}
		return info
	}
	dataTable := func(n dm.Sectors) dm.Table {
		return dm.Table{}.Append(n, dm.Linear{Device: "/dev/sda"})
	}
	data := must(c.Create(ctx, "data", dataTable(8*128), dm.CreateOptions{}))
	target := dm.ThinPool{Metadata: "/dev/sdb", Data: data.Dev.String(), BlockSize: 128, LowWaterMark: 4}
	pool := must(c.Create(ctx, "pool", dm.Table{}.Append(8*128, target), dm.CreateOptions{}))

	// The volume comes to be by a message, its device by a table. It may be
	// larger than the pool.
	c.Send(ctx, pool.Dev, dm.CreateThin{ID: 1})
	volume := func(id uint32) dm.Table {
		return dm.Table{}.Append(1<<20, dm.Thin{Pool: pool.Dev.String(), ID: id})
	}
	vol := must(c.Create(ctx, "vol", volume(1), dm.CreateOptions{}))

	// The origin of a snapshot stands still meanwhile.
	err := c.WhileSuspended(ctx, []dm.Ref{vol.Dev}, dm.GuardOptions{}, func(ctx context.Context) error {
		_, err := c.Send(ctx, pool.Dev, dm.CreateSnap{ID: 2, Origin: 1})
		return err
	})
	fmt.Println("snapshot:", err)
	snap := must(c.Create(ctx, "snap", volume(2), dm.CreateOptions{}))

	// More room: first the data device, then the pool.
	must(c.Reload(ctx, data.Dev, dataTable(64*128), dm.ReloadOptions{}))
	must(c.Reload(ctx, pool.Dev, dm.Table{}.Append(64*128, target), dm.ReloadOptions{}))

	list, err := c.Status(ctx, pool.Dev, dm.StatusOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	status, err := dm.ParseThinPoolStatus(list[0].Text)
	fmt.Println(status.Mode, status.UsedData, status.TotalData, err)
	fmt.Println(c.Remove(ctx, snap.Dev, dm.RemoveOptions{}))
	_, err = c.Send(ctx, pool.Dev, dm.DeleteThin{ID: 2})
	fmt.Println(err)
	// Output:
	// snapshot: <nil>
	// rw 0 64 <nil>
	// <nil>
	// <nil>
}
