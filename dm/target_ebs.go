// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
)

// EmulatedBlocks shows smaller logical blocks than the device beneath has,
// such as 512 bytes on a disk of 4096 (drivers/md/dm-ebs-target.c, Linux 5.8).
// Writes of part of a block read the rest first. It is made from the source
// alone: the kernels that this package is tested on come without it.
type EmulatedBlocks struct {
	Device     string
	Offset     Sectors // a whole number of underlying blocks
	Emulated   Sectors // a power of 2, at most a page
	Underlying Sectors // a power of 2; 0 for the logical block size of the device
}

// TargetType is "ebs".
func (EmulatedBlocks) TargetType() string { return "ebs" }

// Params is "device offset emulated [underlying]".
func (e EmulatedBlocks) Params() string {
	args := []string{e.Device, num(e.Offset), num(e.Emulated)}
	if e.Underlying > 0 {
		args = append(args, num(e.Underlying))
	}
	return JoinArgs(args...)
}

// Extents is the range on the device.
func (e EmulatedBlocks) Extents(length Sectors) []Extent {
	return []Extent{{e.Device, e.Offset, length}}
}

// maxEBSPage is the largest page of an architecture: 64 KiB.
const maxEBSPage = 128

// Validate checks the block sizes. The kernel wants an offset that is below
// the length of the segment.
func (e EmulatedBlocks) Validate(length Sectors) error {
	switch b, u := e.Emulated, e.Underlying; {
	case b == 0 || b&(b-1) != 0 || b > maxEBSPage:
		return fmt.Errorf("emulated block size %d is not a power of 2 within a page", uint64(b))
	case u&(u-1) != 0 || u >= 1<<16:
		return fmt.Errorf("underlying block size %d is not a power of 2 of 16 bits", uint64(u))
	case u > 0 && e.Offset%u != 0:
		return fmt.Errorf("offset %d is not a whole number of blocks of %d sectors", uint64(e.Offset), uint64(u))
	case e.Offset >= length:
		return errors.New("the offset is not below the length")
	}
	return needDevice(e.Device)
}

func parseEBS(params string) (Target, error) {
	r := readArgs(params)
	e := EmulatedBlocks{Device: r.device("device"), Offset: r.sectors("offset"), Emulated: Sectors(r.uint("emulated block size", 16))}
	if r.err == nil && r.left() > 0 {
		e.Underlying = Sectors(r.uint("underlying block size", 16))
		if r.err == nil && e.Underlying == 0 {
			r.fail("underlying block size", errors.New("must not be 0"))
		}
	}
	return e, r.end()
}
