// SPDX-License-Identifier: MIT

package raidtest

import (
	"slices"

	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// analyse is analyse_superblocks: it finds the freshest superblock and takes
// the state of the array from it.
func (s *set) analyse() error {
	if s.args.given[keySync] {
		// "sync" leaves the superblocks unread. Since Linux 6.17 it makes
		// the array a new one, which is synced.
		s.md.newArray = s.m.kernel.AtLeast(6, 17)
		return nil
	}
	var freshest *leg
	for _, l := range s.dev {
		if !l.listed() || l.meta == nil {
			continue
		}
		if size := len(l.sb); size < sbSize || size > 4096 {
			s.log("superblock size of a logical block is no longer valid")
			return refuse(dmtest.EINVAL, "Unknown error")
		}
		switch better, ok := s.loadSuper(l, freshest); {
		case better:
			freshest = l
		case !ok && s.md.cur.level != 0:
			l.disk, l.saved = -1, -1
		}
	}
	if freshest == nil {
		return nil
	}
	if err := s.validate(freshest); err != nil {
		return err
	}
	if !s.redundant() {
		return refuse(dmtest.EINVAL, "Insufficient redundancy to activate array")
	}
	for _, l := range s.dev {
		if l.listed() && l != freshest {
			if err := s.validate(l); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadSuper is super_load: it reads a superblock or makes one, and says
// whether it is better than the best so far. ok is false when the disk can't
// be read.
func (s *set) loadSuper(l, best *leg) (better, ok bool) {
	if !s.readSuper(l, false) {
		return false, false
	}
	if l.sb.u32(sbMagic) != raidMagic || !l.inSync && l.recovery == 0 {
		s.superSync(l)
		l.firstUse = true
		l.sb.put32(sbCompat, compatV190)
		s.md.changeDevs = true
		return best == nil, true
	}
	return best == nil || l.sb.u64(sbEvents) > best.sb.u64(sbEvents), true
}

// badSuper is the refusal when nothing more is said than in the log.
func badSuper() error {
	return refuse(dmtest.EINVAL, "Unable to assemble array: Invalid superblocks")
}

// initialize is super_init_validation: the array as its freshest superblock
// says.
func (s *set) initialize(l *leg) error {
	md, b := &s.md, l.sb
	md.events = max(b.u64(sbEvents), 1)
	md.reshape = maxSector
	md.disks = b.int(sbDevices)
	md.cur = shape{b.int(sbLevel), b.int(sbLayout), b.int(sbChunk)}
	if b.extended() {
		md.next = shape{b.int(sbNewLevel), b.int(sbNewLayout), b.int(sbNewChunk)}
		md.delta = b.int(sbDelta)
		md.arraySectors = b.u64(sbArraySectors)
		if flags := b.u32(sbFlags); flags&flagReshaping != 0 {
			if s.args.given[keyDelta] {
				s.log("Reshape requested but raid set is still reshaping")
				return badSuper()
			}
			md.backwards = md.delta < 0 || md.delta == 0 && flags&flagBackwards != 0
			md.reshape = b.u64(sbReshape)
			if s.typ = typeByLayout(md.cur.level, md.cur.layout); s.typ == nil {
				return badSuper()
			}
		}
	} else {
		if err := s.initializeOld(); err != nil {
			return err
		}
	}
	if !s.args.given[keyNosync] {
		md.resync = b.u64(sbArrayResync)
	}
	if err := s.countNew(); err != nil {
		return err
	}
	return s.places(b.failed())
}

// initializeOld refuses to change the layout of an array with superblocks from
// before target version 1.9.0, which can't record it.
func (s *set) initializeOld() error {
	md := &s.md
	cur, next := typeByLayout(md.cur.level, md.cur.layout), typeByLayout(md.next.level, md.next.layout)
	switch {
	case md.next.level != md.cur.level:
		if cur != nil && next != nil {
			s.log("Takeover raid sets from %s to %s not yet supported by metadata. (raid level change)", cur.name, next.name)
		} else {
			s.log("Takeover raid sets not yet supported by metadata. (raid level change)")
		}
		return badSuper()
	case s.reshapeRequested():
		s.log("Reshaping raid sets not yet supported by metadata. (raid layout change keeping level)")
		if md.cur.layout != md.next.layout {
			if cur != nil && next != nil {
				s.log("\t current layout %s vs new layout %s", cur.name, next.name)
			} else {
				s.log("\t current layout 0x%X vs new layout 0x%X", md.cur.layout, md.next.layout)
			}
		}
		if md.cur.chunk != md.next.chunk {
			s.log("\t current stripe sectors %d vs new stripe sectors %d", md.cur.chunk, md.next.chunk)
		}
		if s.delta != 0 {
			s.log("\t current %d disks vs new %d disks", md.disks, md.disks+s.delta)
		}
		if md.cur.level == 10 {
			s.log("\t Old layout: %s w/ %d copies", formatOf(md.cur.layout), copiesOf(md.cur.layout))
			s.log("\t New layout: %s w/ %d copies", formatOf(md.next.layout), copiesOf(md.next.layout))
		}
		return badSuper()
	}
	s.log("Discovered old metadata format; upgrading to extended metadata format")
	return nil
}

// countNew refuses new legs that nobody asked for.
func (s *set) countNew() error {
	md := &s.md
	var fresh, rebuilds, both int
	for _, l := range s.dev {
		if !l.listed() {
			continue
		}
		if l.firstUse {
			fresh++
		}
		if !l.inSync {
			s.log("Device %d specified for rebuild; clearing superblock", l.disk)
			rebuilds++
			if l.firstUse {
				both++
			}
		}
	}
	if s.journal != nil {
		// The kernel means to leave the journal out, and looks at another
		// device for it (the test of Journal in super_init_validation).
		s.log("Device -1 specified for rebuild; clearing superblock")
		rebuilds++
	}
	switch {
	case fresh == len(s.dev):
		s.log("Superblocks created for new raid set")
		md.newArray = true
	case rebuilds == 0:
		if fresh != 0 && fresh != s.delta {
			s.log("New device injected into existing raid set without 'delta_disks' or 'rebuild' parameter specified")
			return badSuper()
		}
	case fresh != 0 && fresh != rebuilds:
		s.log("%d 'rebuild' devices cannot be injected into a raid set with %d other first-time devices", rebuilds, fresh)
		return badSuper()
	case both != 0 && rebuilds != both:
		plural := ""
		if fresh > 1 {
			plural = "s"
		}
		s.log("new device%s provided without 'rebuild'", plural)
		return badSuper()
	case !s.args.given[keyRebuild] && s.recovering():
		s.log("'rebuild' specified while raid set is not in-sync (recovery_cp=%d)", md.resync)
		return badSuper()
	case md.reshape != maxSector:
		s.log("'rebuild' specified while raid set is being reshaped (reshape_position=%d)", md.reshape)
		return badSuper()
	}
	return nil
}

// recovering is rs_is_recovering.
func (s *set) recovering() bool { return s.md.resync < s.md.devSectors }

// places checks the positions of the legs, and marks those faulty that the
// freshest superblock calls failed.
func (s *set) places(failed failedLegs) error {
	md := &s.md
	for _, l := range s.dev {
		if !l.listed() || l.sb == nil {
			continue
		}
		l.sb.clearFailed()
		if l.firstUse || l.disk < 0 {
			continue
		}
		role := l.sb.int(sbPosition)
		if role < 0 {
			continue
		}
		if role != l.disk {
			switch {
			case md.cur.level == 10 && isNear(md.cur.layout):
				if md.disks%nearCopies(md.cur.layout) != 0 || len(s.dev)%s.copies != 0 {
					return refuse(dmtest.EINVAL, "Cannot change raid10 near set to odd # of devices!")
				}
				l.sb.put32(sbPosition, uint32(l.disk))
			case md.cur.level == 10 && s.typ.level == 0, md.cur.level == 0 && s.typ.level == 10, s.typ.level == 1:
			default:
				return refuse(dmtest.EINVAL, "Cannot change device positions in raid set")
			}
			s.log("raid device #%d now at position #%d", role, l.disk)
		}
		if failed.has(role) {
			l.faulty = true
		}
	}
	return nil
}

// validate is super_validate: the state of a leg as its superblock says.
func (s *set) validate(l *leg) error {
	md := &s.md
	if md.cur.level == 0 || l.sb == nil || l.disk < 0 {
		return nil
	}
	if md.events == 0 {
		if err := s.initialize(l); err != nil {
			return err
		}
	}
	b := l.sb
	if c := b.u32(sbCompat); c != 0 && c != compatV190 {
		return refuse(dmtest.EINVAL, "Unable to assemble array: Unknown flag(s) in compatible feature flags")
	}
	if b.u32(sbIncompat) != 0 {
		return refuse(dmtest.EINVAL, "Unable to assemble array: No incompatible feature flags supported yet")
	}
	md.hasBitmap = s.typ.level != 0 && s.journal == nil
	if !l.firstUse {
		if b.extended() {
			l.sectors = b.u64(sbSectors)
		}
		l.recovery = b.u64(sbDiskRecovery)
		if l.recovery == maxSector {
			l.inSync = true
		} else if md.reshape == maxSector {
			l.inSync = false
		}
	}
	l.firstUse = false
	if l.faulty {
		// A leg that comes back is recovered, as far as the bitmap says.
		l.faulty, l.recovery, l.inSync, l.saved = false, 0, false, l.disk
	}
	l.offset, l.newOffset = b.u64(sbDataOffset), b.u64(sbNewDataOffset)
	return nil
}

// redundant is validate_raid_redundancy.
func (s *set) redundant() bool {
	md := &s.md
	out := func(l *leg) bool { return !l.inSync || l.sb == nil }
	missing := 0
	for _, l := range s.dev {
		if !l.firstUse && out(l) {
			missing++
		}
	}
	switch md.cur.level {
	case 0:
		return true
	case 1:
		return missing < md.disks
	case 4, 5, 6:
		return missing <= s.typ.parity
	case 10:
	default:
		return missing == 0
	}
	copies := copiesOf(md.next.layout)
	if copies < 2 {
		s.log("Bogus raid10 data copies < 2!")
		return false
	}
	if missing < copies {
		return true
	}
	disks := min(len(s.dev), md.disks)
	last := disks
	if !isNear(md.next.layout) {
		group := disks / copies
		last = (disks/group - 1) * group
	}
	inGroup := 0
	for i, l := range s.dev[:disks] {
		if i%copies == 0 && i <= last {
			inGroup = 0
		}
		if out(l) {
			if inGroup++; inGroup >= copies {
				return false
			}
		}
	}
	return true
}

// anyLeg finds a leg that md lists.
func (s *set) anyLeg() *leg {
	if i := slices.IndexFunc(s.dev, func(l *leg) bool { return l.listed() && l.sectors != 0 }); i >= 0 {
		return s.dev[i]
	}
	return nil
}
