// SPDX-License-Identifier: MIT

package dm

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// pin keeps the goroutine on its thread, whose number the log of some
// kernels carries (CONFIG_PRINTK_CALLER). The function it returns ends that
// and gives the number.
func (h *host) pin() func() int {
	if !h.live {
		return func() int { return 0 }
	}
	runtime.LockOSThread()
	return func() int {
		defer runtime.UnlockOSThread()
		return unix.Gettid()
	}
}
