// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"io"
	"os"
	"testing"

	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// TestTourKernel is the tour on the real kernel; its disks are /dev/ram0 to
// /dev/ram3.
func TestTourKernel(t *testing.T) {
	vmtest.Require(t, "dm-snapshot", "dm-raid", "raid456")
	vmtest.RAMDisks(t, 4)
	var out bytes.Buffer
	// On stdout too, as it comes: this is what -vm shows.
	if code := tour(t.Context(), io.MultiWriter(&out, os.Stdout), newKernel(), chapters()); code != 0 {
		t.Errorf("status %d", code)
	}
	checkOutput(t, out.String(), "kernel")
}

// TestKernelOutside: nobody's disks are overwritten by a wrong flag.
func TestKernelOutside(t *testing.T) {
	if vmtest.InVM() {
		return
	}
	if code := start(t.Context(), false, true); code != 2 {
		t.Errorf("status %d", code)
	}
}
