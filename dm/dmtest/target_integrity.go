// SPDX-License-Identifier: MIT

package dmtest

import (
	"encoding/hex"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"sync"
)

// integrity is dm-integrity.c. Superblock, tags and data lie on the disks
// where the kernel has them, and the tags are the kernel's: a disk that the
// double wrote and one that the kernel wrote in direct mode are alike but for
// the journal. There is room for a journal, but nothing goes through it: what
// was written is in its place at once, in every mode, and a crash leaves
// nothing to replay; for the same reason bitmap mode recalculates only what
// it is told to. The algorithms are those of integrityHash. Without
// internal_hash no tags are kept, since nobody gives any; inline mode finds no
// disk that could do it; and allow_discards_keyed is not known.
type integrity struct {
	a        *Args
	version  [3]uint32
	dev      *Dev
	meta     *Dev // nil when the metadata are on dev
	start    uint64
	mode     string
	tagSize  uint32
	perBlock uint32 // sectors a tag covers

	journalSectors, interleave, buffer, watermark, commitTime uint32
	sectorsPerBit                                             uint64
	bitSet                                                    bool
	flush                                                     uint32 // ms
	on                                                        map[string]bool
	algs                                                      map[string]*integrityAlg
	sb                                                        integritySuper

	// What follows from the superblock and the sizes.
	log2Buffer, entries, threshold uint32
	initial, run, provided         uint64

	mu         sync.Mutex
	mismatches uint64
}

// integrityAlg is struct alg_spec.
type integrityAlg struct {
	name, keyText string
	key           []byte
	sum           func(parts ...[]byte) []byte // nil for a cipher
}

const integrityChunk = 32768 // RECALC_SECTORS

func integrityTarget(minor uint32) Target {
	t := Target{Name: "integrity", Version: [3]uint32{1, 10, 0}, Autoload: true, Singleton: true}
	switch {
	case minor >= 48:
		t.Version[1] = 14
	case minor < 46:
		t.Version[1] = 6
	}
	t.New = func(a *Args) (Instance, error) { return newIntegrity(a, t.Version) }
	return t
}

func newIntegrity(a *Args, version [3]uint32) (Instance, error) {
	bad := func(text string) error { return a.Fail(EINVAL, text) }
	if len(a.Argv) <= 4 {
		return nil, bad("Invalid argument count")
	}
	i := &integrity{
		a: a, version: version, perBlock: 1, interleave: 32768, buffer: 128, watermark: 50, commitTime: 10000,
		flush: 10000, on: map[string]bool{}, algs: map[string]*integrityAlg{},
	}
	var err error
	if i.dev, err = a.Open(a.Argv[0]); err != nil {
		return nil, withText(err, "Device lookup failed")
	}
	var ok bool
	if i.start, ok = scanSector(a.Argv[1]); !ok {
		return nil, bad("Invalid starting offset")
	}
	if a.Argv[2] != "-" {
		if i.tagSize, ok = scanUint(a.Argv[2]); !ok || i.tagSize == 0 {
			return nil, bad("Invalid tag size")
		}
	}
	switch i.mode = a.Argv[3]; {
	case i.mode == "J", i.mode == "B", i.mode == "D", i.mode == "R", i.mode == "I" && i.newer():
	case i.newer():
		return nil, bad("Invalid mode (expecting J, B, D, R, I)")
	default:
		return nil, bad("Invalid mode (expecting J, B, D, R)")
	}
	if err := i.options(a.Argv[4:]); err != nil {
		return nil, err
	}
	if err := i.checkAlgs(); err != nil {
		return nil, err
	}
	if err := i.open(); err != nil {
		return nil, err
	}
	if i.on["allow_discards"] {
		return integrityDiscarder{i}, nil
	}
	return i, nil
}

func (i *integrity) newer() bool { return i.version[1] >= 12 }

// options reads the feature arguments.
func (i *integrity) options(argv []string) error {
	n, ok := scanUint(argv[0])
	limit := uint32(18)
	if i.version[1] < 10 {
		limit = 17
	}
	if !ok || n > limit || int(n) > len(argv)-1 {
		return i.a.Fail(EINVAL, "Invalid number of feature args")
	}
	for _, opt := range argv[1 : 1+n] {
		name, value, valued := strings.Cut(opt, ":")
		var err error
		switch v, isNumber := scanUint(value); {
		case valued && name == "meta_device":
			if i.meta, err = i.a.Open(value); err != nil {
				err = withText(err, "Device lookup failed")
			}
		case valued && (name == "internal_hash" || name == "journal_crypt" || name == "journal_mac"):
			err = i.alg(name, value)
		case !valued:
			err = i.flag(name)
		case name == "sectors_per_bit":
			var n uint64
			if n, isNumber = scanSector(value); isNumber {
				i.sectorsPerBit, i.bitSet = floor2(n), true
			} else {
				err = i.a.Fail(EINVAL, "Invalid argument")
			}
		case !isNumber:
			err = i.a.Fail(EINVAL, "Invalid argument")
		default:
			err = i.number(name, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// floor2 is the largest power of 2 that is not above n, or 1.
func floor2(n uint64) uint64 { return 1 << (bits.Len64(max(n, 1)) - 1) }

func (i *integrity) number(name string, v uint32) error {
	switch {
	case name == "journal_sectors":
		i.journalSectors = max(v, 1)
	case name == "interleave_sectors":
		i.interleave = v
	case name == "buffer_sectors":
		i.buffer = v
	case name == "journal_watermark" && v <= 100:
		i.watermark = v
	case name == "commit_time":
		i.commitTime = v
	case name == "block_size":
		if v < 512 || v > 4096 || bits.OnesCount32(v) != 1 {
			return i.a.Fail(EINVAL, "Invalid block_size argument")
		}
		i.perBlock = v / sectorSize
	case name == "bitmap_flush_interval":
		// In ticks of 4 ms, as Debian's kernels have.
		if i.flush = (v + 3) / 4 * 4; v >= 1<<31 {
			i.flush = 1<<32 - 8 // what is left of MAX_JIFFY_OFFSET
		}
	default:
		return i.a.Fail(EINVAL, "Invalid argument")
	}
	return nil
}

func (i *integrity) flag(name string) error {
	if i.version[1] < 10 && (name == "reset_recalculate" || name == "fix_hmac") {
		return i.a.Fail(EINVAL, "Invalid argument")
	}
	switch name {
	case "reset_recalculate":
		i.on["recalculate"] = true
	case "recalculate", "allow_discards", "fix_padding", "fix_hmac", "legacy_recalculate":
	default:
		return i.a.Fail(EINVAL, "Invalid argument")
	}
	i.on[name] = true
	return nil
}

// alg is get_alg_and_key.
func (i *integrity) alg(name, value string) error {
	alg := &integrityAlg{name: value}
	if algorithm, key, keyed := strings.Cut(value, ":"); keyed {
		b, err := hex.DecodeString(key)
		if err != nil {
			return i.a.Fail(EINVAL, "Invalid "+name+" argument")
		}
		alg.name, alg.keyText, alg.key = algorithm, ":"+key, b
	}
	i.algs[name] = alg
	return nil
}

func (i *integrity) Devices() []Area {
	if i.meta != nil {
		return []Area{{i.dev, 0, i.a.Length}}
	}
	return []Area{{i.dev, i.start + i.initial + i.run, i.a.Length}}
}

// Status prints how far a recalculation is, and then lets it go on: what the
// kernel does in the background happens between two looks at it.
func (i *integrity) Status(bool) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	recalc := "-"
	if i.sb.flags&sbRecalculating != 0 {
		recalc = strconv.FormatUint(i.sb.recalc, 10)
	}
	text := fmt.Sprintf("%d %d %s", i.mismatches, i.provided, recalc)
	i.recalculate()
	return text
}

func (i *integrity) metaDev() *Dev {
	if i.meta != nil {
		return i.meta
	}
	return i.dev
}

func (i *integrity) Table() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var opts []string
	add := func(on bool, format string, args ...any) {
		if on {
			opts = append(opts, fmt.Sprintf(format, args...))
		}
	}
	if i.meta != nil {
		add(true, "meta_device:%s", i.meta.Name())
	}
	add(i.perBlock != 1, "block_size:%d", i.perBlock*sectorSize)
	add(i.sb.flags&sbRecalculating != 0, "recalculate")
	add(i.on["reset_recalculate"], "reset_recalculate")
	add(i.on["allow_discards"], "allow_discards")
	add(true, "journal_sectors:%d", i.initial-superSectors)
	add(true, "interleave_sectors:%d", uint64(1)<<i.sb.log2Interleave)
	add(true, "buffer_sectors:%d", uint64(1)<<i.log2Buffer)
	if i.mode == "J" {
		percent := (uint64(i.entries-i.threshold)*100 + uint64(i.entries)/2) / uint64(i.entries)
		add(true, "journal_watermark:%d", percent)
		add(true, "commit_time:%d", i.commitTime)
	}
	add(i.mode == "B", "sectors_per_bit:%d", i.sectorsPerBit)
	add(i.mode == "B", "bitmap_flush_interval:%d", i.flush)
	add(i.sb.flags&sbFixedPadding != 0, "fix_padding")
	add(i.sb.flags&sbFixedHMAC != 0, "fix_hmac")
	add(i.on["legacy_recalculate"], "legacy_recalculate")
	for _, name := range []string{"internal_hash", "journal_crypt", "journal_mac"} {
		if alg := i.algs[name]; alg != nil {
			add(true, "%s:%s%s", name, alg.name, alg.keyText)
		}
	}
	return fmt.Sprintf("%s %d %d %s %d %s", i.dev.Name(), i.start, i.tagSize, i.mode, len(opts), strings.Join(opts, " "))
}

func (i *integrity) IMA() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := fmt.Sprintf("target_name=integrity,target_version=%d.%d.%d,dev_name=%s,start=%d,tag_size=%d,mode=%s",
		i.version[0], i.version[1], i.version[2], i.dev.Name(), i.start, i.tagSize, i.mode)
	if i.meta != nil {
		s += ",meta_device=" + i.meta.Name()
	}
	if i.perBlock != 1 {
		s += fmt.Sprintf(",block_size=%d", i.perBlock*sectorSize)
	}
	discards := yn(i.on["allow_discards"])
	if i.newer() {
		discards += ",allow_discards_keyed=" + yn(i.on["allow_discards_keyed"])
	}
	return s + fmt.Sprintf(",recalculate=%s,allow_discards=%s,fix_padding=%s,fix_hmac=%s,legacy_recalculate=%s,journal_sectors=%d,interleave_sectors=%d,buffer_sectors=%d;",
		yn(i.sb.flags&sbRecalculating != 0), discards, yn(i.sb.flags&sbFixedPadding != 0),
		yn(i.sb.flags&sbFixedHMAC != 0), yn(i.on["legacy_recalculate"]),
		i.initial-superSectors, uint64(1)<<i.sb.log2Interleave, uint64(1)<<i.log2Buffer)
}
