// SPDX-License-Identifier: MIT

package dmraid

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/linuxblock/linuxblock/dm"
)

// Linux's numbers, which are the same in a table that is checked elsewhere.
const (
	eperm  = syscall.Errno(1)
	eio    = syscall.Errno(5)
	enxio  = syscall.Errno(6)
	enodev = syscall.Errno(19)
	einval = syscall.Errno(22)
	enospc = syscall.Errno(28)
)

// Environment is what the constructor asks of the devices that a table names.
type Environment interface {
	// Sectors is the size of a device, given as a path or as major:minor.
	// The constructor fails with the error of the kernel where it has one
	// (a syscall.Errno), and otherwise with the one for a device that does
	// not exist.
	Sectors(device string) (Sectors, error)
}

// Check says what the constructor of target version 1.15.1 (raid_ctr in
// dm-raid.c, Linux 4.20 and newer; the answers are those of Linux 6.1) says
// to the argument text of a table: nil, or an *[Error] with [ErrTable] whose
// Detail is the kernel's own text and whose Code is its errno. Rules are
// checked in the kernel's order, so that it is the same one of several
// mistakes that is told. Unlike [Table.Validate] it takes what the kernel
// takes.
//
// With a nil Environment devices are not looked at.
//
// The superblocks are not read. Of the rules behind them in the constructor
// those are checked that hold whatever the superblocks say. With no metadata
// device at all, or with the word sync, which keeps the kernel from reading
// any, that is all of them. What the superblocks decide is for [KernelState]:
// missing legs of a new array, a foreign leg, a reshape.
func Check(params string, length Sectors, env Environment) error {
	c := newConstructor(params, length, env)
	if err := c.early(); err != nil {
		return err
	}
	return c.late()
}

// badTable makes the error of a table.
func badTable(op string, code syscall.Errno, text string) error {
	return &Error{Op: op, Code: code, Detail: text, Err: ErrTable}
}

func checkFails(code syscall.Errno, text string) error { return badTable("check", code, text) }

// constructor is struct raid_set and what raid_ctr keeps beside it, as far as
// its answer depends on them.
type constructor struct {
	args   []string // that were not shifted yet
	length Sectors
	env    Environment

	typ    typeInfo
	legs   []leg
	given  map[param]bool
	chunk  int64
	region uint32 // 0: not given
	delta  int32
	offset Sectors // of data_offset
	copies int64   // of raid10, given or not
	format Format
	mode   JournalMode
	cache  int64 // entries, given or not
	mostly []int // as often as write_mostly was given
	behind, sleep,
	minRate, maxRate int32
	journal string

	devSectors Sectors // of a leg: mddev->dev_sectors
}

// leg is what the constructor knows of a leg without its superblock.
type leg struct {
	meta, data bool // whether there is a device
	rebuild    bool
	size       Sectors // of the data device; only with an Environment
	name       Leg
}

// defaultStripeCache is rs->stripe_cache_entries in raid_set_alloc.
const defaultStripeCache = 256

func newConstructor(params string, length Sectors, env Environment) *constructor {
	return &constructor{
		args: dm.SplitArgs(params), length: length, env: env,
		given: map[param]bool{}, copies: 2, cache: defaultStripeCache,
	}
}

// shift is dm_shift_arg.
func (c *constructor) shift() (string, bool) {
	if len(c.args) == 0 {
		return "", false
	}
	arg := c.args[0]
	c.args = c.args[1:]
	return arg, true
}

// early is raid_ctr up to the superblocks.
func (c *constructor) early() error {
	if c.length == 0 {
		return checkFails(einval, "zero-length target") // dm_table_add_target
	}
	argc := uint32(len(c.args))
	name, ok := c.shift()
	if !ok {
		return checkFails(einval, "No arguments")
	}
	typ, err := ParseType(name)
	if err != nil {
		return checkFails(einval, "Unrecognised raid_type")
	}
	c.typ, _ = typ.info()
	const noParams = "Cannot understand number of raid parameters"
	word, ok := c.shift()
	count, valid := scanCount(word)
	if !ok || !valid || count > argc || int(count) > len(c.args) {
		return checkFails(einval, noParams)
	}
	if err := c.legCount(c.args[count:]); err != nil {
		return err
	}
	if len(c.legs) <= c.typ.parity {
		return checkFails(einval, "Insufficient number of devices")
	}
	if err := c.params(count); err != nil {
		return err
	}
	if err := c.devices(); err != nil {
		return err
	}
	return c.sizes()
}

// legCount reads the word behind the parameters without taking it.
func (c *constructor) legCount(rest []string) error {
	const noLegs = "Cannot understand number of raid devices parameters"
	if len(rest) == 0 {
		return checkFails(einval, noLegs)
	}
	n, valid := scanCount(rest[0])
	if !valid || n < 1 || int64(n) > int64(len(rest)-1)/2 {
		return checkFails(einval, noLegs)
	}
	if n > MaxLegs {
		return checkFails(einval, "Invalid number of supplied raid devices")
	}
	c.legs = make([]leg, n)
	return nil
}

// scanCount reads a number as sscanf("%u%c") of lib/vsprintf.c does in
// validate_next_arg: blanks before it are skipped, nothing may be behind it,
// and of what is too large the low 32 bits are kept.
func scanCount(word string) (n uint32, ok bool) {
	for word != "" && (word[0] == ' ' || '\t' <= word[0] && word[0] <= '\r' || word[0] == 0xa0) {
		word = word[1:]
	}
	for i := range len(word) {
		d := word[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + uint32(d)
	}
	return n, word != ""
}

// scanInt is kstrtoint of lib/kstrtox.c with base 10: one sign, and one line
// feed at the end.
func scanInt(word string) (n int32, ok bool) {
	digits := strings.TrimSuffix(word, "\n")
	minus := strings.HasPrefix(digits, "-")
	if minus || strings.HasPrefix(digits, "+") {
		digits = digits[1:]
	}
	v := int64(0)
	for i := range len(digits) {
		d := digits[i] - '0'
		if v = v*10 + int64(d); d > 9 || v > 1<<31 {
			return 0, false
		}
	}
	if minus {
		v = -v
	}
	return int32(v), digits != "" && v < 1<<31
}

// lookup is dm_get_device.
func (c *constructor) lookup(device, text string) (Sectors, error) {
	if c.env == nil {
		return 0, nil
	}
	size, err := c.env.Sectors(device)
	if err == nil {
		return size, nil
	}
	code := noDevice(device)
	var errno syscall.Errno
	if errors.As(err, &errno) && !errors.Is(err, fs.ErrNotExist) {
		code = errno
	}
	return 0, checkFails(code, text)
}

// noDevice is the errno of dm_get_device for a device that is not there: a
// number is looked for when the device is opened, a path before. Hexadecimal
// digits are a number too, where no file has that name (name_to_dev_t).
func noDevice(device string) syscall.Errno {
	digits := device
	if major, minor, ok := strings.Cut(device, ":"); ok {
		digits = major + minor
	}
	number := digits != "" && strings.Trim(digits, "0123456789abcdefABCDEF") == ""
	if number && strings.Trim(digits, "0") != "" {
		return enxio
	}
	return enodev
}

// devices is parse_dev_params.
func (c *constructor) devices() error {
	// The text of dm_table_add_target that stays when a word is missing.
	const unknown = "Unknown error"
	if _, ok := c.shift(); !ok {
		return checkFails(einval, unknown)
	}
	for i := range c.legs {
		l := &c.legs[i]
		meta, ok := c.shift()
		if !ok {
			return checkFails(einval, unknown)
		}
		if meta != "-" {
			if _, err := c.lookup(meta, "RAID metadata device lookup failure"); err != nil {
				return err
			}
			l.meta, l.name.Meta = true, meta
		}
		data, ok := c.shift()
		switch {
		case !ok:
			return checkFails(einval, unknown)
		case data == "-" && l.rebuild:
			return checkFails(einval, "Drive designated for rebuild not specified")
		case data == "-" && l.meta:
			return checkFails(einval, "No data device supplied with metadata device")
		case data == "-":
			continue
		}
		size, err := c.lookup(data, "RAID device lookup failure")
		if err != nil {
			return err
		}
		l.data, l.size, l.name.Data = true, size, data
	}
	return nil
}

// sizes is rs_set_dev_and_array_sectors and _check_data_dev_sectors.
func (c *constructor) sizes() error {
	const notDivisible = "Target length not divisible by number of data devices"
	stripes := uint32(len(c.legs) - c.typ.parity)
	c.devSectors = c.length
	switch {
	case c.typ.level == 1:
	case c.typ.level == 10:
		if c.delta < 0 {
			return checkFails(einval, "Bogus raid10 data copies or delta disks")
		}
		c.devSectors *= Sectors(c.copies)
		if c.devSectors%Sectors(stripes) != 0 {
			return checkFails(einval, notDivisible)
		}
		c.devSectors /= Sectors(stripes)
		if Sectors(stripes+uint32(c.delta))*c.devSectors%Sectors(c.copies) != 0 {
			return checkFails(einval, notDivisible)
		}
	case c.length%Sectors(stripes) != 0:
		return checkFails(einval, notDivisible)
	default:
		c.devSectors /= Sectors(stripes)
	}
	for _, l := range c.legs {
		if c.env != nil && l.data && l.size < c.devSectors {
			return checkFails(einval, "Component device(s) too small")
		}
	}
	return nil
}
