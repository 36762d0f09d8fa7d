// SPDX-License-Identifier: MIT

package dmtest

import (
	"encoding/binary"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

const (
	specSize   = 40      // struct dm_target_spec
	maxTargets = 1 << 20 // DM_MAX_TARGETS
)

func (t *Transport) tableLoad(p *param) error {
	k := t.k
	k.mu.Lock()
	d := k.find(p)
	k.mu.Unlock()
	if d == nil {
		return ENXIO
	}
	if p.targetCount() > maxTargets {
		return EOVERFLOW
	}
	next := &table{d: d, mode: modeRead | modeWrite}
	if p.has(dmwire.ReadOnly) {
		next.mode = modeRead
	}
	d.typeLock.Lock()
	err := next.populate(p)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		err = d.acceptType(next)
	}
	d.typeLock.Unlock()
	if err == nil && !d.hashed {
		k.logLocked("device-mapper: ioctl: device has been removed from the dev hash table.")
		err = ENXIO
	}
	if err != nil {
		next.destroy()
		return err
	}
	old := d.next
	d.next = next
	p.set(dmwire.InactivePresent)
	d.devStatusInto(p)
	if old != nil {
		old.destroy()
	}
	return nil
}

// acceptType is what table_load does between populate_table and the staging.
// Called with mu held.
func (d *device) acceptType(next *table) error {
	k := d.k
	if d.immutable != "" && d.immutable != next.immutable && !next.wildcard() {
		k.logLocked(sprintf("device-mapper: ioctl: can't replace immutable target type %s", d.immutable))
		return EINVAL
	}
	if d.typed {
		if old, kind := kindOf(d.requests), kindOf(next.requests); old != kind && !next.wildcard() {
			k.logLocked(sprintf("device-mapper: ioctl: can't change device type (old=%d vs new=%d) after initial table load.", old, kind))
			return EINVAL
		}
		return nil
	}
	// Only the first table is checked against the sizes of its devices at
	// once. Before 5.15 the type stayed even if this failed.
	d.typed = !k.lateDisk()
	if err := next.checkLimits(next.areas()); err != nil {
		k.logLocked("device-mapper: core: Cannot calculate initial queue limits")
		k.logLocked("device-mapper: ioctl: unable to set up device queue for new table.")
		return err
	}
	d.typed, d.requests = true, next.requests
	if !d.registered {
		d.register()
	}
	return nil
}

// wildcard is dm_table_get_wildcard_target.
func (t *table) wildcard() bool {
	for _, ti := range t.targets {
		if ti.typ.Wildcard {
			return true
		}
	}
	return false
}

// populate is populate_table of dm-ioctl.c. The records are walked one by
// one, because what is wrong with the first shows before what is wrong with
// the second. Called without mu.
func (t *table) populate(p *param) error {
	k := t.d.k
	count := p.targetCount()
	if count == 0 {
		k.Log(logIoctl, "populate_table: no targets specified")
		return EINVAL
	}
	// Linux 6.5 became strict: nothing may overlap and all is aligned.
	strict := k.version.AtLeast(4, 48)
	off, step, least := 0, int64(p.u32(offDataStart)), int64(specSize)
	if strict {
		least = dmwire.HeaderSize
	}
	for i := range count {
		if strict && step < least {
			over := "previous target"
			if i == 0 {
				over = "'struct dm_ioctl'"
			}
			k.Log(logIoctl, "populate_table: next target spec (offset %d) overlaps %s", step, over)
			return EINVAL
		}
		// The first record counts as the successor of the header.
		at := int64(off) + step
		params, ok := "", false
		switch {
		case strict && at+specSize >= int64(p.size):
			k.Log(logIoctl, "Target spec extends beyond end of parameters")
		case strict && step%8 != 0:
			k.Log(logIoctl, "Next dm_target_spec (offset %d) is not 8-byte aligned", step)
		case step < least || at > int64(p.size):
		default:
			params, ok = p.stringAt(int(at) + specSize)
			if !ok && strict {
				k.Log(logIoctl, "populate_table: target parameters not NUL-terminated")
				return EINVAL
			}
		}
		if !ok {
			k.Log(logIoctl, "unable to find target")
			return EINVAL
		}
		off = int(at)
		if strict {
			least = int64(specSize + len(params) + 1)
		}
		rec := p.b[off:]
		ne := binary.NativeEndian
		err := t.add(cstring(rec[24:specSize]), ne.Uint64(rec), ne.Uint64(rec[8:]), params)
		if err != nil {
			k.Log(logIoctl, "error adding target to table")
			return err
		}
		step = int64(ne.Uint32(rec[20:]))
	}
	return t.determineType()
}

func (t *Transport) tableClear(d *device, p *param) error {
	old := d.next
	d.next = nil
	p.unset(dmwire.InactivePresent)
	d.devStatusInto(p)
	if old != nil {
		old.destroy()
	}
	return nil
}

// wanted is dm_get_live_or_inactive_table, held against destruction until
// the returned function is called. Called with mu held.
func (d *device) wanted(p *param) (*table, func()) {
	t := d.live
	if p.has(dmwire.QueryInactive) {
		t = d.next
	}
	if t == nil {
		return nil, nil
	}
	t.refs++
	return t, func() { t.refs--; d.k.broadcast() }
}

func (t *Transport) tableDeps(d *device, p *param) error {
	d.devStatusInto(p)
	tab, put := d.wanted(p)
	if tab == nil {
		return nil
	}
	defer put()
	devs := make([]uint64, len(tab.devs))
	for i, dev := range tab.devs {
		devs[i] = dev.bdev.dev()
	}
	used, full := dmwire.PutDeps(p.result(), devs)
	if full {
		p.set(dmwire.BufferFull)
	} else {
		p.setDataSize(dmwire.HeaderSize + used)
	}
	return nil
}

func (t *Transport) tableStatus(d *device, p *param) error {
	d.devStatusInto(p)
	d.retrieve(p)
	return nil
}

// devWait sleeps until the event number is another than the caller's. It is
// interrupted by the Close of the transport, as the real one by a signal.
func (t *Transport) devWait(d *device, p *param) error {
	k := t.k
	nr := p.eventNr()
	d.holders++
	woken := k.waitUntil(t.closed, func() bool { return d.eventNr != nr })
	if woken {
		d.devStatusInto(p)
		d.retrieve(p)
	}
	d.holders--
	k.broadcast()
	if !woken {
		return EINTR
	}
	return nil
}

// retrieve is retrieve_status of dm-ioctl.c for the table that the flags
// ask for. Called with mu held, which it gives up for the targets.
func (d *device) retrieve(p *param) {
	tab, put := d.wanted(p)
	if tab == nil {
		return
	}
	d.unlocked(func() { tab.retrieve(p) })
	put()
}

func (t *table) retrieve(p *param) {
	out := p.result()
	flags := p.flags()
	off, used := 0, 0
	for _, ti := range t.targets {
		if len(out)-off <= specSize {
			p.set(dmwire.BufferFull)
			break
		}
		text := ti.text(flags)
		room := len(out) - off - specSize
		rec := out[off:]
		ne := binary.NativeEndian
		ne.PutUint64(rec, ti.start)
		ne.PutUint64(rec[8:], ti.length)
		ne.PutUint32(rec[16:], 0)
		// strncpy of 15 bytes: the rest is zeroed, the sixteenth not touched.
		clear(rec[24 : specSize-1])
		copy(rec[24:specSize-1], ti.typ.Name)
		n := copy(rec[specSize:specSize+room-1], text)
		rec[specSize+n] = 0
		if n+1 == room {
			// A text that fills the rest counts as cut off.
			p.set(dmwire.BufferFull)
			break
		}
		off += specSize + n + 1
		used = dmwire.HeaderSize + off
		if off = align8(off); off > len(out) {
			p.set(dmwire.BufferFull)
			break
		}
		ne.PutUint32(rec[20:], uint32(off))
	}
	if used > 0 {
		p.setDataSize(used)
	}
	p.setU32(offTargetCount, uint32(len(t.targets)))
}

// text is the status hook of the target.
func (ti *target) text(flags dmwire.Flags) string {
	switch {
	case flags&dmwire.StatusTable != 0:
		if x, ok := ti.inst.(Tabler); ok {
			return x.Table()
		}
	case flags&dmwire.IMAMeasurement != 0:
		if x, ok := ti.inst.(Measurer); ok {
			return x.IMA()
		}
	default:
		if x, ok := ti.inst.(Statuser); ok {
			return x.Status(flags&dmwire.NoFlush != 0)
		}
	}
	return ""
}
