// SPDX-License-Identifier: MIT

package blockdev

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
)

// CheckWipeable returns nil when the device or image at path may be written
// over: nobody holds it and no signature is on it. Otherwise the error matches
// ErrBusy, with the holders in Detail, or ErrSignature, with a *SignatureError
// in its chain that lists all of them. A region that cannot be read is a
// refusal too (*ReadError): what lies there is unknown.
//
// The device is free again when the call returns. Who goes on to write opens
// it with Options.Exclusive first and calls Device.CheckWipeable.
func CheckWipeable(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return newError("check", path, context.Cause(ctx))
	}
	d, err := OpenExclusive(path, Options{})
	if err != nil {
		return err
	}
	defer d.Close()
	return d.CheckWipeable(ctx)
}

// OpenExclusive is Open with Options.Exclusive, for callers that are about to
// destroy: a block device is opened with direct I/O, so that stale pages of
// the cache are not believed, and an ErrBusy says in Detail who the holders
// are. An image is refused while swap or a loop device uses it.
func OpenExclusive(path string, o Options) (*Device, error) {
	o.Exclusive = true
	st, err := os.Stat(path)
	if err != nil {
		return nil, newError("open", path, err)
	}
	if st.Mode().IsRegular() {
		uses, err := InUse(path)
		if err != nil {
			return nil, err
		}
		if len(uses) > 0 {
			return nil, errorf("open", path, ErrBusy, "%s", joinUses(uses))
		}
		return Open(path, o)
	}
	o.Direct = true
	d, err := Open(path, o)
	if errors.Is(err, errors.ErrUnsupported) {
		o.Direct = false
		d, err = Open(path, o)
	}
	var e *Error
	if errors.As(err, &e) && errors.Is(err, ErrBusy) {
		if uses, uerr := InUse(path); uerr == nil {
			e.Detail = joinUses(uses)
		}
	}
	return d, err
}

func joinUses(uses []Use) string {
	s := make([]string, len(uses))
	for i, u := range uses {
		s[i] = u.String()
	}
	return strings.Join(s, ", ")
}

// Probe looks for signatures on the device.
func (d *Device) Probe(ctx context.Context) ([]Signature, error) {
	size, err := d.Size()
	if err != nil {
		return nil, err
	}
	var found []Signature
	err = d.await(ctx, "probe", func(ctx context.Context) error {
		s, err := Probe(ctxReader{ctx, d}, size)
		if cerr := ctx.Err(); cerr != nil {
			return newError("probe", d.path, context.Cause(ctx))
		}
		found = s
		if err != nil {
			return newError("probe", d.path, err)
		}
		return nil
	})
	if errors.Is(err, ErrPending) {
		return nil, err // found belongs to the goroutine that goes on
	}
	return found, err
}

// CheckWipeable is the function of that name for an open device. It does not
// ask who else uses it: the caller holds it exclusively.
func (d *Device) CheckWipeable(ctx context.Context) error {
	found, err := d.Probe(ctx)
	if errors.Is(err, ErrPending) || ctx.Err() != nil && err != nil {
		return err
	}
	if len(found) > 0 {
		return newError("check", d.path, &SignatureError{found, err})
	}
	return err
}

// ctxReader stops a probe between two reads.
type ctxReader struct {
	ctx context.Context
	r   io.ReaderAt
}

func (c ctxReader) ReadAt(p []byte, off int64) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.ReadAt(p, off)
}
