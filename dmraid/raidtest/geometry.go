// SPDX-License-Identifier: MIT

package raidtest

// geometry says where the sectors of an array lie on its legs.
type geometry struct {
	shape
	disks      int
	near, far  int // copies of raid10
	offset     bool
	setSize    int // legs among which far copies stay
	stride     uint64
	devSectors uint64
	valid      bool
}

func newGeometry(c shape, disks int, devSectors uint64) geometry {
	g := geometry{shape: c, disks: disks, devSectors: devSectors, near: 1, far: 1, valid: true}
	if c.level != 10 {
		return g
	}
	g.near, g.far, g.offset = nearCopies(c.layout), farCopies(c.layout), isOffset(c.layout)
	g.valid = c.layout>>19 == 0 && g.near > 0 && g.far > 0 && c.chunk >= pageSector && c.chunk&(c.chunk-1) == 0
	switch c.layout >> 17 {
	case 0:
		g.setSize = disks
	case 1:
		g.setSize = disks / max(g.far, 1)
	case 2:
		g.setSize = g.far * g.near
	default:
		g.valid = false
	}
	if !g.valid || g.setSize == 0 {
		g.valid = false
		return g
	}
	// Chunks of the array, and with all copies the chunks of a leg.
	chunk := uint64(c.chunk)
	n := devSectors / chunk / uint64(g.far) * uint64(disks) / uint64(g.near)
	perLeg := (n*uint64(g.copies()) + uint64(disks) - 1) / uint64(disks)
	g.devSectors = perLeg * chunk
	g.stride = chunk
	if !g.offset {
		g.stride = perLeg / uint64(g.far) * chunk
	}
	return g
}

func (g *geometry) copies() int { return g.near * g.far }

// dataDisks is the number of legs' worth of data in a stripe.
func (g *geometry) dataDisks() int { return g.disks - maxDegraded(g.level) }

// arraySectors is the size of a raid10.
func (g *geometry) arraySectors() uint64 {
	chunk := uint64(g.chunk)
	return g.devSectors / chunk / uint64(g.far) * uint64(g.disks) / uint64(g.near) * chunk
}

// place is a sector on the leg of a position.
type place struct {
	disk   int
	sector uint64
}

// places are where the copies of a sector lie, for the levels without parity.
func (g *geometry) places(sector uint64) []place {
	switch g.level {
	case 0:
		chunk := uint64(g.chunk)
		c := sector / chunk
		return []place{{int(c % uint64(g.disks)), c/uint64(g.disks)*chunk + sector%chunk}}
	case 1:
		list := make([]place, g.disks)
		for i := range list {
			list[i] = place{i, sector}
		}
		return list
	}
	chunk := uint64(g.chunk)
	slot := sector / chunk * uint64(g.near)
	row, disk := slot/uint64(g.disks), int(slot%uint64(g.disks))
	var list []place
	for range g.near {
		at := row
		if g.offset {
			at *= uint64(g.far)
		}
		p := place{disk, at*chunk + sector%chunk}
		list = append(list, p)
		for range g.far - 1 {
			p = place{g.shift(p.disk, g.near), p.sector + g.stride}
			list = append(list, p)
		}
		if disk++; disk == g.disks {
			disk = 0
			row++
		}
	}
	return list
}

// shift moves a position by n, around within its set of legs. The last set has
// the legs that are left over too.
func (g *geometry) shift(disk, n int) int {
	start := disk / g.setSize * g.setSize
	size := g.setSize
	if last := (g.disks/g.setSize - 1) * g.setSize; g.disks%g.setSize != 0 && disk >= last {
		start, size = last, g.disks-last
	}
	return start + ((disk-start+n)%size+size)%size
}

// sectorAt is the sector of a raid10 that lies in a sector of a leg; ok is
// false where nothing of the array lies.
func (g *geometry) sectorAt(disk int, sector uint64) (at uint64, ok bool) {
	chunk := uint64(g.chunk)
	row, copyNr := sector/chunk, 0
	if g.offset {
		row, copyNr = row/uint64(g.far), int(row%uint64(g.far))
	} else if g.far > 1 {
		copyNr = int(sector / g.stride)
		row = sector % g.stride / chunk
	}
	if copyNr >= g.far {
		return 0, false
	}
	disk = g.shift(disk, -copyNr*g.near)
	c := (row*uint64(g.disks) + uint64(disk)) / uint64(g.near)
	at = c*chunk + sector%chunk
	return at, at < g.arraySectors()
}

// stripe is a row of chunks of a parity level: the positions of the data in
// its order, and of P and Q (-1 without).
type stripe struct {
	data []int
	p, q int
}

func (g *geometry) stripe(row uint64) stripe {
	n := g.disks
	turn := func(by int) int { return int(row % uint64(by)) }
	s := stripe{q: -1}
	behind := func(ring int) { // data goes on behind P (and Q), around a ring
		for i := range g.dataDisks() {
			s.data = append(s.data, (max(s.p, s.q)+1+i)%ring)
		}
	}
	between := func() { // data takes what is free, in order
		for i := range n {
			if i != s.p && i != s.q {
				s.data = append(s.data, i)
			}
		}
	}
	layout := g.layout
	if g.level == 6 {
		switch {
		case layout == parityN:
			s.p, s.q = n-2, n-1
			between()
			return s
		case layout >= layoutLA6:
			// raid5 over all legs but the last, which has Q.
			in := geometry{shape: shape{5, layout - layoutLA6, g.chunk}, disks: n - 1}
			s = in.stripe(row)
			s.q = n - 1
			return s
		case layout == 8:
			s.p = turn(n)
		case layout == 9:
			s.p = n - 1 - int((row+1)%uint64(n))
		case layout == 10:
			s.p = n - 1 - turn(n)
			s.q = (s.p + n - 1) % n
			for i := range n - 2 {
				s.data = append(s.data, (s.p+1+i)%n)
			}
			return s
		}
		s.q = (s.p + 1) % n
		between()
		return s
	}
	switch layout {
	case 0, 2:
		s.p = n - 1 - turn(n)
	case 1, 3:
		s.p = turn(n)
	case 4:
		s.p = 0
	default:
		s.p = n - 1
	}
	if layout == 2 || layout == 3 {
		behind(n)
	} else {
		between()
	}
	return s
}

// exponents are the powers of 2 by which the data of a stripe go into Q, in
// the order of stripe.data. The rotating layouts of raid6 count all positions
// from the first leg on (ddf_layout of raid5.c); the others count the data
// alone, from behind Q on.
func (g *geometry) exponents(s stripe) []int {
	list := make([]int, len(s.data))
	if g.layout >= 8 && g.layout <= 10 {
		copy(list, s.data)
		return list
	}
	n := 0
	for i := range g.disks {
		at := (s.q + 1 + i) % g.disks
		for k, d := range s.data {
			if d == at {
				list[k] = n
				n++
			}
		}
	}
	return list
}
