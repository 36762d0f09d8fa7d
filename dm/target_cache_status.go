// SPDX-License-Identifier: MIT

package dm

import (
	"fmt"
	"strconv"
)

// CacheStatus is the status of a [Cache]: what is in force, which may not be
// what the table asked for.
type CacheStatus struct {
	// Fail says that the metadata can't be used any more. There are no
	// numbers then; the devices need cache_check and cache_repair.
	Fail bool
	// Error says that the numbers could not be read.
	Error bool

	MetadataBlockSize           Sectors // 8
	MetadataUsed, MetadataTotal uint64  // blocks
	BlockSize                   Sectors // of the cache
	Used, Total                 uint64  // blocks of the cache

	// Counted since the cache was formatted, and saved at a suspend.
	ReadHits, ReadMisses, WriteHits, WriteMisses uint32
	// Counted since the table was loaded.
	Demotions, Promotions uint32
	Dirty                 uint64 // blocks that the origin does not have yet

	Metadata2         bool
	Mode              CacheMode
	NoDiscardPassdown bool

	CoreArgs   []CacheArg // of the cache itself: migration_threshold
	Policy     string     // "smq" also for "default"
	PolicyArgs []CacheArg

	ReadOnly   bool // the metadata can't be changed, after an error
	NeedsCheck bool // cache_check has to be run
}

// MigrationThreshold is how many sectors may be on their way between cache and
// origin at a time. It is 2048, unless a table or a [SetCacheArg] said
// otherwise.
func (s CacheStatus) MigrationThreshold() (Sectors, bool) {
	for _, a := range s.CoreArgs {
		if a.Key == "migration_threshold" {
			n, err := strconv.ParseUint(a.Value, 10, 64)
			return Sectors(n), err == nil
		}
	}
	return 0, false
}

// ParseCacheStatus reads "8 9/8192 64 0/1024 0 0 0 0 0 0 0 1 writeback 2
// migration_threshold 2048 smq 0 rw -", "Fail" or "Error".
func ParseCacheStatus(text string) (CacheStatus, error) {
	r := readArgs(text)
	if fail, bad, ok := r.failed(); ok {
		return CacheStatus{Fail: fail, Error: bad}, nil
	}
	var s CacheStatus
	s.MetadataBlockSize = r.sectors("metadata block size")
	s.MetadataUsed, s.MetadataTotal = r.fraction("metadata blocks")
	s.BlockSize = r.sectors("block size")
	s.Used, s.Total = r.fraction("blocks")
	for _, n := range []*uint32{&s.ReadHits, &s.ReadMisses, &s.WriteHits, &s.WriteMisses, &s.Demotions, &s.Promotions} {
		*n = uint32(r.uint("counter", 32))
	}
	s.Dirty = r.uint("dirty blocks", 64)
	s.Metadata2, s.Mode, s.NoDiscardPassdown = r.cacheFeatures(true)
	s.CoreArgs = r.cacheArgs("core arguments")
	s.Policy = r.str("policy")
	s.PolicyArgs = r.cacheArgs("policy arguments")
	s.ReadOnly = r.oneOf("metadata mode", "rw", "ro") == 1
	s.NeedsCheck = r.oneOf("needs_check", "-", "needs_check") == 1
	if err := r.end(); err != nil {
		return CacheStatus{}, badStatus("cache", err)
	}
	return s, nil
}

// failed reads a status that is one word: what a target with metadata says
// when it lost them, or can't read them.
func (r *argReader) failed() (fail, bad, ok bool) {
	if r.left() != 1 {
		return false, false, false
	}
	word := r.peek()
	return word == "Fail", word == "Error", word == "Fail" || word == "Error"
}

// failText is the inverse of failed.
func failText(fail, bad bool) string {
	switch {
	case fail:
		return "Fail"
	case bad:
		return "Error"
	}
	return ""
}

// String is the kernel's text.
func (s CacheStatus) String() string {
	if text := failText(s.Fail, s.Error); text != "" {
		return text
	}
	args := []string{
		num(s.MetadataBlockSize), fmt.Sprintf("%d/%d", s.MetadataUsed, s.MetadataTotal),
		num(s.BlockSize), fmt.Sprintf("%d/%d", s.Used, s.Total),
		num(s.ReadHits), num(s.ReadMisses), num(s.WriteHits), num(s.WriteMisses),
		num(s.Demotions), num(s.Promotions), num(s.Dirty),
	}
	args = append(args, cacheFeatures(s.Metadata2, s.Mode, s.NoDiscardPassdown)...)
	args = append(args, cacheArgs(s.CoreArgs)...)
	args = append(args, s.Policy)
	args = append(args, cacheArgs(s.PolicyArgs)...)
	mode, check := "rw", "-"
	if s.ReadOnly {
		mode = "ro"
	}
	if s.NeedsCheck {
		check = "needs_check"
	}
	return JoinArgs(append(args, mode, check)...)
}
