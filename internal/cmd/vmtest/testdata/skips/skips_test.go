// SPDX-License-Identifier: MIT

package skips

import "testing"

func TestSkip(t *testing.T) { t.Skip("no reason to be here") }

func TestShort(t *testing.T) {
	if testing.Short() {
		t.Skip("short: takes long")
	}
}

func TestRuns(t *testing.T) {}
