// SPDX-License-Identifier: MIT

package raidtest_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/dmraid/raidtest"
)

// A journal shows in the status, keeps the array from having a bitmap, from a
// reshape and from a rebuild.
func TestJournal(t *testing.T) {
	for mode, char := range map[string]string{"writethrough": "A", "writeback": "a"} {
		l := newLab(t, dmraid.Linux61)
		l.start("0 16384 raid raid5_ls 5 64 journal_dev 1:16 journal_mode " + mode + " " + legsOf(3))
		l.settled()
		l.wantStatus("0 16384 raid raid5_ls 3 AAA 8192/8192 idle 0 0 " + char)
		f := l.open()
		want := pattern(t, f, rand.New(rand.NewPCG(1, 1)))
		wantContent(t, f, want, mode)
		f.Close()
		if _, err := dmraid.ReadBitmap(l.disks[8]); !errors.Is(err, dmraid.ErrForeign) {
			t.Error("there is a bitmap: ", err)
		}
		// The kernel counts the journal as a leg to be rebuilt.
		for _, c := range []struct {
			line, text string
			errno      error
		}{
			{"0 16384 raid raid5_rs 3 64 journal_dev 1:16 " + legsOf(3), "Can't reshape a journaled raid4/5/6 set", dmtest.EPERM},
			{"0 16384 raid raid5_ls 5 64 rebuild 1 journal_dev 1:16 " + legsOf(3), "2 'rebuild' devices cannot be injected into a raid set with 1 other first-time devices", dmtest.EINVAL},
		} {
			if err := l.load(c.line); err == nil || !strings.Contains(err.Error(), c.text) || !errors.Is(err, c.errno) {
				t.Errorf("%s: %v", c.line, err)
			}
		}
	}
}

// Devices say what is free, and what is where.
func TestDevices(t *testing.T) {
	l := newLab(t, dmraid.Linux61)
	d := raidtest.Devices{Kernel: l.k}
	ctx := t.Context()
	if err := d.CheckDevice(ctx, "1:0"); err != nil {
		t.Errorf("an empty disk: %v", err)
	}
	l.start(arrayLine(8192, "raid1 1 0", 2))
	l.settled()
	if err := d.CheckDevice(ctx, "1:0"); !errors.Is(err, dmtest.EBUSY) {
		t.Errorf("a leg of an array: %v", err)
	}
	if err := d.CheckDevice(ctx, "1:99"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no disk: %v", err)
	}
	l.remove()
	if err := d.CheckDevice(ctx, "1:8"); err == nil {
		t.Error("a disk with a superblock may be written over")
	}
	major, minor, err := d.ResolveDevice("/dev/ram5")
	if major != 1 || minor != 5 || err != nil {
		t.Error(major, minor, err)
	}
}
