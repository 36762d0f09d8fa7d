// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"strconv"
	"strings"
)

// scanSector is sscanf(s, "%llu%c") == 1: blanks and a sign may lead.
func scanSector(s string) (uint64, bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "+"), 10, 64)
	return n, err == nil
}

// scanUint is sscanf(s, "%u%c") == 1.
func scanUint(s string) (uint32, bool) {
	n, ok := scanSector(s)
	return uint32(n), ok && n <= 1<<32-1
}

// area is a stretch of one device, which most targets map.
type area struct {
	dev           *Dev
	start, length uint64
}

func (a area) ReadSectors(p []byte, sector uint64) error {
	return a.dev.ReadSectors(p, a.start+sector)
}

func (a area) WriteSectors(p []byte, sector uint64) error {
	return a.dev.WriteSectors(p, a.start+sector)
}

func (a area) DiscardSectors(sector, n uint64) error {
	return a.dev.DiscardSectors(a.start+sector, n)
}

func (a area) Devices() []Area { return []Area{{a.dev, a.start, a.length}} }
func (a area) String() string  { return fmt.Sprintf("%s %d", a.dev.Name(), a.start) }

// openArea reads "dev offset" as linear and many others do: the number
// first, the device second.
func (a *Args) openArea(path, sector string, length uint64) (area, error) {
	start, ok := scanSector(sector)
	if !ok {
		return area{}, a.Fail(EINVAL, "Invalid device sector")
	}
	dev, err := a.Open(path)
	if err != nil {
		return area{}, withText(err, "Device lookup failed")
	}
	return area{dev, start, length}, nil
}

// withText gives an error the text of the target.
func withText(err error, text string) error {
	errno, _ := ctorErrno(err)
	return &CtorError{errno, text}
}

// linear is dm-linear.c.
type linear struct{ area }

func linearTarget() Target {
	return Target{Name: "linear", Version: [3]uint32{1, 4, 0}, New: func(a *Args) (Instance, error) {
		if len(a.Argv) != 2 {
			return nil, a.Fail(EINVAL, "Invalid argument count")
		}
		m, err := a.openArea(a.Argv[0], a.Argv[1], a.Length)
		if err != nil {
			return nil, err
		}
		return linear{m}, nil
	}}
}

func (l linear) Table() string { return l.String() }

func (l linear) IMA() string {
	return fmt.Sprintf("target_name=linear,target_version=1.4.0,device_name=%s,start=%d;", l.dev.Name(), l.start)
}

// zero is dm-zero.c.
type zero struct{}

func zeroTarget(newer bool) Target {
	t := Target{Name: "zero", Version: [3]uint32{1, 1, 0}, Autoload: true, New: func(a *Args) (Instance, error) {
		if len(a.Argv) != 0 {
			return nil, a.Fail(EINVAL, "No arguments required")
		}
		return zero{}, nil
	}}
	if newer {
		t.Version[1] = 2
	}
	return t
}

func (zero) ReadSectors(p []byte, _ uint64) error { clear(p); return nil }
func (zero) WriteSectors([]byte, uint64) error    { return nil }
func (zero) DiscardSectors(uint64, uint64) error  { return nil }

// errorInstance is dm-target.c. It prints nothing, not even the device that
// newer ones take.
type errorInstance struct{ areas []Area }

func errorTarget(newer bool) Target {
	t := Target{Name: "error", Version: [3]uint32{1, 5, 0}, Wildcard: true}
	t.New = func(a *Args) (Instance, error) {
		if !newer || len(a.Argv) == 0 {
			return errorInstance{}, nil
		}
		if len(a.Argv) != 2 {
			return nil, a.Fail(EINVAL, "Invalid argument count")
		}
		m, err := a.openArea(a.Argv[0], a.Argv[1], a.Length)
		if err != nil {
			return nil, err
		}
		return errorInstance{m.Devices()}, nil
	}
	if newer {
		t.Version[1] = 7
	}
	return t
}

func (e errorInstance) Devices() []Area                   { return e.areas }
func (errorInstance) ReadSectors([]byte, uint64) error    { return errKilled }
func (errorInstance) WriteSectors([]byte, uint64) error   { return errKilled }
func (errorInstance) DiscardSectors(uint64, uint64) error { return errKilled }
