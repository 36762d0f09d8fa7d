// SPDX-License-Identifier: MIT

//go:build !linux

package runfile

import "errors"

// DefaultDir is where run files lie on Linux.
const DefaultDir = "/run/linuxblock"

// File is the run file of one client; it exists on Linux only.
type File struct{}

// Entry is one thing that a kill would leave behind.
type Entry struct{}

// Open returns errors.ErrUnsupported.
func Open(dir, kind string) (*File, error) {
	return nil, fail("open", dir, errors.ErrUnsupported, "")
}

// Path is "".
func (f *File) Path() string { return "" }

// OpenEntries is 0.
func (f *File) OpenEntries() int { return 0 }

// Begin returns errors.ErrUnsupported.
func (f *File) Begin(...Field) (*Entry, error) {
	return nil, fail("begin", "", errors.ErrUnsupported, "")
}

// Close does nothing.
func (f *File) Close() error { return nil }

// Note returns errors.ErrUnsupported.
func (e *Entry) Note(...Field) error { return fail("note", "", errors.ErrUnsupported, "") }

// End returns errors.ErrUnsupported.
func (e *Entry) End() error { return fail("end", "", errors.ErrUnsupported, "") }

// Found is what Scan saw.
type Found struct {
	Dead                   []*Dead
	Foreign, Busy, Unknown []string
}

// Close does nothing.
func (r Found) Close() {}

// Dead is the run file of a process that is gone.
type Dead struct {
	Path string
	Log
	OtherBoot bool
}

// End returns errors.ErrUnsupported.
func (d *Dead) End(uint64) error { return fail("end", d.Path, errors.ErrUnsupported, "") }

// Remove returns errors.ErrUnsupported.
func (d *Dead) Remove() error { return fail("remove", d.Path, errors.ErrUnsupported, "") }

// Close does nothing.
func (d *Dead) Close() {}

// Scan returns errors.ErrUnsupported.
func Scan(dir, kind string) (Found, error) {
	return Found{}, fail("scan", dir, errors.ErrUnsupported, "")
}
