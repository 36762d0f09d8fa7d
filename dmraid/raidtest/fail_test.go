// SPDX-License-Identifier: MIT

package raidtest_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
)

// array is a table over the first disks, with metadata on those from 1:8 on.
func arrayLine(length int, params string, legs int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "0 %d raid %s %d", length, params, legs)
	for i := range legs {
		fmt.Fprintf(&b, " 1:%d 1:%d", 8+i, i)
	}
	return b.String()
}

func (l *lab) open() *dmtest.IO {
	l.t.Helper()
	f, err := l.k.OpenDevice("r")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { f.Close() })
	return f
}

func fill(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func (l *lab) write(f *dmtest.IO, b byte, off int64, n int) {
	l.t.Helper()
	if _, err := f.WriteAt(fill(b, n), off); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) wantRead(f *dmtest.IO, b byte, off int64, n int) {
	l.t.Helper()
	p := make([]byte, n)
	if _, err := f.ReadAt(p, off); err != nil {
		l.t.Fatal(err)
	}
	if i := bytes.IndexFunc(p, func(r rune) bool { return byte(r) != b }); i >= 0 {
		l.t.Fatalf("byte %d is %d, not %d", off+int64(i), p[i], b)
	}
}

// super is the superblock on a metadata disk.
func (l *lab) super(disk int) dmraid.Superblock {
	l.t.Helper()
	s, err := dmraid.ReadSuperblock(l.disks[disk])
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

func (l *lab) bitmap(disk int) dmraid.Bitmap {
	l.t.Helper()
	b, err := dmraid.ReadBitmap(l.disks[disk])
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

func (l *lab) events() uint32 {
	d, _ := l.k.Device("r")
	return d.EventNr
}

// What was recorded in failures-scrub-positions.txt: a leg fails with a write,
// comes back by a suspend and a resume; it fails with its metadata, the array
// is loaded without it, and again when it is there.
func TestLegFails(t *testing.T) {
	for _, c := range []struct {
		name, params string
		length, legs int
		whole        string // of the array
	}{
		{"raid1", "raid1 3 0 region_size 1024", 8192, 2, "8192"},
		{"raid5_ls", "raid5_ls 3 64 region_size 1024", 16384, 3, "8192"},
		{"raid6_zr", "raid6_zr 3 64 region_size 1024", 16384, 4, "8192"},
		{"raid10", "raid10 3 64 region_size 1024", 16384, 4, "16384"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, dmraid.Linux61)
			line := arrayLine(c.length, c.params, c.legs)
			status := func(second byte, done, action string) {
				t.Helper()
				health := fill('A', c.legs)
				health[1] = second
				l.wantStatus(fmt.Sprintf("0 %d raid %s %d %s %s/%s %s 0 0 -", c.length, c.name, c.legs, health, done, c.whole, action))
			}
			l.start(line)
			l.settled()
			status('A', c.whole, "idle")
			if n := l.events(); n != 1 {
				t.Errorf("%d events at the end of the sync", n)
			}
			f := l.open()
			l.disks[1].Fail(0, diskSectors)
			l.write(f, 7, 0, 1<<20)
			status('D', c.whole, "idle")
			if n := l.events(); n != 2 {
				t.Errorf("%d events when the leg has failed", n)
			}
			if s := l.super(8); !s.Failed(1) || s.Failed(0) || s.Events <= l.super(9).Events {
				t.Errorf("superblocks %v and %v", s, l.super(9))
			}
			if s := l.super(9); s.Failed(1) {
				t.Errorf("the failed leg knows of it: %v", s)
			}
			l.wantRead(f, 7, 0, 1<<20)
			l.write(f, 8, 1<<20, 1<<20)
			l.disks[1].FailWith(nil)
			status('D', c.whole, "idle")
			l.suspend()
			status('D', "0", "frozen")
			l.raidLog()
			l.resume()
			if got := strings.Join(l.raidLog(), "\n"); got != fmt.Sprintf("device-mapper: raid: Faulty %s device #1 has readable super block.  Attempting to revive it.", c.name) {
				t.Errorf("log %s", got)
			}
			l.settled()
			status('A', c.whole, "idle")
			if n := l.events(); n != 3 {
				t.Errorf("%d events behind the recovery", n)
			}
			l.wantEqual(f, c.legs)

			l.disks[1].Fail(0, diskSectors)
			l.disks[9].Fail(0, diskSectors)
			l.write(f, 9, 1<<20, 4096)
			status('D', c.whole, "idle")
			f.Close()
			l.remove()
			l.raidLog()
			if err := l.load(line); err != nil {
				t.Fatal(err)
			}
			if got := l.raidLog(); len(got) != 1 || got[0] != "device-mapper: raid: Failed to read superblock of device at position 1" {
				t.Errorf("log %q", got)
			}
			l.resume()
			status('D', c.whole, "idle")
			if got := l.tableLine(); got != line {
				t.Errorf("table %s", got)
			}
			l.disks[1].FailWith(nil)
			l.disks[9].FailWith(nil)
			l.remove()
			l.start(line)
			f = l.open()
			l.settled()
			status('A', c.whole, "idle")
			if a, b := l.super(8), l.super(9); a.FailedLegs() != nil || a.Events != b.Events {
				t.Errorf("superblocks %v and %v", a, b)
			}
			l.wantEqual(f, c.legs)
		})
	}
}

// wantEqual checks that copies and parity are right, by a check.
func (l *lab) wantEqual(f *dmtest.IO, legs int) {
	l.t.Helper()
	if err := l.message("check"); err != nil {
		l.t.Fatal(err)
	}
	l.settled()
	if n := strings.Fields(l.status())[8]; n != "0" {
		l.t.Errorf("%s sectors differ", n)
	}
	if err := l.message("idle"); err != nil {
		l.t.Fatal(err)
	}
}

// A read error is corrected from the other legs, and the leg stays.
func TestReadErrorIsCorrected(t *testing.T) {
	for _, c := range []struct {
		params       string
		length, legs int
	}{
		{"raid1 1 0", 8192, 2},
		{"raid5_ls 1 64", 16384, 3},
		{"raid6_nr 1 64", 16384, 4},
		{"raid10 5 64 raid10_copies 2 raid10_format far", 16384, 4},
	} {
		l := newLab(t, dmraid.Linux61)
		l.start(arrayLine(c.length, c.params, c.legs))
		l.settled()
		f := l.open()
		l.write(f, 5, 0, 1<<20)
		for i := range c.legs {
			bad := true
			l.disks[i].FailWith(func(write bool, sector, count uint64) error {
				if write && sector < 200 {
					bad = false // the disk gives it another place
				}
				if !write && bad && sector < 64 {
					return dmtest.EIO
				}
				return nil
			})
			l.wantRead(f, 5, 0, 1<<18)
			l.disks[i].FailWith(nil)
		}
		if h := strings.Fields(l.status())[5]; h != string(fill('A', c.legs)) {
			t.Errorf("%s: health %s", c.params, h)
		}
		l.wantEqual(f, c.legs)
	}
}

// More failures than the level bears: EIO, and no panic. The last leg of a
// raid1 is not given up.
func TestTooManyFailures(t *testing.T) {
	for _, c := range []struct {
		params       string
		length, legs int
		health       string
	}{
		{"raid0 1 64", 16384, 2, "AA"},
		{"raid1 1 0", 8192, 2, "DA"},
		{"raid5_ls 1 64", 16384, 3, ""},
		{"raid6_nr 1 64", 16384, 4, ""},
		{"raid10 1 64", 16384, 4, ""},
	} {
		l := newLab(t, dmraid.Linux61)
		l.start(arrayLine(c.length, c.params, c.legs))
		l.settled()
		f := l.open()
		for i := range c.legs {
			l.disks[i].Fail(0, diskSectors)
		}
		for range 3 {
			if _, err := f.WriteAt(fill(1, 1<<18), 0); !errors.Is(err, dmtest.EIO) {
				t.Errorf("%s: written: %v", c.params, err)
			}
			if _, err := f.ReadAt(make([]byte, 4096), 0); !errors.Is(err, dmtest.EIO) {
				t.Errorf("%s: read: %v", c.params, err)
			}
		}
		if h := strings.Fields(l.status())[5]; c.health != "" && h != c.health {
			t.Errorf("%s: health %s", c.params, h)
		}
	}
}
