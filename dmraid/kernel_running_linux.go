// SPDX-License-Identifier: MIT

package dmraid

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// runningKernel asks uname.
func runningKernel() (Kernel, bool) {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return Kernel{}, false
	}
	major, rest, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), ".")
	minor := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	return Kernel{a, b}, err1 == nil && err2 == nil
}
