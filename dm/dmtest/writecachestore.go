// SPDX-License-Identifier: MIT

package dmtest

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// writecacheStore is the device of a writecache in the kernel's format
// (struct wc_memory_superblock of dm-writecache.c): a superblock, an entry for
// each block, the blocks.
type writecacheStore struct {
	dev       *Dev
	start     uint64 // sectors
	blockSize uint64 // bytes
	blocks    uint64
	seq       uint64 // of the writes that are not committed yet
	head      []byte // superblock and entries, padded to blocks
	changed   map[uint64]bool
	next      uint64 // no block below is free
}

const (
	wcMagic      = 0x23489321
	wcVersion    = 1
	wcHeadSize   = 64
	wcEntrySize  = 16
	wcNoSequence = 1<<64 - 1
)

// The fields of the superblock.
const (
	wcAtMagic     = 0
	wcAtVersion   = 4
	wcAtBlockSize = 8
	wcAtBlocks    = 16
	wcAtSeq       = 24
)

func alignUp(n, to uint64) uint64 { return (n + to - 1) / to * to }

// open reads the superblock, and formats a device without one. The text is
// that of the constructor.
func (s *writecacheStore) open(dev *Dev, start uint64, blockSize uint32) (text string, err error) {
	*s = writecacheStore{dev: dev, start: start, blockSize: uint64(blockSize), changed: map[uint64]bool{}}
	room := (dev.Sectors() - start) * sectorSize
	n := room / (s.blockSize + wcEntrySize)
	for n > 0 && s.headSize(n)+n*s.blockSize > room {
		n--
	}
	if n == 0 {
		return "Invalid device size", ENOSPC
	}
	first := make([]byte, blockSize)
	if err := dev.ReadSectors(first, start); err != nil {
		return "Unable to read first block of metadata", err
	}
	le := binary.LittleEndian
	if le.Uint32(first[wcAtMagic:]) == 0 && le.Uint32(first[wcAtVersion:]) == 0 {
		s.blocks = n
		if err := s.format(); err != nil {
			return "Unable to initialize device", err
		}
		return "", nil
	}
	switch {
	case le.Uint32(first[wcAtMagic:]) != wcMagic:
		return "Invalid magic in the superblock", EINVAL
	case le.Uint32(first[wcAtVersion:]) != wcVersion:
		return "Invalid version in the superblock", EINVAL
	case le.Uint32(first[wcAtBlockSize:]) != blockSize:
		return "Block size does not match superblock", EINVAL
	}
	switch s.blocks = le.Uint64(first[wcAtBlocks:]); {
	case s.blocks > 1<<50:
		return "Overflow in size calculation", EINVAL
	case s.headSize(s.blocks)+s.blocks*s.blockSize > room:
		return "Memory area is too small", EINVAL
	}
	return "", nil
}

func (s *writecacheStore) headSize(n uint64) uint64 {
	return alignUp(wcHeadSize+n*wcEntrySize, s.blockSize)
}

func (s *writecacheStore) format() error {
	s.head = make([]byte, s.headSize(s.blocks))
	le := binary.LittleEndian
	le.PutUint32(s.head[wcAtVersion:], wcVersion)
	le.PutUint32(s.head[wcAtBlockSize:], uint32(s.blockSize))
	le.PutUint64(s.head[wcAtBlocks:], s.blocks)
	for i := range s.blocks {
		s.drop(i)
	}
	le.PutUint32(s.head[wcAtMagic:], wcMagic)
	s.changed[0] = true
	return s.sync()
}

// load reads all entries: those that count, the oldest first.
func (s *writecacheStore) load() ([]*writecacheEntry, error) {
	s.head, s.next = make([]byte, s.headSize(s.blocks)), 0
	clear(s.changed)
	if err := s.dev.ReadSectors(s.head, s.start); err != nil {
		return nil, err
	}
	s.seq = binary.LittleEndian.Uint64(s.head[wcAtSeq:])
	bySector := map[uint64]*writecacheEntry{}
	for i := range s.blocks {
		sector, seq := s.entry(i)
		if seq >= s.seq {
			if seq != wcNoSequence {
				s.drop(i) // was never committed
			}
			continue
		}
		e := &writecacheEntry{sector: sector, index: i, seq: seq}
		if old := bySector[sector]; old != nil {
			if old.seq > seq {
				e, old = old, e
			}
			s.drop(old.index)
		}
		bySector[sector] = e
	}
	var list []*writecacheEntry
	for _, e := range bySector {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *writecacheEntry) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.index, b.index))
	})
	return list, s.sync()
}

func (s *writecacheStore) entry(i uint64) (sector, seq uint64) {
	at := s.head[wcHeadSize+i*wcEntrySize:]
	return binary.LittleEndian.Uint64(at), binary.LittleEndian.Uint64(at[8:])
}

// put changes an entry in memory.
func (s *writecacheStore) put(i, sector, seq uint64) {
	at := wcHeadSize + i*wcEntrySize
	binary.LittleEndian.PutUint64(s.head[at:], sector)
	binary.LittleEndian.PutUint64(s.head[at+8:], seq)
	s.changed[at/s.blockSize] = true
}

// drop frees a block.
func (s *writecacheStore) drop(i uint64) {
	s.put(i, wcNoSequence, wcNoSequence)
	s.next = min(s.next, i)
}

// take finds a free block.
func (s *writecacheStore) take() (uint64, bool) {
	for ; s.next < s.blocks; s.next++ {
		if _, seq := s.entry(s.next); seq == wcNoSequence {
			return s.next, true
		}
	}
	return 0, false
}

// sync writes the entries that changed.
func (s *writecacheStore) sync() error {
	for b := range s.changed {
		if err := s.dev.WriteSectors(s.head[b*s.blockSize:(b+1)*s.blockSize], s.start+b*s.blockSize/sectorSize); err != nil {
			return err
		}
		delete(s.changed, b)
	}
	return nil
}

// advance commits what sync wrote: it raises the sequence number.
func (s *writecacheStore) advance() error {
	s.seq++
	binary.LittleEndian.PutUint64(s.head[wcAtSeq:], s.seq)
	s.changed[0] = true
	return s.sync()
}

// sectorOf is where a block is on the device.
func (s *writecacheStore) sectorOf(i uint64) uint64 {
	return s.start + (s.headSize(s.blocks)+i*s.blockSize)/sectorSize
}
