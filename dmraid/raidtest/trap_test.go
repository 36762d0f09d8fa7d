// SPDX-License-Identifier: MIT

package raidtest_test

import (
	"bytes"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

// A leg is taken out, written past, and given back before md's thread has
// noted in the superblocks that it was away: on Linux 5.10 and 6.1 it stays
// stale and is called in sync. Not when the thread came first, nor when the
// array was suspended and resumed behind the split, nor on 6.12.
func TestGivenBackAtOnce(t *testing.T) {
	for _, c := range []struct {
		name                   string
		kernel                 dmraid.Kernel
		daemon, cycle, suspend bool
		stale                  bool
	}{
		{"5.10", dmraid.Linux510, false, false, false, true},
		{"6.1", dmraid.Linux61, false, false, false, true},
		{"6.1 later", dmraid.Linux61, true, false, false, false},
		{"6.1 cycled", dmraid.Linux61, false, true, false, false},
		{"6.1 suspended before the load", dmraid.Linux61, false, false, true, false},
		{"6.12", dmraid.Linux612, false, false, false, false},
		{"7.2", dmraid.Linux72, false, false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, c.kernel)
			l.m.HoldDaemon(true)
			line := arrayLine(8192, "raid1 3 0 region_size 1024", 2)
			l.start(line)
			l.settled()
			f := l.open()
			l.write(f, 1, 0, 8192*512)
			l.start(without(line, []int{1}))
			if c.cycle {
				l.suspend()
				l.resume()
			}
			l.write(f, 2, 1<<20, 1<<20)
			if c.daemon {
				if err := l.m.Daemon("r"); err != nil {
					t.Fatal(err)
				}
			}
			noted := l.super(8).Failed(1)
			if noted == c.stale {
				// What decides is what the superblock says at the load.
				if !c.suspend {
					t.Errorf("failed bit %v at the load", noted)
				}
			}
			if c.suspend {
				l.suspend()
			}
			l.start(line)
			l.settled()
			l.wantStatus("0 8192 raid raid1 2 AA 8192/8192 idle 0 0 -")
			if stale := l.stale(); stale != c.stale {
				t.Errorf("the leg is stale: %v", stale)
			}
		})
	}
}

// stale says whether two legs of 4 MiB differ.
func (l *lab) stale() bool {
	a, b := make([]byte, 8192*512), make([]byte, 8192*512)
	l.disks[0].ReadAt(a, 0)
	l.disks[1].ReadAt(b, 0)
	return !bytes.Equal(a, b)
}

// Linux 6.1.192 does both of these, too.

// The same though the superblocks say that the leg failed: behind a reload of
// the degraded table the first write puts a bitmap on the disk that is one
// event older than the superblocks. The next table takes it for out of date,
// and then recovers nothing of the leg that comes back.
func TestGivenBackBehindReload(t *testing.T) {
	for _, suspendFirst := range []bool{false, true} {
		l := newLab(t, dmraid.Linux61)
		l.m.HoldDaemon(true)
		line := arrayLine(8192, "raid1 3 0 region_size 1024", 2)
		l.start(line)
		l.settled()
		l.start(without(line, []int{1}))
		l.suspend()
		l.resume()
		l.start(without(line, []int{1}))
		f := l.open()
		l.write(f, 2, 1<<20, 1<<20)
		if s, b := l.super(8), l.bitmap(8); !s.Failed(1) || b.Events >= s.Events {
			t.Errorf("superblock %v, bitmap %v", s, b)
		}
		if suspendFirst {
			l.suspend()
		}
		l.start(line)
		l.settled()
		l.wantStatus("0 8192 raid raid1 2 AA 8192/8192 idle 0 0 -")
		if l.stale() == suspendFirst {
			t.Errorf("suspended first: %v, stale: %v", suspendFirst, l.stale())
		}
	}
}

// A table that is loaded and cleared writes the bitmap that it never read: the
// dirty bits of the running array go from the disks, until it stops.
func TestClearedTableWipesBits(t *testing.T) {
	l := newLab(t, dmraid.Linux61)
	l.m.HoldDaemon(true)
	line := arrayLine(8192, "raid1 3 0 region_size 1024", 2)
	l.start(line)
	l.settled()
	lone := without(line, []int{1})
	l.start(lone)
	f := l.open()
	l.write(f, 2, 1<<20, 1<<20)
	f.Close()
	before, _ := l.bitmap(8).Dirty()
	if err := l.load(lone); err != nil {
		t.Fatal(err)
	}
	if err := l.c.Clear(t.Context(), dm.Name("r")); err != nil {
		t.Fatal(err)
	}
	cleared, _ := l.bitmap(8).Dirty()
	l.remove()
	behind, _ := l.bitmap(8).Dirty()
	if before != 2 || cleared != 0 || behind != 2 {
		t.Errorf("%d regions dirty, %d behind the table was cleared, %d behind the stop", before, cleared, behind)
	}
}
