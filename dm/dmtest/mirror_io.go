// SPDX-License-Identifier: MIT

package dmtest

import (
	"slices"
)

// raise raises an event. Called without mu.
func (m *mirror) raise(event bool) {
	if event {
		m.a.Event()
	}
}

// failLeg is fail_mirror: it notes an error of a kind, and says whether there
// is an event to raise. Called with mu held.
func (m *mirror) failLeg(l *mirrorLeg, kind *bool) (event bool) {
	m.legFailure = true
	l.failed = true
	known := *kind
	*kind = true
	switch {
	case known || !m.handleErrors:
		return false
	case l != m.first:
		return true
	case !m.inSync:
		m.a.Kernel().Log(logMirror, "Primary mirror (%s) failed while out-of-sync: Reads may fail.", l.dev.Name())
		return true
	}
	if valid := m.valid(); valid != nil {
		m.first = valid
	} else {
		m.a.Kernel().Log(logMirror, "All sides of mirror have failed.")
	}
	return true
}

// valid is get_valid_mirror.
func (m *mirror) valid() *mirrorLeg {
	if i := slices.IndexFunc(m.legs, func(l *mirrorLeg) bool { return !l.failed }); i >= 0 {
		return m.legs[i]
	}
	return nil
}

// choose is choose_mirror: the first leg, or one before it in the circle.
func (m *mirror) choose() *mirrorLeg {
	at := slices.Index(m.legs, m.first)
	for range m.legs {
		if !m.legs[at].failed {
			return m.legs[at]
		}
		at = (at + len(m.legs) - 1) % len(m.legs)
	}
	return nil
}

// each splits an I/O at regions.
func (m *mirror) each(sector, n uint64, f func(region, at, from, count uint64) error) error {
	for done := uint64(0); done < n; {
		at := sector + done
		count := min(n-done, m.log.region-at%m.log.region)
		if err := f(at/m.log.region, at, done, count); err != nil {
			return err
		}
		done += count
	}
	return nil
}

func (m *mirror) ReadSectors(p []byte, sector uint64) error {
	return m.each(sector, uint64(len(p)/sectorSize), func(region, at, from, n uint64) error {
		return m.read(region, p[from*sectorSize:(from+n)*sectorSize], at)
	})
}

func (m *mirror) read(region uint64, p []byte, at uint64) error {
	m.io.RLock()
	defer m.io.RUnlock()
	for {
		m.mu.Lock()
		l := m.first
		synced := m.log.inSync[region]
		if synced {
			l = m.choose()
		} else if l.failed {
			l = nil
		}
		m.mu.Unlock()
		if l == nil {
			return EIO
		}
		err := l.ReadSectors(p, at)
		if err == nil {
			return nil
		}
		m.mu.Lock()
		event := m.failLeg(l, &l.read)
		another := !m.first.failed || m.log.inSync[region] && m.choose() != nil
		if another {
			m.a.Kernel().Log(logMirror, "Mirror read failed from %s. Trying alternative device.", l.dev.Name())
		}
		m.mu.Unlock()
		m.raise(event)
		if !another {
			m.a.Kernel().Log(logMirror, "All replicated volumes dead, failing I/O")
			return EIO
		}
	}
}

func (m *mirror) WriteSectors(p []byte, sector uint64) error {
	return m.each(sector, uint64(len(p)/sectorSize), func(region, at, from, n uint64) error {
		q := p[from*sectorSize : (from+n)*sectorSize]
		return m.write(region, func(l *mirrorLeg) error { return l.WriteSectors(q, at) })
	})
}

// write sends a write of a region to all legs, or to the first alone while the
// region is out of sync.
func (m *mirror) write(region uint64, f func(*mirrorLeg) error) error {
	m.io.RLock()
	held := false
	defer func() {
		if !held {
			m.io.RUnlock()
		}
	}()
	m.mu.Lock()
	event, failed := false, false
	var err error
	if m.log.inSync[region] {
		event, err = m.log.mark(region, false)
		m.logFailure = m.logFailure || err != nil
		failed = m.logFailure && m.handleErrors
	} else if m.legFailure && m.handleErrors && !m.keepLog {
		failed = true
	} else {
		first := m.first
		m.mu.Unlock()
		return f(first)
	}
	m.mu.Unlock()
	m.raise(event)
	if !failed {
		failed = m.writeAll(f)
	}
	m.mu.Lock()
	if !failed {
		event, _ = m.log.mark(region, true)
		m.mu.Unlock()
		m.raise(event)
		return nil
	}
	// do_failures
	if !m.logFailure {
		m.inSync = false
		m.log.set(region, false)
	}
	hold := m.handleErrors && !m.keepLog
	dead := m.valid() == nil || m.keepLog && m.logFailure
	leaving := m.leaving
	m.mu.Unlock()
	switch {
	case dead:
		return EIO
	case !hold:
		return nil
	}
	held = true
	m.io.RUnlock()
	<-leaving
	if m.a.Noflush() {
		return errRequeue
	}
	return EIO
}

// writeAll writes on all legs and reports whether one failed.
func (m *mirror) writeAll(f func(*mirrorLeg) error) (failed bool) {
	for _, l := range m.legs {
		if err := f(l); err != nil {
			failed = true
			m.mu.Lock()
			event := m.failLeg(l, &l.write)
			m.mu.Unlock()
			m.raise(event)
		}
	}
	return failed
}

func (m *mirror) DiscardSectors(sector, n uint64) error {
	m.io.RLock()
	defer m.io.RUnlock()
	for _, l := range m.legs {
		if err := l.DiscardSectors(sector, n); err != nil {
			return err
		}
	}
	return nil
}

// copyOne copies the next region that is out of sync; ok is false when there
// is none.
func (m *mirror) copyOne() (ok bool) {
	m.mu.Lock()
	region, ok := m.log.work()
	m.mu.Unlock()
	m.copyRegion(region, ok)
	return ok
}

// copyRegion copies a region, if there is one, and raises the event of the end
// of the sync.
func (m *mirror) copyRegion(region uint64, ok bool) {
	m.io.Lock()
	defer m.io.Unlock()
	m.mu.Lock()
	from := m.first
	m.mu.Unlock()
	if ok {
		m.recover(region, from)
	}
	m.mu.Lock()
	event := !m.inSync && m.log.synced == m.log.count
	m.inSync = m.inSync || event
	m.mu.Unlock()
	m.raise(event)
}

// recover copies a region from a leg to the others (recover and
// recovery_complete).
func (m *mirror) recover(region uint64, from *mirrorLeg) {
	at := region * m.log.region
	end := min(at+m.log.region, m.a.Length)
	buf := make([]byte, min(end-at, chunkSize/sectorSize)*sectorSize)
	var readFailed bool
	bad := map[*mirrorLeg]bool{}
	for at < end && !readFailed {
		p := buf[:min(uint64(len(buf)), (end-at)*sectorSize)]
		if from.ReadSectors(p, at) != nil {
			readFailed = true
			break
		}
		for _, l := range m.legs {
			if l != from && l.WriteSectors(p, at) != nil {
				bad[l] = true
			}
		}
		at += uint64(len(p) / sectorSize)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	event := false
	k := m.a.Kernel()
	if readFailed {
		k.Log(logMirror, "Unable to read primary mirror during recovery")
		event = m.failLeg(from, &from.sync)
	}
	if len(bad) > 0 {
		bits, bit := 0, 0
		for _, l := range m.legs {
			if l == from {
				continue
			}
			if bad[l] {
				bits |= 1 << bit
			}
			bit++
		}
		k.Log(logMirror, "Write error during recovery (error = 0x%x)", bits)
		for _, l := range m.legs {
			if bad[l] {
				event = m.failLeg(l, &l.sync) || event
			}
		}
	}
	good := !readFailed && len(bad) == 0
	if good {
		e, _ := m.log.mark(region, true)
		event = event || e
	}
	m.log.set(region, good || !m.handleErrors)
	m.mu.Unlock()
	m.raise(event)
	m.mu.Lock()
}

// startCopying looks for the first region at once: what gets out of sync later
// waits for the next resume.
func (m *mirror) startCopying() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stop != nil {
		return
	}
	m.stop, m.done = make(chan struct{}), make(chan struct{})
	region, ok := m.log.work()
	go func(stop, done chan struct{}) {
		defer close(done)
		m.copyRegion(region, ok)
		for ok {
			select {
			case <-stop:
				return
			default:
				ok = m.copyOne()
			}
		}
	}(m.stop, m.done)
}

func (m *mirror) stopCopying() {
	m.mu.Lock()
	stop, done := m.stop, m.done
	m.stop = nil
	m.mu.Unlock()
	if stop != nil {
		close(stop)
		<-done
	}
}

// HoldResyncs says whether mirror targets wait for [Kernel.Resync] instead of
// copying their regions on their own from the resume on. It counts for those
// that are resumed later.
func (k *Kernel) HoldResyncs(hold bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.holdResyncs = hold
}

// Resync copies up to n regions of the mirror targets of a device, and
// returns how many are still out of sync. It ends the copying in the
// background until the next resume.
func (k *Kernel) Resync(name string, n int) (left int, err error) {
	live, release, err := k.holdTable("resync", name)
	if err != nil {
		return 0, err
	}
	defer release()
	found := false
	for _, ti := range live.targets {
		m, ok := ti.inst.(*mirror)
		if !ok {
			continue
		}
		found = true
		m.stopCopying()
		for n > 0 && m.copyOne() {
			n--
		}
		m.mu.Lock()
		left += int(m.log.count - m.log.synced)
		m.mu.Unlock()
	}
	if !found {
		return 0, EINVAL
	}
	return left, nil
}
