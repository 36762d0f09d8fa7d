// SPDX-License-Identifier: MIT

package memlock

import (
	"strconv"
	"strings"
)

// status is what is used of /proc/self/status, in KiB.
type status struct {
	size, locked, swapped int64 // VmSize, VmLck, VmSwap
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
		switch key {
		case "VmSize":
			s.size = n
		case "VmLck":
			s.locked = n
		case "VmSwap":
			s.swapped = n
		}
	}
	return s
}
