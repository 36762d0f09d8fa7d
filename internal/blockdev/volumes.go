// SPDX-License-Identifier: MIT

package blockdev

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// findSwap looks at the end of the first page for all page sizes that Linux
// has (mm/swapfile.c), for active swap areas and for hibernation images in
// their place (kernel/power/swap.c, and its predecessors).
func findSwap(p *prober) {
	for page := int64(4 << 10); page <= 64<<10; page *= 2 {
		b := p.at(page-10, 10)
		if b == nil {
			continue
		}
		s := Signature{Kind: Swap, Usage: UsageOther, Type: "swap", Offset: page - 10, Length: 10}
		switch m := string(b); {
		case m == "SWAP-SPACE":
			s.Version = "0"
		case m == "SWAPSPACE2":
			s.Version = "1"
			if h := p.at(1024, 44); h != nil {
				s.UUID, s.Label = uuidText(h[12:]), text(h[28:44])
			}
		case m == "LINHIB0001":
			s.Type = "swsuspend"
		case m[:9] == "S1SUSPEND", m[:9] == "S2SUSPEND", m[:9] == "ULSUSPEND":
			s.Type, s.Length = "swsuspend", 9
		default:
			continue
		}
		p.add(s)
	}
	const tuxOnIce = "\xed\xc3\x02\xe9\x98\x56\xe5\x0c"
	if p.hasMagic(0, tuxOnIce) {
		p.add(Signature{Kind: Swap, Usage: UsageOther, Type: "swsuspend", Offset: 0, Length: len(tuxOnIce)})
	}
}

// findLVM2 reads the label of a physical volume, which may lie in any of the
// first four sectors (lvm2 lib/label/label.h).
func findLVM2(p *prober) {
	for sector := range int64(4) {
		base := sector * 512
		b := p.at(base, 512)
		if b == nil || string(b[:8]) != "LABELONE" {
			continue
		}
		s := Signature{
			Kind: Member, Usage: UsageRAID, Type: "LVM2_member", Version: "LVM2 001",
			Offset: base + 24, Length: 8,
		}
		if string(b[24:32]) != "LVM2 001" {
			s.Version, s.Offset, s.Damaged = text(b[24:32]), base, true
		}
		// lvm2's calc_crc: plain CRC-32 without inversions, from a seed.
		if rawCRC(0xf597a6cf, b[20:]) != le.Uint32(b[16:]) || le.Uint64(b[8:]) != uint64(sector) {
			s.Damaged = true
		}
		if off := le.Uint32(b[20:]); off <= 512-32 {
			s.UUID = lvmUUID(b[off : off+32])
		}
		p.add(s)
	}
}

// lvmUUID groups 32 characters as 6-4-4-4-4-4-6.
func lvmUUID(b []byte) string {
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return ""
		}
	}
	s := string(b)
	return strings.Join([]string{s[:6], s[6:10], s[10:14], s[14:18], s[18:22], s[22:26], s[26:]}, "-")
}

// findMD looks for Linux software RAID: version 0.90 in the last 64 KiB-
// aligned 64 KiB (include/uapi/linux/raid/md_p.h), 1.0 at least 8 KiB before
// the end, 1.1 at the start, 1.2 at 4 KiB (drivers/md/md.c: super_1_load).
func findMD(p *prober) {
	const magic = 0xa92b4efc
	if base := p.size&^(64<<10-1) - 64<<10; base >= 0 {
		if b := p.at(base, 4096); b != nil {
			for _, order := range []binary.ByteOrder{le, be} {
				if order.Uint32(b) == magic && order.Uint32(b[4:]) == 0 {
					p.add(md0(b, base, order))
				}
			}
		}
	}
	for _, v := range []struct {
		version string
		base    int64
	}{
		{"1.0", (p.size/512 - 16) &^ 7 * 512},
		{"1.1", 0},
		{"1.2", 4096},
	} {
		b := p.at(v.base, 256)
		if b == nil || le.Uint32(b) != magic || le.Uint32(b[4:]) != 1 {
			continue
		}
		// A superblock knows its own sector. At the end of a disk this tells
		// the disk's from that of its last partition.
		if le.Uint64(b[144:]) != uint64(v.base/512) {
			continue
		}
		p.add(Signature{
			Kind: Member, Usage: UsageRAID, Type: "linux_raid_member", Version: v.version,
			UUID: uuidText(b[16:32]), Label: text(b[32:64]),
			Offset: v.base, Length: 4, Damaged: !p.md1Sum(v.base),
		})
	}
}

func md0(b []byte, base int64, order binary.ByteOrder) Signature {
	s := Signature{
		Kind: Member, Usage: UsageRAID, Type: "linux_raid_member",
		Version: fmt.Sprintf("0.%d.%d", order.Uint32(b[8:]), order.Uint32(b[12:])),
		Offset:  base, Length: 4,
	}
	var id []byte
	for _, off := range []int{20, 52, 56, 60} {
		id = be.AppendUint32(id, order.Uint32(b[off:]))
	}
	s.UUID = uuidText(id)
	// calc_sb_csum: the sum of all words but its own (at 152), folded.
	var sum uint64
	for i := 0; i < len(b); i += 4 {
		if i != 152 {
			sum += uint64(order.Uint32(b[i:]))
		}
	}
	s.Damaged = uint32(sum)+uint32(sum>>32) != order.Uint32(b[152:])
	return s
}

// md1Sum checks a version 1 superblock: 256 bytes and two for each device.
func (p *prober) md1Sum(base int64) bool {
	b := p.at(base, 256)
	n := le.Uint32(b[220:]) // max_dev
	if n > 1920 {           // (4096-256)/2
		return false
	}
	if b = p.at(base, 256+2*int(n)); b == nil {
		return false
	}
	var sum uint64
	want := le.Uint32(b[216:])
	for i := 0; i+4 <= len(b); i += 4 {
		if i != 216 {
			sum += uint64(le.Uint32(b[i:]))
		}
	}
	if len(b)%4 == 2 {
		sum += uint64(le.Uint16(b[len(b)-2:]))
	}
	return uint32(sum)+uint32(sum>>32) == want
}

// drbdSlots is how many places of external, indexed metadata are looked at,
// whatever lies there; behind them only as long as the one before was taken.
const drbdSlots = 32

// findDRBD looks at all places where DRBD's metadata may lie (drbd-utils
// user/shared/drbdmeta.c): the last 4 KiB block, the start (flexible external),
// every 128 MiB (indexed external), and 128 MiB before the end (version 7).
func findDRBD(p *prober) {
	const slot = 128 << 20
	last := p.size&^4095 - 4096
	places := []int64{last, p.size&^4095 - slot}
	for i := int64(0); i*slot < p.size; i++ {
		if p.drbdAt(i*slot) == nil && i >= drbdSlots {
			break
		}
		places = append(places, i*slot)
	}
	for _, base := range places {
		b := p.drbdAt(base)
		if b == nil {
			continue
		}
		s := Signature{Kind: Member, Usage: UsageRAID, Type: "drbd", Offset: base + 60, Length: 4}
		id, unit := be.Uint64(b[40:]), be.Uint32(b[80:])
		switch b[63] {
		case 0x6a:
			s.Version = "v07"
		case 0x6d:
			s.Version = "v09"
			id = be.Uint64(b[48:])
		default:
			s.Version = "v08"
		}
		if id != 0 {
			s.UUID = fmt.Sprintf("%x", id)
		}
		s.Damaged = unit < 4096 || !powerOf2(unit) // bytes a bitmap bit stands for
		p.add(s)
	}
}

// drbdAt gives the block when it has one of DRBD's magics, 0x8374026a to 6d.
func (p *prober) drbdAt(base int64) []byte {
	b := p.at(base, 96)
	if b == nil || be.Uint32(b[60:])&^7 != 0x83740268 || b[63] < 0x6a || b[63] > 0x6d {
		return nil
	}
	return b
}

// findLUKS reads the header at the start, and LUKS2's second one at each of
// the places that the size of the JSON area allows (cryptsetup
// docs/on-disk-format-luks2.pdf, 2.2).
func findLUKS(p *prober) {
	for i, base := range []int64{
		0, 0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000,
	} {
		b := p.at(base, 512)
		magic := "LUKS\xba\xbe"
		if i > 0 {
			magic = "SKUL\xba\xbe"
		}
		if b == nil || string(b[:6]) != magic {
			continue
		}
		s := Signature{
			Kind: Crypto, Usage: UsageCrypto, Type: "crypto_LUKS",
			Version: fmt.Sprint(be.Uint16(b[6:])), UUID: text(b[168:208]),
			Offset: base, Length: 6, Backup: i > 0,
		}
		if be.Uint16(b[6:]) == 2 {
			s.Label = text(b[24:72])
			s.Damaged = be.Uint64(b[256:]) != uint64(base) || !p.luks2Sum(base)
		} else if i > 0 {
			s.Damaged = true // only version 2 has a second header
		}
		p.add(s)
	}
}

// luks2Sum checks the digest over a header and its JSON area, in which the
// digest itself counts as zero. Other algorithms than SHA-256 are trusted.
func (p *prober) luks2Sum(base int64) bool {
	b := p.at(base, 4096)
	if b == nil {
		return false
	}
	size := be.Uint64(b[8:])
	if size < 4096 || size > 4<<20 {
		return false
	}
	if text(b[72:104]) != "sha256" {
		return true
	}
	if b = p.at(base, int(size)); b == nil {
		return false
	}
	h := slices.Clone(b)
	clear(h[448:512])
	sum := sha256.Sum256(h)
	return string(sum[:]) == string(b[448:448+32])
}

// ddfGUID is a vendor's eight characters and bytes of its choice (SNIA DDF
// 2.0, 5.3), printed as text when it is one.
func ddfGUID(b []byte) string {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return hex.EncodeToString(b)
		}
	}
	return strings.TrimSpace(string(b))
}

// findFirmwareRAID knows the metadata that firmware RAID leaves near the end:
// DDF, Intel (in the last sector but one), Promise, JMicron and VIA. The other
// vendors' have a row in the table.
func findFirmwareRAID(p *prober) {
	sectors := p.size / 512
	add := func(typ string, off int64, n int, version, uuid string) {
		p.add(Signature{
			Kind: Member, Usage: UsageRAID, Type: typ,
			Version: version, UUID: uuid, Offset: off, Length: n,
		})
	}
	for _, n := range []int64{1, 257} {
		off := (sectors - n) * 512
		if b := p.at(off, 48); b != nil && be.Uint32(b) == 0xDE11DE11 {
			add("ddf_raid_member", off, 4, text(b[32:40]), ddfGUID(b[8:32]))
		}
	}
	for _, ss := range []int64{512, 4096} {
		off := (p.size/ss - 2) * ss
		const isw = "Intel Raid ISM Cfg Sig. "
		if p.hasMagic(off, isw) {
			add("isw_raid_member", off, 32, text(p.at(off+int64(len(isw)), 6)), "")
		}
	}
	for _, n := range []int64{63, 255, 256, 16, 399, 591, 675, 735, 911, 974, 991, 951, 3087} {
		if off := (sectors - n) * 512; p.hasMagic(off, "Promise Technology, Inc.") {
			add("promise_fasttrack_raid_member", off, 24, "", "")
		}
	}
	off := (sectors - 1) * 512
	b := p.at(off, 512)
	if b == nil || p.size < 64<<10 {
		return
	}
	if string(b[:2]) == "JM" {
		var sum uint16
		for i := 0; i < 128; i += 2 {
			sum += le.Uint16(b[i:])
		}
		if sum <= 1 && b[0x30] <= 5 {
			add("jmicron_raid_member", off, 2, fmt.Sprintf("%d.%d", b[3], b[2]), "")
		}
	}
	if le.Uint16(b) == 0xAA55 && b[2] <= 2 {
		var sum byte
		for _, c := range b[:50] {
			sum += c
		}
		if sum == b[50] {
			add("via_raid_member", off, 2, fmt.Sprint(b[2]), "")
		}
	}
}
