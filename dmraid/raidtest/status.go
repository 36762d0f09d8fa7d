// SPDX-License-Identifier: MIT

package raidtest

import (
	"fmt"
	"strings"

	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// Status is STATUSTYPE_INFO.
func (s *set) Status(bool) string { return s.lines.Load().status }

// Table is STATUSTYPE_TABLE.
func (s *set) Table() string { return s.lines.Load().table }

// IMA is STATUSTYPE_IMA.
func (s *set) IMA() string { return s.lines.Load().ima }

// action is decipher_sync_action.
func (s *set) action() string {
	md := &s.md
	switch {
	case md.frozen:
		return actFrozen
	case md.sync != nil:
		return md.sync.action
	case !md.readOnly && md.needed:
		switch {
		case md.syncing && !md.requested:
			return actResync
		case md.syncing && md.checking:
			return actCheck
		case md.syncing:
			return actRepair
		case md.recovering:
			return actRecover
		case md.reshape != maxSector:
			return actReshape
		}
	}
	return actIdle
}

// progress is rs_get_progress: how far the array is, and whether its legs
// count as in sync or as out of sync whatever their own state.
func (s *set) progress(action string, of uint64) (done uint64, inSync, resyncing bool) {
	md := &s.md
	if md.cur.level == 0 {
		return of, true, false
	}
	if action == actIdle && !md.intr {
		done = md.resync
	} else {
		done = md.completed
	}
	switch {
	case action == actIdle && done >= of:
		inSync = md.recovering
	case action == actRecover:
	case action == actResync || action == actReshape:
		resyncing = true
	case action == actCheck || action == actRepair:
		inSync = true
	case md.needed:
		resyncing = true
	default:
		inSync = true
		for _, l := range s.dev {
			if l.listed() && !l.inSync {
				inSync = false
			}
		}
	}
	return min(done, of), inSync, resyncing
}

func health(l *leg, inSync, resyncing bool) byte {
	switch {
	case !l.listed():
		return '-'
	case l.faulty:
		return 'D'
	case resyncing || !inSync && !l.inSync:
		return 'a'
	}
	return 'A'
}

func (s *set) journalHealth() byte {
	switch {
	case s.journal == nil:
		return '-'
	case s.args.writeBack:
		return 'a'
	}
	return 'A'
}

func (s *set) status() string {
	md := &s.md
	t := typeByLayout(md.next.level, md.next.layout)
	if t == nil {
		return ""
	}
	of := md.devSectors
	if s.preresumed {
		of = md.resyncMax
	}
	action := s.action()
	done, inSync, resyncing := s.progress(action, of)
	var legs []byte
	for _, l := range s.dev {
		legs = append(legs, health(l, inSync, resyncing))
	}
	mismatches := uint64(0)
	if md.lastAction == actCheck {
		mismatches = md.mismatches
	}
	return fmt.Sprintf("%s %d %s %d/%d %s %d %d %c", t.name, md.disks, legs, done, of, action, mismatches, s.dev[0].offset, s.journalHealth())
}

func (s *set) ima() string {
	md := &s.md
	t := typeByLayout(md.next.level, md.next.layout)
	if t == nil {
		return ""
	}
	var b strings.Builder
	action := s.action()
	_, inSync, resyncing := s.progress(action, md.resyncMax)
	fmt.Fprintf(&b, "target_name=raid,target_version=1.15.1,raid_type=%s,raid_disks=%d,raid_state=%s", t.name, md.disks, action)
	for i, l := range s.dev {
		fmt.Fprintf(&b, ",raid_device_%d_status=%c", i, health(l, inSync, resyncing))
	}
	if t.parity > 0 {
		mode := "writethrough"
		if s.args.writeBack {
			mode = "writeback"
		}
		b.WriteString(",journal_dev_mode=" + mode)
	}
	b.WriteString(";")
	return b.String()
}

func (s *set) table() string {
	md, a := &s.md, &s.args
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d %d", s.typ.name, a.params(), md.next.chunk)
	for k := range keyNearSets {
		if !a.given[k] {
			continue
		}
		switch k {
		case keySync, keyNosync:
			b.WriteString(" " + keyNames[k])
		case keyRebuild:
			for _, i := range a.rebuild {
				fmt.Fprintf(&b, " rebuild %d", i)
			}
		case keyWriteMostly:
			for _, i := range a.writeMostly {
				fmt.Fprintf(&b, " write_mostly %d", s.dev[i].disk)
			}
		default:
			fmt.Fprintf(&b, " %s %s", keyNames[k], s.value(k))
		}
	}
	fmt.Fprintf(&b, " %d", len(s.dev))
	for _, l := range s.dev {
		for _, d := range []*dmtest.Dev{l.meta, l.data} {
			if d == nil {
				b.WriteString(" -")
			} else {
				b.WriteString(" " + d.Name())
			}
		}
	}
	return b.String()
}

// value is what the table line has behind a parameter: what is now, not what
// was asked for.
func (s *set) value(k key) string {
	md, a := &s.md, &s.args
	n := a.number[k]
	switch k {
	case keyDaemonSleep:
		n = md.daemonSleep
	case keyWriteBehind:
		n = md.writeBehind
	case keyStripeCache:
		n = s.stripes
	case keyRegionSize:
		n = int(md.region)
	case keyCopies:
		n = copiesOf(md.cur.layout)
	case keyFormat:
		return formatOf(md.cur.layout)
	case keyDelta:
		n = max(s.delta, md.delta)
	case keyJournalDev:
		return s.journal.Name()
	case keyJournalMode:
		if a.writeBack {
			return "writeback"
		}
		return "writethrough"
	}
	return fmt.Sprint(n)
}
