// SPDX-License-Identifier: MIT

package dmraid

// minReshapeSpace is MIN_FREE_RESHAPE_SPACE of dm-raid.c.
const minReshapeSpace Sectors = 32

// takeoverRequested is rs_takeover_requested: another level is asked for.
func (a *assembly) takeoverRequested() bool { return a.newLevel != a.level }

// layoutChange is rs_is_layout_change.
func (a *assembly) layoutChange(delta int) bool {
	return delta != 0 || a.newLayout != a.layout || a.newChunk != a.chunk
}

// reshapeRequested is rs_reshape_requested.
func (a *assembly) reshapeRequested() bool {
	if a.takeoverRequested() || a.level == 0 {
		return false
	}
	delta := a.table.DeltaDisks
	change := a.layoutChange(delta)
	switch a.level {
	case 1:
		return delta != 0 || !change && a.disks != len(a.legs)
	case 10:
		return change && !isRAID10Far(a.newLayout) && delta >= 0
	}
	return change
}

// reshapeSpace is _get_reshape_sectors: the room for a reshape out of place.
func (a *assembly) reshapeSpace() Sectors {
	for i := range a.legs {
		if l := &a.legs[i]; l.listed {
			moved := max(l.dataOffset, l.newDataOffset) - min(l.dataOffset, l.newDataOffset)
			return max(moved, a.dataOffset)
		}
	}
	return a.dataOffset
}

// decide is the middle of raid_ctr: what is asked for is compared with what
// the superblocks say, which makes it a new array, one to be taken over, to be
// reshaped, resized, or simply run.
func (a *assembly) decide() error {
	haveArray := a.arraySectors
	var have Sectors
	for i := range a.legs {
		if l := &a.legs[i]; l.listed && l.sectors != 0 {
			have = l.sectors
			break
		}
	}
	if have == 0 {
		return refuseState(einval, ErrTable, "Invalid rdev size", "")
	}
	space := a.reshapeSpace()
	resize := false
	if a.wantDev != have {
		resize = a.wantDev != have-space
		a.grow = a.wantDev > have-space
	}
	a.restoreWanted()

	switch {
	case a.firstUse:
		if a.level == 6 && a.table.Sync == SyncNone {
			return refuseState(einval, ErrTable, "'nosync' not allowed for new raid6 set", "")
		}
		a.setupRecovery(0)
		a.writes = true
		a.takeNew()
	case a.recovering():
		return a.sizeCheck(haveArray)
	case a.reshaping():
		if resize {
			return refuseState(eperm, ErrState, "Can't resize a reshaping raid set", "")
		}
	case a.takeoverRequested():
		if a.table.JournalDev != "" {
			return refuseState(eperm, ErrTable, "Can't takeover a journaled raid4/5/6 set", "")
		}
		if !a.takeoverPossible() {
			return refuseState(einval, ErrTable, "takeover not possible", "")
		}
		if err := a.takeover(); err != nil {
			return err
		}
		a.writes = true
		a.setupRecovery(MaxSector)
		a.takeNew()
	case a.reshapeRequested():
		a.grow = false
		if a.table.JournalDev != "" {
			return refuseState(eperm, ErrTable, "Can't reshape a journaled raid4/5/6 set", "")
		}
		// Without room out of place the request is passed over in silence.
		if space != 0 || a.level == 1 {
			if err := a.prepareReshape(); err != nil {
				return err
			}
			a.setupRecovery(MaxSector)
		}
		a.keepCurrent()
	default:
		return a.sizeCheck(haveArray)
	}
	return nil
}

// sizeCheck is where raid_ctr comes with an array that stays what it is.
func (a *assembly) sizeCheck(haveArray Sectors) error {
	switch {
	case len(a.table.Rebuild) > 0:
		a.grow, a.writes = false, true
		a.setupRecovery(MaxSector)
	case a.grow:
		if err := a.setSizes(haveArray, false); err != nil {
			return err
		}
		a.setupRecovery(min(a.recovery, a.devSectors))
	default:
		if err := a.setSizes(a.length, false); err != nil {
			return err
		}
		if haveArray > a.wantArray {
			a.writes = true
		}
	}
	a.keepCurrent()
	return nil
}

// Layouts of raid5 and raid6 (ALGORITHM_* in drivers/md/raid5.h).
const (
	layoutParity0         = 4
	layoutParityN         = 5
	layoutLeftAsymmetric  = 0
	layoutRightSymmetric  = 3
	layoutLeftAsymmetric6 = 16
	layoutRightSymmetric6 = 19
)

// takeoverPossible is rs_check_takeover. Its checks for degraded and reshaping
// arrays can't hit here: md doesn't run yet, and reshaping was handled before.
func (a *assembly) takeoverPossible() bool {
	to, is5 := a.newLevel, a.newLevel == 4 || a.newLevel == 5
	parityN := a.layout == layoutParityN
	switch a.level {
	case 0:
		return (to == 1 || to == 5) && a.disks == 1 ||
			to == 10 && a.disks != 0 && len(a.legs)%a.disks == 0 ||
			to >= 4 && to <= 6 && a.newLayout == layoutParityN && a.disks > 1
	case 10:
		near, far := raid10Near(a.layout), raid10Far(a.layout)
		switch {
		case a.layout&raid10Offset != 0:
			return false
		case to == 0 && near > 1 && a.disks%near == 0:
			a.disks /= near
			a.delta = a.disks
			return true
		case to == 0:
			return near == 1 && far > 1
		}
		return to == 1 && max(near, far) == a.disks || is5 && a.disks == 2
	case 1:
		if is5 && a.disks == 2 {
			a.degraded = 1
			return true
		}
		return to == 0 && a.disks == 1 || to == 10
	case 4:
		return to == 0 || (to == 1 || to == 5) && a.disks == 2 || (to == 5 || to == 6) && parityN
	case 5:
		return (to == 0 || to == 4) && parityN ||
			(to == 1 || to == 4 || to == 10) && a.disks == 2 ||
			to == 6 && (parityN && a.newLayout == layoutParityN ||
				a.newLayout >= layoutLeftAsymmetric6 && a.newLayout <= layoutRightSymmetric6)
	case 6:
		return (to == 0 || to == 4) && parityN ||
			to == 5 && (parityN && a.newLayout == layoutParityN || a.newLayout <= layoutRightSymmetric)
	}
	return false
}

// takeover is rs_setup_takeover.
func (a *assembly) takeover() error {
	newOffset := a.dataOffset
	if a.legs[0].dataOffset != 0 {
		newOffset = 0
	}
	a.disks = len(a.legs)
	if a.typ.level == 10 {
		switch a.level {
		case 0:
			a.reorder()
			a.layout = raid10Layout(FormatFar, a.copies, a.table.NearSets)
		case 1:
			a.layout = raid10Layout(FormatNear, len(a.legs), a.table.NearSets)
		default:
			return refuseState(einval, ErrTable, "takeover not possible", "")
		}
	}
	a.firstUse, a.recovery = false, MaxSector
	for i := range a.legs {
		a.legs[i].newDataOffset = newOffset
	}
	for _, i := range a.table.Rebuild {
		l := &a.legs[i]
		l.inSync, l.faulty, l.recoveryOffset = false, false, 0
		a.recovery, a.firstUse = 0, true // a new bitmap
	}
	return nil
}

// reorder is __reorder_raid_disk_indexes.
func (a *assembly) reorder() {
	n := 0
	for i := range a.legs {
		if l := &a.legs[i]; l.listed {
			l.position, l.saved = n, -1
			n++
		}
	}
}

// prepareReshape is rs_prepare_reshape.
func (a *assembly) prepareReshape() error {
	reshape := true
	switch {
	case a.level == 10:
		if len(a.legs) != a.disks && isRAID10Near(a.layout) && a.copies != raid10Near(a.layout) {
			// More copies in each group are rebuilt, not reshaped.
			if len(a.legs)%a.copies != 0 {
				return refuseState(einval, ErrTable, "Can't reshape raid10 mirror groups", "")
			}
			a.reorder()
			a.layout = raid10Layout(FormatNear, a.copies, false)
			a.newLayout = a.layout
			reshape = false
		}
	case a.level == 1 && a.table.DeltaDisks == 0:
		a.disks = len(a.legs)
		reshape = false
	case a.level == 1:
		a.degraded = max(a.table.DeltaDisks, -a.table.DeltaDisks)
	}
	if reshape {
		a.reshape, a.writes = true, true
	} else if a.disks < len(a.legs) {
		a.writes = true
	}
	return nil
}

// adjustOffsets is rs_adjust_data_offsets and rs_reset_inconclusive_reshape.
func (a *assembly) adjustOffsets() error {
	var from, to Sectors
	reshapable := a.level >= 4 && a.level <= 6 || a.level == 10 && !isRAID10Far(a.newLayout)
	first := &a.legs[0]
	switch delta := a.table.DeltaDisks; {
	case a.table.DataOffset == nil && reshapable:
		a.forgetReshape()
		return nil
	case a.table.DataOffset == nil:
	case delta < 0:
		to = a.dataOffset
	case delta > 0:
		from = a.dataOffset
	default:
		if a.dataOffset != 0 {
			from = first.dataOffset
		}
		if from == 0 {
			to = a.dataOffset
		}
		a.writes = true
	}
	if a.dataOffset != 0 && first.size != 0 && first.size-min(a.devSectors, first.size) < minReshapeSpace {
		text := "No space for backward reshape"
		if from != 0 {
			text = "No space for forward reshape"
		}
		return refuseState(enospc, ErrTable, text, "")
	}
	if a.recovery < a.devSectors {
		a.recovery += first.dataOffset
	}
	for i := range a.legs {
		if l := &a.legs[i]; l.listed {
			l.dataOffset, l.newDataOffset = from, to
		}
	}
	a.forgetReshape()
	return nil
}

func (a *assembly) forgetReshape() {
	if !a.reshaping() && a.layoutChange(a.delta) {
		a.keepCurrent()
		a.delta, a.backwards = 0, false
	}
}
