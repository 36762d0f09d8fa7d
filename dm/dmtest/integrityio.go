// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"encoding/binary"
)

// integrityDiscarder is an integrity with allow_discards.
type integrityDiscarder struct{ *integrity }

// discardFiller is what the tags of discarded blocks are (DISCARD_FILLER).
const discardFiller = 0xf6

func (i integrityDiscarder) DiscardSectors(sector, n uint64) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	per := uint64(i.perBlock)
	if sector%per != 0 || n%per != 0 {
		return EIO
	}
	return i.runs(nil, sector, n, func(_ []byte, sector, n uint64) error {
		if err := i.dev.DiscardSectors(i.dataSector(sector), n); err != nil {
			return err
		}
		return i.tags(sector, bytes.Repeat([]byte{discardFiller}, int(n/per)*int(i.tagSize)), true)
	})
}

// Resume is dm_integrity_resume, and the first step of a recalculation.
func (i *integrity) Resume() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.on["reset_recalculate"] {
		i.sb.flags |= sbRecalculating
		i.sb.recalc = 0
	}
	if i.mode == "R" {
		return
	}
	i.sb.provided = i.provided
	i.writeSuper()
	i.recalculate()
}

// recalculate makes the tags of the next chunk of what is there.
func (i *integrity) recalculate() {
	s := &i.sb
	if s.flags&sbRecalculating == 0 || s.recalc >= i.provided || i.mode == "R" || i.a.ReadOnly {
		return
	}
	n := min(integrityChunk, i.provided-s.recalc)
	p := make([]byte, n*sectorSize)
	err := i.runs(p, s.recalc, n, func(p []byte, sector, n uint64) error {
		if err := i.dev.ReadSectors(p, i.dataSector(sector)); err != nil {
			return err
		}
		return i.tags(sector, i.sums(p, sector), true)
	})
	if err != nil {
		i.a.Kernel().Log("integrity", "Error on reading data: %v", err)
		return
	}
	s.recalc += n
	i.writeSuper()
}

// runs cuts an I/O where the tags lie between the data.
func (i *integrity) runs(p []byte, sector, n uint64, f func(p []byte, sector, n uint64) error) error {
	for n > 0 {
		m := n
		if i.meta == nil {
			m = min(n, 1<<i.sb.log2Interleave-sector&(1<<i.sb.log2Interleave-1))
		}
		var q []byte
		if p != nil {
			q, p = p[:m*sectorSize], p[m*sectorSize:]
		}
		if err := f(q, sector, m); err != nil {
			return err
		}
		sector, n = sector+m, n-m
	}
	return nil
}

// sums makes the tags of blocks (integrity_sector_checksum): of the salt if
// there is one, the number of the block's first sector and the data, cut or
// filled up with zeros to the size of a tag. Without internal_hash they are
// zeros.
func (i *integrity) sums(p []byte, sector uint64) []byte {
	block := int(i.perBlock) * sectorSize
	tags := make([]byte, len(p)/block*int(i.tagSize))
	hash := i.algs["internal_hash"]
	if hash == nil {
		return tags
	}
	var salt []byte
	if i.sb.flags&sbFixedHMAC != 0 {
		salt = i.sb.salt[:]
	}
	for at := tags; len(p) > 0; sector, p, at = sector+uint64(i.perBlock), p[block:], at[i.tagSize:] {
		var number [8]byte
		binary.LittleEndian.PutUint64(number[:], sector)
		copy(at[:i.tagSize], hash.sum(salt, number[:], p[:block]))
	}
	return tags
}

func (i *integrity) aligned(p []byte, sector uint64) bool {
	per := uint64(i.perBlock)
	return sector%per == 0 && uint64(len(p))/sectorSize%per == 0
}

// ReadSectors checks the tags, but in recovery mode.
func (i *integrity) ReadSectors(p []byte, sector uint64) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.aligned(p, sector) {
		return EIO
	}
	return i.runs(p, sector, uint64(len(p))/sectorSize, func(p []byte, sector, _ uint64) error {
		if err := i.dev.ReadSectors(p, i.dataSector(sector)); err != nil {
			return err
		}
		if i.mode == "R" || i.algs["internal_hash"] == nil {
			return nil
		}
		want := i.sums(p, sector)
		have := make([]byte, len(want))
		if err := i.tags(sector, have, false); err != nil {
			return err
		}
		return i.compare(have, want, sector)
	})
}

func (i *integrity) compare(have, want []byte, sector uint64) error {
	size := int(i.tagSize)
	filler := bytes.Repeat([]byte{discardFiller}, size)
	for ; len(want) > 0; sector += uint64(i.perBlock) {
		tag := have[:size]
		// What is not recalculated yet is not checked.
		pending := i.sb.flags&sbRecalculating != 0 && sector >= i.sb.recalc
		discarded := i.on["allow_discards"] && bytes.Equal(tag, filler)
		if !pending && !discarded && !bytes.Equal(tag, want[:size]) {
			i.mismatches++
			i.a.Kernel().Log("integrity", "%s: Checksum failed at sector 0x%x", i.dev.bdev.diskName(), sector)
			return EILSEQ
		}
		have, want = have[size:], want[size:]
	}
	return nil
}

// WriteSectors writes the data and their tags.
func (i *integrity) WriteSectors(p []byte, sector uint64) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.aligned(p, sector) {
		return EIO
	}
	return i.runs(p, sector, uint64(len(p))/sectorSize, func(p []byte, sector, _ uint64) error {
		if err := i.dev.WriteSectors(p, i.dataSector(sector)); err != nil || i.mode == "R" {
			return err
		}
		return i.tags(sector, i.sums(p, sector), true)
	})
}
