// SPDX-License-Identifier: MIT

package dmraid

import (
	"fmt"
	"math/bits"
	"strings"
)

// Superblock is struct dm_raid_superblock of dm-raid.c: the first logical
// block of a metadata device. [DecodeSuperblock] keeps all that it reads, also
// what this package has no name for.
type Superblock struct {
	Extended      bool // compat_features has v1.9.0's bit: the fields below Chunk count
	NumDevices    uint32
	ArrayPosition uint32
	Events        uint64
	// FailedDevices has a bit for each position: failed_devices and
	// extended_failed_devices.
	FailedDevices [4]uint64
	DiskRecovery  Sectors // how far this leg was rebuilt; MaxSector: in sync
	ArrayResync   Sectors // how far the array was synced; MaxSector: clean
	Level         uint32
	Layout        uint32
	Chunk         Sectors

	Reshaping       bool
	Backwards       bool
	ReshapePosition Sectors // MaxSector: none
	NewLevel        uint32
	NewLayout       uint32
	NewChunk        Sectors
	DeltaDisks      int32
	ArraySectors    Sectors
	DataOffset      Sectors
	NewDataOffset   Sectors
	DevSectors      Sectors

	// What no kernel up to Linux 7.2 writes, kept as it was read.
	OtherCompat uint32 // bits of compat_features beside v1.9.0's
	OtherFlags  uint32 // bits of flags beside the two of a reshape
	Incompat    uint32 // incompat_features; anything but 0 is refused
	Rest        string // bytes after the fields, up to the last that is not 0
}

// Failed reports whether the superblock records that the leg in the given
// position has failed.
func (s Superblock) Failed(position int) bool {
	return position >= 0 && position < 256 && s.FailedDevices[position/64]>>(position%64)&1 != 0
}

// SetFailed records that the leg in the given position has failed, or has
// not. Positions that no array has are left out.
func (s *Superblock) SetFailed(position int, failed bool) {
	if position < 0 || position >= 256 {
		return
	}
	bit := uint64(1) << (position % 64)
	if failed {
		s.FailedDevices[position/64] |= bit
	} else {
		s.FailedDevices[position/64] &^= bit
	}
}

// FailedLegs lists the positions that the superblock records as failed,
// ascending.
func (s Superblock) FailedLegs() []int {
	var list []int
	for i, word := range s.FailedDevices {
		for ; word != 0; word &= word - 1 {
			list = append(list, i*64+bits.TrailingZeros64(word))
		}
	}
	return list
}

// Spare reports whether md had no position for the leg, so that array_position
// is -1: the table had more legs than the array.
func (s Superblock) Spare() bool { return int32(s.ArrayPosition) < 0 }

// InSync reports whether the leg claims to be rebuilt wholly.
func (s Superblock) InSync() bool { return s.DiskRecovery == MaxSector }

// Clean reports whether the array claims to be synced wholly. The word "sync"
// or "nosync" of a table makes it claim so without a sync.
func (s Superblock) Clean() bool { return s.ArrayResync == MaxSector }

// Type is the type that a status line shows for the superblock's level and
// layout (get_raid_type_by_ll), and empty when there is none.
func (s Superblock) Type() Type { return typeOf(int(s.Level), s.Layout) }

// Resync is the superblock with the array synced up to nothing, so that the
// kernel, at the next start, resyncs the regions that the bitmap has as dirty,
// or everything where there is no bitmap. It is what an array needs that lost
// power: its superblocks call it clean. All legs need it, while no table with
// them is active.
func (s Superblock) Resync() Superblock {
	s.ArrayResync = 0
	return s
}

// offset prints an offset that can be MaxSector.
func offset(s Sectors) string {
	if s == MaxSector {
		return "all"
	}
	return s.String()
}

// String is a line for people: "raid5_ls leg 1 of 3, events 19, chunk 64s,
// clean".
func (s Superblock) String() string {
	var b strings.Builder
	name := string(s.Type())
	if name == "" {
		name = fmt.Sprintf("level %d layout %#x", s.Level, s.Layout)
	}
	if s.Spare() {
		fmt.Fprintf(&b, "%s spare leg beside %d, events %d", name, s.NumDevices, s.Events)
	} else {
		fmt.Fprintf(&b, "%s leg %d of %d, events %d", name, s.ArrayPosition, s.NumDevices, s.Events)
	}
	if s.Chunk != 0 {
		fmt.Fprintf(&b, ", chunk %v", s.Chunk)
	}
	switch {
	case s.Clean():
		b.WriteString(", clean")
	default:
		fmt.Fprintf(&b, ", synced up to %v", s.ArrayResync)
	}
	if !s.InSync() {
		fmt.Fprintf(&b, ", leg rebuilt up to %v", s.DiskRecovery)
	}
	if list := s.FailedLegs(); len(list) > 0 {
		fmt.Fprintf(&b, ", failed %v", list)
	}
	if s.Reshaping {
		direction := "forwards"
		if s.Backwards {
			direction = "backwards"
		}
		fmt.Fprintf(&b, ", reshaping %s at %s", direction, offset(s.ReshapePosition))
	}
	if !s.Extended {
		b.WriteString(", format before 1.9.0")
	}
	return b.String()
}
