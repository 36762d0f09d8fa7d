// SPDX-License-Identifier: MIT

package dmraid

// The bits of raid10's layout word (setup_geo of raid10.c and
// raid10_format_to_md_layout of dm-raid.c). Bit 17 alone is a far set that md
// had wrong; dm-raid never wrote it.
const (
	raid10NearMask  = 0xff
	raid10FarShift  = 8
	raid10Offset    = 1 << 16
	raid10FarSets   = 1 << 18
	raid10KnownBits = raid10Offset | raid10FarSets | 0xffff
)

// raid10Layout is the layout word of a format.
func raid10Layout(format Format, copies int, nearSets bool) uint32 {
	if format != FormatFar && format != FormatOffset {
		return 1<<raid10FarShift | uint32(copies)
	}
	word := uint32(copies)<<raid10FarShift | 1
	if format == FormatOffset {
		word |= raid10Offset
	}
	if !nearSets {
		word |= raid10FarSets
	}
	return word
}

// raid10 fills in the form of a raid10: setup_geo and calc_sectors of
// raid10.c. dm-raid makes near copies or far ones, never both.
func (f form) raid10(g Geometry) (form, bool) {
	w := g.Layout
	f.near = int(w & raid10NearMask)
	f.far = int(w >> raid10FarShift & 0xff)
	copies := f.near * f.far
	if w&^raid10KnownBits != 0 || copies == 0 || copies > f.legs || f.near > 1 && f.far > 1 {
		return form{}, false
	}
	f.data = f.legs / copies
	if w&raid10FarSets != 0 {
		f.set = copies
	}
	onLeg := int64(g.LegSectors / g.Chunk)
	f.chunks = onLeg / int64(f.far) * int64(f.legs) / int64(f.near)
	f.rows = (f.chunks*int64(copies) + int64(f.legs) - 1) / int64(f.legs)
	f.stride = f.rows / int64(f.far)
	if w&raid10Offset != 0 {
		f.stride, f.step = 1, int64(f.far)
	}
	return f, true
}

func (f *form) copies() int { return f.near * f.far }

// copy is where copy n of a chunk of the array is. The far copies of one near
// copy follow each other, as in __raid10_find_phys of raid10.c.
func (f *form) copy(chunk int64, n int) (leg int, row int64) {
	if f.level == 1 {
		return n, 0
	}
	at := chunk*int64(f.near) + int64(n/f.far)
	leg, row = int(at%int64(f.legs)), at/int64(f.legs)*f.step
	n %= f.far
	row += int64(n) * f.stride
	start, size := f.farSet(leg)
	return start + (leg-start+n*f.near)%size, row
}

// farSet is the set of legs that the far copies of a leg stay in. What is left
// over when the legs are divided into sets belongs to the last one.
func (f *form) farSet(leg int) (start, size int) {
	last := (f.legs/f.set - 1) * f.set
	if leg >= last {
		return last, f.legs - last
	}
	return leg / f.set * f.set, f.set
}

// origin is the inverse of copy: the chunk of the array that a leg has in a
// row, and which copy it is; -1 when there is none.
func (f *form) origin(leg int, row int64) (chunk int64, n int) {
	if f.level == 1 {
		return 0, leg
	}
	far := 0
	if f.far > 1 {
		if f.step > 1 {
			far = int(row % f.step)
		} else {
			far = int(row / f.stride)
		}
		if far >= f.far {
			return -1, 0
		}
		start, size := f.farSet(leg)
		leg = start + ((leg-start-far*f.near)%size+size)%size
		row -= int64(far) * f.stride
	}
	at := row/f.step*int64(f.legs) + int64(leg)
	chunk = at / int64(f.near)
	if chunk >= f.chunks {
		return -1, 0
	}
	return chunk, int(at%int64(f.near))*f.far + far
}

// toleratesCopies looks at the chunks until the legs repeat.
func (f *form) toleratesCopies(gone *legSet) bool {
	for chunk := range min(f.chunks, int64(f.legs)) {
		left := false
		for n := range f.copies() {
			leg, _ := f.copy(chunk, n)
			left = left || !gone.has(leg)
		}
		if !left {
			return false
		}
	}
	return true
}
