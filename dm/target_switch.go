// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// SwitchPath is a device of a [Switch].
type SwitchPath struct {
	Device string
	Offset Sectors
}

// Switch sends each region of a fixed size to the path that a table says, at
// the same place on all of them (drivers/md/dm-switch.c). At first region n
// goes to path n modulo the number of paths; [SetRegionMappings] changes that.
// The kernel does not tell the table.
type Switch struct {
	RegionSize Sectors
	Paths      []SwitchPath
}

// TargetType is "switch".
func (Switch) TargetType() string { return "switch" }

// Params is "paths region 0 (device offset)…".
func (s Switch) Params() string {
	args := []string{num(len(s.Paths)), num(s.RegionSize), "0"}
	for _, p := range s.Paths {
		args = append(args, p.Device, num(p.Offset))
	}
	return JoinArgs(args...)
}

// Extents is the range on every path.
func (s Switch) Extents(length Sectors) []Extent {
	var ext []Extent
	for _, p := range s.Paths {
		ext = append(ext, Extent{p.Device, p.Offset, length})
	}
	return ext
}

// Validate checks the region size.
func (s Switch) Validate(Sectors) error {
	if s.RegionSize == 0 || s.RegionSize >= 1<<32 {
		return fmt.Errorf("region size %d", uint64(s.RegionSize))
	}
	if len(s.Paths) == 0 {
		return errors.New("no path")
	}
	for _, p := range s.Paths {
		if err := needDevice(p.Device); err != nil {
			return err
		}
	}
	return nil
}

func parseSwitch(params string) (Target, error) {
	r := readArgs(params)
	n := r.uint("paths", 32)
	s := Switch{RegionSize: Sectors(r.uint("region size", 32))}
	if optional := r.uint("optional arguments", 32); r.err == nil && optional != 0 {
		r.fail("optional arguments", fmt.Errorf("%d, there are none", optional))
	}
	for i := uint64(0); i < n && r.err == nil; i++ {
		s.Paths = append(s.Paths, SwitchPath{r.device("device"), r.sectors("offset")})
	}
	return s, r.end()
}

// RegionRun maps consecutive regions to paths.
type RegionRun struct {
	First uint64   // number of the first region, from 0
	Paths []uint32 // of First and those behind it; paths count from 0
}

// SetRegionMappings changes the table of a [Switch]. What repeats is sent
// once: a million regions in turn over four paths are a message of 20 bytes.
type SetRegionMappings struct {
	Runs []RegionRun
}

// TargetType is "switch".
func (SetRegionMappings) TargetType() string { return "switch" }

// Validate refuses a message that sets nothing.
func (m SetRegionMappings) Validate() error {
	if len(m.Runs) == 0 {
		return errors.New("no region")
	}
	for _, r := range m.Runs {
		if len(r.Paths) == 0 {
			return errors.New("a run without a region")
		}
		if r.First+uint64(len(r.Paths)) < r.First {
			return errors.New("region beyond 2^64")
		}
	}
	return nil
}

// Text is "set_region_mappings" and an argument for each region or
// repetition, with numbers in hex: "index:path", ":path" for the region
// behind, "Rn,m" to repeat the last n regions for m more.
func (m SetRegionMappings) Text() string {
	var b strings.Builder
	b.WriteString("set_region_mappings")
	next := uint64(0)
	for _, r := range m.Runs {
		for i := 0; i < len(r.Paths); {
			if n, count := repetition(r.Paths, i); count > 0 {
				b.WriteString(" R" + strconv.FormatUint(uint64(n), 16) + "," + strconv.FormatUint(uint64(count), 16))
				i += count
				next = r.First + uint64(i)
				continue
			}
			b.WriteByte(' ')
			// The kernel starts before region 1: ":path" can't be region 0.
			if at := r.First + uint64(i); at != next || at == 0 {
				b.WriteString(strconv.FormatUint(at, 16))
			}
			b.WriteString(":" + strconv.FormatUint(uint64(r.Paths[i]), 16))
			i++
			next = r.First + uint64(i)
		}
	}
	return b.String()
}

// maxCycle bounds the search for repetitions; it is far above the number of
// paths of real arrays.
const maxCycle = 64

// repetition looks for the cycle that the regions from i on repeat longest:
// its length, and for how many regions, or 0 if it is not worth the words.
func repetition(paths []uint32, i int) (n, count int) {
	for length := 1; length <= min(i, maxCycle); length++ {
		same := 0
		for i+same < len(paths) && paths[i+same] == paths[i+same-length] {
			same++
		}
		if same > count {
			n, count = length, same
		}
		if i+count == len(paths) {
			break
		}
	}
	if count < 2 { // " R1,1" is longer than " :0"
		return 0, 0
	}
	return n, count
}
