// SPDX-License-Identifier: MIT

package vmtest

import "testing"

func TestLinesOfGoTest(t *testing.T) {
	for line, want := range map[string]bool{
		"=== RUN   TestX": true, "--- PASS: TestX (0.10s)": true, "PASS": true, "ok  \tpkg\t0.1s": true,
		"--- FAIL: TestX (0.10s)": false, "FAIL": false, "kernel  a line of the program": false, "PASS it on": false,
	} {
		if got := ofGoTest(line, "TestX"); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}
