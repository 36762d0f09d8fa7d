// SPDX-License-Identifier: MIT

package linuxblock_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/linuxblock/linuxblock/dm"
)

func run(ctx context.Context, device string, opts ...dm.Option) error {
	c, err := dm.Open(ctx, opts...)
	if err != nil {
		return err
	}
	defer c.Close()
	table := dm.Table{}.Append(2048, dm.Linear{Device: device, Offset: 2048})
	info, err := c.Create(ctx, "demo", table, dm.CreateOptions{})
	if err != nil {
		return err
	}
	fmt.Println(info.Dev.Path(), "is", info.Name, "with the table", table)
	return c.Remove(ctx, info.Dev, dm.RemoveOptions{Retries: 25})
}

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}
