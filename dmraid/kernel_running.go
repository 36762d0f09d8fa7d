// SPDX-License-Identifier: MIT

package dmraid

import (
	"errors"
	"fmt"
)

// RunningKernel is the kernel that this program runs on; errors.ErrUnsupported
// on systems other than Linux.
func RunningKernel() (Kernel, error) {
	release, err := kernelRelease()
	if err != nil {
		return Kernel{}, err
	}
	return ParseKernel(release)
}

// ParseKernel reads a release of Linux: "6.1.0-56-amd64", "7.2-rc1".
func ParseKernel(release string) (Kernel, error) {
	var k Kernel
	if n, err := fmt.Sscanf(release, "%d.%d", &k.Major, &k.Minor); n != 2 || k.Major < 0 || k.Minor < 0 {
		return Kernel{}, &Error{Op: "kernel", Object: release, Detail: "no release of Linux", Err: errors.Join(ErrCorrupt, err)}
	}
	return k, nil
}

// syncs reports whether the word sync has an array synced. Linux 6.12 doesn't
// and 7.2 does, as was seen on both; the source of 6.17 has the change
// (analyse_superblocks), and what is between is taken for like 6.12.
func (k Kernel) syncs() bool { return k.AtLeast(6, 17) }

// alwaysWrites reports whether the first resume writes the superblocks of
// every array, as Linux 6.12 and 7.2 do, and with that records missing legs.
// Linux 5.10 and 6.1 write those of new and changed arrays, and otherwise wait
// for the first event.
func (k Kernel) alwaysWrites() bool { return k.AtLeast(6, 12) }

// resyncsFirst reports whether an array that needs both a resync and the
// rebuild of a leg gets the resync first, as on Linux 6.12 and 7.2
// (md_choose_sync_action in drivers/md/md.c), not the rebuild.
func (k Kernel) resyncsFirst() bool { return k.AtLeast(6, 12) }
