// SPDX-License-Identifier: MIT

package dmtest

import "maps"

// thinMeta is what a pool's metadata say: struct dm_pool_metadata of
// dm-thin-metadata.c. Volumes are trees of pages that share what they have in
// common, as the kernel's b-trees do. It is guarded by the pool's mu.
type thinMeta struct {
	dev       blockDev
	blockSize uint64 // of the data device, in sectors
	blocks    uint64 // of the metadata device, 4096 bytes each
	data      uint64 // blocks of the data device

	time       uint32 // counts snapshots
	txid       uint64
	needsCheck bool
	vols       map[uint32]*thinVol
	held       *heldMeta

	refs    map[uint64]uint32   // data block: pages that map it
	pending map[uint64]struct{} // freed since the last commit, which is when they can be had again
	begin   uint64              // where the search for a free block begins
	changed bool
	rooted  bool // volumes or mappings are among the changes
	area    int  // half of the metadata device that the last commit wrote
}

// thinVol is a volume: its mapping tree and its disk_device_details.
type thinVol struct {
	tree    *thinTree
	mapped  uint64 // blocks
	txid    uint64 // of the pool when it was made
	created uint32
	snapped uint32 // time of the last snapshot: older mappings count as shared

	// lost is what was mapped in a transaction that was taken back: the status
	// of a volume in use still counts it.
	lost uint64
}

// thinTree is the mapping tree of a volume, or of several until one of them
// changes. pages are by number of the block divided by leafMappings.
type thinTree struct {
	refs  int
	pages map[uint64]*thinPage
}

// thinPage stands for a leaf.
type thinPage struct {
	refs int
	at   map[uint64]thinMapping
}

type thinMapping struct {
	block uint64
	time  uint32
}

// heldMeta is the metadata snapshot of reserve_metadata_snap.
type heldMeta struct {
	block    uint64
	trees    []*thinTree
	diverged bool // the roots have changed since
}

// leafMappings is how many mappings a leaf of the kernel's tree holds. It
// keeps leaves nearly full when blocks are written in order.
const leafMappings = 252

func newThinMeta(dev blockDev, blockSize, blocks uint64) *thinMeta {
	return &thinMeta{
		dev: dev, blockSize: blockSize, blocks: blocks, time: 0, changed: true,
		vols: map[uint32]*thinVol{}, refs: map[uint64]uint32{}, pending: map[uint64]struct{}{},
	}
}

func newThinTree() *thinTree { return &thinTree{refs: 1, pages: map[uint64]*thinPage{}} }

// dirty notes a change of the mappings or the volumes.
func (m *thinMeta) dirty() {
	m.changed, m.rooted = true, true
	if m.held != nil {
		m.held.diverged = true
	}
}

// create is dm_pool_create_thin.
func (m *thinMeta) create(id uint32) error {
	if m.vols[id] != nil {
		return EEXIST
	}
	m.vols[id] = &thinVol{tree: newThinTree(), txid: m.txid, created: m.time, snapped: m.time}
	m.dirty()
	return nil
}

// snap is dm_pool_create_snap.
func (m *thinMeta) snap(id, origin uint32) error {
	if m.vols[id] != nil {
		return EEXIST
	}
	o := m.vols[origin]
	if o == nil {
		return ENODATA
	}
	m.time++
	o.tree.refs++
	o.snapped = m.time
	m.vols[id] = &thinVol{tree: o.tree, mapped: o.mapped, txid: m.txid, created: m.time, snapped: m.time}
	m.dirty()
	return nil
}

// remove is dm_pool_delete_thin_device.
func (m *thinMeta) remove(id uint32) error {
	v := m.vols[id]
	if v == nil {
		return ENODATA
	}
	delete(m.vols, id)
	m.dropTree(v.tree)
	m.dirty()
	return nil
}

// find is dm_thin_find_block. Whether a block is shared goes by time alone:
// it counts as such until its volume has its own copy, be the others gone.
func (v *thinVol) find(block uint64) (at thinMapping, shared, ok bool) {
	if page := v.tree.pages[block/leafMappings]; page != nil {
		at, ok = page.at[block]
	}
	return at, ok && v.snapped > at.time, ok
}

// insert is dm_thin_insert_block.
func (m *thinMeta) insert(v *thinVol, block, data uint64) {
	page := m.own(v, block)
	if old, ok := page.at[block]; ok {
		m.put(old.block)
	} else {
		v.mapped++
	}
	page.at[block] = thinMapping{data, m.time}
	m.dirty()
}

// unmap takes a mapping away, and reports whether nobody else has the block.
func (m *thinMeta) unmap(v *thinVol, block uint64) (data uint64, last bool) {
	page := m.own(v, block)
	data = page.at[block].block
	delete(page.at, block)
	if len(page.at) == 0 {
		delete(v.tree.pages, block/leafMappings)
	}
	v.mapped--
	m.put(data)
	m.dirty()
	return data, m.refs[data] == 0
}

// own makes the page of a block the volume's own.
func (m *thinMeta) own(v *thinVol, block uint64) *thinPage {
	if v.tree.refs > 1 {
		v.tree.refs--
		v.tree = &thinTree{refs: 1, pages: maps.Clone(v.tree.pages)}
		for _, page := range v.tree.pages {
			page.refs++
		}
	}
	i := block / leafMappings
	page := v.tree.pages[i]
	switch {
	case page == nil:
		page = &thinPage{refs: 1, at: map[uint64]thinMapping{}}
	case page.refs > 1:
		page.refs--
		page = &thinPage{refs: 1, at: maps.Clone(page.at)}
		for _, at := range page.at {
			m.refs[at.block]++
		}
	}
	v.tree.pages[i] = page
	return page
}

func (m *thinMeta) dropTree(t *thinTree) {
	if t.refs--; t.refs > 0 {
		return
	}
	for _, page := range t.pages {
		if page.refs--; page.refs > 0 {
			continue
		}
		for _, at := range page.at {
			m.put(at.block)
		}
	}
}

// put gives back a reference to a data block.
func (m *thinMeta) put(block uint64) {
	if m.refs[block]--; m.refs[block] == 0 {
		delete(m.refs, block)
		m.pending[block] = struct{}{}
	}
}

// free is the number of data blocks that can be had before a commit.
func (m *thinMeta) free() uint64 { return m.data - m.usedData() }

func (m *thinMeta) usedData() uint64 { return uint64(len(m.refs) + len(m.pending)) }

// alloc takes the first free block behind the last that was taken, as
// sm_disk_new_block does. The caller knows that there is one.
func (m *thinMeta) alloc() uint64 {
	for b := m.begin; ; b++ {
		if b >= m.data {
			b = 0
		}
		if _, freed := m.pending[b]; !freed && m.refs[b] == 0 {
			m.refs[b] = 1
			m.begin = b + 1
			m.changed = true
			return b
		}
	}
}

// highest is the last mapped block of a volume.
func (v *thinVol) highest() (block uint64, ok bool) {
	var last *thinPage
	at := uint64(0)
	for i, page := range v.tree.pages {
		if last == nil || i > at {
			last, at = page, i
		}
	}
	if last == nil {
		return 0, false
	}
	for b := range last.at {
		block = max(block, b)
	}
	return block, true
}

// reserve is __reserve_metadata_snap, behind its commit.
func (m *thinMeta) reserve() error {
	if m.held != nil {
		return EBUSY
	}
	// The kernel gives the first free block. Which one that is the model can't
	// tell; this one is beyond what is in use.
	m.held = &heldMeta{block: m.inUse()}
	for _, v := range m.vols {
		v.tree.refs++
		m.held.trees = append(m.held.trees, v.tree)
	}
	m.changed = true
	return nil
}

// release is __release_metadata_snap.
func (m *thinMeta) release() error {
	if m.held == nil {
		return EINVAL
	}
	for _, t := range m.held.trees {
		m.dropTree(t)
	}
	m.held = nil
	m.changed = true
	return nil
}

// bitmapEntries is how many blocks a block of a space map's bitmap covers.
const bitmapEntries = (4096 - 16) * 4

// inUse counts the metadata blocks in use. It is what the kernel has for
// volumes of up to 252 blocks, a leaf each, and for those that were written
// in order; otherwise the kernel needs more, since its leaves are not full.
func (m *thinMeta) inUse() uint64 {
	up := func(n, d uint64) uint64 { return (n + d - 1) / d }
	// The superblock; for both space maps a root of the bitmaps, the bitmaps
	// and a root of the counts beyond 2; the roots of the volumes and of their
	// details.
	n := 1 + 2 + up(m.blocks, bitmapEntries) + 2 + up(m.data, bitmapEntries) + 2
	trees, pages := map[*thinTree]bool{}, map[*thinPage]bool{}
	count := func(t *thinTree) {
		if trees[t] {
			return
		}
		trees[t] = true
		mapped := 0
		for _, page := range t.pages {
			mapped += len(page.at)
		}
		n++
		if mapped <= leafMappings {
			return
		}
		if inner := up(uint64(len(t.pages)), leafMappings); inner > 1 {
			n += inner
		}
		for _, page := range t.pages {
			if !pages[page] {
				pages[page] = true
				n++
			}
		}
	}
	for _, v := range m.vols {
		count(v.tree)
	}
	if m.held != nil {
		for _, t := range m.held.trees {
			count(t)
		}
		n++ // the copy of the superblock
		if m.held.diverged {
			n += 2 // the old roots
		}
	}
	return n
}

// freeMeta is the number of free metadata blocks, with and without the ones
// that the kernel holds back (__set_metadata_reserve).
func (m *thinMeta) freeMeta() (usable, all uint64) {
	if used := m.inUse(); used < m.blocks {
		all = m.blocks - used
	}
	if held := min(m.blocks/10, 4096); held < all {
		usable = all - held
	}
	return usable, all
}
