// SPDX-License-Identifier: MIT

//go:build !linux

package kmsg

import "errors"

// Reader exists on Linux only.
type Reader struct{}

// Open returns errors.ErrUnsupported.
func Open() (*Reader, error) { return nil, fail("open", errors.ErrUnsupported) }

// Mark returns errors.ErrUnsupported.
func (r *Reader) Mark() error { return fail("mark", errors.ErrUnsupported) }

// Collect returns errors.ErrUnsupported.
func (r *Reader) Collect() ([]Record, error) { return nil, fail("collect", errors.ErrUnsupported) }

// Close does nothing.
func (r *Reader) Close() error { return nil }
