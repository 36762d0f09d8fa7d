// SPDX-License-Identifier: MIT

package blockdev

import "fmt"

// Kind groups signatures by what they mark the device as.
type Kind string

// The kinds.
const (
	Filesystem     Kind = "filesystem"
	Swap           Kind = "swap"
	Member         Kind = "member"          // of a volume group, an array, a replicated or pooled device
	Crypto         Kind = "crypto"          // encrypted or integrity-protected
	Metadata       Kind = "metadata"        // a device-mapper target's, bcache's, …
	PartitionTable Kind = "partition table" //
)

// Usage is blkid's USAGE of a signature; empty for partition tables, which
// blkid names by PTTYPE.
type Usage string

// Blkid's usages.
const (
	UsageFilesystem Usage = "filesystem"
	UsageRAID       Usage = "raid"
	UsageCrypto     Usage = "crypto"
	UsageOther      Usage = "other"
)

// Signature is one thing found on a device.
type Signature struct {
	Kind    Kind
	Type    string // blkid's TYPE or PTTYPE: ext4, LVM2_member, crypto_LUKS, gpt, …
	Version string // where the format has one worth telling apart: "1.2", "FAT32"
	Label   string
	UUID    string // as blkid prints it
	Offset  int64  // of the magic, bytes from the start of the device
	Length  int    // of the magic, bytes
	Usage   Usage
	Backup  bool // a second copy; the format's own tools look elsewhere first
	Damaged bool // the magic is right, a checksum or a field is not
}

// String prints "ext4 at 1080", with label and uuid where there are some.
func (s Signature) String() string {
	t := s.Type
	if s.Version != "" {
		t += " " + s.Version
	}
	if s.Backup {
		t += " backup"
	}
	if s.Damaged {
		t += " (damaged)"
	}
	t += fmt.Sprintf(" at %d", s.Offset)
	if s.Label != "" {
		t += fmt.Sprintf(" label %q", s.Label)
	}
	if s.UUID != "" {
		t += " uuid " + s.UUID
	}
	return t
}
