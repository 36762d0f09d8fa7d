// SPDX-License-Identifier: MIT

package dmtest

// thinStep is one try to serve a part of an I/O that lies in one block.
type thinStep int

const (
	thinDone  thinStep = iota
	thinWait           // for the pool to be resumed, or for space
	thinAlone          // again, with the pool's io held alone
)

// each cuts an I/O at the blocks and serves the parts one by one.
func (t *thin) each(p []byte, sector uint64, serve func(p []byte, block, at uint64, alone bool) (thinStep, error)) error {
	pool := t.pool
	for len(p) > 0 {
		block, at := sector/pool.blockSize, sector%pool.blockSize
		n := min(uint64(len(p))/sectorSize, pool.blockSize-at)
		if err := t.serve(func(alone bool) (thinStep, error) { return serve(p[:n*sectorSize], block, at, alone) }); err != nil {
			return err
		}
		p, sector = p[n*sectorSize:], sector+n
	}
	return nil
}

// serve tries until it is done.
func (t *thin) serve(try func(alone bool) (thinStep, error)) error {
	p := t.pool
	alone := false
	for {
		p.mu.Lock()
		wake, requeue, suspended := p.wake, t.requeue, p.suspended
		p.mu.Unlock()
		if requeue {
			return errRequeue
		}
		step := thinWait
		if !suspended {
			var err error
			if alone {
				p.io.Lock()
				step, err = try(true)
				p.io.Unlock()
			} else {
				p.io.RLock()
				step, err = try(false)
				p.io.RUnlock()
			}
			if err != nil {
				return err
			}
		}
		switch step {
		case thinDone:
			return nil
		case thinAlone:
			alone = true
		case thinWait:
			<-wake
		}
	}
}

// find looks a block up.
func (t *thin) find(block uint64) (at thinMapping, shared, mapped bool, mode poolMode) {
	p := t.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	mode = p.pf.mode
	v := p.meta.vols[t.id]
	if mode == poolFail || v == nil {
		return at, false, false, poolFail
	}
	at, shared, mapped = v.find(block)
	return at, shared, mapped, mode
}

func (t *thin) ReadSectors(p []byte, sector uint64) error { return t.each(p, sector, t.read) }

func (t *thin) read(p []byte, block, off uint64, _ bool) (thinStep, error) {
	at, _, mapped, mode := t.find(block)
	bs := t.pool.blockSize
	switch {
	case mode == poolFail:
		return 0, EIO
	case mapped:
		return thinDone, t.poolDev.ReadSectors(p, at.block*bs+off)
	case t.origin == nil:
		clear(p)
		return thinDone, nil
	}
	t.pool.mu.Lock()
	size := t.originSize
	t.pool.mu.Unlock()
	sector, n := block*bs+off, uint64(len(p))/sectorSize
	if mode == poolWrite {
		// A pool without write access does not look at the origin's size.
		clear(p)
		if sector >= size {
			return thinDone, nil
		}
		n = min(n, size-sector)
	}
	return thinDone, t.origin.ReadSectors(p[:n*sectorSize], sector)
}

func (t *thin) WriteSectors(p []byte, sector uint64) error { return t.each(p, sector, t.write) }

func (t *thin) write(p []byte, block, off uint64, alone bool) (thinStep, error) {
	at, shared, mapped, mode := t.find(block)
	pool := t.pool
	bs := pool.blockSize
	switch {
	case mode == poolFail:
		return 0, EIO
	case mapped && !shared:
		return thinDone, t.poolDev.WriteSectors(p, at.block*bs+off)
	case mode == poolWrite && !alone:
		return thinAlone, nil
	}
	pool.mu.Lock()
	data, err := uint64(0), error(ENOSPC)
	if mode == poolWrite {
		data, err = pool.alloc()
	}
	errno := pool.unserviceable()
	zero, size := pool.pf.zero, t.originSize
	pool.mu.Unlock()
	if err == ENOSPC {
		if errno != 0 {
			return 0, errno
		}
		return thinWait, nil
	}
	if err != nil {
		return 0, EIO
	}
	// A write of a whole block needs nothing else there. The block is lost to
	// the pool when this fails, as it is in the kernel.
	if uint64(len(p)) < bs*sectorSize {
		switch {
		case mapped:
			err = copySectors(t.poolDev, data*bs, t.poolDev, at.block*bs, bs)
		case t.origin != nil && block*bs < size:
			n := min(bs, size-block*bs)
			err = copySectors(t.poolDev, data*bs, t.origin, block*bs, n)
			if err == nil && n < bs && zero {
				err = copySectors(t.poolDev, data*bs+n, nil, 0, bs-n)
			}
		case zero:
			err = copySectors(t.poolDev, data*bs, nil, 0, bs)
		}
		if err != nil {
			return 0, EIO
		}
	} else if err := t.poolDev.WriteSectors(p, data*bs); err != nil {
		return 0, err
	}
	pool.mu.Lock()
	v := pool.meta.vols[t.id]
	failed := pool.pf.mode > poolOutOfDataSpace || v == nil
	if !failed {
		pool.meta.insert(v, block, data)
	}
	pool.mu.Unlock()
	switch {
	case failed:
		return 0, EIO
	case uint64(len(p)) < bs*sectorSize:
		return thinDone, t.poolDev.WriteSectors(p, data*bs+off)
	}
	return thinDone, nil
}

// copySectors copies from a device, or zeros from none.
func copySectors(dst *Dev, to uint64, src *Dev, from, n uint64) error {
	buf := make([]byte, min(n, 2048)*sectorSize)
	for n > 0 {
		m := min(n, 2048)
		if src != nil {
			if err := src.ReadSectors(buf[:m*sectorSize], from); err != nil {
				return err
			}
		}
		if err := dst.WriteSectors(buf[:m*sectorSize], to); err != nil {
			return err
		}
		to, from, n = to+m, from+m, n-m
	}
	return nil
}

// DiscardSectors takes the whole blocks in the range away.
func (t *thin) DiscardSectors(sector, n uint64) error {
	if !t.discard {
		return errNotSupported
	}
	bs := t.pool.blockSize
	begin, end := (sector+bs-1)/bs, (sector+n)/bs
	if begin >= end {
		return nil
	}
	return t.serve(func(alone bool) (thinStep, error) {
		if !alone {
			return thinAlone, nil
		}
		return thinDone, t.unmap(begin, end)
	})
}

func (t *thin) unmap(begin, end uint64) error {
	p := t.pool
	p.mu.Lock()
	v := p.meta.vols[t.id]
	switch {
	case p.pf.mode == poolFail || v == nil:
		p.mu.Unlock()
		return EIO
	case p.pf.mode >= poolOutOfMetadataSpace:
		p.mu.Unlock()
		return nil
	}
	var unused []uint64
	passdown := p.pf.passdown
	for i, page := range v.tree.pages {
		if (i+1)*leafMappings <= begin || i*leafMappings >= end {
			continue
		}
		for b := range page.at {
			if begin <= b && b < end {
				if data, last := p.meta.unmap(v, b); last {
					unused = append(unused, data)
				}
			}
		}
	}
	p.mu.Unlock()
	if passdown {
		for _, b := range unused {
			t.poolDev.DiscardSectors(b*p.blockSize, p.blockSize) // its failure does not matter
		}
	}
	// A full pool has room again.
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pf.mode == poolOutOfDataSpace {
		p.commit()
	}
	return nil
}
