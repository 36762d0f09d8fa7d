// SPDX-License-Identifier: MIT

package raidtest

import (
	"slices"
	"strconv"
	"strings"
)

// key is a parameter of a table, in the order in which raid_status prints
// them.
type key int

const (
	keySync key = iota
	keyNosync
	keyRebuild
	keyDaemonSleep
	keyMinRate
	keyMaxRate
	keyWriteMostly
	keyWriteBehind
	keyStripeCache
	keyRegionSize
	keyCopies
	keyFormat
	keyDelta
	keyDataOffset
	keyJournalDev
	keyJournalMode
	keyNearSets // counted and never printed
	keyCount
)

var keyNames = [keyCount]string{
	"sync", "nosync", "rebuild", "daemon_sleep", "min_recovery_rate", "max_recovery_rate",
	"write_mostly", "max_write_behind", "stripe_cache", "region_size", "raid10_copies",
	"raid10_format", "delta_disks", "data_offset", "journal_dev", "journal_mode", "raid10_use_near_sets",
}

// arguments is what the constructor keeps of its words.
type arguments struct {
	typ         *raidType
	chunk       int
	given       [keyCount]bool
	number      [keyCount]int
	rebuild     []int // ascending, as is writeMostly
	writeMostly []int
	format      int // of raid10
	journal     string
	writeBack   bool
	legs        [][2]string // metadata and data, "-" for none
}

// parse takes words apart that the constructor's rules have passed
// (parse_raid_params, parse_dev_params). ok is false for others.
func parse(argv []string) (a arguments, ok bool) {
	if len(argv) < 3 {
		return a, false
	}
	a.typ = typeByName(argv[0])
	params, err := strconv.Atoi(argv[1])
	if a.typ == nil || err != nil || params < 1 || params+3 > len(argv) {
		return a, false
	}
	rest := argv[2+params:]
	argv = argv[2 : 2+params]
	if a.chunk, err = strconv.Atoi(argv[0]); err != nil {
		return a, false
	}
	if a.typ.level == 1 {
		a.chunk = 0
	}
	a.number[keyCopies], a.number[keyStripeCache] = 2, 256
	for argv = argv[1:]; len(argv) > 0; {
		k := key(slices.IndexFunc(keyNames[:], func(n string) bool { return strings.EqualFold(n, argv[0]) }))
		if k < 0 {
			return a, false
		}
		a.given[k] = true
		if k == keySync || k == keyNosync || k == keyNearSets {
			argv = argv[1:]
			continue
		}
		if len(argv) < 2 || !a.set(k, argv[1]) {
			return a, false
		}
		argv = argv[2:]
	}
	slices.Sort(a.rebuild)
	slices.Sort(a.writeMostly)
	a.writeMostly = slices.Compact(a.writeMostly)
	n, err := strconv.Atoi(rest[0])
	if err != nil || n < 1 || len(rest) < 1+2*n {
		return a, false
	}
	for i := range n {
		a.legs = append(a.legs, [2]string{rest[1+2*i], rest[2+2*i]})
	}
	return a, true
}

func (a *arguments) set(k key, word string) bool {
	switch k {
	case keyJournalDev:
		a.journal = word
		return true
	case keyJournalMode:
		a.writeBack = strings.EqualFold(word, "writeback")
		return true
	case keyFormat:
		i := slices.IndexFunc([]string{"near", "offset", "far"}, func(n string) bool { return strings.EqualFold(n, word) })
		a.format = raid10Near + i
		return i >= 0
	}
	n, err := strconv.ParseInt(word, 10, 32)
	if err != nil {
		return false
	}
	a.number[k] = int(n)
	switch k {
	case keyRebuild:
		a.rebuild = append(a.rebuild, int(n))
	case keyWriteMostly:
		a.writeMostly = append(a.writeMostly, int(n))
	}
	return true
}

// params is the count that raid_status prints: of the chunk size, a word for
// a flag, two for anything else.
func (a *arguments) params() int {
	n := 1
	for k := range keyCount {
		switch {
		case !a.given[k]:
		case k == keySync || k == keyNosync || k == keyNearSets:
			n++
		case k == keyRebuild:
			n += 2 * len(a.rebuild)
		case k == keyWriteMostly:
			n += 2 * len(a.writeMostly)
		default:
			n += 2
		}
	}
	return n
}

// layout is the layout of raid10 that is asked for, or that of the type.
func (a *arguments) layout() int {
	if a.typ.level != 10 {
		return a.typ.layout
	}
	return layoutWord(a.format, a.number[keyCopies], a.given[keyNearSets])
}
