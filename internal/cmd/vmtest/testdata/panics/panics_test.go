// SPDX-License-Identifier: MIT

package panics

import (
	"os"
	"testing"

	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// The VM dies under this test.
func TestPanic(t *testing.T) {
	vmtest.Require(t)
	t.Log("before the crash")
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0); err != nil {
		t.Fatal(err)
	}
	select {}
}
