// SPDX-License-Identifier: MIT

package dmraid

import (
	"fmt"
	"slices"
)

const textRun = "Failed to run raid array"

// notRun is the error of a personality that doesn't start: md_run's.
func notRun(io bool, sentinel error, format string, args ...any) error {
	code := einval
	if io {
		code = eio
	}
	return refuseState(code, sentinel, textRun, fmt.Sprintf(format, args...))
}

// run is md_run: the personality starts, and then the bitmap is made or its
// head is read.
func (a *assembly) run() error {
	a.total = a.devSectors
	var err error
	switch a.level {
	case 0:
		err = a.run0()
	case 1:
		err = a.run1()
	case 10:
		err = a.run10()
	default:
		err = a.run456()
	}
	if err != nil || !a.hasBitmap || a.level == 0 {
		return err
	}
	return a.openBitmap()
}

// at is the leg that md has in a position: the table's legs can be fewer or
// in another order.
func (a *assembly) at(position int) *assemblyLeg {
	for i := range a.legs {
		if l := &a.legs[i]; l.listed && l.position == position {
			return l
		}
	}
	return nil
}

// countDegraded counts the positions that don't work. There can be far more of
// them than legs: a superblock says how many.
func (a *assembly) countDegraded(disks int) int {
	return disks - a.count(disks, func(l *assemblyLeg) bool { return l.inSync && !l.faulty })
}

// count counts the positions below disks whose leg is as asked.
func (a *assembly) count(disks int, is func(*assemblyLeg) bool) int {
	n := 0
	for i := range min(disks, len(a.legs)) {
		if l := a.at(i); l != nil && is(l) {
			n++
		}
	}
	return n
}

// run0 is raid0_run: every position must be there.
func (a *assembly) run0() error {
	n := 0
	for i := range a.legs {
		if a.legs[i].listed {
			n++
		}
	}
	if n != a.disks {
		return notRun(false, ErrDegraded, "too few disks (%d of %d)", n, a.disks)
	}
	return nil
}

// run1 is raid1_run.
func (a *assembly) run1() error {
	if a.reshaping() {
		return notRun(true, ErrState, "reshape_position set but not supported")
	}
	a.degraded = a.countDegraded(a.disks)
	switch a.disks - a.degraded {
	case 0:
		return notRun(false, ErrDegraded, "no leg is in sync")
	case 1:
		a.recovery = MaxSector // there is nothing to compare it with
	}
	return nil
}

// run456 is raid5_run, for raid4, 5 and 6.
func (a *assembly) run456() error {
	mostLost := 1
	if a.level == 6 {
		mostLost = 2
	}
	switch {
	case a.level == 6 && a.disks < 4:
		return notRun(false, ErrTable, "not enough configured devices (%d, minimum 4)", a.disks)
	case a.newChunk < 8 || a.newChunk&(a.newChunk-1) != 0:
		return notRun(false, ErrTable, "invalid chunk size %d", a.newChunk.Bytes())
	}
	previous := a.disks
	if a.reshaping() {
		if err := a.continue456(mostLost); err != nil {
			return err
		}
		previous -= a.delta
	}
	parity := 0 // legs that are not in sync, but only hold parity
	for i := range min(max(a.disks, previous), len(a.legs)) {
		if l := a.at(i); l != nil && !l.inSync && onlyParity(i, a.layout, previous, mostLost) {
			parity++
		}
	}
	a.degraded = a.countDegraded(previous)
	if previous != a.disks {
		a.degraded = a.degraded456(previous)
	}
	if a.degraded > mostLost {
		return notRun(true, ErrDegraded, "not enough operational devices (%d/%d failed)", a.degraded, a.disks)
	}
	a.devSectors &^= a.chunk - 1
	a.total = a.devSectors
	if a.degraded > parity && a.recovery != MaxSector {
		return notRun(true, ErrState, "cannot start dirty degraded array.")
	}
	a.arraySectors = Sectors(min(a.disks, previous)-mostLost) * (a.devSectors &^ (max(a.chunk, a.newChunk) - 1))
	return nil
}

// continue456 is the part of raid5_run that checks whether a reshape can go
// on where it stopped.
func (a *assembly) continue456(mostLost int) error {
	chunk := max(a.chunk, a.newChunk)
	data, oldData := a.disks-mostLost, a.disks-a.delta-mostLost
	switch {
	case a.table.JournalDev != "":
		return notRun(false, ErrState, "don't support reshape with journal - aborting.")
	case a.newLevel != a.level:
		return notRun(false, ErrState, "unsupported reshape required - aborting.")
	case data <= 0 || oldData <= 0 || a.reshapePosition%(chunk*Sectors(data)) != 0:
		return notRun(false, ErrState, "reshape_position not on a stripe boundary")
	}
	to := a.reshapePosition / (chunk * Sectors(data)) * chunk
	from := a.reshapePosition / (chunk * Sectors(oldData)) * chunk
	room := a.offsetDiff()
	switch {
	case a.delta == 0:
		// In place is only allowed read-only, which a new raid set is.
	case a.backwards && int64(to)+room <= int64(from),
		!a.backwards && int64(to) >= int64(from)-room:
		return notRun(false, ErrState, "reshape_position too early for auto-recovery - aborting.")
	}
	return nil
}

// offsetDiff is how far the data of a reshape moves: the least of all legs.
func (a *assembly) offsetDiff() int64 {
	first, least := true, int64(0)
	for i := range a.legs {
		l := &a.legs[i]
		if !l.listed || l.position < 0 {
			continue
		}
		diff := int64(l.newDataOffset) - int64(l.dataOffset)
		if first || a.backwards && diff < least || !a.backwards && diff > least {
			first, least = false, diff
		}
	}
	return least
}

// degraded456 is raid5_calc_degraded while the number of legs changes: a leg
// that is not in sync is missing on one side of the position only.
func (a *assembly) degraded456(previous int) int {
	count := func(disks int, alive bool) int {
		return disks - a.count(disks, func(l *assemblyLeg) bool { return !l.faulty && (l.inSync || alive) })
	}
	return max(count(previous, a.disks < previous), count(a.disks, a.disks > previous))
}

// onlyParity is only_parity: whether a leg holds nothing but parity.
func onlyParity(position int, layout uint32, disks, mostLost int) bool {
	switch {
	case layout == layoutParity0:
		return position < mostLost
	case layout == layoutParityN:
		return position >= disks-mostLost
	case layout >= layoutLeftAsymmetric6 && layout <= layoutRightSymmetric6:
		return position == disks-1
	}
	return false
}

// run10 is raid10_run.
func (a *assembly) run10() error {
	near, far := raid10Near(a.newLayout), raid10Far(a.newLayout)
	copies := near * far
	switch {
	case a.newLayout>>19 == 0 && (a.newChunk < 8 || a.newChunk&(a.newChunk-1) != 0):
		return notRun(false, ErrTable, "chunk size must be at least PAGE_SIZE(4096) and be a power of 2.")
	case a.newLayout>>19 != 0 || copies < 2 || copies > a.disks || a.newLayout>>17 > 2:
		return notRun(false, ErrTable, "unsupported raid10 layout: 0x%8x", a.newLayout)
	}
	if !enough10(near, copies, a.disks, func(i int) bool {
		l := a.at(i)
		return l != nil && l.inSync && !l.faulty
	}) {
		return notRun(true, ErrDegraded, "not enough operational mirrors.")
	}
	a.degraded = a.countDegraded(a.disks)
	chunks := a.devSectors / a.newChunk / Sectors(far) * Sectors(a.disks) / Sectors(near)
	perLeg := (chunks*Sectors(copies) + Sectors(a.disks) - 1) / Sectors(a.disks)
	a.devSectors = perLeg * a.newChunk
	a.arraySectors = a.devSectors / a.newChunk / Sectors(far) * Sectors(a.disks) / Sectors(near) * a.newChunk
	a.total = a.arraySectors
	return nil
}

// enough10 is _enough in raid10.c: each run of copies needs a leg that works.
func enough10(near, copies, disks int, works func(position int) bool) bool {
	for first, done := 0, false; !done; done = first == 0 {
		any := false
		for i := range copies {
			if any = works((first + i) % disks); any {
				break
			}
		}
		if !any {
			return false
		}
		first = (first + near) % disks
	}
	return true
}

// openBitmap is md_bitmap_create.
func (a *assembly) openBitmap() error {
	if a.firstUse {
		a.firstUse, a.bitmap = false, BitmapNew
		return nil
	}
	a.bitmap = BitmapLoaded
	for i := range a.legs {
		// The first leg that is in sync has the bitmap that counts
		// (read_sb_page).
		l := &a.legs[i]
		if !l.hasPage() || !l.inSync || l.faulty || l.bitmap == nil {
			continue
		}
		why := l.bitmap.refused()
		if l.bitmap.Version == 0 {
			why = "bad magic"
		}
		if why == "" && l.bitmap.UUID != [16]byte{} {
			return notRun(false, ErrCorrupt, "bitmap superblock UUID mismatch")
		}
		if why != "" {
			return notRun(false, ErrCorrupt, "invalid bitmap file superblock: %s", why)
		}
		if l.bitmap.Events < a.events || l.bitmap.State&BitmapStale != 0 {
			a.bitmap = BitmapOld
		}
		return nil
	}
	return nil
}

// checkReshape is the early check of raid_ctr: rs_check_reshape, and the
// personality's.
func (a *assembly) checkReshape() error {
	if !a.reshape {
		return nil
	}
	refused := func(text string) error { return refuseState(eperm, ErrState, text, "") }
	switch {
	case a.degraded > 0:
		return refused("Can't reshape degraded raid set")
	case a.recovering():
		return refused("Convert request on recovering raid set prohibited")
	case a.reshaping():
		return refused("raid set already reshaping!")
	}
	a.restoreWanted()
	if a.level == 1 {
		return nil // it has no start_reshape, and is not checked before the resume
	}
	if !a.personalityReshapes() {
		return refuseState(einval, ErrTable, "Reshape check failed", "")
	}
	return nil
}

// personalityReshapes is raid5_check_reshape, raid6_check_reshape and
// raid10_check_reshape, as far as they look at more than memory.
func (a *assembly) personalityReshapes() bool {
	if a.newChunk < 8 || a.newChunk&(a.newChunk-1) != 0 || a.arraySectors&(a.newChunk-1) != 0 {
		return false
	}
	if a.level == 10 {
		near, far := raid10Near(a.layout), raid10Far(a.layout)
		newNear, newFar := raid10Near(a.newLayout), raid10Far(a.newLayout)
		return !(far != 1 && a.layout&raid10Offset == 0) && newNear*newFar == near*far &&
			!(newFar > 1 && a.newLayout&raid10Offset == 0)
	}
	least := 2
	if a.level == 6 {
		least = 4
	}
	return a.delta >= 0 || a.disks+a.delta >= least
}

// resume is raid_preresume and raid_resume, and what md_check_recovery then
// decides to do.
func (a *assembly) resume() {
	// A journal has its start written to the superblocks.
	if a.level != 0 && (a.kernel.alwaysWrites() || a.table.JournalDev != "") && slices.ContainsFunc(a.legs, func(l assemblyLeg) bool { return l.hasPage() }) {
		a.writes = true
	}
	if a.grow {
		a.devSectors, a.arraySectors = a.wantDev, a.wantArray
		for i := range a.legs {
			a.legs[i].sectors = a.wantDev
		}
		if a.recovery != 0 && a.recovery != MaxSector {
			a.total = a.devSectors
		}
	}
	if a.reshape {
		a.startReshape()
	}
	waiting := MaxSector // how far the legs are rebuilt that need it
	spares := false
	for i := range a.legs {
		l := &a.legs[i]
		if l.spare = l.listed && l.position >= a.disks; l.spare {
			continue // remove_and_add_spares finds no place for it
		}
		if l.listed && l.position >= 0 && !l.inSync && !l.faulty {
			spares, waiting = true, min(waiting, l.recoveryOffset)
		}
	}
	switch {
	case a.level == 0:
		a.start = a.total
	case a.reshaping():
		a.action, a.start = ActionReshape, a.reshapePosition
	case spares && !(a.recovery != MaxSector && a.kernel.resyncsFirst()):
		a.action, a.start = ActionRecover, waiting
	case a.recovery == 0:
		a.action = ActionResync
	case a.recovery != MaxSector:
		// The resume asks for the rest by hand, so it reads "repair".
		a.action, a.start = ActionRepair, a.recovery
	default:
		a.start = a.total
	}
}

// startReshape is rs_start_reshape in the first resume: the number of legs
// changes at once. The reshape itself waits until the table is loaded again.
func (a *assembly) startReshape() {
	a.delta = a.table.DeltaDisks
	previous := a.disks
	if a.delta != 0 {
		a.newLayout = a.layout // both at once is not possible
	}
	a.backwards = a.delta < 0 || a.delta == 0 && a.legs[0].dataOffset == 0
	space := a.reshapeSpace()
	for i := range a.legs {
		l := &a.legs[i]
		if i >= previous && a.delta > 0 {
			l.position, l.saved, l.sectors = i, -1, a.devSectors
			l.inSync, l.recoveryOffset = a.level != 1, MaxSector
			if a.level == 1 {
				l.recoveryOffset = 0 // they are copied to, not reshaped onto
			}
		}
		if !a.backwards {
			l.sectors += space
		}
	}
	a.disks += a.delta
	if a.level == 1 {
		return
	}
	a.reshapePosition = 0
	if a.backwards {
		a.reshapePosition = a.arraySectors
	}
}
