// SPDX-License-Identifier: MIT

package dmraid

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// LegVerdict is what a set of superblocks says of one leg.
type LegVerdict string

// The verdicts. Only a leg that is current can be relied on.
const (
	LegCurrent    LegVerdict = "current"    // as new as any, and in sync
	LegRebuilding LegVerdict = "rebuilding" // as new as any, rebuilt in part
	LegStale      LegVerdict = "stale"      // it missed writes, and nobody recorded it: the kernel would take it for in sync
	LegFailed     LegVerdict = "failed"     // recorded as failed; the kernel copies to it what it missed
	LegMissing    LegVerdict = "missing"    // there is none
	LegFresh      LegVerdict = "fresh"      // no superblock
	LegCorrupt    LegVerdict = "corrupt"    // a superblock that can't be
	LegFuture     LegVerdict = "future"     // a superblock of a later kernel
	LegUnreadable LegVerdict = "unreadable"
	LegStranger   LegVerdict = "stranger" // a superblock of another array
	LegSpare      LegVerdict = "spare"    // a superblock without a position in the array
)

// LegReport is what is known of a leg.
type LegReport struct {
	Name     string
	Verdict  LegVerdict
	Position int     // by its superblock; -1 without one
	Lag      uint64  // events that it is behind
	Rebuilt  Sectors // how far, with LegRebuilding
}

// Finding is something that a caller should know before the legs are used.
type Finding struct {
	Leg  int // index of the leg, -1: the array
	Text string
}

// String is "leg 1: text".
func (f Finding) String() string {
	if f.Leg < 0 {
		return f.Text
	}
	return fmt.Sprintf("leg %d: %s", f.Leg, f.Text)
}

// ResyncNeed is what of an array must be compared.
type ResyncNeed uint8

// What can be needed.
const (
	ResyncNothing ResyncNeed = iota
	ResyncRest               // from SyncedTo on; the kernel does it by itself
	ResyncDirty              // what the bitmap has as dirty; the kernel does not do it: [Superblock.Resync]
	ResyncAll                // everything: the array was never synced
)

// Report is what a set of legs is, offline.
type Report struct {
	Newest Superblock // of the leg with the most events, the first of them
	Leader int        // its index
	Legs   []LegReport

	Type     Type
	Events   uint64
	Clean    bool    // by the superblocks
	SyncedTo Sectors // MaxSector: wholly

	// DirtyRegions and DirtySectors are of the leader's bitmap, Regions is
	// how many it has. All 0 without one.
	Regions, DirtyRegions int64
	DirtySectors          Sectors
	BitmapFound           bool
	BitmapOld             bool // older than the superblocks, or marked so: all of it counts as dirty

	// Rebuild are the positions that a table must name with rebuild to
	// bring the array up safely, ascending. Legs recorded as failed are not
	// among them: the kernel knows.
	Rebuild []int
	Resync  ResyncNeed
	// Lost counts the positions that have no data to rely on.
	Lost     int
	Findings []Finding
}

// Verify compares the superblocks and bitmaps of the legs of one array, in
// the order in which a table would list them: which are newest, which are
// stale, failed, missing or not of this array, and what a table must say to
// bring the array up safely.
//
// The Report is as complete as the legs allow even with an error: [ErrForeign]
// when no leg has a superblock, [ErrCorrupt] or errors.ErrUnsupported when
// none can be used, [ErrMixed] when legs are of different arrays or two are in
// one position, [ErrDegraded] when the level doesn't bear what is lost. The
// format has no name for an array: two of the same shape can't be told apart.
func Verify(legs []LegImage) (Report, error) {
	r := Report{Leader: -1, Legs: make([]LegReport, len(legs))}
	var bad error
	for i, l := range legs {
		r.Legs[i] = LegReport{Name: l.Name, Position: -1}
		switch {
		case l.Missing:
			r.Legs[i].Verdict = LegMissing
		case l.Err == nil:
			if l.Super.Spare() {
				r.Legs[i].Verdict = LegSpare
				r.note(i, "the array had no position for it: it holds nothing")
				continue
			}
			r.Legs[i].Position = int(l.Super.ArrayPosition)
			if r.Leader < 0 || l.Super.Events > legs[r.Leader].Super.Events {
				r.Leader = i
			}
		default:
			r.Legs[i].Verdict = verdictOf(l.Err)
			r.note(i, "%v", l.Err)
			if bad == nil || errors.Is(bad, ErrForeign) {
				bad = l.Err
			}
		}
	}
	if r.Leader < 0 {
		if bad == nil {
			bad = &Error{Op: "verify", Detail: "no leg", Err: ErrForeign}
		}
		return r, bad
	}
	r.Newest = legs[r.Leader].Super
	r.Type, r.Events = r.Newest.Type(), r.Newest.Events
	r.Clean, r.SyncedTo = r.Newest.Clean(), r.Newest.ArrayResync
	mixed := r.judge(legs)
	r.readBitmap(legs[r.Leader])
	r.history(legs)
	r.plan()
	switch {
	case mixed != "":
		return r, &Error{Op: "verify", Detail: mixed, Err: ErrMixed}
	case !r.bearable():
		return r, &Error{Op: "verify", Detail: fmt.Sprintf("%d of %d legs can't be relied on", r.Lost, r.Newest.NumDevices), Err: ErrDegraded}
	}
	return r, nil
}

func verdictOf(err error) LegVerdict {
	switch {
	case errors.Is(err, ErrForeign):
		return LegFresh
	case errors.Is(err, ErrCorrupt):
		return LegCorrupt
	case errors.Is(err, errors.ErrUnsupported):
		return LegFuture
	}
	return LegUnreadable
}

func (r *Report) note(leg int, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{leg, fmt.Sprintf(format, args...)})
}

// strange says why a superblock is not of the leader's array, or is
// empty. A leg that missed a reshape or a takeover has the old shape, so the
// shape of one that is behind proves nothing.
func (r *Report) strange(s Superblock) string {
	n := r.Newest
	if s.Events < n.Events {
		return ""
	}
	for _, c := range Diff(n, s) {
		switch c.Field {
		case "num_devices", "level", "layout", "stripe_sectors", "new_level", "new_layout", "new_stripe_sectors",
			"delta_disks", "array_sectors", "sectors", "flags", "reshape_position", "data_offset", "new_data_offset":
			return fmt.Sprintf("%s is %s, and %s on leg %d", c.Field, c.To, c.From, r.Leader)
		}
	}
	return ""
}

// eventsInFlight is how far behind a leg may be that missed nothing: md writes
// the superblocks of all legs for one event before it goes on to the next
// (md_update_sb in drivers/md/md.c), so a power cut finds two events at most. A
// leg that was missed by that writing because it failed is recorded as failed.
const eventsInFlight = 1

// judge gives each leg its verdict, and says why the legs are not one array.
func (r *Report) judge(legs []LegImage) (mixed string) {
	holder := map[int]int{} // position -> leg
	for i, l := range legs {
		leg := &r.Legs[i]
		if leg.Verdict != "" {
			continue
		}
		s := l.Super
		leg.Lag = r.Events - s.Events
		if why := r.strange(s); why != "" {
			leg.Verdict = LegStranger
			r.note(i, "not of this array: %s", why)
			mixed = fmt.Sprintf("leg %d: %s", i, why)
			continue
		}
		if j, taken := holder[leg.Position]; taken {
			leg.Verdict = LegStranger
			r.note(i, "in position %d like leg %d", leg.Position, j)
			mixed = fmt.Sprintf("legs %d and %d are both in position %d", j, i, leg.Position)
			continue
		}
		holder[leg.Position] = i
		if leg.Position != i {
			r.note(i, "belongs in position %d", leg.Position)
		}
		switch {
		case r.Newest.Failed(leg.Position):
			leg.Verdict = LegFailed
			r.note(i, "recorded as failed, %d events behind", leg.Lag)
		case leg.Lag > eventsInFlight:
			leg.Verdict = LegStale
			r.note(i, "%d events behind, and not recorded as failed: the kernel would take it for in sync", leg.Lag)
		case !s.InSync():
			leg.Verdict, leg.Rebuilt = LegRebuilding, s.DiskRecovery
			r.note(i, "rebuilt up to %v of %v", s.DiskRecovery, s.DevSectors)
		default:
			leg.Verdict = LegCurrent
			if leg.Lag > 0 {
				r.note(i, "an event behind: the array stopped while superblocks were being written")
			}
		}
		if !s.Extended {
			r.note(i, "superblock from before target version 1.9.0; the kernel upgrades it")
		}
		if s.Rest != "" || s.OtherFlags != 0 {
			r.note(i, "bytes that no known kernel writes")
		}
	}
	for _, i := range r.Newest.FailedLegs() {
		if _, here := holder[i]; !here {
			r.note(-1, "position %d is recorded as failed", i)
		}
	}
	return mixed
}

func (r *Report) readBitmap(l LegImage) {
	if r.Type.Level() == 0 {
		return
	}
	if l.Bitmap == nil {
		why := "none"
		if l.BitmapErr != nil {
			why = l.BitmapErr.Error()
		}
		r.note(-1, "bitmap: %s; an array with a journal has none either", why)
		return
	}
	m := l.Bitmap
	r.BitmapFound = true
	r.BitmapOld = m.Events < r.Events || m.State&BitmapStale != 0
	r.Regions = m.Regions()
	r.DirtyRegions, r.DirtySectors = m.Dirty()
	if r.BitmapOld {
		r.note(-1, "the bitmap is older than the superblocks (events %d, %d): all regions count as dirty", m.Events, r.Events)
	}
	if r.DirtyRegions > 0 {
		r.note(-1, "%d of %d regions are dirty (%v)", r.DirtyRegions, r.Regions, r.DirtySectors)
	}
}

// history says what the array went through, and what of it is to be synced.
func (r *Report) history(legs []LegImage) {
	n := r.Newest
	if n.Reshaping {
		r.note(-1, "a reshape stands at %v: no leg may be added, removed or rebuilt", n.ReshapePosition)
	}
	if r.Type.Level() == 0 {
		return
	}
	switch {
	case !r.Clean && n.ArrayResync == 0:
		r.Resync = ResyncAll
		if r.BitmapFound && !r.BitmapOld {
			r.Resync = ResyncRest
		}
		r.note(-1, "never synced wholly: the kernel resyncs it")
	case !r.Clean:
		r.Resync = ResyncRest
		r.note(-1, "synced up to %v", n.ArrayResync)
	case n.Events <= 1:
		// A stop adds an event and a sync several; the word sync makes a
		// superblock that begins at 1.
		r.Resync = ResyncAll
		r.note(-1, "claims to be clean and was never synced: the table that made it had the word sync")
	case r.BitmapFound && r.BitmapOld && r.lostLegs() == 0:
		r.Resync = ResyncAll
		r.note(-1, "claims to be clean, but the bitmap does not know all writes")
	case r.BitmapFound && r.DirtyRegions > 0 && r.lostLegs() == 0:
		r.Resync = ResyncDirty
		r.note(-1, "claims to be clean, but was not stopped: the kernel will not resync the dirty regions")
	}
}

// lostLegs counts the positions without a current leg, before a plan is made.
func (r *Report) lostLegs() int {
	n := int(r.Newest.NumDevices)
	for _, l := range r.Legs {
		if l.Verdict == LegCurrent && l.Position < int(r.Newest.NumDevices) {
			n--
		}
	}
	return max(n, 0)
}

// plan says what a table must name.
func (r *Report) plan() {
	r.Lost = r.lostLegs()
	for i, l := range r.Legs {
		switch l.Verdict {
		case LegStale, LegFresh, LegCorrupt:
			at := i // a leg without a superblock is where the table has it
			if l.Position >= 0 {
				at = l.Position
			}
			if r.Type.Redundant() && !slices.Contains(r.Rebuild, at) {
				r.Rebuild = append(r.Rebuild, at)
			}
		}
	}
	slices.Sort(r.Rebuild)
	if len(r.Rebuild) > 0 && !r.Clean && r.Type != RAID1 {
		r.note(-1, "legs need to be rebuilt from an array that was never synced wholly: what comes out need not be what was written")
	}
}

// bearable reports whether the level can do without what is lost.
func (r *Report) bearable() bool {
	n := r.Newest
	switch r.Type.Level() {
	case 0:
		return r.Lost == 0
	case 1:
		return r.Lost < int(n.NumDevices)
	case 10:
		return r.bearable10()
	}
	return r.Lost <= r.Type.Parity()
}

// bearable10 looks whether each run of copies has a current leg.
func (r *Report) bearable10() bool {
	disks := int(r.Newest.NumDevices)
	near, copies := raid10Near(r.Newest.Layout), raid10Near(r.Newest.Layout)*raid10Far(r.Newest.Layout)
	if disks == 0 || near == 0 || copies == 0 {
		return false
	}
	current := make([]bool, disks)
	for _, l := range r.Legs {
		if l.Verdict == LegCurrent && l.Position < disks {
			current[l.Position] = true
		}
	}
	return enough10(near, copies, disks, func(i int) bool { return current[i] })
}

// String is the report for people, a line for each leg and finding.
func (r Report) String() string {
	var b strings.Builder
	if r.Leader < 0 {
		b.WriteString("no superblock\n")
	} else {
		fmt.Fprintf(&b, "%v\n", r.Newest)
	}
	for i, l := range r.Legs {
		fmt.Fprintf(&b, "leg %d %s: %s", i, l.Name, l.Verdict)
		if l.Lag > 0 {
			fmt.Fprintf(&b, ", %d events behind", l.Lag)
		}
		b.WriteByte('\n')
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%v\n", f)
	}
	if len(r.Rebuild) > 0 {
		fmt.Fprintf(&b, "rebuild %s\n", strings.Trim(fmt.Sprint(r.Rebuild), "[]"))
	}
	return b.String()
}
