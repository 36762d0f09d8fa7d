// SPDX-License-Identifier: MIT

package dmraid

import "fmt"

// Geometry is where the sectors of an array lie on its legs. It is a plain
// value that can be compared with ==. [Superblock.Geometry] and
// [Table.Geometry] make one.
//
// Its methods want a geometry that [Geometry.Check] accepts; those of another
// one answer as for an array of no sectors.
type Geometry struct {
	Level      int     // md's: 0, 1, 5, 6 or 10; raid4 is 5
	Layout     uint32  // as in the superblock
	Legs       int     // as many as the layout uses, missing ones with them
	Chunk      Sectors // 0 with raid1
	LegSectors Sectors // used of each leg
	DataOffset Sectors // where they start on each leg

	// Reshape is the change that is under way; its zero value is none. While
	// there is one, Layout, Legs, Chunk and DataOffset are those that the
	// array comes from.
	Reshape Reshape
}

// Reshape is a change of layout, chunk size or number of legs that has got as
// far as Position. The array has old data on one side of it and new data on
// the other, each with its own layout (ahead_of_reshape in raid5.c,
// raid10_find_phys in raid10.c).
type Reshape struct {
	Layout     uint32
	Legs       int // 0: there is no reshape
	Chunk      Sectors
	DataOffset Sectors
	// Position is a sector of the array: what is before it has the new
	// layout, or what is from it on when it goes Backwards.
	Position  Sectors
	Backwards bool
}

// Place is a sector of a leg's data device, its data offset counted.
type Place struct {
	Leg    int
	Sector Sectors
}

// Location is where a sector of an array lies.
type Location struct {
	// Place of the data; with raid 1 and 10 that of the first copy
	// ([Geometry.Copies] are all). Leg is -1 when the array has no such
	// sector.
	Place
	Run    Sectors // how many from here on follow each other on the leg: to the end of the chunk
	Stripe int64   // number of the row of chunks; see [Geometry.Stripe]
	P, Q   int     // legs with the stripe's parity; -1 for none
	// Reshaped says that a reshape has been here: the geometry that counts
	// is that of [Geometry.New], not [Geometry.Old].
	Reshaped bool
}

// RoleKind is what a leg holds in a stripe.
type RoleKind uint8

// What a leg can hold.
const (
	RoleUnused RoleKind = iota // nothing: past the end of the array
	RoleData
	RoleP // the XOR of the stripe's data
	RoleQ // raid6: the Reed-Solomon syndrome
)

// String is "data", "P", "Q" or "unused".
func (k RoleKind) String() string {
	switch k {
	case RoleUnused:
		return "unused"
	case RoleData:
		return "data"
	case RoleP:
		return "P"
	case RoleQ:
		return "Q"
	}
	return fmt.Sprintf("role %d", uint8(k))
}

// Role is what one chunk of a leg is for.
type Role struct {
	Kind RoleKind
	// Sector of the array that the chunk begins with. Data only.
	Sector Sectors
	// Index of the data in its stripe, in the order of the array. 0 with
	// raid 1 and 10.
	Index int
	// Copy is 0 for the first copy. Raid 1 and 10 only.
	Copy int
	// Power is what the generator of the field is raised to in Q's sum for
	// this data: Q is the sum of 2^Power times the data. Raid6 only.
	Power int
}

// Stripe is a row of chunks: those that lie at one offset on all legs. An
// array without chunks, raid1, is one stripe.
type Stripe struct {
	Number  int64
	Sector  Sectors // of the leg's data devices, data offset counted
	Sectors Sectors // of each leg: a chunk
	P, Q    int     // legs with parity; -1 for none
	Roles   []Role  // one for each leg
}

// maxArraySectors keeps all offsets in bytes inside an int64.
const maxArraySectors Sectors = 1 << 54

// Check tells whether there can be such an array.
func (g Geometry) Check() error {
	detail := ""
	old, ok := g.Old().form()
	switch {
	case !ok:
		detail = g.Old().problem()
	case g.Reshape.Legs == 0:
		if g.Reshape != (Reshape{}) {
			detail = "a reshape to no legs"
		}
	default:
		now, ok := g.New().form()
		switch {
		case !ok:
			detail = "reshape: " + g.New().problem()
		case g.Level != 5 && g.Level != 6 && g.Level != 10:
			detail = fmt.Sprintf("raid level %d has no reshape", g.Level)
		case g.Reshape.Position > Sectors(max(old.size(), now.size())/sectorSize):
			detail = "the reshape is past the end of the array"
		}
	}
	if detail == "" {
		return nil
	}
	return &Error{Op: "geometry", Detail: detail, Err: ErrTable}
}

// problem is why there is no form of g.
func (g Geometry) problem() string {
	switch g.Level {
	case 0, 1, 10:
	case 5, 6:
		if _, ok := parityLayouts[parityKey{g.Level, g.Layout}]; !ok {
			return fmt.Sprintf("raid level %d has no layout %d", g.Level, g.Layout)
		}
	default:
		return fmt.Sprintf("raid level %d is not known", g.Level)
	}
	switch {
	case g.Legs < minLegsOf(g.Level):
		return fmt.Sprintf("%d legs are too few for raid level %d", g.Legs, g.Level)
	case g.Legs > MaxLegs:
		return fmt.Sprintf("%d legs are more than %d", g.Legs, MaxLegs)
	case g.Level != 1 && (g.Chunk < 8 || g.Chunk&(g.Chunk-1) != 0 || g.Chunk > 1<<31):
		return fmt.Sprintf("chunk of %v is not a power of 2 from 8 on", g.Chunk)
	case g.LegSectors > maxArraySectors/Sectors(g.Legs) || g.DataOffset > maxArraySectors-g.LegSectors:
		return fmt.Sprintf("legs of %v from %v on are too large", g.LegSectors, g.DataOffset)
	}
	return fmt.Sprintf("raid10 layout %#x does not suit %d legs", g.Layout, g.Legs)
}

func minLegsOf(level int) int {
	switch level {
	case 5, 10:
		return 2
	case 6:
		return 4
	}
	return 1
}

// Old is the geometry without a reshape: as it was before.
func (g Geometry) Old() Geometry {
	g.Reshape = Reshape{}
	return g
}

// New is the geometry that a reshape leads to; without one, g.
func (g Geometry) New() Geometry {
	if r := g.Reshape; r.Legs != 0 {
		g.Layout, g.Legs, g.Chunk, g.DataOffset = r.Layout, r.Legs, r.Chunk, r.DataOffset
	}
	return g.Old()
}

// Positions is how many legs the array has: in a reshape, the larger number.
func (g Geometry) Positions() int { return max(g.Legs, g.Reshape.Legs) }

// DataLegs is how many legs' worth of data a stripe has; with raid10 that can
// be a fraction, and it is rounded down.
func (g Geometry) DataLegs() int {
	if f, ok := g.Old().form(); ok {
		return f.data
	}
	return 0
}

// ArraySectors is the size of the array: what md makes of the size of the
// legs, which is whole chunks (raid5_size, raid10_size, raid0_size). In a
// reshape it is that of the smaller side. The device can be larger, for its
// table gives it any length; the kernel fails what lies beyond.
func (g Geometry) ArraySectors() Sectors {
	m, ok := g.mapping()
	if !ok {
		return 0
	}
	return Sectors(m.size() / sectorSize)
}

// Map finds a sector of the array. It allocates nothing.
func (g Geometry) Map(sector Sectors) Location {
	none := Location{Place: Place{Leg: -1}, P: -1, Q: -1}
	m, ok := g.mapping()
	if !ok || sector >= Sectors(m.size()/sectorSize) {
		return none
	}
	f, reshaped := m.at(int64(sector) * sectorSize)
	chunk, in := int64(sector)*sectorSize/f.chunk, int64(sector)*sectorSize%f.chunk
	l := Location{P: -1, Q: -1, Reshaped: reshaped, Run: Sectors((f.chunk - in) / sectorSize)}
	l.Run = min(l.Run, Sectors(m.until(int64(sector)*sectorSize)/sectorSize)-sector)
	if f.mirrored() {
		l.Leg, l.Stripe = f.copy(chunk, 0)
	} else {
		l.Stripe = chunk / int64(f.data)
		r := f.rotation(l.Stripe)
		l.Leg, l.P, l.Q = r.leg(int(chunk%int64(f.data))), r.p, r.q
	}
	l.Sector = Sectors((f.offset + l.Stripe*f.chunk + in) / sectorSize)
	return l
}

// Copies are all places that a sector of the array has, the first copy first;
// nil when there is no such sector. Only with raid 1 and 10 there is more
// than one.
func (g Geometry) Copies(sector Sectors) []Place {
	l := g.Map(sector)
	if l.Leg < 0 {
		return nil
	}
	m, _ := g.mapping()
	f, _ := m.at(int64(sector) * sectorSize)
	if !f.mirrored() {
		return []Place{l.Place}
	}
	chunk, in := int64(sector)*sectorSize/f.chunk, int64(sector)*sectorSize%f.chunk
	list := make([]Place, f.copies())
	for i := range list {
		leg, row := f.copy(chunk, i)
		list[i] = Place{Leg: leg, Sector: Sectors((f.offset + row*f.chunk + in) / sectorSize)}
	}
	return list
}

// Find is the inverse of [Geometry.Map]: what the chunk is for that a sector
// of a leg's data device is in, and with data, which sector of the array it
// is: Role.Sector is that of the sector itself here, not of its chunk's begin.
// In a reshape it looks at the side that is not yet reshaped; ask g.New() for
// the other.
func (g Geometry) Find(p Place) Role {
	f, ok := g.Old().form()
	if !ok || p.Leg < 0 || p.Leg >= g.Legs || p.Sector < g.DataOffset || p.Sector-g.DataOffset >= g.LegSectors {
		return Role{}
	}
	off := int64(p.Sector-g.DataOffset) * sectorSize
	r := f.role(p.Leg, off/f.chunk)
	if r.Kind == RoleData {
		r.Sector += Sectors(off % f.chunk / sectorSize)
	}
	return r
}

// Stripes is how many stripes there are. In a reshape it counts those of the
// old side; ask g.New() for the other.
func (g Geometry) Stripes() int64 {
	f, ok := g.Old().form()
	if !ok {
		return 0
	}
	return f.rows
}

// Stripe tells what each leg holds in stripe n; it is empty when there is none
// of that number. In a reshape it is one of the old side; ask g.New() for the
// other.
func (g Geometry) Stripe(n int64) Stripe {
	f, ok := g.Old().form()
	if !ok || n < 0 || n >= f.rows {
		return Stripe{P: -1, Q: -1}
	}
	s := Stripe{
		Number:  n,
		Sector:  Sectors((f.offset + n*f.chunk) / sectorSize),
		Sectors: Sectors(f.chunk / sectorSize),
		P:       -1, Q: -1,
		Roles: make([]Role, f.legs),
	}
	for leg := range s.Roles {
		s.Roles[leg] = f.role(leg, n)
		switch s.Roles[leg].Kind {
		case RoleP:
			s.P = leg
		case RoleQ:
			s.Q = leg
		}
	}
	return s
}

// Tolerates reports whether all data can be had without these legs: raid 4 and
// 5 can do without one, raid6 without two, raid 1 and 10 while there is a copy
// of every chunk. With raid10 the kernel can be stricter: it wants a leg of
// each of its groups whatever lies there (_enough in raid10.c, and
// rs_is_recoverable of dm-raid.c).
func (g Geometry) Tolerates(missing ...int) bool {
	m, ok := g.mapping()
	if !ok {
		return false
	}
	var gone legSet
	for _, leg := range missing {
		if leg < 0 || leg >= g.Positions() {
			return false
		}
		gone.add(leg)
	}
	return m.old.tolerates(&gone) && (!m.reshaping || m.now.tolerates(&gone))
}
