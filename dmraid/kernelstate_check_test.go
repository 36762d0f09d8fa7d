// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// randomTable is a table of a few legs with options that KernelState knows,
// good and bad.
func randomTable(r *rand.Rand) (dmraid.Table, dmraid.Sectors) {
	types := dmraid.Types()
	t := dmraid.Table{Type: types[r.IntN(len(types))], ChunkSize: 64}
	if t.Type == dmraid.RAID1 {
		t.ChunkSize = 0
	}
	n := 1 + r.IntN(6)
	for i := range n {
		leg := dmraid.Leg{Meta: fmt.Sprintf("/dev/m%d", i), Data: fmt.Sprintf("/dev/d%d", i)}
		switch r.IntN(12) {
		case 0:
			leg = dmraid.Leg{}
		case 1:
			leg.Meta = ""
		}
		t.Legs = append(t.Legs, leg)
	}
	if r.IntN(4) == 0 {
		for i := range t.Legs {
			t.Legs[i].Meta = ""
		}
	}
	switch r.IntN(5) {
	case 0:
		t.Sync = dmraid.SyncForce
	case 1:
		t.Sync = dmraid.SyncNone
	}
	for i := range n {
		if r.IntN(8) == 0 {
			t.Rebuild = append(t.Rebuild, i)
		}
	}
	if t.Type.IsRAID10() && r.IntN(2) == 0 {
		t.Copies = 2 + r.IntN(2)
		t.Format = []dmraid.Format{dmraid.FormatNear, dmraid.FormatFar, dmraid.FormatOffset}[r.IntN(3)]
	}
	return t, dmraid.Sectors(64 * 60 * (1 + r.IntN(4)))
}

// TestCheckAndKernelState: what Check refuses whatever lies on the metadata
// devices, KernelState refuses with the same words; and where there is nothing
// to lie, all that KernelState refuses Check refuses too.
func TestCheckAndKernelState(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	refused, taken := 0, 0
	for range 20000 {
		table, length := randomTable(r)
		s := dmraid.Situation{Table: table, Length: length}
		blind := true
		for _, l := range table.Legs {
			var found dmraid.LegFound
			if l.Meta != "" {
				found.Meta = dmraid.MetaFresh
				blind = blind && table.Sync == dmraid.SyncForce
			}
			s.Legs = append(s.Legs, found)
		}
		check := dmraid.Check(table.Params(), length, nil)
		_, state := dmraid.KernelState(dmraid.Linux61, s)
		var c, k *dmraid.Error
		errors.As(check, &c)
		errors.As(state, &k)
		switch {
		case c != nil && (c.Detail == "Not enough devices to satisfy specification" || c.Detail == "Bad value for 'raid10_copies'"):
			// a rule of the table's text alone
		case c == nil && k == nil:
			taken++
		case c == nil && blind:
			t.Fatalf("%v, %d: Check takes it, KernelState: %v", table, length, state)
		case k == nil:
			t.Fatalf("%v, %d: KernelState takes it, Check: %v", table, length, check)
		case c != nil && (c.Detail != k.Detail || c.Code != k.Code):
			// Which mistake of several is told first may depend on what the
			// superblocks say.
			if blind || k.Detail != "Unable to assemble array: Invalid superblocks" && k.Detail != "Insufficient redundancy to activate array" {
				t.Fatalf("%v, %d: Check: %v, KernelState: %v", table, length, check, state)
			}
		default:
			refused++
		}
	}
	if refused < 1000 || taken < 1000 {
		t.Errorf("%d refused, %d taken", refused, taken)
	}
}
