// SPDX-License-Identifier: MIT

package passes

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/linuxblock/linuxblock/internal/vmtest"
)

func TestPass(t *testing.T) { t.Log("a message that only -v shows") }

func TestSub(t *testing.T) {
	for _, n := range []string{"one", "two"} {
		t.Run(n, func(t *testing.T) { fmt.Println("printed by", n) })
	}
}

// What a test leaves behind must not hold up the run.
func TestLeavesProcess(t *testing.T) {
	vmtest.Require(t)
	cmd := exec.Command("/usr/bin/udevadm", "monitor")
	cmd.Stdout = os.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkNothing(b *testing.B) {
	for b.Loop() {
	}
}
