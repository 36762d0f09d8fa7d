// SPDX-License-Identifier: MIT

package stuck

import (
	"os"
	"testing"

	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// A write to a suspended device cannot be killed: not even SIGKILL ends this
// process.
func TestStuck(t *testing.T) {
	disk := vmtest.RAMDisk(t)
	vmtest.Run(t, "dmsetup", "create", "stuck", "--table", "0 2048 linear "+disk+" 0")
	f, err := os.OpenFile("/dev/mapper/stuck", os.O_RDWR|os.O_SYNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	vmtest.Run(t, "dmsetup", "suspend", "stuck")
	_, _ = f.Write(make([]byte, 4096))
}
