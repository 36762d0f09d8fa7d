// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"strconv"
)

// unstriped is dm-unstripe.c.
type unstriped struct {
	area
	stripes, stripe uint64
	chunk           uint64
}

func unstripedTarget() Target {
	return Target{Name: "unstriped", Version: [3]uint32{1, 1, 0}, Autoload: true, Module: "dm-unstripe", New: newUnstriped}
}

func newUnstriped(a *Args) (Instance, error) {
	if len(a.Argv) != 5 {
		return nil, a.Fail(EINVAL, "Invalid number of arguments")
	}
	n, err := strconv.ParseUint(a.Argv[0], 10, 32)
	if err != nil || n == 0 {
		return nil, a.Fail(EINVAL, "Invalid stripe count")
	}
	chunk, err := strconv.ParseUint(a.Argv[1], 10, 32)
	if err != nil || chunk == 0 {
		return nil, a.Fail(EINVAL, "Invalid chunk_size")
	}
	stripe, err := strconv.ParseUint(a.Argv[2], 10, 32)
	if err != nil {
		return nil, a.Fail(EINVAL, "Invalid stripe number")
	}
	if stripe > n && n > 1 {
		return nil, a.Fail(EINVAL, "Please provide stripe between [0, # of stripes]")
	}
	dev, err := a.Open(a.Argv[3])
	if err != nil {
		return nil, a.Fail(EINVAL, "Couldn't get striped device")
	}
	start, ok := scanSector(a.Argv[4])
	if !ok {
		return nil, a.Fail(EINVAL, "Invalid striped device offset")
	}
	if a.Length%chunk != 0 {
		return nil, a.Fail(EINVAL, "Target length not divisible by chunk size")
	}
	return &unstriped{area{dev, start, a.Length}, n, stripe, chunk}, nil
}

func (u *unstriped) Table() string {
	return fmt.Sprintf("%d %d %d %s", u.stripes, u.chunk, u.stripe, u.area)
}

// each splits an I/O at chunks.
func (u *unstriped) each(sector, n uint64, f func(at, from, count uint64) error) error {
	width, offset := (u.stripes-1)*u.chunk, u.stripe*u.chunk
	for done := uint64(0); done < n; {
		at := sector + done
		count := min(n-done, u.chunk-at%u.chunk)
		if err := f(at+width*(at/u.chunk)+offset, done, count); err != nil {
			return err
		}
		done += count
	}
	return nil
}

func (u *unstriped) ReadSectors(p []byte, sector uint64) error {
	return u.each(sector, uint64(len(p)/sectorSize), func(at, from, n uint64) error {
		return u.area.ReadSectors(p[from*sectorSize:(from+n)*sectorSize], at)
	})
}

func (u *unstriped) WriteSectors(p []byte, sector uint64) error {
	return u.each(sector, uint64(len(p)/sectorSize), func(at, from, n uint64) error {
		return u.area.WriteSectors(p[from*sectorSize:(from+n)*sectorSize], at)
	})
}

func (u *unstriped) DiscardSectors(sector, n uint64) error {
	return u.each(sector, n, func(at, _, count uint64) error { return u.area.DiscardSectors(at, count) })
}
