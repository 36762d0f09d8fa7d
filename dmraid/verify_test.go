// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dmraid"
)

// metaImage is the start of a metadata device.
func metaImage(super dmraid.Superblock, bitmap *dmraid.Bitmap) []byte {
	b := make([]byte, 64<<10)
	copy(b, super.Encode(512))
	if bitmap != nil {
		copy(b[dmraid.BitmapOffset:], bitmap.Encode())
	}
	return b
}

// arraySupers are the superblocks of a clean array.
func arraySupers(t testing.TB, typ dmraid.Type, n int) []dmraid.Superblock {
	t.Helper()
	table, length := trapTable(typ, n)
	s := situationOf(t, table, length, "clean", 0)
	var list []dmraid.Superblock
	for _, l := range s.Legs {
		list = append(list, l.Super)
	}
	return list
}

// scanned reads images of legs; nil is a missing one.
func scanned(t testing.TB, images [][]byte) []dmraid.LegImage {
	t.Helper()
	var sources []dmraid.LegSource
	for i, b := range images {
		name := fmt.Sprintf("m%d", i)
		if b == nil {
			sources = append(sources, dmraid.LegSource{Name: name})
			continue
		}
		sources = append(sources, dmraid.LegReader(name, bytes.NewReader(b)))
	}
	legs, err := dmraid.Scan(context.Background(), sources)
	if err != nil {
		t.Fatal(err)
	}
	return legs
}

func TestVerify(t *testing.T) {
	type set struct {
		supers  []dmraid.Superblock
		bitmaps []*dmraid.Bitmap
		images  map[int][]byte // instead of a superblock; nil: missing
	}
	for _, c := range []struct {
		name     string
		typ      dmraid.Type
		legs     int
		change   func(s *set)
		verdicts string
		rebuild  string
		resync   dmraid.ResyncNeed
		err      error
		finding  string
	}{
		{name: "clean", typ: dmraid.RAID5LS, legs: 3, verdicts: "current current current", rebuild: "[]"},
		{
			name: "stale", typ: dmraid.RAID1, legs: 3, change: func(s *set) { s.supers[1].Events -= 4 },
			verdicts: "current stale current", rebuild: "[1]", finding: "leg 1: 4 events behind, and not recorded as failed",
		},
		{
			name: "failed", typ: dmraid.RAID5LS, legs: 3,
			change: func(s *set) {
				s.supers[0].SetFailed(1, true)
				s.supers[2].SetFailed(1, true)
				s.supers[1].Events -= 3
			},
			verdicts: "current failed current", rebuild: "[]", finding: "leg 1: recorded as failed, 3 events behind",
		},
		{
			name: "missing and recorded", typ: dmraid.RAID6ZR, legs: 4,
			change: func(s *set) {
				for i := range s.supers {
					s.supers[i].SetFailed(3, true)
				}
				s.images[3] = nil
			},
			verdicts: "current current current missing", rebuild: "[]", finding: "position 3 is recorded as failed",
		},
		{
			name: "zeroed", typ: dmraid.RAID1, legs: 2, change: func(s *set) { s.images[0] = make([]byte, 8192) },
			verdicts: "fresh current", rebuild: "[0]", finding: "no dm-raid superblock",
		},
		{
			name: "corrupt", typ: dmraid.RAID1, legs: 2, change: func(s *set) { s.supers[1].NumDevices = 1000 },
			verdicts: "current corrupt", rebuild: "[1]", finding: "an array of 1000 legs",
		},
		{
			name: "future", typ: dmraid.RAID1, legs: 2, change: func(s *set) { s.supers[1].Incompat = 1 },
			verdicts: "current future", rebuild: "[]", finding: "No incompatible feature flags supported yet",
		},
		{
			name: "rebuilding", typ: dmraid.RAID10, legs: 4, change: func(s *set) { s.supers[2].DiskRecovery = 4096 },
			verdicts: "current current rebuilding current", rebuild: "[]", finding: "leg 2: rebuilt up to 4096s of ",
		},
		{
			name: "dirty", typ: dmraid.RAID5LS, legs: 3,
			change: func(s *set) {
				for i := range s.supers {
					s.supers[i].ArrayResync = 2048
				}
			},
			verdicts: "current current current", rebuild: "[]", resync: dmraid.ResyncRest, finding: "synced up to 2048s",
		},
		{
			name: "crashed", typ: dmraid.RAID1, legs: 2,
			change: func(s *set) {
				s.bitmaps[0].SetDirty(1, true)
				s.bitmaps[1].SetDirty(1, true)
			},
			verdicts: "current current", rebuild: "[]", resync: dmraid.ResyncDirty, finding: "1 of 8 regions are dirty (1024s)",
		},
		{
			name: "degraded with dirty bits", typ: dmraid.RAID1, legs: 2,
			change: func(s *set) {
				s.bitmaps[0].SetDirty(1, true)
				s.supers[0].SetFailed(1, true)
				s.images[1] = nil
			},
			verdicts: "current missing", rebuild: "[]", finding: "position 1 is recorded as failed",
		},
		{
			name: "bitmap behind", typ: dmraid.RAID1, legs: 2, change: func(s *set) { s.bitmaps[0].Events-- },
			verdicts: "current current", rebuild: "[]", resync: dmraid.ResyncAll, finding: "older than the superblocks (events 16, 17)",
		},
		{
			name: "the word sync", typ: dmraid.RAID1, legs: 2,
			change: func(s *set) {
				for i := range s.supers {
					s.supers[i].Events = 1
					s.bitmaps[i] = nil
				}
			},
			verdicts: "current current", rebuild: "[]", resync: dmraid.ResyncAll, finding: "claims to be clean and was never synced",
		},
		{
			name: "swapped", typ: dmraid.RAID1, legs: 2, change: func(s *set) { s.supers[0], s.supers[1] = s.supers[1], s.supers[0] },
			verdicts: "current current", rebuild: "[]", finding: "leg 0: belongs in position 1",
		},
		{
			name: "twice", typ: dmraid.RAID1, legs: 2, change: func(s *set) { s.supers[1] = s.supers[0] },
			verdicts: "current stranger", rebuild: "[]", err: dmraid.ErrMixed, finding: "in position 0 like leg 0",
		},
		{
			name: "spare", typ: dmraid.RAID1, legs: 2, change: func(s *set) { s.supers[1].ArrayPosition = 0xffffffff },
			verdicts: "current spare", rebuild: "[]", finding: "the array had no position for it",
		},
		{
			name: "mixed", typ: dmraid.RAID5LS, legs: 3, change: func(s *set) { s.supers[2].Chunk = 128 },
			verdicts: "current current stranger", rebuild: "[]", err: dmraid.ErrMixed, finding: "stripe_sectors is 128s, and 64s on leg 0",
		},
		{
			name: "superblocks in flight", typ: dmraid.RAID1, legs: 3, change: func(s *set) { s.supers[0].Events--; s.supers[2].Events-- },
			verdicts: "current current current", rebuild: "[]", finding: "leg 2: an event behind",
		},
		{
			name: "two of raid5 lost", typ: dmraid.RAID5LS, legs: 3, change: func(s *set) { s.images[0] = nil; s.supers[2].Events -= 2 },
			verdicts: "missing current stale", rebuild: "[2]", err: dmraid.ErrDegraded,
		},
		{
			name: "two of raid10 lost, in different groups", typ: dmraid.RAID10, legs: 4, change: func(s *set) { s.images[0] = nil; s.images[3] = nil },
			verdicts: "missing current current missing", rebuild: "[]",
		},
		{
			name: "a group of raid10 lost", typ: dmraid.RAID10, legs: 4, change: func(s *set) { s.images[2] = nil; s.images[3] = nil },
			verdicts: "current current missing missing", rebuild: "[]", err: dmraid.ErrDegraded,
		},
		{
			name: "all of raid1 but one", typ: dmraid.RAID1, legs: 3, change: func(s *set) { s.images[0] = nil; s.images[1] = nil },
			verdicts: "missing missing current", rebuild: "[]",
		},
		{
			name: "reshaping", typ: dmraid.RAID5LS, legs: 3,
			change: func(s *set) {
				for i := range s.supers {
					s.supers[i].Reshaping, s.supers[i].ReshapePosition, s.supers[i].NewChunk = true, 2048, 128
				}
			},
			verdicts: "current current current", rebuild: "[]", finding: "a reshape stands at 2048s",
		},
		{
			name: "before 1.9.0", typ: dmraid.RAID1, legs: 2,
			change:   func(s *set) { s.supers[0].Extended, s.supers[1].Extended = false, false },
			verdicts: "current current", rebuild: "[]", finding: "from before target version 1.9.0",
		},
		{
			name: "unknown bytes", typ: dmraid.RAID1, legs: 2, change: func(s *set) { s.supers[1].Rest = "\x00x" },
			verdicts: "current current", rebuild: "[]", finding: "leg 1: bytes that no known kernel writes",
		},
		{
			name: "nothing", typ: dmraid.RAID1, legs: 2, change: func(s *set) { s.images[0], s.images[1] = make([]byte, 8192), nil },
			verdicts: "fresh missing", rebuild: "[]", err: dmraid.ErrForeign,
		},
		{
			name: "nothing usable", typ: dmraid.RAID1, legs: 2, change: func(s *set) { s.images[0] = make([]byte, 8192); s.supers[1].Incompat = 1 },
			verdicts: "fresh future", rebuild: "[]", err: errors.ErrUnsupported,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := set{supers: arraySupers(t, c.typ, c.legs), images: map[int][]byte{}}
			for _, super := range s.supers {
				m := bitmapOf(8192)
				m.Events = super.Events
				s.bitmaps = append(s.bitmaps, &m)
			}
			if c.change != nil {
				c.change(&s)
			}
			var images [][]byte
			for i, super := range s.supers {
				image, instead := s.images[i]
				if !instead {
					image = metaImage(super, s.bitmaps[i])
				}
				images = append(images, image)
			}
			r, err := dmraid.Verify(scanned(t, images))
			if c.err == nil && err != nil || !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			var verdicts []string
			for _, l := range r.Legs {
				verdicts = append(verdicts, string(l.Verdict))
			}
			if got := strings.Join(verdicts, " "); got != c.verdicts {
				t.Errorf("verdicts %s, want %s", got, c.verdicts)
			}
			if got := fmt.Sprint(r.Rebuild); got != c.rebuild {
				t.Errorf("rebuild %s, want %s", got, c.rebuild)
			}
			if r.Resync != c.resync {
				t.Errorf("resync %d, want %d", r.Resync, c.resync)
			}
			if !strings.Contains(r.String(), c.finding) || c.finding == "" && err == nil && len(r.Findings) > 0 && c.change == nil {
				t.Errorf("findings %q, want %q", r.Findings, c.finding)
			}
		})
	}
}

// TestVerifyAgainstKernelState: what a report tells to do makes the kernel do
// the right thing, and without it it would not.
func TestVerifyAgainstKernelState(t *testing.T) {
	table, length := trapTable(dmraid.RAID5LS, 3)
	s := situationOf(t, table, length, "clean", 0)
	s.Legs[1].Super.Events -= 2
	var legs []dmraid.LegImage
	for _, l := range s.Legs {
		legs = append(legs, dmraid.LegImage{Super: l.Super})
	}
	if traps := dmraid.Traps(dmraid.Linux61, s); !slices.Contains(traps, dmraid.StaleLeg) {
		t.Fatal(traps)
	}
	r, err := dmraid.Verify(legs)
	if err != nil {
		t.Fatal(err)
	}
	s.Table.Rebuild = r.Rebuild
	state, err := dmraid.KernelState(dmraid.Linux61, s)
	if err != nil || state.Health != "AaA" || dmraid.CheckTraps(dmraid.Linux61, s) != nil {
		t.Error(state.Health, err)
	}
}

func TestScanReportsErrors(t *testing.T) {
	broken := errors.New("no such path")
	legs, err := dmraid.Scan(context.Background(), []dmraid.LegSource{
		{Name: "a"},
		{Name: "b", Open: func(context.Context) (io.ReaderAt, error) { return nil, broken }},
		dmraid.LegReader("c", failingReader{}),
		dmraid.LegReader("d", bytes.NewReader(make([]byte, 4096))),
		dmraid.LegReader("e", bytes.NewReader(metaImage(arraySupers(t, dmraid.RAID1, 2)[0], nil))),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !legs[0].Missing || legs[0].Found().Meta != dmraid.MetaNone {
		t.Error(legs[0])
	}
	if !errors.Is(legs[1].Err, broken) || legs[1].Found().Meta != dmraid.MetaUnreadable || !strings.Contains(legs[1].Err.Error(), " b") {
		t.Error(legs[1])
	}
	if !errors.Is(legs[2].Err, io.ErrUnexpectedEOF) || legs[2].Found().Meta != dmraid.MetaUnreadable {
		t.Error(legs[2])
	}
	if !errors.Is(legs[3].Err, dmraid.ErrForeign) || legs[3].Found().Meta != dmraid.MetaFresh {
		t.Error(legs[3])
	}
	if legs[4].Err != nil || !errors.Is(legs[4].BitmapErr, dmraid.ErrForeign) || legs[4].Found().Bitmap == nil {
		t.Error(legs[4])
	}
}

// slowReader is a device that takes its time.
type slowReader struct {
	io.ReaderAt
	delay time.Duration
}

func (s slowReader) ReadAt(p []byte, off int64) (int, error) {
	time.Sleep(s.delay)
	return s.ReaderAt.ReadAt(p, off)
}

// closing counts what is closed.
type closing struct {
	io.ReaderAt
	closed chan int
	i      int
}

func (c closing) Close() error { c.closed <- c.i; return nil }

func TestScanCloses(t *testing.T) {
	closed := make(chan int, 3)
	var sources []dmraid.LegSource
	for i := range 3 {
		sources = append(sources, dmraid.LegSource{Open: func(context.Context) (io.ReaderAt, error) {
			return closing{bytes.NewReader(nil), closed, i}, nil
		}})
	}
	if _, err := dmraid.Scan(context.Background(), sources); err != nil {
		t.Fatal(err)
	}
	if len(closed) != 3 {
		t.Errorf("%d closed", len(closed))
	}
}

// hung is a device that never answers.
type hung struct{ never chan struct{} }

func (h hung) ReadAt([]byte, int64) (int, error) { <-h.never; return 0, io.EOF }

func TestScanCancelled(t *testing.T) {
	h := hung{make(chan struct{})}
	defer close(h.never)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(10*time.Millisecond, cancel)
	sources := slices.Repeat([]dmraid.LegSource{dmraid.LegReader("hung", h)}, 300)
	if _, err := dmraid.Scan(ctx, sources); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// BenchmarkScan reads 253 legs on devices that take a millisecond a read: one
// after the other, that would be half a second.
func BenchmarkScan(b *testing.B) {
	super := arraySupers(b, dmraid.RAID1, 2)[0]
	m := bitmapOf(8192)
	m.Events = super.Events
	image := metaImage(super, &m)
	for _, legs := range []int{1, 16, dmraid.MaxLegs} {
		b.Run(fmt.Sprint(legs), func(b *testing.B) {
			var sources []dmraid.LegSource
			for range legs {
				sources = append(sources, dmraid.LegReader("", slowReader{bytes.NewReader(image), time.Millisecond}))
			}
			for b.Loop() {
				if _, err := dmraid.Scan(context.Background(), sources); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
