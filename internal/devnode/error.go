// SPDX-License-Identifier: MIT

package devnode

import (
	"errors"

	"github.com/linuxblock/linuxblock/internal/fault"
)

var (
	// ErrForeign: what lies under the name is not a node or link of this device
	// and was left alone.
	ErrForeign = errors.New("not a device-mapper node of ours")
	// ErrName: the name can't be a file's name below /dev/mapper, or is the
	// control node's.
	ErrName = errors.New("name cannot be a node")
)

// Error is what every method here returns on failure. It matches
// fs.ErrNotExist, fs.ErrPermission, errors.ErrUnsupported and the sentinels of
// this package through errors.Is.
type Error = fault.Error

// area begins every error of this package.
const area = "node"

func fail(op, object string, err error) error {
	return fault.Wrap(area, op, object, err, "")
}
