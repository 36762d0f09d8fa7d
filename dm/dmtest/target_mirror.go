// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"strings"
	"sync"
)

// mirror is dm-raid1.c. Its regions are copied one by one in the background,
// from the resume on.
type mirror struct {
	a            *Args
	log          *mirrorLog
	legs         []*mirrorLeg
	handleErrors bool
	keepLog      bool
	newer        bool // 1.15

	// io orders the copying of regions, which holds it alone, against other
	// I/O.
	io sync.RWMutex

	mu         sync.Mutex // guards what follows, and the log
	inSync     bool       // the event of the end of the sync was raised
	first      *mirrorLeg // where reads go
	legFailure bool
	logFailure bool
	leaving    chan struct{} // closed while suspending: writes that are held end
	stop, done chan struct{} // of the copying
}

// mirrorLeg is struct mirror.
type mirrorLeg struct {
	area
	failed            bool
	write, sync, read bool // the kinds of errors there were
}

const logMirror = "raid1"

func mirrorTarget(minor uint32) Target {
	t := Target{Name: "mirror", Version: [3]uint32{1, 14, 0}, Autoload: true, Module: "dm-mirror"}
	if minor >= 50 {
		t.Version[1] = 15
	}
	t.New = func(a *Args) (Instance, error) { return newMirror(a, minor) }
	return t
}

func newMirror(a *Args, minor uint32) (Instance, error) {
	m := &mirror{a: a, newer: minor >= 50, leaving: make(chan struct{})}
	if len(a.Argv) < 2 {
		return nil, a.Fail(EINVAL, "Insufficient mirror log arguments")
	}
	n, ok := scanUint(a.Argv[1])
	if !ok {
		return nil, a.Fail(EINVAL, "Invalid mirror log argument count")
	}
	if uint64(len(a.Argv)) < 2+uint64(n) {
		return nil, a.Fail(EINVAL, "Insufficient mirror log arguments")
	}
	if m.log = newMirrorLog(a, a.Argv[0], a.Argv[2:2+n]); m.log == nil {
		return nil, a.Fail(EINVAL, "Error creating mirror dirty log")
	}
	argv := a.Argv[2+n:]
	legs, ok := uint32(0), false
	if len(argv) > 0 {
		legs, ok = scanUint(argv[0])
	}
	if !ok || legs < 2 || legs > 9 {
		return nil, a.Fail(EINVAL, "Invalid number of mirrors")
	}
	if argv = argv[1:]; len(argv) < 2*int(legs) {
		return nil, a.Fail(EINVAL, "Too few mirror arguments")
	}
	for range legs {
		offset, ok := scanSector(argv[1])
		if !ok {
			return nil, a.Fail(EINVAL, "Invalid offset")
		}
		dev, err := a.Open(argv[0])
		if err != nil {
			return nil, a.Fail(ENXIO, "Device lookup failure")
		}
		m.legs = append(m.legs, &mirrorLeg{area: area{dev, offset, a.Length}})
		argv = argv[2:]
	}
	m.first = m.legs[0]
	// The kernel's thread looks at once, when nobody hears of its event.
	m.inSync = m.log.synced == m.log.count
	if text := m.features(argv); text != "" {
		return nil, a.Fail(EINVAL, text)
	}
	return m, nil
}

func (m *mirror) features(argv []string) (text string) {
	if len(argv) == 0 {
		return ""
	}
	n, ok := scanUint(argv[0])
	argv = argv[1:]
	switch {
	case !ok:
		return "Invalid number of features"
	case uint64(n) > uint64(len(argv)):
		return "Not enough arguments to support feature count"
	}
	for _, f := range argv[:n] {
		switch f {
		case "handle_errors":
			m.handleErrors = true
		case "keep_log":
			m.keepLog = true
		default:
			return "Unrecognised feature requested"
		}
	}
	switch {
	case m.keepLog && !m.handleErrors:
		return "keep_log feature requires the handle_errors feature"
	case int(n) < len(argv):
		return "Too many mirror arguments"
	}
	return ""
}

func (m *mirror) Devices() []Area {
	var list []Area
	for _, l := range m.legs {
		list = append(list, l.Devices()...)
	}
	return list
}

func (m *mirror) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%d", m.log.table(), len(m.legs))
	for _, l := range m.legs {
		fmt.Fprintf(&b, " %s", l.area)
	}
	switch {
	case m.keepLog:
		b.WriteString(" 2 handle_errors keep_log")
	case m.handleErrors:
		b.WriteString(" 1 handle_errors")
	}
	return b.String()
}

// health is device_status_char.
func (l *mirrorLeg) health() byte {
	switch {
	case !l.failed:
		return 'A'
	case l.write:
		return 'D'
	case l.sync:
		return 'S'
	case l.read:
		return 'R'
	}
	return 'U'
}

func (m *mirror) Status(bool) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d ", len(m.legs))
	var health []byte
	for _, l := range m.legs {
		b.WriteString(l.dev.Name() + " ")
		health = append(health, l.health())
	}
	fmt.Fprintf(&b, "%d/%d 1 %s %s", m.log.synced, m.log.count, health, m.log.status())
	return b.String()
}

func (m *mirror) IMA() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	minor := 14
	if m.newer {
		minor = 15
	}
	yn := map[bool]string{true: "y", false: "n"}
	var b strings.Builder
	fmt.Fprintf(&b, "target_name=mirror,target_version=1.%d.0,nr_mirrors=%d", minor, len(m.legs))
	for i, l := range m.legs {
		fmt.Fprintf(&b, ",mirror_device_%d=%s,mirror_device_%d_status=%c", i, l.dev.Name(), i, l.health())
	}
	fmt.Fprintf(&b, ",handle_errors=%s,keep_log=%s,log_type_status=;", yn[m.handleErrors], yn[m.keepLog])
	return b.String()
}

// Presuspend ends the copying and lets go of writes that are held.
func (m *mirror) Presuspend() {
	m.mu.Lock()
	select {
	case <-m.leaving:
	default:
		close(m.leaving)
	}
	m.mu.Unlock()
	m.stopCopying()
}

func (m *mirror) PresuspendUndo() { m.restart(false) }

func (m *mirror) Resume() { m.restart(true) }

func (m *mirror) restart(log bool) {
	m.mu.Lock()
	select {
	case <-m.leaving:
		m.leaving = make(chan struct{})
	default:
	}
	event := log && m.log.resume()
	m.log.search = 0
	m.mu.Unlock()
	if event {
		m.a.Event()
	}
	k := m.a.Kernel()
	k.mu.Lock()
	hold := k.holdResyncs
	k.mu.Unlock()
	if !hold {
		m.startCopying()
	}
}

func (m *mirror) Destroy() { m.stopCopying() }
