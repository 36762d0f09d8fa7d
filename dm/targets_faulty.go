// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"time"
)

// DelayLeg is where one kind of I/O of a [Delay] goes, and how late.
type DelayLeg struct {
	Device string
	Offset Sectors
	Delay  time.Duration // whole milliseconds
}

func (l DelayLeg) args() []string {
	return []string{l.Device, num(l.Offset), num(l.Delay / time.Millisecond)}
}

// Delay sends I/O on late (drivers/md/dm-delay.c). Writes go where Write
// says, or where reads go if it is nil; flushes where Flush says, or where
// writes go.
type Delay struct {
	Read  DelayLeg
	Write *DelayLeg
	Flush *DelayLeg // only together with Write
}

// TargetType is "delay".
func (Delay) TargetType() string { return "delay" }

// Params is "device offset ms", once, twice or three times.
func (d Delay) Params() string {
	args := d.Read.args()
	if d.Write != nil {
		args = append(args, d.Write.args()...)
		if d.Flush != nil {
			args = append(args, d.Flush.args()...)
		}
	}
	return JoinArgs(args...)
}

func (d Delay) legs() []DelayLeg {
	legs := []DelayLeg{d.Read}
	for _, l := range []*DelayLeg{d.Write, d.Flush} {
		if l != nil {
			legs = append(legs, *l)
		}
	}
	return legs
}

// Extents is the range on every leg.
func (d Delay) Extents(length Sectors) []Extent {
	var ext []Extent
	for _, l := range d.legs() {
		ext = append(ext, Extent{l.Device, l.Offset, length})
	}
	return ext
}

// Validate refuses flushes without a place for writes and delays that are
// not whole milliseconds of 32 bits.
func (d Delay) Validate(Sectors) error {
	if d.Write == nil && d.Flush != nil {
		return errors.New("a leg for flushes needs one for writes")
	}
	for _, l := range d.legs() {
		if err := needDevice(l.Device); err != nil {
			return err
		}
		if err := wholeUnits(l.Delay, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func wholeUnits(d, unit time.Duration) error {
	if d < 0 || d%unit != 0 || d/unit >= 1<<32 {
		return fmt.Errorf("%v is not a 32-bit number of %v", d, unit)
	}
	return nil
}

func parseDelay(params string) (Target, error) {
	r := readArgs(params)
	leg := func() DelayLeg { return DelayLeg{r.device("device"), r.sectors("offset"), r.millis("delay")} }
	d := Delay{Read: leg()}
	for _, dst := range []**DelayLeg{&d.Write, &d.Flush} {
		if r.err == nil && r.left() > 0 {
			l := leg()
			*dst = &l
		}
	}
	return d, r.end()
}

// CorruptByte makes [Flakey] overwrite one byte of each request while it is
// down.
type CorruptByte struct {
	Nth   uint32 // which byte, counted from 1
	Write bool   // in writes, else in reads
	Value uint8
	Flags uint32 // only requests with all these kernel bio flags; 0 for all
}

// Flakey passes I/O for Up, then fails it for Down, in turn
// (drivers/md/dm-flakey.c). Without a feature all I/O fails while it is
// down; since Linux 6.5 the kernel prints that as ErrorReads and ErrorWrites.
type Flakey struct {
	Device   string
	Offset   Sectors
	Up, Down time.Duration // whole seconds, not both 0

	DropWrites  bool // forget writes, let reads pass
	ErrorWrites bool // fail writes, let reads pass
	ErrorReads  bool // fail reads; Linux 6.5
	Corrupt     *CorruptByte
	// Chance in 10^9 for each request to have a random byte overwritten;
	// Linux 6.5.
	RandomReadCorrupt, RandomWriteCorrupt uint32
}

// TargetType is "flakey".
func (Flakey) TargetType() string { return "flakey" }

// Params is "device offset up down n feature…", in the kernel's own order.
func (f Flakey) Params() string {
	var feat []string
	for _, b := range []struct {
		on   bool
		name string
	}{{f.ErrorReads, "error_reads"}, {f.DropWrites, "drop_writes"}, {f.ErrorWrites, "error_writes"}} {
		if b.on {
			feat = append(feat, b.name)
		}
	}
	if c := f.Corrupt; c != nil {
		rw := "r"
		if c.Write {
			rw = "w"
		}
		feat = append(feat, "corrupt_bio_byte", num(c.Nth), rw, num(c.Value), num(c.Flags))
	}
	if f.RandomReadCorrupt > 0 {
		feat = append(feat, "random_read_corrupt", num(f.RandomReadCorrupt))
	}
	if f.RandomWriteCorrupt > 0 {
		feat = append(feat, "random_write_corrupt", num(f.RandomWriteCorrupt))
	}
	args := []string{f.Device, num(f.Offset), num(f.Up / time.Second), num(f.Down / time.Second), num(len(feat))}
	return JoinArgs(append(args, feat...)...)
}

// Extents is the range on the device.
func (f Flakey) Extents(length Sectors) []Extent { return []Extent{{f.Device, f.Offset, length}} }

// maxRandomCorrupt is PROBABILITY_BASE of dm-flakey.c.
const maxRandomCorrupt = 1_000_000_000

// Validate checks the intervals and the features that exclude each other.
func (f Flakey) Validate(Sectors) error {
	if err := needDevice(f.Device); err != nil {
		return err
	}
	for _, d := range []time.Duration{f.Up, f.Down} {
		if err := wholeUnits(d, time.Second); err != nil {
			return err
		}
	}
	switch {
	case f.Up+f.Down == 0:
		return errors.New("up and down are both 0")
	case (f.Up+f.Down)/time.Second >= 1<<32:
		return errors.New("up and down together do not fit 32 bits")
	case f.DropWrites && f.ErrorWrites:
		return errors.New("drop_writes and error_writes exclude each other")
	case f.Corrupt != nil && f.Corrupt.Nth == 0:
		return errors.New("corrupt_bio_byte counts bytes from 1")
	case f.Corrupt != nil && f.Corrupt.Write && (f.DropWrites || f.ErrorWrites):
		return errors.New("corrupt_bio_byte of writes excludes drop_writes and error_writes")
	case f.Corrupt != nil && !f.Corrupt.Write && f.ErrorReads:
		return errors.New("corrupt_bio_byte of reads excludes error_reads")
	case f.RandomReadCorrupt > maxRandomCorrupt || f.RandomWriteCorrupt > maxRandomCorrupt:
		return fmt.Errorf("a chance in 10^9 is at most %d", maxRandomCorrupt)
	}
	return nil
}

func parseFlakey(params string) (Target, error) {
	r := readArgs(params)
	f := Flakey{Device: r.device("device"), Offset: r.sectors("offset"), Up: r.seconds("up"), Down: r.seconds("down")}
	if r.err != nil || r.left() == 0 {
		return f, r.end()
	}
	if n := r.uint("features", 32); r.err == nil && n != uint64(r.left()) {
		return nil, fmt.Errorf("%d feature arguments announced, %d given", n, r.left())
	}
	for r.err == nil && r.left() > 0 {
		switch name := r.str("feature"); name {
		case "drop_writes":
			f.DropWrites = true
		case "error_writes":
			f.ErrorWrites = true
		case "error_reads":
			f.ErrorReads = true
		case "corrupt_bio_byte":
			c := &CorruptByte{Nth: uint32(r.uint("byte", 32))}
			switch rw := r.str("direction"); rw {
			case "w", "W":
				c.Write = true
			case "r", "R":
			default:
				r.fail("direction", fmt.Errorf("%q", rw))
			}
			c.Value = uint8(r.uint("value", 8))
			c.Flags = uint32(r.uint("bio flags", 32))
			f.Corrupt = c
		case "random_read_corrupt":
			f.RandomReadCorrupt = uint32(r.uint("chance", 32))
		case "random_write_corrupt":
			f.RandomWriteCorrupt = uint32(r.uint("chance", 32))
		default:
			r.fail("feature", fmt.Errorf("%q is unknown", name))
		}
	}
	return f, r.end()
}
