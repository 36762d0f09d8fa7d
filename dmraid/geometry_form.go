// SPDX-License-Identifier: MIT

package dmraid

import "github.com/linuxblock/linuxblock"

const sectorSize = linuxblock.SectorSize

// form is one side of a geometry, ready to compute with. Offsets and lengths
// are bytes, a row is the number of a chunk on a leg.
//
// Raid1 is a form whose only chunk is the whole leg.
type form struct {
	level  int
	legs   int
	data   int // legs' worth of data in a row; raid10: rounded down
	parity int // legs of a row that hold parity

	chunk  int64
	offset int64 // of row 0 on the legs
	rows   int64 // on a leg
	chunks int64 // of the array

	layout parityLayout // raid 4, 5, 6; raid0 has none

	// Raid 1 and 10: struct geom of raid10.c.
	near, far int
	set       int   // legs of a far set
	stride    int64 // rows from one far copy to the next
	step      int64 // rows that a chunk of the first copy takes: far copies with offset, else 1
}

// form computes with a geometry that has no reshape. It reports false when
// there can't be such an array; see [Geometry.problem].
func (g Geometry) form() (form, bool) {
	if g.Legs < minLegsOf(g.Level) || g.Legs > MaxLegs ||
		g.LegSectors > maxArraySectors/Sectors(g.Legs) || g.DataOffset > maxArraySectors-g.LegSectors {
		return form{}, false
	}
	if g.Level != 1 && (g.Chunk < 8 || g.Chunk&(g.Chunk-1) != 0 || g.Chunk > 1<<31) {
		return form{}, false
	}
	f := form{
		level: g.Level, legs: g.Legs, data: g.Legs,
		chunk:  int64(g.Chunk) * sectorSize,
		offset: int64(g.DataOffset) * sectorSize,
		near:   1, far: 1, set: g.Legs, step: 1,
	}
	switch g.Level {
	case 0:
	case 1:
		f.data, f.near = 1, g.Legs
		f.chunk, f.rows, f.chunks = max(int64(g.LegSectors), 1)*sectorSize, 1, 1
		if g.LegSectors == 0 {
			f.rows, f.chunks = 0, 0
		}
		return f, true
	case 5, 6:
		var ok bool
		if f.layout, ok = parityLayouts[parityKey{g.Level, g.Layout}]; !ok {
			return form{}, false
		}
		f.parity = g.Level - 4
		f.data = g.Legs - f.parity
	case 10:
		return f.raid10(g)
	default:
		return form{}, false
	}
	f.rows = int64(g.LegSectors / g.Chunk)
	f.chunks = f.rows * int64(f.data)
	return f, true
}

// size is that of the array in bytes.
func (f *form) size() int64 { return f.chunks * f.chunk }

// mirrored reports whether chunks have copies, rather than rows parity.
func (f *form) mirrored() bool { return f.level == 1 || f.level == 10 }

// role is what a leg holds in a row.
func (f *form) role(leg int, row int64) Role {
	if row < 0 || row >= f.rows {
		return Role{}
	}
	if f.mirrored() {
		chunk, n := f.origin(leg, row)
		if chunk < 0 {
			return Role{}
		}
		return Role{Kind: RoleData, Sector: Sectors(chunk * f.chunk / sectorSize), Copy: n}
	}
	r := f.rotation(row)
	switch leg {
	case r.p:
		return Role{Kind: RoleP}
	case r.q:
		return Role{Kind: RoleQ}
	}
	i := r.index(leg)
	role := Role{Kind: RoleData, Index: i, Sector: Sectors((row*int64(f.data) + int64(i)) * f.chunk / sectorSize)}
	if r.q >= 0 {
		role.Power = r.power(leg)
	}
	return role
}

func (f *form) tolerates(gone *legSet) bool {
	if f.mirrored() {
		return f.toleratesCopies(gone)
	}
	n := 0
	for leg := range f.legs {
		if gone.has(leg) {
			n++
		}
	}
	return n <= f.parity
}

// mapping is a whole geometry, ready to compute with.
type mapping struct {
	old, now  form
	reshaping bool
	position  int64 // bytes
	backwards bool
}

func (g Geometry) mapping() (mapping, bool) {
	var m mapping
	var ok bool
	if m.old, ok = g.Old().form(); !ok {
		return m, false
	}
	r := g.Reshape
	if r.Legs == 0 {
		return m, r == Reshape{}
	}
	if m.now, ok = g.New().form(); !ok || g.Level < 5 {
		return m, false
	}
	m.reshaping, m.backwards = true, r.Backwards
	if r.Position > maxArraySectors {
		return m, false
	}
	m.position = int64(r.Position) * sectorSize
	return m, m.position <= max(m.old.size(), m.now.size())
}

// size is that of the array in bytes: raid5_size rounds to both chunk sizes
// and takes the smaller number of legs.
func (m *mapping) size() int64 {
	if !m.reshaping {
		return m.old.size()
	}
	return min(m.old.size(), m.now.size())
}

// at is the form that counts at an offset of the array, and whether it is that
// of the reshape.
func (m *mapping) at(off int64) (*form, bool) {
	if m.reshaping && (off < m.position) != m.backwards {
		return &m.now, true
	}
	return &m.old, false
}

// until is where the form that counts at off ends.
func (m *mapping) until(off int64) int64 {
	if m.reshaping && off < m.position {
		return min(m.position, m.size())
	}
	return m.size()
}

// legSet is a set of legs.
type legSet [(MaxLegs + 63) / 64]uint64

func (s *legSet) add(leg int)      { s[leg/64] |= 1 << (leg % 64) }
func (s *legSet) has(leg int) bool { return s[leg/64]>>(leg%64)&1 != 0 }
