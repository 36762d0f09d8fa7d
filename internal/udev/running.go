// SPDX-License-Identifier: MIT

package udev

import (
	"io/fs"
	"os"
	"path/filepath"
)

// sockets are those by which udevd is told what to do: its own protocol, and
// Varlink. On Debian unstable of 2026 "control" is there but no socket.
var sockets = [...]string{"control", "io.systemd.Udev"}

// Running tells whether udevd runs: one of its sockets exists. root is "/" or
// "" outside tests.
func Running(root string) bool {
	for _, name := range sockets {
		st, err := os.Lstat(filepath.Join("/", root, "run/udev", name))
		if err == nil && st.Mode()&fs.ModeSocket != 0 {
			return true
		}
	}
	return false
}

// notifyRules is the file that makes udev count cookies down.
const notifyRules = "95-dm-notify.rules"

// rulesDirs in udev's order of precedence: the first one that has the file
// decides, so that an administrator can mask the packaged one (udev(7)).
var rulesDirs = [...]string{
	"etc/udev/rules.d",
	"run/udev/rules.d",
	"usr/local/lib/udev/rules.d",
	"usr/lib/udev/rules.d",
	"lib/udev/rules.d",
}

// HasNotifyRules tells whether udev has the rule that counts cookies down. The
// program that waits for a cookie on a system without it waits for ever. A
// file masked by an empty one or by a link to /dev/null counts as absent.
func HasNotifyRules(root string) bool {
	for _, dir := range rulesDirs {
		path := filepath.Join("/", root, dir, notifyRules)
		st, err := os.Lstat(path)
		if err != nil {
			continue
		}
		if st.Mode()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(path)
			if err != nil || filepath.Clean(to) == os.DevNull {
				return false
			}
			if filepath.IsAbs(to) && filepath.Clean("/"+root) != "/" {
				// An absolute link means a place below root.
				to = filepath.Join("/", root, to)
				if st, err = os.Stat(to); err != nil {
					return false
				}
			} else if st, err = os.Stat(path); err != nil {
				return false // dangling: udev cannot read it either
			}
		}
		return st.Mode().IsRegular() && st.Size() > 0
	}
	return false
}
