// SPDX-License-Identifier: MIT

package dmraid

import "math/bits"

// What the constructor takes of which level: the *_VALID_FLAGS of dm-raid.c.
// It is asked last of all.
var (
	allButRAID0 = []param{paramSync, paramRebuild, paramSleep, paramMinRate, paramMaxRate, paramRegion, paramDelta, paramDataOffset}
	levelParams = map[int][]param{
		0:  {paramDataOffset},
		1:  append([]param{paramNoSync, paramMostly, paramBehind}, allButRAID0...),
		10: append([]param{paramNoSync, paramCopies, paramFormat, paramNearSets}, allButRAID0...),
		5:  append([]param{paramNoSync, paramCache, paramJournal, paramMode}, allButRAID0...),
		6:  append([]param{paramCache, paramJournal, paramMode}, allButRAID0...),
	}
)

// Limits of the constructor and of md.
const (
	minReshapeRoom   = 32    // MIN_FREE_RESHAPE_SPACE in dm-raid.c, sectors
	pageSectors      = 8     // of PAGE_SIZE
	minJournal       = 8192  // MIN_RAID456_JOURNAL_SPACE in dm-raid.c, sectors
	maxWriteBehind   = 16383 // COUNTER_MAX in md-bitmap.h
	maxRegions       = 1 << 21
	maxJournalLegs   = 203 // r5l_init_log in raid5-cache.c
	minStripes       = 17  // raid5_set_cache_size in raid5.c
	maxStripes       = 32768
	defaultRegion    = 8192 // validate_region_size in dm-raid.c, sectors
	bitmapSuperBytes = 256  // bitmap_super_t in md-bitmap.h
)

// params is parse_raid_params. count is #params; with 0 the loop there runs
// on to the end of the line, for the number is unsigned.
func (c *constructor) params(count uint32) error {
	arg, _ := c.shift()
	count--
	chunk, ok := scanInt(arg)
	switch {
	case !ok:
		return checkFails(einval, "Bad numerical argument given for chunk_size")
	case c.typ.level == 1:
		chunk = 0 // whatever was given
	case !powerOf2(int64(chunk)):
		return checkFails(einval, "Chunk size must be a power of 2")
	case chunk < 8:
		return checkFails(einval, "Chunk size value is too small")
	}
	c.chunk = int64(chunk)
	for i := uint32(0); i < count; i++ {
		key, ok := c.shift()
		if !ok {
			return checkFails(einval, "Not enough raid parameters given")
		}
		name, known := paramOf(key)
		if known && name.flag() {
			if c.given[name] {
				text := string(name)
				if name == paramNearSets {
					text = "raid10_use_new_sets" // as the kernel misspells it
				}
				return checkFails(einval, "Only one '"+text+"' argument allowed")
			}
			c.given[name] = true
			continue
		}
		value, ok := c.shift()
		i++
		if !ok {
			return checkFails(einval, "Wrong number of raid parameters given")
		}
		if err := c.param(name, value); err != nil {
			return err
		}
	}
	return c.together()
}

func powerOf2(n int64) bool { return n > 0 && n&(n-1) == 0 }

// once marks a parameter that is given, and fails when it was already.
func (c *constructor) once(name param, text string) error {
	if c.given[name] {
		return checkFails(einval, text)
	}
	c.given[name] = true
	return nil
}

// param takes a parameter with a value. The empty name is one that the
// kernel does not know; its value must be a number before that is told.
func (c *constructor) param(name param, value string) error {
	switch name {
	case paramFormat:
		return c.setFormat(value)
	case paramJournal:
		return c.setJournal(value)
	case paramMode:
		return c.setMode(value)
	}
	n, ok := scanInt(value)
	if !ok {
		return checkFails(einval, "Bad numerical argument given in raid params")
	}
	switch name {
	case paramRebuild:
		if n < 0 || int(n) >= len(c.legs) {
			return checkFails(einval, "Invalid rebuild index given")
		}
		if c.legs[n].rebuild {
			return checkFails(einval, "rebuild for this index already given")
		}
		c.legs[n].rebuild = true
		c.given[name] = true
		return nil
	case paramMostly:
		if c.typ.level != 1 {
			return checkFails(einval, "write_mostly option is only valid for RAID1")
		}
		if n < 0 || int(n) >= len(c.legs) {
			return checkFails(einval, "Invalid write_mostly index given")
		}
		c.mostly = append(c.mostly, int(n))
		c.given[name] = true
		return nil
	case paramBehind:
		if c.typ.level != 1 {
			return checkFails(einval, "max_write_behind option is only valid for RAID1")
		}
	case "":
		return checkFails(einval, "Unable to parse RAID parameter")
	}
	if err := c.once(name, "Only one "+string(name)+" argument pair allowed"); err != nil {
		return err
	}
	return c.setNumber(name, n)
}

func (c *constructor) setNumber(name param, n int32) error {
	switch name {
	case paramBehind:
		if n < 0 || n/2 > maxWriteBehind {
			return checkFails(einval, "Max write-behind limit out of range")
		}
		c.behind = n
	case paramSleep:
		if n < 0 {
			return checkFails(einval, "daemon sleep period out of range")
		}
		c.sleep = n
	case paramDataOffset:
		if n < 0 || n != 0 && (n < minReshapeRoom || n%pageSectors != 0) {
			return checkFails(einval, "Bogus data_offset value")
		}
		c.offset = Sectors(n)
	case paramDelta:
		if legs := max(int64(n), -int64(n)); legs < 1 || legs > MaxLegs-int64(c.minimalDevs()) {
			return checkFails(einval, "Too many delta_disk requested")
		}
		c.delta = n
	case paramCache:
		if c.typ.parity == 0 {
			return checkFails(einval, "Inappropriate argument: stripe_cache")
		}
		if n < 0 {
			return checkFails(einval, "Bogus stripe cache entries value")
		}
		c.cache = int64(n)
	case paramMinRate:
		if n < 0 {
			return checkFails(einval, "min_recovery_rate out of range")
		}
		c.minRate = n
	case paramMaxRate:
		if n < 0 {
			return checkFails(einval, "max_recovery_rate out of range")
		}
		c.maxRate = n
	case paramRegion:
		c.region = uint32(n)
	case paramCopies:
		if n < 2 || int(n) > len(c.legs) {
			return checkFails(einval, "Bad value for 'raid10_copies'")
		}
		c.copies = int64(n)
	}
	return nil
}

// minimalDevs is that field of the kernel's table of types. Only
// delta_disks is measured by it.
func (c *constructor) minimalDevs() int {
	if c.typ.level == 6 {
		return 4
	}
	return 2
}

func (c *constructor) setFormat(value string) error {
	if err := c.once(paramFormat, "Only one 'raid10_format' argument pair allowed"); err != nil {
		return err
	}
	if c.typ.level != 10 {
		return checkFails(einval, "'raid10_format' is an invalid parameter for this RAID type")
	}
	for _, f := range [...]Format{FormatNear, FormatOffset, FormatFar} {
		if foldEqual(string(f), value) {
			c.format = f
			return nil
		}
	}
	return checkFails(einval, "Invalid 'raid10_format' value given")
}

func (c *constructor) setJournal(device string) error {
	if err := c.once(paramJournal, "Only one raid4/5/6 set journaling device allowed"); err != nil {
		return err
	}
	if c.typ.parity == 0 {
		return checkFails(einval, "'journal_dev' is an invalid parameter for this RAID type")
	}
	size, err := c.lookup(device, "raid4/5/6 journal device lookup failure")
	if err != nil {
		return err
	}
	if c.env != nil && size < minJournal {
		return checkFails(enospc, "No space for raid4/5/6 journal")
	}
	c.mode, c.journal = WriteThrough, device
	return nil
}

func (c *constructor) setMode(value string) error {
	if !c.given[paramJournal] {
		return checkFails(einval, "raid4/5/6 'journal_mode' is invalid without 'journal_dev'")
	}
	if err := c.once(paramMode, "Only one raid4/5/6 'journal_mode' argument allowed"); err != nil {
		return err
	}
	for _, m := range [...]JournalMode{WriteThrough, WriteBack} {
		if foldEqual(string(m), value) {
			c.mode = m
			return nil
		}
	}
	return checkFails(einval, "Invalid 'journal_mode' argument")
}

// together is the rest of parse_raid_params: parameters measured by each
// other.
func (c *constructor) together() error {
	sync, nosync := c.given[paramSync], c.given[paramNoSync]
	switch {
	case sync && nosync:
		return checkFails(einval, "sync and nosync are mutually exclusive")
	case c.given[paramRebuild] && (sync || nosync):
		return checkFails(einval, "sync/nosync and rebuild are mutually exclusive")
	case len(c.mostly) >= len(c.legs):
		return checkFails(einval, "Can't set all raid1 devices to write_mostly")
	case c.maxRate != 0 && c.minRate > c.maxRate:
		return checkFails(einval, "Bogus recovery rates")
	}
	if err := c.checkRegion(); err != nil {
		return err
	}
	if c.typ.level == 10 {
		if c.copies > int64(len(c.legs)) {
			return checkFails(einval, "Not enough devices to satisfy specification")
		}
		if (c.format == "" || c.format == FormatNear) && c.given[paramNearSets] {
			return checkFails(einval, "RAID10 format 'near' and 'raid10_use_near_sets' are incompatible")
		}
	}
	for name := range c.given {
		valid := false
		for _, p := range levelParams[c.typ.level] {
			valid = valid || p == name
		}
		if !valid {
			return checkFails(einval, "Invalid flags combination")
		}
	}
	return nil
}

// checkRegion is validate_region_size.
func (c *constructor) checkRegion() error {
	size := Sectors(c.region)
	switch {
	case c.typ.level == 0 || size == 0:
		return nil
	case size > c.length:
		return checkFails(einval, "Supplied region size is too large")
	case size < c.length/maxRegions:
		return checkFails(einval, "Supplied region size is too small")
	case !powerOf2(int64(size)):
		return checkFails(einval, "Region size is not a power of 2")
	case size < Sectors(c.chunk):
		return checkFails(einval, "Region size is smaller than the chunk size")
	}
	return nil
}

// regionFor is the region size of an array of the given length when the
// table does not give one, which validate_region_size chooses.
func regionFor(length Sectors) Sectors {
	if least := uint64(length) / maxRegions; least > defaultRegion {
		return 1 << bits.Len64(least-1)
	}
	return defaultRegion
}
