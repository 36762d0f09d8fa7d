// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// trapTable is a table over n legs with metadata.
func trapTable(typ dmraid.Type, n int) (dmraid.Table, dmraid.Sectors) {
	t := dmraid.Table{Type: typ, ChunkSize: 64}
	if typ == dmraid.RAID1 {
		t.ChunkSize = 0
	}
	for i := range n {
		t.Legs = append(t.Legs, dmraid.Leg{Meta: fmt.Sprintf("/dev/m%d", i), Data: fmt.Sprintf("/dev/d%d", i)})
	}
	switch typ.Level() {
	case 1:
		return t, 8192
	case 10:
		return t, 8192 * dmraid.Sectors(n) / 2
	}
	return t, 8192 * dmraid.Sectors(n-typ.Parity())
}

func TestTraps(t *testing.T) {
	type situation = dmraid.Situation
	options := func(f func(*dmraid.Table)) func(*situation) { return func(s *situation) { f(&s.Table) } }
	sync := options(func(t *dmraid.Table) { t.Sync = dmraid.SyncForce })
	nosync := options(func(t *dmraid.Table) { t.Sync = dmraid.SyncNone })
	rebuild := func(legs ...int) func(*situation) { return options(func(t *dmraid.Table) { t.Rebuild = legs }) }
	noMeta := func(legs ...int) func(*situation) {
		return func(s *situation) {
			for _, i := range legs {
				s.Table.Legs[i].Meta = ""
				s.Legs[i] = dmraid.LegFound{}
			}
		}
	}
	missing := func(leg int) func(*situation) {
		return func(s *situation) { s.Table.Legs[leg], s.Legs[leg] = dmraid.Leg{}, dmraid.LegFound{} }
	}
	super := func(leg int, f func(*dmraid.Superblock)) func(*situation) {
		return func(s *situation) { f(&s.Legs[leg].Super) }
	}
	older := func(s *dmraid.Superblock) { s.Events -= 2 }
	failed := func(leg int) func(*situation) {
		return func(s *situation) {
			for i := range s.Legs {
				s.Legs[i].Super.SetFailed(leg, true)
			}
		}
	}
	dirtyBits := func(s *situation) {
		for i := range s.Legs {
			m := bitmapOf(8192, 3)
			m.Events = s.Legs[i].Super.Events
			s.Legs[i].Bitmap = &m
		}
	}
	activeWithout := func(leg int) func(*situation) {
		return func(s *situation) {
			active := s.Table
			active.Legs = slices.Clone(active.Legs)
			active.Legs[leg] = dmraid.Leg{}
			s.Active = &active
		}
	}
	for _, c := range []struct {
		name   string
		typ    dmraid.Type
		legs   int
		meta   string
		change []func(*situation)
		want   []dmraid.Trap
	}{
		{"a new array", dmraid.RAID1, 2, "fresh", nil, nil},
		{"a clean array", dmraid.RAID5LS, 3, "clean", nil, nil},
		{"a dirty array", dmraid.RAID5LS, 3, "dirty", nil, nil},
		{"rebuild on a clean one", dmraid.RAID5LS, 3, "clean", []func(*situation){rebuild(1)}, nil},
		{"raid0", dmraid.RAID0, 2, "fresh", []func(*situation){noMeta(0, 1)}, nil},
		{"sync, new", dmraid.RAID1, 2, "fresh", []func(*situation){sync}, []dmraid.Trap{dmraid.SyncWordDoesNotSync}},
		{"sync, no metadata", dmraid.RAID1, 2, "fresh", []func(*situation){noMeta(0, 1), sync},
			[]dmraid.Trap{dmraid.SyncWordDoesNotSync, dmraid.NeverSyncsWithoutMetadata}},
		{"sync, dirty", dmraid.RAID5LS, 3, "dirty", []func(*situation){sync},
			[]dmraid.Trap{dmraid.SyncWordDoesNotSync, dmraid.SyncMarksDirtyClean}},
		{"sync, failed leg", dmraid.RAID5LS, 3, "clean", []func(*situation){failed(1), sync},
			[]dmraid.Trap{dmraid.SyncWordDoesNotSync, dmraid.ForgetsFailedDevices}},
		{"nosync, dirty", dmraid.RAID10, 4, "dirty", []func(*situation){nosync}, []dmraid.Trap{dmraid.NosyncOnDirty}},
		{"nosync, clean", dmraid.RAID10, 4, "clean", []func(*situation){nosync}, nil},
		{"nosync, new", dmraid.RAID1, 2, "fresh", []func(*situation){nosync}, nil},
		{"no metadata", dmraid.RAID6ZR, 4, "fresh", []func(*situation){noMeta(0, 1, 2, 3)}, []dmraid.Trap{dmraid.NeverSyncsWithoutMetadata}},
		{"no metadata, nosync", dmraid.RAID1, 2, "fresh", []func(*situation){noMeta(0, 1), nosync}, nil},
		{"no metadata, rebuild", dmraid.RAID1, 2, "fresh", []func(*situation){noMeta(0, 1), rebuild(1)}, nil},
		{"new, leg missing", dmraid.RAID1, 2, "fresh", []func(*situation){missing(1)}, []dmraid.Trap{dmraid.NewArrayMissingLegs}},
		{"no metadata, leg missing", dmraid.RAID1, 2, "fresh", []func(*situation){noMeta(0), missing(1)}, []dmraid.Trap{dmraid.NewArrayMissingLegs}},
		{"clean, leg missing", dmraid.RAID1, 2, "clean", []func(*situation){missing(1)}, nil},
		{"stale leg", dmraid.RAID1, 3, "clean", []func(*situation){super(1, older)}, []dmraid.Trap{dmraid.StaleLeg}},
		{"stale leg, rebuilt", dmraid.RAID1, 3, "clean", []func(*situation){super(1, older), rebuild(1)}, nil},
		{"stale leg, recorded", dmraid.RAID1, 3, "clean", []func(*situation){super(1, older), failed(1)}, nil},
		{"leg without metadata", dmraid.RAID5LS, 3, "clean", []func(*situation){noMeta(2)}, []dmraid.Trap{dmraid.LegWithoutMetadata}},
		{"leg returned", dmraid.RAID1, 2, "clean", []func(*situation){activeWithout(1)}, []dmraid.Trap{dmraid.LegReturnedTooEarly}},
		{"leg returned, recorded", dmraid.RAID1, 2, "clean", []func(*situation){failed(1), activeWithout(1)}, nil},
		{"leg returned, rebuilt", dmraid.RAID1, 2, "clean", []func(*situation){rebuild(1), activeWithout(1)}, nil},
		{"rebuild on dirty raid10", dmraid.RAID10, 4, "dirty", []func(*situation){rebuild(1)}, []dmraid.Trap{dmraid.RebuildOnDirty}},
		{"rebuild on dirty raid1", dmraid.RAID1, 2, "dirty", []func(*situation){rebuild(1)}, nil},
		{"rebuild on dirty raid1 of 3", dmraid.RAID1, 3, "dirty", []func(*situation){rebuild(1)}, []dmraid.Trap{dmraid.RebuildOnDirty}},
		{"crash", dmraid.RAID5LS, 3, "clean", []func(*situation){dirtyBits}, []dmraid.Trap{dmraid.CrashNotResynced}},
		{"crash, repaired superblocks", dmraid.RAID1, 2, "clean", []func(*situation){dirtyBits, func(s *situation) {
			for i := range s.Legs {
				s.Legs[i].Super = s.Legs[i].Super.Resync()
			}
		}}, nil},
		{"layout without room", dmraid.RAID5LS, 3, "clean", []func(*situation){options(func(t *dmraid.Table) { t.Type = dmraid.RAID5RA })},
			[]dmraid.Trap{dmraid.ReshapeIgnored}},
	} {
		table, length := trapTable(c.typ, c.legs)
		s := situationOf(t, table, length, c.meta, 1024)
		s.Table.Legs = slices.Clone(s.Table.Legs)
		for _, f := range c.change {
			f(&s)
		}
		if got := dmraid.Traps(dmraid.Linux61, s); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		err := dmraid.CheckTraps(dmraid.Linux61, s)
		if errors.Is(err, dmraid.ErrTrap) != (len(c.want) > 0) {
			t.Errorf("%s: %v", c.name, err)
		}
		for i := range c.want { // all of them must be named
			err := dmraid.CheckTraps(dmraid.Linux61, s, c.want[:i]...)
			if !errors.Is(err, dmraid.ErrTrap) || !strings.Contains(err.Error(), string(c.want[i])) {
				t.Errorf("%s: allowed %v: %v", c.name, c.want[:i], err)
			}
		}
		if err := dmraid.CheckTraps(dmraid.Linux61, s, c.want...); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestTrapsExplain(t *testing.T) {
	for _, trap := range dmraid.AllTraps() {
		if len(trap.Explain()) < 50 {
			t.Errorf("%s: %q", trap, trap.Explain())
		}
	}
}

// TestTrapsByKernel: Linux 7.2 does sync with the word sync, so it is no trap
// there; that it forgets which legs had failed is one on all kernels.
func TestTrapsByKernel(t *testing.T) {
	table, length := trapTable(dmraid.RAID1, 2)
	table.Sync = dmraid.SyncForce
	s := situationOf(t, table, length, "dirty", 1024)
	for i := range s.Legs {
		s.Legs[i].Super.SetFailed(1, true)
	}
	for k, want := range map[dmraid.Kernel]string{
		dmraid.Linux510: "[sync does not sync sync marks a dirty array clean sync forgets failed legs]",
		dmraid.Linux61:  "[sync does not sync sync marks a dirty array clean sync forgets failed legs]",
		dmraid.Linux612: "[sync does not sync sync marks a dirty array clean sync forgets failed legs]",
		dmraid.Linux72:  "[sync forgets failed legs]",
	} {
		if got := fmt.Sprint(dmraid.Traps(k, s)); got != want {
			t.Errorf("%v: %s, want %s", k, got, want)
		}
	}
}
