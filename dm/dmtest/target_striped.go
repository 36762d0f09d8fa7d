// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// striped is dm-stripe.c.
type striped struct {
	a      *Args
	chunk  uint64
	legs   []area
	mu     sync.Mutex
	errors []int
}

// maxStripeErrors is DM_IO_ERROR_THRESHOLD: later errors raise no event.
const maxStripeErrors = 15

func stripedTarget() Target {
	return Target{Name: "striped", Version: [3]uint32{1, 6, 0}, New: newStriped}
}

func newStriped(a *Args) (Instance, error) {
	if len(a.Argv) < 2 {
		return nil, a.Fail(EINVAL, "Not enough arguments")
	}
	n, err := strconv.ParseUint(a.Argv[0], 10, 32)
	if err != nil || n == 0 {
		return nil, a.Fail(EINVAL, "Invalid stripe count")
	}
	chunk, err := strconv.ParseUint(a.Argv[1], 10, 32)
	if err != nil || chunk == 0 {
		return nil, a.Fail(EINVAL, "Invalid chunk_size")
	}
	width := a.Length / n
	if a.Length%n != 0 {
		return nil, a.Fail(EINVAL, "Target length not divisible by number of stripes")
	}
	if width%chunk != 0 {
		return nil, a.Fail(EINVAL, "Target length not divisible by chunk size")
	}
	if uint64(len(a.Argv)) != 2+2*n {
		return nil, a.Fail(EINVAL, "Not enough destinations specified")
	}
	s := &striped{a: a, chunk: chunk, errors: make([]int, n)}
	for i := range int(n) {
		m, err := a.openArea(a.Argv[2+2*i], a.Argv[3+2*i], width)
		if err != nil {
			return nil, withText(err, "Couldn't parse stripe destination")
		}
		s.legs = append(s.legs, m)
	}
	return s, nil
}

func (s *striped) Devices() []Area {
	var list []Area
	for _, l := range s.legs {
		list = append(list, l.Devices()...)
	}
	return list
}

func (s *striped) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %d", len(s.legs), s.chunk)
	for _, l := range s.legs {
		fmt.Fprintf(&b, " %s", l)
	}
	return b.String()
}

// health is one letter a leg: A, or D behind an I/O error.
func (s *striped) health() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := make([]byte, len(s.legs))
	for i, n := range s.errors {
		b[i] = 'A'
		if n > 0 {
			b[i] = 'D'
		}
	}
	return string(b)
}

func (s *striped) Status(bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d ", len(s.legs))
	for _, l := range s.legs {
		fmt.Fprintf(&b, "%s ", l.dev.Name())
	}
	return b.String() + "1 " + s.health()
}

func (s *striped) IMA() string {
	var b strings.Builder
	fmt.Fprintf(&b, "target_name=striped,target_version=1.6.0,stripes=%d,chunk_size=%d", len(s.legs), s.chunk)
	health := s.health()
	for i, l := range s.legs {
		fmt.Fprintf(&b, ",stripe_%d_device_name=%s,stripe_%d_physical_start=%d,stripe_%d_status=%c",
			i, l.dev.Name(), i, l.start, i, health[i])
	}
	return b.String() + ";"
}

// MaxIO is the chunk, also of a single stripe.
func (s *striped) MaxIO() uint64 { return s.chunk }

// each splits [sector, sector+n) at chunks: f gets the leg, the sector in it
// and the part as an offset and a count.
func (s *striped) each(sector, n uint64, f func(leg area, at, from, count uint64) error) error {
	for done := uint64(0); done < n; {
		chunk, in := (sector+done)/s.chunk, (sector+done)%s.chunk
		i := chunk % uint64(len(s.legs))
		count := min(n-done, s.chunk-in)
		at := chunk/uint64(len(s.legs))*s.chunk + in
		if err := f(s.legs[i], at, done, count); err != nil {
			s.mu.Lock()
			s.errors[i]++
			event := s.errors[i] < maxStripeErrors
			s.mu.Unlock()
			if event {
				s.a.Event()
			}
			return err
		}
		done += count
	}
	return nil
}

func (s *striped) ReadSectors(p []byte, sector uint64) error {
	return s.each(sector, uint64(len(p)/sectorSize), func(leg area, at, from, count uint64) error {
		return leg.ReadSectors(p[from*sectorSize:(from+count)*sectorSize], at)
	})
}

func (s *striped) WriteSectors(p []byte, sector uint64) error {
	return s.each(sector, uint64(len(p)/sectorSize), func(leg area, at, from, count uint64) error {
		return leg.WriteSectors(p[from*sectorSize:(from+count)*sectorSize], at)
	})
}

func (s *striped) DiscardSectors(sector, n uint64) error {
	return s.each(sector, n, func(leg area, at, _, count uint64) error { return leg.DiscardSectors(at, count) })
}
