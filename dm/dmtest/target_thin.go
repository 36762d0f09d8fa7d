// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
)

// thin is struct thin_c: a table with a volume of a pool.
type thin struct {
	a       *Args
	pool    *thinPool
	poolDev *Dev
	origin  *Dev // outside of the pool, or nil
	id      uint32
	discard bool

	// Guarded by pool.mu.
	originSize uint64
	requeue    bool // I/O that waits goes back to the device: a suspend without a flush
}

func thinTarget(newer bool) Target {
	t := Target{Name: "thin", Version: [3]uint32{1, 22, 0}, Autoload: true, Module: "dm-thin-pool", New: newThin}
	if newer {
		t.Version[1] = 23
	}
	return t
}

func newThin(a *Args) (Instance, error) {
	argv := a.Argv
	if len(argv) != 2 && len(argv) != 3 {
		return nil, a.Fail(EINVAL, "Invalid argument count")
	}
	t := &thin{a: a}
	var err error
	if len(argv) == 3 {
		if argv[0] == argv[2] {
			return nil, a.Fail(EINVAL, "Error setting origin device")
		}
		if t.origin, err = a.OpenRead(argv[2]); err != nil {
			return nil, withText(err, "Error opening origin device")
		}
	}
	if t.poolDev, err = a.Open(argv[0]); err != nil {
		return nil, withText(err, "Error opening pool device")
	}
	id, ok := parseUint(argv[1])
	if !ok || id > maxThinID {
		return nil, a.Fail(EINVAL, "Invalid device id")
	}
	t.id = uint32(id)
	md, ok := t.poolDev.bdev.(*device)
	if !ok {
		return nil, a.Fail(EINVAL, "Couldn't get pool mapped device")
	}
	ps := &a.Kernel().thin
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.lookup(md)
	if p == nil {
		return nil, a.Fail(EINVAL, "Couldn't find pool object")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.pf.mode == poolFail:
		return nil, a.Fail(EINVAL, "Couldn't open thin device, Pool is in fail mode")
	case p.meta.vols[t.id] == nil:
		return nil, a.Fail(ENODATA, "Couldn't open thin internal device")
	case p.suspended:
		return nil, a.Fail(EINVAL, "Unable to activate thin device while pool is suspended")
	}
	p.refs++
	p.open[t.id]++
	t.pool, t.discard = p, p.pf.discard
	return t, nil
}

func (t *thin) Destroy() {
	p := t.pool
	p.k.thin.mu.Lock()
	defer p.k.thin.mu.Unlock()
	p.mu.Lock()
	p.open[t.id]--
	p.mu.Unlock()
	p.put()
}

// Devices is what the pool maps: volumes may be larger.
func (t *thin) Devices() []Area {
	p := t.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bound == nil || p.bound.a.Length < p.blockSize {
		return nil
	}
	return []Area{{t.poolDev, 0, p.bound.a.Length / p.blockSize * p.blockSize}}
}

func (t *thin) Preresume() error {
	if t.origin != nil {
		size := t.origin.Sectors()
		t.pool.mu.Lock()
		t.originSize = size
		t.pool.mu.Unlock()
	}
	return nil
}

func (t *thin) setRequeue(on bool) {
	t.pool.mu.Lock()
	defer t.pool.mu.Unlock()
	t.requeue = on
	t.pool.broadcast()
}

// Presuspend gives I/O that waits back, unless the suspend is to wait for it.
func (t *thin) Presuspend() {
	if t.a.Noflush() {
		t.setRequeue(true)
	}
}

func (t *thin) PresuspendUndo() { t.setRequeue(false) }
func (t *thin) Postsuspend()    { t.setRequeue(false) }

// failed is true when the pool has failed: then the table is gone too.
func (t *thin) failed() bool {
	t.pool.mu.Lock()
	defer t.pool.mu.Unlock()
	return t.pool.pf.mode == poolFail
}

func (t *thin) Table() string {
	if t.failed() {
		return "Fail"
	}
	text := fmt.Sprintf("%s %d", t.poolDev.Name(), t.id)
	if t.origin != nil {
		text += " " + t.origin.Name()
	}
	return text
}

func (t *thin) IMA() string {
	if t.failed() {
		return "Fail"
	}
	return ""
}

func (t *thin) Status(bool) string {
	p := t.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pf.mode == poolFail {
		return "Fail"
	}
	v := p.meta.vols[t.id]
	if v == nil {
		return "Error"
	}
	highest, ok := v.highest()
	mapped := (v.mapped + v.lost) * p.blockSize
	if !ok {
		return fmt.Sprintf("%d -", mapped)
	}
	return fmt.Sprintf("%d %d", mapped, (highest+1)*p.blockSize-1)
}
