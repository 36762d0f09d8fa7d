// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"flag"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/blockdev"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// kernelDriver is the conformance suite's view of the real kernel.
func kernelDriver(t *testing.T) *driver {
	t.Helper()
	vmtest.Require(t, "dm-mod", "dm-snapshot", "dm-flakey", "dm-delay", "dm-zero", "brd")
	return &driver{
		disks: vmtest.RAMDisks(t, 4),
		modules: func(t *testing.T, names ...string) {
			t.Helper()
			vmtest.Require(t, names...)
		},
		open: func(t *testing.T, opts ...dm.Option) *dm.Client {
			t.Helper()
			c, err := dm.Open(context.Background(), opts...)
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
		hold: func(t *testing.T, name dm.Name) func() {
			t.Helper()
			f := openNode(t, name, blockdev.Options{})
			return func() { f.Close() }
		},
		discard:        kernelDiscard,
		noSpaceTimeout: kernelNoSpaceTimeout,
		rw: func(t *testing.T, name dm.Name) rwDevice {
			t.Helper()
			return openNode(t, name, blockdev.Options{Write: true, Direct: true})
		},
	}
}

// openNode opens the kernel's own node of a device.
func openNode(t *testing.T, name dm.Name, o blockdev.Options) *blockdev.Device {
	t.Helper()
	ctx := context.Background()
	c, err := dm.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	info, err := c.Info(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	o.Write = o.Write && !info.ReadOnly
	f, err := blockdev.Open(info.Dev.Path(), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestKernelConformance(t *testing.T) { runConformance(t, kernelDriver(t), allCases()) }

// With udevd each change waits for its rules: all cases take a quarter of an
// hour without KVM.
var long = flag.Bool("long", false, "run all conformance cases under udevd too")

func TestKernelConformanceUnderUdev(t *testing.T) {
	d := kernelDriver(t)
	vmtest.StartUdevd(t)
	cases := udevCases
	if *long {
		cases = allCases()
	}
	runConformance(t, d, cases)
}
