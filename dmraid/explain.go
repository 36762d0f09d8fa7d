// SPDX-License-Identifier: MIT

package dmraid

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// layoutWords say where the data and the parity of a type are, after the
// algorithms of raid5.h and raid10.c.
var layoutWords = map[Type]string{
	RAID0:      "chunks go to the legs in turn; there is no redundancy",
	RAID1:      "each leg holds everything",
	RAID4:      "parity is on the first leg",
	RAID5N:     "parity is on the last leg",
	RAID5LA:    "left asymmetric: parity moves from the last leg to the first, data start at leg 0",
	RAID5RA:    "right asymmetric: parity moves from the first leg to the last, data start at leg 0",
	RAID5LS:    "left symmetric: parity moves from the last leg to the first, data start behind it",
	RAID5RS:    "right symmetric: parity moves from the first leg to the last, data start behind it",
	RAID6ZR:    "zero restart: P and Q move from the first legs to the last, Q behind P, data start at leg 0",
	RAID6NR:    "N restart: P and Q move from the last legs to the first, Q behind P, data start at leg 0",
	RAID6NC:    "N continue: P and Q move from the last legs to the first, Q before P, data start behind P",
	RAID6N6:    "P is on the last leg but one, Q on the last",
	RAID6LA6:   "Q is on the last leg, the others are raid5_la",
	RAID6RA6:   "Q is on the last leg, the others are raid5_ra",
	RAID6LS6:   "Q is on the last leg, the others are raid5_ls",
	RAID6RS6:   "Q is on the last leg, the others are raid5_rs",
	RAID10Far:  "", // raid10 all
	RAID10Off:  "",
	RAID10Near: "",
	RAID10:     "",
}

// Explain tells in words what a line of a table means, "start length raid
// arguments" as dmsetup prints it: see [Table.Explain]. The line may be a
// person's or one that a kernel printed: when #params does not fit it is
// taken for printed, and so is a max_write_behind doubled.
func Explain(line string) (string, error) {
	words := strings.Fields(line)
	if len(words) < 4 || words[2] != "raid" {
		return "", &Error{Op: "explain", Detail: "want \"start length raid arguments\"", Err: ErrTable}
	}
	length, err := strconv.ParseUint(words[1], 10, 54)
	if err != nil {
		return "", &Error{Op: "explain", Detail: fmt.Sprintf("length %q is no number of sectors", words[1]), Err: ErrTable}
	}
	_, params, _ := strings.Cut(line, " raid ")
	t, err := parse(params, reader{})
	note := ""
	if err != nil {
		printed, printedErr := parse(params, reader{printed: true, version: versionNewest})
		if printedErr != nil {
			return "", err
		}
		t, note = printed, "  - #params does not fit: this is read as a line that a kernel printed\n"
	}
	text := t.Explain(Sectors(length))
	if note != "" {
		if !strings.Contains(text, "\nnotes\n") {
			text += "notes\n"
		}
		text += note
	}
	return text, nil
}

// explainer collects lines "name  text".
type explainer struct {
	b     strings.Builder
	notes []string
}

func (e *explainer) row(name, format string, args ...any) {
	fmt.Fprintf(&e.b, "%-20s %s\n", name, fmt.Sprintf(format, args...))
}

func (e *explainer) note(format string, args ...any) {
	e.notes = append(e.notes, fmt.Sprintf(format, args...))
}

// Explain tells in words what t makes of a segment of the given length:
// level and layout, legs, capacity, how many legs it can lose, each
// parameter with its unit, and what to beware of in the kernel. It is text
// for people, of many lines, and may change.
func (t Table) Explain(length Sectors) string {
	var e explainer
	e.row(string(t.Type), "level %d, %s", t.Type.Level(), t.layout())
	refused := Check(t.Params(), length, nil)
	if refused == nil {
		e.sizes(t, length)
	}
	e.legs(t)
	e.params(t, length)
	e.beware(t, length, refused)
	if len(e.notes) > 0 {
		e.b.WriteString("notes\n")
		for _, n := range e.notes {
			e.b.WriteString("  - " + n + "\n")
		}
	}
	return e.b.String()
}

func (t Table) layout() string {
	if !t.Type.IsRAID10() {
		return layoutWords[t.Type]
	}
	n := t.copies()
	switch t.Format {
	case FormatFar:
		return fmt.Sprintf("far: %d copies of each chunk, each in its own part of the legs and on the next leg", n)
	case FormatOffset:
		return fmt.Sprintf("offset: %d copies of each stripe below each other, each moved on by a leg", n)
	}
	return fmt.Sprintf("near: %d copies of each chunk side by side", n)
}

// copies is raid10's number of them, 2 by default.
func (t Table) copies() int {
	if t.Copies > 0 {
		return t.Copies
	}
	return 2
}

// Tolerates is how many legs can be lost, whichever they are: with raid10
// more may be lost as long as a copy of everything is left.
func (t Table) Tolerates() int {
	switch {
	case t.Type.Level() == 1:
		return len(t.Legs) - 1
	case t.Type.IsRAID10():
		return t.copies() - 1
	}
	return t.Type.Parity()
}

func (e *explainer) sizes(t Table, length Sectors) {
	s := t.shape(length)
	e.row("capacity", "%s", amount(length))
	if t.Type.Level() != 1 {
		e.row("chunk", "%s", amount(t.ChunkSize))
	}
	e.row("of each leg", "%s of data, metadata device of %s or more", amount(s.leg), amount(t.MetaSectors(length)))
	missing := ""
	for _, l := range t.Legs {
		if l.Missing() {
			missing = ", missing ones included"
		}
	}
	switch n := t.Tolerates(); {
	case t.Type.IsRAID10():
		e.row("may fail", "any %d of %d legs%s; more when a copy of everything is left", n, len(t.Legs), missing)
	case n == 0:
		e.row("may fail", "none")
	default:
		e.row("may fail", "any %d of %d legs%s", n, len(t.Legs), missing)
	}
}

func (e *explainer) legs(t Table) {
	for i, l := range t.Legs {
		name := fmt.Sprintf("leg %d", i)
		switch {
		case l.Missing() && l.Meta == "":
			e.row(name, "missing")
		case l.Meta == "":
			e.row(name, "%s, no metadata", l.Data)
		default:
			e.row(name, "%s, metadata %s", l.Data, l.Meta)
		}
	}
}

func (e *explainer) params(t Table, length Sectors) {
	switch t.Sync {
	case SyncForce:
		e.row(string(paramSync), "superblocks are not read; meant to sync all legs anew")
	case SyncNone:
		e.row(string(paramNoSync), "the legs are taken for in sync as they are")
	}
	if len(t.Rebuild) > 0 {
		e.row(string(paramRebuild), "made anew from the others: %s", list(t.Rebuild))
	}
	if n := t.DaemonSleep; n != 0 {
		e.row(string(paramSleep), "%d jiffies between cleanings of the bitmap: %g s at HZ=250; one that an existing bitmap holds has precedence", n, float64(n)/250)
	}
	if n := t.MinRecoveryRate; n != 0 {
		e.row(string(paramMinRate), "a sync does %d KiB/s for each leg at least", n)
	}
	if n := t.MaxRecoveryRate; n != 0 {
		e.row(string(paramMaxRate), "a sync does %d KiB/s for each leg at most", n)
	}
	if len(t.WriteMostly) > 0 {
		e.row(string(paramMostly), "read only when no other leg is there: %s", list(t.WriteMostly))
	}
	if n := t.MaxWriteBehind; n != 0 {
		e.row(string(paramBehind), "write-mostly legs may lag by %d writes (%d/2)", n/2, n)
	}
	if n := t.StripeCache; n != 0 {
		e.row(string(paramCache), "%d stripes of a page for each leg: %s of memory", n, amount(Sectors(n)*pageSectors*Sectors(len(t.Legs))))
	}
	if t.Type.Redundant() && t.JournalDev == "" {
		region, why := t.RegionSize, ""
		if region == 0 {
			region, why = regionFor(length), ", the default"
		}
		e.row(string(paramRegion), "%s for each bit of the bitmap%s", amount(region), why)
	}
	if t.NearSets {
		e.row(string(paramNearSets), "copies go round all legs, not within sets of %d", t.copies())
	}
	if n := t.DeltaDisks; n > 0 {
		e.row(string(paramDelta), "a reshape to %d legs more", n)
	} else if n < 0 {
		e.row(string(paramDelta), "a reshape to %d legs less", -n)
	}
	if o := t.DataOffset; o != nil && *o == 0 {
		e.row(string(paramDataOffset), "the room for a reshape is given back")
	} else if o != nil {
		e.row(string(paramDataOffset), "%s of room on each data device for a reshape", amount(*o))
	}
	if t.JournalDev != "" {
		mode, what := t.JournalMode, "data and parity go to the journal first"
		if mode == "" {
			mode = WriteThrough
		}
		if mode == WriteBack {
			what = "writes are done when the journal has them: lose it and they are lost"
		}
		e.row(string(paramJournal), "%s, %s: %s", t.JournalDev, mode, what)
	}
}

// beware tells what the kernel does wrong, or would refuse.
func (e *explainer) beware(t Table, length Sectors, refused error) {
	if refused != nil {
		e.note("the kernel refuses this table: %s", detailOf(refused))
	} else if err := t.Validate(length); err != nil {
		e.note("the kernel takes this table, this library does not: %s", detailOf(err))
	}
	meta := false
	for _, l := range t.Legs {
		meta = meta || l.Meta != ""
	}
	if !meta && t.Type.Redundant() && !t.Type.IsRAID10() && t.Sync != SyncNone {
		e.note("without metadata the array is never synced, and says it is")
	}
	if t.Sync == SyncForce {
		e.note("sync does not sync on most kernels (analyse_superblocks): an array that is not in sync passes for clean")
	}
	if t.Sync == SyncNone && meta {
		e.note("nosync declares an array clean that was stopped while it was written to")
	}
	if len(t.Rebuild) > 0 {
		e.note("rebuild stays in the table when it is done: load it again without")
	}
	if t.DeltaDisks != 0 || t.DataOffset != nil {
		e.note("delta_disks and data_offset are done once: load the table again without")
	}
	if t.MaxWriteBehind > 1 {
		e.note("the kernel prints max_write_behind %d for this (raid_status): half of it", t.MaxWriteBehind/2)
	}
	if t.StripeCache != 0 {
		e.note("the kernel prints as stripe_cache how large the cache is at the moment")
	}
	if t.NearSets {
		e.note("the kernel does not print raid10_use_near_sets, but counts it: its line can't be loaded")
	}
	if t.Type == RAID4 {
		e.note("raid4 has its parity on the first leg, whatever the kernel's documentation says; raid5_n has it on the last")
	}
	if t.JournalDev != "" {
		e.note("an array with a journal has no bitmap, and can be neither reshaped nor taken over")
	}
}

func detailOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Detail
	}
	return err.Error()
}

func list(legs []int) string {
	words := make([]string, len(legs))
	for i, l := range legs {
		words[i] = "leg " + strconv.Itoa(l)
	}
	return strings.Join(words, ", ")
}

// amount prints "4 MiB (8192 sectors)".
func amount(s Sectors) string {
	size, unit := float64(s)/2, 0
	units := [...]string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for size >= 1024 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	return fmt.Sprintf("%s %s (%d sectors)", strconv.FormatFloat(float64(int64(size*10))/10, 'f', -1, 64), units[unit], uint64(s))
}
