// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"context"
	"flag"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

var tries = flag.Int("tries", 100, "how often a leg is taken out, written past and given back")

// kernelDriver is the conformance suite's view of the real kernel.
func kernelDriver(t *testing.T) *driver {
	t.Helper()
	vmtest.Require(t, "dm-mod", "dm-raid", "raid0", "raid1", "raid10", "raid456", "brd")
	v, n := vmtest.KernelVersion(), *tries
	if testing.Short() {
		n = min(n, 20)
	}
	return &driver{
		disks:   vmtest.RAMDisks(t, 12),
		devices: dmraid.HostDevices{},
		kernel:  dmraid.Kernel{Major: v.Major, Minor: v.Minor},
		tries:   n,
		open: func(t *testing.T) *dm.Client {
			t.Helper()
			c, err := dm.Open(context.Background(), dm.WithTargets(dmraid.Parsers()))
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
	}
}

func TestKernelConformance(t *testing.T) { runConformance(t, kernelDriver(t), conformanceCases) }
