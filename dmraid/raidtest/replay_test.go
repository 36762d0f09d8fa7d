// SPDX-License-Identifier: MIT

package raidtest_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// recorded is a table that was given to Linux 6.1.192, and its answer.
type recorded struct {
	Case   string   `json:"case"`
	In     string   `json:"in"`
	RC     int      `json:"rc"`
	Status []string `json:"status"`
	Table  *string  `json:"table"`
	Log    []string `json:"dmesg"`
}

func recordedCases(t *testing.T) []recorded {
	t.Helper()
	text, err := os.ReadFile("../testdata/cases-6.1.192.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []recorded
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 112 {
		t.Fatalf("%d cases", len(cases))
	}
	return cases
}

// Every table is taken or refused as Linux 6.1 did, with its log, and one that
// is taken shows the recorded status and table when it has settled.
func TestRecordedTables(t *testing.T) {
	for _, c := range recordedCases(t) {
		t.Run(c.In, func(t *testing.T) {
			l := newLab(t, dmraid.Linux61)
			err := l.load(c.In)
			if (err != nil) != (c.RC != 0) {
				t.Errorf("load: %v, recorded %d: %q", err, c.RC, c.Log)
			}
			var want []string
			for _, line := range c.Log {
				if line, ok := logLine(line); ok {
					want = append(want, line)
				}
			}
			if got := l.raidLog(); !slices.Equal(got, want) {
				t.Errorf("log\n got %q\nwant %q", got, want)
			}
			if c.RC != 0 || err != nil {
				return
			}
			l.resume()
			l.settled()
			l.wantStatus(c.Status[len(c.Status)-1])
			if got := l.tableLine(); got != *c.Table {
				t.Errorf("table\n got %s\nwant %s", got, *c.Table)
			}
			l.remove()
			l.k.AssertClean(t)
		})
	}
}
