// SPDX-License-Identifier: MIT

package dmraid

import (
	"errors"
	"fmt"
)

// textInvalid is what the constructor says of superblocks that don't fit; the
// reason is in the log.
const textInvalid = "Unable to assemble array: Invalid superblocks"

// analyse is analyse_superblocks: it finds the superblock with the most
// events, the first of them, which has the last word over all legs.
func (a *assembly) analyse() error {
	if a.table.Sync == SyncForce && a.kernel.syncs() {
		a.firstUse, a.isNew = true, true
	}
	for i := range a.legs {
		l := &a.legs[i]
		if !l.hasPage() || a.table.Sync == SyncForce {
			// "sync" looks at no superblock, which was meant to have the
			// array synced anew. Before Linux 6.17 that never happens,
			// because only a superblock makes an array a new one.
			continue
		}
		if l.meta == MetaUnreadable {
			a.say("Failed to read superblock of device at position %d", i)
			l.faulty = true
			if a.level != 0 {
				l.position, l.saved = -1, -1
			}
			continue
		}
		if l.meta != MetaValid || !l.inSync && l.recoveryOffset == 0 {
			a.makeSuper(l)
			if a.freshest < 0 {
				a.freshest = i
			}
			continue
		}
		if a.freshest < 0 || l.super.Events > a.legs[a.freshest].super.Events {
			a.freshest = i
		}
	}
	if a.freshest < 0 {
		return nil
	}
	if err := a.validate(a.freshest); err != nil {
		return err
	}
	if !a.redundant() {
		return refuseState(einval, ErrDegraded, "Insufficient redundancy to activate array", "")
	}
	for i := range a.legs {
		if l := &a.legs[i]; l.listed && i != a.freshest {
			if err := a.validate(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeSuper is super_load for a leg without a superblock, or one that is to be
// rebuilt: in memory it gets one without events.
func (a *assembly) makeSuper(l *assemblyLeg) {
	l.super = a.sync(l)
	l.super.Events = 0
	l.firstUse = true
}

// validate is super_validate.
func (a *assembly) validate(i int) error {
	l := &a.legs[i]
	if a.level == 0 || !l.hasPage() || l.position < 0 {
		return nil // raid0 doesn't look at its superblocks
	}
	if a.events == 0 {
		if err := a.initValidation(l); err != nil {
			return err
		}
	}
	switch {
	case l.super.OtherCompat != 0:
		return refuseState(einval, errors.ErrUnsupported, textCompat, "")
	case l.super.Incompat != 0:
		return refuseState(einval, errors.ErrUnsupported, textIncompat, "")
	}
	a.hasBitmap = a.typ.level != 0 && a.table.JournalDev == ""
	if !l.firstUse {
		if l.super.Extended {
			l.sectors = l.super.DevSectors
		}
		l.recoveryOffset = l.super.DiskRecovery
		if l.recoveryOffset == MaxSector {
			l.inSync = true
		} else if !a.reshaping() {
			l.inSync = false
		}
	}
	l.firstUse = false
	if l.faulty {
		// A leg comes back: the bitmap says what it lacks.
		l.faulty, l.revived = false, true
		l.recoveryOffset, l.inSync, l.saved = 0, false, l.position
	}
	l.dataOffset, l.newDataOffset = l.super.DataOffset, l.super.NewDataOffset
	return nil
}

// initValidation is super_init_validation: what the freshest superblock says
// of the array, and which legs are new, rebuilt or failed.
func (a *assembly) initValidation(fresh *assemblyLeg) error {
	s := fresh.super
	invalid := func(format string, args ...any) error {
		return refuseState(einval, ErrTable, textInvalid, fmt.Sprintf(format, args...))
	}
	a.events = max(s.Events, 1)
	a.reshapePosition = MaxSector
	a.disks, a.level, a.layout, a.chunk = int(s.NumDevices), int(s.Level), s.Layout, s.Chunk
	if s.Extended {
		a.newLevel, a.newLayout, a.newChunk = int(s.NewLevel), s.NewLayout, s.NewChunk
		a.delta, a.arraySectors = int(s.DeltaDisks), s.ArraySectors
		if s.Reshaping {
			if a.table.DeltaDisks != 0 {
				return refuseState(einval, ErrState, textInvalid, "Reshape requested but raid set is still reshaping")
			}
			a.backwards = a.delta < 0 || a.delta == 0 && s.Backwards
			a.reshapePosition = s.ReshapePosition
			typ, ok := typeOf(a.level, a.layout).info()
			if !ok {
				return invalid("no raid type has level %d and layout %#x", a.level, a.layout)
			}
			a.typ = typ
		}
	} else {
		// Without the fields of 1.9.0 neither can be remembered.
		if a.takeoverRequested() {
			return invalid("Takeover raid sets from %s to %s not yet supported by metadata. (raid level change)",
				typeOf(a.level, a.layout), typeOf(a.newLevel, a.newLayout))
		}
		if a.reshapeRequested() {
			return invalid("Reshaping raid sets not yet supported by metadata. (raid layout change keeping level)")
		}
		a.say("Discovered old metadata format; upgrading to extended metadata format")
	}
	if a.table.Sync != SyncNone {
		a.recovery = s.ArrayResync
	}
	if err := a.countNew(invalid); err != nil {
		return err
	}
	return a.markFailed(s)
}

// countNew checks that the legs without a superblock are those that the table
// gives a reason for.
func (a *assembly) countNew(invalid func(string, ...any) error) error {
	fresh, rebuilds, both := 0, 0, 0
	for i := range a.legs {
		l := &a.legs[i]
		if !l.listed {
			continue
		}
		if l.firstUse {
			fresh++
		}
		if !l.inSync {
			a.say("Device %d specified for rebuild; clearing superblock", l.position)
			rebuilds++
			if l.firstUse {
				both++
			}
		}
	}
	if a.table.JournalDev != "" {
		// The journal is meant to be passed over, but the wrong device is
		// looked at: it counts as a leg to be rebuilt.
		a.say("Device -1 specified for rebuild; clearing superblock")
		rebuilds++
	}
	switch {
	case fresh == len(a.legs):
		a.say("Superblocks created for new raid set")
		a.firstUse, a.isNew = true, true
	case rebuilds == 0:
		if fresh != 0 && fresh != a.table.DeltaDisks {
			return invalid("New device injected into existing raid set without 'delta_disks' or 'rebuild' parameter specified")
		}
	case fresh != 0 && fresh != rebuilds:
		return invalid("%d 'rebuild' devices cannot be injected into a raid set with %d other first-time devices", rebuilds, fresh)
	case both != 0 && rebuilds != both:
		return invalid("new device%s provided without 'rebuild'", map[bool]string{true: "s"}[fresh > 1])
	case len(a.table.Rebuild) == 0 && a.recovering():
		return invalid("'rebuild' specified while raid set is not in-sync (recovery_cp=%d)", uint64(a.recovery))
	case a.reshaping():
		return refuseState(einval, ErrState, textInvalid, fmt.Sprintf("'rebuild' specified while raid set is being reshaped (reshape_position=%d)", uint64(a.reshapePosition)))
	}
	return nil
}

// markFailed marks the legs that the freshest superblock has as failed, and
// checks their positions.
func (a *assembly) markFailed(fresh Superblock) error {
	for i := range a.legs {
		l := &a.legs[i]
		if !l.hasPage() {
			continue
		}
		l.super.FailedDevices = [4]uint64{}
		role := int(int32(l.super.ArrayPosition))
		if l.firstUse || l.position < 0 || role < 0 {
			continue
		}
		if role != l.position {
			switch {
			case a.level == 10 && isRAID10Near(a.layout):
				if a.disks%raid10Near(a.layout) != 0 || len(a.legs)%a.copies != 0 {
					return refuseState(einval, ErrTable, "Cannot change raid10 near set to odd # of devices!", "")
				}
				l.super.ArrayPosition = uint32(l.position)
			case a.level == 10 && a.typ.level == 0, a.level == 0 && a.typ.level == 10, a.typ.level == 1:
			default:
				return refuseState(einval, ErrTable, "Cannot change device positions in raid set", "")
			}
			a.say("raid device #%d now at position #%d", role, l.position)
		}
		if fresh.Failed(role) {
			l.faulty = true
		}
	}
	return nil
}

// redundant is validate_raid_redundancy. It runs when only the freshest leg is
// validated, so it counts missing legs, and that one.
func (a *assembly) redundant() bool {
	lost := func(l *assemblyLeg) bool { return !l.inSync || !l.hasPage() }
	n := 0
	for i := range a.legs {
		if l := &a.legs[i]; !l.firstUse && lost(l) {
			n++
		}
	}
	switch a.level {
	case 1:
		return n < a.disks
	case 4, 5, 6:
		return n <= a.typ.parity
	case 10:
		return a.redundant10(n, lost)
	}
	return a.level == 0 || n == 0
}

// redundant10 is the part for raid10: in no group of copies may all be lost.
func (a *assembly) redundant10(n int, lost func(*assemblyLeg) bool) bool {
	copies := max(raid10Near(a.newLayout), raid10Far(a.newLayout))
	if copies < 2 {
		return false
	}
	if n < copies {
		return true
	}
	legs := min(len(a.legs), a.disks)
	near := isRAID10Near(a.newLayout)
	last := 0 // where the last group of far copies starts, by the kernel's reckoning
	if group := legs / copies; group > 0 {
		last = (legs/group - 1) * group
	}
	inGroup := 0
	for i := range legs {
		if i%copies == 0 && (near || i <= last) {
			inGroup = 0
		}
		if lost(&a.legs[i]) {
			if inGroup++; inGroup >= copies {
				return false
			}
		}
	}
	return true
}
