// SPDX-License-Identifier: MIT

package dmraid

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/linuxblock/linuxblock"
)

// newLeg checks a leg that is to join an array: it is in no other position, is
// large enough for what it shall hold, and carries nothing.
func (a *Array) newLeg(ctx context.Context, op string, l Leg, among []Leg, meta, data Sectors, force bool) error {
	refuse := func(cause error, detail string) error {
		return &Error{Op: op, Object: l.Data, Detail: detail, Err: cause}
	}
	if l.Missing() {
		return refuse(ErrTable, "a new leg needs a data device")
	}
	for _, other := range among {
		for _, d := range []string{other.Meta, other.Data} {
			for _, mine := range []string{l.Meta, l.Data} {
				if d != "" && mine != "" && a.sameDevice(d, mine) {
					return refuse(ErrTable, mine+" is in the array already")
				}
			}
		}
	}
	if l.Meta != "" && a.sameDevice(l.Meta, l.Data) {
		return refuse(ErrTable, "data and metadata are one device")
	}
	for _, d := range []struct {
		path string
		need int64
	}{{l.Data, data.Bytes()}, {l.Meta, meta.Bytes()}} {
		if d.path == "" {
			continue
		}
		if err := a.large(d.path, d.need); err != nil {
			return &Error{Op: op, Object: d.path, Err: err}
		}
		checker, ok := a.open.(DeviceChecker)
		if force || !ok {
			continue
		}
		if err := checker.CheckDevice(ctx, d.path); err != nil {
			return &Error{Op: op, Object: d.path, Detail: "would be written over; set Force", Err: err}
		}
	}
	return nil
}

// sameDevice compares two names, by number where the opener knows it.
func (a *Array) sameDevice(x, y string) bool {
	if x == y {
		return true
	}
	r, ok := a.open.(DeviceResolver)
	if !ok {
		return false
	}
	x1, x2, err1 := r.ResolveDevice(x)
	y1, y2, err2 := r.ResolveDevice(y)
	return err1 == nil && err2 == nil && x1 == y1 && x2 == y2
}

func (a *Array) large(path string, need int64) error {
	d, err := a.open.OpenDevice(path, false)
	if err != nil {
		return err
	}
	defer d.Close()
	size, err := d.Size()
	if err == nil && size < need {
		err = &Error{Op: "check", Object: path, Code: enospc, Detail: fmt.Sprintf("has %d bytes, needs %d", size, need), Err: ErrTable}
	}
	return err
}

// wipeStep adds the step that zeroes the metadata of a new leg. Its undo writes
// back what was there.
func (a *Array) wipeStep(p *linuxblock.Plan, l Leg, size Sectors) {
	if l.Meta == "" {
		return
	}
	var before []byte
	p.Do("zero the superblock and the bitmap on "+l.Meta,
		func(ctx context.Context) (err error) {
			before, err = a.overwrite(ctx, l.Meta, make([]byte, size.Bytes()))
			return err
		},
		func(ctx context.Context) error {
			_, err := a.overwrite(ctx, l.Meta, before)
			return err
		})
}

// overwrite writes data at the start of a device and gives what was there.
// Half a write is taken back.
func (a *Array) overwrite(ctx context.Context, path string, data []byte) (before []byte, err error) {
	fail := func(err error) ([]byte, error) { return nil, &Error{Op: "write", Object: path, Err: err} }
	d, err := a.open.OpenDevice(path, true)
	if err != nil {
		return fail(err)
	}
	defer func() {
		if cerr := d.Close(); err == nil && cerr != nil {
			_, err = fail(cerr)
		}
	}()
	before = make([]byte, len(data))
	n, err := d.ReadAt(before, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fail(err)
	}
	before, data = before[:n], data[:n]
	if _, err := d.WriteAt(data, 0); err != nil {
		d.WriteAt(before, 0)
		return fail(err)
	}
	if err := d.Flush(ctx); err != nil {
		d.WriteAt(before, 0)
		return fail(err)
	}
	return before, nil
}
