// SPDX-License-Identifier: MIT

// Package linuxblock is the root of a library that drives Linux block
// storage from a Go program: no subprocess, no cgo. It talks to the kernel's
// device-mapper and DRBD, to xenstored and to ONTAP itself, in their own
// protocols.
//
// The work is in the packages below this one, dm first; this one holds what
// they share: the unit [Sectors], and [Plan], a list of steps that can be
// read and tested before it runs and that undoes what it did when a later
// step fails.
//
// # What all packages keep to
//
// A handle comes from Open or Dial, is safe for concurrent use, and its
// Close may be called twice. Every call that can block, poll or retry takes
// a context first and has no timeout of its own; a call that is cancelled
// leaves nothing behind. Errors are one *Error type in each package, with
// the kernel's own reason where there is one, and match fs.ErrNotExist,
// fs.ErrExist, fs.ErrPermission and errors.ErrUnsupported. Secrets are never
// printed. Everything builds on every operating system; away from Linux the
// live calls answer errors.ErrUnsupported, while tables, models and parsers
// work.
package linuxblock
