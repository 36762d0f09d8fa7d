// SPDX-License-Identifier: MIT

package dm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/linuxblock/linuxblock/dm"
)

func ExampleCrypt() {
	ctx := context.Background()
	c, _ := open()
	defer c.Close()
	secret := bytes.Repeat([]byte{0x11, 0x22}, 16)
	info, err := c.Create(ctx, "secret", dm.Table{}.Append(2048, dm.Crypt{
		Cipher: "aes-xts-plain64", Key: dm.NewKey(secret), Device: "/dev/sda", SectorSize: 4096,
	}), dm.CreateOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	live, _ := c.Table(ctx, info.Dev, dm.StatusOptions{})
	fmt.Println(live) // Format would print the key
	fmt.Println(live[0].Target.(dm.Crypt).Key == dm.NewKey(secret))
	// Output:
	// 0 2048 crypt aes-xts-plain64 <redacted> 0 8:0 0 1 sector_size:4096
	// true
}

// A device is put to sleep without its key in memory, and waked up again.
func ExampleWipeKey() {
	ctx := context.Background()
	c, _ := open()
	defer c.Close()
	key := dm.NewKey(make([]byte, 32))
	info, _ := c.Create(ctx, "secret", dm.Table{}.Append(2048, dm.Crypt{
		Cipher: "aes-xts-plain64", Key: key, Device: "/dev/sda",
	}), dm.CreateOptions{})

	fmt.Println(c.Suspend(ctx, info.Dev, dm.SuspendOptions{}))
	_, err := c.Send(ctx, info.Dev, dm.WipeKey{})
	fmt.Println(err)
	// All I/O to the device waits. A resume would fail now.
	_, err = c.Send(ctx, info.Dev, dm.SetKey{Key: key})
	fmt.Println(err)
	info, err = c.Resume(ctx, info.Dev, dm.ResumeOptions{})
	fmt.Println(info.Suspended, err)
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// false <nil>
}

// The first table formats an empty disk; the status tells how long the second
// can be.
func ExampleIntegrity() {
	ctx := context.Background()
	c, _ := open()
	defer c.Close()
	format := dm.Integrity{Device: "/dev/sda", InternalHash: dm.Alg{Name: "crc32c"}}
	info, err := c.Create(ctx, "checked", dm.Table{}.Append(8, format), dm.CreateOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	list, _ := c.Status(ctx, info.Dev, dm.StatusOptions{})
	status, _ := dm.ParseIntegrityStatus(list[0].Text)
	_, err = c.Reload(ctx, info.Dev, dm.Table{}.Append(status.Provided, format), dm.ReloadOptions{})
	fmt.Println(status.Provided, err)
	// What the kernel chose is in its table, and is to be kept.
	live, _ := c.Table(ctx, info.Dev, dm.StatusOptions{})
	fmt.Println(live)
	// Output:
	// 1032280s <nil>
	// 0 1032280 integrity 8:0 0 4 J 6 journal_sectors:8096 interleave_sectors:32768 buffer_sectors:128 journal_watermark:50 commit_time:10000 internal_hash:crc32c
}

func ExampleVerity() {
	ctx := context.Background()
	c, _ := open()
	defer c.Close()
	table := dm.Table{}.Append(2048, dm.Verity{
		Device: "/dev/sda", HashDevice: "/dev/sdb", DataBlockSize: 4096, HashBlockSize: 4096, DataBlocks: 256,
		Algorithm: "sha256", RootDigest: "4f3c1b0a6f1d9f6c8c1e0c2ad3f0b9e8d7c6b5a4938271605f4e3d2c1b0a9988",
	})
	_, err := c.Create(ctx, "image", table, dm.CreateOptions{})
	fmt.Println(errors.Is(err, dm.ErrBadTable), err)
	info, err := c.Create(ctx, "image", table, dm.CreateOptions{ReadOnly: true})
	fmt.Println(info.ReadOnly, err)
	list, _ := c.Status(ctx, info.Dev, dm.StatusOptions{})
	fmt.Println(list[0])
	// Output:
	// true dm: create image: segment 0 (verity): needs a read-only table
	// true <nil>
	// 0 2048 verity V
}
