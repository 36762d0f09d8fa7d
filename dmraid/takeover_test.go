// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"errors"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

func TestCheckTakeover(t *testing.T) {
	legs := func(n int) []dmraid.Leg { return make([]dmraid.Leg, n) }
	table := func(typ dmraid.Type, n int) dmraid.Table { return dmraid.Table{Type: typ, Legs: legs(n)} }
	ten := func(f dmraid.Format, copies, n int) dmraid.Table {
		return dmraid.Table{Type: dmraid.RAID10, Format: f, Copies: copies, Legs: legs(n)}
	}
	for _, tt := range []struct {
		from, to dmraid.Table
		ok       bool
	}{
		{table(dmraid.RAID0, 3), table(dmraid.RAID5N, 4), true},
		{table(dmraid.RAID0, 3), table(dmraid.RAID5N, 3), false},
		{table(dmraid.RAID0, 3), table(dmraid.RAID6N6, 5), true},
		{table(dmraid.RAID0, 3), table(dmraid.RAID5LS, 4), false},
		{table(dmraid.RAID0, 3), table(dmraid.RAID4, 4), false}, // parity is on the first leg there
		{table(dmraid.RAID0, 1), table(dmraid.RAID1, 1), true},
		{table(dmraid.RAID0, 2), table(dmraid.RAID1, 2), false},
		{table(dmraid.RAID0, 2), ten("", 2, 4), false},
		{table(dmraid.RAID1, 1), table(dmraid.RAID0, 1), true},
		{table(dmraid.RAID1, 2), table(dmraid.RAID0, 2), false},
		{table(dmraid.RAID1, 2), table(dmraid.RAID5LA, 2), true},
		{table(dmraid.RAID1, 3), table(dmraid.RAID5LS, 3), false},
		{table(dmraid.RAID1, 3), ten("", 3, 3), true},
		{table(dmraid.RAID1, 3), ten("", 2, 3), false},
		{table(dmraid.RAID1, 2), ten(dmraid.FormatFar, 2, 2), false},
		{table(dmraid.RAID1, 2), table(dmraid.RAID6ZR, 4), false},
		{table(dmraid.RAID5N, 3), table(dmraid.RAID0, 2), true},
		{table(dmraid.RAID5LS, 3), table(dmraid.RAID0, 2), false},
		{table(dmraid.RAID5LS, 2), table(dmraid.RAID1, 2), true},
		{table(dmraid.RAID5LS, 3), table(dmraid.RAID1, 3), false},
		{table(dmraid.RAID5LS, 3), table(dmraid.RAID6LS6, 4), true},
		{table(dmraid.RAID5LS, 3), table(dmraid.RAID6LS6, 3), false},
		{table(dmraid.RAID5LS, 3), table(dmraid.RAID6LA6, 4), false}, // the kernel takes it
		{table(dmraid.RAID5N, 3), table(dmraid.RAID6N6, 4), true},
		{table(dmraid.RAID5LS, 3), table(dmraid.RAID5N, 3), false}, // a reshape
		{table(dmraid.RAID5LS, 3), table(dmraid.RAID5LS, 3), false},
		{table(dmraid.RAID6RS6, 5), table(dmraid.RAID5RS, 4), true},
		{table(dmraid.RAID6ZR, 5), table(dmraid.RAID5LS, 4), false}, // the kernel takes it
		{table(dmraid.RAID6N6, 5), table(dmraid.RAID5N, 4), true},
		{table(dmraid.RAID6N6, 5), table(dmraid.RAID0, 3), true},
		{table(dmraid.RAID6LS6, 5), table(dmraid.RAID0, 3), false},
		{table(dmraid.RAID6ZR, 5), table(dmraid.RAID1, 5), false},
		{ten("", 2, 2), table(dmraid.RAID1, 2), true},
		{ten("", 3, 3), table(dmraid.RAID1, 3), true},
		{ten("", 2, 4), table(dmraid.RAID1, 4), false},
		{ten(dmraid.FormatFar, 2, 2), table(dmraid.RAID1, 2), false},
		{ten(dmraid.FormatOffset, 2, 2), table(dmraid.RAID1, 2), false},
		{ten("", 2, 2), table(dmraid.RAID5LS, 2), true},
		{ten("", 2, 4), table(dmraid.RAID5LS, 4), false},
		{ten("", 2, 4), table(dmraid.RAID0, 2), false},
		{ten("", 2, 4), table(dmraid.RAID6ZR, 4), false},
		{table("raid7", 4), table(dmraid.RAID0, 4), false},
	} {
		err := dmraid.CheckTakeover(tt.from, tt.to)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, dmraid.ErrTable) {
			t.Errorf("%s of %d to %s of %d: %v", tt.from.Type, len(tt.from.Legs), tt.to.Type, len(tt.to.Legs), err)
		}
	}
}
