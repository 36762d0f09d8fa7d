// SPDX-License-Identifier: MIT

package raidtest

import (
	"strings"

	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// Message is raid_message.
func (s *set) Message(argv []string) (string, error) {
	s.lock()
	defer s.unlock()
	md := &s.md
	if len(argv) == 0 || !md.running || !md.redundant() {
		return "", dmtest.EINVAL
	}
	word := strings.ToLower(argv[0])
	later := s.m.kernel.AtLeast(6, 9)
	if later && s.suspended {
		return "", dmtest.EBUSY
	}
	// The bit is cleared whatever the word is.
	md.frozen = word == actFrozen && !later
	switch {
	case later && (word == actIdle || word == actFrozen):
		// What runs is broken off; then the word is taken for an unknown one.
		if md.sync != nil {
			s.finish(true)
			md.needed = true
			s.thread()
		}
		return "", dmtest.EINVAL
	case word == actIdle || word == actFrozen:
		if md.sync != nil {
			s.finish(true)
		}
	case s.action() != actIdle:
		return "", dmtest.EBUSY
	default:
		switch word {
		case actResync:
		case actRecover:
			md.recovering = true
		case actCheck:
			md.checking, md.requested, md.syncing = true, true, true
		case actRepair:
			md.requested, md.syncing = true, true
		default:
			return "", dmtest.EINVAL
		}
	}
	md.needed = true
	s.thread()
	return "", nil
}
