// SPDX-License-Identifier: MIT

package memlock

import (
	"strconv"
	"strings"
)

// status is what is used of /proc/self/status, in KiB.
type status struct {
	locked int64 // VmLck
}

// parseStatus reads /proc/<pid>/status; a line that is missing counts as 0.
func parseStatus(data string) status {
	var s status
	for line := range strings.Lines(data) {
		key, value, _ := strings.Cut(line, ":")
		f := strings.Fields(value)
		if len(f) != 2 || f[1] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil || n < 0 {
			continue
		}
		if key == "VmLck" {
			s.locked = n
		}
	}
	return s
}
