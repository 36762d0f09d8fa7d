// SPDX-License-Identifier: MIT

package blockdev

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"slices"
)

func tableAt(typ string, off int64, n int) Signature {
	return Signature{Kind: PartitionTable, Type: typ, Offset: off, Length: n}
}

// findGPT reads both headers (UEFI specification, 5.3): the primary in block
// 1, the backup in the last block or where the primary says. The block size is
// not known here, so all are tried.
func findGPT(p *prober) {
	type place struct {
		off, block int64
		backup     bool
	}
	var places []place
	for _, bs := range []int64{512, 1024, 2048, 4096} {
		places = append(places, place{bs, bs, false})
		if b := p.at(bs, 92); b != nil && string(b[:8]) == "EFI PART" {
			if alt := le.Uint64(b[32:]); alt > 1 && alt < 1<<50 {
				places = append(places, place{int64(alt) * bs, bs, true})
			}
		}
	}
	for _, bs := range []int64{512, 1024, 2048, 4096} {
		places = append(places, place{(p.size/bs - 1) * bs, bs, true})
	}
	// Of two block sizes that lead to one place, the one that fits counts.
	best := map[int64]Signature{}
	for _, pl := range places {
		if !p.hasMagic(pl.off, "EFI PART") {
			continue
		}
		s := tableAt("gpt", pl.off, 8)
		s.Backup = pl.backup
		if b := p.at(pl.off, 92); b != nil {
			s.UUID = guidText(b[56:72])
		}
		s.Damaged = !p.soundGPT(pl.off, pl.block)
		if old, ok := best[pl.off]; !ok || old.Damaged && !s.Damaged {
			best[pl.off] = s
		}
	}
	for _, s := range best {
		p.add(s)
	}
}

// soundGPT checks place, header checksum and entry checksum.
func (p *prober) soundGPT(off, bs int64) bool {
	b := p.at(off, int(bs))
	if b == nil {
		return false
	}
	n := int64(le.Uint32(b[12:]))
	if n < 92 || n > bs || le.Uint64(b[24:]) != uint64(off/bs) {
		return false
	}
	h := slices.Clone(b[:n])
	clear(h[16:20])
	if crc32.ChecksumIEEE(h) != le.Uint32(b[16:]) {
		return false
	}
	at, entries := le.Uint64(b[72:]), uint64(le.Uint32(b[80:]))*uint64(le.Uint32(b[84:]))
	if at > 1<<50 || entries == 0 || entries > 4<<20 {
		return false
	}
	e := p.at(int64(at)*bs, int(entries))
	return e != nil && crc32.ChecksumIEEE(e) == le.Uint32(b[88:])
}

// findMBR reports a DOS partition table, or the protective one in front of a
// GPT. The mark 55 aa is shared with the boot sectors of many file systems, so
// the four entries must have a sound boot flag, and none of those file systems
// may have been found.
func findMBR(p *prober) {
	b := p.at(0, 512)
	if b == nil || b[510] != 0x55 || b[511] != 0xaa || p.has(512, "aix") {
		return
	}
	empty := true
	for i := 446; i < 510; i += 16 {
		if b[i]&0x7f != 0 {
			return
		}
		if b[i+4] == 0xee {
			p.add(tableAt("PMBR", 510, 2))
			return
		}
		empty = empty && allZero(b[i:i+16])
	}
	if p.has(512, "vfat", "exfat", "ntfs", "BitLocker", "ReFS") {
		return
	}
	// A boot sector in front of LVM's label; libblkid makes this exception.
	if empty && p.has(2048, "LVM2_member") {
		return
	}
	s := tableAt("dos", 510, 2)
	if id := le.Uint32(b[440:]); id != 0 {
		s.UUID = fmt.Sprintf("%08x", id)
	}
	p.add(s)
}

// findMac wants the driver descriptor of an Apple partition map, and the map's
// first entry in the block behind it (Inside Macintosh: Devices, 3-12).
func findMac(p *prober) {
	b := p.at(0, 4)
	if b == nil || string(b[:2]) != "ER" {
		return
	}
	bs := int64(be.Uint16(b[2:]))
	if bs < 136 {
		return
	}
	if p.hasMagic(bs, "PM") || p.hasMagic(bs, "TS") {
		p.add(tableAt("mac", 0, 2))
	}
}

// findBSD looks for a disk label in sector 1, and in sector 0 where some ports
// keep it (sys/disklabel.h). The magic stands there twice.
func findBSD(p *prober) {
	const magic = 0x82564557
	for _, base := range []int64{512, 64, 128} {
		b := p.at(base, 148)
		if b == nil || le.Uint32(b) != magic || le.Uint32(b[132:]) != magic {
			continue
		}
		s := tableAt("bsd", base, 4)
		n := int(le.Uint16(b[138:]))
		s.Damaged = true
		if n <= 64 {
			if l := p.at(base, 148+16*n); l != nil {
				s.Damaged = xor16(l) != 0
			}
		}
		p.add(s)
	}
}

// xor16 folds an even number of bytes; the byte order does not matter for a
// comparison with zero.
func xor16(b []byte) (x uint16) {
	for ; len(b) >= 2; b = b[2:] {
		x ^= le.Uint16(b)
	}
	return x
}

// findSun needs the checksum beside the two bytes of magic (Linux
// block/partitions/sun.c).
func findSun(p *prober) {
	if b := p.at(0, 512); b != nil && be.Uint16(b[508:]) == 0xDABE && xor16(b) == 0 {
		p.add(tableAt("sun", 508, 2))
	}
}

// findSGI checks a volume header (Linux block/partitions/sgi.c).
func findSGI(p *prober) {
	b := p.at(0, 512)
	if b == nil || be.Uint32(b) != 0x0BE5A941 {
		return
	}
	s := tableAt("sgi", 0, 4)
	var sum uint32
	for i := 0; i < 512; i += 4 {
		sum += be.Uint32(b[i:])
	}
	s.Damaged = sum != 0
	p.add(s)
}

// findAmiga looks for the rigid disk block, which may lie in any of the first
// sixteen sectors (include/uapi/linux/affs_hardblocks.h: RDB_LOCATION_LIMIT).
func findAmiga(p *prober) {
	for off := int64(0); off < 16*512; off += 512 {
		b := p.at(off, 512)
		if b == nil || string(b[:4]) != "RDSK" {
			continue
		}
		s := tableAt("amiga", off, 4)
		var sum uint32
		for i := range min(be.Uint32(b[4:]), 128) {
			sum += be.Uint32(b[4*i:])
		}
		s.Damaged = sum != 0
		p.add(s)
	}
}

// findAtari has no magic to go by (Linux block/partitions/atari.c): the root
// sector holds the disk's size, and at least one entry must be sound.
func findAtari(p *prober) {
	b := p.at(0, 512)
	if b == nil {
		return
	}
	size := be.Uint32(b[0x1c2:])
	if size < 2 || int64(size) > p.size/512 {
		return
	}
	fits := func(start, n uint32) bool {
		return start > 0 && n > 0 && uint64(start)+uint64(n) <= uint64(size)
	}
	if start, n := be.Uint32(b[0x1f6:]), be.Uint32(b[0x1fa:]); (start|n) != 0 && !fits(start, n) {
		return // the list of bad sectors
	}
	for off := 0x1c6; off < 0x1f6; off += 12 {
		e := b[off : off+12]
		alnum := bytes.IndexFunc(e[1:4], func(r rune) bool {
			return !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z')
		}) < 0
		if e[0]&1 != 0 && alnum && fits(be.Uint32(e[4:]), be.Uint32(e[8:])) {
			p.add(tableAt("atari", int64(off), 4))
			return
		}
	}
}
