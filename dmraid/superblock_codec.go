// SPDX-License-Identifier: MIT

package dmraid

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
)

// Of dm-raid.c.
const (
	superMagic      = 0x64526D44 // DM_RAID_MAGIC
	superSize       = 148        // sizeof(struct dm_raid_superblock)
	superLegacyEnd  = 60         // where the fields of v1.9.0 begin
	superFlagActive = 1          // SB_FLAG_RESHAPE_ACTIVE
	superFlagBack   = 2          // SB_FLAG_RESHAPE_BACKWARDS
	superCompatV190 = 1          // FEATURE_FLAG_SUPPORTS_V190
)

// SuperblockSize is the smallest block that holds a superblock. The kernel
// reads and writes one logical block of the metadata device, 512 to 4096
// bytes, at its start; what follows these bytes is zero.
const SuperblockSize = 512

// The kernel's own texts for superblocks of a later kernel.
const (
	textCompat   = "Unable to assemble array: Unknown flag(s) in compatible feature flags"
	textIncompat = "Unable to assemble array: No incompatible feature flags supported yet"
)

// DecodeSuperblock reads a superblock from the first bytes of a metadata
// device, at least 148 and no more than a logical block of them.
//
// Errors: [ErrForeign] when the magic is not there: the kernel takes such a
// leg for a new one. [ErrCorrupt] when there is too little, or what is there
// can't belong to an array. errors.ErrUnsupported, with the kernel's text and
// EINVAL, when features are flagged that no kernel so far knows; the
// Superblock is complete then, and also with ErrCorrupt if there was enough.
// A superblock from before target version 1.9.0 is no error: it is not
// Extended, and the kernel upgrades it.
func DecodeSuperblock(b []byte) (Superblock, error) {
	fail := func(s Superblock, err error, code syscall.Errno, format string, args ...any) (Superblock, error) {
		return s, &Error{Op: "superblock", Code: code, Detail: fmt.Sprintf(format, args...), Err: err}
	}
	if len(b) < 4 {
		return fail(Superblock{}, ErrCorrupt, 0, "%d bytes are too few", len(b))
	}
	if magic := binary.LittleEndian.Uint32(b); magic != superMagic {
		return fail(Superblock{}, ErrForeign, 0, "magic %#08x", magic)
	}
	if len(b) < superSize {
		return fail(Superblock{}, ErrCorrupt, 0, "%d bytes are too few", len(b))
	}
	s := getSuperblock(b)
	switch {
	case s.OtherCompat != 0:
		return fail(s, errors.ErrUnsupported, einval, textCompat)
	case s.Incompat != 0:
		return fail(s, errors.ErrUnsupported, einval, textIncompat)
	}
	if why := s.impossible(); why != "" {
		return fail(s, ErrCorrupt, 0, "%s", why)
	}
	return s, nil
}

func getSuperblock(b []byte) Superblock {
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	sectors := func(at int) Sectors { return Sectors(u64(at)) }
	compat, flags := u32(4), u32(60)
	return Superblock{
		Extended: compat&superCompatV190 != 0, OtherCompat: compat &^ superCompatV190,
		NumDevices: u32(8), ArrayPosition: u32(12), Events: u64(16),
		FailedDevices: [4]uint64{u64(24), u64(120), u64(128), u64(136)},
		DiskRecovery:  sectors(32), ArrayResync: sectors(40),
		Level: u32(48), Layout: u32(52), Chunk: Sectors(u32(56)),
		Reshaping: flags&superFlagActive != 0, Backwards: flags&superFlagBack != 0,
		OtherFlags:      flags &^ (superFlagActive | superFlagBack),
		ReshapePosition: sectors(64), NewLevel: u32(72), NewLayout: u32(76),
		NewChunk: Sectors(u32(80)), DeltaDisks: int32(u32(84)),
		ArraySectors: sectors(88), DataOffset: sectors(96), NewDataOffset: sectors(104),
		DevSectors: sectors(112), Incompat: u32(144),
		Rest: strings.TrimRight(string(b[superSize:]), "\x00"),
	}
}

// impossible says why no kernel can have written the superblock, or is empty.
func (s Superblock) impossible() string {
	switch {
	case s.NumDevices == 0 || s.NumDevices > MaxLegs:
		return fmt.Sprintf("an array of %d legs", s.NumDevices)
	case s.ArrayPosition >= MaxLegs && !s.Spare():
		// It can be above num_devices: the legs that a reshape adds get a
		// superblock before it has begun.
		return fmt.Sprintf("position %d", s.ArrayPosition)
	case s.Type() == "":
		return fmt.Sprintf("no raid type has level %d and layout %#x", s.Level, s.Layout)
	case s.Chunk&(s.Chunk-1) != 0 || s.Chunk == 0 && s.Level > 1:
		return fmt.Sprintf("chunk size %v", s.Chunk)
	case !s.Extended:
		return ""
	case typeOf(int(s.NewLevel), s.NewLayout) == "":
		return fmt.Sprintf("no raid type has new level %d and layout %#x", s.NewLevel, s.NewLayout)
	case s.NewChunk&(s.NewChunk-1) != 0:
		return fmt.Sprintf("new chunk size %v", s.NewChunk)
	case s.DeltaDisks > MaxLegs || s.DeltaDisks < -MaxLegs:
		return fmt.Sprintf("%d legs more", s.DeltaDisks)
	case s.Reshaping && s.ReshapePosition == MaxSector:
		return "a reshape without a position"
	case s.DevSectors > 1<<55 || s.DataOffset > 1<<55 || s.NewDataOffset > 1<<55:
		return "a leg larger than any device"
	}
	return ""
}

// Encode writes the superblock as a logical block of blockSize bytes, the
// rest zero. A blockSize below [SuperblockSize] counts as that; Rest that
// doesn't fit is left out.
func (s Superblock) Encode(blockSize int) []byte {
	b := make([]byte, max(blockSize, SuperblockSize))
	put32 := func(at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
	put64 := func(at int, v uint64) { binary.LittleEndian.PutUint64(b[at:], v) }
	flag := func(set bool, bit uint32) uint32 {
		if set {
			return bit
		}
		return 0
	}
	put32(0, superMagic)
	put32(4, flag(s.Extended, superCompatV190)|s.OtherCompat)
	put32(8, s.NumDevices)
	put32(12, s.ArrayPosition)
	put64(16, s.Events)
	put64(24, s.FailedDevices[0])
	put64(32, uint64(s.DiskRecovery))
	put64(40, uint64(s.ArrayResync))
	put32(48, s.Level)
	put32(52, s.Layout)
	put32(56, uint32(s.Chunk))
	put32(60, flag(s.Reshaping, superFlagActive)|flag(s.Backwards, superFlagBack)|s.OtherFlags)
	put64(64, uint64(s.ReshapePosition))
	put32(72, s.NewLevel)
	put32(76, s.NewLayout)
	put32(80, uint32(s.NewChunk))
	put32(84, uint32(s.DeltaDisks))
	put64(88, uint64(s.ArraySectors))
	put64(96, uint64(s.DataOffset))
	put64(104, uint64(s.NewDataOffset))
	put64(112, uint64(s.DevSectors))
	for i, word := range s.FailedDevices[1:] {
		put64(120+8*i, word)
	}
	put32(144, s.Incompat)
	copy(b[superSize:], s.Rest)
	return b
}

// ReadSuperblock reads the superblock of a metadata device or of an image of
// one. It reads 4096 bytes at 0, fewer where the device ends before. A device
// that an active array has must be read past the page cache (O_DIRECT).
// Errors are those of [DecodeSuperblock], and of the reader.
func ReadSuperblock(r io.ReaderAt) (Superblock, error) {
	b := make([]byte, 4096)
	n, err := r.ReadAt(b, 0)
	if n < SuperblockSize && err != nil && !errors.Is(err, io.EOF) {
		return Superblock{}, &Error{Op: "superblock", Detail: "read", Err: err}
	}
	return DecodeSuperblock(b[:min(n, SuperblockSize)])
}

// typeOf is get_raid_type_by_ll: the word of the status line for a level and
// a layout, or nothing. The kernel searches its table from the end, so near is
// "raid10", and so is a layout of 0.
func typeOf(level int, layout uint32) Type {
	if level == 10 {
		near, far := layout&0xff, layout>>8&0xff
		switch {
		case layout&raid10Offset != 0:
			return RAID10Off
		case near > 1 || layout == 0:
			return RAID10
		case layout == 1:
			return RAID10Near
		case far > 1:
			return RAID10Far
		}
		return ""
	}
	for _, t := range typeTable {
		if t.level == level && t.layout == layout {
			return t.name
		}
	}
	return ""
}
