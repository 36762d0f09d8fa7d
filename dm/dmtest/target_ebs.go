// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"strconv"
	"sync"
)

// ebs is dm-ebs-target.c.
type ebs struct {
	area
	emulated, under uint64 // sectors
	given           bool   // under was an argument

	mu sync.Mutex // orders what reads, changes and writes back
}

const maxPage = 4096 / sectorSize

func ebsTarget() Target {
	return Target{Name: "ebs", Version: [3]uint32{1, 0, 1}, Autoload: true, Module: "dm-ebs", New: newEBS}
}

func newEBS(a *Args) (Instance, error) {
	if len(a.Argv) < 3 || len(a.Argv) > 4 {
		return nil, a.Fail(EINVAL, "Invalid argument count")
	}
	start, ok := scanSector(a.Argv[1])
	if !ok || start >= a.Length {
		return nil, a.Fail(EINVAL, "Invalid device offset sector")
	}
	block := func(s string, limit uint64) (uint64, bool) {
		n, err := strconv.ParseUint(s, 10, 16)
		return n, err == nil && n > 0 && n&(n-1) == 0 && n <= limit
	}
	e := &ebs{given: len(a.Argv) > 3}
	if e.emulated, ok = block(a.Argv[2], maxPage); !ok {
		return nil, a.Fail(EINVAL, "Invalid emulated block size")
	}
	if e.given {
		if e.under, ok = block(a.Argv[3], 1<<15); !ok {
			return nil, a.Fail(EINVAL, "Invalid underlying block size")
		}
	}
	dev, err := a.Open(a.Argv[0])
	if err != nil {
		return nil, withText(err, "Device lookup failed")
	}
	if !e.given {
		e.under = uint64(dev.BlockSize() / sectorSize)
		if e.under == e.emulated {
			a.Kernel().Log("ebs", "Emulation superfluous: emulated equal to underlying block size")
		}
	}
	if start%e.under != 0 {
		return nil, a.Fail(EINVAL, "Device offset must be multiple of underlying block size")
	}
	e.area = area{dev, start, a.Length}
	return e, nil
}

func (e *ebs) Table() string {
	if e.given {
		return fmt.Sprintf("%s %d %d", e.area, e.emulated, e.under)
	}
	return fmt.Sprintf("%s %d", e.area, e.emulated)
}

// emulatedDev shows the emulated block size to the check of the limits, as
// io_hints does.
type emulatedDev struct {
	blockDev
	block int
}

func (d emulatedDev) blockSize() int { return d.block }

func (e *ebs) Devices() []Area {
	dev := *e.dev
	dev.bdev = emulatedDev{dev.bdev, int(e.emulated) * sectorSize}
	return []Area{{&dev, e.start, e.length}}
}

// blocks widens a range to whole underlying blocks.
func (e *ebs) blocks(sector, n uint64) (first, count uint64) {
	first = sector / e.under * e.under
	end := (sector + n + e.under - 1) / e.under * e.under
	return first, end - first
}

func (e *ebs) ReadSectors(p []byte, sector uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	first, n := e.blocks(sector, uint64(len(p)/sectorSize))
	whole := make([]byte, n*sectorSize)
	if err := e.area.ReadSectors(whole, first); err != nil {
		return err
	}
	copy(p, whole[(sector-first)*sectorSize:])
	return nil
}

func (e *ebs) WriteSectors(p []byte, sector uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	first, n := e.blocks(sector, uint64(len(p)/sectorSize))
	whole := make([]byte, n*sectorSize)
	if len(whole) > len(p) {
		if err := e.area.ReadSectors(whole, first); err != nil {
			return err
		}
	}
	copy(whole[(sector-first)*sectorSize:], p)
	return e.area.WriteSectors(whole, first)
}

// DiscardSectors leaves alone blocks that are not covered in whole.
func (e *ebs) DiscardSectors(sector, n uint64) error {
	first := (sector + e.under - 1) / e.under * e.under
	end := (sector + n) / e.under * e.under
	if first >= end {
		return nil
	}
	return e.area.DiscardSectors(first, end-first)
}
