// SPDX-License-Identifier: MIT

package raidtest

import (
	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// viewAt is how a sector of the array lies now, and up to where that holds.
// During a reshape it is where the reshape has been, or has not.
func (s *set) viewAt(sector uint64) (v view, end uint64) {
	md := &s.md
	if md.reshape == maxSector {
		return view{geometry: &md.geo}, maxSector
	}
	was, will := view{geometry: &md.prev}, view{geometry: &md.geo, next: true}
	if md.backwards {
		was, will = will, was
	}
	if sector < md.reshape {
		return will, md.reshape
	}
	return was, maxSector
}

// MaxIO splits I/O at chunks.
func (s *set) MaxIO() uint64 {
	if s.args.chunk > 0 {
		return uint64(s.args.chunk)
	}
	if s.asked > 0 {
		return s.asked
	}
	return 1 << 20
}

// each calls f for stretches within a chunk.
func (s *set) each(p []byte, sector uint64, f func(v view, p []byte, sector, n uint64) error) error {
	defer s.thread()
	// The kernel sends I/O behind the end of an array that a reshape is to
	// make larger round and round until it is there; a test had better hear
	// of it.
	if sector+uint64(len(p)/sectorSize) > s.md.arraySectors {
		return dmtest.EIO
	}
	for len(p) > 0 {
		v, end := s.viewAt(sector)
		n := min(uint64(len(p)/sectorSize), end-sector)
		if chunk := uint64(v.chunk); chunk > 0 {
			n = min(n, chunk-sector%chunk)
		}
		if err := f(v, p[:n*sectorSize], sector, n); err != nil {
			return err
		}
		p, sector = p[n*sectorSize:], sector+n
	}
	return nil
}

// ReadSectors reads from the array.
func (s *set) ReadSectors(p []byte, sector uint64) error {
	s.lock()
	defer s.unlock()
	return s.each(p, sector, s.read)
}

func (s *set) read(v view, p []byte, sector, n uint64) error {
	switch v.level {
	case 0, 1, 10:
		return s.readCopy(v, p, sector, n)
	}
	return s.readParity(v, p, v.piece(sector, n))
}

// copyAt is a copy of a stretch of the array.
type copyAt struct {
	l      *leg // nil: nobody is there
	sector uint64
}

// copiesAt are the copies of a stretch, in the order of their positions for
// raid1. Those that should rather not be read come last.
func (s *set) copiesAt(v view, sector uint64) []copyAt {
	var list, last []copyAt
	for _, p := range v.places(sector) {
		c := copyAt{s.member(p.disk), p.sector}
		if c.l != nil && c.l.writeMostly {
			last = append(last, c)
		} else {
			list = append(list, c)
		}
	}
	return append(list, last...)
}

func (s *set) readCopy(v view, p []byte, sector, n uint64) error {
	var bad []copyAt
	for _, c := range s.copiesAt(v, sector) {
		if !c.l.readable(c.sector, n) {
			continue
		}
		if c.l.data.ReadSectors(p, v.offset(c.l)+c.sector) != nil {
			bad = append(bad, c)
			continue
		}
		for _, b := range bad {
			s.rewrite(b.l, p, v.offset(b.l)+b.sector)
		}
		return nil
	}
	for _, b := range bad {
		s.fail(b.l)
	}
	return dmtest.EIO
}

// WriteSectors writes to the array.
func (s *set) WriteSectors(p []byte, sector uint64) error {
	s.lock()
	defer s.unlock()
	defer s.startTimer()
	s.writeStart()
	return s.each(p, sector, s.write)
}

func (s *set) write(v view, p []byte, sector, n uint64) error {
	switch v.level {
	case 0, 1, 10:
		return s.writeCopies(v, p, sector, n)
	}
	c := v.piece(sector, n)
	s.bitmap.startWrite(c.leg, n)
	return s.writeParity(v, p, c)
}

func (s *set) writeCopies(v view, p []byte, sector, n uint64) error {
	s.bitmap.startWrite(sector, n)
	wrote, all := false, true
	for _, c := range s.copiesAt(v, sector) {
		if !c.l.writable() {
			all = false
			continue
		}
		err := c.l.data.WriteSectors(p, v.offset(c.l)+c.sector)
		if err != nil {
			s.fail(c.l)
			all = false
			continue
		}
		// What is written to a leg that is being recovered does not count.
		wrote = wrote || c.l.readable(c.sector, n)
	}
	s.bitmap.endWrite(sector, n, all)
	if !wrote {
		return dmtest.EIO
	}
	return nil
}
