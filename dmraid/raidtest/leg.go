// SPDX-License-Identifier: MIT

package raidtest

import "github.com/linuxblock/linuxblock/dm/dmtest"

// leg is a position of the table with what md makes of it: struct raid_dev and
// its struct md_rdev.
type leg struct {
	at         int // in the table
	meta, data *dmtest.Dev

	disk  int // raid_disk: the position in the array, -1 for none
	saved int // saved_raid_disk: the position it had, so that a bitmap helps
	// in says that the personality has it: conf->disks[disk].rdev.
	in bool

	inSync      bool // In_sync
	faulty      bool // Faulty
	firstUse    bool // FirstUse: its superblock is being made
	writeMostly bool

	recovery      uint64 // recovery_offset
	offset        uint64 // data_offset
	newOffset     uint64 // new_data_offset
	sectors       uint64
	sb            superblock // the page of it, nil without a metadata device
	loaded        bool
	writtenEvents uint64 // sb_events
}

// listed says that md has the leg on its list, which is that it has data.
func (l *leg) listed() bool { return l.data != nil }

// readable says that sectors of the leg (without its data offset) are what
// they should be.
func (l *leg) readable(sector, n uint64) bool {
	return l != nil && l.in && !l.faulty && (l.inSync || l.recovery >= sector+n)
}

// writable says that the leg gets what is written.
func (l *leg) writable() bool { return l != nil && l.in && !l.faulty }
