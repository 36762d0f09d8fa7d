// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"strings"
	"sync"
)

// multipath is dm-mpath.c.
type multipath struct {
	a             *Args
	length        uint64
	newer         bool // 1.15: an attached handler is always retained
	requests      bool // request-based
	queue, saved  bool // queue_if_no_path, and what it was before a suspend
	retain        bool
	retries       uint32
	delay         uint32 // milliseconds, or pgInitDelayDefault
	groups        []*mpathGroup
	current, next *mpathGroup

	mu      sync.Mutex
	wake    chan struct{} // closed and made anew when waiting I/O should look again
	waiting bool          // QUEUE_IO: no group was chosen yet
	inits   uint32
	chosen  *mpathPath // current_pgpath
	leaving bool       // suspending
}

// mpathGroup is struct priority_group.
type mpathGroup struct {
	number   uint32
	selector *mpathSelector
	paths    []*mpathPath
	valid    []*mpathPath // in the selector's order
	bypassed bool

	weight, threshold uint32 // of historical-service-time
	misses            int    // of io-affinity
}

const (
	logMultipath       = "multipath"
	pgInitDelayDefault = 1<<32 - 1
)

func multipathTarget(minor uint32) Target {
	t := Target{Name: "multipath", Version: [3]uint32{1, 14, 0}, Autoload: true, Module: "dm-multipath", Singleton: true, Immutable: true}
	if minor >= 50 {
		t.Version[1] = 15
	}
	t.New = func(a *Args) (Instance, error) { return newMultipath(a, minor) }
	return t
}

func newMultipath(a *Args, minor uint32) (Instance, error) {
	m := &multipath{a: a, length: a.Length, newer: minor >= 50, requests: true, delay: pgInitDelayDefault, waiting: true, wake: make(chan struct{})}
	as := &argSet{a.Argv}
	if text := m.features(as); text != "" {
		return nil, a.Fail(EINVAL, text)
	}
	if !m.requests && !m.newer {
		m.retain = true
	}
	n, ok := as.group(1024)
	if !ok {
		return nil, a.Fail(EINVAL, "invalid number of hardware handler args")
	}
	handler := n > 0 && m.requests
	if n > 0 && !m.requests {
		a.Kernel().Log(logMultipath, "bio-based multipath doesn't allow hardware handler args")
	}
	as.take(n)
	groups, ok := as.read(0, 1024)
	if !ok {
		return nil, a.Fail(EINVAL, "invalid number of priority groups")
	}
	initial, ok := as.read(0, 1024)
	if !ok {
		return nil, a.Fail(EINVAL, "invalid initial priority group number")
	}
	if (groups == 0) != (initial == 0) {
		return nil, a.Fail(EINVAL, "invalid initial priority group")
	}
	for len(as.argv) > 0 {
		g, err := m.group(as, minor, handler)
		if err != nil {
			return nil, err
		}
		m.groups = append(m.groups, g)
		g.number = uint32(len(m.groups))
		if g.number == initial {
			m.next = g
		}
	}
	if len(m.groups) != int(groups) {
		return nil, a.Fail(EINVAL, "priority group count mismatch")
	}
	return m, nil
}

func (m *multipath) features(as *argSet) (text string) {
	n, ok := as.group(8)
	if !ok {
		return "invalid number of feature args"
	}
	for n > 0 {
		name, _ := as.shift()
		n--
		switch name = strings.ToLower(name); {
		case name == "queue_if_no_path":
			m.queue = true
			continue
		case name == "retain_attached_hw_handler":
			m.retain = !m.newer
			continue
		case n == 0:
			return "Unrecognised multipath feature request"
		}
		n--
		switch name {
		case "pg_init_retries":
			if m.retries, ok = as.read(1, 50); !ok {
				return "pg_init_retries must be between 1 and 50"
			}
		case "pg_init_delay_msecs":
			if m.delay, ok = as.read(0, 60000); !ok {
				return "pg_init_delay_msecs must be between 0 and 60000"
			}
		case "queue_mode":
			mode, _ := as.shift()
			switch strings.ToLower(mode) {
			case "bio":
				m.requests = false
			case "rq", "mq":
				m.requests = true
			default:
				return "Unknown 'queue_mode' requested"
			}
		default:
			return "Unrecognised multipath feature request"
		}
	}
	return ""
}

// group is parse_priority_group.
func (m *multipath) group(as *argSet, minor uint32, handler bool) (*mpathGroup, error) {
	a := m.a
	if len(as.argv) < 2 {
		return nil, a.Fail(EINVAL, "not enough priority group arguments")
	}
	name, _ := as.shift()
	selector := mpathSelectors[name]
	if selector == nil || name == "io-affinity" && minor < 44 {
		return nil, a.Fail(EINVAL, "unknown path selector type")
	}
	n, ok := as.group(1024)
	if !ok {
		return nil, a.Fail(EINVAL, "invalid number of path selector args")
	}
	s := *selector
	s.name = name
	g := &mpathGroup{selector: &s}
	if argv := as.take(n); s.create != nil && !s.create(g, argv) {
		return nil, a.Fail(EINVAL, "path selector constructor failed")
	}
	paths, ok := as.read(1, 1024)
	if !ok {
		return nil, a.Fail(EINVAL, "invalid number of paths")
	}
	words, ok := as.read(0, 1024)
	if !ok {
		return nil, a.Fail(EINVAL, "invalid number of selector args")
	}
	for range paths {
		if uint64(len(as.argv)) < uint64(words)+1 {
			return nil, a.Fail(EINVAL, "not enough path parameters")
		}
		argv := as.take(words + 1)
		dev, err := a.Open(argv[0])
		if err != nil {
			return nil, withText(err, "error getting device")
		}
		if handler {
			// No disk of the double is of SCSI.
			return nil, a.Fail(ENODEV, "error attaching hardware handler")
		}
		p := &mpathPath{group: g, dev: dev}
		if text := s.add(a, p, argv[1:]); text != "" {
			return nil, a.Fail(EINVAL, text)
		}
		g.paths = append(g.paths, p)
		g.valid = append(g.valid, p)
	}
	return g, nil
}

func (m *multipath) Devices() []Area {
	var list []Area
	for _, g := range m.groups {
		for _, p := range g.paths {
			list = append(list, Area{p.dev, 0, m.length})
		}
	}
	return list
}

// requestBased makes the table one of requests.
func (m *multipath) requestBased() bool { return m.requests }

func (m *multipath) Table() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var feat []string
	if m.queue {
		feat = append(feat, "queue_if_no_path")
	}
	if m.retries > 0 {
		feat = append(feat, "pg_init_retries", fmt.Sprint(m.retries))
	}
	if m.delay != pgInitDelayDefault {
		feat = append(feat, "pg_init_delay_msecs", fmt.Sprint(m.delay))
	}
	if m.retain {
		feat = append(feat, "retain_attached_hw_handler")
	}
	if !m.requests {
		feat = append(feat, "queue_mode", "bio")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d ", len(feat))
	for _, f := range feat {
		b.WriteString(f + " ")
	}
	fmt.Fprintf(&b, "0 %d %d ", len(m.groups), m.groupNumber())
	for _, g := range m.groups {
		fmt.Fprintf(&b, "%s %s%d %d ", g.selector.name, g.args(), len(g.paths), g.selector.tableArgs)
		for _, p := range g.paths {
			fmt.Fprintf(&b, "%s %s", p.dev.Name(), g.selector.table(p))
		}
	}
	return b.String()
}

func (g *mpathGroup) args() string {
	if g.selector.args == nil {
		return "0 "
	}
	return g.selector.args(g)
}

// groupNumber is what status and table give for the group.
func (m *multipath) groupNumber() uint32 {
	first, second := m.next, m.current
	if m.newer {
		first, second = second, first
	}
	switch {
	case first != nil:
		return first.number
	case second != nil:
		return second.number
	}
	return uint32(min(len(m.groups), 1))
}

func (m *multipath) state(g *mpathGroup) rune {
	switch {
	case g.bypassed:
		return 'D'
	case g == m.current:
		return 'A'
	}
	return 'E'
}

func (p *mpathPath) state() rune {
	if p.failed {
		return 'F'
	}
	return 'A'
}

func (m *multipath) Status(bool) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	waiting := 0
	if m.waiting {
		waiting = 1
	}
	fmt.Fprintf(&b, "2 %d %d 0 %d %d ", waiting, m.inits, len(m.groups), m.groupNumber())
	for _, g := range m.groups {
		fmt.Fprintf(&b, "%c %s%d %d ", m.state(g), g.args(), len(g.paths), g.selector.infoArgs)
		for _, p := range g.paths {
			fmt.Fprintf(&b, "%s %c %d ", p.dev.Name(), p.state(), p.failures)
			if g.selector.info != nil {
				b.WriteString(g.selector.info(p))
			}
		}
	}
	return b.String()
}

func (m *multipath) IMA() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	minor := 14
	if m.newer {
		minor = 15
	}
	var b strings.Builder
	fmt.Fprintf(&b, "target_name=multipath,target_version=1.%d.0,nr_priority_groups=%d", minor, len(m.groups))
	for i, g := range m.groups {
		fmt.Fprintf(&b, ",pg_state_%d=%c,nr_pgpaths_%d=%d,path_selector_name_%d=%s", i, m.state(g), i, len(g.paths), i, g.selector.name)
		for j, p := range g.paths {
			fmt.Fprintf(&b, ",path_name_%d_%d=%s,is_active_%d_%d=%c,fail_count_%d_%d=%d,path_selector_status_%d_%d=",
				i, j, p.dev.Name(), i, j, p.state(), i, j, p.failures, i, j)
		}
	}
	return b.String() + ";"
}
