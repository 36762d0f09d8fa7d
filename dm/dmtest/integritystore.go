// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"crypto/aes"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"strings"
	"syscall"
)

// integritySuper is struct superblock of dm-integrity.c.
type integritySuper struct {
	version         uint8
	log2Interleave  uint8
	tagSize         uint16
	journalSections uint32
	provided        uint64
	flags           uint32
	log2PerBlock    uint8
	log2PerBit      uint8
	recalc          uint64
	salt            [16]byte
}

const (
	integrityMagic = "integrt\x00"
	superSectors   = 8

	sbJournalMAC    = 1
	sbRecalculating = 2
	sbDirtyBitmap   = 4
	sbFixedPadding  = 8
	sbFixedHMAC     = 16
)

func (s *integritySuper) decode(b []byte) {
	le := binary.LittleEndian
	s.version, s.log2Interleave, s.tagSize = b[8], b[9], le.Uint16(b[10:])
	s.journalSections, s.provided, s.flags = le.Uint32(b[12:]), le.Uint64(b[16:]), le.Uint32(b[24:])
	s.log2PerBlock, s.log2PerBit, s.recalc = b[28], b[29], le.Uint64(b[32:])
	copy(s.salt[:], b[48:])
}

func (s *integritySuper) encode() []byte {
	b := make([]byte, superSectors*sectorSize)
	le := binary.LittleEndian
	copy(b, integrityMagic)
	b[8], b[9] = s.version, s.log2Interleave
	le.PutUint16(b[10:], s.tagSize)
	le.PutUint32(b[12:], s.journalSections)
	le.PutUint64(b[16:], s.provided)
	le.PutUint32(b[24:], s.flags)
	b[28], b[29] = s.log2PerBlock, s.log2PerBit
	le.PutUint64(b[32:], s.recalc)
	copy(b[48:], s.salt[:])
	return b
}

// writeSuper is sync_rw_sb with sb_set_version.
func (i *integrity) writeSuper() error {
	s := &i.sb
	switch {
	case s.flags&sbFixedHMAC != 0:
		s.version = 5
	case s.flags&sbFixedPadding != 0:
		s.version = 4
	case i.mode == "B" || s.flags&sbDirtyBitmap != 0:
		s.version = 3
	case i.meta != nil || s.flags&sbRecalculating != 0:
		s.version = 2
	default:
		s.version = 1
	}
	if i.a.ReadOnly {
		return nil
	}
	return i.metaDev().WriteSectors(s.encode(), i.start)
}

// integrityHash finds a digest that the double knows: crc32c, and the hashes
// of package crypto with or without hmac.
func integrityHash(name string, key []byte) (sum func(parts ...[]byte) []byte, needsKey, ok bool) {
	if name == "crc32c" {
		table := crc32.MakeTable(crc32.Castagnoli)
		return func(parts ...[]byte) []byte {
			n := uint32(0)
			for _, p := range parts {
				n = crc32.Update(n, table, p)
			}
			return binary.LittleEndian.AppendUint32(nil, n)
		}, false, true
	}
	inner, isHMAC := strings.CutPrefix(name, "hmac(")
	inner, closed := strings.CutSuffix(inner, ")")
	h := hashes[inner]
	if h == nil || closed != isHMAC {
		return nil, false, false
	}
	return func(parts ...[]byte) []byte {
		d := h()
		if isHMAC {
			d = hmac.New(h, key)
		}
		for _, p := range parts {
			d.Write(p)
		}
		return d.Sum(nil)
	}, isHMAC, true
}

// checkAlgs is the part of the constructor that asks the crypto API.
func (i *integrity) checkAlgs() error {
	for _, m := range []struct{ name, badAlg, badKey string }{
		{"internal_hash", "Invalid internal hash", "Error setting internal hash key"},
		{"journal_mac", "Invalid journal mac", "Error setting journal mac key"},
	} {
		alg := i.algs[m.name]
		if alg == nil {
			continue
		}
		sum, needsKey, ok := integrityHash(alg.name, alg.key)
		switch {
		case !ok:
			return i.a.Fail(ENOENT, m.badAlg)
		case needsKey && len(alg.key) == 0:
			return i.a.Fail(ENOKEY, m.badKey)
		case !needsKey && alg.key != nil && (alg.name != "crc32c" || len(alg.key) != 4):
			return i.a.Fail(EINVAL, m.badKey)
		}
		alg.sum = sum
	}
	hash := i.algs["internal_hash"]
	switch {
	case i.tagSize == 0 && hash == nil:
		return i.a.Fail(EINVAL, "Unknown tag size")
	case i.tagSize == 0:
		i.tagSize = uint32(len(hash.sum()))
	case i.tagSize > 424:
		return i.a.Fail(EINVAL, "Too big tag size")
	}
	switch {
	case i.mode == "I" && i.meta != nil:
		return i.a.Fail(EINVAL, "Metadata device not supported in inline mode")
	case i.mode == "I" && hash == nil:
		return i.a.Fail(EINVAL, "Internal hash not set in inline mode")
	case i.mode == "I" && (i.algs["journal_crypt"] != nil || i.algs["journal_mac"] != nil):
		return i.a.Fail(EINVAL, "Journal crypt not supported in inline mode")
	case i.mode == "I" && i.on["allow_discards"]:
		return i.a.Fail(EINVAL, "Discards not supported in inline mode")
	case i.mode == "I":
		return i.a.Fail(EINVAL, "Integrity profile not supported")
	case i.mode == "B" && hash == nil:
		return i.a.Fail(EINVAL, "Bitmap mode can be only used with internal hash")
	case i.on["allow_discards"] && hash == nil:
		return i.a.Fail(EINVAL, "Discard can be only used with internal hash")
	}
	return nil
}

// open reads the superblock, or formats the device when there is none.
func (i *integrity) open() error {
	bad := func(text string) error { return i.a.Fail(EINVAL, text) }
	b := make([]byte, superSectors*sectorSize)
	if err := i.metaDev().ReadSectors(b, i.start); err != nil {
		errno, _ := ctorErrno(err)
		return i.a.Fail(errno, "Error reading superblock")
	}
	i.log2Buffer = min(uint32(bits.Len32(max(i.buffer, 1))-1), 31-9)
	fresh := string(b[:8]) != integrityMagic
	if fresh {
		if i.mode != "R" && !isZero(b) {
			return bad("The device is not initialized")
		}
		if !i.format() {
			return bad("Could not initialize superblock")
		}
	} else {
		i.sb.decode(b)
	}
	mac := i.algs["journal_mac"] != nil
	switch s := &i.sb; {
	case !fresh && (s.version == 0 || s.version > 5):
		return bad("Unknown version")
	case uint32(s.tagSize) != i.tagSize:
		return bad("Tag size doesn't match the information in superblock")
	case 1<<s.log2PerBlock != i.perBlock:
		return bad("Block size doesn't match the information in superblock")
	case s.journalSections == 0:
		return bad("Corrupted superblock, journal_sections is 0")
	case i.meta == nil && (s.log2Interleave < 3 || s.log2Interleave > 31), i.meta != nil && s.log2Interleave != 0:
		return bad("Invalid interleave_sectors in the superblock")
	case s.flags&sbJournalMAC != 0 != mac:
		return bad("Journal mac mismatch")
	}
	i.provide()
	fits := i.provided > 0 && i.layout()
	for !fits && i.meta != nil && i.log2Buffer > 3 {
		i.log2Buffer--
		fits = i.layout()
	}
	if !fits {
		return bad("The device is too small")
	}
	i.bitmap(fresh)
	if i.meta == nil {
		i.log2Buffer = min(i.log2Buffer, uint32(bits.TrailingZeros64(i.run)))
	}
	if i.a.Length > i.provided {
		return bad("Not enough provided sectors for requested mapping size")
	}
	i.threshold = uint32((uint64(i.entries)*uint64(100-i.watermark) + 50) / 100)
	if errno, text := i.startRecalculation(); text != "" {
		return i.a.Fail(errno, text)
	}
	if alg := i.algs["journal_crypt"]; alg != nil && i.mode != "R" {
		if alg.name != "ctr(aes)" && alg.name != "cbc(aes)" {
			return i.a.Fail(ENOENT, "Invalid journal cipher")
		}
		if _, err := aes.NewCipher(alg.key); err != nil && alg.key != nil {
			return bad("Error setting encryption key")
		}
	}
	if fresh && i.mode != "R" {
		if err := i.writeSuper(); err != nil {
			errno, _ := ctorErrno(err)
			return i.a.Fail(errno, "Error initializing superblock")
		}
	}
	return nil
}

func (i *integrity) startRecalculation() (syscall.Errno, string) {
	s, hash := &i.sb, i.algs["internal_hash"]
	if i.on["recalculate"] && s.flags&sbRecalculating == 0 {
		s.flags |= sbRecalculating
		s.recalc = 0
	}
	if s.flags&sbRecalculating == 0 {
		return 0, ""
	}
	if hash == nil {
		return EINVAL, "Recalculate can only be specified with internal_hash"
	}
	// dm_integrity_disable_recalculate
	safe := hash.key == nil && i.algs["journal_mac"] == nil
	if s.flags&sbFixedHMAC != 0 && hash.key != nil && i.algs["journal_mac"] != nil {
		safe = true
	}
	if s.recalc < i.provided && !safe && !i.on["legacy_recalculate"] {
		return EOPNOTSUPP, `Recalculating with HMAC is disabled for security reasons - if you really need it, use the argument "legacy_recalculate"`
	}
	return 0, ""
}

// format is initialize_superblock.
func (i *integrity) format() bool {
	s := &i.sb
	*s = integritySuper{tagSize: uint16(i.tagSize), log2PerBlock: uint8(bits.TrailingZeros32(i.perBlock))}
	if i.algs["journal_mac"] != nil {
		s.flags |= sbJournalMAC
	}
	wanted := uint64(i.journalSectors)
	if wanted == 0 {
		wanted = min(131072, i.dev.Sectors()>>7)
	}
	section, _ := i.section()
	sections := uint32(max(wanted/section, 1))
	if i.on["fix_hmac"] && (i.algs["internal_hash"] != nil || i.algs["journal_mac"] != nil) {
		s.flags |= sbFixedHMAC
		rand.Read(s.salt[:])
	}
	if i.meta == nil {
		if i.on["fix_padding"] {
			s.flags |= sbFixedPadding
		}
		s.journalSections = sections
		interleave := i.interleave
		if interleave == 0 {
			interleave = 32768
		}
		s.log2Interleave = uint8(min(max(bits.Len32(interleave)-1, 3), 31))
		i.provide()
		s.provided = i.provided
		return i.provided > 0
	}
	if i.provide(); i.provided == 0 {
		return false
	}
	for ; ; i.log2Buffer-- {
		s.journalSections = 0
		for bit := bits.Len32(sections) - 1; bit >= 0; bit-- {
			before := s.journalSections
			if try := before | 1<<bit; try <= sections {
				if s.journalSections = try; !i.layout() {
					s.journalSections = before
				}
			}
		}
		if s.journalSections > 0 || i.log2Buffer <= 3 {
			break
		}
	}
	s.provided = i.provided
	return s.journalSections > 0
}

// section is calculate_journal_section_size: the sectors of a section of the
// journal, and its entries.
func (i *integrity) section() (sectors, entries uint64) {
	room := uint64(504)
	if i.sb.flags&sbJournalMAC != 0 {
		room -= 8
	}
	entry := (8 + 8*uint64(i.perBlock) + uint64(i.tagSize) + 7) / 8 * 8
	entries = room / entry * 8
	return entries<<i.sb.log2PerBlock + 8, entries
}

// layout is calculate_device_limits; false when provided does not fit.
func (i *integrity) layout() bool {
	section, entries := i.section()
	i.entries = uint32(entries * uint64(i.sb.journalSections))
	i.initial = superSectors + section*uint64(i.sb.journalSections)
	size := i.metaDev().Sectors()
	if i.initial+8 >= size || i.initial > 1<<32-1 {
		return false
	}
	if i.meta != nil {
		unit := uint64(1) << (i.log2Buffer + 9)
		tags := (i.provided >> i.sb.log2PerBlock) * uint64(i.tagSize)
		tags = (tags + unit - 1) / unit << i.log2Buffer
		i.run = 1
		return i.initial+tags <= size
	}
	padding := uint64(sectorSize << 8)
	if i.sb.flags&sbFixedPadding != 0 {
		padding = 8 * sectorSize
	}
	run := uint64(i.tagSize) << (i.sb.log2Interleave - i.sb.log2PerBlock)
	i.run = (run + padding - 1) / padding * padding / sectorSize
	last := i.dataSector(i.provided - 1)
	return last >= i.start && last < size
}

// provide is get_provided_data_sectors.
func (i *integrity) provide() {
	if i.meta != nil {
		i.provided = i.dev.Sectors() &^ uint64(i.perBlock-1)
		return
	}
	i.provided = 0
	for bit := bits.Len64(i.dev.Sectors()) - 1; bit >= 3; bit-- {
		before := i.provided
		if i.provided |= 1 << bit; !i.layout() {
			i.provided = before
		}
	}
}

// bitmap finds what a bit of the bitmap covers.
func (i *integrity) bitmap(fresh bool) {
	log2 := uint(15)
	if i.bitSet {
		log2 = uint(bits.Len64(i.sectorsPerBit) - 1)
	}
	log2 = max(log2, uint(i.sb.log2PerBlock))
	room := min((i.initial-superSectors)<<12, 1<<32-1)
	for log2 < 63 && room < (i.provided+1<<log2-1)>>log2 {
		log2++
	}
	i.sectorsPerBit = 1 << log2
	if fresh {
		i.sb.log2PerBit = uint8(log2) - i.sb.log2PerBlock
	}
}

// dataSector is where a sector lies on its device (get_data_sector).
func (i *integrity) dataSector(sector uint64) uint64 {
	if i.meta != nil {
		return sector
	}
	area := sector >> i.sb.log2Interleave
	return i.start + i.initial + (area+1)*i.run + sector
}

// tagAt is where the tag of a sector's block lies, in bytes
// (get_metadata_sector_and_offset).
func (i *integrity) tagAt(sector uint64) uint64 {
	at, offset := i.start+i.initial, sector
	if i.meta == nil {
		area := sector >> i.sb.log2Interleave
		at += area<<i.sb.log2Interleave + area*i.run
		offset = sector & (1<<i.sb.log2Interleave - 1)
	}
	return at*sectorSize + offset>>i.sb.log2PerBlock*uint64(i.tagSize)
}

// tags reads n tags from that of a sector on, which lie in one run, or
// writes them.
func (i *integrity) tags(sector uint64, p []byte, write bool) error {
	at := i.tagAt(sector)
	first := at / sectorSize
	last := (at + uint64(len(p)) + sectorSize - 1) / sectorSize
	b := make([]byte, (last-first)*sectorSize)
	if err := i.metaDev().ReadSectors(b, first); err != nil {
		return err
	}
	in := b[at-first*sectorSize:][:len(p)]
	if !write {
		copy(p, in)
		return nil
	}
	if bytes.Equal(in, p) {
		return nil
	}
	copy(in, p)
	return i.metaDev().WriteSectors(b, first)
}
