// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// flakey is dm-flakey.c: it fails or spoils I/O in the second part of each
// interval.
type flakey struct {
	area
	since               time.Time
	up, down            uint32 // seconds
	dropWrites          bool
	errorWrites         bool
	errorReads          bool
	corruptByte         uint32 // from 1; 0 for none
	corruptWrite        bool
	corruptValue        uint32
	corruptFlags        uint32
	randomRead, randomW uint32 // printed only: of 1,000,000,000 I/Os so many
}

func flakeyTarget(newer bool) Target {
	return Target{Name: "flakey", Version: [3]uint32{1, 5, 0}, Autoload: true, New: func(a *Args) (Instance, error) {
		return newFlakey(a, newer)
	}}
}

func newFlakey(a *Args, newer bool) (Instance, error) {
	if len(a.Argv) < 4 {
		return nil, a.Fail(EINVAL, "Invalid argument count")
	}
	f := &flakey{since: time.Now()}
	start, ok := scanSector(a.Argv[1])
	if !ok {
		return nil, a.Fail(EINVAL, "Invalid device sector")
	}
	if f.up, ok = scanUint(a.Argv[2]); !ok {
		return nil, a.Fail(EINVAL, "Invalid up interval")
	}
	if f.down, ok = scanUint(a.Argv[3]); !ok {
		return nil, a.Fail(EINVAL, "Invalid down interval")
	}
	if f.up+f.down == 0 {
		return nil, a.Fail(EINVAL, "Total (up + down) interval is zero")
	}
	if f.up+f.down < f.up {
		return nil, a.Fail(EINVAL, "Interval overflow")
	}
	if len(a.Argv) > 4 {
		if text := f.parse(a.Argv[4:], newer); text != "" {
			return nil, a.Fail(EINVAL, text)
		}
	}
	if newer && f.errorReads && f.corruptByte > 0 && !f.corruptWrite {
		return nil, a.Fail(EINVAL, "error_reads is incompatible with corrupt_bio_byte with the READ flag set")
	}
	if newer && f.corruptByte == 0 && !f.dropWrites && !f.errorWrites && !f.errorReads && f.randomRead == 0 && f.randomW == 0 {
		// Seen on 6.12: without a feature the table says what it does then.
		f.errorReads, f.errorWrites = true, true
	}
	dev, err := a.Open(a.Argv[0])
	if err != nil {
		return nil, withText(err, "Device lookup failed")
	}
	f.area = area{dev, start, a.Length}
	return f, nil
}

// parse reads the feature arguments and returns the text of a refusal.
func (f *flakey) parse(argv []string, newer bool) string {
	limit := uint32(6)
	if newer {
		limit = 11
	}
	n, ok := scanUint(argv[0])
	if !ok || n > limit || int(n) > len(argv)-1 {
		return "Invalid number of feature args"
	}
	// What is behind the group is not looked at, but may serve as the
	// arguments of its last feature: the kernel counts only the names.
	argv = argv[1:]
	next := func() string {
		if len(argv) == 0 {
			return ""
		}
		s := argv[0]
		argv = argv[1:]
		n--
		return s
	}
	number := func(low, high uint32) (uint32, bool) {
		v, ok := scanUint(next())
		return v, ok && v >= low && v <= high
	}
	for n > 0 && n <= limit {
		switch name := strings.ToLower(next()); {
		case name == "":
			return "Insufficient feature arguments"
		case name == "drop_writes":
			if f.dropWrites {
				return "Feature drop_writes duplicated"
			}
			if f.errorWrites {
				return "Feature drop_writes conflicts with feature error_writes"
			}
			f.dropWrites = true
		case name == "error_writes":
			if f.errorWrites {
				return "Feature error_writes duplicated"
			}
			if f.dropWrites {
				return "Feature error_writes conflicts with feature drop_writes"
			}
			f.errorWrites = true
		case name == "error_reads" && newer:
			if f.errorReads {
				return "Feature error_reads duplicated"
			}
			f.errorReads = true
		case name == "corrupt_bio_byte":
			if n == 0 {
				return "Feature corrupt_bio_byte requires parameters"
			}
			if f.corruptByte, ok = number(1, 1<<32-1); !ok {
				return "Invalid corrupt bio byte"
			}
			rw := strings.ToLower(next())
			if rw != "r" && rw != "w" {
				return "Invalid corrupt bio direction (r or w)"
			}
			f.corruptWrite = rw == "w"
			if f.corruptValue, ok = number(0, 255); !ok {
				return "Invalid corrupt value to write into bio byte (0-255)"
			}
			if f.corruptFlags, ok = number(0, 1<<32-1); !ok {
				return "Invalid corrupt bio flags mask"
			}
		case name == "random_read_corrupt" && newer:
			if f.randomRead, ok = number(0, 1e9); !ok {
				return "Invalid random read corrupt argument"
			}
		case name == "random_write_corrupt" && newer:
			if f.randomW, ok = number(0, 1e9); !ok {
				return "Invalid random write corrupt argument"
			}
		default:
			return "Unrecognised flakey feature requested"
		}
	}
	switch {
	case f.dropWrites && f.corruptWrite:
		return "drop_writes is incompatible with corrupt_bio_byte with the WRITE flag set"
	case f.errorWrites && f.corruptWrite:
		return "error_writes is incompatible with corrupt_bio_byte with the WRITE flag set"
	}
	return ""
}

func (f *flakey) Table() string {
	var b strings.Builder
	n := 0
	feature := func(on bool, words int, format string, args ...any) {
		if on {
			n += words
			fmt.Fprintf(&b, format, args...)
		}
	}
	feature(f.errorReads, 1, "error_reads ")
	feature(f.dropWrites, 1, "drop_writes ")
	feature(f.errorWrites, 1, "error_writes ")
	rw := 'r'
	if f.corruptWrite {
		rw = 'w'
	}
	feature(f.corruptByte > 0, 5, "corrupt_bio_byte %d %c %d %d ", f.corruptByte, rw, f.corruptValue, f.corruptFlags)
	feature(f.randomRead > 0, 2, "random_read_corrupt %d ", f.randomRead)
	feature(f.randomW > 0, 2, "random_write_corrupt %d ", f.randomW)
	return fmt.Sprintf("%s %d %d %d %s", f.area, f.up, f.down, n, b.String())
}

// isDown says whether the interval is in its second part.
func (f *flakey) isDown() bool {
	elapsed := uint64(time.Since(f.since) / time.Second)
	return elapsed%uint64(f.up+f.down) >= uint64(f.up)
}

func (f *flakey) quiet() bool { return f.corruptByte == 0 && !f.dropWrites && !f.errorWrites }

func (f *flakey) ReadSectors(p []byte, sector uint64) error {
	down := f.isDown()
	if down && (f.errorReads || f.quiet()) {
		return errKilled
	}
	if err := f.area.ReadSectors(p, sector); err != nil {
		return err
	}
	if down && !f.corruptWrite {
		f.corrupt(p)
	}
	return nil
}

func (f *flakey) WriteSectors(p []byte, sector uint64) error {
	if !f.isDown() {
		return f.area.WriteSectors(p, sector)
	}
	switch {
	case f.dropWrites:
		return nil
	case f.errorWrites || f.quiet() && !f.errorReads:
		return errKilled
	case f.corruptWrite:
		p = slices.Clone(p)
		f.corrupt(p)
	}
	return f.area.WriteSectors(p, sector)
}

func (f *flakey) DiscardSectors(sector, n uint64) error {
	if f.isDown() && f.quiet() {
		return errKilled
	}
	return f.area.DiscardSectors(sector, n)
}

func (f *flakey) corrupt(p []byte) {
	if f.corruptByte > 0 && f.corruptFlags == 0 && int(f.corruptByte) <= len(p) {
		p[f.corruptByte-1] = byte(f.corruptValue)
	}
}
