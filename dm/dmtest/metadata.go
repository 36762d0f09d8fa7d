// SPDX-License-Identifier: MIT

package dmtest

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"syscall"
)

// metadata is the metadata device of a cache, an era or a clone. The kernel
// keeps B-trees there (drivers/md/persistent-data). The double keeps its own
// encoding of the state, behind a superblock that has the magic at the place
// where the kernel has it, and the same rule for what is fresh: a first block
// of zeros.
type metadata struct {
	k      *Kernel
	dev    *Dev
	prefix string // of the kernel log: "cache metadata"
	check  string // how that target's sb_check begins its complaints
	wanted string // the word between what is there and what should be
	magic  uint64
}

// Two answers beyond those that programs meet elsewhere.
const (
	errIllegalSeq = syscall.Errno(84) // EILSEQ
	errOpNotSupp  = syscall.Errno(95) // EOPNOTSUPP
)

// The superblock, which cache, era and clone lay out alike.
const (
	metadataBlock   = 4096 // bytes
	superBlocknr    = 8
	superMagic      = 32
	superVersion    = 40
	superOwnLength  = 64 // of the state, in bytes; the kernel has other things here
	superOwnSum     = 72
	cacheSuperMagic = 6142003
	eraSuperMagic   = 2126579579
	cloneSuperMagic = 0x8af27f64
)

// metaMode is what a target can still do with its metadata: enum
// cache_metadata_mode, and that of a clone.
type metaMode uint8

const (
	metaRW metaMode = iota
	metaRO
	metaFail
)

// blocks is the size of the device, of which the persistent data use at most
// 255 bitmap blocks.
func (m *metadata) blocks() uint64 {
	return min(m.dev.Sectors()*sectorSize/metadataBlock, 255*((1<<14)-64))
}

// load reads the state into v, a pointer to a struct. It reports whether the
// device was never formatted.
func (m *metadata) load(v any) (fresh bool, err error) {
	if m.blocks() == 0 {
		return false, EIO
	}
	head := make([]byte, metadataBlock)
	if err := m.dev.ReadSectors(head, 0); err != nil {
		return false, err
	}
	if isZero(head) {
		return true, nil
	}
	le := binary.LittleEndian
	bad := func(errno syscall.Errno, what string, got, want any) (bool, error) {
		m.k.Log(m.prefix, "%s: %s %d%s %d", m.check, what, got, m.wanted, want)
		m.k.Log("block manager", "superblock validator check failed for block 0")
		return false, errno
	}
	if n := le.Uint64(head[superBlocknr:]); n != 0 {
		return bad(ENOTBLK, "blocknr", n, 0)
	}
	if n := le.Uint64(head[superMagic:]); n != m.magic {
		return bad(errIllegalSeq, "magic", n, m.magic)
	}
	n, sum := le.Uint64(head[superOwnLength:]), le.Uint32(head[superOwnSum:])
	var state []byte
	if n <= (m.blocks()-1)*metadataBlock {
		state = make([]byte, (n+sectorSize-1)/sectorSize*sectorSize)
		if err := m.dev.ReadSectors(state, metadataBlock/sectorSize); err != nil {
			return false, err
		}
		state = state[:n]
	}
	if got := crc32.ChecksumIEEE(state); got != sum || json.Unmarshal(state, v) != nil {
		return bad(errIllegalSeq, "csum", got, sum)
	}
	return false, nil
}

// save writes the state.
func (m *metadata) save(v any) error {
	state, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if uint64(len(state)) > (m.blocks()-1)*metadataBlock {
		return ENOSPC
	}
	head := make([]byte, metadataBlock)
	le := binary.LittleEndian
	le.PutUint64(head[superMagic:], m.magic)
	le.PutUint32(head[superVersion:], 1)
	le.PutUint64(head[superOwnLength:], uint64(len(state)))
	le.PutUint32(head[superOwnSum:], crc32.ChecksumIEEE(state))
	state = append(state, make([]byte, -len(state)&(sectorSize-1))...)
	if err := m.dev.WriteSectors(state, metadataBlock/sectorSize); err != nil {
		return err
	}
	return m.dev.WriteSectors(head, 0)
}

// What the space maps of a fresh device and one leaf of an array need, in
// blocks: superblock, index and bitmaps of the space map, root of its counts.
func (m *metadata) spaceMaps() uint64 {
	const perBitmap = (metadataBlock - 16) * 4
	return 3 + (m.blocks()+perBitmap-1)/perBitmap
}

// leaves is how many blocks an array of n values of size bytes takes below
// its root.
func leaves(n, size uint64) uint64 {
	per := (metadataBlock - 24) / size
	return (n + per - 1) / per
}

// bitset is leaves for bits, which are packed in words of 64.
func bitset(n uint64) uint64 { return leaves((n+63)/64, 8) }
