// SPDX-License-Identifier: MIT

package dmtest

import (
	"cmp"
	"slices"
)

// cacheState is what the metadata device of a cache holds.
type cacheState struct {
	Version    int    // 2 keeps the dirty bits apart
	BlockSize  uint64 // sectors
	Blocks     uint64 // of the cache, for which there is room
	Map        []cacheEntry
	Hits       [4]uint32
	Hints      bool // was suspended once
	Clean      bool // was suspended: the dirty bits are right
	NeedsCheck bool
}

type cacheEntry struct {
	Index, Owner uint64
	Dirty        bool
}

// used is how many blocks of the metadata device are in use, as the kernel's
// trees would be: a root and leaves for the mapping and the discards, for the
// dirty bits in version 2, and after the first suspend for the hints.
func (s *cacheState) used(m *metadata, discards uint64) uint64 {
	n := m.spaceMaps() + 2 + leaves(s.Blocks, 8)
	if s.Version == 2 {
		n += 1 + bitset(s.Blocks)
	}
	if s.Hints {
		n += 1 + leaves(s.Blocks, 4) + bitset(discards)
	}
	return n
}

// discardBlocks is calculate_discard_block_size: at most 2^14 blocks.
func (c *cache) discardBlocks() uint64 {
	size := c.block
	for c.a.Length/size > 1<<14 {
		size *= 2
	}
	return (c.a.Length + size - 1) / size
}

// open reads the metadata, or formats the device.
func (c *cache) open() error {
	var s cacheState
	fresh, err := c.meta.load(&s)
	const text = "Error creating metadata object"
	switch {
	case err != nil:
		c.k.Log(c.meta.prefix, "couldn't read lock superblock")
		return withText(err, text)
	case fresh:
		s = cacheState{Version: 1, BlockSize: c.block, Clean: true}
		if c.metadata2 {
			s.Version = 2
		}
		if err := c.meta.save(&s); err != nil {
			return withText(err, text)
		}
	case s.BlockSize != c.block:
		c.k.Log(c.meta.prefix, "changing the data block size (from %d to %d) is not supported", s.BlockSize, c.block)
		return c.a.Fail(EINVAL, text)
	case s.NeedsCheck:
		c.k.Log(logCache, "%s: unable to switch cache to write mode until repaired.", c.a.DeviceName())
		return c.a.Fail(EINVAL, "Unable to get write access to metadata, please check/repair metadata.")
	}
	c.disk, c.hits = s, s.Hits
	return nil
}

// Preresume reads the mapping, which the table before this one may have
// changed since the constructor ran.
func (c *cache) Preresume() error {
	c.io.Lock()
	defer c.io.Unlock()
	if c.sized && !c.loaded {
		c.k.Log(logCache, "%s: unable to resume cache due to missing proper cache table reload", c.a.DeviceName())
		return EINVAL
	}
	if c.loaded {
		return nil
	}
	c.sized = true
	var s cacheState
	if _, err := c.meta.load(&s); err != nil {
		c.k.Log(logCache, "%s: could not load cache mappings", c.a.DeviceName())
		return err
	}
	byIndex, where, dirty := map[uint64]*cblock{}, map[uint64]*cblock{}, uint64(0)
	for _, m := range s.Map {
		b := &cblock{index: m.Index, owner: m.Owner, dirty: m.Dirty || !s.Clean}
		switch {
		case b.dirty && b.index >= c.blocks:
			c.k.Log(c.meta.prefix, "unable to shrink cache due to dirty blocks")
			c.k.Log(logCache, "%s: could not resize cache metadata", c.a.DeviceName())
			return EINVAL
		case b.dirty && c.mode == "passthrough":
			c.k.Log(logCache, "%s: cannot enter passthrough mode unless all blocks are clean", c.a.DeviceName())
			c.k.Log(c.meta.prefix, "policy couldn't load cache block %d", b.index)
			c.k.Log(logCache, "%s: could not load cache mappings", c.a.DeviceName())
			return EBUSY
		case b.index >= c.blocks:
			continue
		}
		byIndex[b.index], where[b.owner] = b, b
		if b.dirty {
			dirty++
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Blocks = c.blocks
	c.disk, c.byIndex, c.where, c.dirty, c.loaded = s, byIndex, where, dirty, true
	return nil
}

// Resume starts the policy's work.
func (c *cache) Resume() { c.k.startBackground(c, c.clean) }

// Presuspend ends it.
func (c *cache) Presuspend() { c.k.stopBackground(c) }

// PresuspendUndo takes it up again.
func (c *cache) PresuspendUndo() { c.Resume() }

// Postsuspend is sync_metadata: dirty bits, hints and counters are written.
func (c *cache) Postsuspend() { c.write(true) }

// Destroy leaves the mark on metadata that could not be written once.
func (c *cache) Destroy() {
	c.mu.Lock()
	failed := c.failed
	c.mu.Unlock()
	if failed != metaRO {
		return
	}
	var s cacheState
	if _, err := c.meta.load(&s); err == nil {
		s.NeedsCheck = true
		_ = c.meta.save(&s) // or the mark is lost, as in the kernel
	}
}

// write commits the metadata; clean says that nothing changes after it.
func (c *cache) write(clean bool) {
	c.commit.Lock()
	defer c.commit.Unlock()
	c.mu.Lock()
	if c.failed != metaRW || !c.loaded {
		c.mu.Unlock()
		return
	}
	s := c.disk
	s.Map = nil
	for _, b := range c.where {
		s.Map = append(s.Map, cacheEntry{b.index, b.owner, b.dirty})
	}
	s.Clean = clean
	if clean {
		s.Hints, s.Hits = true, c.hits
	}
	c.mu.Unlock()
	slices.SortFunc(s.Map, func(a, b cacheEntry) int { return cmp.Compare(a.Index, b.Index) })
	err := c.meta.save(&s)
	if err == nil {
		c.mu.Lock()
		c.disk = s
		c.mu.Unlock()
		return
	}
	c.broken("dm_cache_commit", err)
}

// broken is metadata_operation_failed: what was not written is taken back, and
// when even that is impossible the metadata are lost.
func (c *cache) broken(op string, err error) {
	errno, _ := ctorErrno(err)
	name := c.a.DeviceName()
	c.k.Log(logCache, "%s: metadata operation '%s' failed: error = %d", name, op, -int(errno))
	c.k.Log(logCache, "%s: aborting current metadata transaction", name)
	mode, word := metaRO, "read-only"
	if _, err := c.meta.load(&cacheState{}); err != nil {
		c.k.Log(logCache, "%s: failed to abort metadata transaction", name)
		mode, word = metaFail, "failure"
	}
	c.k.Log(logCache, "%s: switching cache to %s mode", name, word)
	c.mu.Lock()
	c.failed, c.needsCheck = mode, true
	c.mu.Unlock()
	c.a.Event()
}
