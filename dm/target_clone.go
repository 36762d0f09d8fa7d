// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"math/bits"
)

// Clone copies a device to another one while it can be read and written
// already (drivers/md/dm-clone-target.c, Linux 5.4). A region that was copied,
// or written as a whole, is hydrated: it comes from the destination from then
// on.
//
// The metadata are read when a table is loaded, not when it goes live: what is
// written between a load and the suspend would be lost, since the new table
// takes these regions from the source. [Client.Reload] therefore suspends a
// clone before it loads the next one; suspend it yourself before [Client.Load].
// Replacing it with another target, once it is hydrated, needs no such care.
//
// Debian's kernels have the module in 7.2 and not in 6.12.
type Clone struct {
	Metadata   string
	Dest       string
	Source     string  // never written
	RegionSize Sectors // a power of 2 from 8 to 2097152

	NoHydration       bool // copy nothing in the background; see [EnableHydration]
	NoDiscardPassdown bool // discards don't reach the destination

	HydrationThreshold *uint32 // regions that are copied at a time; nil for the kernel's 1, 0 stops
	HydrationBatchSize *uint32 // regions that are copied in one go; nil for the kernel's 1
}

// TargetType is "clone".
func (Clone) TargetType() string { return "clone" }

// Params is "metadata dest source region [n feature… [n key value…]]".
func (c Clone) Params() string {
	args := []string{c.Metadata, c.Dest, c.Source, num(c.RegionSize)}
	feat := cloneFeatures(c.NoHydration, c.NoDiscardPassdown)
	var core []string
	if c.HydrationThreshold != nil {
		core = append(core, "hydration_threshold", num(*c.HydrationThreshold))
	}
	if c.HydrationBatchSize != nil {
		core = append(core, "hydration_batch_size", num(*c.HydrationBatchSize))
	}
	if len(feat)+len(core) > 0 {
		args = append(append(args, num(len(feat))), feat...)
	}
	if len(core) > 0 {
		args = append(append(args, num(len(core))), core...)
	}
	return JoinArgs(args...)
}

func cloneFeatures(noHydration, noPassdown bool) (feat []string) {
	if noHydration {
		feat = append(feat, "no_hydration")
	}
	if noPassdown {
		feat = append(feat, "no_discard_passdown")
	}
	return feat
}

// Extents is both devices from their start, and the metadata.
func (c Clone) Extents(length Sectors) []Extent {
	return []Extent{{c.Source, 0, length}, {c.Dest, 0, length}, {c.Metadata, 0, 0}}
}

// Validate checks the region size and the number of regions.
func (c Clone) Validate(length Sectors) error {
	if err := needDevice(c.Metadata, c.Dest, c.Source); err != nil {
		return err
	}
	switch {
	case c.RegionSize < 8 || c.RegionSize > 1<<21 || bits.OnesCount64(uint64(c.RegionSize)) != 1:
		return fmt.Errorf("region size %d is no power of 2 from 8 to 2097152", uint64(c.RegionSize))
	case length > c.RegionSize<<31:
		return fmt.Errorf("%d sectors are more than 2^31 regions of %d", uint64(length), uint64(c.RegionSize))
	}
	return nil
}

func parseClone(params string) (Target, error) {
	r := readArgs(params)
	c := Clone{
		Metadata: r.device("metadata"), Dest: r.device("dest"), Source: r.device("source"),
		RegionSize: r.sectors("region size"),
	}
	c.NoHydration, c.NoDiscardPassdown = r.cloneFeatures()
	n := r.group("core arguments")
	if n%2 != 0 {
		r.fail("core arguments", fmt.Errorf("%d are not pairs", n))
	}
	for range n / 2 {
		i := r.oneOf("core argument", "hydration_threshold", "hydration_batch_size")
		v := uint32(r.uint("value", 32))
		if i == 0 {
			c.HydrationThreshold = &v
		} else {
			c.HydrationBatchSize = &v
		}
	}
	return c, r.end()
}

func (r *argReader) cloneFeatures() (noHydration, noPassdown bool) {
	for range r.group("features") {
		if r.oneOf("feature", "no_hydration", "no_discard_passdown") == 0 {
			noHydration = true
		} else {
			noPassdown = true
		}
	}
	return noHydration, noPassdown
}

// CloneStatus is the status of a [Clone].
type CloneStatus struct {
	Fail  bool // the metadata can't be used any more; there are no numbers
	Error bool // the numbers could not be read

	MetadataBlockSize           Sectors // 8
	MetadataUsed, MetadataTotal uint64  // blocks
	RegionSize                  Sectors
	Hydrated, Total             uint64 // regions
	Hydrating                   uint32 // regions that are being copied

	NoHydration        bool
	NoDiscardPassdown  bool
	HydrationThreshold uint32
	HydrationBatchSize uint32
	ReadOnly           bool // the metadata can't be changed, after an error
}

// Done reports whether all regions are hydrated: the source may go.
func (s CloneStatus) Done() bool { return !s.Fail && !s.Error && s.Hydrated == s.Total }

// ParseCloneStatus reads "8 9/8192 8 0/4096 0 0 4 hydration_threshold 1
// hydration_batch_size 1 rw", "Fail" or "Error".
func ParseCloneStatus(text string) (CloneStatus, error) {
	r := readArgs(text)
	if fail, bad, ok := r.failed(); ok {
		return CloneStatus{Fail: fail, Error: bad}, nil
	}
	var s CloneStatus
	s.MetadataBlockSize = r.sectors("metadata block size")
	s.MetadataUsed, s.MetadataTotal = r.fraction("metadata blocks")
	s.RegionSize = r.sectors("region size")
	s.Hydrated, s.Total = r.fraction("regions")
	s.Hydrating = uint32(r.uint("hydrating", 32))
	s.NoHydration, s.NoDiscardPassdown = r.cloneFeatures()
	if n := r.group("core arguments"); r.err == nil && n != 4 {
		r.fail("core arguments", errors.New("not the two that are known"))
	}
	r.oneOf("core argument", "hydration_threshold")
	s.HydrationThreshold = uint32(r.uint("hydration_threshold", 32))
	r.oneOf("core argument", "hydration_batch_size")
	s.HydrationBatchSize = uint32(r.uint("hydration_batch_size", 32))
	s.ReadOnly = r.oneOf("metadata mode", "rw", "ro") == 1
	if err := r.end(); err != nil {
		return CloneStatus{}, badStatus("clone", err)
	}
	return s, nil
}

// String is the kernel's text.
func (s CloneStatus) String() string {
	if text := failText(s.Fail, s.Error); text != "" {
		return text
	}
	args := []string{
		num(s.MetadataBlockSize), fmt.Sprintf("%d/%d", s.MetadataUsed, s.MetadataTotal),
		num(s.RegionSize), fmt.Sprintf("%d/%d", s.Hydrated, s.Total), num(s.Hydrating),
	}
	feat := cloneFeatures(s.NoHydration, s.NoDiscardPassdown)
	args = append(append(args, num(len(feat))), feat...)
	args = append(args, "4", "hydration_threshold", num(s.HydrationThreshold), "hydration_batch_size", num(s.HydrationBatchSize))
	if s.ReadOnly {
		return JoinArgs(append(args, "ro")...)
	}
	return JoinArgs(append(args, "rw")...)
}

// CloneMessage is a message to a [Clone].
type CloneMessage string

// The messages of clone that take no argument.
const (
	EnableHydration  CloneMessage = "enable_hydration"  // copy in the background
	DisableHydration CloneMessage = "disable_hydration" // stop that
)

// TargetType is "clone".
func (CloneMessage) TargetType() string { return "clone" }

// Text is the message itself.
func (m CloneMessage) Text() string { return string(m) }

// Validate refuses what is none of the constants.
func (m CloneMessage) Validate() error { return knownMessage(m, EnableHydration, DisableHydration) }

// HydrationThreshold is the message that says how many regions a [Clone] may
// copy at a time; 0 stops.
type HydrationThreshold uint32

// TargetType is "clone".
func (HydrationThreshold) TargetType() string { return "clone" }

// Text is "hydration_threshold n".
func (n HydrationThreshold) Text() string { return "hydration_threshold " + num(uint32(n)) }

// Validate takes all values.
func (HydrationThreshold) Validate() error { return nil }

// HydrationBatchSize is the message that says how many neighbouring regions a
// [Clone] copies in one go.
type HydrationBatchSize uint32

// TargetType is "clone".
func (HydrationBatchSize) TargetType() string { return "clone" }

// Text is "hydration_batch_size n".
func (n HydrationBatchSize) Text() string { return "hydration_batch_size " + num(uint32(n)) }

// Validate takes all values.
func (HydrationBatchSize) Validate() error { return nil }
