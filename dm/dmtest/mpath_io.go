// SPDX-License-Identifier: MIT

package dmtest

import (
	"errors"
	"strings"
	"syscall"
)

// choose is choose_pgpath. Called with mu held.
func (m *multipath) choose(bytes int) *mpathPath {
	if m.validPaths() == 0 {
		m.waiting = false
		m.chosen, m.current = nil, nil
		return nil
	}
	tries := []**mpathGroup{&m.next, &m.current}
	if m.newer {
		tries[0], tries[1] = tries[1], tries[0]
	}
	for _, t := range tries {
		g := *t
		if g == nil {
			continue
		}
		if t == &m.next {
			m.next = nil
		}
		if p := m.chooseIn(g, bytes); p != nil {
			return p
		}
	}
	for _, bypassed := range []bool{false, true} {
		for _, g := range m.groups {
			if g.bypassed != bypassed {
				continue
			}
			if p := m.chooseIn(g, bytes); p != nil {
				return p
			}
		}
	}
	m.chosen, m.current = nil, nil
	return nil
}

func (m *multipath) chooseIn(g *mpathGroup, bytes int) *mpathPath {
	p := g.choose(bytes)
	if p != nil && m.current != g {
		m.chosen, m.current = p, g
		m.waiting, m.inits = false, 0
	}
	return p
}

func (m *multipath) validPaths() int {
	n := 0
	for _, g := range m.groups {
		n += len(g.valid)
	}
	return n
}

// look has all I/O that waits look again. Called with mu held.
func (m *multipath) look() {
	close(m.wake)
	m.wake = make(chan struct{})
}

// fail is fail_path, and reports whether there is an event to raise. Called
// with mu held.
func (m *multipath) fail(p *mpathPath) bool {
	if p.failed {
		return false
	}
	m.a.Kernel().Log(logMultipath, "%s: Failing path %s.", m.a.DeviceName(), p.dev.Name())
	p.group.drop(p)
	p.failed = true
	p.failures++
	if p == m.chosen {
		m.chosen = nil
	}
	m.look()
	return true
}

// reinstate is reinstate_path.
func (m *multipath) reinstate(p *mpathPath) bool {
	if !p.failed {
		return false
	}
	m.a.Kernel().Log(logMultipath, "%s: Reinstating path %s.", m.a.DeviceName(), p.dev.Name())
	p.group.reinstate(p)
	p.failed = false
	if m.validPaths() == 1 {
		m.chosen = nil
	}
	m.look()
	return true
}

// noretry are errors that say something of the request, not of the path
// (blk_path_error).
func noretry(err error) bool {
	var errno syscall.Errno
	return errors.Is(err, errNotSupported) || errors.As(err, &errno) && (errno == ENOSPC || errno == ENODATA)
}

// submit maps an I/O to a path, and to another when that fails. Without a path
// it waits, fails or goes back to the core.
func (m *multipath) submit(bytes int, f func(*Dev) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		p := m.choose(bytes)
		if p == nil {
			switch {
			case m.queue:
				wake := m.wake
				m.mu.Unlock()
				<-wake
				m.mu.Lock()
				continue
			case m.a.Noflush():
				return errRequeue
			}
			return EIO
		}
		p.inflight++
		p.bytes += bytes
		m.mu.Unlock()
		err := f(p.dev)
		m.mu.Lock()
		p.inflight--
		p.bytes -= bytes
		if err == nil || noretry(err) {
			return err
		}
		if m.fail(p) {
			m.mu.Unlock()
			m.a.Event()
			m.mu.Lock()
		}
	}
}

func (m *multipath) ReadSectors(p []byte, sector uint64) error {
	return m.submit(len(p), func(d *Dev) error { return d.ReadSectors(p, sector) })
}

func (m *multipath) WriteSectors(p []byte, sector uint64) error {
	return m.submit(len(p), func(d *Dev) error { return d.WriteSectors(p, sector) })
}

func (m *multipath) DiscardSectors(sector, n uint64) error {
	return m.submit(int(n*sectorSize), func(d *Dev) error { return d.DiscardSectors(sector, n) })
}

// Presuspend has I/O without a path fail, or go back to the core, so that the
// suspend comes to an end.
func (m *multipath) Presuspend() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaving = true
	m.saved = m.queue
	m.queue = false
	m.look()
}

func (m *multipath) PresuspendUndo() { m.Resume() }

func (m *multipath) Resume() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaving = false
	if m.saved {
		m.queue, m.saved = true, false
	}
}

func (m *multipath) Message(argv []string) (string, error) {
	if m.a.Suspended() {
		return "", EBUSY
	}
	event, err := m.message(argv)
	if event {
		m.a.Event()
	}
	return "", err
}

func (m *multipath) message(argv []string) (event bool, err error) {
	k := m.a.Kernel()
	name := strings.ToLower(argv[0])
	if len(argv) == 1 && (name == "queue_if_no_path" || name == "fail_if_no_path") {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.queue = name == "queue_if_no_path"; !m.queue {
			m.saved = false
		}
		m.look()
		return false, nil
	}
	if len(argv) != 2 {
		k.Log(logMultipath, "Invalid multipath message arguments. Expected 2 arguments, got %d.", len(argv))
		return false, EINVAL
	}
	switch name {
	case "switch_group":
		return m.switchGroup(argv[1])
	case "disable_group", "enable_group":
		return m.bypass(argv[1], name == "disable_group")
	case "fail_path", "reinstate_path":
	default:
		k.Log(logMultipath, "Unrecognised multipath message received: %s", argv[0])
		return false, EINVAL
	}
	k.mu.Lock()
	dev, errno := k.lookupDev(argv[1])
	if errno == 0 && !k.version.AtLeast(4, 48) {
		// 6.12 only compares the number; 6.1 opens the device.
		_, errno = k.blockDev(dev)
	}
	k.mu.Unlock()
	if errno != 0 {
		k.Log(logMultipath, "message: error getting device %s", argv[1])
		return false, errno
	}
	action := m.fail
	if name == "reinstate_path" {
		action = m.reinstate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	err = EINVAL
	for _, g := range m.groups {
		for _, p := range g.paths {
			if p.dev.bdev.dev() == dev {
				err = nil
				event = action(p) || event
			}
		}
	}
	return event, err
}

func (m *multipath) switchGroup(number string) (bool, error) {
	n, ok := scanUint(number)
	if !ok || n == 0 || int64(n) > int64(len(m.groups)) {
		m.a.Kernel().Log(logMultipath, "invalid PG number supplied to %s", "switch_pg_num")
		return false, EINVAL
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, g := range m.groups {
		g.bypassed = false
	}
	m.chosen, m.current, m.next = nil, nil, m.groups[n-1]
	return true, nil
}

func (m *multipath) bypass(number string, off bool) (bool, error) {
	n, ok := scanUint(number)
	if !ok || n == 0 || int64(n) > int64(len(m.groups)) {
		m.a.Kernel().Log(logMultipath, "invalid PG number supplied to bypass_pg")
		return false, EINVAL
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.groups[n-1].bypassed = off
	m.chosen, m.current = nil, nil
	return true, nil
}

// probe is probe_active_paths.
func (m *multipath) probe() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g := m.current; g != nil && !m.leaving && !m.waiting {
		for _, p := range g.paths {
			if p.failed {
				continue
			}
			m.mu.Unlock()
			err := p.dev.ReadSectors(make([]byte, p.dev.BlockSize()), 0)
			m.mu.Lock()
			if err != nil && !noretry(err) && m.fail(p) {
				m.mu.Unlock()
				m.a.Event()
				m.mu.Lock()
			}
		}
	}
	if m.validPaths() == 0 {
		return ENOTCONN
	}
	return nil
}

// ProbePaths is the DM_MPATH_PROBE_PATHS ioctl on the node of a device, which
// exists from interface 4.50 on.
func (t *Transport) ProbePaths(major, minor uint32) error {
	k := t.k
	k.mu.Lock()
	b, errno := k.blockDev(makeDev(major, minor))
	d, isDM := b.(*device)
	var live *table
	switch {
	case errno != 0:
	case !isDM || d.live == nil || len(d.live.targets) != 1 || !k.version.AtLeast(4, 50):
		errno = ENOTTY
	case d.suspended:
		errno = EAGAIN
	default:
		live = d.live
		live.refs++
	}
	k.mu.Unlock()
	if live == nil {
		return errno
	}
	defer func() {
		k.mu.Lock()
		live.refs--
		k.broadcast()
		k.mu.Unlock()
	}()
	if m, ok := live.targets[0].inst.(*multipath); ok {
		return m.probe()
	}
	return ENOTTY
}
