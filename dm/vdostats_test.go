// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

// Part of what version 9.2.0 of the target answered on Linux 7.2.
const vdoStatsText = `{ version : 36, dataBlocksUsed : 0, mode : normal, packer : { compressedBlocksWritten : 7, }, ` +
	`journal : { diskFull : 0, entries : { started : 1, written : 2, }, blocks : { started : 3, }, }, memoryUsage : { bytesUsed : 261020752, }, }`

func TestVDOStatsAnswer(t *testing.T) {
	got, err := VDOStats{}.Answer(vdoStatsText)
	if want := map[string]string{
		"version": "36", "dataBlocksUsed": "0", "mode": "normal", "packer.compressedBlocksWritten": "7", "journal.diskFull": "0",
		"journal.entries.started": "1", "journal.entries.written": "2", "journal.blocks.started": "3", "memoryUsage.bytesUsed": "261020752",
	}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for i := range vdoStatsText {
		if got, err := (VDOStats{}).Answer(vdoStatsText[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v, %v", i, got, err)
		}
	}
	for _, bad := range []string{"x", "{ a 1, }", "{ a : 1 }", "{ a : 1, a : 2, }", "{ } x", strings.Repeat("{ a : ", 99)} {
		if got, err := (VDOStats{}).Answer(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}

func FuzzVDOStats(f *testing.F) {
	f.Add(vdoStatsText)
	f.Add("{ a : { }, }")
	f.Fuzz(func(t *testing.T, text string) {
		stats, err := VDOStats{}.Answer(text)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		for name, value := range stats {
			if name == "" || strings.ContainsAny(name+value, " \n") {
				t.Fatalf("%q is %q", name, value)
			}
		}
	})
}
