// SPDX-License-Identifier: MIT

package dmraid

import "fmt"

// Kernel says whose behaviour is meant: the target's version is 1.15.1 from
// Linux 5.10 to today, and what it does is not the same.
type Kernel struct {
	Major, Minor int // of Linux: 6, 1
}

// Kernels whose behaviour was recorded.
var (
	Linux510 = Kernel{5, 10}
	Linux61  = Kernel{6, 1}
	Linux612 = Kernel{6, 12}
	Linux72  = Kernel{7, 2}
)

// AtLeast reports whether k is the given Linux or a later one.
func (k Kernel) AtLeast(major, minor int) bool {
	return k.Major > major || k.Major == major && k.Minor >= minor
}

// String is "Linux 6.1".
func (k Kernel) String() string { return fmt.Sprintf("Linux %d.%d", k.Major, k.Minor) }
