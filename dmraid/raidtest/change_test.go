// SPDX-License-Identifier: MIT

package raidtest_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// What was recorded in failures-scrub-positions.txt of tables that follow one
// another.
func TestReloads(t *testing.T) {
	const two, five = "1:8 1:0 1:9 1:1", "1:8 1:0 1:9 1:1 1:10 1:2"
	for _, c := range []struct {
		name, before, after, status, refused string
		log                                  []string
	}{
		{"raid5 swapped", "0 16384 raid raid5_ls 1 64 3 " + five, "0 16384 raid raid5_ls 1 64 3 1:9 1:1 1:8 1:0 1:10 1:2",
			"", "Cannot change device positions in raid set", nil},
		{"raid1 swapped", "0 8192 raid raid1 1 0 2 " + two, "0 8192 raid raid1 1 0 2 1:9 1:1 1:8 1:0",
			"0 8192 raid raid1 2 AA 8192/8192 idle 0 0 -", "",
			[]string{"raid device #1 now at position #0", "raid device #0 now at position #1"}},
		{"new leg", "0 8192 raid raid1 1 0 2 " + two, "0 8192 raid raid1 1 0 2 1:8 1:0 1:10 1:2",
			"", "Unable to assemble array: Invalid superblocks",
			[]string{"New device injected into existing raid set without 'delta_disks' or 'rebuild' parameter specified"}},
		{"new leg rebuilt", "0 8192 raid raid1 1 0 2 " + two, "0 8192 raid raid1 3 0 rebuild 1 2 1:8 1:0 1:10 1:2",
			"0 8192 raid raid1 2 AA 8192/8192 idle 0 0 -", "", []string{"Device 1 specified for rebuild; clearing superblock"}},
		{"leg added", "0 8192 raid raid1 1 0 2 " + two, "0 8192 raid raid1 3 0 rebuild 2 3 " + five,
			"0 8192 raid raid1 3 AAA 8192/8192 idle 0 0 -", "", []string{"Device 2 specified for rebuild; clearing superblock"}},
		{"leg removed", "0 8192 raid raid1 1 0 3 " + five, "0 8192 raid raid1 1 0 2 " + two,
			"0 8192 raid raid1 2 AA 8192/8192 idle 0 0 -", "", nil},
		{"grown", "0 4096 raid raid1 3 0 region_size 1024 2 " + two, "0 8192 raid raid1 3 0 region_size 1024 2 " + two,
			"0 8192 raid raid1 2 AA 8192/8192 idle 0 0 -", "", nil},
		{"shrunk", "0 8192 raid raid1 3 0 region_size 1024 2 " + two, "0 4096 raid raid1 3 0 region_size 1024 2 " + two,
			"0 4096 raid raid1 2 AA 4096/4096 idle 0 0 -", "", nil},
		{"region", "0 8192 raid raid1 1 0 2 " + two, "0 8192 raid raid1 3 0 region_size 2048 2 " + two,
			"0 8192 raid raid1 2 AA 8192/8192 idle 0 0 -", "", nil},
		{"raid5 grown", "0 8192 raid raid5_ls 3 64 region_size 1024 3 " + five, "0 16384 raid raid5_ls 3 64 region_size 1024 3 " + five,
			"0 16384 raid raid5_ls 3 AAA 8192/8192 idle 0 0 -", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, live := range []bool{false, true} {
				l := newLab(t, dmraid.Linux61)
				for i := range 3 {
					l.disks[i].WriteAt(fill(byte(i+1), diskSectors*512), 0)
				}
				l.start(c.before)
				l.settled()
				f := l.open()
				n := min(f.Size(), 4096*512)
				l.write(f, 9, 0, int(n))
				f.Close()
				if !live {
					l.remove()
				}
				l.raidLog()
				err := l.load(c.after)
				if (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
					t.Fatalf("load: %v", err)
				}
				var log []string
				for _, line := range l.raidLog() {
					line = strings.TrimPrefix(line, "device-mapper: raid: ")
					if !strings.HasPrefix(line, "Choosing") && !strings.HasPrefix(line, "device-mapper:") {
						log = append(log, line)
					}
				}
				if fmt.Sprint(log) != fmt.Sprint(c.log) {
					t.Errorf("log %q", log)
				}
				if err != nil {
					continue
				}
				l.resume()
				l.settled()
				l.wantStatus(c.status)
				if got := l.tableLine(); got != c.after {
					t.Errorf("table %s", got)
				}
				f = l.open()
				l.wantRead(f, 9, 0, int(n))
				l.wantEqual(f, 0)
				f.Close()
				l.remove()
				l.start(c.after)
				l.settled()
				l.wantStatus(c.status)
			}
		})
	}
}

// change takes an array from one table to the next, as lvm2 does: the data
// stay.
type change struct {
	name  string
	lines []string
	// behind is the type, the number of legs and data offset in the end.
	behind string
}

func legsOf(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " 1:%d 1:%d", 8+i, i)
	}
	return fmt.Sprint(n) + b.String()
}

// Takeovers and reshapes end with the data where they were, and parity right.
func TestConversions(t *testing.T) {
	for _, c := range []change{
		{"raid1 to raid5 and three legs more", []string{
			"0 8192 raid raid1 3 0 region_size 1024 " + legsOf(2),
			"0 8192 raid raid5_n 3 64 region_size 1024 " + legsOf(2),
			"0 16384 raid raid5_n 5 64 rebuild 2 region_size 1024 " + legsOf(3),
			"0 16384 raid raid5_n 7 64 region_size 1024 delta_disks 1 data_offset 2048 " + legsOf(3),
			"0 16384 raid raid5_n 3 64 region_size 1024 " + legsOf(3),
		}, "raid5_n 3 0"},
		{"raid5 a leg more and less", []string{
			"0 16384 raid raid5_ls 3 64 region_size 1024 " + legsOf(3),
			"0 24576 raid raid5_ls 5 64 rebuild 3 region_size 1024 " + legsOf(4),
			"0 24576 raid raid5_ls 7 64 region_size 1024 delta_disks 1 data_offset 2048 " + legsOf(4),
			"0 24576 raid raid5_ls 3 64 region_size 1024 " + legsOf(4),
			"0 24576 raid raid5_ls 7 64 region_size 1024 delta_disks -1 data_offset 2048 " + legsOf(4),
			"0 24576 raid raid5_ls 3 64 region_size 1024 " + legsOf(4),
			"0 16384 raid raid5_ls 3 64 region_size 1024 " + legsOf(3),
		}, "raid5_ls 3 2048"},
		{"raid0 to raid5 and raid4", []string{
			"0 16384 raid raid0 1 64 2 - 1:0 - 1:1",
			"0 16384 raid raid0 1 64 " + legsOf(2),
			"0 16384 raid raid5_n 5 64 rebuild 2 region_size 1024 " + legsOf(3),
			"0 16384 raid raid5_n 3 64 region_size 1024 " + legsOf(3),
			"0 16384 raid raid4 5 64 region_size 1024 data_offset 2048 " + legsOf(3),
			"0 16384 raid raid4 3 64 region_size 1024 " + legsOf(3),
		}, "raid4 3 2048"},
		{"raid5 to raid6 and back", []string{
			"0 16384 raid raid5_ls 3 64 region_size 1024 " + legsOf(3),
			"0 16384 raid raid6_ls_6 5 64 rebuild 3 region_size 1024 " + legsOf(4),
			"0 16384 raid raid6_ls_6 3 64 region_size 1024 " + legsOf(4),
			"0 16384 raid raid5_ls 3 64 region_size 1024 " + legsOf(3),
		}, "raid5_ls 3 0"},
		{"raid6 layouts", []string{
			"0 16384 raid raid6_ls_6 3 64 region_size 1024 " + legsOf(4),
			"0 16384 raid raid6_nr 5 64 region_size 1024 data_offset 2048 " + legsOf(4),
			"0 16384 raid raid6_nr 3 64 region_size 1024 " + legsOf(4),
			"0 16384 raid raid6_zr 5 64 region_size 1024 data_offset 2048 " + legsOf(4),
			"0 16384 raid raid6_zr 3 64 region_size 1024 " + legsOf(4),
		}, "raid6_zr 4 0"},
		{"raid5 chunk", []string{
			"0 16384 raid raid5_ls 3 64 region_size 1024 " + legsOf(3),
			"0 16384 raid raid5_ls 5 128 region_size 1024 data_offset 2048 " + legsOf(3),
			"0 16384 raid raid5_ls 3 128 region_size 1024 " + legsOf(3),
		}, "raid5_ls 3 2048"},
		{"raid10 more legs", []string{
			"0 16384 raid raid10 7 64 region_size 1024 raid10_copies 2 raid10_format near " + legsOf(4),
			"0 20480 raid raid10 11 64 region_size 1024 raid10_copies 2 raid10_format near delta_disks 1 data_offset 2048 " + legsOf(5),
			"0 20480 raid raid10 7 64 region_size 1024 raid10_copies 2 raid10_format near " + legsOf(5),
		}, "raid10 5 0"},
		{"raid10 near to offset", []string{
			"0 16384 raid raid10 7 64 region_size 1024 raid10_copies 2 raid10_format near " + legsOf(4),
			"0 16384 raid raid10 9 64 region_size 1024 raid10_copies 2 raid10_format offset data_offset 2048 " + legsOf(4),
			"0 16384 raid raid10 7 64 region_size 1024 raid10_copies 2 raid10_format offset " + legsOf(4),
		}, "raid10_offset 4 2048"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, dmraid.Linux61)
			l.start(c.lines[0])
			l.settled()
			f := l.open()
			want := pattern(t, f, rand.New(rand.NewPCG(9, 9)))
			f.Close()
			for _, line := range c.lines[1:] {
				if strings.Contains(line, "delta_disks 1 ") {
					l.makeRoom(5)
				}
				l.start(line)
				if strings.Contains(line, "delta_disks -1 ") {
					want = want[:min(len(want), 16384*512)] // the rest goes with the leg
				}
				if strings.Contains(line, " data_offset ") {
					continue // MD_RECOVERY_WAIT: it runs with the next table
				}
				l.settled()
				f := l.open()
				wantContent(t, f, want, line)
				// raid0 has nothing to compare; a raid10 that got a leg has room
				// at its end where nothing was written yet.
				if !strings.Contains(line, " raid0 ") && c.name != "raid10 more legs" {
					l.wantEqual(f, 0)
				}
				f.Close()
			}
			s := strings.Fields(l.status())
			if got := s[3] + " " + s[4] + " " + s[9]; got != c.behind {
				t.Errorf("%s in the end", got)
			}
		})
	}
}

// makeRoom moves the content of data disks on, as lvm2 does by mapping an
// extent before them: a reshape to more legs writes there first.
func (l *lab) makeRoom(disks int) {
	l.t.Helper()
	l.remove()
	for _, d := range l.disks[:disks] {
		p := make([]byte, 8192*512)
		d.ReadAt(p, 0)
		d.WriteAt(p, 2048*512)
		d.WriteAt(make([]byte, 2048*512), 0)
	}
}

// Superblocks written by the double are read by the package, and the other
// way round they are the same bytes.
func TestSuperblockBytes(t *testing.T) {
	for _, c := range levelCases() {
		l := newLab(t, dmraid.Linux61)
		l.start(arrayLine(c.length, c.params, c.legs))
		l.settled()
		l.remove()
		if strings.HasPrefix(c.params, "raid0") {
			continue
		}
		for i := range c.legs {
			page := make([]byte, 512)
			l.disks[8+i].ReadAt(page, 0)
			s := l.super(8 + i)
			if !bytes.Equal(s.Encode(512), page) {
				t.Errorf("%s: %v is other bytes", c.params, s)
			}
			if !s.InSync() || !s.Clean() || int(s.ArrayPosition) != i || int(s.NumDevices) != c.legs {
				t.Errorf("%s: %v", c.params, s)
			}
			if n, _ := l.bitmap(8 + i).Dirty(); n != 0 {
				t.Errorf("%s: %v", c.params, l.bitmap(8+i))
			}
		}
	}
}
