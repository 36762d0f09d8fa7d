// SPDX-License-Identifier: MIT

package dmraid

import (
	"fmt"
	"strconv"

	"github.com/linuxblock/linuxblock/dm"
)

// param is the word of a parameter, as __arg_name_flags of dm-raid.c has it.
type param string

const (
	paramSync       param = "sync"
	paramNoSync     param = "nosync"
	paramRebuild    param = "rebuild"
	paramSleep      param = "daemon_sleep"
	paramMinRate    param = "min_recovery_rate"
	paramMaxRate    param = "max_recovery_rate"
	paramMostly     param = "write_mostly"
	paramBehind     param = "max_write_behind"
	paramCache      param = "stripe_cache"
	paramRegion     param = "region_size"
	paramCopies     param = "raid10_copies"
	paramFormat     param = "raid10_format"
	paramNearSets   param = "raid10_use_near_sets"
	paramDelta      param = "delta_disks"
	paramDataOffset param = "data_offset"
	paramJournal    param = "journal_dev"
	paramMode       param = "journal_mode"
)

// documented is the order in which raid_status prints since target version
// 1.11.0, and before 1.9.0. What it does not print stands at its place in
// the documentation: raid10_use_near_sets.
var documented = [...]param{
	paramSync, paramNoSync, paramRebuild, paramSleep, paramMinRate, paramMaxRate,
	paramMostly, paramBehind, paramCache, paramRegion, paramCopies, paramFormat,
	paramNearSets, paramDelta, paramDataOffset, paramJournal, paramMode,
}

// unordered is what raid_status of 1.9.0 to 1.10.x printed.
var unordered = [...]param{
	paramFormat, paramCopies, paramNoSync, paramSync, paramRegion, paramDataOffset,
	paramSleep, paramDelta, paramCache, paramRebuild, paramMostly, paramBehind,
	paramMaxRate, paramMinRate, paramNearSets, paramJournal, paramMode,
}

// flag reports whether p has no value behind it.
func (p param) flag() bool {
	return p == paramSync || p == paramNoSync || p == paramNearSets
}

// paramOf looks a word up in any case.
func paramOf(word string) (param, bool) {
	for _, p := range documented {
		if foldEqual(string(p), word) {
			return p, true
		}
	}
	return "", false
}

// words are what t has for p: none when it is the kernel's default.
func (t Table) words(p param) []string {
	one := func(n int64) []string {
		if n == 0 {
			return nil
		}
		return []string{string(p), strconv.FormatInt(n, 10)}
	}
	each := func(legs []int) (w []string) {
		for _, i := range legs {
			w = append(w, string(p), strconv.Itoa(i))
		}
		return w
	}
	text := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{string(p), s}
	}
	flag := func(set bool) []string {
		if !set {
			return nil
		}
		return []string{string(p)}
	}
	switch p {
	case paramSync:
		return flag(t.Sync == SyncForce)
	case paramNoSync:
		return flag(t.Sync == SyncNone)
	case paramRebuild:
		return each(t.Rebuild)
	case paramSleep:
		return one(t.DaemonSleep)
	case paramMinRate:
		return one(t.MinRecoveryRate)
	case paramMaxRate:
		return one(t.MaxRecoveryRate)
	case paramMostly:
		return each(t.WriteMostly)
	case paramBehind:
		return one(t.MaxWriteBehind)
	case paramCache:
		return one(t.StripeCache)
	case paramRegion:
		if t.RegionSize == 0 {
			return nil
		}
		return text(sectorWord(t.RegionSize))
	case paramCopies:
		return one(int64(t.Copies))
	case paramFormat:
		return text(string(t.Format))
	case paramNearSets:
		return flag(t.NearSets)
	case paramDelta:
		return one(int64(t.DeltaDisks))
	case paramDataOffset:
		if t.DataOffset == nil {
			return nil
		}
		return text(sectorWord(*t.DataOffset))
	case paramJournal:
		return text(t.JournalDev)
	case paramMode:
		return text(string(t.JournalMode))
	}
	return nil
}

func sectorWord(s Sectors) string { return strconv.FormatUint(uint64(s), 10) }

// line is the whole argument text with the parameters in the given order.
func (t Table) line(order []param) string {
	params := []string{sectorWord(t.ChunkSize)}
	for _, p := range order {
		params = append(params, t.words(p)...)
	}
	args := append([]string{string(t.Type), strconv.Itoa(len(params))}, params...)
	args = append(args, strconv.Itoa(len(t.Legs)))
	for _, l := range t.Legs {
		args = append(args, orDash(l.Meta), orDash(l.Data))
	}
	return dm.JoinArgs(args...)
}

func orDash(device string) string {
	if device == "" {
		return "-"
	}
	return device
}

// Params is the argument text "type #params chunk [parameter…] #legs
// meta data…" in the order of the newest target version. [Parse] reads it
// back. What the kernel prints of it differs, see [ParsePrinted].
func (t Table) Params() string { return t.line(documented[:]) }

// String is "raid" and the Params.
func (t Table) String() string { return t.TargetType() + " " + t.Params() }

// Target versions that changed what a table may hold, as the kernel's
// Documentation/admin-guide/device-mapper/dm-raid.rst tells them, checked
// against dm-raid.c of Linux 2.6.38, 3.10, 4.9, 4.12 and 6.1.
var (
	versionMirror   = dm.Version{Major: 1, Minor: 1}           // raid1, metadata devices, region_size, write_mostly
	versionRAID10   = dm.Version{Major: 1, Minor: 3}           // raid10, near
	versionFar      = dm.Version{Major: 1, Minor: 4, Patch: 2} // far and offset
	versionRAID0    = dm.Version{Major: 1, Minor: 7}
	versionReshape  = dm.Version{Major: 1, Minor: 9} // more types, delta_disks, data_offset, 253 legs
	versionJournal  = dm.Version{Major: 1, Minor: 10}
	versionOrder    = dm.Version{Major: 1, Minor: 11}
	versionMode     = dm.Version{Major: 1, Minor: 11, Patch: 1}
	versionNewest   = dm.Version{Major: 1, Minor: 15, Patch: 1}
	maxLegsOldTable = 64
)

// before reports whether v is older than w.
func before(v, w dm.Version) bool {
	if v.Major != w.Major {
		return v.Major < w.Major
	}
	if v.Minor != w.Minor {
		return v.Minor < w.Minor
	}
	return v.Patch < w.Patch
}

// ParamsFor is Params for a target of version v. The order of words is what
// that version prints; all of them accept any order. Before 1.9.0
// stripe_cache counts sectors, two for each entry, and is written so. The
// error, an *[Error] with [ErrTable], names the first thing that v does not
// know.
func (t Table) ParamsFor(v dm.Version) (string, error) {
	for _, need := range t.needs() {
		if need.set && before(v, need.since) {
			return "", badTable("params", 22, need.what+" needs target version "+versionWord(need.since)+", this is "+versionWord(v))
		}
	}
	if before(v, versionReshape) {
		t.StripeCache *= 2
	}
	if !before(v, versionReshape) && before(v, versionOrder) {
		return t.line(unordered[:]), nil
	}
	return t.Params(), nil
}

func versionWord(v dm.Version) string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

type need struct {
	what  string
	set   bool
	since dm.Version
}

func (t Table) needs() []need {
	meta := false
	for _, l := range t.Legs {
		meta = meta || l.Meta != ""
	}
	typ := string(t.Type)
	newType := t.Type == RAID5N || t.Type.Level() == 6 && t.Type != RAID6ZR && t.Type != RAID6NR && t.Type != RAID6NC ||
		t.Type.IsRAID10() && t.Type != RAID10
	return []need{
		{typ, t.Type.Level() == 1, versionMirror},
		{"a metadata device", meta, versionMirror},
		{string(paramRegion), t.RegionSize != 0, versionMirror},
		{string(paramMostly), len(t.WriteMostly) > 0, versionMirror},
		{typ, t.Type.IsRAID10(), versionRAID10},
		{string(paramCopies), t.Copies != 0, versionRAID10},
		{string(paramFormat), t.Format != "", versionRAID10},
		{"format " + string(t.Format), t.Format == FormatFar || t.Format == FormatOffset, versionFar},
		{typ, t.Type.Level() == 0, versionRAID0},
		{typ, newType, versionReshape},
		{string(paramNearSets), t.NearSets, versionReshape},
		{string(paramDelta), t.DeltaDisks != 0, versionReshape},
		{string(paramDataOffset), t.DataOffset != nil, versionReshape},
		{fmt.Sprintf("a table of %d legs", len(t.Legs)), len(t.Legs) > maxLegsOldTable, versionReshape},
		{string(paramJournal), t.JournalDev != "", versionJournal},
		{string(paramMode), t.JournalMode != "", versionMode},
	}
}
