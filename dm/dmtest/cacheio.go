// SPDX-License-Identifier: MIT

package dmtest

import (
	"cmp"
	"maps"
	"slices"
)

// each cuts an I/O at the blocks of the cache. The driver does not take the
// start of the target off (get_bio_block of dm-cache-target.c).
func (c *cache) each(p []byte, sector uint64, f func(q []byte, owner, in uint64) error) error {
	sector += c.a.Start
	for len(p) > 0 {
		in := sector % c.block
		n := min(uint64(len(p)/sectorSize), c.block-in)
		if err := f(p[:n*sectorSize], sector/c.block, in); err != nil {
			return err
		}
		p, sector = p[n*sectorSize:], sector+n
	}
	return nil
}

// beyond reports whether a block is the incomplete one at the end, which is
// never cached.
func (c *cache) beyond(owner uint64) bool { return owner >= c.a.Length/c.block }

func (c *cache) ReadSectors(p []byte, sector uint64) error {
	c.io.Lock()
	defer c.io.Unlock()
	return c.each(p, sector, func(q []byte, owner, in uint64) error {
		b := c.lookup(owner, 0)
		if b != nil && c.mode != "passthrough" {
			return c.fast.ReadSectors(q, b.index*c.block+in)
		}
		if err := c.origin.ReadSectors(q, owner*c.block+in); err != nil || b != nil {
			return err
		}
		return c.promoteMissed(owner)
	})
}

func (c *cache) WriteSectors(p []byte, sector uint64) error {
	c.io.Lock()
	err := c.each(p, sector, c.writeBlock)
	c.io.Unlock()
	c.k.kick(c)
	return err
}

func (c *cache) writeBlock(q []byte, owner, in uint64) error {
	whole := uint64(len(q)) == c.block*sectorSize
	if b := c.where[owner]; b == nil && whole && c.mode == "writeback" && !c.policy.cleaner && !c.beyond(owner) {
		if index, ok := c.free(); ok {
			if c.state() != metaRW {
				return EIO
			}
			if err := c.fast.WriteSectors(q, index*c.block); err != nil {
				return err
			}
			c.enter(index, owner, true)
			return nil
		}
	}
	b := c.lookup(owner, 2)
	switch {
	case b == nil:
		if err := c.origin.WriteSectors(q, owner*c.block+in); err != nil {
			return err
		}
		return c.promoteMissed(owner)
	case c.mode == "passthrough":
		c.mu.Lock()
		c.demotions++
		c.mu.Unlock()
		c.drop(b)
		return c.origin.WriteSectors(q, owner*c.block+in)
	case c.mode == "writethrough" && !b.dirty:
		if err := c.origin.WriteSectors(q, owner*c.block+in); err != nil {
			return err
		}
		return c.fast.WriteSectors(q, b.index*c.block+in)
	}
	if err := c.fast.WriteSectors(q, b.index*c.block+in); err != nil {
		return err
	}
	c.mark(b, true)
	return nil
}

// DiscardSectors leaves what is cached as it is: the kernel only tells its
// policy that a block need not be copied.
func (c *cache) DiscardSectors(sector, n uint64) error {
	if !c.passdown {
		return nil
	}
	return c.origin.DiscardSectors(sector+c.a.Start, n)
}

func (c *cache) state() metaMode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// lookup finds a block and counts a hit or a miss, of reads at kind 0 and of
// writes at kind 2. Called with io held, as all below are.
func (c *cache) lookup(owner uint64, kind int) *cblock {
	if c.beyond(owner) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.where[owner]
	if b == nil {
		c.hits[kind+1]++
		return nil
	}
	c.hits[kind]++
	c.clock++
	b.used = c.clock
	return b
}

// free is the lowest free block.
func (c *cache) free() (index uint64, ok bool) {
	for ; c.firstFree < c.blocks; c.firstFree++ {
		if c.byIndex[c.firstFree] == nil {
			return c.firstFree, true
		}
	}
	return 0, false
}

// inOrder are the blocks in use, by their place in the cache.
func (c *cache) inOrder() []*cblock {
	return slices.SortedFunc(maps.Values(c.byIndex), func(a, b *cblock) int { return cmp.Compare(a.index, b.index) })
}

// enter maps a block of the origin to a free one of the cache.
func (c *cache) enter(index, owner uint64, dirty bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	b := &cblock{index: index, owner: owner, dirty: dirty, used: c.clock}
	c.where[owner], c.byIndex[index] = b, b
	c.promotions++
	if dirty {
		c.dirty++
	}
}

// drop takes a block out of the cache.
func (c *cache) drop(b *cblock) {
	c.mark(b, false)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.where, b.owner)
	delete(c.byIndex, b.index)
	c.firstFree = min(c.firstFree, b.index)
}

func (c *cache) mark(b *cblock, dirty bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case dirty && !b.dirty:
		c.dirty++
	case !dirty && b.dirty:
		c.dirty--
	}
	b.dirty = dirty
}

// promoteMissed copies a block to the cache when it missed for the second
// time. A failure is none of the I/O that missed.
func (c *cache) promoteMissed(owner uint64) error {
	if c.mode == "passthrough" || c.policy.cleaner || c.beyond(owner) || c.state() != metaRW {
		return nil
	}
	if !c.missed[owner] {
		c.missed[owner] = true
		return nil
	}
	delete(c.missed, owner)
	index, ok := c.free()
	if !ok {
		old := c.oldest()
		if old == nil || c.writeBack(old) != nil {
			return nil
		}
		c.drop(old)
		c.mu.Lock()
		c.demotions++
		c.mu.Unlock()
		index = old.index
	}
	buf := make([]byte, c.block*sectorSize)
	if c.origin.ReadSectors(buf, owner*c.block) != nil || c.fast.WriteSectors(buf, index*c.block) != nil {
		return nil
	}
	c.enter(index, owner, false)
	return nil
}

// oldest is the block that was not used for the longest time.
func (c *cache) oldest() (old *cblock) {
	for _, b := range c.byIndex {
		if old == nil || b.used < old.used {
			old = b
		}
	}
	return old
}

func (c *cache) writeBack(b *cblock) error {
	if !b.dirty {
		return nil
	}
	buf := make([]byte, c.block*sectorSize)
	if err := c.fast.ReadSectors(buf, b.index*c.block); err != nil {
		return err
	}
	if err := c.origin.WriteSectors(buf, b.owner*c.block); err != nil {
		return err
	}
	c.mark(b, false)
	return nil
}

// clean is the work of the policy cleaner. What can't be written stays dirty
// until it is tried again.
func (c *cache) clean() {
	if !c.policy.cleaner {
		return
	}
	c.io.Lock()
	defer c.io.Unlock()
	for _, b := range c.inOrder() {
		_ = c.writeBack(b)
	}
}
