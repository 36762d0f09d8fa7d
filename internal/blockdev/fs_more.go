// SPDX-License-Identifier: MIT

package blockdev

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// rawCRC is the kernel's crc32_le: no inversion at either end.
func rawCRC(seed uint32, b []byte) uint32 { return ^crc32.Update(^seed, crc32.IEEETable, b) }

func castagnoliOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// findHFS knows HFS and HFS+, the second also when it is embedded in the
// first, and the copies of their headers 1 KiB before the end (Apple TN1150).
func findHFS(p *prober) {
	for i, base := range []int64{1024, p.size&^511 - 1024} {
		if i > 0 && base <= 1024 {
			break
		}
		b := p.at(base, 512)
		if b == nil {
			continue
		}
		s := Signature{
			Kind: Filesystem, Usage: UsageFilesystem,
			Offset: base, Length: 2, Backup: i > 0,
		}
		switch string(b[:2]) {
		case "BD":
			unit := be.Uint32(b[20:])
			if unit == 0 || unit%512 != 0 {
				continue
			}
			if sig := string(b[124:126]); sig == "H+" || sig == "HX" {
				off := int64(be.Uint16(b[28:]))*512 + int64(be.Uint16(b[126:]))*int64(unit)
				if e := p.at(off+1024, 512); e != nil && string(e[:2]) == sig {
					s.Type, s.UUID = "hfsplus", hfsUUID(e[104:112])
					p.add(s)
					continue
				}
			}
			s.Type, s.Label, s.UUID = "hfs", text(b[37:37+min(int(b[36]), 27)]), hfsUUID(b[116:124])
		case "H+", "HX":
			version, block := be.Uint16(b[2:]), be.Uint32(b[40:])
			if version != 4 && version != 5 || block < 512 || !powerOf2(block) {
				continue
			}
			s.Type, s.Version, s.UUID = "hfsplus", fmt.Sprint(version), hfsUUID(b[104:112])
		default:
			continue
		}
		p.add(s)
	}
}

// hfsUUID is a name-based uuid of the eight bytes that the Finder keeps, in
// Apple's own name space (hfs.util).
func hfsUUID(id []byte) string {
	if allZero(id) {
		return ""
	}
	space := []byte{0xb3, 0xe2, 0x0f, 0x39, 0xf2, 0x92, 0x11, 0xd6, 0x97, 0xa4, 0x00, 0x30, 0x65, 0x43, 0xec, 0xac}
	h := md5.Sum(append(space, id...))
	h[6], h[8] = h[6]&0x0f|0x30, h[8]&0x3f|0x80
	return uuidText(h[:])
}

// findMinix needs a sound geometry beside the two bytes of magic
// (include/uapi/linux/minix_fs.h), and no other file system in the place.
func findMinix(p *prober) {
	b := p.at(1024, 32)
	if b == nil || p.has(2048, "ext2", "ext3", "ext4", "jbd", "erofs", "f2fs", "nilfs2", "hfs", "hfsplus") {
		return
	}
	for _, order := range []binary.ByteOrder{le, be} {
		s := Signature{Kind: Filesystem, Usage: UsageFilesystem, Type: "minix", Offset: 1024 + 16, Length: 2}
		var inodes, zones uint32
		imap, zmap, first, log := order.Uint16(b[4:]), order.Uint16(b[6:]), order.Uint16(b[8:]), order.Uint16(b[10:])
		inodes, zones = uint32(order.Uint16(b)), uint32(order.Uint16(b[2:]))
		switch order.Uint16(b[16:]) {
		case 0x137F, 0x138F:
			s.Version = "1"
		case 0x2468, 0x2478:
			s.Version = "2"
			zones = order.Uint32(b[20:])
		default:
			if order.Uint16(b[24:]) != 0x4D5A {
				continue
			}
			s.Version, s.Offset = "3", 1024+24
			inodes, zones = order.Uint32(b), order.Uint32(b[20:])
			imap, zmap, first, log = order.Uint16(b[6:]), order.Uint16(b[8:]), order.Uint16(b[10:]), order.Uint16(b[12:])
		}
		if log != 0 || inodes == 0 || inodes == 1<<32-1 || uint64(imap)*8192 < uint64(inodes)+1 ||
			uint32(first) > zones || uint64(zmap)*8192 < uint64(zones)-uint64(first)+1 {
			continue
		}
		p.add(s)
	}
}

// findNILFS checks both superblocks: 1 KiB from the start, and in the last
// whole 4 KiB block (fs/nilfs2/nilfs.h: NILFS_SB2_OFFSET_BYTES). libblkid
// counts the second from the end in sectors instead, so try that place too.
func findNILFS(p *prober) {
	for i, base := range []int64{1024, (p.size>>12 - 1) << 12, (p.size/512 - 8) * 512} {
		b := p.at(base, 1024)
		if b == nil || i > 0 && base <= 1024 || le.Uint16(b[6:]) != 0x3434 {
			continue
		}
		n := int(le.Uint16(b[8:]))
		if n < 20 || n > len(b) {
			continue
		}
		sum := rawCRC(le.Uint32(b[12:]), b[:16])
		sum = rawCRC(rawCRC(sum, make([]byte, 4)), b[20:n])
		if sum != le.Uint32(b[16:]) {
			continue
		}
		p.add(Signature{
			Kind: Filesystem, Usage: UsageFilesystem, Type: "nilfs2", Version: fmt.Sprint(le.Uint32(b)),
			UUID: uuidText(b[152:]), Label: text(b[168:248]),
			Offset: base + 6, Length: 2, Backup: i > 0,
		})
	}
}

// findZFS looks into the four labels of 256 KiB, two at each end: an array of
// uberblocks in the second half, a list of names and values before it
// (OpenZFS include/sys/vdev_impl.h, uberblock_impl.h).
func findZFS(p *prober) {
	const label = 256 << 10
	whole := p.size - p.size%label
	places := []int64{0, label}
	if whole >= 4*label {
		places = append(places, whole-2*label, whole-label)
	}
	for i, base := range places {
		s := Signature{Kind: Member, Usage: UsageRAID, Type: "zfs_member", Backup: i > 0}
		for off := int64(label / 2); off < label; off += 1024 {
			b := p.at(base+off, 8)
			if b != nil && (le.Uint64(b) == 0x00bab10c || be.Uint64(b) == 0x00bab10c) {
				s.Offset, s.Length = base+off, 8
				break
			}
		}
		const list = 16 << 10
		if h := p.at(base+list, 2); h != nil && h[0] == 1 && h[1] <= 1 { // XDR, either byte order
			if b := p.at(base+list, 112<<10); b != nil {
				s.Label, s.UUID, s.Version = zfsNames(b[12:])
			}
			if s.Length == 0 && s.UUID != "" {
				s.Offset, s.Length = base+list, 12
			}
		}
		if s.Length > 0 {
			p.add(s)
		}
	}
}

// zfsNames walks the top level of a name-value list in XDR: size, decoded
// size, name, type, number of elements, value.
func zfsNames(b []byte) (name, guid, version string) {
	for len(b) >= 12 {
		size, n := be.Uint32(b), be.Uint32(b[8:])
		if size < 20 || uint64(size) > uint64(len(b)) || n > size-20 {
			return
		}
		pair := b[12:size]
		b = b[size:]
		key, v := string(pair[:n]), pair[min((n+3)&^3, uint32(len(pair))):]
		switch {
		case len(v) >= 16 && be.Uint32(v) == 8: // an uint64
			switch key {
			case "pool_guid":
				guid = fmt.Sprint(be.Uint64(v[8:]))
			case "version":
				version = fmt.Sprint(be.Uint64(v[8:]))
			}
		case len(v) >= 12 && be.Uint32(v) == 9 && key == "name": // a string
			if k := be.Uint32(v[8:]); uint64(k) <= uint64(len(v)-12) {
				name = text(v[12 : 12+k])
			}
		}
	}
	return
}

// findBcache tells bcache and bcachefs apart, which share a magic and its
// place: bcache keeps the superblock's sector at 8 (include/uapi/linux/
// bcache.h), bcachefs at 104 (fs/bcachefs/bcachefs_format.h).
func findBcache(p *prober) {
	const (
		old = "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"
		new = "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"
	)
	places := []int64{4 << 10, 2 << 20, p.size&^511 - 1<<20}
	// struct bch_sb_layout in sector 7: how many copies there are, and where.
	if b := p.at(7*512, 512); b != nil && (string(b[:16]) == new || string(b[:16]) == old) {
		for i := range min(int(b[18]), 61) {
			if sector := le.Uint64(b[24+8*i:]); sector < 1<<54 {
				places = append(places, int64(sector)*512)
			}
		}
	}
	for i, base := range places {
		b := p.at(base, 256)
		if b == nil {
			continue
		}
		s := Signature{Offset: base + 24, Length: 16, Backup: i > 0, Label: text(b[72:104])}
		switch m := string(b[24:40]); {
		case m != old && m != new:
			continue
		case m == old && le.Uint64(b[104:]) != uint64(base/512):
			s.Kind, s.Usage, s.Type = Metadata, UsageOther, "bcache"
			s.UUID, s.Version = uuidText(b[40:56]), fmt.Sprint(le.Uint64(b[16:]))
			s.Damaged = le.Uint64(b[8:]) != uint64(base/512)
		default:
			s.Kind, s.Usage, s.Type = Filesystem, UsageFilesystem, "bcachefs"
			s.UUID, s.Version = uuidText(b[56:72]), fmt.Sprint(le.Uint16(b[16:]))
			s.Damaged = le.Uint64(b[104:]) != uint64(base/512)
		}
		p.add(s)
	}
}

// findXFSLog knows an external log by its first record, which lies within the
// first 64 KiB (fs/xfs/libxfs/xfs_log_format.h: xlog_rec_header).
func findXFSLog(p *prober) {
	if p.has(512, "xfs") {
		return
	}
	for off := int64(0); off < 64<<10; off += 512 {
		b := p.at(off, 320)
		if b == nil {
			break
		}
		version, length, format := be.Uint32(b[8:]), be.Uint32(b[12:]), be.Uint32(b[300:])
		if be.Uint32(b) != 0xFEEDBABE || version == 0 || version > 3 || int32(length) <= 0 || format == 0 || format > 3 {
			continue
		}
		p.add(Signature{
			Kind: Filesystem, Usage: UsageOther, Type: "xfs_external_log",
			Offset: off, Length: 4, UUID: uuidText(b[304:320]),
		})
		return
	}
}
