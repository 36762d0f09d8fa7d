// SPDX-License-Identifier: MIT

package udev

import (
	"errors"

	"github.com/linuxblock/linuxblock/internal/fault"
)

var (
	// ErrLimit: a kernel limit for SysV semaphores is used up (kernel.sem,
	// semaphore sets or the greatest value of one semaphore).
	ErrLimit = errors.New("SysV semaphore limit reached")
	// ErrMismatch: the semaphore exists but is not the one that was meant.
	ErrMismatch = errors.New("not the same semaphore")
	// ErrDestroyed: the cookie was already destroyed, by us or by somebody else.
	ErrDestroyed = errors.New("cookie was destroyed")
)

// Error is what every function here returns on failure. It matches
// fs.ErrNotExist, fs.ErrPermission, errors.ErrUnsupported and the sentinels of
// this package through errors.Is.
type Error = fault.Error

// area begins every error of this package.
const area = "udev"

func fail(op, object string, err error) error {
	return fault.Wrap(area, op, object, err, "")
}
