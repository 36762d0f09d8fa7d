// SPDX-License-Identifier: MIT

package memlock

import (
	"errors"

	"github.com/linuxblock/linuxblock/internal/fault"
)

// ErrLimit: the kernel refuses to lock this much memory. Without CAP_IPC_LOCK
// the whole address space counts against RLIMIT_MEMLOCK, also the gigabyte
// that the Go runtime reserves without using it.
var ErrLimit = errors.New("locked-memory limit")

// Error is what every function here returns on failure. It matches
// fs.ErrNotExist, fs.ErrPermission, errors.ErrUnsupported and ErrLimit through
// errors.Is.
type Error = fault.Error

// area begins every error of this package.
const area = "memory lock"

func fail(op, object string, err error) error {
	return fault.Wrap(area, op, object, err, "")
}
