// SPDX-License-Identifier: MIT

package devnode

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
)

// diskGroup is libdevmapper's default group (LVM2 configure.ac
// DEFAULT_DM_DEVICE_GID, set to disk by the distributions).
const diskGroup = "disk"

// groupID reads the number of a group from a file in the form of group(5);
// 0 (root) when file or group are missing. os/user is not used: with cgo it
// would load name service modules.
func groupID(path, name string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	return parseGroup(f, name)
}

func parseGroup(r io.Reader, name string) int {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // groups can have many members
	for lines.Scan() {
		f := strings.Split(lines.Text(), ":")
		if len(f) < 3 || f[0] != name {
			continue
		}
		if id, err := strconv.ParseUint(f[2], 10, 31); err == nil {
			return int(id)
		}
	}
	return 0
}
