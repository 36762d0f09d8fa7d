// SPDX-License-Identifier: MIT

package blockdev

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// entry is a format with a magic of at least four bytes at a fixed place. The
// magic alone makes a hit; check only adds what else is known, and may drop
// the hit by returning false when the place belongs to a related format.
type entry struct {
	typ   string
	kind  Kind
	usage Usage
	at    []int64 // where the superblock may start; negative: from the end
	magic string
	off   int64 // of the magic within the superblock
	check func(p *prober, base int64, s *Signature) bool
}

// Usual places.
var (
	first    = []int64{0}
	at1K     = []int64{1 << 10}
	at4K     = []int64{4 << 10}
	at64K    = []int64{64 << 10}
	lastSect = []int64{-512}
)

// copies are the places of further superblocks, by type.
var copies = map[string][]int64{
	"btrfs":   {64 << 20, 256 << 30},                                      // fs/btrfs/disk-io.h: btrfs_sb_offset
	"f2fs":    {5 << 10},                                                  // fs/f2fs/super.c: the second block
	"jfs":     {0xF000},                                                   // fs/jfs/jfs_filsys.h: SUPER2_OFF
	"ocfs2":   {1 << 30, 4 << 30, 16 << 30, 64 << 30, 256 << 30, 1 << 40}, // fs/ocfs2/ocfs2_fs.h: OCFS2_BACKUP_SB_START
	"stratis": {9 * 512},
}

// matchTable tries every row at each of its places.
func (p *prober) matchTable() {
	for _, e := range table {
		places := append(slices.Clone(e.at), copies[e.typ]...)
		for i, base := range places {
			if base < 0 {
				base += p.size &^ 511
			}
			if base < 0 || !p.hasMagic(base+e.off, e.magic) {
				continue
			}
			s := Signature{
				Kind: e.kind, Type: e.typ, Usage: e.usage,
				Offset: base + e.off, Length: len(e.magic), Backup: i >= len(e.at),
			}
			if e.check == nil || e.check(p, base, &s) {
				p.add(s)
			}
		}
	}
}

// named is a check for superblocks that hold a uuid of 16 bytes and a label of
// n bytes at fixed places; -1 for none.
func named(uuid, label int64, n int) func(*prober, int64, *Signature) bool {
	return func(p *prober, base int64, s *Signature) bool {
		if uuid >= 0 {
			s.UUID = uuidText(p.at(base+uuid, 16))
		}
		if label >= 0 {
			s.Label = text(p.at(base+label, n))
		}
		return true
	}
}

// kernelSum is a check for the 4 KiB superblocks of the persistent-data
// targets: a little-endian crc32c of everything behind it, inverted at neither
// end and xored with a number of the target's own.
func kernelSum(xor uint32) func(*prober, int64, *Signature) bool {
	return func(p *prober, base int64, s *Signature) bool {
		b := p.at(base, 4096)
		// dm-bufio's blocks are 4 KiB; drivers/md/persistent-data/dm-block-manager.c,
		// dm_bm_checksum: crc32c(~0, data) ^ xor, without the final inversion.
		s.Damaged = b == nil || le.Uint32(b) != ^crc32.Checksum(b[4:], castagnoli)^xor
		if b != nil {
			s.UUID = uuidText(b[16:32])
		}
		return true
	}
}

// table is sorted by kind. Offsets and magics come from the kernel's headers
// (named where the place is not obvious) and from libblkid's tables
// (util-linux libblkid/src/superblocks), which also give the names.
var table = []entry{
	// File systems.
	{"xfs", Filesystem, UsageFilesystem, first, "XFSB", 0, checkXFS},
	{"btrfs", Filesystem, UsageFilesystem, at64K, "_BHRfS_M", 0x40, checkBtrfs},
	{"f2fs", Filesystem, UsageFilesystem, at1K, "\x10\x20\xf5\xf2", 0, checkF2FS},
	{"squashfs", Filesystem, UsageFilesystem, first, "hsqs", 0, checkSquashfs},
	{"squashfs3", Filesystem, UsageFilesystem, first, "sqsh", 0, checkSquashfs},
	{"erofs", Filesystem, UsageFilesystem, at1K, "\xe2\xe1\xf5\xe0", 0, named(48, 64, 16)},
	{"reiserfs", Filesystem, UsageFilesystem, at64K, "ReIsErFs", 0x34, checkReiser},
	{"reiserfs", Filesystem, UsageFilesystem, at64K, "ReIsEr2Fs", 0x34, checkReiser},
	{"reiserfs", Filesystem, UsageFilesystem, at64K, "ReIsEr3Fs", 0x34, checkReiser},
	{"reiserfs", Filesystem, UsageFilesystem, []int64{8 << 10}, "ReIsErFs", 0x34, checkReiser},
	{"reiserfs", Filesystem, UsageFilesystem, []int64{8 << 10}, "ReIsErFs", 20, nil},
	{"reiser4", Filesystem, UsageFilesystem, at64K, "ReIsEr4", 0, named(20, 36, 16)},
	{"jfs", Filesystem, UsageFilesystem, []int64{0x8000}, "JFS1", 0, named(136, 152, 16)},
	{"gfs2", Filesystem, UsageFilesystem, at64K, "\x01\x16\x19\x70", 0, checkGFS},
	{"ocfs2", Filesystem, UsageFilesystem, []int64{1 << 10, 2 << 10, 4 << 10, 8 << 10}, "OCFSV2", 0, checkOCFS2}, // block 2
	{"ocfs", Filesystem, UsageFilesystem, []int64{8 << 10}, "OracleCFS", 0, nil},
	{"oracleasm", Member, UsageRAID, first, "ORCLDISK", 32, nil},
	{"apfs", Filesystem, UsageFilesystem, first, "NXSB", 32, named(72, -1, 0)},
	{"ReFS", Filesystem, UsageFilesystem, first, "\x00\x00\x00ReFS\x00", 0, nil},
	{"cramfs", Filesystem, UsageFilesystem, first, "\x45\x3d\xcd\x28", 0, named(-1, 48, 16)},
	{"cramfs", Filesystem, UsageFilesystem, first, "\x28\xcd\x3d\x45", 0, named(-1, 48, 16)},
	{"romfs", Filesystem, UsageFilesystem, first, "-rom1fs-", 0, named(-1, 16, 16)},
	{"bfs", Filesystem, UsageFilesystem, first, "\xce\xfa\xad\x1b", 0, nil},
	{"befs", Filesystem, UsageFilesystem, []int64{0, 512}, "BFS1", 32, named(-1, 0, 32)},
	{"befs", Filesystem, UsageFilesystem, []int64{0, 512}, "1SFB", 32, named(-1, 0, 32)},
	{"vxfs", Filesystem, UsageFilesystem, at1K, "\xf5\xfc\x01\xa5", 0, nil},
	{"vxfs", Filesystem, UsageFilesystem, []int64{8 << 10}, "\xa5\x01\xfc\xf5", 0, nil},
	{"hpfs", Filesystem, UsageFilesystem, []int64{0x2000}, "\x49\xe8\x95\xf9", 0, nil},
	{"nss", Filesystem, UsageFilesystem, at4K, "SPB5", 0, nil},
	{"ubifs", Filesystem, UsageFilesystem, first, "\x31\x18\x10\x06", 0, nil},
	{"zonefs", Filesystem, UsageFilesystem, first, "SFOZ", 0, nil},
	{"exfs", Filesystem, UsageFilesystem, first, "EXFS", 0, nil},
	{"mpool", Filesystem, UsageFilesystem, first, "mpoolDev", 0, nil},
	{"VMFS", Filesystem, UsageFilesystem, []int64{2 << 20}, "\x5e\xf1\xab\x2f", 0, nil},
	// fs/ufs/ufs_fs.h: superblocks at 8, 64 and 256 KiB or at 0; fs_magic at 1372.
	{"ufs", Filesystem, UsageFilesystem, []int64{8 << 10, 64 << 10, 256 << 10, 0}, "\x54\x19\x01\x00", 1372, nil},
	{"ufs", Filesystem, UsageFilesystem, []int64{8 << 10, 64 << 10, 256 << 10, 0}, "\x00\x01\x19\x54", 1372, nil},
	{"ufs", Filesystem, UsageFilesystem, []int64{8 << 10, 64 << 10, 256 << 10, 0}, "\x19\x01\x54\x19", 1372, nil},
	{"ufs", Filesystem, UsageFilesystem, []int64{8 << 10, 64 << 10, 256 << 10, 0}, "\x19\x54\x01\x19", 1372, nil},

	// Members of something larger.
	{"LVM1_member", Member, UsageRAID, first, "HM\x01\x00", 0, nil},
	{"LVM1_member", Member, UsageRAID, first, "HM\x02\x00", 0, nil},
	{"DM_raid_member", Member, UsageRAID, first, "DmRd", 0, nil}, // drivers/md/dm-raid.c; blkid has no name for it
	{"stratis", Member, UsageRAID, []int64{512}, "!Stra0tis\x86\xff\x02^\x41rh", 4, nil},
	{"VMFS_volume_member", Member, UsageRAID, []int64{1 << 20}, "\x0d\xd0\x01\xc0", 0, nil},
	{"drbdmanage_control_volume", Member, UsageOther, []int64{0}, "$DRBDmgr=q", 0, nil},
	{"drbdproxy_datalog", Member, UsageOther, []int64{0}, "DRBDdlh*", 0, nil},
	{"ubi", Member, UsageRAID, first, "UBI#", 0, nil},
	{"hpt37x_raid_member", Member, UsageRAID, []int64{9 * 512}, "\xf0\x16\x78\x5a", 32, nil},
	{"hpt37x_raid_member", Member, UsageRAID, []int64{9 * 512}, "\xfd\x16\x78\x5a", 32, nil},
	{"hpt45x_raid_member", Member, UsageRAID, []int64{-11 * 512}, "\xf3\x16\x78\x5a", 0, nil},
	{"hpt45x_raid_member", Member, UsageRAID, []int64{-11 * 512}, "\xfd\x16\x78\x5a", 0, nil},
	{"lsi_mega_raid_member", Member, UsageRAID, lastSect, "$XIDE$", 0, nil},
	{"nvidia_raid_member", Member, UsageRAID, []int64{-1024}, "NVIDIA", 0, nil},
	{"adaptec_raid_member", Member, UsageRAID, lastSect, "\x37\xfc\x4d\x1e", 0, nil},
	{"silicon_medley_raid_member", Member, UsageRAID, lastSect, "\x00\x00\x00\x2f", 0x60, checkSilicon},
	{"ceph_bluestore", Member, UsageOther, first, "bluestore block device", 0, checkBluestore},

	// Encryption and integrity.
	{"DM_verity_hash", Crypto, UsageCrypto, first, "verity\x00\x00", 0, checkVerity},
	{"DM_integrity", Crypto, UsageCrypto, first, "integrt\x00", 0, checkIntegrity},
	{"cs_fvault2", Crypto, UsageCrypto, first, "CS", 88, checkFileVault},

	// Metadata of device-mapper targets and caches. blkid knows only the
	// first; the other names follow its pattern.
	{"DM_snapshot_cow", Metadata, UsageOther, first, "SnAp", 0, nil},
	{"vdo", Metadata, UsageOther, first, "dmvdo001", 0, named(40, -1, 0)},
	{"DM_thin_metadata", Metadata, UsageOther, first, "\xba\x52\x9c\x01\x00\x00\x00\x00", 32, kernelSum(160774)},     // drivers/md/dm-thin-metadata.c: 27022010
	{"DM_cache_metadata", Metadata, UsageOther, first, "\x03\xc4\x18\x00\x00\x00\x00\x00", 32, kernelSum(9031977)},   // dm-cache-metadata.c: 06142003, which C reads as octal
	{"DM_era_metadata", Metadata, UsageOther, first, "\x7b\x07\xc1\x7e\x00\x00\x00\x00", 32, kernelSum(146538381)},   // dm-era-target.c: 2126579579
	{"DM_clone_metadata", Metadata, UsageOther, first, "\x64\x7f\xf2\x8a\x00\x00\x00\x00", 32, kernelSum(257649492)}, // dm-clone-metadata.c: 0x8af27f64
	{"DM_writecache", Metadata, UsageOther, first, "\x21\x93\x48\x23", 0, checkWritecache},                           // dm-writecache.c: 0x23489321
	{"DM_zoned", Metadata, UsageOther, first, "DZBD", 0, nil},                                                        // dm-zoned-metadata.c
	{"DM_mirror_log", Metadata, UsageOther, first, "rRiM", 0, nil},                                                   // dm-log.c: MIRROR_MAGIC 0x4D695272
	{"DM_log_writes", Metadata, UsageOther, first, "rhswfsj\x00", 0, nil},                                            // dm-log-writes.c

	// Partition tables that need no computing.
	{"aix", PartitionTable, "", first, "\xc9\xc2\xd4\xc1", 0, nil},
	{"solaris", PartitionTable, "", first, "\xee\xde\x0d\x60", 512 + 12, nil},
	{"unixware", PartitionTable, "", []int64{29 * 512}, "\x0d\x60\xe5\xca", 4, nil},
	{"ultrix", PartitionTable, "", []int64{16384 - 72}, "\x57\x29\x03\x00", 0, nil},
	{"loop", PartitionTable, "", first, "GNU Parted Loopback ", 0, nil},
}

func checkXFS(p *prober, base int64, s *Signature) bool {
	b := p.at(base, 120)
	if b == nil {
		s.Damaged = true
		return true
	}
	s.UUID, s.Label = uuidText(b[32:]), text(b[108:120])
	s.Damaged = !powerOf2(be.Uint32(b[4:]))
	return true
}

func checkBtrfs(p *prober, base int64, s *Signature) bool {
	b := p.at(base, 4096)
	if b == nil {
		s.Damaged = true
		return true
	}
	// fs/btrfs/fs.h: a superblock knows its own place. One that lies about it
	// belongs to an image inside something else.
	if s.Backup && le.Uint64(b[0x30:]) != uint64(base) {
		return false
	}
	s.UUID, s.Label = uuidText(b[0x20:]), text(b[0x12b:0x12b+256])
	if le.Uint16(b[0xc4:]) == 0 { // csum_type 0: crc32c
		s.Damaged = le.Uint32(b) != crc32.Checksum(b[0x20:], castagnoli)
	}
	return true
}

func checkF2FS(p *prober, base int64, s *Signature) bool {
	b := p.at(base, 0x7c+1024)
	if b == nil {
		s.Damaged = true
		return true
	}
	s.Version = fmt.Sprintf("%d.%d", le.Uint16(b[4:]), le.Uint16(b[6:]))
	s.UUID, s.Label = uuidText(b[0x6c:]), text16(b[0x7c:], le)
	return true
}

// checkSquashfs tells version 4, always little-endian, from the older ones,
// which blkid calls squashfs3 (fs/squashfs/squashfs_fs.h: s_major at 28).
func checkSquashfs(p *prober, base int64, s *Signature) bool {
	b := p.at(base, 32)
	if b == nil {
		s.Damaged = true
		return true
	}
	major, minor := le.Uint16(b[28:]), le.Uint16(b[30:])
	if s.Type == "squashfs3" {
		major, minor = be.Uint16(b[28:]), be.Uint16(b[30:])
	} else if major < 4 {
		s.Type = "squashfs3"
	}
	s.Version = fmt.Sprintf("%d.%d", major, minor)
	return true
}

func checkReiser(p *prober, base int64, s *Signature) bool {
	switch b := p.at(s.Offset+6, 1); {
	case b != nil && b[0] == '2':
		s.Version = "3.6"
	case b != nil && b[0] == '3':
		s.Version = "JR" // the journal lies elsewhere
	default:
		s.Version = "3.5" // has neither uuid nor label
		return true
	}
	return named(84, 100, 16)(p, base, s)
}

// checkOCFS2 reads the fields of the superblock behind the inode that it is
// wrapped in (fs/ocfs2/ocfs2_fs.h: id2 at 0xc0).
func checkOCFS2(p *prober, base int64, s *Signature) bool {
	if b := p.at(base, 0x160); b != nil {
		s.Version = fmt.Sprintf("%d.%d", le.Uint16(b[0xc0:]), le.Uint16(b[0xc2:]))
		s.Label, s.UUID = text(b[0x110:0x150]), uuidText(b[0x150:])
	}
	return true
}

func checkVerity(p *prober, base int64, s *Signature) bool {
	if b := p.at(base, 32); b != nil {
		s.Version, s.UUID = fmt.Sprint(le.Uint32(b[8:])), uuidText(b[16:])
	}
	return true
}

// checkGFS tells the two versions apart (include/uapi/linux/gfs2_ondisk.h:
// sb_fs_format at 24, 1309 for gfs and 1801 and up for gfs2).
func checkGFS(p *prober, base int64, s *Signature) bool {
	b := p.at(base, 272)
	if b == nil || be.Uint32(b[4:]) != 1 { // GFS2_METATYPE_SB
		s.Damaged = true
		return true
	}
	if be.Uint32(b[24:]) < 1800 {
		s.Type = "gfs"
	}
	s.Version = "1"
	s.Label, s.UUID = text(b[160:224]), uuidText(b[256:])
	return true
}

func checkSilicon(p *prober, base int64, s *Signature) bool {
	b := p.at(base, 512)
	if b == nil || b[0x116] >= 8 {
		return false
	}
	var sum uint16
	for i := 0; i < 0x13e; i += 2 {
		sum += le.Uint16(b[i:])
	}
	return -sum == le.Uint16(b[0x13e:])
}

// checkBluestore reads the uuid in the line behind the magic.
func checkBluestore(p *prober, base int64, s *Signature) bool {
	if b := p.at(base+23, 36); b != nil && strings.Count(string(b), "-") == 4 {
		s.UUID = text(b)
	}
	return true
}

// checkFileVault makes up for the short magic of a Core Storage volume header
// (version 1, checksum algorithm 1, the key data size and the AES-XTS cipher
// that encrypted ones have; libfvde documentation).
func checkFileVault(p *prober, base int64, s *Signature) bool {
	b := p.at(base, 512)
	return b != nil && le.Uint16(b[8:]) == 1 && le.Uint16(b[90:]) == 1 && le.Uint32(b[168:]) == 16 && le.Uint32(b[172:]) == 2
}

func checkIntegrity(p *prober, base int64, s *Signature) bool {
	if b := p.at(base, 9); b != nil {
		s.Version = fmt.Sprint(b[8])
	}
	return true
}

func checkWritecache(p *prober, base int64, s *Signature) bool {
	if b := p.at(base, 8); b != nil {
		s.Version = fmt.Sprint(le.Uint32(b[4:]))
	}
	return true
}
