// SPDX-License-Identifier: MIT

package dmraid

import (
	"fmt"
	"strings"
)

// Change is a field in which two superblocks differ.
type Change struct {
	Field    string // the field of the kernel's structure: "array_resync_offset"
	From, To string
}

// String is "events: 19 -> 20".
func (c Change) String() string { return c.Field + ": " + c.From + " -> " + c.To }

// Diff lists in the order of the disk what differs from a to b, under the
// names of struct dm_raid_superblock. It is empty if and only if a == b.
func Diff(a, b Superblock) []Change {
	var list []Change
	add := func(field string, from, to any) {
		if from != to {
			list = append(list, Change{field, fmt.Sprint(from), fmt.Sprint(to)})
		}
	}
	at := func(field string, from, to Sectors) { add(field, offset(from), offset(to)) }
	compat := func(s Superblock) string {
		word := s.OtherCompat
		if s.Extended {
			word |= superCompatV190
		}
		return fmt.Sprintf("%#x", word)
	}
	flags := func(s Superblock) string {
		var words []string
		if s.Reshaping {
			words = append(words, "reshaping")
		}
		if s.Backwards {
			words = append(words, "backwards")
		}
		if s.OtherFlags != 0 {
			words = append(words, fmt.Sprintf("%#x", s.OtherFlags))
		}
		if words == nil {
			return "none"
		}
		return strings.Join(words, "|")
	}
	failed := func(s Superblock) string {
		if s.FailedDevices == [4]uint64{} {
			return "none"
		}
		return fmt.Sprint(s.FailedLegs())
	}
	add("compat_features", compat(a), compat(b))
	add("num_devices", a.NumDevices, b.NumDevices)
	add("array_position", a.ArrayPosition, b.ArrayPosition)
	add("events", a.Events, b.Events)
	add("failed_devices", failed(a), failed(b))
	at("disk_recovery_offset", a.DiskRecovery, b.DiskRecovery)
	at("array_resync_offset", a.ArrayResync, b.ArrayResync)
	add("level", a.Level, b.Level)
	add("layout", fmt.Sprintf("%#x", a.Layout), fmt.Sprintf("%#x", b.Layout))
	add("stripe_sectors", a.Chunk, b.Chunk)
	add("flags", flags(a), flags(b))
	at("reshape_position", a.ReshapePosition, b.ReshapePosition)
	add("new_level", a.NewLevel, b.NewLevel)
	add("new_layout", fmt.Sprintf("%#x", a.NewLayout), fmt.Sprintf("%#x", b.NewLayout))
	add("new_stripe_sectors", a.NewChunk, b.NewChunk)
	add("delta_disks", a.DeltaDisks, b.DeltaDisks)
	add("array_sectors", a.ArraySectors, b.ArraySectors)
	add("data_offset", a.DataOffset, b.DataOffset)
	add("new_data_offset", a.NewDataOffset, b.NewDataOffset)
	add("sectors", a.DevSectors, b.DevSectors)
	add("incompat_features", fmt.Sprintf("%#x", a.Incompat), fmt.Sprintf("%#x", b.Incompat))
	add("rest", fmt.Sprintf("%x", a.Rest), fmt.Sprintf("%x", b.Rest))
	return list
}
