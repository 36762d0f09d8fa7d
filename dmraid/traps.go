// SPDX-License-Identifier: MIT

package dmraid

import (
	"fmt"
	"slices"
	"strings"
)

// Trap names something that a kernel does with a table, and does not say:
// afterwards the status reads well, and data are at risk. [CheckTraps] refuses
// it unless the caller names it.
type Trap string

// The traps.
const (
	SyncWordDoesNotSync       Trap = "sync does not sync"
	SyncMarksDirtyClean       Trap = "sync marks a dirty array clean"
	ForgetsFailedDevices      Trap = "sync forgets failed legs"
	NosyncOnDirty             Trap = "nosync on a dirty array"
	NeverSyncsWithoutMetadata Trap = "never synced without metadata"
	NewArrayMissingLegs       Trap = "new array with missing legs"
	StaleLeg                  Trap = "stale leg taken for one in sync"
	LegWithoutMetadata        Trap = "leg without metadata taken for one in sync"
	LegReturnedTooEarly       Trap = "leg returned too early"
	RebuildOnDirty            Trap = "rebuild from a dirty array"
	CrashNotResynced          Trap = "dirty regions not resynced"
	ReshapeIgnored            Trap = "reshape ignored"
)

var trapTexts = map[Trap]string{
	SyncWordDoesNotSync: "With the word sync the kernel reads no superblock and so never learns that there is something to sync: " +
		"the array is shown as in sync at once and its legs stay as they are. To have it synced, zero the start of the metadata devices and leave the word out.",
	SyncMarksDirtyClean: "With the word sync superblocks that say how far the array was synced are not read, " +
		"and are overwritten at the stop by ones that say it is clean.",
	ForgetsFailedDevices: "With the word sync superblocks that record failed legs are not read: these legs count as in sync with what they held when they failed.",
	NosyncOnDirty: "The superblocks say that the array was never synced wholly. With nosync the kernel takes it for clean, " +
		"and writes that down.",
	NeverSyncsWithoutMetadata: "Without metadata devices the kernel takes the legs for equal, whatever the table says, and never syncs them. " +
		"Give the legs metadata, or be sure that they are equal.",
	NewArrayMissingLegs: "An array without superblocks is to begin with legs missing: the kernel refuses it, or, where it reads no superblock, " +
		"doesn't remember that they were missing. Create it whole and take the legs away then.",
	StaleLeg: "A leg has fewer events than another and is not recorded as failed: the kernel takes it for in sync, though it missed writes. " +
		"Name it with rebuild.",
	LegWithoutMetadata: "Other legs have superblocks and this one has no metadata device: the kernel takes it for in sync without any reason. Name it with rebuild.",
	LegReturnedTooEarly: "The leg is missing in the active table and the superblocks of the others don't record it yet: the constructor, " +
		"which decides when the table is loaded, takes it for in sync although the array was written to without it. " +
		"Suspend and resume the array once before the table is loaded.",
	RebuildOnDirty: "The superblocks say that the array was never synced wholly, so what is rebuilt from parity or a copy need not be what was written; " +
		"with rebuild the kernel takes the rest for clean. Let it be synced first.",
	CrashNotResynced: "The bitmap has regions that were being written when the array stopped without a stop. The superblocks call it clean all the same, " +
		"and the kernel believes them: these regions can differ between the legs. Superblocks that are synced up to 0 have just these regions resynced; see Superblock.Resync.",
	ReshapeIgnored: "Another layout, chunk size or number of legs is asked for, but there is no room at data_offset: the kernel takes the table and changes nothing.",
}

// Explain says what happens and how to do better.
func (t Trap) Explain() string { return trapTexts[t] }

// AllTraps lists the traps in a fixed order.
func AllTraps() []Trap {
	return []Trap{
		SyncWordDoesNotSync, SyncMarksDirtyClean, ForgetsFailedDevices, NosyncOnDirty,
		NeverSyncsWithoutMetadata, NewArrayMissingLegs, StaleLeg, LegWithoutMetadata,
		LegReturnedTooEarly, RebuildOnDirty, CrashNotResynced, ReshapeIgnored,
	}
}

// Traps lists what a kernel would do with a table and not say, in the order
// of [AllTraps].
func Traps(k Kernel, s Situation) []Trap {
	found := map[Trap]bool{}
	for t := range trapLegs(k, s) {
		found[t] = true
	}
	return slices.DeleteFunc(AllTraps(), func(t Trap) bool { return !found[t] })
}

// CheckTraps is nil if the kernel does with the table what it says. Otherwise
// the error has [ErrTrap] and explains the first trap that the caller has not
// allowed by its name.
func CheckTraps(k Kernel, s Situation, allow ...Trap) error {
	legs := trapLegs(k, s)
	for _, t := range AllTraps() {
		at, ok := legs[t]
		if !ok || slices.Contains(allow, t) {
			continue
		}
		e := &Error{Op: "traps", Detail: string(t) + ": " + t.Explain(), Err: ErrTrap}
		if len(at) > 0 {
			e.Object = "leg " + strings.Trim(fmt.Sprint(at), "[]")
		}
		return e
	}
	return nil
}

// trapLegs finds the traps, and the legs that each is about.
func trapLegs(k Kernel, s Situation) map[Trap][]int {
	found := map[Trap][]int{}
	t := s.Table
	if !t.Type.Redundant() || len(s.Legs) != len(t.Legs) {
		return found
	}
	state, err := KernelState(k, s)
	runs := err == nil
	meta, fresh, missing, newest := surveyLegs(s)
	known := newest >= 0

	var dirty, failed []int
	for i, l := range s.Legs {
		if l.Meta != MetaValid || t.Legs[i].Missing() {
			continue
		}
		if l.Super.ArrayResync < MaxSector {
			dirty = append(dirty, i)
		}
		if l.Super.FailedDevices != [4]uint64{} {
			failed = append(failed, i)
		}
	}
	if t.Sync == SyncForce && runs && state.Action != ActionResync {
		found[SyncWordDoesNotSync] = nil
		if dirty != nil {
			found[SyncMarksDirtyClean] = dirty
		}
	}
	if t.Sync == SyncForce && failed != nil {
		found[ForgetsFailedDevices] = failed
	}
	if t.Sync == SyncNone && known && s.Legs[newest].Super.ArrayResync < MaxSector {
		found[NosyncOnDirty] = nil
	}
	if len(meta) == 0 && t.Sync != SyncNone && len(t.Rebuild) == 0 && runs && state.Action == ActionIdle && len(t.Legs)-len(missing) > 1 {
		found[NeverSyncsWithoutMetadata] = nil
	}
	if len(missing) > 0 && (len(meta) == 0 || len(fresh) == len(meta)) {
		found[NewArrayMissingLegs] = missing
	}
	if len(t.Rebuild) > 0 && runs && known && s.Legs[newest].Super.ArrayResync < MaxSector &&
		(t.Type != RAID1 || len(t.Legs)-len(missing)-len(t.Rebuild) > 1) { // of one raid1 leg there is nothing to doubt
		found[RebuildOnDirty] = t.Rebuild
	}
	if runs && known && t.Sync != SyncForce && state.Action == ActionIdle && crashDirty(s, newest) {
		found[CrashNotResynced] = nil
	}
	if runs && reshapeIgnored(k, s) {
		found[ReshapeIgnored] = nil
	}
	if known && t.Sync != SyncForce && runs {
		staleLegs(s, state, newest, found)
	}
	returnedLegs(s, newest, found)
	return found
}

// surveyLegs lists the legs with metadata, those of them without a
// superblock, the missing ones, and the one with the most events or -1.
func surveyLegs(s Situation) (meta, fresh, missing []int, newest int) {
	newest = -1
	for i, l := range s.Legs {
		leg := s.Table.Legs[i]
		switch {
		case leg.Missing():
			missing = append(missing, i)
			continue
		case leg.Meta == "":
			continue
		}
		meta = append(meta, i)
		switch l.Meta {
		case MetaFresh:
			fresh = append(fresh, i)
		case MetaValid:
			if newest < 0 || l.Super.Events > s.Legs[newest].Super.Events {
				newest = i
			}
		}
	}
	return meta, fresh, missing, newest
}

// staleLegs finds the legs that the kernel takes for in sync without reason.
func staleLegs(s Situation, state State, newest int, found map[Trap][]int) {
	for i, l := range s.Legs {
		leg := s.Table.Legs[i]
		switch {
		case leg.Missing() || !state.Legs[i].InSync:
		case leg.Meta == "":
			found[LegWithoutMetadata] = append(found[LegWithoutMetadata], i)
		case l.Meta == MetaValid && s.Legs[newest].Super.Events-l.Super.Events > eventsInFlight:
			found[StaleLeg] = append(found[StaleLeg], i)
		}
	}
}

// returnedLegs finds legs that the active table doesn't have, and of which
// the newest superblock doesn't know that they were away.
func returnedLegs(s Situation, newest int, found map[Trap][]int) {
	if s.Active == nil {
		return
	}
	for i, leg := range s.Table.Legs {
		if leg.Missing() || i >= len(s.Active.Legs) || !s.Active.Legs[i].Missing() || slices.Contains(s.Table.Rebuild, i) {
			continue
		}
		if s.Legs[i].Meta == MetaFresh {
			continue // that is a new one
		}
		for j, other := range s.Legs {
			if j != i && other.Meta == MetaValid && !s.Active.Legs[min(j, len(s.Active.Legs)-1)].Missing() && !other.Super.Failed(i) {
				found[LegReturnedTooEarly] = append(found[LegReturnedTooEarly], i)
				break
			}
		}
	}
}

// crashDirty reports whether the array claims to be clean and its bitmap has
// dirty regions.
func crashDirty(s Situation, newest int) bool {
	if !s.Legs[newest].Super.Clean() {
		return false
	}
	for _, l := range s.Legs {
		if l.Meta == MetaValid && l.Bitmap != nil && l.Bitmap.refused() == "" && l.Super.Events == s.Legs[newest].Super.Events {
			n, _ := l.Bitmap.Dirty()
			return n > 0
		}
	}
	return false
}

// reshapeIgnored reports whether the constructor sees a reshape asked for, and
// no room for it.
func reshapeIgnored(k Kernel, s Situation) bool {
	a, err := newAssembly(k, s)
	if err != nil || a.checkWords() != nil || a.requestSizes() != nil || a.analyse() != nil {
		return false
	}
	a.restoreWanted()
	return a.freshest >= 0 && !a.firstUse && !a.recovering() && !a.reshaping() && a.level > 1 &&
		a.reshapeRequested() && a.reshapeSpace() == 0
}
