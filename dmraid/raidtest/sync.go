// SPDX-License-Identifier: MIT

package raidtest

import "bytes"

// resyncWindow is RESYNC_BLOCK_SIZE: what raid1 and raid10 sync in a go.
const resyncWindow = 128 // sectors

// syncUnit is the sync_request method of the personalities: it syncs a piece
// at where the run is, and says how many sectors it went on.
func (s *set) syncUnit(r *run) uint64 {
	md := &s.md
	limited := !md.requested && !md.fullSync
	at := r.at
	if md.cur.level == 10 && r.action == actRecover {
		return s.recoverRaid10(r, limited)
	}
	must, n := s.bitmap.startSync(at, s.stillDegraded(r))
	n = min(n, r.max-at)
	if limited && !must {
		return n
	}
	v := view{geometry: &md.geo}
	switch md.cur.level {
	case 1:
		n = min(n, resyncWindow-at%resyncWindow)
		return s.syncCopies(v, r, at, n)
	case 10:
		chunk := uint64(md.geo.chunk)
		n = min(n, resyncWindow, chunk-at%chunk)
		return s.syncCopies(v, r, at, n)
	}
	if md.degraded >= maxDegraded(md.cur.level) && md.syncing {
		return r.max - at // nothing to compare with
	}
	n = min(n, pageSector-at%pageSector)
	s.syncBlock(v, r, at, n)
	return n
}

// stillDegraded says that legs stay out of sync whatever the run does, so that
// the bitmap must remember.
func (s *set) stillDegraded(r *run) bool {
	for i := range s.md.geo.disks {
		l := s.member(i)
		if l == nil || l.faulty {
			return true
		}
	}
	return false
}

// syncCopies makes the copies of a stretch equal, or compares them.
func (s *set) syncCopies(v view, r *run, at, n uint64) uint64 {
	var from *copyAt
	var good, others []copyAt
	for _, c := range s.copiesAt(v, at) {
		switch {
		case !c.l.writable():
		case r.action == actRecover && !c.l.inSync:
			others = append(others, c)
		case c.l.inSync:
			good = append(good, c)
		}
	}
	if r.action != actRecover && len(good) > 1 {
		others = good
	}
	if len(good) == 0 || len(others) == 0 {
		if v.level == 1 {
			return r.max - at
		}
		return n
	}
	p, q := make([]byte, n*sectorSize), make([]byte, n*sectorSize)
	var bad []copyAt
	for i := range good {
		if good[i].l.data.ReadSectors(p, v.offset(good[i].l)+good[i].sector) == nil {
			from = &good[i]
			break
		}
		bad = append(bad, good[i])
	}
	if from == nil {
		for _, c := range bad {
			s.fail(c.l)
		}
		s.md.intr = true
		return n
	}
	for _, c := range bad {
		s.rewrite(c.l, p, v.offset(c.l)+c.sector)
	}
	compare := s.md.requested || v.level == 10 && r.action != actRecover
	for _, c := range others {
		if c.l == from.l && c.sector == from.sector || c.l.faulty {
			continue
		}
		where := v.offset(c.l) + c.sector
		if compare {
			err := c.l.data.ReadSectors(q, where)
			if err == nil && bytes.Equal(p, q) {
				continue
			}
			if err == nil {
				s.md.mismatches += n
				if r.action == actCheck {
					continue
				}
			}
		}
		if c.l.data.WriteSectors(p, where) != nil {
			s.fail(c.l)
		}
	}
	return n
}

// recoverRaid10 copies a stretch of the legs that are to be recovered. The run
// counts in sectors of a leg.
func (s *set) recoverRaid10(r *run, limited bool) uint64 {
	g := &s.md.geo
	v := view{geometry: g}
	chunk := uint64(g.chunk)
	n := min(resyncWindow, chunk-r.at%chunk, r.max-r.at)
	for i := range g.disks {
		l := s.member(i)
		if !l.writable() || l.inSync {
			continue
		}
		at, ok := g.sectorAt(i, r.at)
		if !ok {
			continue
		}
		if must, _ := s.bitmap.startSync(at, true); limited && !must {
			continue
		}
		p := make([]byte, n*sectorSize)
		read := false
		for _, c := range s.copiesAt(v, at) {
			if c.l != l && c.l != nil && c.l.inSync && c.l.readable(c.sector, n) && c.l.data.ReadSectors(p, v.offset(c.l)+c.sector) == nil {
				read = true
				break
			}
		}
		if !read {
			s.md.intr = true
			return n
		}
		if l.data.WriteSectors(p, v.offset(l)+r.at) != nil {
			s.fail(l)
		}
	}
	return n
}

// syncBlock makes the parity of a stretch right, compares it, or works out
// what legs lack that are being recovered.
func (s *set) syncBlock(v view, r *run, at, n uint64) {
	b := s.newBlock(v, at, n)
	if s.complete(b) != nil {
		for _, l := range b.bad {
			s.fail(l)
		}
		s.md.intr = true
		return
	}
	p, q := b.parityOf()
	if r.action == actRecover {
		parts := make([][]byte, v.disks)
		copy(parts, b.legs)
		parts[b.stripe.p] = p
		if q != nil {
			parts[b.stripe.q] = q
		}
		for i := range v.disks {
			if l := s.member(i); l.writable() && !l.inSync {
				s.store(b, i, parts[i])
			}
		}
		s.correct(b)
		return
	}
	wrong := false
	for at, want := range map[int][]byte{b.stripe.p: p, b.stripe.q: q} {
		if at < 0 || !s.member(at).readable(b.sector, b.n) {
			continue
		}
		if b.legs[at] == nil && !s.load(b, at) {
			b.legs[at] = want
			continue
		}
		if bytes.Equal(b.legs[at], want) {
			continue
		}
		wrong = true
		if r.action != actCheck {
			s.store(b, at, want)
		}
	}
	if wrong {
		s.md.mismatches += n
	}
	s.correct(b)
}
