// SPDX-License-Identifier: MIT

package blockdev

import (
	"fmt"
	"strings"
)

// The file systems that live behind a PC boot sector: FAT, exFAT, NTFS, and
// BitLocker in their place.

// fatMagics are the texts that mkfs tools leave in a boot sector; the last
// rows are the weak marks that are enough when the rest is sound.
var fatMagics = []struct {
	off   int64
	magic string
}{
	{0x52, "MSWIN"}, {0x52, "FAT32   "},
	{0x36, "MSDOS"}, {0x36, "FAT16   "}, {0x36, "FAT12   "}, {0x36, "FAT     "},
	{0, "\xeb"}, {0, "\xe9"}, {0x1fe, "\x55\xaa"},
}

// fat is a BIOS parameter block.
type fat struct {
	sector, cluster             int64 // bytes
	reserved, fats, fatSize     int64 // sectors; fatSize is one FAT
	rootEntries, rootDir, total int64
	clusters                    int64
	root                        int64 // cluster, FAT32 only
	is32                        bool
}

// parseFAT checks a boot sector in the way fs/fat/inode.c does.
func parseFAT(b []byte) (f fat, ok bool) {
	ss, spc := uint32(le.Uint16(b[11:])), uint32(b[13])
	media := b[0x15]
	if !powerOf2(ss) || ss < 512 || ss > 4096 || !powerOf2(spc) || b[16] == 0 ||
		le.Uint16(b[14:]) == 0 || media < 0xf8 && media != 0xf0 {
		return f, false
	}
	f.sector, f.cluster = int64(ss), int64(ss*spc)
	f.reserved, f.fats = int64(le.Uint16(b[14:])), int64(b[16])
	f.rootEntries = int64(le.Uint16(b[17:]))
	if f.total = int64(le.Uint16(b[19:])); f.total == 0 {
		f.total = int64(le.Uint32(b[32:]))
	}
	if f.fatSize = int64(le.Uint16(b[22:])); f.fatSize == 0 {
		f.fatSize, f.is32 = int64(le.Uint32(b[36:])), true
		f.root = int64(le.Uint32(b[44:]))
	}
	f.rootDir = f.reserved + f.fats*f.fatSize
	data := f.total - f.rootDir - (f.rootEntries*32+f.sector-1)/f.sector
	if f.fatSize == 0 || data < 0 {
		return f, false
	}
	f.clusters = data / int64(spc)
	limit := int64(0xFFF4)
	if f.is32 {
		limit = 0x0FFFFFF6
	}
	return f, f.clusters <= limit
}

func findFAT(p *prober) {
	b := p.at(0, 512)
	if b == nil {
		return
	}
	f, ok := parseFAT(b)
	if ok {
		for i, m := range fatMagics {
			if string(b[m.off:][:len(m.magic)]) != m.magic {
				continue
			}
			if len(m.magic) <= 2 && !plainFAT(b) {
				continue
			}
			p.add(p.fatSignature(b, f, fatMagics[i].off, len(m.magic)))
			break
		}
	}
	// FAT32 keeps a copy of the boot sector, usually at sector 6
	// (fs/fat/inode.c: backup_boot).
	for _, base := range []int64{6 * 512, 6 * 4096} {
		c := p.at(base, 512)
		if c == nil || string(c[0x52:0x5a]) != "FAT32   " || c[510] != 0x55 || c[511] != 0xaa {
			continue
		}
		if cf, ok := parseFAT(c); ok && cf.is32 && base == 6*cf.sector {
			s := p.fatSignature(c, cf, 0x52, 8)
			s.Offset, s.Backup = base+0x52, true
			p.add(s)
		}
	}
}

// plainFAT tells a FAT without texts from other boot sectors: it has the boot
// mark, and does not name another file system.
func plainFAT(b []byte) bool {
	if b[510] != 0x55 || b[511] != 0xaa {
		return false
	}
	switch string(b[0x36:0x3e]) {
	case "JFS     ", "HPFS    ":
		return false
	}
	switch string(b[3:11]) {
	case "NTFS    ", "EXFAT   ", "-FVE-FS-":
		return false
	}
	return true
}

func (p *prober) fatSignature(b []byte, f fat, off int64, n int) Signature {
	s := Signature{Kind: Filesystem, Usage: UsageFilesystem, Type: "vfat", Offset: off, Length: n}
	ebpb, dir, entries := b[0x24:], f.rootDir*f.sector, f.rootEntries
	switch {
	case f.is32:
		s.Version = "FAT32"
		ebpb = b[0x40:]
		dir = f.rootDir*f.sector + (f.root-2)*f.cluster
		entries = f.cluster / 32
	case f.clusters > 0xFF4:
		s.Version = "FAT16"
	default:
		s.Version = "FAT12"
	}
	if ebpb[2] == 0x28 || ebpb[2] == 0x29 { // extended boot signature
		if id := ebpb[3:7]; !allZero(id) {
			s.UUID = fmt.Sprintf("%02X%02X-%02X%02X", id[3], id[2], id[1], id[0])
		}
	}
	for i := range entries {
		e := p.at(dir+i*32, 32)
		if e == nil || e[0] == 0 {
			break
		}
		attr := e[11] & 0x3f
		if e[0] == 0xe5 || attr == 0x0f || attr&0x18 != 0x08 || le.Uint16(e[20:]) != 0 || le.Uint16(e[26:]) != 0 {
			continue
		}
		s.Label = strings.TrimRight(text(e[:11]), " ")
		break
	}
	return s
}

func findExFAT(p *prober) {
	for i, base := range []int64{0, 12 * 512, 12 * 4096} {
		if !p.hasMagic(base+3, "EXFAT   ") {
			continue
		}
		s := Signature{
			Kind: Filesystem, Usage: UsageFilesystem, Type: "exfat",
			Offset: base + 3, Length: 8, Backup: i > 0, Damaged: true,
		}
		b := p.at(base, 512)
		if b != nil && b[108] >= 9 && b[108] <= 12 && b[109] <= 25-b[108] {
			ss := int64(1) << b[108]
			if i > 0 && base != 12*ss {
				continue
			}
			s.Version = fmt.Sprintf("%d.%d", b[105], b[104])
			if id := b[100:104]; !allZero(id) {
				s.UUID = fmt.Sprintf("%02X%02X-%02X%02X", id[3], id[2], id[1], id[0])
			}
			s.Label = p.exfatLabel(b, ss)
			s.Damaged = !p.exfatSum(base, ss)
		}
		p.add(s)
	}
}

// exfatLabel looks for the volume label (entry type 0x83) in the first cluster
// of the root directory.
func (p *prober) exfatLabel(b []byte, ss int64) string {
	cluster := ss << b[109]
	pos := int64(le.Uint32(b[88:]))*ss + (int64(le.Uint32(b[96:]))-2)*cluster
	for i := int64(0); i < cluster; i += 32 {
		e := p.at(pos+i, 32)
		if e == nil || e[0] == 0 {
			break
		}
		if e[0] == 0x83 {
			return text16(e[2:2+2*min(int(e[1]), 11)], le)
		}
	}
	return ""
}

// exfatSum checks the boot region: a rotating sum of eleven sectors, without
// the three bytes that change in use, repeated all over the twelfth.
func (p *prober) exfatSum(base, ss int64) bool {
	b := p.at(base, int(12*ss))
	if b == nil {
		return false
	}
	var sum uint32
	for i, c := range b[:11*ss] {
		if i != 106 && i != 107 && i != 112 {
			sum = sum<<31 | sum>>1
			sum += uint32(c)
		}
	}
	return le.Uint32(b[11*ss:]) == sum
}

const ntfsMagic = "NTFS    "

func findNTFS(p *prober) {
	places := []int64{0, p.size&^511 - 512}
	if b := p.at(0, 512); b != nil && string(b[3:11]) == ntfsMagic {
		// The copy lies in the sector behind the last one of the volume
		// (ntfs3: fs/ntfs3/super.c, "alternative boot").
		ss := int64(le.Uint16(b[11:]))
		if n := le.Uint64(b[40:]); n < 1<<52 && ss <= 4096 {
			places = append(places, int64(n)*ss)
		}
	}
	for i, base := range places {
		b := p.at(base, 512)
		if b == nil || string(b[3:11]) != ntfsMagic || i > 0 && base == 0 {
			continue
		}
		s := Signature{
			Kind: Filesystem, Usage: UsageFilesystem, Type: "ntfs",
			Offset: base + 3, Length: 8, Backup: i > 0,
		}
		if id := le.Uint64(b[72:]); id != 0 {
			s.UUID = fmt.Sprintf("%016X", id)
		}
		ss := uint32(le.Uint16(b[11:]))
		if !powerOf2(ss) || ss < 256 || ss > 4096 || b[16] != 0 || b[13] == 0 || le.Uint16(b[14:]) != 0 {
			s.Damaged = true
		} else if label, ok := p.ntfsLabel(b, int64(ss)); ok {
			s.Label = label
		} else if i == 0 {
			s.Damaged = true
		}
		p.add(s)
	}
}

// ntfsLabel reads the attribute $VOLUME_NAME (0x60) of the fourth record of
// the master file table. ok tells whether there is a table at all.
func (p *prober) ntfsLabel(b []byte, ss int64) (label string, ok bool) {
	spc := int64(b[13])
	if b[13] > 128 { // a negative power of two
		if b[13] < 240 {
			return "", false
		}
		spc = 1 << (256 - int(b[13]))
	}
	record := int64(int8(b[64]))
	switch {
	case record > 0 && record <= 64:
		record *= spc * ss
	case record <= -9 && record >= -16:
		record = 1 << -record
	default:
		return "", false
	}
	mft := le.Uint64(b[48:])
	if record > 1<<20 || mft > 1<<50 {
		return "", false
	}
	m := p.at(int64(mft)*spc*ss+3*record, int(record))
	if len(m) < 48 || string(m[:4]) != "FILE" {
		return "", false
	}
	for pos := int(le.Uint16(m[20:])); pos+24 <= len(m); {
		a := m[pos:]
		n := int(le.Uint32(a[4:]))
		if le.Uint32(a) == 0xffffffff || n < 24 || n > len(a) {
			break
		}
		if le.Uint32(a) == 0x60 && a[8] == 0 { // resident
			size, off := int(le.Uint32(a[16:])), int(le.Uint16(a[20:]))
			if off <= n && size <= n-off {
				return text16(a[off:off+size], le), true
			}
		}
		pos += n
	}
	return "", true
}

// findBitLocker knows the three forms of the boot sector: Vista's, that of
// Windows 7 and later, and that of removable media, which looks like FAT32 and
// is told by a GUID.
func findBitLocker(p *prober) {
	b := p.at(0, 512)
	if b == nil {
		return
	}
	const togo = "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"
	s := Signature{Kind: Crypto, Usage: UsageCrypto, Type: "BitLocker", Offset: 3, Length: 8}
	var meta uint64
	switch {
	case string(b[3:11]) == "-FVE-FS-":
		meta = le.Uint64(b[176:])
	case string(b[3:11]) == "MSWIN4.1" && string(b[424:440]) == togo:
		meta = le.Uint64(b[440:])
	default:
		return
	}
	// The metadata block repeats the magic; its header behind 64 bytes holds
	// the volume's GUID at 16 (libbde documentation).
	if m := p.at(int64(min(meta, 1<<62)), 112); m != nil && string(m[:8]) == "-FVE-FS-" {
		s.UUID = guidText(m[80:96])
		s.Version = fmt.Sprint(le.Uint16(m[10:]))
	}
	p.add(s)
}
