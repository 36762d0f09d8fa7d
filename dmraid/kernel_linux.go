// SPDX-License-Identifier: MIT

package dmraid

import "golang.org/x/sys/unix"

func kernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", &Error{Op: "uname", Err: err}
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}
