// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

func found(events uint64, resync, recovery dmraid.Sectors) dmraid.LegFound {
	return dmraid.LegFound{Meta: dmraid.MetaValid, Super: dmraid.Superblock{Events: events, ArrayResync: resync, DiskRecovery: recovery}}
}

const all = dmraid.MaxSector

func TestHealth(t *testing.T) {
	synced := []dmraid.LegFound{found(16, all, all), found(16, all, all)}
	for _, tt := range []struct {
		line  string
		facts dmraid.Facts
		want  string
		spare int
		cond  dmraid.Condition
	}{
		{"raid1 2 AA 8192/8192 idle 0 0 -", dmraid.Facts{}, "clean", 1, dmraid.Clean},
		{"raid1 2 AA 8192/8192", dmraid.Facts{}, "clean", 1, dmraid.Clean}, // before 1.5
		{"raid1 2 AA 8192/8192 idle 0 0 -", dmraid.Facts{Legs: synced}, "clean", 1, dmraid.Clean},
		{"raid1 2 aa 2560/8192 resync 0 0 -", dmraid.Facts{}, "syncing: resync 31.25 %", 1, dmraid.Syncing},
		{"raid5_ls 3 AaA 1024/8192 recover 0 0 -", dmraid.Facts{}, "syncing: recover 12.5 %, leg 1", 0, dmraid.Syncing},
		{"raid6_zr 5 AaAaA 1024/8192 recover 0 0 -", dmraid.Facts{}, "syncing: recover 12.5 %, legs 1, 3", 0, dmraid.Syncing},
		{"raid5_ls 4 aaaa 1024/8192 reshape 0 0 -", dmraid.Facts{}, "reshaping: reshape 12.5 %", 1, dmraid.Reshaping},
		{"raid1 3 AAA 4096/8192 check 0 0 -", dmraid.Facts{}, "checking: check 50 %", 2, dmraid.Checking},

		// A leg that a reshape has taken away is still in the table.
		{"raid5_ls 3 AAAa 4096/4096 idle 0 2048 -", dmraid.Facts{}, "clean", 1, dmraid.Clean},

		// Suspended or frozen, the kernel says 0.
		{"raid1 2 AA 0/8192 frozen 0 0 -", dmraid.Facts{}, "unknown: frozen", 1, dmraid.Unknown},
		{"raid1 2 AA 0/8192 frozen 0 0 -", dmraid.Facts{Suspended: true, Legs: synced}, "clean: frozen", 1, dmraid.Clean},
		{"raid1 2 AA 0/8192 frozen 0 0 -", dmraid.Facts{Legs: []dmraid.LegFound{found(5, 2048, all), found(5, 2048, all)}}, "unsynced: resync pending 25 %; frozen", 1, dmraid.Unsynced},
		{"raid1 2 AA 0/8192 frozen 0 0 -", dmraid.Facts{Legs: []dmraid.LegFound{found(5, all, all), found(5, all, 4096)}}, "unsynced: recover pending 50 %; frozen", 1, dmraid.Unsynced},
		// An old superblock, of a leg that was away, does not tell.
		{"raid1 2 AA 0/8192 frozen 0 0 -", dmraid.Facts{Legs: []dmraid.LegFound{found(25, all, all), found(9, 0, 0)}}, "clean: frozen", 1, dmraid.Clean},
		{"raid1 2 Aa 0/8192 frozen 0 0 -", dmraid.Facts{}, "unsynced: recover pending, leg 1; frozen", 0, dmraid.Unsynced},
		{"raid1 2 aa 8192/8192 frozen 0 0 -", dmraid.Facts{}, "unknown: frozen", 1, dmraid.Unknown},
		{"raid1 2 aa 8192/8192 frozen 0 0 -", dmraid.Facts{Legs: synced}, "clean: frozen", 1, dmraid.Clean},
		{"raid1 2 AD 0/8192 frozen 0 0 -", dmraid.Facts{}, "degraded: leg 1 failed; frozen", 0, dmraid.Degraded},

		// A resync that is due and does not run.
		{"raid1 2 AA 4096/8192 idle 0 0 -", dmraid.Facts{}, "unsynced: resync pending 50 %", 1, dmraid.Unsynced},
		{"raid1 2 Aa 4096/8192 idle 0 0 -", dmraid.Facts{}, "unsynced: recover pending 50 %, leg 1", 0, dmraid.Unsynced},
		// libdm's: the letters and the progress are of different moments.
		{"raid1 2 Aa 8192/8192 idle 0 0 -", dmraid.Facts{}, "unsynced: recover pending 99.99 %, leg 1", 0, dmraid.Unsynced},
		{"raid1 2 Aa 8192/8192 recover 0 0 -", dmraid.Facts{}, "syncing: recover 99.99 %, leg 1", 0, dmraid.Syncing},

		// What the kernel calls a repair after an unclean stop.
		{"raid1 2 AA 4096/8192 repair 0 0 -", dmraid.Facts{}, "checking: repair 50 %", 1, dmraid.Checking},
		{"raid1 2 AA 4096/8192 repair 0 0 -", dmraid.Facts{Legs: []dmraid.LegFound{found(9, 1024, all), found(9, 1024, all)}}, "syncing: resync 50 %", 1, dmraid.Syncing},

		{"raid1 3 ADA 8192/8192 idle 0 0 -", dmraid.Facts{}, "degraded: leg 1 failed", 1, dmraid.Degraded},
		{"raid1 3 A-D 8192/8192 idle 0 0 -", dmraid.Facts{}, "degraded: leg 2 failed; leg 1 missing", 0, dmraid.Degraded},
		{"raid1 2 DD 8192/8192 idle 0 0 -", dmraid.Facts{}, "failed: legs 0, 1 failed", -1, dmraid.Failed},
		{"raid5_ls 3 DDA 8192/8192 idle 0 0 -", dmraid.Facts{}, "failed: legs 0, 1 failed", -1, dmraid.Failed},
		{"raid6_zr 5 DDAAA 8192/8192 idle 0 0 -", dmraid.Facts{}, "degraded: legs 0, 1 failed", 0, dmraid.Degraded},
		{"raid0 2 AD 8192/8192 idle 0 0 -", dmraid.Facts{}, "failed: leg 1 failed", -1, dmraid.Failed},
		{"raid0 2 AA 0/8192 frozen 0 0 -", dmraid.Facts{}, "clean: frozen", 0, dmraid.Clean},
		{"raid5_ls 3 DaA 1024/8192 recover 0 0 -", dmraid.Facts{}, "degraded: leg 0 failed; recover 12.5 %, leg 1", -1, dmraid.Degraded},

		// raid10: it depends on who holds the copies.
		{"raid10 4 DADA 8192/8192 idle 0 0 -", dmraid.Facts{}, "degraded: legs 0, 2 failed", 0, dmraid.Degraded},
		{"raid10 4 DDAA 8192/8192 idle 0 0 -", dmraid.Facts{}, "failed: legs 0, 1 failed", -1, dmraid.Failed},
		{"raid10 4 ADDA 8192/8192 idle 0 0 -", dmraid.Facts{}, "degraded: legs 1, 2 failed", 0, dmraid.Degraded},
		{"raid10 3 DAD 8192/8192 idle 0 0 -", dmraid.Facts{}, "failed: legs 0, 2 failed", -1, dmraid.Failed},
		{"raid10 3 DAD 8192/8192 idle 0 0 -", dmraid.Facts{Table: &dmraid.Table{Copies: 3}}, "degraded: legs 0, 2 failed", 0, dmraid.Degraded},
		{"raid10_far 4 ADDA 8192/8192 idle 0 0 -", dmraid.Facts{}, "degraded: legs 1, 2 failed", 0, dmraid.Degraded},
		{"raid10_far 4 ADDA 8192/8192 idle 0 0 -", dmraid.Facts{Table: &dmraid.Table{NearSets: true}}, "failed: legs 1, 2 failed", -1, dmraid.Failed},
		{"raid10_far 5 DAAAD 8192/8192 idle 0 0 -", dmraid.Facts{}, "degraded: legs 0, 4 failed", 0, dmraid.Degraded},
		{"raid10_far 5 AADAD 8192/8192 idle 0 0 -", dmraid.Facts{}, "failed: legs 2, 4 failed", -1, dmraid.Failed},
		{"raid10_offset 3 DAD 8192/8192 idle 0 0 -", dmraid.Facts{}, "failed: legs 0, 2 failed", -1, dmraid.Failed},

		// It says that it is clean, and never was synced.
		{"raid1 2 AA 8192/8192 idle 0 0 -", dmraid.Facts{Legs: []dmraid.LegFound{{Meta: dmraid.MetaFresh}, {Meta: dmraid.MetaFresh}}}, "clean: never synced", 1, dmraid.Clean},
		{"raid1 2 AA 8192/8192 idle 0 0 -", dmraid.Facts{Legs: []dmraid.LegFound{found(1, all, all), found(1, all, all)}}, "clean: never synced", 1, dmraid.Clean},
		{"raid1 2 AA 8192/8192 idle 0 0 -", dmraid.Facts{Legs: make([]dmraid.LegFound, 2)}, "clean: never synced", 1, dmraid.Clean},
	} {
		s, err := dmraid.ParseStatus(tt.line)
		if err != nil {
			t.Fatal(err)
		}
		h := s.Health(tt.facts)
		if h.String() != tt.want || h.Spare != tt.spare || h.Condition != tt.cond {
			t.Errorf("%s: %q, spare %d, %v; want %q, %d, %v", tt.line, h, h.Spare, h.Condition, tt.want, tt.spare, tt.cond)
		}
		if h.InSync != (h.Condition == dmraid.Clean || h.Condition == dmraid.Checking) {
			t.Errorf("%s: in sync %v, %v", tt.line, h.InSync, h.Condition)
		}
	}
}
