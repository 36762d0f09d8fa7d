// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// IntegrityMode is how an [Integrity] keeps data and tags together.
type IntegrityMode uint8

// The modes (dm_integrity_ctr in drivers/md/dm-integrity.c).
const (
	IntegrityJournal  IntegrityMode = iota // data and tags go through a journal
	IntegrityDirect                        // straight: a crash leaves tags that do not match
	IntegrityBitmap                        // a bitmap says what to recalculate after a crash
	IntegrityRecovery                      // neither journal nor check: to save what is left
	IntegrityInline                        // tags lie in the sectors of the device; Linux 6.11
)

const integrityModes = "JDBRI"

// String is the letter of the table.
func (m IntegrityMode) String() string {
	if int(m) < len(integrityModes) {
		return integrityModes[m : m+1]
	}
	return "mode " + strconv.Itoa(int(m))
}

// Alg is an algorithm of the kernel's crypto API with its key.
type Alg struct {
	Name string // "crc32c", "hmac(sha256)"; empty for none
	Key  Key    // of bytes, or none
}

// text is the form of the table, with the key as show gives it.
func (a Alg) text(show func(Key) string) string {
	if a.Key.IsZero() {
		return a.Name
	}
	return a.Name + ":" + show(a.Key)
}

// String is "name:key" without the bytes of the key.
func (a Alg) String() string { return a.text(Key.String) }

func (a Alg) validate(what string) error {
	switch {
	case a.Name == "" && !a.Key.IsZero():
		return errors.New(what + ": a key without an algorithm")
	case strings.ContainsFunc(a.Name, func(r rune) bool { return r <= ' ' || r == ':' || r == '\\' || r > '~' }):
		return errors.New(what + ": blank, colon or backslash in the name of the algorithm")
	case a.Key.InKeyring():
		return errors.New(what + ": the target takes no key of the keyring")
	}
	if err := a.Key.Validate(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Integrity keeps a tag beside each block of a device: a checksum that it
// makes itself with InternalHash, or what the target above gives it, as
// [Crypt] does (drivers/md/dm-integrity.c).
//
// What stands on the device decides how much of it is left for data. A device
// whose first 8 sectors are zero is formatted by the first load of a table,
// which should be 8 sectors long; [IntegrityStatus] tells the size that a
// second table can have. What concerns the format must be the same in all
// later tables; [Client.Table] gives it as the kernel chose it.
type Integrity struct {
	Device  string
	Offset  Sectors // where the superblock stands, on MetaDevice if there is one
	TagSize uint32  // bytes; 0 takes that of InternalHash
	Mode    IntegrityMode

	MetaDevice string // that holds superblock, journal and tags; empty for Device
	BlockSize  uint32 // bytes a tag covers, up to 4096; 0 is 512

	Recalculate      bool // make the tags of what is there; goes on until done
	ResetRecalculate bool // start again from the beginning; Linux 5.13
	AllowDiscards    bool
	// AllowDiscardsKeyed allows discards too, and marks what was discarded with
	// a tag that can't be made without the key of InternalHash; Linux 7.2 and
	// later releases of 6.12.
	AllowDiscardsKeyed bool

	// The next three matter when the device is formatted. 0 is the kernel's
	// default. The kernel rounds them and prints what it took; Linux 7.2 prints
	// JournalSectors in journal mode alone.
	JournalSectors    Sectors
	InterleaveSectors Sectors // data between two runs of tags, a power of 2
	FixPadding        bool    // less space lost between data and tags

	BufferSectors Sectors // read or written at once of the tags, a power of 2; 0 is the default

	// In journal mode: how full the journal may get, in percent, and how long
	// a write may stay in memory, in whole milliseconds. Nil is the default.
	JournalWatermark *uint8
	CommitTime       *time.Duration

	// In bitmap mode: the data that a bit covers, a power of 2, or 0 for the
	// default; and how long before the bitmap is written, in whole
	// milliseconds, which the kernel rounds up to its tick.
	SectorsPerBit       Sectors
	BitmapFlushInterval *time.Duration

	FixHMAC           bool // cover the superblock too, and the section in each tag of the journal; Linux 5.11
	LegacyRecalculate bool // recalculate although it is not safe with an HMAC; Linux 5.11

	InternalHash Alg // makes the tags; none leaves them to the target above
	JournalCrypt Alg // encrypts the journal
	JournalMAC   Alg // authenticates the journal
}

// TargetType is "integrity".
func (Integrity) TargetType() string { return "integrity" }

// Params is "device offset tagsize mode n option…", in the order of
// dm_integrity_status, with the keys.
func (i Integrity) Params() string { return i.params(Key.Reveal) }

// Redacted is Params without the keys.
func (i Integrity) Redacted() string { return i.params(Key.String) }

func (i Integrity) params(show func(Key) string) string {
	var opts []string
	text := func(name, value string) {
		if value != "" {
			opts = append(opts, name+":"+value)
		}
	}
	number := func(name string, n uint64) {
		if n > 0 {
			opts = append(opts, name+":"+num(n))
		}
	}
	millis := func(name string, d *time.Duration) {
		if d != nil {
			opts = append(opts, name+":"+num(*d/time.Millisecond))
		}
	}
	flag := func(name string, on bool) {
		if on {
			opts = append(opts, name)
		}
	}
	text("meta_device", i.MetaDevice)
	number("block_size", uint64(i.BlockSize))
	flag("recalculate", i.Recalculate)
	flag("reset_recalculate", i.ResetRecalculate)
	flag("allow_discards", i.AllowDiscards)
	flag("allow_discards_keyed", i.AllowDiscardsKeyed)
	number("journal_sectors", uint64(i.JournalSectors))
	number("interleave_sectors", uint64(i.InterleaveSectors))
	number("buffer_sectors", uint64(i.BufferSectors))
	if i.JournalWatermark != nil {
		opts = append(opts, "journal_watermark:"+num(*i.JournalWatermark))
	}
	millis("commit_time", i.CommitTime)
	number("sectors_per_bit", uint64(i.SectorsPerBit))
	millis("bitmap_flush_interval", i.BitmapFlushInterval)
	flag("fix_padding", i.FixPadding)
	flag("fix_hmac", i.FixHMAC)
	flag("legacy_recalculate", i.LegacyRecalculate)
	for _, a := range i.algs() {
		text(a.name, a.alg.text(show))
	}
	tag := "-"
	if i.TagSize > 0 {
		tag = num(i.TagSize)
	}
	args := []string{i.Device, num(i.Offset), tag, i.Mode.String(), num(len(opts))}
	return JoinArgs(append(args, opts...)...)
}

type namedAlg struct {
	name string
	alg  *Alg
}

func (i *Integrity) algs() [3]namedAlg {
	return [...]namedAlg{{"internal_hash", &i.InternalHash}, {"journal_crypt", &i.JournalCrypt}, {"journal_mac", &i.JournalMAC}}
}

// Extents names the devices. How much of them is used, only the superblock
// says; but a MetaDevice leaves all of Device to the data.
func (i Integrity) Extents(length Sectors) []Extent {
	if i.MetaDevice == "" {
		return []Extent{{Device: i.Device}}
	}
	return []Extent{{i.Device, 0, length}, {Device: i.MetaDevice}}
}

// maxIntegrityTag is MAX_TAG_SIZE of dm-integrity.c.
const maxIntegrityTag = 424

// Validate checks sizes, and the options that need or exclude each other.
func (i Integrity) Validate(length Sectors) error {
	if err := needDevice(i.Device); err != nil {
		return err
	}
	if err := blockSize("block", i.BlockSize, 4096); err != nil {
		return err
	}
	for _, a := range i.algs() {
		if err := a.alg.validate(a.name); err != nil {
			return err
		}
	}
	for _, n := range []Sectors{i.JournalSectors, i.InterleaveSectors, i.BufferSectors} {
		if n >= 1<<32 {
			return fmt.Errorf("%d sectors do not fit 32 bits", uint64(n))
		}
	}
	for _, d := range []*time.Duration{i.CommitTime, i.BitmapFlushInterval} {
		if d == nil {
			continue
		}
		if err := wholeUnits(*d, time.Millisecond); err != nil {
			return err
		}
	}
	hash := i.InternalHash.Name != ""
	switch {
	case length%Sectors(max(i.BlockSize, 512)/512) != 0:
		return fmt.Errorf("length %d is not a multiple of blocks of %d bytes", uint64(length), i.BlockSize)
	case int(i.Mode) >= len(integrityModes):
		return fmt.Errorf("%v", i.Mode)
	case i.TagSize == 0 && !hash:
		return errors.New("neither a tag size nor internal_hash")
	case i.TagSize > maxIntegrityTag:
		return fmt.Errorf("tag of %d bytes, the target takes %d", i.TagSize, maxIntegrityTag)
	case i.JournalWatermark != nil && *i.JournalWatermark > 100:
		return fmt.Errorf("journal watermark of %d percent", *i.JournalWatermark)
	case i.SectorsPerBit&(i.SectorsPerBit-1) != 0:
		return fmt.Errorf("%d sectors per bit are not a power of 2", uint64(i.SectorsPerBit))
	case !hash && (i.Mode == IntegrityBitmap || i.AllowDiscards || i.AllowDiscardsKeyed || i.Recalculate || i.ResetRecalculate):
		return errors.New("bitmap mode, discards and recalculation need internal_hash")
	case i.Mode == IntegrityInline && (i.MetaDevice != "" || !hash || i.AllowDiscards || i.AllowDiscardsKeyed || i.JournalSectors > 0 || i.JournalCrypt.Name != "" || i.JournalMAC.Name != ""):
		return errors.New("inline mode needs internal_hash, and excludes meta_device, discards and a journal")
	}
	return nil
}

func parseIntegrity(params string) (Target, error) {
	i, err := integrityArgs(params)
	if err != nil {
		return nil, withoutSecrets(err, params)
	}
	return i, nil
}

func integrityArgs(params string) (Integrity, error) {
	r := readArgs(params)
	i := Integrity{Device: r.device("device"), Offset: r.sectors("offset")}
	if r.peek() == "-" {
		r.str("tag size")
	} else if i.TagSize = uint32(r.uint("tag size", 32)); r.err == nil && i.TagSize == 0 {
		r.fail("tag size", errors.New("0"))
	}
	i.Mode = IntegrityMode(r.oneOf("mode", strings.Split(integrityModes, "")...))
	if n := r.uint("options", 32); r.err == nil && n != uint64(r.left()) {
		r.fail("options", fmt.Errorf("%d announced, %d given", n, r.left()))
	}
	for r.err == nil && r.left() > 0 {
		i.option(&r, r.str("option"))
	}
	if i.Mode == IntegrityInline {
		i.JournalSectors = 0 // printed, and not looked at
	}
	return i, r.end()
}

func (i *Integrity) option(r *argReader, opt string) {
	name, value, ok := strings.Cut(opt, ":")
	if !ok {
		for _, f := range []boolOption{
			{"recalculate", &i.Recalculate}, {"reset_recalculate", &i.ResetRecalculate}, {"allow_discards", &i.AllowDiscards}, {"allow_discards_keyed", &i.AllowDiscardsKeyed},
			{"fix_padding", &i.FixPadding}, {"fix_hmac", &i.FixHMAC}, {"legacy_recalculate", &i.LegacyRecalculate},
		} {
			if f.name == opt {
				*f.on = true
				return
			}
		}
	}
	for _, a := range i.algs() {
		if a.name != name || !ok {
			continue
		}
		alg, key, keyed := strings.Cut(value, ":")
		*a.alg = Alg{Name: alg}
		if alg == "" || keyed && (key == "" || key == "-" || key[0] == ':') {
			r.fail(name, errors.New("want algorithm:key"))
			return
		}
		if keyed {
			k, err := ParseKey(key)
			if err != nil {
				r.fail(name, err)
			}
			a.alg.Key = k
		}
		return
	}
	if name == "meta_device" && ok {
		if i.MetaDevice = value; value == "" {
			r.fail(name, errors.New("empty device"))
		}
		return
	}
	n, err := strconv.ParseUint(value, 10, 32)
	if name == "sectors_per_bit" {
		n, err = strconv.ParseUint(value, 10, 64)
	}
	if err != nil || !ok {
		r.fail("option", fmt.Errorf("%q", opt))
		return
	}
	switch name {
	case "block_size":
		i.BlockSize = uint32(n)
		if n == 0 {
			r.fail(name, errors.New("0"))
		}
	case "journal_sectors":
		i.JournalSectors = Sectors(max(n, 1)) // as the kernel reads 0
	case "interleave_sectors":
		i.InterleaveSectors = Sectors(n)
	case "buffer_sectors":
		i.BufferSectors = Sectors(max(n, 1))
	case "journal_watermark":
		if n > 100 {
			r.fail(name, fmt.Errorf("%d percent", n))
			return
		}
		i.JournalWatermark = new(uint8(n))
	case "commit_time":
		i.CommitTime = new(time.Duration(n) * time.Millisecond)
	case "sectors_per_bit":
		i.SectorsPerBit = 1 << (bits.Len64(max(n, 1)) - 1)
	case "bitmap_flush_interval":
		i.BitmapFlushInterval = new(time.Duration(n) * time.Millisecond)
	default:
		r.fail("option", fmt.Errorf("%q is unknown", opt))
	}
}

// IntegrityStatus is the status of an integrity target.
type IntegrityStatus struct {
	Mismatches uint64  // blocks whose tag was wrong, since the table is loaded
	Provided   Sectors // that the device has for data: the length of the largest table
	// Recalculating says that tags are made for what was there, or were:
	// Recalculated is how far, which is Provided when it is done.
	Recalculating bool
	Recalculated  Sectors
}

// ParseIntegrityStatus reads "0 64664 -".
func ParseIntegrityStatus(text string) (IntegrityStatus, error) {
	r := readArgs(text)
	s := IntegrityStatus{Mismatches: r.uint("mismatches", 64), Provided: r.sectors("provided sectors")}
	if r.peek() == "-" {
		r.str("recalculated sector")
	} else {
		s.Recalculating, s.Recalculated = true, r.sectors("recalculated sector")
	}
	if err := r.end(); err != nil {
		return IntegrityStatus{}, badStatus("integrity", err)
	}
	return s, nil
}

// String is the kernel's text.
func (s IntegrityStatus) String() string {
	recalc := "-"
	if s.Recalculating {
		recalc = num(s.Recalculated)
	}
	return num(s.Mismatches) + " " + num(s.Provided) + " " + recalc
}
