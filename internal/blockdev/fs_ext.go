// SPDX-License-Identifier: MIT

package blockdev

import "fmt"

// Feature bits of ext2, 3 and 4 (fs/ext4/ext4.h).
const (
	extCompatJournal    = 0x0004
	extIncompatJournal  = 0x0008 // the device is an external journal
	ext2IncompatKnown   = 0x0002 | 0x0010
	ext3IncompatKnown   = ext2IncompatKnown | 0x0004
	ext23ROCompatKnown  = 0x0001 | 0x0002 | 0x0004
	extROCompatChecksum = 0x0400
)

// findExt tells ext2, ext3, ext4 and external journals apart by their feature
// bits. The magic has two bytes only, so the geometry must make sense too.
func findExt(p *prober) {
	const base = 1024
	b := p.at(base, 1024)
	if b == nil || le.Uint16(b[0x38:]) != 0xEF53 {
		return
	}
	compat, incompat, roCompat := le.Uint32(b[92:]), le.Uint32(b[96:]), le.Uint32(b[100:])
	if le.Uint32(b[76:]) == 0 { // revision 0 has no feature fields
		compat, incompat, roCompat = 0, 0, 0
	}
	s := Signature{
		Kind: Filesystem, Usage: UsageFilesystem, Offset: base + 0x38, Length: 2,
		UUID: uuidText(b[104:]), Label: text(b[120:136]),
		Version: fmt.Sprintf("%d.%d", le.Uint32(b[76:]), le.Uint16(b[62:])),
	}
	switch {
	case incompat&extIncompatJournal != 0:
		s.Type, s.Usage = "jbd", UsageOther
	case incompat&^ext3IncompatKnown != 0 || roCompat&^ext23ROCompatKnown != 0:
		s.Type = "ext4"
	case compat&extCompatJournal != 0:
		s.Type = "ext3"
	case incompat&^ext2IncompatKnown == 0:
		s.Type = "ext2"
	default:
		s.Type = "ext4"
	}
	if s.Type != "jbd" {
		logBlock := le.Uint32(b[24:])
		if logBlock > 6 || le.Uint32(b) == 0 || le.Uint32(b[4:]) == 0 && le.Uint32(b[0x150:]) == 0 ||
			le.Uint32(b[20:]) > 1 || le.Uint32(b[40:]) == 0 {
			return
		}
	}
	if roCompat&extROCompatChecksum != 0 {
		// ext4_superblock_csum: crc32c(~0) of what lies before the checksum.
		s.Damaged = le.Uint32(b[1020:]) != ^castagnoliOf(b[:1020])
	}
	p.add(s)
}
