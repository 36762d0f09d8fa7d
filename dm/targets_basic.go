// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
)

// Linear maps a range of a device as it is (drivers/md/dm-linear.c).
type Linear struct {
	Device string  // path, or major:minor
	Offset Sectors // where the range starts on the device
}

// TargetType is "linear".
func (Linear) TargetType() string { return "linear" }

// Params is "device offset".
func (l Linear) Params() string { return JoinArgs(l.Device, num(l.Offset)) }

// Extents is the range on the device.
func (l Linear) Extents(length Sectors) []Extent { return []Extent{{l.Device, l.Offset, length}} }

// Validate refuses an empty device.
func (l Linear) Validate(Sectors) error { return needDevice(l.Device) }

func needDevice(names ...string) error {
	for _, n := range names {
		if n == "" {
			return errors.New("empty device")
		}
	}
	return nil
}

func parseLinear(params string) (Target, error) {
	r := readArgs(params)
	l := Linear{r.device("device"), r.sectors("offset")}
	return l, r.end()
}

// Stripe is one leg of a striped target.
type Stripe struct {
	Device string
	Offset Sectors
}

// Striped spreads chunks over several legs in turn (drivers/md/dm-stripe.c).
type Striped struct {
	ChunkSize Sectors
	Stripes   []Stripe
}

// TargetType is "striped".
func (Striped) TargetType() string { return "striped" }

// Params is "stripes chunk (device offset)…".
func (s Striped) Params() string {
	args := []string{num(len(s.Stripes)), num(s.ChunkSize)}
	for _, leg := range s.Stripes {
		args = append(args, leg.Device, num(leg.Offset))
	}
	return JoinArgs(args...)
}

// Extents is an equal share of the length on every leg.
func (s Striped) Extents(length Sectors) []Extent {
	ext := make([]Extent, len(s.Stripes))
	for i, leg := range s.Stripes {
		ext[i] = Extent{leg.Device, leg.Offset, length / Sectors(len(s.Stripes))}
	}
	return ext
}

// Validate checks that the length is a whole number of chunks on every leg.
func (s Striped) Validate(length Sectors) error {
	n := Sectors(len(s.Stripes))
	switch {
	case n == 0:
		return errors.New("no stripe")
	case s.ChunkSize == 0 || s.ChunkSize > 1<<32-1:
		return fmt.Errorf("chunk size %d", uint64(s.ChunkSize))
	case length%n != 0:
		return fmt.Errorf("length %d is not divisible by %d stripes", uint64(length), uint64(n))
	case length/n%s.ChunkSize != 0:
		return fmt.Errorf("%d sectors a stripe are not divisible by the chunk size %d", uint64(length/n), uint64(s.ChunkSize))
	}
	for _, leg := range s.Stripes {
		if err := needDevice(leg.Device); err != nil {
			return err
		}
	}
	return nil
}

func parseStriped(params string) (Target, error) {
	r := readArgs(params)
	n := r.uint("stripes", 32)
	s := Striped{ChunkSize: r.sectors("chunk size")}
	if r.err == nil && (n == 0 || n*2 != uint64(r.left())) {
		return nil, fmt.Errorf("%d arguments for %d stripes", r.left(), n)
	}
	for range n {
		if r.err != nil {
			break
		}
		s.Stripes = append(s.Stripes, Stripe{r.device("device"), r.sectors("offset")})
	}
	return s, r.end()
}

// ErrorTarget fails all I/O (drivers/md/dm-target.c). From target version
// 1.6 on it may name a device whose limits it takes over; older kernels
// ignore the argument.
type ErrorTarget struct {
	Device string // empty for none
	Offset Sectors
}

// TargetType is "error".
func (ErrorTarget) TargetType() string { return "error" }

// Params is empty, or "device offset".
func (e ErrorTarget) Params() string {
	if e.Device == "" {
		return ""
	}
	return JoinArgs(e.Device, num(e.Offset))
}

// Extents names the device if there is one.
func (e ErrorTarget) Extents(length Sectors) []Extent {
	if e.Device == "" {
		return nil
	}
	return []Extent{{e.Device, e.Offset, length}}
}

func parseErrorTarget(params string) (Target, error) {
	r := readArgs(params)
	if r.left() == 0 {
		return ErrorTarget{}, nil
	}
	e := ErrorTarget{r.device("device"), r.sectors("offset")}
	return e, r.end()
}

// Zero reads as zeros and forgets what is written (drivers/md/dm-zero.c).
type Zero struct{}

// TargetType is "zero".
func (Zero) TargetType() string { return "zero" }

// Params is empty.
func (Zero) Params() string { return "" }

func parseZero(params string) (Target, error) {
	r := readArgs(params)
	return Zero{}, r.end()
}
