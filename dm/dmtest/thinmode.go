// SPDX-License-Identifier: MIT

package dmtest

import (
	"strings"
	"syscall"
	"time"
)

// broadcast wakes I/O that waits for the pool. Called with mu held, as all
// that follows.
func (p *thinPool) broadcast() {
	close(p.wake)
	p.wake = make(chan struct{})
}

func (p *thinPool) event() {
	if p.bound != nil {
		p.bound.a.Event()
	}
}

func (p *thinPool) stopTimer() {
	if p.noSpace != nil {
		p.noSpace.Stop()
		p.noSpace = nil
	}
}

// setMode is set_pool_mode.
func (p *thinPool) setMode(mode poolMode) {
	old := p.pf.mode
	if mode == poolWrite && p.meta.needsCheck {
		p.k.Log(logThin, "%s: unable to switch pool to write mode until repaired.", p.md)
		if mode = old; old == poolWrite {
			mode = poolReadOnly
		}
	}
	if old == poolFail {
		mode = old
	}
	switch mode {
	case poolOutOfDataSpace:
		if !p.pf.errorIfNoRoom && p.timeout > 0 && p.noSpace == nil {
			p.noSpace = &noSpaceTimer{}
			t := p.noSpace
			t.Timer = time.AfterFunc(p.timeout, func() { p.timedOut(t) })
		}
	case poolWrite:
		p.stopTimer()
		if p.bound != nil {
			p.pf.errorIfNoRoom = p.bound.requested.errorIfNoRoom
		}
	}
	p.pf.mode = mode
	if p.bound != nil {
		p.bound.adjusted.mode = mode
	}
	if old != mode {
		p.modeChanged()
	}
	p.broadcast()
}

// modeChanged is notify_of_pool_mode_change.
func (p *thinPool) modeChanged() {
	text := [...]string{"write", "out-of-data-space", "read-only", "read-only", "fail"}[p.pf.mode]
	if p.pf.mode == poolOutOfDataSpace {
		if p.pf.errorIfNoRoom {
			text += " (error IO)"
		} else {
			text += " (queue IO)"
		}
	}
	p.event()
	p.k.Log(logThin, "%s: switching pool to %s mode", p.md, text)
}

// noSpaceTimer is told apart from one that was stopped too late.
type noSpaceTimer struct{ *time.Timer }

// timedOut is do_no_space_timeout.
func (p *thinPool) timedOut(timer *noSpaceTimer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.noSpace != timer {
		return
	}
	p.noSpace = nil
	if p.pf.mode == poolOutOfDataSpace && !p.pf.errorIfNoRoom {
		p.pf.errorIfNoRoom = true
		p.modeChanged()
		p.broadcast()
	}
}

// commit writes the metadata. The kernel does so once a second and with every
// flush too; here it happens when a status, a message, a suspend or a lack of
// blocks calls for it.
func (p *thinPool) commit() error {
	if p.pf.mode >= poolOutOfMetadataSpace {
		return EINVAL
	}
	if err := p.meta.write(p.k); err != nil {
		p.metadataFailed("dm_pool_commit_metadata", err)
		return err
	}
	usable, all := p.meta.freeMeta()
	if p.bound != nil {
		low := all <= p.bound.metaThreshold()
		if low && !p.metaSent {
			p.k.Log(logThin, "%s: reached low water mark for metadata device: sending event.", p.md)
			p.event()
		}
		p.metaSent = low
	}
	if usable == 0 {
		p.k.Log(logThin, "No free metadata blocks")
		p.setMode(poolOutOfMetadataSpace)
	}
	if p.pf.mode == poolOutOfDataSpace && p.meta.free() > 0 {
		p.setMode(poolWrite)
	}
	return nil
}

// metadataFailed is metadata_operation_failed: the transaction is taken back
// and the pool needs a check, or fails if what was committed can't be read.
func (p *thinPool) metadataFailed(op string, err error) {
	errno, _ := ctorErrno(err)
	k := p.k
	k.Log(logThin, "%s: metadata operation '%s' failed: error = %d", p.md, op, -int(errno))
	k.Log(logThin, "%s: aborting current metadata transaction", p.md)
	m, err := openThinMeta(k, p.metaDev, p.blockSize, false)
	if err != nil {
		k.Log(logThin, "%s: failed to abort metadata transaction", p.md)
		p.setMode(poolFail)
		k.Log(logThin, "%s: failed to set 'needs_check' flag in metadata", p.md)
		p.setMode(poolFail)
	} else {
		for id, v := range m.vols {
			if old := p.meta.vols[id]; p.open[id] > 0 && old != nil && old.mapped > v.mapped {
				v.lost = old.mapped - v.mapped
			}
		}
		p.meta = m
		m.needsCheck, m.changed = true, true
	}
	p.setMode(poolReadOnly)
}

// alloc is alloc_data_block.
func (p *thinPool) alloc() (uint64, error) {
	free := p.meta.free()
	if free <= p.lowWater && !p.lowSent {
		p.k.Log(logThin, "%s: reached low water mark for data device: sending event.", p.md)
		p.lowSent = true
		p.event()
	}
	if free == 0 {
		if err := p.commit(); err != nil {
			return 0, err
		}
		if p.meta.free() == 0 {
			p.setMode(poolOutOfDataSpace)
			return 0, ENOSPC
		}
	}
	block := p.meta.alloc()
	if usable, _ := p.meta.freeMeta(); usable == 0 {
		if err := p.commit(); err != nil {
			return 0, err
		}
	}
	return block, nil
}

// Message is pool_message.
func (pt *poolTarget) Message(argv []string) (string, error) {
	p := pt.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pf.mode >= poolOutOfMetadataSpace {
		p.k.Log(logThin, "%s: unable to service pool target messages in READ_ONLY or FAIL mode", p.md)
		return "", EOPNOTSUPP
	}
	err := p.message(argv)
	if err == nil {
		p.commit()
	}
	return "", err
}

func (p *thinPool) message(argv []string) error {
	warn := func(format string, args ...any) { p.k.Log(logThin, format, args...) }
	m := p.meta
	word := strings.ToLower(argv[0])
	want, known := map[string]int{
		"create_thin": 2, "create_snap": 3, "delete": 2, "set_transaction_id": 3,
		"reserve_metadata_snap": 1, "release_metadata_snap": 1,
	}[word]
	if !known {
		warn("Unrecognised thin pool target message received: %s", argv[0])
		return EINVAL
	}
	if len(argv) != want {
		warn("Message received with %d arguments instead of %d.", len(argv), want)
		return EINVAL
	}
	var n [2]uint64
	for i, s := range argv[1:] {
		var ok bool
		n[i], ok = parseUint(s)
		switch {
		case word == "set_transaction_id" && !ok:
			warn("set_transaction_id message: Unrecognised %sid %s.", [...]string{"", "new "}[i], s)
			return EINVAL
		case word != "set_transaction_id" && (!ok || n[i] > maxThinID):
			warn("Message received with invalid device id: %s", s)
			return EINVAL
		}
	}
	var err error
	switch word {
	case "create_thin":
		if err = m.create(uint32(n[0])); err != nil {
			warn("Creation of new thinly-provisioned device with id %s failed.", argv[1])
		}
	case "create_snap":
		if err = m.snap(uint32(n[0]), uint32(n[1])); err != nil {
			warn("Creation of new snapshot %s of device %s failed.", argv[1], argv[2])
		}
	case "delete":
		if err = p.delete(uint32(n[0])); err != nil {
			warn("Deletion of thin device %s failed.", argv[1])
		}
	case "set_transaction_id":
		if m.txid != n[0] {
			p.k.Log(logThinMeta, "mismatched transaction id")
			warn("Failed to change transaction id from %s to %s.", argv[1], argv[2])
			return EINVAL
		}
		m.txid, m.changed = n[1], true
	case "reserve_metadata_snap":
		p.commit()
		if err = p.meta.reserve(); err != nil {
			p.k.Log(logThinMeta, "Pool metadata snapshot already exists: release this before taking another.")
			warn("reserve_metadata_snap message failed.")
		}
	case "release_metadata_snap":
		if err = m.release(); err != nil {
			p.k.Log(logThinMeta, "No pool metadata snapshot found: nothing to release.")
			warn("release_metadata_snap message failed.")
		}
	}
	return err
}

func (p *thinPool) delete(id uint32) error {
	if p.meta.vols[id] != nil && p.open[id] > 0 {
		return EBUSY
	}
	return p.meta.remove(id)
}

// unserviceable is the error of an I/O that gets no block, 0 for one that waits.
func (p *thinPool) unserviceable() syscall.Errno {
	switch {
	case p.pf.mode != poolOutOfDataSpace:
		return EIO
	case p.pf.errorIfNoRoom:
		return ENOSPC
	}
	return 0
}
