// SPDX-License-Identifier: MIT

package dmraid

const (
	failedToRun = "Failed to run raid array"
	noRoomAhead = "No space for forward reshape"
	noRoomAfter = "No space for backward reshape"
)

// blind reports whether the constructor reads no superblock:
// analyse_superblocks leaves out legs without a metadata device, and all of
// them with the word sync. With raid0 what it reads changes nothing
// (super_validate).
func (c *constructor) blind() bool {
	if c.given[paramSync] || c.typ.level == 0 {
		return true
	}
	for _, l := range c.legs {
		if l.meta {
			return false
		}
	}
	return true
}

// late is raid_ctr behind the superblocks: rules that hold whatever they say,
// and all of them when they are not read.
func (c *constructor) late() error {
	var missing, rebuilt int
	for _, l := range c.legs {
		if !l.data {
			missing++
		}
		if l.rebuild {
			rebuilt++
		}
	}
	if missing == len(c.legs) {
		return checkFails(einval, "Invalid rdev size")
	}
	// rs_reshape_requested compares with what the superblocks say, which is
	// what the table says when there are none: but for delta_disks.
	if c.blind() && c.typ.parity > 0 && c.delta != 0 && c.given[paramJournal] {
		return checkFails(eperm, "Can't reshape a journaled raid4/5/6 set")
	}
	if err := c.room(); err != nil {
		return err
	}
	if err := c.run(missing, rebuilt); err != nil {
		return err
	}
	if err := c.running(missing+rebuilt > 0); err != nil {
		return err
	}
	// rs_check_reshape, when rs_prepare_reshape made it one: raid1 needs no
	// room for it, parity does.
	reshape := c.blind() && c.delta != 0 && (c.typ.level == 1 || c.typ.parity > 0 && c.offset != 0)
	if reshape && missing+rebuilt > 0 {
		return checkFails(eperm, "Can't reshape degraded raid set")
	}
	return nil
}

// running is what raid_ctr sets in the array when md runs it.
func (c *constructor) running(degraded bool) error {
	// r5l_init_log in raid5-cache.c, the last step of raid5_run
	if c.given[paramJournal] && len(c.legs) > maxJournalLegs {
		return checkFails(eio, failedToRun)
	}
	// r5c_journal_mode_set
	if c.given[paramMode] && c.mode == WriteBack && degraded {
		return checkFails(einval, "Failed to set raid4/5/6 journal mode")
	}
	// rs_set_raid456_stripe_cache
	if c.typ.parity > 0 {
		n := max(c.cache, c.chunk/2)
		if n != defaultStripeCache && (n < minStripes || n > maxStripes) {
			return checkFails(einval, "Failed to set raid4/5/6 stripe cache size")
		}
	}
	return nil
}

// room is rs_adjust_data_offsets. It looks at leg 0 alone, and does not look
// whether it is there: the kernel dies of a table where it is not.
func (c *constructor) room() error {
	if c.offset == 0 {
		return nil
	}
	if c.dies() {
		return checkFails(0, "data_offset without leg 0 crashes the kernel (rs_adjust_data_offsets)")
	}
	leg := c.legs[0]
	if c.env == nil || leg.size-c.devSectors >= minReshapeRoom {
		return nil
	}
	if c.delta > 0 {
		return checkFails(enospc, noRoomAhead)
	}
	return checkFails(enospc, noRoomAfter)
}

// dies reports whether the kernel does.
func (c *constructor) dies() bool { return c.offset != 0 && !c.legs[0].data }

// run is what the personalities of md refuse in their run method.
func (c *constructor) run(missing, rebuilt int) error {
	legs, meta := len(c.legs), 0
	for _, l := range c.legs {
		if l.meta {
			meta++
		}
	}
	// With rebuild for every leg no superblock is believed (super_load).
	decided := c.blind() || rebuilt == legs && meta == legs
	out := missing + rebuilt // of sync
	switch {
	case c.typ.level == 0 && missing > 0: // create_strip_zones in raid0.c
		return checkFails(einval, failedToRun)
	case c.typ.level == 1 && decided && out == legs: // raid1_run
		if legs == 1 && !c.blind() { // validate_raid_redundancy
			return checkFails(einval, "Insufficient redundancy to activate array")
		}
		return checkFails(einval, failedToRun)
	case c.typ.level == 10 && c.blind():
		// rs_set_cur takes the layout that the superblocks would have
		// given; setup_geo in raid10.c finds none.
		return checkFails(einval, failedToRun)
	case c.typ.level == 10 && decided && out == legs: // enough in raid10.c
		return checkFails(eio, failedToRun)
	case c.typ.level == 6 && legs < 4: // setup_conf in raid5.c
		return checkFails(einval, failedToRun)
	case c.typ.parity > 0 && decided && out > c.typ.parity: // raid5_run
		return checkFails(eio, failedToRun)
	}
	return nil
}
