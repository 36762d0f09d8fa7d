// SPDX-License-Identifier: MIT

// Package blockdev is the one home for what every other package must know
// about a block device before and while it uses it.
//
// # Handles
//
// [Open] opens a block device, or a regular file that stands for one, and
// gives a [Device]: size, sector sizes, read-only flag, read-ahead; ReadAt and
// WriteAt of any offset, length and memory, through the page cache or, with
// Options.Direct, around it; Flush, DropCaches and ZeroRange, which never
// discards. [OpenExclusive] is for callers that are about to destroy.
//
// # Look-ups
//
// [SysFS] answers by device number, without opening anything: size, name,
// holders, slaves, partitions, device-mapper name, disk sequence number. Its
// root can be a fixture tree. [Resolve] turns a path or "M:m" into a number.
// [System] names what takes a device: mounts, swap, stacked devices, loop
// devices over an image; [InUse] also asks the kernel by an exclusive open.
//
// # Signatures
//
// [Probe] finds what lies on a device: file systems, swap, members of volume
// groups, arrays and replicated devices, encryption headers, metadata of
// device-mapper targets, partition tables; at the start, at the end and
// wherever else the format keeps a copy. It works on any io.ReaderAt, on every
// GOOS, reads at most a few MiB, and trusts nothing that it reads.
//
// Formats with a magic of four bytes or more are rows of a table; the magic
// alone makes a hit, and a wrong checksum only sets Signature.Damaged, because
// a caller that destroys must rather be stopped once too often. Weaker magics
// need a sound structure around them. Names are blkid's; the few types that
// blkid has no name for follow its pattern (DM_raid_member, DM_thin_metadata,
// DM_cache_metadata, DM_era_metadata, DM_clone_metadata, DM_writecache,
// DM_zoned, DM_mirror_log, DM_log_writes).
//
// Not found: formats without any magic (raw key material, plain dm-crypt,
// tape archives), dm-multipath (which has none on disk), DASD labels, LDM
// beyond its MBR, and volume headers that start at an offset which only the
// administrator knows.
//
// [CheckWipeable] puts the parts together: exclusive, free of signatures, and
// readable where a signature could be, or an error that says why not.
package blockdev
