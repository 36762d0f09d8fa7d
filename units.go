// SPDX-License-Identifier: MIT

package linuxblock

import "strconv"

// SectorSize is the unit of the kernel's block layer in bytes, whatever the
// device's own block size is.
const SectorSize = 512

// Sectors is a length or an offset in units of 512 bytes.
type Sectors uint64

// Bytes is s in bytes. Above 2^54 sectors (8 EiB), which no block device can
// have, it saturates at the largest int64.
func (s Sectors) Bytes() int64 {
	if s > 1<<54-1 {
		return 1<<63 - 1
	}
	return int64(s) * SectorSize
}

// SectorsOf is the number of whole sectors in n bytes; a started sector at
// the end is not counted, as the kernel does not. Negative n gives 0.
func SectorsOf(n int64) Sectors {
	if n < 0 {
		return 0
	}
	return Sectors(n / SectorSize)
}

// String prints the number with its unit: "2048s", as lvm2 does.
func (s Sectors) String() string { return strconv.FormatUint(uint64(s), 10) + "s" }
