// SPDX-License-Identifier: MIT

package dmraid

import (
	"fmt"
	"strconv"

	"github.com/linuxblock/linuxblock/dm"
)

// Status is a status line of the target as the kernel printed it, field by
// field (raid_status in drivers/md/dm-raid.c). What the fields mean together
// is not what each of them says: see [Status.Health].
//
// The texts in it are parts of the line that was parsed. Of a line that a
// [dm.StatusReader] gave they are valid until its next read.
type Status struct {
	// Type is the level and layout that md has now or is reshaping to. Of a
	// raid10 it names the format, which a table's type does not.
	Type Type
	// Devices is md's number of legs, from the superblocks. It can differ
	// from the number of letters in Letters, which is the table's.
	Devices int
	// Letters has one for each leg of the table: see the Letter constants.
	Letters string
	// Done of Total sectors are through: of a leg, with raid10 of the array.
	// While the array is frozen, as it is when the device is suspended, Done
	// is 0 or stale.
	Done, Total Sectors

	// Fields is how many fields the line has: 4 before target version 1.5, 6
	// from then on, 7 from 1.9 and 8 from 1.10.
	Fields int

	Action Action // from 1.5 on
	// Mismatches is how many sectors the last check found to differ, in steps
	// of what is compared at once: 128 with raid1, a chunk with raid10, 8 for
	// each stripe of pages with raid 4, 5 and 6. It is 0 unless the last action
	// was a check. From 1.5 on.
	Mismatches Sectors
	// DataOffset is where the data of the first leg begin. From 1.9 on.
	DataOffset Sectors
	// Journal is LetterInSync for write-through, LetterOutOfSync for write-back,
	// LetterDead, or LetterMissing when there is no journal. From 1.10 on.
	Journal byte

	// Rest is what a newer kernel prints behind the eighth field.
	Rest string
}

// The letters of a leg in a status line (__raid_dev_status).
const (
	LetterInSync    = 'A'
	LetterOutOfSync = 'a' // alive and not in sync; during a resync or a reshape all are
	LetterDead      = 'D' // failed, or its superblock could not be read
	LetterMissing   = '-' // there is no device in this position; since 1.9.2
)

// ParseStatus reads what [dm.Status].Text holds for this target:
//
//	raid5_ls 3 AaA 128/8192 recover 0 0 -
//
// Lines of all target versions are taken. It does not allocate. The error
// matches ErrCorrupt; an empty text, which the kernel gives for a level and
// layout that it has no name for, is such an error too.
func ParseStatus(text string) (Status, error) {
	var s Status
	w := statusWords{rest: text}
	s.Type = Type(w.next())
	s.Devices = int(w.number(16))
	s.Letters = w.next()
	s.Done, s.Total = w.fraction()
	s.Fields = 4
	if w.more() {
		s.Action = actionOf(w.next())
		s.Mismatches = Sectors(w.number(64))
		s.Fields = 6
	}
	if w.more() {
		s.DataOffset = Sectors(w.number(64))
		s.Fields = 7
	}
	if w.more() {
		j := w.next()
		if w.bad == "" && (len(j) != 1 || !isLetter(j[0])) {
			w.bad = "journal"
		} else if w.bad == "" {
			s.Journal = j[0]
		}
		s.Fields = 8
	}
	s.Rest = w.left()
	if w.bad == "" {
		w.bad = s.flaw()
	}
	if w.bad != "" {
		return Status{}, &Error{Op: "status", Detail: fmt.Sprintf("%.200q: %s", text, w.bad), Err: ErrCorrupt}
	}
	return s, nil
}

// flaw is what a well-formed line can't say.
func (s *Status) flaw() string {
	switch {
	case len(s.Letters) > MaxLegs:
		return "too many legs"
	case s.Devices < 1:
		return "no devices"
	case s.Done > s.Total:
		return "done is more than the total" // rs_get_progress takes the smaller one
	}
	for i := range len(s.Letters) {
		if !isLetter(s.Letters[i]) {
			return "health"
		}
	}
	return ""
}

func isLetter(c byte) bool {
	return c == LetterInSync || c == LetterOutOfSync || c == LetterDead || c == LetterMissing
}

// actionOf gives the constant, so that the word of a caller's buffer is not
// kept; a word of a newer kernel stays as it is.
func actionOf(word string) Action {
	for _, a := range [...]Action{ActionIdle, ActionFrozen, ActionResync, ActionRecover, ActionCheck, ActionRepair, ActionReshape} {
		if string(a) == word {
			return a
		}
	}
	return Action(word)
}

// String is the line again.
func (s Status) String() string { return string(s.Append(nil)) }

// Append appends what String gives.
func (s Status) Append(b []byte) []byte {
	b = append(b, s.Type...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(s.Devices), 10)
	b = append(b, ' ')
	b = append(b, s.Letters...)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(s.Done), 10)
	b = append(b, '/')
	b = strconv.AppendUint(b, uint64(s.Total), 10)
	if s.Fields >= 6 {
		b = append(b, ' ')
		b = append(b, s.Action...)
		b = append(b, ' ')
		b = strconv.AppendUint(b, uint64(s.Mismatches), 10)
	}
	if s.Fields >= 7 {
		b = append(b, ' ')
		b = strconv.AppendUint(b, uint64(s.DataOffset), 10)
	}
	if s.Fields >= 8 {
		b = append(b, ' ', s.Journal)
	}
	if s.Rest != "" {
		b = append(b, ' ')
		b = append(b, s.Rest...)
	}
	return b
}

// StatusOf is ParseStatus for the status of a segment. The error matches
// ErrForeign when its target is not raid.
func StatusOf(s dm.Status) (Status, error) {
	if s.Type != targetName {
		return Status{}, &Error{Op: "status", Detail: "the target is " + s.Type, Err: ErrForeign}
	}
	return ParseStatus(s.Text)
}

// targetName is what the kernel calls the target.
const targetName = "raid"

// StatusParsers makes a client give the status of this target typed:
//
//	c, err := dm.Open(ctx, dm.WithTargets(dmraid.Parsers()), dm.WithStatus(dmraid.StatusParsers()))
//
// [dm.Client.Typed] gives a [Status] by value then.
func StatusParsers() dm.StatusParsers {
	return dm.StatusParsers{targetName: func(text string) (fmt.Stringer, error) {
		s, err := ParseStatus(text)
		if err != nil {
			return nil, err
		}
		return s, nil
	}}
}

// statusWords cuts a status line at its blanks. What is wrong first is kept.
type statusWords struct {
	rest string
	bad  string
}

func (w *statusWords) skip() {
	for len(w.rest) > 0 && w.rest[0] == ' ' {
		w.rest = w.rest[1:]
	}
}

func (w *statusWords) more() bool {
	w.skip()
	return w.rest != "" && w.bad == ""
}

func (w *statusWords) next() string {
	w.skip()
	end := 0
	for end < len(w.rest) && w.rest[end] != ' ' {
		end++
	}
	word := w.rest[:end]
	w.rest = w.rest[end:]
	if word == "" && w.bad == "" {
		w.bad = "a field is missing"
	}
	return word
}

func (w *statusWords) left() string {
	w.skip()
	s := w.rest
	for len(s) > 0 && s[len(s)-1] == ' ' {
		s = s[:len(s)-1]
	}
	return s
}

func (w *statusWords) number(bits int) uint64 {
	n, ok := parseDecimal(w.next(), bits)
	if !ok && w.bad == "" {
		w.bad = "a field is no number"
	}
	return n
}

func (w *statusWords) fraction() (done, total Sectors) {
	word := w.next()
	for i := range len(word) {
		if word[i] == '/' {
			a, ok1 := parseDecimal(word[:i], 64)
			b, ok2 := parseDecimal(word[i+1:], 64)
			if ok1 && ok2 {
				return Sectors(a), Sectors(b)
			}
		}
	}
	if w.bad == "" {
		w.bad = "the progress is not done/total"
	}
	return 0, 0
}

// parseDecimal is strconv.ParseUint without its error, which allocates.
func parseDecimal(s string, bits int) (n uint64, ok bool) {
	if s == "" || len(s) > 20 {
		return 0, false
	}
	limit := uint64(1)<<bits - 1
	for i := range len(s) {
		d := uint64(s[i] - '0')
		if d > 9 || n > (limit-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}
