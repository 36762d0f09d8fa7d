// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	logThin     = "thin"
	logThinMeta = "thin metadata"
	maxThinID   = 1<<24 - 1
)

// thinPools is the table of pools of a Kernel: dm_thin_pool_table.
type thinPools struct {
	mu      sync.Mutex // outside of a pool's mu, which is outside of Kernel.mu
	pools   []*thinPool
	timeout time.Duration // no_space_timeout
}

// SetNoSpaceTimeout sets for how long a full pool queues writes before it
// fails them: the parameter no_space_timeout of the module dm-thin-pool, 60
// seconds by default; 0 is for ever. It is read when a pool is made. As no
// signal ends such a write in the kernel, IO.Close does not end it here.
func (k *Kernel) SetNoSpaceTimeout(d time.Duration) {
	k.thin.mu.Lock()
	defer k.thin.mu.Unlock()
	k.thin.timeout = d
}

// poolMode is enum pool_mode, the worse the greater.
type poolMode uint8

const (
	poolWrite poolMode = iota
	poolOutOfDataSpace
	poolOutOfMetadataSpace
	poolReadOnly
	poolFail
)

// poolFeatures is struct pool_features.
type poolFeatures struct {
	mode                                   poolMode
	zero, discard, passdown, errorIfNoRoom bool
}

// thinPool is struct pool: one for each metadata device in use, whatever
// tables of its device come and go.
type thinPool struct {
	k         *Kernel
	md        *device
	metaDev   blockDev
	dataDev   uint64
	blockSize uint64
	timeout   time.Duration
	refs      int // guarded by thinPools.mu

	// io keeps the content of data blocks together with the mappings: what
	// only looks has it shared, what maps, copies or frees has it alone. It is
	// outside of mu.
	io sync.RWMutex

	mu        sync.Mutex
	wake      chan struct{} // closed and replaced when I/O that waits should look again
	meta      *thinMeta
	open      map[uint32]int // tables by volume
	bound     *poolTarget
	pf        poolFeatures
	lowWater  uint64
	lowSent   bool
	metaSent  bool
	suspended bool
	noSpace   *noSpaceTimer
}

// poolTarget is struct pool_c: a table of the pool's device.
type poolTarget struct {
	a              *Args
	pool           *thinPool
	metadata, data *Dev
	lowWater       uint64

	// Guarded by pool.mu.
	requested, adjusted poolFeatures
}

func thinPoolTarget(newer bool) Target {
	t := Target{
		Name: "thin-pool", Version: [3]uint32{1, 22, 0}, Autoload: true, Module: "dm-thin-pool",
		Singleton: true, AlwaysWriteable: true, Immutable: true, New: newThinPool,
	}
	if newer {
		t.Version[1] = 23
	}
	return t
}

// parseUint is kstrtoull in base 10.
func parseUint(s string) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(s, "+"), "\n"), 10, 64)
	return n, err == nil
}

func newThinPool(a *Args) (Instance, error) {
	argv := a.Argv
	if len(argv) < 4 {
		return nil, a.Fail(EINVAL, "Invalid argument count")
	}
	if argv[0] == argv[1] {
		return nil, a.Fail(EINVAL, "Error setting metadata or data device")
	}
	pf, text := parsePoolFeatures(argv[4:])
	if text != "" {
		return nil, a.Fail(EINVAL, text)
	}
	pt := &poolTarget{a: a, requested: pf, adjusted: pf}
	m := modeRead | modeWrite
	if pf.mode == poolReadOnly {
		m = modeRead
	}
	var err error
	if pt.metadata, err = a.t.open(argv[0], m); err != nil {
		return nil, withText(err, "Error opening metadata block device")
	}
	k := a.Kernel()
	if pt.metadata.Sectors() > warnThinMetadata {
		k.Log(logThin, "Metadata device %s is larger than %d sectors: excess space will not be used.", pt.metadata.bdev.diskName(), maxThinMetadata)
	}
	if pt.data, err = a.t.open(argv[1], modeRead|modeWrite); err != nil {
		return nil, withText(err, "Error getting data device")
	}
	blockSize, ok := parseUint(argv[2])
	if !ok || blockSize < 128 || blockSize > 1<<21 || blockSize%128 != 0 {
		return nil, a.Fail(EINVAL, "Invalid block size")
	}
	if pt.lowWater, ok = parseUint(argv[3]); !ok {
		return nil, a.Fail(EINVAL, "Invalid low water mark")
	}
	k.thin.mu.Lock()
	defer k.thin.mu.Unlock()
	made := false
	if pt.pool, made, err = k.thin.find(pt, blockSize); err != nil {
		return nil, err
	}
	p := pt.pool
	p.mu.Lock()
	discard, failed := p.pf.discard, p.pf.mode == poolFail
	p.mu.Unlock()
	switch {
	case !made && pf.discard != discard:
		p.put()
		return nil, a.Fail(EINVAL, "Discard support cannot be disabled once enabled")
	case failed:
		p.put()
		return nil, a.Fail(EINVAL, "Error registering metadata threshold")
	}
	return pt, nil
}

// parsePoolFeatures is parse_pool_features. What follows the features is not
// looked at.
func parsePoolFeatures(argv []string) (poolFeatures, string) {
	pf := poolFeatures{zero: true, discard: true, passdown: true}
	if len(argv) == 0 {
		return pf, ""
	}
	n, ok := scanUint(argv[0])
	if !ok || n > 4 || int(n) > len(argv)-1 {
		return pf, "Invalid number of pool feature arguments"
	}
	for _, f := range argv[1 : 1+n] {
		switch strings.ToLower(f) {
		case "skip_block_zeroing":
			pf.zero = false
		case "ignore_discard":
			pf.discard = false
		case "no_discard_passdown":
			pf.passdown = false
		case "read_only":
			pf.mode = poolReadOnly
		case "error_if_no_space":
			pf.errorIfNoRoom = true
		default:
			return pf, "Unrecognised pool feature requested"
		}
	}
	return pf, ""
}

// find is __pool_find: the pool of the metadata device, or a new one. Called
// with mu held.
func (ps *thinPools) find(pt *poolTarget, blockSize uint64) (p *thinPool, made bool, err error) {
	a := pt.a
	md, meta, data := a.t.d, pt.metadata.bdev, pt.data.bdev.dev()
	for _, p := range ps.pools {
		if p.metaDev.dev() == meta.dev() {
			switch {
			case p.md != md:
				return nil, false, a.Fail(EBUSY, "metadata device already in use by a pool")
			case p.dataDev != data:
				return nil, false, a.Fail(EBUSY, "data device already in use by a pool")
			}
			p.refs++
			return p, false, nil
		}
	}
	if ps.lookup(md) != nil {
		return nil, false, a.Fail(EINVAL, "different pool cannot replace a pool")
	}
	k := a.Kernel()
	m, err := openThinMeta(k, meta, blockSize, pt.requested.mode != poolReadOnly)
	if err != nil {
		return nil, false, withText(err, "Error creating metadata object")
	}
	p = &thinPool{
		k: k, md: md, metaDev: meta, dataDev: data, blockSize: blockSize, timeout: ps.timeout, refs: 1,
		wake: make(chan struct{}), meta: m, open: map[uint32]int{}, suspended: true,
		pf: poolFeatures{zero: true, discard: true, passdown: true},
	}
	ps.pools = append(ps.pools, p)
	return p, true, nil
}

// lookup is __pool_table_lookup. Called with mu held.
func (ps *thinPools) lookup(md *device) *thinPool {
	for _, p := range ps.pools {
		if p.md == md {
			return p
		}
	}
	return nil
}

// put is __pool_dec. Called with thinPools.mu held.
func (p *thinPool) put() {
	if p.refs--; p.refs > 0 {
		return
	}
	ps := &p.k.thin
	for i, o := range ps.pools {
		if o == p {
			ps.pools = append(ps.pools[:i:i], ps.pools[i+1:]...)
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopTimer()
	// dm_pool_metadata_close commits; a superblock that only became
	// needs_check is written out with the buffers.
	switch {
	case p.pf.mode < poolOutOfMetadataSpace:
		p.meta.write(p.k)
	case p.pf.mode < poolFail && p.meta.needsCheck && p.meta.changed:
		p.meta.store()
	}
}

func (pt *poolTarget) Destroy() {
	ps := &pt.pool.k.thin
	ps.mu.Lock()
	defer ps.mu.Unlock()
	pt.pool.mu.Lock()
	if pt.pool.bound == pt {
		pt.pool.bound = nil
	}
	pt.pool.mu.Unlock()
	pt.pool.put()
}

func (pt *poolTarget) Devices() []Area { return []Area{{pt.data, 0, pt.a.Length}} }

// IOHints is pool_io_hints: a data device without discards has none passed
// down.
func (pt *poolTarget) IOHints() {
	k := pt.a.Kernel()
	k.mu.Lock()
	ok := pt.data.bdev.discards()
	k.mu.Unlock()
	p := pt.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if pt.adjusted.discard && pt.adjusted.passdown && !ok {
		k.Log(logThin, "Data device (%s) discard unsupported: Disabling discard passdown.", pt.data.bdev.diskName())
		pt.adjusted.passdown = false
	}
}

// ReadSectors and WriteSectors map the data device as it is.
func (pt *poolTarget) ReadSectors(p []byte, sector uint64) error {
	return pt.data.ReadSectors(p, sector)
}

func (pt *poolTarget) WriteSectors(p []byte, sector uint64) error {
	return pt.data.WriteSectors(p, sector)
}

func (pt *poolTarget) DiscardSectors(sector, n uint64) error {
	if !pt.requested.discard || !pt.requested.passdown {
		return errNotSupported
	}
	return pt.data.DiscardSectors(sector, n)
}

// Preresume is pool_preresume: the table takes the pool over, and what has
// grown is put to use.
func (pt *poolTarget) Preresume() error {
	p := pt.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bind(pt)
	grew, err := pt.resizeData()
	if err == nil {
		var more bool
		more, err = pt.resizeMetadata()
		grew = grew || more
	}
	if err != nil && p.pf.mode != poolFail {
		return err
	}
	if grew {
		p.commit()
	}
	return nil
}

// bind is bind_control_target.
func (p *thinPool) bind(pt *poolTarget) {
	mode := pt.adjusted.mode
	pt.adjusted.mode = p.pf.mode
	p.bound = pt
	p.pf = pt.adjusted
	p.lowWater = pt.lowWater
	p.setMode(mode)
}

func (pt *poolTarget) resizeData() (grew bool, err error) {
	p, k := pt.pool, pt.pool.k
	have, want := p.meta.data, pt.a.Length/p.blockSize
	switch {
	case want < have:
		k.Log(logThin, "%s: pool target (%d blocks) too small: expected %d", p.md, want, have)
		return false, EINVAL
	case want == have:
		return false, nil
	case p.meta.needsCheck:
		k.Log(logThin, "%s: unable to grow the data device until repaired.", p.md)
		return false, nil
	case have > 0:
		k.Log(logThin, "%s: growing the data device from %d to %d blocks", p.md, have, want)
	}
	p.meta.data, p.meta.changed = want, true
	if p.meta.blocks < p.meta.inUse()+1 {
		k.Log("space map metadata", "unable to allocate new metadata block")
		p.metadataFailed("dm_pool_resize_data_dev", ENOSPC)
		return false, ENOSPC
	}
	return true, nil
}

func (pt *poolTarget) resizeMetadata() (grew bool, err error) {
	p, k := pt.pool, pt.pool.k
	have, want := p.meta.blocks, metadataBlocks(k, p.metaDev)
	switch {
	case want < have:
		k.Log(logThin, "%s: metadata device (%d blocks) too small: expected %d", p.md, want, have)
		return false, EINVAL
	case want == have:
		return false, nil
	case p.meta.needsCheck:
		k.Log(logThin, "%s: unable to grow the metadata device until repaired.", p.md)
		return false, nil
	}
	k.Log(logThin, "%s: growing the metadata device from %d to %d blocks", p.md, have, want)
	if p.pf.mode == poolOutOfMetadataSpace {
		p.setMode(poolWrite)
	}
	p.meta.blocks, p.meta.changed = want, true
	return true, nil
}

// Resume lets the volumes go on.
func (pt *poolTarget) Resume() {
	p := pt.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lowSent, p.suspended = false, false
	p.broadcast()
}

// Presuspend stops the volumes, as dm_internal_suspend_noflush does.
func (pt *poolTarget) Presuspend() {
	pt.pool.mu.Lock()
	defer pt.pool.mu.Unlock()
	pt.pool.suspended = true
}

func (pt *poolTarget) PresuspendUndo() {
	p := pt.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.suspended = false
	p.broadcast()
}

func (pt *poolTarget) Postsuspend() {
	p := pt.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopTimer()
	p.commit()
}

func (pt *poolTarget) Table() string {
	p := pt.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	pf := pt.requested
	var feat []string
	for _, f := range []struct {
		on   bool
		name string
	}{
		{!pf.zero, "skip_block_zeroing"}, {!pf.discard, "ignore_discard"}, {!pf.passdown, "no_discard_passdown"},
		{pf.mode == poolReadOnly, "read_only"}, {pf.errorIfNoRoom, "error_if_no_space"},
	} {
		if f.on {
			feat = append(feat, f.name+" ")
		}
	}
	return fmt.Sprintf("%s %s %d %d %d %s", pt.metadata.Name(), pt.data.Name(), p.blockSize, pt.lowWater, len(feat), strings.Join(feat, ""))
}

func (pt *poolTarget) Status(noflush bool) string {
	suspended := pt.a.Suspended()
	p := pt.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pf.mode == poolFail {
		return "Fail"
	}
	if !noflush && !suspended {
		p.commit()
		if p.pf.mode == poolFail {
			p.k.Log(logThin, "%s: dm_pool_get_metadata_transaction_id returned %d", p.md, -int(EINVAL))
			return "Error"
		}
	}
	m := p.meta
	held, check := "-", "-"
	if m.held != nil {
		held = strconv.FormatUint(m.held.block, 10)
	}
	if m.needsCheck {
		check = "needs_check"
	}
	mode := map[poolMode]string{poolWrite: "rw", poolOutOfDataSpace: "out_of_data_space"}[p.pf.mode]
	if mode == "" {
		mode = "ro"
	}
	discard := "no_discard_passdown"
	switch {
	case !p.pf.discard:
		discard = "ignore_discard"
	case p.pf.passdown:
		discard = "discard_passdown"
	}
	room := "queue_if_no_space"
	if p.pf.errorIfNoRoom {
		room = "error_if_no_space"
	}
	free, _ := m.freeMeta()
	return fmt.Sprintf("%d %d/%d %d/%d %s %s %s %s %s %d ", m.txid, m.blocks-free, m.blocks, m.usedData(), m.data,
		held, mode, discard, room, check, pt.metaThreshold())
}

// metaThreshold is calc_metadata_threshold.
func (pt *poolTarget) metaThreshold() uint64 {
	return min(1024, metadataBlocks(pt.pool.k, pt.metadata.bdev)/4)
}
