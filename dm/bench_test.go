// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// The cost of this package alone: encoding, decoding, and a double that
// answers from memory.
func BenchmarkDouble(b *testing.B) {
	ctx := context.Background()
	k := dmtest.New()
	k.AddDisk("/dev/sda", 8, 0, 1<<20)
	c, err := dm.Open(ctx, dm.WithTransport(k.Transport()))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	var big dm.Table
	for i := range 1000 {
		big = big.Append(8, dm.Linear{Device: "/dev/sda", Offset: dm.Sectors(8 * i)})
	}
	if _, err := c.Create(ctx, "big", big, dm.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	for i := range 200 {
		if _, err := c.Create(ctx, dm.Name(fmt.Sprint("d", i)), nil, dm.CreateOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	for name, f := range map[string]func() error{
		"info":  func() error { _, err := c.Info(ctx, dm.Name("big")); return err },
		"list":  func() error { _, err := c.List(ctx, dm.ListOptions{}); return err },
		"table": func() error { _, err := c.Table(ctx, dm.Name("big"), dm.StatusOptions{}); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// An Info allocates the strings of the answer and no buffer.
func TestInfoAllocations(t *testing.T) {
	ctx := context.Background()
	c, err := dm.Open(ctx, dm.WithTransport(&answerer{}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n := testing.AllocsPerRun(100, func() { c.Info(ctx, dm.Name("x")) }); n > 10 {
		t.Errorf("%v allocations for one Info", n)
	}
}

// answerer leaves every request as it is, but for the version.
type answerer struct{}

func (*answerer) Ioctl(_ uint32, b []byte) error {
	binary.NativeEndian.PutUint32(b[4:], 47)
	return nil
}
func (*answerer) Wait(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (*answerer) Close() error                   { return nil }
