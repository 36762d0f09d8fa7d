// SPDX-License-Identifier: MIT

package runfile

import (
	"errors"

	"github.com/linuxblock/linuxblock/internal/fault"
)

var (
	// ErrUnsafe: the folder or a file in it could have been planted by
	// somebody else: a symbolic link, another owner, writable by others.
	ErrUnsafe = errors.New("not safe to use")
	// ErrEnded: the entry was ended already.
	ErrEnded = errors.New("entry was ended")
	// ErrClosed: the file was closed already.
	ErrClosed = errors.New("run file is closed")
	// ErrOpenEntries: Close left the file because entries are still open.
	ErrOpenEntries = errors.New("entries are still open")
	// ErrInvalid: a kind or field name has characters that are not allowed.
	ErrInvalid = errors.New("invalid name")
)

// Error is what every function here returns on failure; it matches
// fs.ErrNotExist, fs.ErrPermission, errors.ErrUnsupported and the sentinels
// above through errors.Is.
type Error = fault.Error

// area begins every error of this package.
const area = "run file"

func fail(op, object string, err error, detail string) error {
	return fault.Wrap(area, op, object, err, detail)
}
