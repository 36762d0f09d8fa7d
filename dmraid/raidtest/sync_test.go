// SPDX-License-Identifier: MIT

package raidtest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// What was recorded of scrubs: 8 KiB that differ are found in the units that
// each level compares in.
func TestScrub(t *testing.T) {
	for _, c := range []struct {
		name, params        string
		length, legs        int
		whole, found, place string
	}{
		{"raid1", "raid1 3 0 region_size 1024", 8192, 2, "8192", "128", ""},
		{"raid5_ls", "raid5_ls 3 64 region_size 1024", 16384, 3, "8192", "16", ""},
		{"raid6_zr", "raid6_zr 3 64 region_size 1024", 16384, 4, "8192", "16", ""},
		{"raid10", "raid10 3 64 region_size 1024", 16384, 4, "16384", "64", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, dmraid.Linux61)
			l.start(arrayLine(c.length, c.params, c.legs))
			l.settled()
			status := func(done, action, found string) {
				t.Helper()
				l.wantStatus(fmt.Sprintf("0 %d raid %s %d %s %s/%s %s %s 0 -", c.length, c.name, c.legs, fill('A', c.legs), done, c.whole, action, found))
			}
			message := func(text string, want error) {
				t.Helper()
				if err := l.message(text); !errors.Is(err, want) {
					t.Errorf("%s: %v", text, err)
				}
				l.settled()
			}
			l.disks[1].WriteAt(fill(0xee, 8192), 128*512)
			message("check", nil)
			status(c.whole, "idle", c.found)
			message("repair", nil)
			status(c.whole, "idle", "0")
			n := l.events()
			message("check", nil)
			status(c.whole, "idle", "0")
			if l.events() != n+1 {
				t.Error("the end of a check raises an event")
			}
			message("frozen", nil)
			status("0", "frozen", "0")
			message("idle", nil)
			status(c.whole, "idle", "0")
			message("resync", nil)
			status(c.whole, "idle", "0")
			message("recover", nil)
			status(c.whole, "idle", "0")
			message("bogus", dmtest.EINVAL)
			message("CHECK", nil)
			status(c.whole, "idle", "0")
		})
	}
	l := newLab(t, dmraid.Linux61)
	l.start(arrayLine(16384, "raid0 1 64", 2))
	if err := l.message("check"); !errors.Is(err, dmtest.EINVAL) {
		t.Error("raid0 takes a message: ", err)
	}
}

// The case "scrub busy" of failures-scrub-positions.txt, step by step.
func TestStep(t *testing.T) {
	l := newLab(t, dmraid.Linux61)
	l.m.HoldSync(true)
	l.start(arrayLine(8192, "raid1 1 0", 2))
	status := func(health string, done int, action string) {
		t.Helper()
		l.wantStatus(fmt.Sprintf("0 8192 raid raid1 2 %s %d/8192 %s 0 0 -", health, done, action))
	}
	step := func(n dmraid.Sectors, want bool) {
		t.Helper()
		if more, err := l.m.Step("r", n); more != want || err != nil {
			t.Errorf("step: %v, %v", more, err)
		}
	}
	status("aa", 0, "resync")
	step(2560, true)
	status("aa", 2560, "resync")
	if s := l.super(8); s.ArrayResync == 0 || s.ArrayResync > 2560 {
		t.Errorf("checkpoint %v", s)
	}
	for _, m := range []string{"check", "repair", "resync", "recover"} {
		if err := l.message(m); !errors.Is(err, dmtest.EBUSY) {
			t.Errorf("%s while it syncs: %v", m, err)
		}
	}
	l.message("frozen")
	status("AA", 0, "frozen")
	step(100, false)
	l.message("check")
	if s := strings.Fields(l.status()); s[5] != "AA" || s[7] != "check" {
		t.Errorf("a check that follows: %s", s)
	}
	l.message("idle")
	if s := strings.Fields(l.status()); s[5] != "aa" || s[7] != "resync" {
		t.Errorf("the sync that was to be done: %s", s)
	}
	step(8192, false)
	status("AA", 8192, "idle")
	if s := l.super(8); !s.Clean() {
		t.Errorf("behind the sync: %v", s)
	}
	if l.events() == 0 {
		t.Error("no event")
	}

	// A leg is rebuilt; how far it is lies in its superblock.
	l.remove()
	l.start("0 8192 raid raid1 3 0 rebuild 1 2 1:8 1:0 1:9 1:1")
	status("Aa", 0, "recover")
	step(4096, true)
	status("Aa", 4096, "recover")
	l.remove()
	if s := l.super(9); s.DiskRecovery != 4096 || l.super(8).DiskRecovery != dmraid.MaxSector {
		t.Errorf("%v", s)
	}
	l.start(arrayLine(8192, "raid1 1 0", 2))
	status("Aa", 4096, "recover")
	l.m.HoldSync(false)
	l.settled()
	status("AA", 8192, "idle")
}

// A reshape that is stopped and taken up again, with I/O meanwhile on both
// sides of where it is.
func TestReshapeInPieces(t *testing.T) {
	vmtest.NotInVM(t, "on the double")
	for _, c := range []struct{ name, from, to, plain string }{
		{"layout", "0 16384 raid raid5_ls 3 64 region_size 1024 " + legsOf(3),
			"0 16384 raid raid5_n 5 64 region_size 1024 data_offset 2048 " + legsOf(3),
			"0 16384 raid raid5_n 3 64 region_size 1024 " + legsOf(3)},
		{"chunk", "0 16384 raid raid6_nr 3 32 region_size 1024 " + legsOf(4),
			"0 16384 raid raid6_nr 5 128 region_size 1024 data_offset 2048 " + legsOf(4),
			"0 16384 raid raid6_nr 3 128 region_size 1024 " + legsOf(4)},
		{"legs", "0 16384 raid raid5_ls 3 64 region_size 1024 " + legsOf(3),
			"0 24576 raid raid5_ls 7 64 region_size 1024 delta_disks 1 data_offset 2048 " + legsOf(4),
			"0 24576 raid raid5_ls 3 64 region_size 1024 " + legsOf(4)},
		{"raid10", "0 16384 raid raid10 7 64 region_size 1024 raid10_copies 2 raid10_format near " + legsOf(4),
			"0 16384 raid raid10 9 64 region_size 1024 raid10_copies 2 raid10_format offset data_offset 2048 " + legsOf(4),
			"0 16384 raid raid10 7 64 region_size 1024 raid10_copies 2 raid10_format offset " + legsOf(4)},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, dmraid.Linux61)
			l.start(c.from)
			l.settled()
			f := l.open()
			want := make([]byte, 16384*512)
			randomize(want, rand.New(rand.NewPCG(7, 7)))
			if _, err := f.WriteAt(want, 0); err != nil {
				t.Fatal(err)
			}
			f.Close()
			if c.name == "legs" {
				l.start(strings.Replace(strings.Replace(c.plain, " 3 64", " 5 64 rebuild 3", 1), "0 24576", "0 24576", 1))
				l.makeRoom(4)
			}
			l.m.HoldSync(true)
			l.start(c.to)
			for i := 0; ; i++ {
				if s := strings.Fields(l.status()); s[7] != "reshape" || strings.Trim(s[5], "a") != "" {
					t.Fatalf("not reshaping: %s", s)
				}
				more, err := l.m.Step("r", 1024)
				if err != nil {
					t.Fatal(err)
				}
				f := l.open()
				wantContent(t, f, want, fmt.Sprint("piece ", i))
				at := i * 1111 * 512 % (len(want) - 4096)
				copy(want[at:at+4096], fill(byte(i), 4096))
				if _, err := f.WriteAt(want[at:at+4096], int64(at)); err != nil {
					t.Fatal(err)
				}
				wantContent(t, f, want, fmt.Sprint("written, piece ", i))
				f.Close()
				if !more {
					if i < 3 {
						t.Errorf("done in %d pieces", i)
					}
					break
				}
				s := l.super(8)
				if !s.Reshaping || s.ReshapePosition == dmraid.MaxSector {
					t.Fatalf("superblock %v", s)
				}
				if i%2 == 1 {
					// It goes on with the table that is for behind it, too.
					l.remove()
					l.start(c.plain)
				}
			}
			l.m.HoldSync(false)
			if s := l.super(8); s.Reshaping || s.ReshapePosition != dmraid.MaxSector {
				t.Errorf("superblock in the end %v", s)
			}
			l.remove()
			l.start(c.plain)
			l.settled()
			f = l.open()
			wantContent(t, f, want, "in the end")
			l.wantEqual(f, 0)
		})
	}
}

// The bits of the bitmap are on the disks before the data are, and go when
// md's thread has looked.
func TestBitmap(t *testing.T) {
	l := newLab(t, dmraid.Linux61)
	l.m.HoldDaemon(true)
	l.start(arrayLine(16384, "raid5_ls 3 64 region_size 1024", 3))
	l.settled()
	if err := l.m.Daemon("r"); err != nil {
		t.Fatal(err)
	}
	if n, _ := l.bitmap(8).Dirty(); n != 0 {
		t.Fatalf("dirty behind the sync: %v", l.bitmap(8))
	}
	f := l.open()
	at := int64(-1)
	l.disks[0].FailWith(func(write bool, sector, n uint64) error {
		if write && at < 0 {
			at, _ = l.bitmap(8).Dirty()
		}
		return nil
	})
	l.write(f, 1, 4<<20, 65536)
	if at != 1 {
		t.Errorf("%d regions were dirty when the data came", at)
	}
	if b := l.bitmap(9); !b.IsDirty(4) {
		t.Errorf("%v", b)
	}
	if err := l.m.Daemon("r"); err != nil {
		t.Fatal(err)
	}
	if n, _ := l.bitmap(9).Dirty(); n != 0 {
		t.Errorf("dirty behind the thread: %v", l.bitmap(9))
	}
}
