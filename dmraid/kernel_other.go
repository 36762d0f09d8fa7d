// SPDX-License-Identifier: MIT

//go:build !linux

package dmraid

import "errors"

func kernelRelease() (string, error) {
	return "", &Error{Op: "uname", Detail: "this system has no dm-raid", Err: errors.ErrUnsupported}
}
