// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// settled is what is on the metadata devices when an array has done what it
// began: the state carried on.
type settled map[string]dmraid.Superblock

func (on settled) situation(table dmraid.Table, length dmraid.Sectors) dmraid.Situation {
	s := dmraid.Situation{Table: table, Length: length}
	for _, l := range table.Legs {
		var found dmraid.LegFound
		if super, ok := on[l.Meta]; ok {
			found = dmraid.LegFound{Meta: dmraid.MetaValid, Super: super}
		} else if l.Meta != "" {
			found.Meta = dmraid.MetaFresh
		}
		s.Legs = append(s.Legs, found)
	}
	return s
}

func (on settled) settle(table dmraid.Table, state dmraid.State) {
	for i, l := range table.Legs {
		if super := state.Legs[i].Super; super != nil {
			s := *super
			s.Events += 9
			s.ArrayResync, s.DiskRecovery = dmraid.MaxSector, dmraid.MaxSector
			for j, other := range state.Legs {
				s.SetFailed(j, other.Faulty)
			}
			on[l.Meta] = s
		}
	}
}

// TestRecordedPositions follows arrays through tables that were loaded one
// after the other: legs in other places, new ones, more, fewer, other sizes.
func TestRecordedPositions(t *testing.T) {
	on := settled{}
	for _, c := range superCases(t, "failures-scrub-positions.txt", "") {
		name := c.name
		switch {
		case strings.HasPrefix(name, "swapped"), strings.HasPrefix(name, "new leg"), strings.HasPrefix(name, "raid1 "),
			name == "grow", name == "shrink", name == "badmagic compat":
		default:
			continue
		}
		// Each case but those that go on with the array before began with
		// zeroes.
		if name != "new leg with rebuild" && name != "raid1 rm leg" && name != "shrink" {
			clear(on)
		}
		var tables []superCase // a case for each table
		for _, line := range c.all {
			word, rest, _ := strings.Cut(line, " ")
			if word == "TABLEIN" {
				tables = append(tables, superCase{lines: map[string][]string{}})
			}
			if len(tables) > 0 {
				last := tables[len(tables)-1]
				last.lines[word] = append(last.lines[word], rest)
			}
		}
		for i, step := range tables {
			table, length := tableOf(t, step.lines["TABLEIN"][0])
			if name == "badmagic compat" && i == 1 {
				for m, s := range on {
					s.OtherCompat = 0x10
					on[m] = s
				}
			}
			state, err := dmraid.KernelState(dmraid.Linux61, on.situation(table, length))
			if step.lines["RC"][0] != "0" {
				checkRefusal(t, err, step.lines["DMESG"])
				continue
			}
			if err != nil {
				t.Errorf("%s, table %d: %v", name, i, err)
				break
			}
			log := strings.Join(step.lines["DMESG"], "\n")
			for line, said := range map[string]bool{
				"Superblocks created":         state.New,
				"bitmap file is out of date":  state.Bitmap == dmraid.BitmapNew || state.Bitmap == dmraid.BitmapOld,
				"md: resync of":               state.Action == dmraid.ActionResync,
				"md: requested-resync of":     state.Action == dmraid.ActionRepair,
				"md: recovery of":             state.Action == dmraid.ActionRecover,
				"not clean":                   state.ResyncOffset != dmraid.MaxSector,
				"device #1 now at position #": strings.Contains(fmt.Sprint(state.Log), "device #1 now at position #0"),
			} {
				if strings.Contains(log, line) != said {
					t.Errorf("%s, table %d: %q in the log %v, by us %v", name, i, line, !said, said)
				}
			}
			if status := step.lines["STATUS"]; len(status) > 0 {
				f := strings.Fields(status[0])
				if got, want := fmt.Sprintf("%s %d %d/%d", state.Type, state.Disks, uint64(state.Total), uint64(state.Total)), strings.Join([]string{f[3], f[4], f[6]}, " "); got != want {
					t.Errorf("%s, table %d: %s, want %s", name, i, got, want)
				}
			}
			on.settle(table, state)
		}
	}
	// The last dump is of the superblock after the array was made smaller.
	if s := on["1:8"]; s.NumDevices != 2 {
		t.Errorf("%v", s)
	}
}

// TestRecordedShrink compares with the superblock that was dumped after an
// array was made smaller.
func TestRecordedShrink(t *testing.T) {
	on := settled{}
	for _, length := range []dmraid.Sectors{4096, 8192, 4096} {
		table, _ := tableOf(t, "0 8192 raid raid1 3 0 region_size 1024 2 1:8 1:0 1:9 1:1")
		state, err := dmraid.KernelState(dmraid.Linux61, on.situation(table, length))
		if err != nil {
			t.Fatal(err)
		}
		on.settle(table, state)
	}
	want := hexDump(t, "failures-scrub-positions.txt", "CASE shrink")
	s := on["1:8"]
	s.Events = 0x1b
	if !bytes.Equal(s.Encode(512), want) {
		w, _ := dmraid.DecodeSuperblock(want)
		t.Error(dmraid.Diff(s, w))
	}
}

// hexDump reads the first hexdump -C behind a line of a recording.
func hexDump(t *testing.T, file, after string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n"+after)
	if !ok {
		t.Fatalf("no %q in %s", after, file)
	}
	var out []byte
	for line := range strings.Lines(rest) {
		line = strings.TrimSpace(line)
		var at int
		if n, _ := fmt.Sscanf(line, "%08x", &at); n != 1 || len(strings.Fields(line)[0]) != 8 {
			continue
		}
		for len(out) < at { // "*": the line before again; they were zeroes
			out = append(out, 0)
		}
		if len(line) == 8 {
			return out
		}
		b, err := hex.DecodeString(strings.ReplaceAll(line[8:58], " ", ""))
		if err != nil {
			t.Fatal(line, err)
		}
		out = append(out, b...)
	}
	t.Fatal("no dump")
	return nil
}

// TestRecordedSyncProof: where the kernel copies nothing, the legs stayed
// different.
func TestRecordedSyncProof(t *testing.T) {
	for _, c := range superCases(t, "sync-proof-degraded.txt", "") {
		var sums [][]string
		var status []string
		for _, line := range c.all {
			if strings.HasPrefix(line, "==") {
				break
			}
			f := strings.Fields(line)
			switch len(f) {
			case 2:
				sums = append(sums, f)
			case 11:
				status = f
			}
		}
		if len(sums) != 2 || status == nil {
			t.Fatal(c.name, c.all)
		}
		table, length := trapTable(dmraid.RAID1, 2)
		meta, option, _ := strings.Cut(c.name, "-")
		if meta == "nometa" {
			table.Legs[0].Meta, table.Legs[1].Meta = "", ""
		}
		switch option {
		case "":
		case "sync":
			table.Sync = dmraid.SyncForce
		case "nosync":
			table.Sync = dmraid.SyncNone
		case "rebuild1":
			table.Rebuild = []int{1}
		default:
			t.Fatal(option)
		}
		state, err := dmraid.KernelState(dmraid.Linux61, situationOf(t, table, length, map[string]string{"meta": "fresh", "nometa": "none"}[meta], 0))
		if err != nil {
			t.Fatal(err)
		}
		if copied := sums[1][0] == sums[1][1]; copied != (state.Action == dmraid.ActionResync || state.Action == dmraid.ActionRecover) {
			t.Errorf("%s: legs equal %v, predicted %v", c.name, copied, state.Action)
		}
	}
}

// TestRecordedOddSuperblocks has the other parts of that recording: features,
// an old format, a stale leg, a leg missing and given back.
func TestRecordedOddSuperblocks(t *testing.T) {
	text, err := os.ReadFile("testdata/sync-proof-degraded.txt")
	if err != nil {
		t.Fatal(err)
	}
	part := func(title string) string {
		_, rest, ok := strings.Cut(string(text), "\n== "+title)
		if !ok {
			t.Fatal("no", title)
		}
		body, _, _ := strings.Cut(rest, "\n== ")
		return body
	}
	table, length := trapTable(dmraid.RAID1, 2)
	clean := func(change func(leg int, s *dmraid.Superblock)) dmraid.Situation {
		s := situationOf(t, table, length, "clean", 0)
		for i := range s.Legs {
			change(i, &s.Legs[i].Super)
		}
		return s
	}

	_, err = dmraid.KernelState(dmraid.Linux61, clean(func(_ int, s *dmraid.Superblock) { s.Incompat = 1 }))
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	checkRefusal(t, err, strings.Split(part("incompat at 144"), "\n"))

	old := clean(func(_ int, s *dmraid.Superblock) {
		*s = dmraid.Superblock{
			NumDevices: s.NumDevices, ArrayPosition: s.ArrayPosition, Events: s.Events,
			DiskRecovery: dmraid.MaxSector, ArrayResync: dmraid.MaxSector, Level: 1,
		}
	})
	state, err := dmraid.KernelState(dmraid.Linux61, old)
	if err != nil || !strings.Contains(part("legacy superblock"), state.Log[0]) || state.Action != dmraid.ActionIdle {
		t.Fatal(state, err)
	}
	upgraded, err := dmraid.DecodeSuperblock(hexDump(t, "sync-proof-degraded.txt", "== legacy superblock"))
	if err != nil {
		t.Fatal(err)
	}
	if d := dmraid.Diff(*state.Legs[0].Super, upgraded); d != nil {
		t.Error("upgraded:", d)
	}

	stale := clean(func(leg int, s *dmraid.Superblock) {
		if leg == 1 {
			s.Events = 1
		}
	})
	state, err = dmraid.KernelState(dmraid.Linux61, stale)
	if err != nil || !strings.Contains(part("stale leg"), " "+state.Health+" 8192/8192 "+string(state.Action)) {
		t.Error(state.Health, state.Action, err)
	}

	for _, typ := range []dmraid.Type{dmraid.RAID1, dmraid.RAID5LS, dmraid.RAID6ZR, dmraid.RAID10} {
		table, length := trapTable(typ, map[dmraid.Type]int{dmraid.RAID1: 2, dmraid.RAID5LS: 3}[typ]+map[bool]int{true: 4}[typ == dmraid.RAID6ZR || typ == dmraid.RAID10])
		s := situationOf(t, table, length, "clean", 0)
		whole := table
		s.Table = without1(table)
		s.Legs[1] = dmraid.LegFound{}
		state, err := dmraid.KernelState(dmraid.Linux61, s)
		if err != nil {
			t.Error(typ, err)
			continue
		}
		body := part("degraded activation")
		if !strings.Contains(body, fmt.Sprintf("raid %s %d %s ", typ, state.Disks, state.Health)) || state.Action != dmraid.ActionIdle {
			t.Error(typ, state.Health, state.Action)
		}
		if !state.Legs[0].Super.Failed(1) {
			t.Error(typ, "not recorded as failed")
		}
		// Given back, it is recovered.
		s = situationOf(t, whole, length, "clean", 0)
		for i := range s.Legs {
			if i != 1 {
				s.Legs[i].Super = *state.Legs[i].Super
			}
		}
		state, err = dmraid.KernelState(dmraid.Linux61, s)
		if err != nil || state.Action != dmraid.ActionRecover || !state.Legs[1].Revived {
			t.Error(typ, state.Action, err)
		}
	}
	table, length = trapTable(dmraid.RAID5LS, 3)
	s := situationOf(t, table, length, "clean", 0)
	s.Table = without1(s.Table)
	s.Table.Legs[0] = dmraid.Leg{}
	s.Legs[0], s.Legs[1] = dmraid.LegFound{}, dmraid.LegFound{}
	_, err = dmraid.KernelState(dmraid.Linux61, s)
	checkRefusal(t, err, strings.Split(part("two missing raid5"), "\n"))
}

func without1(t dmraid.Table) dmraid.Table {
	legs := append([]dmraid.Leg(nil), t.Legs...)
	legs[1] = dmraid.Leg{}
	t.Legs = legs
	return t
}

// TestRecordedConstructorCases: of the recorded tables those that [Check]
// takes go to KernelState, with zeroes on the metadata devices, which says
// what the kernel did.
func TestRecordedConstructorCases(t *testing.T) {
	text, err := os.ReadFile("testdata/cases-6.1.192.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Case, In string
		RC       int
		Status   []string
		Dmesg    []string
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range cases {
		start, params, ok := strings.Cut(c.In, " raid ")
		if !ok {
			continue
		}
		var zero, length uint64
		fmt.Sscan(start, &zero, &length)
		if dmraid.Check(params, dmraid.Sectors(length), nil) != nil || strings.Contains(params, "99:9") {
			continue
		}
		target, err := dmraid.Parse(params)
		if err != nil {
			continue // what the library doesn't take though the kernel does
		}
		n++
		table := target.(dmraid.Table)
		s := settled{}.situation(table, dmraid.Sectors(length))
		for i := range s.Legs {
			s.Legs[i].Sectors = 16384 // RAM disks of 8 MiB
		}
		state, err := dmraid.KernelState(dmraid.Linux61, s)
		if c.RC != 0 {
			checkRefusal(t, err, c.Dmesg)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.In, err)
			continue
		}
		f := strings.Fields(c.Status[0])
		_, total, _ := strings.Cut(f[6], "/")
		if got, want := fmt.Sprintf("%s %d %d", state.Type, state.Disks, uint64(state.Total)), strings.Join([]string{f[3], f[4], total}, " "); got != want {
			t.Errorf("%s: %s, want %s", c.In, got, want)
		}
		log := strings.Join(c.Dmesg, "\n")
		if strings.Contains(log, "Superblocks created") != state.New || strings.Contains(log, "not clean") != (state.ResyncOffset != dmraid.MaxSector) {
			t.Errorf("%s: new %v, synced up to %v, the log says\n%s", c.In, state.New, state.ResyncOffset, log)
		}
	}
	if n < 50 {
		t.Errorf("only %d cases", n)
	}
}
