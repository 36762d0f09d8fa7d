// SPDX-License-Identifier: MIT

package dmraid

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/linuxblock/linuxblock/dm"
)

// ErrAmbiguous says that a line of the draft grammar can be read in two ways.
var ErrAmbiguous = errors.New("ambiguous")

// ParseDraft reads the argument text of the first draft of this target, from
// the mail of 2010 that proposed it, and gives the table of today:
//
//	type #params chunk [rebuild_A [rebuild_B]] [option…] #legs meta data…
//
// The types are raid1, raid4, raid5_la, raid5_ra, raid5_ls, raid5_rs,
// raid6_zr, raid6_nr and raid6_nc. One position to be rebuilt may stand
// behind the chunk size with raid4 and raid5, two with raid6, as plain
// numbers; -1 is none. An option is one word:
//
//	sync, nosync        the same words; see [Table.Sync]
//	rebuild=<position>  rebuild; may be repeated
//	write_back=<n>      max_write_behind, in sectors, two a write; raid1
//	daemon_sleep=<n>    daemon_sleep
//	stripecache=<n>     stripe_cache, in entries; raid 4, 5, 6
//	minspeed=<n>        min_recovery_rate, in KiB/s for each leg
//	maxspeed=<n>        max_recovery_rate, in KiB/s for each leg
//
// The mail gives no units; these are those of today's words, and of md's own
// sync_speed_min and sync_speed_max. The chunk size of raid1 is dropped.
//
// The table asks for what the mail's matrix of sync, nosync and rebuild says,
// as far as words can; [MailState] has the matrix itself. Rows that it calls
// invalid are errors: sync with a rebuild, and a rebuild without metadata
// and without nosync. nosync with a rebuild, which today's kernel refuses,
// is the rebuild alone: the mail's two rows for it are the same. A draft
// without metadata and without nosync wanted a resync, which no kernel since
// does: see [Traps].
//
// The error is an *[Error] with [ErrTable], and with [ErrAmbiguous] when the
// line can be read in two ways: positions that are given both ways, one of
// two, or twice.
func ParseDraft(params string) (Table, error) {
	d := draft{}
	if err := d.read(dm.SplitArgs(params)); err != nil {
		cause := ErrTable
		if _, ok := err.(ambiguous); ok {
			cause = fmt.Errorf("%w: %w", ErrAmbiguous, ErrTable)
		}
		return Table{}, &Error{Op: "draft", Detail: err.Error(), Err: cause}
	}
	return d.t, nil
}

// ambiguous is what can be read in two ways.
type ambiguous string

func (a ambiguous) Error() string { return string(a) }

func twoWays(format string, args ...any) error { return ambiguous(fmt.Sprintf(format, args...)) }

var draftTypes = []Type{RAID1, RAID4, RAID5LA, RAID5RA, RAID5LS, RAID5RS, RAID6ZR, RAID6NR, RAID6NC}

type draft struct {
	t          Table
	positional []int // as they stand, -1 included
	named      []int
	nosync     bool
	sync       bool
	seen       []string
}

func (d *draft) read(words []string) error {
	if len(words) < 4 {
		return errTooFew
	}
	var err error
	if d.t.Type, err = ParseType(words[0]); err != nil {
		return err
	}
	if !slices.Contains(draftTypes, d.t.Type) {
		return fmt.Errorf("the draft has no type %s", d.t.Type)
	}
	params, rest, err := splitDraft(words[1:])
	if err != nil {
		return err
	}
	chunk, err := strconv.ParseUint(params[0], 10, 31)
	if err != nil {
		return fmt.Errorf("chunk size %q is no number", params[0])
	}
	if d.t.Type != RAID1 {
		d.t.ChunkSize = Sectors(chunk)
	}
	for i, word := range params[1:] {
		if err := d.param(i, word); err != nil {
			return err
		}
	}
	p := tableParser{t: &d.t, words: rest}
	if err := p.legs(); err != nil {
		return err
	}
	if err := d.rebuild(); err != nil {
		return err
	}
	return d.matrix()
}

// splitDraft cuts "#params params… #legs meta data…". When the count does
// not fit, it looks for the one that would.
func splitDraft(words []string) (params, rest []string, err error) {
	count, err := strconv.ParseUint(words[0], 10, 31)
	if err != nil || count == 0 {
		return nil, nil, fmt.Errorf("#params %q: want a number from 1 on", words[0])
	}
	words = words[1:]
	fits := func(n int) bool {
		if n < 1 || n >= len(words) {
			return false
		}
		legs, err := strconv.ParseUint(words[n], 10, 31)
		return err == nil && legs > 0 && 2*legs == uint64(len(words)-n-1)
	}
	if n := int(count); fits(n) {
		return words[:n], words[n:], nil
	}
	for n := range words {
		if fits(n) {
			return nil, nil, fmt.Errorf("#params is %d, but the legs begin behind %d words", count, n)
		}
	}
	return nil, nil, fmt.Errorf("no number of legs with a pair of words for each behind %d words", count)
}

// param takes the i-th word behind the chunk size.
func (d *draft) param(i int, word string) error {
	if n, err := strconv.ParseInt(word, 10, 32); err == nil {
		switch {
		case d.t.Type == RAID1:
			return fmt.Errorf("raid1 has no rebuild argument: %d is one word too many", n)
		case i != len(d.positional):
			return twoWays("the number %d stands behind an option, rebuild arguments behind the chunk size", n)
		case i >= d.t.Type.Parity():
			return fmt.Errorf("%s takes %d rebuild arguments, %d is one more", d.t.Type, d.t.Type.Parity(), n)
		}
		d.positional = append(d.positional, int(n))
		return nil
	}
	key, value, option := strings.Cut(word, "=")
	if key = strings.ToLower(key); !option {
		switch key {
		case "sync":
			d.sync = true
		case "nosync":
			d.nosync = true
		default:
			if _, today := paramOf(key); today {
				return fmt.Errorf("%q is a word of today's grammar: Parse reads it", word)
			}
			return fmt.Errorf("option %q is not known", word)
		}
		return d.once(key)
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n < 0 {
		return fmt.Errorf("%s: %q is no number from 0 on", key, value)
	}
	if key == "rebuild" {
		d.named = append(d.named, int(n))
		return nil
	}
	if err := d.number(key, n); err != nil {
		return err
	}
	return d.once(key)
}

func (d *draft) once(key string) error {
	if slices.Contains(d.seen, key) {
		return fmt.Errorf("%s is given twice", key)
	}
	d.seen = append(d.seen, key)
	return nil
}

func (d *draft) number(key string, n int64) error {
	p := tableParser{t: &d.t}
	switch key {
	case "write_back":
		if d.t.Type != RAID1 {
			return errors.New("write_back is for raid1")
		}
		return p.number(paramBehind, n)
	case "daemon_sleep":
		return p.number(paramSleep, n)
	case "stripecache":
		if d.t.Type == RAID1 {
			return errors.New("stripecache is for raid 4, 5 and 6")
		}
		return p.number(paramCache, n)
	case "minspeed":
		return p.number(paramMinRate, n)
	case "maxspeed":
		return p.number(paramMaxRate, n)
	}
	return fmt.Errorf("option %q is not known", key)
}

// rebuild puts the two forms of it together.
func (d *draft) rebuild() error {
	n := len(d.t.Legs)
	if len(d.positional) > 0 && len(d.named) > 0 {
		return twoWays("positions to rebuild both behind the chunk size and as rebuild=")
	}
	if want := d.t.Type.Parity(); len(d.positional) > 0 && len(d.positional) < want {
		return twoWays("%s takes %d rebuild arguments or none; -1 is no position", d.t.Type, want)
	}
	for _, i := range append(d.positional, d.named...) {
		switch {
		case i == -1 && len(d.positional) > 0:
			continue
		case i < 0 || i >= n:
			return fmt.Errorf("no leg %d to rebuild: %d legs count from 0", i, n)
		case slices.Contains(d.t.Rebuild, i):
			return twoWays("leg %d is to be rebuilt twice", i)
		case d.t.Legs[i].Missing():
			return fmt.Errorf("leg %d is to be rebuilt, but is missing", i)
		}
		d.t.Rebuild = append(d.t.Rebuild, i)
	}
	slices.Sort(d.t.Rebuild)
	return nil
}

// matrix is what the mail's table says of words that meet.
func (d *draft) matrix() error {
	rebuild := len(d.t.Rebuild) > 0
	meta := slices.ContainsFunc(d.t.Legs, func(l Leg) bool { return l.Meta != "" })
	switch {
	case d.sync && d.nosync:
		return errors.New("sync and nosync exclude each other")
	case rebuild && d.sync:
		return errors.New("sync with a rebuild is invalid in the mail's matrix")
	case rebuild && !meta && !d.nosync:
		return errors.New("a rebuild without metadata needs nosync in the mail's matrix: nobody knows that the array is in sync")
	case rebuild:
		// nosync changes nothing beside a rebuild.
	case d.sync:
		d.t.Sync = SyncForce
	case d.nosync:
		d.t.Sync = SyncNone
	}
	return nil
}
