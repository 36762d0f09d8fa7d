// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// TestMailState has the rows of both matrices of the mail.
func TestMailState(t *testing.T) {
	const invalid = "invalid"
	rows := map[bool]map[string]string{ // metadata -> nosync sync rebuild
		false: {
			"000": "recovery_cp=0 In_sync=1 recovery_offset=MaxSector",
			"001": invalid,
			"010": "recovery_cp=0 In_sync=1 recovery_offset=MaxSector",
			"011": invalid,
			"100": "recovery_cp=MaxSector In_sync=1 recovery_offset=MaxSector",
			"101": "recovery_cp=MaxSector In_sync=0 recovery_offset=0",
			"110": invalid, // not in the mail
			"111": invalid, // not in the mail
		},
		true: {
			"000": "recovery_cp=MaxSector In_sync=1 recovery_offset=MaxSector",
			"001": "recovery_cp=MaxSector In_sync=0 recovery_offset=0",
			"010": "recovery_cp=0 In_sync=1 recovery_offset=MaxSector",
			"011": invalid,
			"100": "recovery_cp=MaxSector In_sync=1 recovery_offset=MaxSector",
			"101": "recovery_cp=MaxSector In_sync=0 recovery_offset=0",
			"110": invalid, // not in the mail
			"111": invalid, // not in the mail
		},
	}
	for meta, list := range rows {
		for row, want := range list {
			s, err := dmraid.MailState(meta, row[0] == '1', row[1] == '1', row[2] == '1')
			switch {
			case want == invalid:
				if !errors.Is(err, dmraid.ErrTable) || s != (dmraid.MailSettings{}) {
					t.Errorf("metadata %v, %s: %v, %v", meta, row, s, err)
				}
			case err != nil || s.String() != want:
				t.Errorf("metadata %v, %s: got %v, %v, want %s", meta, row, s, err, want)
			}
		}
	}
}

func ExampleMailState() {
	// A leg with metadata that is to be rebuilt, then and now.
	meant, _ := dmraid.MailState(true, false, false, true)
	fmt.Println(meant)
	_, err := dmraid.MailState(true, false, true, true)
	fmt.Println(err)
	// Output:
	// recovery_cp=MaxSector In_sync=0 recovery_offset=0
	// dmraid: mail: a leg can't be rebuilt from an array that is to be synced: bad raid table
}
