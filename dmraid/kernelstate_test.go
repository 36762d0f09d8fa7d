// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// TestRecordedMatrix compares KernelState with all that Linux 6.1 did in the
// matrix of levels, metadata and options: its refusals, status and log.
func TestRecordedMatrix(t *testing.T) {
	cases := superCases(t, "sync-rebuild-matrix.txt", "matrix ")
	if len(cases) != 96 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			table, length := tableOf(t, c.lines["TABLEIN"][0])
			s := situationOf(t, table, length, metaOf(c.name), 2048)
			got, err := dmraid.KernelState(dmraid.Linux61, s)
			log := strings.Join(c.lines["DMESG"], "\n")
			if c.lines["RC"][0] != "0" {
				checkRefusal(t, err, c.lines["DMESG"])
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			status := strings.Fields(c.lines["STATUS"][0])
			action, _, _ := strings.Cut(status[7], " ")
			_, total, _ := strings.Cut(status[6], "/")
			want := fmt.Sprintf("%s %s %s %s %s", status[3], status[4], status[5], total, action)
			have := fmt.Sprintf("%s %d %s %d %s", got.Type, got.Disks, got.Health, uint64(got.Total), got.Action)
			if have != want {
				t.Errorf("got  %s\nwant %s", have, want)
			}
			for line, said := range map[string]bool{
				"Superblocks created for new raid set": got.New,
				"bitmap file is out of date":           got.Bitmap == dmraid.BitmapNew || got.Bitmap == dmraid.BitmapOld,
				"md: resync of RAID array":             got.Action == dmraid.ActionResync,
				"md: requested-resync of RAID array":   got.Action == dmraid.ActionRepair,
				"md: recovery of RAID array":           got.Action == dmraid.ActionRecover,
				"not clean":                            got.ResyncOffset != dmraid.MaxSector,
				"specified for rebuild":                strings.Contains(strings.Join(got.Log, "\n"), "specified for rebuild"),
			} {
				if strings.Contains(log, line) != said {
					t.Errorf("%q: in the log %v, by us %v", line, strings.Contains(log, line), said)
				}
			}
		})
	}
}

// checkRefusal compares an error with the line of the log that has the
// constructor's text, and the lines before it.
func checkRefusal(t *testing.T, err error, dmesg []string) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted; the kernel said", dmesg)
	}
	i := slices.IndexFunc(dmesg, func(s string) bool { return strings.Contains(s, "raid: ") && strings.Contains(s, "(-E") })
	if i < 0 {
		t.Fatal("no refusal in", dmesg)
	}
	_, text, _ := strings.Cut(dmesg[i], "raid: ")
	if bad := sameError(err, text); bad != nil {
		t.Error(bad)
	}
	// A line that the error adds is one of the log's.
	parts := strings.Split(err.Error(), ": ")
	if len(parts) < 4 {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(err.Error(), text[:strings.Index(text, " (")]+": ")
	line := rest[:max(strings.LastIndex(rest, ": "), 0)]
	if !strings.Contains(strings.Join(dmesg, "\n"), line) {
		t.Errorf("%q is not in the log %q", line, dmesg)
	}
}

// TestRecordedSuperblocksOfStart compares the superblocks that KernelState
// says are written with those that were read before, while, and after arrays
// ran.
func TestRecordedSuperblocksOfStart(t *testing.T) {
	tables := map[string]string{
		"raid1":    "0 8192 raid raid1 %d 0 %s max_recovery_rate 64 2 1:4 1:0 1:5 1:1",
		"raid5_ls": "0 16384 raid raid5_ls %d 64 %s max_recovery_rate 64 3 1:4 1:0 1:5 1:1 1:6 1:2",
	}
	for _, c := range superCases(t, "layouts-superblocks-lvm.txt", "sb ") {
		t.Run(c.name, func(t *testing.T) {
			name := strings.Fields(c.name)[1]
			options := optionsOf(c.name)
			table, length := tableOf(t, fmt.Sprintf(tables[name], 3+len(strings.Fields(options)), options))
			lines := superLines(t, c.all)
			s := situationOf(t, table, length, "fresh", 0)
			for i := range s.Legs {
				if super := lines[min(i, 1)]; super[0] != 0 {
					// The third leg was not recorded; it was like the second.
					s.Legs[i] = dmraid.LegFound{Meta: dmraid.MetaValid, Super: superOf(t, super, length, uint32(i))}
				}
			}
			got, err := dmraid.KernelState(dmraid.Linux61, s)
			if len(lines) == 2 {
				if err == nil {
					t.Fatal("accepted")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range 2 {
				before, while, after := lines[i], lines[2+i], lines[4+i]
				if wrote := while[0] != 0 && while[2] != before[2]; !wrote && got.Writes {
					t.Errorf("leg %d: not written at the resume", i)
				}
				at := while // a superblock that was written
				if got.Action == dmraid.ActionIdle && !got.Writes {
					at = after
				}
				want := superOf(t, at, length, uint32(i))
				have := *got.Legs[i].Super
				if got.Action == dmraid.ActionIdle {
					if have.Events != want.Events {
						t.Errorf("leg %d: events %d, want %d", i, have.Events, want.Events)
					}
				} else { // it is on its way
					have.Events = want.Events
					if have.ArrayResync > want.ArrayResync || have.DiskRecovery > want.DiskRecovery {
						t.Errorf("leg %d: %v, want %v", i, have, want)
					}
					have.ArrayResync, have.DiskRecovery = want.ArrayResync, want.DiskRecovery
				}
				have = headOf(have)
				if d := dmraid.Diff(have, headOf(want)); d != nil {
					t.Errorf("leg %d: %v", i, d)
				}
			}
		})
	}
}

// headOf keeps what the recording has: the first 64 bytes.
func headOf(s dmraid.Superblock) dmraid.Superblock {
	s.ReshapePosition, s.NewLevel, s.NewLayout, s.NewChunk, s.DeltaDisks = 0, 0, 0, 0, 0
	s.ArraySectors, s.DataOffset, s.NewDataOffset, s.DevSectors = 0, 0, 0, 0
	return s
}

// superLines reads "SBF /dev/ram4 <8 words>".
func superLines(t *testing.T, lines []string) [][8]uint64 {
	t.Helper()
	var list [][8]uint64
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) != 10 || f[0] != "SBF" {
			continue
		}
		var words [8]uint64
		for i := range words {
			if _, err := fmt.Sscanf(f[2+i], "%x", &words[i]); err != nil {
				t.Fatal(line, err)
			}
		}
		list = append(list, words)
	}
	return list
}

func superOf(t *testing.T, w [8]uint64, length dmraid.Sectors, position uint32) dmraid.Superblock {
	t.Helper()
	s := dmraid.Superblock{
		Extended: w[0]>>32 == 1, NumDevices: uint32(w[1]), ArrayPosition: position, Events: w[2],
		DiskRecovery: dmraid.Sectors(w[4]), ArrayResync: dmraid.Sectors(w[5]),
		Level: uint32(w[6]), Layout: uint32(w[6] >> 32), Chunk: dmraid.Sectors(uint32(w[7])),
		ReshapePosition: dmraid.MaxSector, ArraySectors: length, DevSectors: 8192,
	}
	s.FailedDevices[0] = w[3]
	s.NewLevel, s.NewLayout, s.NewChunk = s.Level, s.Layout, s.Chunk
	if uint32(w[0]) != 0x64526d44 {
		t.Fatalf("magic %x", w[0])
	}
	return s
}

// TestSyncByKernel: Linux 7.2 does what the word says, with raid10 and without
// metadata too.
func TestSyncByKernel(t *testing.T) {
	for _, typ := range []dmraid.Type{dmraid.RAID1, dmraid.RAID5LS, dmraid.RAID6ZR, dmraid.RAID10} {
		for _, meta := range []string{"none", "fresh", "clean", "dirty"} {
			table, length := trapTable(typ, 4)
			if meta == "none" {
				for i := range table.Legs {
					table.Legs[i].Meta = ""
				}
			}
			table.Sync = dmraid.SyncForce
			s := situationOf(t, table, length, meta, 2048)
			old, err := dmraid.KernelState(dmraid.Linux612, s)
			if typ == dmraid.RAID10 {
				if err == nil || !strings.Contains(err.Error(), "unsupported raid10 layout") {
					t.Errorf("%s %s: %v", typ, meta, err)
				}
			} else if err != nil || old.Action != dmraid.ActionIdle || old.Writes != (meta != "none") {
				t.Errorf("%s %s: %v %v", typ, meta, old.Action, err)
			}
			now, err := dmraid.KernelState(dmraid.Linux72, s)
			if err != nil || now.Action != dmraid.ActionResync || now.Health != "aaaa" || now.Bitmap != dmraid.BitmapNone {
				t.Errorf("%s %s: %v %v %v", typ, meta, now.Action, now.Health, err)
			}
		}
	}
}
