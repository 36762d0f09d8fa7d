// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
)

// Unstriped is one leg of a striped device, taken out of the whole
// (drivers/md/dm-unstripe.c): each Stripes-th chunk of the device.
type Unstriped struct {
	Stripes   uint32 // legs of the striped device
	ChunkSize Sectors
	Stripe    uint32  // which leg, from 0
	Device    string  // the striped device
	Offset    Sectors // where its stripes begin
}

// TargetType is "unstriped".
func (Unstriped) TargetType() string { return "unstriped" }

// Params is "stripes chunk stripe device offset".
func (u Unstriped) Params() string {
	return JoinArgs(num(u.Stripes), num(u.ChunkSize), num(u.Stripe), u.Device, num(u.Offset))
}

// Extents is the length from the offset, which is all that the kernel looks
// at, although the chunks are spread over Stripes times as much.
func (u Unstriped) Extents(length Sectors) []Extent {
	return []Extent{{u.Device, u.Offset, length}}
}

// Validate checks that the length is a whole number of chunks, and that the
// leg exists. The last is more than the kernel does: it takes a leg too many,
// and any leg of one.
func (u Unstriped) Validate(length Sectors) error {
	switch {
	case u.Stripes == 0:
		return errors.New("no stripe")
	case u.ChunkSize == 0 || u.ChunkSize >= 1<<32:
		return fmt.Errorf("chunk size %d", uint64(u.ChunkSize))
	case u.Stripe >= u.Stripes:
		return fmt.Errorf("stripe %d of %d", u.Stripe, u.Stripes)
	case length%u.ChunkSize != 0:
		return fmt.Errorf("length %d is not divisible by the chunk size %d", uint64(length), uint64(u.ChunkSize))
	}
	return needDevice(u.Device)
}

func parseUnstriped(params string) (Target, error) {
	r := readArgs(params)
	u := Unstriped{
		Stripes:   uint32(r.uint("stripes", 32)),
		ChunkSize: Sectors(r.uint("chunk size", 32)),
		Stripe:    uint32(r.uint("stripe", 32)),
		Device:    r.device("device"),
		Offset:    r.sectors("offset"),
	}
	return u, r.end()
}
