// SPDX-License-Identifier: MIT

package oom

import (
	"testing"

	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// Takes all the memory there is, until the kernel kills it.
func TestOOM(t *testing.T) {
	vmtest.Require(t)
	var keep [][]byte
	for {
		b := make([]byte, 64<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		keep = append(keep, b)
		if len(keep) > 10000 {
			t.Fatal("never ends")
		}
	}
}
