// SPDX-License-Identifier: MIT

package exits

import (
	"os"
	"testing"
)

func TestBefore(t *testing.T) {}

func TestExit(t *testing.T) {
	t.Log("about to leave")
	os.Exit(3)
}
