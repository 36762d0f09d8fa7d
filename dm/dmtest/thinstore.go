// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"slices"
)

// The superblock of a pool's metadata has the kernel's layout and checksum
// (drivers/md/dm-thin-metadata.c). What it leads to does not: the volumes are
// one stream of numbers in either half of the rest of the device, in turn, so
// that what was committed last stays when a commit fails. Where the kernel's
// superblock has the roots of the space maps, ours has a mark, the place, the
// length and the checksum of the stream.
const (
	thinBlock      = 4096
	thinBlockSects = thinBlock / sectorSize
	thinMagic      = 27022010 // THIN_SUPERBLOCK_MAGIC
	thinVersion    = 2
	thinCsumXor    = 160774 // SUPERBLOCK_CSUM_XOR
	thinNeedsCheck = 1      // THIN_METADATA_NEEDS_CHECK_FLAG
	thinMark       = "dmtest: thin volumes"

	// maxThinMetadata is THIN_METADATA_MAX_SECTORS; the kernel warns beyond
	// the other.
	maxThinMetadata  = 255 * (1 << 14) * thinBlockSects
	warnThinMetadata = 16 << 30 / sectorSize

	offThinFlags, offThinBlock, offThinMagic  = 4, 8, 32
	offThinVersion, offThinTime, offThinTx    = 40, 44, 48
	offThinHeld, offThinRoot, offThinDataSize = 56, 64, 336
	offThinMetaSize, offThinBlocks            = 340, 344
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// thinSum is dm_bm_checksum: a CRC that is not inverted at its end.
func thinSum(p []byte) uint32 { return ^crc32.Checksum(p, castagnoli) ^ thinCsumXor }

// metadataBlocks is get_metadata_dev_size_in_blocks.
func metadataBlocks(k *Kernel, dev blockDev) uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return min(dev.sectors(), maxThinMetadata) / thinBlockSects
}

// openThinMeta is dm_pool_metadata_open: it formats a device that begins with
// a block of zeros, if it may.
func openThinMeta(k *Kernel, dev blockDev, blockSize uint64, format bool) (*thinMeta, error) {
	sb := make([]byte, thinBlock)
	if err := dev.readSectors(sb, 0); err != nil {
		return nil, ioErrno(err)
	}
	if isZero(sb) {
		if !format {
			return nil, EPERM
		}
		m := newThinMeta(dev, blockSize, metadataBlocks(k, dev))
		switch {
		case m.blocks < 3:
			k.Log("space map common", "metadata block out of bounds")
			return nil, EINVAL
		case m.blocks < m.inUse():
			k.Log("space map metadata", "unable to allocate new metadata block")
			return nil, ENOSPC
		}
		return m, m.store()
	}
	le := binary.LittleEndian
	fail := func(errno error, format string, args ...any) error {
		k.Log(logThinMeta, format, args...)
		k.Log("block manager", "superblock validator check failed for block 0")
		k.Log(logThinMeta, "couldn't read superblock")
		return errno
	}
	if n := le.Uint64(sb[offThinBlock:]); n != 0 {
		return nil, fail(ENOTBLK, "%s failed: blocknr %d: wanted %d", "sb_check", n, 0)
	}
	if n := le.Uint64(sb[offThinMagic:]); n != thinMagic {
		return nil, fail(EILSEQ, "%s failed: magic %d: wanted %d", "sb_check", n, thinMagic)
	}
	if have, want := le.Uint32(sb), thinSum(sb[4:]); have != want {
		return nil, fail(EILSEQ, "%s failed: csum %d: wanted %d", "sb_check", want, have)
	}
	if n := le.Uint32(sb[offThinDataSize:]); uint64(n) != blockSize {
		k.Log(logThinMeta, "changing the data block size (from %d to %d) is not supported", n, blockSize)
		return nil, EINVAL
	}
	root, ok := bytes.CutPrefix(sb[offThinRoot:], []byte(thinMark))
	if !ok {
		return nil, EILSEQ // made by a real kernel
	}
	m := newThinMeta(dev, blockSize, le.Uint64(sb[offThinBlocks:]))
	m.needsCheck = le.Uint32(sb[offThinFlags:])&thinNeedsCheck != 0
	m.time, m.txid = le.Uint32(sb[offThinTime:]), le.Uint64(sb[offThinTx:])
	m.area = int(root[0])
	stream := make([]byte, (uint64(le.Uint32(root[1:]))+sectorSize-1)/sectorSize*sectorSize)
	if err := dev.readSectors(stream, m.areaStart(m.area)); err != nil {
		return nil, ioErrno(err)
	}
	stream = stream[:le.Uint32(root[1:])]
	if crc32.Checksum(stream, castagnoli) != le.Uint32(root[5:]) {
		return nil, EILSEQ
	}
	if err := m.decode(stream); err != nil {
		return nil, err
	}
	if m.held != nil {
		m.held.block = le.Uint64(sb[offThinHeld:])
	}
	m.changed = false
	return m, nil
}

// ioErrno is what an I/O error is to the metadata.
func ioErrno(err error) error {
	if errors.Is(err, errNotSupported) {
		return EOPNOTSUPP
	}
	errno, _ := ctorErrno(err)
	return errno
}

// areaStart is the first sector of a half.
func (m *thinMeta) areaStart(area int) uint64 {
	return (1 + uint64(area)*((m.blocks-1)/2)) * thinBlockSects
}

// shadows is how many blocks a transaction needs besides those it adds: it
// writes what it changes to new ones. Those are bitmap and index of the
// metadata's own space map, with the roots of volumes and details or the index
// of the data's space map. A transaction that maps blocks needs some more in
// the kernel.
func (m *thinMeta) shadows() uint64 {
	if m.rooted {
		return 4
	}
	return 3
}

// write is __commit_transaction: blocks that were freed can be had again when
// it is done.
func (m *thinMeta) write(k *Kernel) error {
	if !m.changed {
		return nil
	}
	if m.inUse()+m.shadows() > m.blocks {
		k.Log("space map metadata", "unable to allocate new metadata block")
		return ENOSPC
	}
	return m.store()
}

func (m *thinMeta) store() error {
	stream := m.encode()
	area := 1 - m.area
	le := binary.LittleEndian
	sb := make([]byte, thinBlock)
	root := append(append(sb[offThinRoot:offThinRoot], thinMark...), byte(area))
	root = le.AppendUint32(root, uint32(len(stream)))
	le.AppendUint32(root, crc32.Checksum(stream, castagnoli))
	stream = append(stream, make([]byte, -len(stream)&(sectorSize-1))...)
	if uint64(len(stream)) > (m.blocks-1)/2*thinBlock {
		return ENOSPC
	}
	if err := m.dev.writeSectors(stream, m.areaStart(area)); err != nil {
		return ioErrno(err)
	}
	if m.needsCheck {
		le.PutUint32(sb[offThinFlags:], thinNeedsCheck)
	}
	le.PutUint64(sb[offThinMagic:], thinMagic)
	le.PutUint32(sb[offThinVersion:], thinVersion)
	le.PutUint32(sb[offThinTime:], m.time)
	le.PutUint64(sb[offThinTx:], m.txid)
	if m.held != nil {
		le.PutUint64(sb[offThinHeld:], m.held.block)
	}
	le.PutUint32(sb[offThinDataSize:], uint32(m.blockSize))
	le.PutUint32(sb[offThinMetaSize:], thinBlockSects)
	le.PutUint64(sb[offThinBlocks:], m.blocks)
	le.PutUint32(sb, thinSum(sb[4:]))
	if err := m.dev.writeSectors(sb, 0); err != nil {
		return ioErrno(err)
	}
	m.area, m.changed, m.rooted, m.begin = area, false, false, 0
	clear(m.pending)
	return nil
}

// encode writes pages, trees, volumes and the metadata snapshot; what is
// shared is written once.
func (m *thinMeta) encode() []byte {
	var pages, trees []byte
	pageNr, treeNr := map[*thinPage]uint64{}, map[*thinTree]uint64{}
	tree := func(t *thinTree) uint64 {
		if n, ok := treeNr[t]; ok {
			return n
		}
		trees = binary.AppendUvarint(trees, uint64(len(t.pages)))
		for _, i := range slices.Sorted(maps.Keys(t.pages)) {
			page := t.pages[i]
			if _, ok := pageNr[page]; !ok {
				pageNr[page] = uint64(len(pageNr))
				pages = binary.AppendUvarint(pages, uint64(len(page.at)))
				for _, b := range slices.Sorted(maps.Keys(page.at)) {
					at := page.at[b]
					pages = binary.AppendUvarint(pages, b)
					pages = binary.AppendUvarint(pages, at.block)
					pages = binary.AppendUvarint(pages, uint64(at.time))
				}
			}
			trees = binary.AppendUvarint(trees, i)
			trees = binary.AppendUvarint(trees, pageNr[page])
		}
		treeNr[t] = uint64(len(treeNr))
		return treeNr[t]
	}
	tail := binary.AppendUvarint(nil, uint64(len(m.vols)))
	for _, id := range slices.Sorted(maps.Keys(m.vols)) {
		v := m.vols[id]
		for _, n := range []uint64{uint64(id), tree(v.tree), v.mapped, v.txid, uint64(v.created), uint64(v.snapped)} {
			tail = binary.AppendUvarint(tail, n)
		}
	}
	held := uint64(0)
	if m.held != nil {
		if held = 1; m.held.diverged {
			held = 2
		}
		tail = binary.AppendUvarint(tail, held)
		tail = binary.AppendUvarint(tail, uint64(len(m.held.trees)))
		for _, t := range m.held.trees {
			tail = binary.AppendUvarint(tail, tree(t))
		}
	} else {
		tail = binary.AppendUvarint(tail, held)
	}
	out := binary.AppendUvarint(nil, m.data)
	out = binary.AppendUvarint(out, uint64(len(pageNr)))
	out = append(out, pages...)
	out = binary.AppendUvarint(out, uint64(len(treeNr)))
	return append(append(out, trees...), tail...)
}

// decode is the counterpart of encode.
func (m *thinMeta) decode(p []byte) error {
	bad := false
	next := func() uint64 {
		n, used := binary.Uvarint(p)
		if used <= 0 {
			bad, p = true, nil
			return 0
		}
		p = p[used:]
		return n
	}
	// count is a number of things of a byte or more each.
	count := func() uint64 {
		n := next()
		if n > uint64(len(p)) {
			bad = true
			return 0
		}
		return n
	}
	m.data = next()
	pages := make([]*thinPage, count())
	for i := range pages {
		page := &thinPage{at: map[uint64]thinMapping{}}
		for n := next(); n > 0 && !bad; n-- {
			b := next()
			at := thinMapping{next(), uint32(next())}
			if _, twice := page.at[b]; twice || at.block >= m.data {
				return EILSEQ
			}
			page.at[b] = at
			m.refs[at.block]++
		}
		pages[i] = page
	}
	trees := make([]*thinTree, count())
	for i := range trees {
		t := &thinTree{pages: map[uint64]*thinPage{}}
		for n := next(); n > 0 && !bad; n-- {
			at, nr := next(), next()
			if nr >= uint64(len(pages)) || t.pages[at] != nil {
				return EILSEQ
			}
			pages[nr].refs++
			t.pages[at] = pages[nr]
		}
		trees[i] = t
	}
	tree := func() *thinTree {
		n := next()
		if n >= uint64(len(trees)) {
			bad = true
			return newThinTree()
		}
		trees[n].refs++
		return trees[n]
	}
	for n := next(); n > 0 && !bad; n-- {
		id := uint32(next())
		if m.vols[id] != nil {
			return EILSEQ
		}
		m.vols[id] = &thinVol{tree: tree(), mapped: next(), txid: next(), created: uint32(next()), snapped: uint32(next())}
	}
	if held := next(); held > 0 {
		m.held = &heldMeta{diverged: held == 2}
		for n := next(); n > 0 && !bad; n-- {
			m.held.trees = append(m.held.trees, tree())
		}
	}
	if bad {
		return EILSEQ
	}
	return nil
}
