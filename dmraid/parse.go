// SPDX-License-Identifier: MIT

package dmraid

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/linuxblock/linuxblock/dm"
)

// Parse reads the argument text of a table that a person or a program wrote:
// [Table.Params] gives it back. Words may be in any case and order. What the
// kernel would read in another way than it looks is an error: a #params that
// does not fit, words behind the last leg. Whether the kernel takes the
// table is for [Check] and [Table.Validate] to say.
//
// A chunk size of raid1, which the kernel does not use, is dropped, and so is
// a parameter with the value 0 where that is the default. The text of a
// running array is read with [ParsePrinted].
func Parse(params string) (dm.Target, error) {
	return asTarget(parse(params, reader{}))
}

// ParsePrinted reads the argument text that a kernel printed for a table that
// is loaded, target version 1.9.0 or newer; see [ParserFor] for older ones.
// The [Table] can be loaded again and has the same effect, where raid_status
// in dm-raid.c prints something else than what it was given:
//   - #params counts raid10_use_near_sets, which is not printed, and before
//     1.15.1 rebuild, write_mostly and the journal's words too often. The
//     count is not believed, but an odd surplus gives NearSets back.
//   - max_write_behind is printed halved, and is doubled here.
//   - stripe_cache is what the cache has grown or shrunk to.
//   - delta_disks is 0 after legs were taken away, and is dropped.
//   - write_mostly is -1 for a leg that failed; [Table.Reload] drops it.
//
// What was to be done once, such as a rebuild, stays in the text when it has
// been done: [Table.Reload] leaves it out.
func ParsePrinted(params string) (dm.Target, error) {
	return asTarget(parse(params, reader{printed: true, version: versionNewest}))
}

// ParserFor is ParsePrinted for lines of target version v. Before 1.9.0
// stripe_cache was printed in sectors, two for each entry, and an odd surplus
// of #params is a "sync" that is hidden while the array is not in sync.
func ParserFor(v dm.Version) dm.Parser {
	return func(params string) (dm.Target, error) {
		return asTarget(parse(params, reader{printed: true, version: v}))
	}
}

// Parsers is what a [dm.Client] needs to read the tables of arrays:
//
//	dm.Open(ctx, dm.WithTargets(dmraid.Parsers()))
//
// It is for text that a kernel printed; see [TextParsers] for dm.ParseTable.
func Parsers() dm.Parsers { return dm.Parsers{"raid": ParsePrinted} }

// TextParsers is for [dm.ParseTable] with lines that a person wrote.
func TextParsers() dm.Parsers { return dm.Parsers{"raid": Parse} }

func asTarget(t Table, err error) (dm.Target, error) {
	if err != nil {
		return nil, err
	}
	return t, nil
}

// reader says whose text it is.
type reader struct {
	printed bool
	version dm.Version // of the kernel that printed
}

var errTooFew = errors.New("the line ends too early")

func badLine(err error) error {
	return &Error{Op: "parse", Detail: err.Error(), Err: ErrTable}
}

func parse(params string, r reader) (Table, error) {
	var t Table
	words := dm.SplitArgs(params)
	if len(words) < 3 {
		return t, badLine(errTooFew)
	}
	var err error
	if t.Type, err = ParseType(words[0]); err != nil {
		return Table{}, badLine(err)
	}
	count, err := strconv.ParseUint(words[1], 10, 31)
	if err != nil {
		return Table{}, badLine(fmt.Errorf("#params %q is no number", words[1]))
	}
	words = words[2:]
	chunk, err := strconv.ParseInt(words[0], 10, 63)
	switch {
	case err != nil:
		return Table{}, badLine(fmt.Errorf("chunk size %q is no number", words[0]))
	case t.Type == RAID1: // "Ignoring chunk size parameter for RAID 1"
	case chunk < 0:
		return Table{}, badLine(fmt.Errorf("chunk size %d", chunk))
	default:
		t.ChunkSize = Sectors(chunk)
	}
	p := tableParser{t: &t, r: r, words: words[1:]}
	used, err := p.params()
	if err != nil {
		return Table{}, badLine(err)
	}
	if err := p.count(int(count), used+1); err != nil {
		return Table{}, badLine(err)
	}
	if err := p.legs(); err != nil {
		return Table{}, badLine(err)
	}
	return t, nil
}

// tableParser reads what is behind the chunk size.
type tableParser struct {
	t     *Table
	r     reader
	words []string
	seen  []param
}

// params reads parameters until a word is none, and gives how many words
// they are. No number is the name of a parameter, so that is where the legs
// start, whatever was counted.
func (p *tableParser) params() (used int, err error) {
	all := len(p.words)
	for len(p.words) > 0 {
		name, ok := paramOf(p.words[0])
		if !ok {
			break
		}
		p.words = p.words[1:]
		value := ""
		if !name.flag() {
			if len(p.words) == 0 {
				return 0, fmt.Errorf("%s has no value: %w", name, errTooFew)
			}
			value, p.words = p.words[0], p.words[1:]
		}
		if name != paramRebuild && name != paramMostly {
			if slices.Contains(p.seen, name) {
				return 0, fmt.Errorf("%s is given twice", name)
			}
			p.seen = append(p.seen, name)
		}
		if err := p.set(name, value); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
	}
	slices.Sort(p.t.Rebuild)
	slices.Sort(p.t.WriteMostly)
	return all - len(p.words), nil
}

func (p *tableParser) set(name param, value string) error {
	t := p.t
	switch name {
	case paramSync, paramNoSync:
		if t.Sync != SyncDefault {
			return errors.New("sync and nosync exclude each other")
		}
		t.Sync = SyncForce
		if name == paramNoSync {
			t.Sync = SyncNone
		}
		return nil
	case paramNearSets:
		t.NearSets = true
		return nil
	case paramFormat:
		for _, f := range [...]Format{FormatNear, FormatOffset, FormatFar} {
			if foldEqual(string(f), value) {
				t.Format = f
				return nil
			}
		}
		return fmt.Errorf("%q is none of near, offset, far", value)
	case paramJournal:
		if value == "-" || value == "" {
			return errors.New("no device")
		}
		t.JournalDev = value
		return nil
	case paramMode:
		for _, m := range [...]JournalMode{WriteThrough, WriteBack} {
			if foldEqual(string(m), value) {
				t.JournalMode = m
				return nil
			}
		}
		return fmt.Errorf("%q is none of writethrough, writeback", value)
	}
	// 62 bits: what is doubled below can't overflow. Positions and numbers
	// of legs must fit an int anywhere.
	bits := 62
	switch name {
	case paramRebuild, paramMostly, paramCopies, paramDelta:
		bits = 32
	}
	n, err := strconv.ParseInt(value, 10, bits)
	if err != nil {
		return fmt.Errorf("%q is no number", value)
	}
	return p.number(name, n)
}

func (p *tableParser) number(name param, n int64) error {
	t := p.t
	switch name {
	case paramRebuild:
		t.Rebuild = append(t.Rebuild, int(n))
	case paramMostly:
		t.WriteMostly = append(t.WriteMostly, int(n))
	case paramSleep:
		t.DaemonSleep = n
	case paramMinRate:
		t.MinRecoveryRate = n
	case paramMaxRate:
		t.MaxRecoveryRate = n
	case paramBehind:
		if p.r.printed {
			n *= 2
		}
		t.MaxWriteBehind = n
	case paramCache:
		if p.r.printed && before(p.r.version, versionReshape) {
			n /= 2
		}
		// 0 is not the default of 256, but raised to half a chunk like 1.
		if n == 0 {
			n = 1
		}
		t.StripeCache = n
	case paramRegion:
		if n < 0 {
			return fmt.Errorf("%d is negative", n)
		}
		t.RegionSize = Sectors(n)
	case paramCopies:
		if n == 0 {
			return errors.New("0 copies")
		}
		t.Copies = int(n)
	case paramDelta:
		if n == 0 && !p.r.printed {
			return errors.New("0 legs")
		}
		t.DeltaDisks = int(n)
	case paramDataOffset:
		if n < 0 {
			return fmt.Errorf("%d is negative", n)
		}
		s := Sectors(n)
		t.DataOffset = &s
	}
	return nil
}

// count compares #params with the words that are there.
func (p *tableParser) count(count, used int) error {
	if count == used {
		return nil
	}
	if !p.r.printed {
		if len(p.words) > 0 && !number(p.words[0]) {
			return fmt.Errorf("parameter %q is not known", p.words[0])
		}
		return fmt.Errorf("#params is %d, but there are %d words; if a kernel printed it, ParsePrinted reads it", count, used)
	}
	if count > used && (count-used)%2 == 1 {
		switch t := p.t; {
		case before(p.r.version, versionReshape):
			if t.Sync == SyncDefault {
				t.Sync = SyncForce
			}
		case t.Type.IsRAID10() && (t.Format == FormatFar || t.Format == FormatOffset):
			t.NearSets = true
		}
	}
	return nil
}

func number(word string) bool {
	_, err := strconv.ParseUint(word, 10, 31)
	return err == nil
}

// legs reads "#legs meta data…", which must be all that is left.
func (p *tableParser) legs() error {
	if len(p.words) == 0 {
		return fmt.Errorf("number of legs: %w", errTooFew)
	}
	n, err := strconv.ParseUint(p.words[0], 10, 31)
	switch left := len(p.words) - 1; {
	case err != nil && p.words[0] != "-":
		return fmt.Errorf("parameter %q is not known", p.words[0])
	case err != nil:
		return fmt.Errorf("number of legs: %q is no number", p.words[0])
	case n == 0 || n > MaxLegs:
		return fmt.Errorf("%d legs, want 1 to %d", n, MaxLegs)
	case 2*n > uint64(left):
		return fmt.Errorf("%d legs have %d words, not %d: %w", n, 2*n, left, errTooFew)
	case 2*n < uint64(left):
		return fmt.Errorf("%d words behind the %d legs, which the kernel would ignore", uint64(left)-2*n, n)
	}
	p.t.Legs = make([]Leg, n)
	for i := range p.t.Legs {
		p.t.Legs[i] = Leg{Meta: unDash(p.words[1+2*i]), Data: unDash(p.words[2+2*i])}
	}
	return nil
}

func unDash(word string) string {
	if word == "-" {
		return ""
	}
	return word
}
