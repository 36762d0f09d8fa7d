// SPDX-License-Identifier: MIT

package hangs

import (
	"testing"

	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// Ends by its own timeout, with the stacks of its goroutines.
func TestHang(t *testing.T) {
	vmtest.Require(t)
	c := make(chan int)
	go func() { <-c }()
	<-c
}
