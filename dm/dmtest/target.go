// SPDX-License-Identifier: MIT

package dmtest

import (
	"errors"
	"slices"
	"syscall"
)

// Target is the model of a target type: what struct target_type is to the
// driver.
type Target struct {
	Name    string
	Version [3]uint32

	// Autoload says that the module is not loaded yet: LIST_VERSIONS does
	// not show it, a table with it or GET_TARGET_VERSION loads it. Module
	// is the name that targets of one module share; they come together.
	Autoload bool
	Module   string

	// The DM_TARGET_* features that the core looks at.
	Singleton       bool // must be alone in its table
	Immutable       bool // a device that once has it keeps it
	AlwaysWriteable bool // not in a read-only table
	Wildcard        bool // may replace an immutable target, as error does

	// New is the constructor. The error is a *[CtorError], or a
	// syscall.Errno when the kernel gives no reason ("Unknown error").
	New func(a *Args) (Instance, error)
}

// Instance is a target in a table: a value with any of the interfaces below.
// A hook of the driver that has no method here is absent, with what the
// kernel does then: no status text, EINVAL for messages, EIO for I/O.
//
// Methods are called without locks of the Kernel and may use it; they may run
// at the same time as each other.
type Instance any

// Tabler prints the parameters (STATUSTYPE_TABLE).
type Tabler interface{ Table() string }

// Statuser prints the status (STATUSTYPE_INFO). With noflush the caller does
// not want metadata written for it.
type Statuser interface{ Status(noflush bool) string }

// Measurer prints the text for integrity measurement (STATUSTYPE_IMA).
type Measurer interface{ IMA() string }

// Messenger takes messages, split in words. A reply that is not empty goes
// back to the caller.
type Messenger interface {
	Message(argv []string) (reply string, err error)
}

// Iterator names the areas of devices that the target uses, which the core
// checks against the sizes of the devices (iterate_devices).
type Iterator interface{ Devices() []Area }

// Area is a part of a device, in sectors.
type Area struct {
	Dev           *Dev
	Start, Length uint64
}

// LimitsHinter is told when the limits of the table are worked out: at the
// first load of a device, and at every swap of a table (io_hints).
type LimitsHinter interface{ IOHints() }

// Mapper does I/O. Sectors count from the start of the target; p is a
// multiple of 512 bytes and lies within the target.
type Mapper interface {
	ReadSectors(p []byte, sector uint64) error
	WriteSectors(p []byte, sector uint64) error
}

// Discarder is a Mapper that takes discards.
type Discarder interface {
	DiscardSectors(sector, count uint64) error
}

// The hooks around a suspend and a resume, named as in struct target_type.
type (
	Presuspender     interface{ Presuspend() }
	PresuspendUndoer interface{ PresuspendUndo() }
	Postsuspender    interface{ Postsuspend() }
	Preresumer       interface{ Preresume() error }
	Resumer          interface{ Resume() }
)

// Destroyer is told when the table goes. The devices are closed by the core.
type Destroyer interface{ Destroy() }

// CtorError is a refusal of a constructor: the errno of the ioctl, and the
// text that the kernel log shows behind the name of the target.
type CtorError struct {
	Errno syscall.Errno
	Text  string
}

// Error is the text and the errno, as the kernel logs them.
func (e *CtorError) Error() string { return e.Text + " (" + errnoText(e.Errno) + ")" }

// Unwrap is the errno.
func (e *CtorError) Unwrap() error { return e.Errno }

// Args is what a constructor gets.
type Args struct {
	Type          string   // name of the target
	Start, Length uint64   // sectors
	Argv          []string // parameters, split by the kernel's rules
	ReadOnly      bool     // the table is read-only

	t *table
}

// Kernel is the instance that the table belongs to.
func (a *Args) Kernel() *Kernel { return a.t.d.k }

// DeviceName is "254:0", as in the kernel log.
func (a *Args) DeviceName() string { return a.t.d.String() }

// Dev is the number of the device, as huge_encode_dev makes it.
func (a *Args) Dev() (major, minor uint32) { return splitDev(a.t.d.dev()) }

// Event is dm_table_event: it raises the device's event number and wakes
// those who wait, when this table is live. Instances may keep it.
func (a *Args) Event() {
	k := a.Kernel()
	k.mu.Lock()
	defer k.mu.Unlock()
	if a.t.d.live == a.t {
		a.t.d.event()
	}
}

// Suspended reports whether the device is suspended.
func (a *Args) Suspended() bool {
	k := a.Kernel()
	k.mu.Lock()
	defer k.mu.Unlock()
	return a.t.d.suspended
}

// Noflush reports whether the device is being suspended without a flush: then
// Presuspend gives back the I/O that the target holds (dm_noflush_suspending).
func (a *Args) Noflush() bool {
	k := a.Kernel()
	k.mu.Lock()
	defer k.mu.Unlock()
	return a.t.d.noflush
}

// Fail makes the error of a constructor.
func (a *Args) Fail(errno syscall.Errno, text string) error { return &CtorError{errno, text} }

// Open gets a device in the mode of the table, as dm_get_device does.
func (a *Args) Open(path string) (*Dev, error) {
	if a.ReadOnly {
		return a.t.open(path, modeRead)
	}
	return a.t.open(path, modeRead|modeWrite)
}

// OpenRead gets a device for reading whatever the mode of the table.
func (a *Args) OpenRead(path string) (*Dev, error) { return a.t.open(path, modeRead) }

type registeredTarget struct {
	Target
	loaded bool
}

// AddTarget plugs a model in, in the place of one with the same name. A
// table that is loaded keeps what it has.
func (k *Kernel) AddTarget(m Target) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := &registeredTarget{Target: m, loaded: !m.Autoload}
	for i, old := range k.targets {
		if old.Name == m.Name {
			k.targets[i] = r
			return
		}
	}
	k.targets = append(k.targets, r)
}

// RemoveTarget takes a model out: its module does not exist.
func (k *Kernel) RemoveTarget(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.targets = slices.DeleteFunc(slices.Clone(k.targets), func(r *registeredTarget) bool { return r.Name == name })
}

// targetType is dm_get_target_type: it loads the module when need be. Called
// with mu held.
func (k *Kernel) targetType(name string) *registeredTarget {
	i := slices.IndexFunc(k.targets, func(r *registeredTarget) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	r := k.targets[i]
	if r.loaded {
		return r
	}
	// The list is in the order of registration.
	var rest, fresh []*registeredTarget
	for _, o := range k.targets {
		if o == r || !o.loaded && o.Module != "" && o.Module == r.Module {
			o.loaded = true
			fresh = append(fresh, o)
		} else {
			rest = append(rest, o)
		}
	}
	k.targets = append(rest, fresh...)
	return r
}

// ctorErrno takes a constructor's error apart.
func ctorErrno(err error) (syscall.Errno, string) {
	var c *CtorError
	if errors.As(err, &c) {
		return c.Errno, c.Text
	}
	var e syscall.Errno
	if errors.As(err, &e) {
		return e, "Unknown error"
	}
	return EINVAL, err.Error()
}
