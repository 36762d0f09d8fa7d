// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"syscall"
)

// Errors of [Client.ProbePaths].
var (
	// ErrNoPath says that a multipath device has no path left.
	ErrNoPath = errors.New("no path left")
	// ErrSuspended says that a call needs a device that runs.
	ErrSuspended = errors.New("device is suspended")
)

// PathProber is a [System] that can send DM_MPATH_PROBE_PATHS to the node of
// a device. The error is a syscall.Errno with Linux's number.
type PathProber interface {
	ProbePaths(major, minor uint32) error
}

// ProbePaths reads a block over each path of the current group of a multipath
// device that is not failed, and fails those that can't (DM_MPATH_PROBE_PATHS).
// Without a group, before the first I/O, it reads nothing. The error matches
//
//   - [ErrNoPath] when no path is left in any group;
//   - errors.ErrUnsupported when the kernel is older than Linux 6.16, or the
//     device is no multipath device or has other segments beside it;
//   - [ErrSuspended] when the device is suspended.
func (c *Client) ProbePaths(ctx context.Context, ref Ref) error {
	return run0(ctx, c, "probe paths", ref, func(context.Context) error {
		p, ok := c.host.system.(PathProber)
		if !ok {
			return &Error{Detail: "the transport has no nodes", Err: errors.ErrUnsupported}
		}
		info, err := c.info(ref)
		if err != nil {
			return err
		}
		err = p.ProbePaths(info.Dev.Major, info.Dev.Minor)
		switch {
		case errors.Is(err, enotconn):
			return &Error{Code: enotconn, Err: ErrNoPath}
		case errors.Is(err, eagain):
			return &Error{Code: eagain, Err: ErrSuspended}
		}
		return err
	})
}

const (
	eagain   = syscall.Errno(11)
	enotconn = syscall.Errno(107)
)
