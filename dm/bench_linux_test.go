// SPDX-License-Identifier: MIT

package dm_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// benchRounds is how often each side runs, in turn with the other.
const benchRounds = 16

// side is one way to do a job.
type side struct {
	name string
	do   func()
}

// against compares with dmsetup.
func against(b *testing.B, ours, dmsetup func()) {
	b.Helper()
	compare(b, ours, side{"dmsetup", dmsetup})
}

// compare runs the sides in turn and reports for each of the others the ratio
// of its median to ours, with the lowest and the highest ratio of a round.
func compare(b *testing.B, ours func(), others ...side) {
	b.Helper()
	sides := append([]side{{"ours", ours}}, others...)
	for _, s := range sides {
		s.do()
	}
	for b.Loop() {
		times := make([][]time.Duration, len(sides))
		for round := range benchRounds {
			// In turn, and each in each place: what runs behind a process that
			// was started finds the caches cold.
			for k := range sides {
				i := (round + k) % len(sides)
				t0 := time.Now()
				sides[i].do()
				times[i] = append(times[i], time.Since(t0))
			}
		}
		for i, s := range sides {
			b.ReportMetric(float64(median(times[i]).Microseconds()), s.name+"-µs")
			if i == 0 {
				continue
			}
			var ratios []float64
			for round := range benchRounds {
				ratios = append(ratios, float64(times[i][round])/float64(times[0][round]))
			}
			b.ReportMetric(float64(median(times[i]))/float64(median(times[0])), s.name+"/ours")
			b.ReportMetric(slices.Min(ratios), s.name+"/ours-least")
			b.ReportMetric(slices.Max(ratios), s.name+"/ours-most")
		}
	}
	b.ReportMetric(0, "ns/op")
}

func median[T cmp.Ordered](list []T) T {
	s := slices.Sorted(slices.Values(list))
	return s[len(s)/2]
}

// BenchmarkKernelDmsetup is what a program gains that called dmsetup before:
// every figure of dmsetup holds the start of a process.
func BenchmarkKernelDmsetup(b *testing.B) {
	vmtest.Require(b, "dm-mod", "dm-zero", "brd")
	disk := vmtest.RAMDisk(b)
	ctx := context.Background()
	c, err := dm.Open(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	dmsetup := func(args ...string) func() {
		return func() { vmtest.Run(b, "dmsetup", args...) }
	}
	linear := dm.Table{}.Append(1024, dm.Linear{Device: disk})
	var big dm.Table
	for i := range 1000 {
		big = big.Append(8, dm.Linear{Device: disk, Offset: dm.Sectors(8 * i)})
	}
	_, err = c.Create(ctx, "bench-big", big, dm.CreateOptions{})
	must(err)
	file := b.TempDir() + "/big"
	must(os.WriteFile(file, []byte(big.Format()), 0o600))
	const many = 200
	for i := range many {
		_, err := c.Create(ctx, dm.Name(fmt.Sprintf("bench-%03d", i)), dm.Table{}.Append(8, dm.Zero{}), dm.CreateOptions{})
		must(err)
	}
	defer func() {
		list, _ := c.List(ctx, dm.ListOptions{NamePrefix: "bench-"})
		for _, e := range list {
			c.Remove(ctx, e.Dev, dm.RemoveOptions{Retries: 10})
		}
	}()
	b.Run("create+remove", func(b *testing.B) {
		against(b, func() {
			i, err := c.Create(ctx, "x", linear, dm.CreateOptions{})
			must(err)
			must(c.Remove(ctx, i.Dev, dm.RemoveOptions{}))
		}, func() {
			dmsetup("create", "x", "--verifyudev", "--table", "0 1024 linear "+disk+" 0")()
			dmsetup("remove", "x", "--verifyudev")()
		})
	})
	b.Run("swap-1000-segments", func(b *testing.B) {
		against(b, func() {
			_, err := c.Reload(ctx, dm.Name("bench-big"), big, dm.ReloadOptions{})
			must(err)
		}, func() {
			dmsetup("load", "bench-big", file)()
			dmsetup("resume", "bench-big")()
		})
	})
	b.Run("info", func(b *testing.B) {
		against(b, func() {
			_, err := c.Info(ctx, dm.Name("bench-big"))
			must(err)
		}, dmsetup("info", "bench-big"))
	})
	b.Run("table-1000-segments", func(b *testing.B) {
		against(b, func() {
			_, err := c.Table(ctx, dm.Name("bench-big"), dm.StatusOptions{})
			must(err)
		}, dmsetup("table", "bench-big"))
	})
	b.Run("list-200-devices", func(b *testing.B) {
		against(b, func() {
			_, err := c.List(ctx, dm.ListOptions{})
			must(err)
		}, dmsetup("ls"))
	})
	b.Run("status-200-devices", func(b *testing.B) {
		against(b, func() {
			list, err := c.List(ctx, dm.ListOptions{})
			must(err)
			for _, e := range list {
				_, err := c.Status(ctx, e.Dev, dm.StatusOptions{})
				must(err)
			}
		}, dmsetup("status"))
	})
}

// BenchmarkKernelCalls is the cost of single calls in one process.
func BenchmarkKernelCalls(b *testing.B) {
	vmtest.Require(b, "dm-mod", "dm-zero")
	ctx := context.Background()
	c, err := dm.Open(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	info, err := c.Create(ctx, "bench-call", dm.Table{}.Append(8, dm.Zero{}), dm.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Remove(ctx, info.Dev, dm.RemoveOptions{Retries: 10})
	cancellable, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, call := range []struct {
		name string
		f    func() error
	}{
		{"info", func() error { _, err := c.Info(ctx, info.Dev); return err }},
		{"status", func() error { _, err := c.Status(ctx, info.Dev, dm.StatusOptions{}); return err }},
		{"status-cancellable", func() error { _, err := c.Status(cancellable, info.Dev, dm.StatusOptions{}); return err }},
		{"table", func() error { _, err := c.Table(ctx, info.Dev, dm.StatusOptions{}); return err }},
	} {
		b.Run(call.name, func(b *testing.B) {
			for b.Loop() {
				if err := call.f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
