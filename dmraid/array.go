// SPDX-License-Identifier: MIT

package dmraid

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"

	"github.com/linuxblock/linuxblock/dm"
)

// Array is a live array: a device of package dm whose table is one segment of
// the target raid. It is safe for use by many goroutines; changes of one array
// should not be made side by side.
type Array struct {
	c      *dm.Client
	name   dm.Name
	dev    dm.Dev
	open   DeviceOpener
	kernel Kernel
	udev   dm.UdevOptions
}

// ArrayOption changes how an Array works.
type ArrayOption func(*Array)

// WithDevices has superblocks and bitmaps read and written through o, in the
// place of [HostDevices].
func WithDevices(o DeviceOpener) ArrayOption { return func(a *Array) { a.open = o } }

// WithKernel says whose traps are to be watched for; the default is the kernel
// that runs, and [Linux61] where that is not known.
func WithKernel(k Kernel) ArrayOption { return func(a *Array) { a.kernel = k } }

// WithUdev gives the options for udev to every change of the device.
func WithUdev(o dm.UdevOptions) ArrayOption { return func(a *Array) { a.udev = o } }

func newArray(c *dm.Client, opts []ArrayOption) *Array {
	a := &Array{c: c, open: HostDevices{}, kernel: Linux61}
	if k, ok := runningKernel(); ok {
		a.kernel = k
	}
	for _, o := range opts {
		o(a)
	}
	return a
}

// OpenArray finds a device and makes sure that it is an array. The error
// matches fs.ErrNotExist when there is no such device, and ErrForeign when it
// is something else.
//
// The Array goes by the number of the device from then on. It needs no Close.
func OpenArray(ctx context.Context, c *dm.Client, ref dm.Ref, opts ...ArrayOption) (*Array, error) {
	a := newArray(c, opts)
	info, err := c.Info(ctx, ref)
	if err != nil {
		return nil, &Error{Op: "open", Object: ref.String(), Err: err}
	}
	a.name, a.dev = info.Name, info.Dev
	if _, _, err := a.table(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// Name is the name that the device had when the Array was opened.
func (a *Array) Name() dm.Name { return a.name }

// Dev is the number of the device.
func (a *Array) Dev() dm.Dev { return a.dev }

// fail makes an *Error of what a step met.
func (a *Array) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) && e.Op == op {
		return err
	}
	return &Error{Op: op, Object: string(a.name), Err: err}
}

// refuse explains why a change is not made.
func (a *Array) refuse(op string, cause error, detail string) error {
	return &Error{Op: op, Object: string(a.name), Detail: detail, Err: cause}
}

// table reads the live table.
func (a *Array) table(ctx context.Context) (Table, Sectors, error) {
	live, err := a.c.Table(ctx, a.dev, dm.StatusOptions{})
	if err != nil {
		return Table{}, 0, a.fail("table", err)
	}
	if len(live) != 1 || live[0].Target.TargetType() != targetName {
		return Table{}, 0, a.refuse("table", ErrForeign, "not one segment of the target raid")
	}
	if t, ok := live[0].Target.(Table); ok {
		return t, live[0].Length, nil
	}
	// The client was opened without Parsers.
	target, err := Parse(live[0].Target.Params())
	if err != nil {
		return Table{}, 0, a.fail("table", err)
	}
	return target.(Table), live[0].Length, nil
}

// ArrayState is all that can be known of a live array.
type ArrayState struct {
	Info   dm.Info
	Length Sectors
	// Table is what the kernel prints, but for what it prints wrongly: the type
	// behind a reshape and raid10_use_near_sets come from status and
	// superblocks. Devices are "major:minor".
	Table  Table
	Status Status
	Health Health
	// Legs is what lies on the metadata device of each leg right now. The
	// kernel writes there when it has to, which may be some time behind a
	// change.
	Legs []LegFound
}

// State asks the kernel for table and status, and reads all superblocks.
func (a *Array) State(ctx context.Context) (ArrayState, error) {
	var s ArrayState
	var err error
	if s.Info, err = a.c.Info(ctx, a.dev); err != nil {
		return s, a.fail("state", err)
	}
	if s.Table, s.Length, err = a.table(ctx); err != nil {
		return s, err
	}
	if s.Status, err = a.Status(ctx); err != nil {
		return s, err
	}
	if s.Legs, err = a.readLegs(s.Table.Legs); err != nil {
		return s, err
	}
	s.mend()
	s.Health = s.Status.Health(Facts{Suspended: s.Info.Suspended, Table: &s.Table, Legs: s.Legs})
	return s, nil
}

// mend puts right what raid_status prints of the table that was loaded, not of
// the array that has become of it.
func (s *ArrayState) mend() {
	if s.Table.Type.IsRAID10() {
		i := slices.IndexFunc(s.Legs, func(l LegFound) bool { return l.Meta == MetaValid && l.Super.Level == 10 })
		if i >= 0 {
			// Bit 18 is use_far_sets, bits 8 to 15 are the far copies.
			layout := s.Legs[i].Super.Layout
			s.Table.NearSets = layout>>8&0xff > 1 && layout&(1<<18) == 0
		}
		return
	}
	if _, err := ParseType(string(s.Status.Type)); err == nil && !s.Status.Type.IsRAID10() {
		s.Table.Type = s.Status.Type
	}
}

// Status asks for the status line alone, which disturbs nothing.
func (a *Array) Status(ctx context.Context) (Status, error) {
	list, err := a.c.Status(ctx, a.dev, dm.StatusOptions{})
	if err != nil {
		return Status{}, a.fail("status", err)
	}
	if len(list) != 1 {
		return Status{}, a.refuse("status", ErrForeign, "not one segment of the target raid")
	}
	s, err := StatusOf(list[0])
	return s, a.fail("status", err)
}

// Send sends a message; see [Message] for what the kernel makes of it. An
// EINVAL that a kernel gives for a MessageIdle that it did is passed over.
func (a *Array) Send(ctx context.Context, m Message) error {
	err := Send(ctx, a.c, a.dev, m)
	if m != MessageIdle && m != MessageFrozen || !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	s, statusErr := a.Status(ctx)
	switch {
	case statusErr != nil || !s.Type.Redundant():
		return err
	case m == MessageIdle:
		return nil
	}
	return &Error{Op: string(m), Object: a.dev.String(), Code: einval, Detail: "this kernel breaks off what runs, and lets it begin again", Err: errors.ErrUnsupported}
}

// readLegs reads the superblocks of all legs, several at a time. A device that
// can't be read is a finding and no error; one that can't even be looked for,
// for want of a right, is.
func (a *Array) readLegs(legs []Leg) ([]LegFound, error) {
	found := make([]LegFound, len(legs))
	errs := make([]error, len(legs))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i, l := range legs {
		if l.Meta == "" {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			found[i], errs[i] = a.readLeg(l.Meta)
			<-slots
		})
	}
	wg.Wait()
	return found, errors.Join(errs...)
}

func (a *Array) readLeg(meta string) (LegFound, error) {
	d, err := a.open.OpenDevice(meta, false)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
			return LegFound{}, &Error{Op: "superblock", Object: meta, Err: err}
		}
		return LegFound{Meta: MetaUnreadable}, nil
	}
	defer d.Close()
	sb, err := ReadSuperblock(d)
	switch {
	case err == nil:
		return LegFound{Meta: MetaValid, Super: sb}, nil
	case errors.Is(err, ErrForeign):
		return LegFound{Meta: MetaFresh}, nil
	case errors.Is(err, ErrCorrupt):
		// The kernel would refuse the array for it; it is no failed device.
		return LegFound{}, &Error{Op: "superblock", Object: meta, Err: err}
	}
	return LegFound{Meta: MetaUnreadable}, nil
}

// recorded says of which legs the superblocks of the others do not tell that
// leg n is gone.
func (a *Array) unrecorded(legs []Leg, n int) (missing []int, err error) {
	found, err := a.readLegs(legs)
	if err != nil {
		return nil, err
	}
	for i, f := range found {
		switch {
		case i == n || legs[i].Meta == "" || f.Meta == MetaUnreadable:
		case f.Meta != MetaValid || f.Super.FailedDevices[n/64]>>(n%64)&1 == 0:
			missing = append(missing, i)
		}
	}
	return missing, nil
}
