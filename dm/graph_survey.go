// SPDX-License-Identifier: MIT

package dm

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/linuxblock/linuxblock/internal/blockdev"
	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// GraphOptions change Graph; the zero value looks at live tables, and at the
// devices that they map.
type GraphOptions struct {
	// Inactive looks at the tables in inactive slots too. They hold the
	// devices that they map open.
	Inactive bool
	// Layers goes beyond device-mapper, in sysfs: below the mapped devices
	// to the disks, through partitions, software RAID, loop devices and
	// whatever else says there what it stands on; and above them to the
	// devices of other drivers that hold them. A loop device on a mapped
	// device is not found, since nothing tells of it there.
	Layers bool
}

// Graph asks the driver for all devices and for what each maps
// (DM_LIST_DEVICES, and DM_TABLE_DEPS for each), and the machine for the names
// of those that are not device-mapper's.
//
// Other programs make and remove devices meanwhile, so the graph is no
// snapshot of one moment: each node with what is below it is. A device that is
// gone when it is asked is left out.
func (c *Client) Graph(ctx context.Context, opts GraphOptions) (*Graph, error) {
	if err := c.quick(ctx); err != nil {
		return nil, fail("graph", nil, err)
	}
	defer c.jobs.Done()
	s := survey{c: c, opts: opts, nodes: map[Dev]*Node{}}
	err := s.mapped(ctx)
	if err == nil {
		err = s.others(ctx)
	}
	if err != nil {
		return nil, fail("graph", nil, err)
	}
	return s.graph(), nil
}

// survey collects a graph.
type survey struct {
	c     *Client
	opts  GraphOptions
	nodes map[Dev]*Node
	major uint32 // of all mapped devices
}

// surveyRounds bounds the chase after devices that come and go.
const surveyRounds = 8

// mapped asks the driver. A device may turn up below another only after it
// was made: it is asked then. One that has gone may still be below another:
// that one is asked again.
func (s *survey) mapped(ctx context.Context) error {
	list, err := s.c.entries(request{cmd: dmwire.CmdListDevices, reply: true})
	if err != nil || len(list) == 0 {
		return err
	}
	s.major = list[0].Dev.Major
	ask := make([]Dev, len(list))
	for i, e := range list {
		ask[i] = e.Dev
	}
	gone := map[Dev]bool{}
	for round := 0; len(ask) > 0 && round < surveyRounds; round++ {
		answers, err := s.ask(ctx, ask)
		if err != nil {
			return err
		}
		for i, n := range answers {
			if gone[ask[i]] = n == nil; n == nil {
				delete(s.nodes, ask[i])
			} else {
				s.nodes[ask[i]] = n
			}
		}
		ask = s.unclear(gone)
	}
	return nil
}

// unclear lists the devices to be asked in the next round.
func (s *survey) unclear(gone map[Dev]bool) []Dev {
	again := map[Dev]bool{}
	for dev, n := range s.nodes {
		for _, d := range n.lower() {
			switch {
			case d.Major != s.major || s.nodes[d] != nil:
			case gone[d]:
				again[dev] = true
				again[d] = true // the number may be in use again
			default:
				again[d] = true
			}
		}
	}
	list := make([]Dev, 0, len(again))
	for d := range again {
		list = append(list, d)
	}
	return list
}

// Devices are asked by several goroutines, each with a share that is worth
// its start.
const (
	surveyors   = 8
	surveyShare = 32
)

// ask gives a node for each device, nil for one that is gone.
func (s *survey) ask(ctx context.Context, devs []Dev) ([]*Node, error) {
	answers := make([]*Node, len(devs))
	var next atomic.Int64
	var failed atomic.Pointer[error]
	work := func() {
		for failed.Load() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(devs) {
				return
			}
			err := ctx.Err()
			if err == nil {
				answers[i], err = s.askOne(devs[i])
			}
			if err != nil && !gone(err) {
				failed.CompareAndSwap(nil, &err)
			}
		}
	}
	var helpers sync.WaitGroup
	for range min(surveyors-1, (len(devs)-1)/surveyShare) {
		helpers.Go(work)
	}
	work()
	helpers.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return answers, nil
}

func (s *survey) askOne(dev Dev) (*Node, error) {
	info, deps, err := s.c.infoDeps(dev, false)
	if err != nil {
		return nil, err
	}
	n := &Node{Info: info, Kind: KindMapped, Below: deps}
	if s.opts.Inactive && info.InactiveTable {
		if _, n.InactiveBelow, err = s.c.infoDeps(dev, true); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// others looks up what is not the driver's: what is below the nodes so far,
// and with Layers what is below that, and what holds mapped devices.
func (s *survey) others(ctx context.Context) error {
	var todo []Dev
	for _, n := range s.nodes {
		todo = append(todo, n.lower()...)
	}
	if s.opts.Layers {
		holders, err := s.holders(ctx)
		if err != nil {
			return err
		}
		todo = append(todo, holders...)
	}
	for len(todo) > 0 {
		dev := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if s.nodes[dev] != nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.other(dev)
		if err != nil {
			return err
		}
		s.nodes[dev] = n
		todo = append(todo, n.lower()...)
	}
	return nil
}

// other looks one device up. It may be a mapped one, made only now.
func (s *survey) other(dev Dev) (*Node, error) {
	if dev.Major == s.major {
		n, err := s.askOne(dev)
		if gone(err) {
			return &Node{Info: Info{Dev: dev}, Kind: KindMissing}, nil
		}
		return n, err
	}
	n, err := s.c.host.layer(dev)
	if err != nil {
		return nil, &Error{Detail: "device " + dev.String(), Err: opaque{err}}
	}
	if !s.opts.Layers {
		n.Below = nil
	}
	return n, nil
}

// holders are the devices of other drivers on top of mapped ones. Only a
// device that is open more often than the driver itself can explain has some.
func (s *survey) holders(ctx context.Context) (list []Dev, err error) {
	m, ok := s.c.host.system.(*machine)
	if !ok {
		return nil, nil
	}
	users := map[Dev]int{}
	for _, n := range s.nodes {
		for _, d := range n.lower() {
			users[d]++
		}
	}
	for dev, n := range s.nodes {
		if n.Open <= users[dev] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		above, err := m.sysfs.Holders(dev.Major, dev.Minor)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, &Error{Detail: "holders of " + dev.String(), Err: opaque{err}}
		}
		for _, r := range above {
			list = append(list, Dev{r.Major, r.Minor})
		}
	}
	return list, nil
}

// layer is what the machine knows of a device of another driver.
func (h *host) layer(dev Dev) (*Node, error) {
	n := &Node{Info: Info{Dev: dev}, Kind: KindUnknown}
	var l blockdev.Layer
	var err error
	switch s := h.system.(type) {
	case *machine:
		l, err = s.sysfs.Layer(dev.Major, dev.Minor)
	case BlockNamer:
		l.Kind = blockdev.KindDisk
		l.Name, err = s.BlockName(dev.Major, dev.Minor)
	default:
		return n, nil
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		n.Kind = KindMissing
		return n, nil
	case err != nil:
		return nil, err
	}
	n.Kind, n.Name, n.File = Kind(l.Kind), Name(l.Name), l.File
	for _, r := range l.Below {
		n.Below = append(n.Below, Dev{r.Major, r.Minor})
	}
	return n, nil
}

// graph puts the nodes in order.
func (s *survey) graph() *Graph {
	g := &Graph{}
	for _, n := range s.nodes {
		g.Nodes = append(g.Nodes, *n)
	}
	g.sort()
	return g
}

// sort brings the nodes, and what is below each, into their order.
func (g *Graph) sort() {
	// Nodes are large and labels dear, so neither is moved or made twice.
	type key struct {
		label string
		at    int
	}
	keys := make([]key, len(g.Nodes))
	for i := range g.Nodes {
		keys[i] = key{g.Nodes[i].Label(), i}
	}
	slices.SortFunc(keys, func(a, b key) int {
		m, n := &g.Nodes[a.at], &g.Nodes[b.at]
		if (m.Name == "") != (n.Name == "") {
			return cmp.Compare(len(n.Name), len(m.Name))
		}
		if c := natural(a.label, b.label); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(m.Name, n.Name), m.Dev.compare(n.Dev))
	})
	var nodes []Node // nil when there are none
	if len(keys) > 0 {
		nodes = make([]Node, len(keys))
	}
	for i, k := range keys {
		nodes[i] = g.Nodes[k.at]
	}
	g.Nodes = nodes
	at := make(map[Dev]int, len(g.Nodes))
	for i, n := range g.Nodes {
		at[n.Dev] = i
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for _, list := range []*[]Dev{&n.Below, &n.InactiveBelow} {
			slices.SortFunc(*list, func(a, b Dev) int { return cmp.Compare(at[a], at[b]) })
			if *list = slices.Compact(*list); len(*list) == 0 {
				*list = nil // one way to say none
			}
		}
	}
}

func (d Dev) compare(e Dev) int {
	return cmp.Or(cmp.Compare(d.Major, e.Major), cmp.Compare(d.Minor, e.Minor))
}

// natural compares texts with the numbers in them taken as numbers. Texts
// that differ only in leading zeros are compared byte by byte.
func natural(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		i, j := digits(x), digits(y)
		if i > 0 && j > 0 {
			m, n := strings.TrimLeft(x[:i], "0"), strings.TrimLeft(y[:j], "0")
			if c := cmp.Or(cmp.Compare(len(m), len(n)), cmp.Compare(m, n)); c != 0 {
				return c
			}
			x, y = x[i:], y[j:]
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(a, b))
}

// digits is the length of the number that s begins with.
func digits(s string) int {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return i
		}
	}
	return len(s)
}
