// SPDX-License-Identifier: MIT

package dmraid

import (
	"fmt"
	"strings"
)

// Condition is how an array is, in a word. Of several that hold, it is the
// one that a person must know of first.
type Condition uint8

// The conditions, the best first.
const (
	Clean     Condition = iota // all legs are there and in sync
	Checking                   // a check or a repair of legs that are in sync runs
	Unsynced                   // a sync is due and does not run
	Syncing                    // a resync or a recovery runs
	Reshaping                  // the layout, the chunk or the number of legs changes
	Degraded                   // legs are dead or missing; the data are there
	Failed                     // more are gone than the level bears
	Unknown                    // frozen, and nothing else tells
)

var conditionNames = [...]string{"clean", "checking", "unsynced", "syncing", "reshaping", "degraded", "failed", "unknown"}

// String is the condition in lower case.
func (c Condition) String() string {
	if int(c) < len(conditionNames) {
		return conditionNames[c]
	}
	return fmt.Sprintf("condition %d", uint8(c))
}

// Facts are what is known of an array beside its status line. The zero value
// is: nothing.
type Facts struct {
	// Suspended says that the device is suspended, from dm.Info.
	Suspended bool
	// Table is the live table, for the number of copies of a raid10; nil when
	// it is not known.
	Table *Table
	// Legs is what lies on the metadata devices, in any order; nil when it is
	// not known. Superblocks tell a resync from a repair, give the progress
	// while the array is frozen, and betray one that says it is clean and was
	// never synced.
	Legs []LegFound
}

// Health is what a status line means. The letters and numbers of the line
// can't be taken one by one: see the comments of the fields.
type Health struct {
	Condition Condition

	Dead      []int // positions of legs that failed
	Missing   []int // positions without a device
	OutOfSync []int // positions of live legs that are not in sync, as far as the line tells

	// Spare is how many more legs may fail in the worst case before data are
	// lost; negative when they are. Legs that are out of sync count as lost.
	Spare int

	// Running is what goes on: idle, resync, recover, check, repair or reshape.
	// A sync of a set that was not shut down properly, which the kernel calls a
	// repair, is a resync when the superblocks are there to tell.
	Running Action
	// Pending is what will start by itself, or would if the array were not
	// frozen: resync or recover; empty when nothing is due.
	Pending Action
	Frozen  bool // by a message, or because the device is suspended

	// Known says that Done is the progress of what runs or is pending. It is
	// false while the array is frozen and no superblock tells: the kernel
	// prints 0 then, even of an array that is in sync.
	Known       bool
	Done, Total Sectors

	// InSync says that the array is known to be in sync, whole and without
	// anything that runs but a check or a repair.
	InSync bool
	// NeverSynced says that the line calls the array clean, and that its
	// metadata are of one that no resync ever went over: created with "sync" or
	// "nosync", or without metadata. Who made it may have known that the legs
	// are equal. False proves nothing: the counts that tell grow with time.
	NeverSynced bool
}

// Health derives what the line means.
//
// Beside the kernel's own rules (rs_get_progress in drivers/md/dm-raid.c) it
// knows those that libdm found to be needed: a leg that is 'a' while nothing
// is left to do is not in sync all the same, because the line was made
// between two states of md; and while all legs are 'a' in a resync, the first
// is the one that is copied from.
func (s Status) Health(f Facts) Health {
	h := Health{Running: s.Action, Done: s.Done, Total: s.Total, Known: true}
	if h.Running == "" { // before 1.5
		h.Running = ActionIdle
	}
	h.legs(s)
	if s.Type.Redundant() || s.Type.Level() < 0 {
		h.activity(s, f)
	} else {
		h.Running, h.Frozen = ActionIdle, f.Suspended || s.Action == ActionFrozen
		h.Done = s.Total
	}
	h.judge(s, f)
	return h
}

// members is how many legs count: a table can name more than md has, as it
// does behind a reshape that took some away.
func (s Status) members() int { return min(len(s.Letters), s.Devices) }

func (h *Health) legs(s Status) {
	alive, out := 0, 0
	for i := range s.members() {
		switch s.Letters[i] {
		case LetterDead:
			h.Dead = append(h.Dead, i)
		case LetterMissing:
			h.Missing = append(h.Missing, i)
		case LetterOutOfSync:
			h.OutOfSync = append(h.OutOfSync, i)
			alive, out = alive+1, out+1
		default:
			alive++
		}
	}
	if out == alive && out > 0 && s.Action != ActionRecover && s.Action != ActionReshape && s.Type.Level() == 1 {
		// A resync of a mirror copies its first live leg; the letters say of
		// that one too that it is not in sync.
		h.OutOfSync = h.OutOfSync[1:]
	}
}

// activity finds what runs, what is due, and how far it is.
func (h *Health) activity(s Status, f Facts) {
	resync, recovery, told := progressOf(f.Legs)
	h.Frozen = f.Suspended || s.Action == ActionFrozen
	switch {
	case h.Frozen:
		h.Running, h.Known = ActionIdle, false
		if n := s.members() - len(h.Dead) - len(h.Missing); strings.Count(s.Letters[:s.members()], "a") == n {
			// All are 'a' because something may be due (MD_RECOVERY_NEEDED),
			// which comes of any message.
			h.OutOfSync = nil
		}
		switch {
		case told && resync < s.Total:
			h.Pending, h.Done, h.Known = ActionResync, resync, true
		case told && recovery < s.Total:
			h.Pending, h.Done, h.Known = ActionRecover, recovery, true
		case told && len(h.OutOfSync) == 0:
			h.Done, h.Known = s.Total, true
		case len(h.OutOfSync) > 0:
			h.Pending = ActionRecover
		}
		if !h.Known {
			h.Done = 0
		}
	case h.Running == ActionRepair && told && resync < s.Total:
		h.Running = ActionResync // preresume sets MD_RECOVERY_REQUESTED for it too
	case h.Running == ActionIdle && s.Done < s.Total:
		h.Pending = ActionResync
		if n := len(h.OutOfSync); n > 0 && n < s.members()-len(h.Dead)-len(h.Missing) {
			h.Pending = ActionRecover
		}
	case h.Running == ActionIdle && len(h.OutOfSync) > 0:
		h.Pending = ActionRecover
		if told && resync < s.Total {
			h.Pending = ActionResync
		}
		h.nearly(s)
	case s.Done == s.Total && (h.Running == ActionRecover || h.Running == ActionResync):
		h.nearly(s)
	}
}

// nearly keeps a line from 100 % that is not at its end.
func (h *Health) nearly(s Status) {
	if s.Done == s.Total && s.Total > 0 {
		h.Done = s.Total - 1
	}
}

// progressOf is how far superblocks say that the array and its worst leg are
// synced.
func progressOf(legs []LegFound) (resync, recovery Sectors, told bool) {
	resync, recovery = MaxSector, MaxSector
	newest := newestEvents(legs)
	for _, l := range legs {
		if l.Meta == MetaValid && l.Super.Events == newest {
			resync = min(resync, l.Super.ArrayResync)
			recovery = min(recovery, l.Super.DiskRecovery)
			told = true
		}
	}
	return resync, recovery, told
}

func newestEvents(legs []LegFound) (newest uint64) {
	for _, l := range legs {
		if l.Meta == MetaValid {
			newest = max(newest, l.Super.Events)
		}
	}
	return newest
}

func (h *Health) judge(s Status, f Facts) {
	h.Spare = s.spare(h, f.Table)
	gone := len(h.Dead) + len(h.Missing)
	switch {
	case s.Type.Level() == 0 && gone > 0, h.lost(s, f.Table):
		h.Condition = Failed
	case gone > 0:
		h.Condition = Degraded
	case h.Running == ActionReshape:
		h.Condition = Reshaping
	case h.Running == ActionResync, h.Running == ActionRecover:
		h.Condition = Syncing
	case h.Pending != "":
		h.Condition = Unsynced
	case !h.Known:
		h.Condition = Unknown
	case h.Running == ActionCheck, h.Running == ActionRepair:
		h.Condition = Checking
	}
	h.InSync = h.Condition == Clean || h.Condition == Checking
	h.NeverSynced = h.Condition == Clean && s.Type.Redundant() && neverSynced(f.Legs)
}

// neverSynced tells by the event counts. md_do_sync (drivers/md/md.c) has the
// superblocks written at each sixteenth of its way, so that those of an array
// that was synced stand well above those of one that was just made.
func neverSynced(legs []LegFound) bool {
	none, valid := 0, 0
	for _, l := range legs {
		switch {
		case l.Meta == MetaNone:
			none++
		case l.Meta == MetaFresh:
			return true // "sync": the superblocks are made when it stops
		case l.Meta == MetaValid && l.Super.ArrayResync != MaxSector:
			return false // it knows that it is not
		case l.Meta == MetaValid:
			valid++
		}
	}
	return none > 0 && none == len(legs) || valid > 0 && newestEvents(legs) <= 3
}

// lost reports whether the dead and missing legs are more than the level
// bears.
func (h *Health) lost(s Status, t *Table) bool {
	return s.tolerance(t, append(append([]int(nil), h.Dead...), h.Missing...)) < 0
}

// spare counts legs that are rebuilt as lost, but not those of a resync: their
// data are there.
func (s Status) spare(h *Health, t *Table) int {
	gone := append(append([]int(nil), h.Dead...), h.Missing...)
	if h.Running == ActionRecover || h.Pending == ActionRecover {
		gone = append(gone, h.OutOfSync...)
	}
	return s.tolerance(t, gone)
}

// tolerance is how many more legs than the given ones may go.
func (s Status) tolerance(t *Table, gone []int) int {
	n := s.members()
	switch s.Type.Level() {
	case 0:
		return -len(gone)
	case 1:
		return n - 1 - len(gone)
	case 10:
		return s.tolerance10(t, gone, n)
	}
	return s.Type.Parity() - len(gone)
}

// tolerance10 looks for the copies that have lost most (setup_geo and
// __raid10_find_phys in drivers/md/raid10.c). Near copies lie on neighbours, in
// a circle where the legs are no multiple of the copies. Far and offset copies
// stay within sets of as many legs as there are copies, of which the last takes
// what is left over; without sets they go around all legs.
func (s Status) tolerance10(t *Table, gone []int, n int) int {
	copies, sets := 2, s.Type == RAID10Off || s.Type == RAID10Far
	if t != nil {
		copies = max(t.Copies, copies)
		sets = sets && !t.NearSets
	}
	copies = min(copies, n)
	if copies == 0 {
		return -1
	}
	lost := make([]bool, n)
	for _, i := range gone {
		lost[i] = true
	}
	worst := 0
	ring := func(from, to int) { // of the legs from..to, each window of copies
		for i := from; i < to; i++ {
			c := 0
			for k := range copies {
				if lost[from+(i-from+k)%(to-from)] {
					c++
				}
			}
			worst = max(worst, c)
		}
	}
	if sets || n%copies == 0 && s.Type != RAID10Off && s.Type != RAID10Far {
		for from := 0; from+copies <= n; from += copies {
			to := from + copies
			if n-to < copies {
				to = n
			}
			ring(from, to)
		}
	} else {
		ring(0, n)
	}
	return copies - 1 - worst
}

// Percent is the progress of what runs or is due, 100 when there is nothing.
// It is false when the progress is not known, as with a frozen array.
func (h Health) Percent() (percent float64, ok bool) {
	switch {
	case !h.Known:
		return 0, false
	case h.Total == 0 || h.Done >= h.Total:
		return 100, true
	}
	// Not rounded up to 100: there is something left.
	return min(float64(h.Done)*100/float64(h.Total), 99.99), true
}

// String is a line for people: "degraded: leg 1 failed; recover 12.5 %, leg 2".
func (h Health) String() string {
	var b strings.Builder
	b.WriteString(h.Condition.String())
	sep := ": "
	part := func(format string, args ...any) {
		b.WriteString(sep)
		fmt.Fprintf(&b, format, args...)
		sep = "; "
	}
	if len(h.Dead) > 0 {
		part("%s failed", legList(h.Dead))
	}
	if len(h.Missing) > 0 {
		part("%s missing", legList(h.Missing))
	}
	doing := h.Running
	if doing == ActionIdle && h.Pending != "" {
		doing = h.Pending
	}
	if doing != ActionIdle {
		text := string(doing)
		if h.Running == ActionIdle {
			text += " pending"
		}
		if p, ok := h.Percent(); ok && p < 100 {
			text += fmt.Sprintf(" %.4g %%", p)
		}
		if len(h.OutOfSync) > 0 && doing == ActionRecover {
			text += ", " + legList(h.OutOfSync)
		}
		part("%s", text)
	}
	if h.Frozen {
		part("frozen")
	}
	if h.NeverSynced {
		part("never synced")
	}
	return b.String()
}

func legList(list []int) string {
	if len(list) == 1 {
		return fmt.Sprintf("leg %d", list[0])
	}
	var b strings.Builder
	b.WriteString("legs ")
	for i, n := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprint(&b, n)
	}
	return b.String()
}
