// SPDX-License-Identifier: MIT

package raidtest

import (
	"errors"
	"math/bits"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// set is an instance of the target: struct raid_set.
type set struct {
	m *Model
	a *dmtest.Args

	// mu guards what follows. It is held during the I/O to the legs, so that
	// an array does one thing at a time.
	mu       sync.Mutex
	events   int // to be raised when mu is given up
	args     arguments
	typ      *raidType
	dev      []*leg
	journal  *dmtest.Dev
	delta    int    // rs->delta_disks: what the table asks for
	offset   uint64 // rs->data_offset
	copies   int
	asked    uint64 // requested_bitmap_chunk_sectors
	wantLeg  uint64 // rs->dev_sectors: what the table asks for
	wantSize uint64 // rs->array_sectors
	md       array
	bitmap   *bitmap

	// The bits of runtime_flags.
	grow, updateSBs, reshaping, preresumed, resumed, suspended, loaded bool

	stripes   int // size of the stripe cache
	stepping  bool
	timer     *time.Timer
	destroyed bool

	lines atomic.Pointer[lines]
}

// lines are the texts that the core asks for; it gets them without a lock, as
// a leg may sleep.
type lines struct{ status, table, ima string }

func (s *set) lock() { s.mu.Lock() }

// unlock publishes what the array looks like now and raises the events that
// came up.
func (s *set) unlock() {
	s.lines.Store(&lines{s.status(), s.table(), s.ima()})
	n := s.events
	s.events = 0
	s.mu.Unlock()
	for range n {
		s.a.Event()
	}
}

// live says that the array is the one of a running table.
func (s *set) live() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resumed && !s.destroyed
}

func (s *set) log(format string, args ...any) { s.a.Kernel().Log("raid", format, args...) }

// refuse is a refusal of the constructor.
func refuse(errno syscall.Errno, text string) error {
	return &dmtest.CtorError{Errno: errno, Text: text}
}

// errnoOf is the errno in an error, EIO without.
func errnoOf(err error) syscall.Errno {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return dmtest.EIO
}

// newSet is raid_ctr.
func (m *Model) newSet(a *dmtest.Args) (*set, error) {
	s := &set{m: m, a: a, suspended: true}
	later, err := s.check()
	if err != nil {
		return nil, err
	}
	if err := s.construct(); err != nil {
		return nil, err
	}
	if later != nil {
		return nil, later
	}
	s.lines.Store(&lines{s.status(), s.table(), s.ima()})
	m.add(s)
	return s, nil
}

// construct is raid_ctr for words that have passed its rules.
func (s *set) construct() error {
	if err := s.arguments(); err != nil {
		return err
	}
	if err := s.setSizes(s.a.Length, false); err != nil {
		return err
	}
	s.wantSize, s.wantLeg = s.md.arraySectors, s.md.devSectors
	want := s.md.next
	if err := s.analyse(); err != nil {
		return err
	}
	if err := s.convert(want); err != nil {
		return err
	}
	md := &s.md
	md.readOnly, md.clean = true, true
	if err := s.run(); err != nil {
		return refuse(errnoOf(err), "Failed to run raid array")
	}
	md.clean = false
	md.frozen = true
	if s.parity() {
		s.stripes = s.stripeCache()
	}
	if s.reshaping {
		if err := s.earlyReshapeCheck(want); err != nil {
			return err
		}
	}
	return nil
}

// stripeCache is rs_set_raid456_stripe_cache: the entries that there are.
func (s *set) stripeCache() int {
	asked := s.args.number[keyStripeCache]
	least := max(s.md.cur.chunk, s.md.next.chunk) / 2
	if asked < least {
		s.log("Adjusting requested %d stripe cache entries to %d to suit stripe size", asked, least)
		asked = least
	}
	if asked != 256 {
		s.log("%d stripe cache entries", asked)
	}
	return asked
}

// arguments takes the words of the table in, and opens the devices.
func (s *set) arguments() error {
	a := s.a
	args, ok := parse(a.Argv)
	if !ok {
		return refuse(dmtest.EINVAL, "Unable to parse RAID parameter")
	}
	s.args, s.typ = args, args.typ
	s.delta, s.offset = args.number[keyDelta], uint64(args.number[keyDataOffset])
	s.copies, s.asked = args.number[keyCopies], uint64(args.number[keyRegionSize])
	md := &s.md
	md.disks = len(args.legs)
	md.cur = shape{s.typ.level, s.typ.layout, args.chunk}
	md.next = shape{s.typ.level, args.layout(), args.chunk}
	md.resync, md.reshape = maxSector, maxSector
	md.region, md.daemonSleep, md.writeBehind = s.regionSize(), args.number[keyDaemonSleep], args.number[keyWriteBehind]/2
	if args.given[keyJournalDev] {
		dev, err := a.Open(args.journal)
		if err != nil {
			return refuse(errnoOf(err), "raid4/5/6 journal device lookup failure")
		}
		s.journal = dev
	}
	for i, words := range args.legs {
		l := &leg{at: i, disk: i, saved: -1, inSync: true, recovery: maxSector}
		s.dev = append(s.dev, l)
		var err error
		if words[0] != "-" {
			if l.meta, err = a.Open(words[0]); err != nil {
				return refuse(errnoOf(err), "RAID metadata device lookup failure")
			}
			l.sb = make(superblock, l.meta.BlockSize())
		}
		if words[1] == "-" {
			continue
		}
		if l.data, err = a.Open(words[1]); err != nil {
			return refuse(errnoOf(err), "RAID device lookup failure")
		}
		md.persistent = md.persistent || l.meta != nil
	}
	for _, i := range args.rebuild {
		s.dev[i].inSync, s.dev[i].recovery = false, 0
	}
	for _, i := range args.writeMostly {
		s.dev[i].writeMostly = true
	}
	return nil
}

// regionSize is validate_region_size for a size that has passed it: sectors.
func (s *set) regionSize() uint64 {
	if s.asked != 0 {
		return s.asked
	}
	const byDefault = 1 << 13
	if least := s.a.Length >> 21; least > byDefault {
		return 1 << bits.Len64(least-1)
	}
	return byDefault
}

// parity says that the level of the table has it.
func (s *set) parity() bool { return s.typ.parity > 0 }

// setSizes is rs_set_dev_and_array_sectors. With fromArray the number of legs
// is the one of the superblocks.
func (s *set) setSizes(sectors uint64, fromArray bool) error {
	md := &s.md
	delta, data := s.delta, len(s.dev)-s.typ.parity
	if fromArray {
		delta, data = md.delta, md.disks-s.typ.parity
	}
	indivisible := refuse(dmtest.EINVAL, "Target length not divisible by number of data devices")
	legSectors, size := sectors, sectors
	switch s.typ.level {
	case 1:
	case 10:
		if s.copies < 2 || delta < 0 {
			return refuse(dmtest.EINVAL, "Bogus raid10 data copies or delta disks")
		}
		n := sectors * uint64(s.copies)
		if n%uint64(data) != 0 {
			return indivisible
		}
		legSectors = n / uint64(data)
		size = uint64(data+delta) * legSectors
		if size%uint64(s.copies) != 0 {
			return indivisible
		}
		size /= uint64(s.copies)
	default:
		if data <= 0 || sectors%uint64(data) != 0 {
			return indivisible
		}
		legSectors = sectors / uint64(data)
		size = uint64(data+delta) * legSectors
	}
	md.arraySectors, md.devSectors = size, legSectors
	s.setLegSectors()
	for _, l := range s.dev {
		if l.listed() && l.data.Sectors() < legSectors {
			return refuse(dmtest.EINVAL, "Component device(s) too small")
		}
	}
	return nil
}

// setLegSectors is rs_set_rdev_sectors.
func (s *set) setLegSectors() {
	for _, l := range s.dev {
		if l.listed() {
			l.sectors = s.md.devSectors
		}
	}
}
