// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// mpathPath is struct pgpath of dm-mpath.c and the selector's struct
// path_info of it.
type mpathPath struct {
	group    *mpathGroup
	dev      *Dev
	failed   bool
	failures uint32

	repeat, throughput uint32
	mask               uint64 // CPUs
	inflight, bytes    int    // I/Os and their size under way
}

// mpathSelector is what a group calls of struct path_selector_type.
type mpathSelector struct {
	name                string
	tableArgs, infoArgs int
	// create checks the arguments of the group.
	create func(g *mpathGroup, argv []string) bool
	// add reads the arguments of a path; text is why they are refused.
	add func(a *Args, p *mpathPath, argv []string) (text string)
	// better says whether p is to be preferred to q.
	better func(p, q *mpathPath, bytes int) bool
	// info and table print a path, args what belongs to the group.
	info, table func(p *mpathPath) string
	args        func(g *mpathGroup) string
}

const hstFixed1 = 1024 // HST_FIXED_1

// mpathCPUs is how many CPUs the double has: all I/O comes from the first.
const mpathCPUs = 2

// mpathSelectors are the selectors of a kernel that has them all. The
// historical service time does not change in the double.
var mpathSelectors = map[string]*mpathSelector{
	"round-robin": {
		tableArgs: 1,
		add: func(a *Args, p *mpathPath, argv []string) string {
			return p.repeatCount(a, "round-robin", argv, 1, true)
		},
		better: func(p, q *mpathPath, _ int) bool { return false },
		table:  func(p *mpathPath) string { return fmt.Sprintf("%d ", p.repeat) },
	},
	"queue-length": {
		tableArgs: 1, infoArgs: 1,
		add: func(a *Args, p *mpathPath, argv []string) string {
			return p.repeatCount(a, "queue-length", argv, 1, true)
		},
		better: func(p, q *mpathPath, _ int) bool { return p.inflight < q.inflight },
		info:   func(p *mpathPath) string { return fmt.Sprintf("%d ", p.inflight) },
		table:  func(p *mpathPath) string { return fmt.Sprintf("%d ", p.repeat) },
	},
	"service-time": {
		tableArgs: 2, infoArgs: 2,
		add:    addServiceTime,
		better: func(p, q *mpathPath, bytes int) bool { return serviceTime(p, q, bytes) < 0 },
		info:   func(p *mpathPath) string { return fmt.Sprintf("%d %d ", p.bytes, p.throughput) },
		table:  func(p *mpathPath) string { return fmt.Sprintf("%d %d ", p.repeat, p.throughput) },
	},
	"historical-service-time": {
		tableArgs: 1, infoArgs: 3,
		create: createHistorical,
		add: func(a *Args, p *mpathPath, argv []string) string {
			return p.repeatCount(a, "historical-service-time", argv, 1, false)
		},
		better: func(p, q *mpathPath, _ int) bool { return p.inflight < q.inflight },
		info:   func(p *mpathPath) string { return fmt.Sprintf("%d %d 0 ", hstFixed1, p.inflight) },
		table:  func(*mpathPath) string { return "0 " },
		args:   func(g *mpathGroup) string { return fmt.Sprintf("2 %d %d ", g.weight, g.threshold) },
	},
	"io-affinity": {
		tableArgs: 1, infoArgs: 1,
		add:    addAffinity,
		better: func(p, q *mpathPath, _ int) bool { return p.mask&1 > q.mask&1 },
		info:   func(p *mpathPath) string { return fmt.Sprintf("%d ", p.group.misses) },
		table:  func(p *mpathPath) string { return strconv.FormatUint(p.mask, 16) + " " },
	},
}

// repeatCount reads the only argument that most selectors take.
func (p *mpathPath) repeatCount(a *Args, selector string, argv []string, most int, forced bool) string {
	p.repeat = 1
	if len(argv) > most {
		return selector + " ps: incorrect number of arguments"
	}
	if len(argv) == 0 {
		return ""
	}
	n, ok := scanUint(argv[0])
	if !ok {
		return selector + " ps: invalid repeat count"
	}
	if p.repeat = n; n > 1 && forced {
		a.Kernel().Log("multipath "+selector, "repeat_count > 1 is deprecated, using 1 instead")
		p.repeat = 1
	}
	return ""
}

func addServiceTime(a *Args, p *mpathPath, argv []string) string {
	p.throughput = 1
	if text := p.repeatCount(a, "service-time", argv, 2, true); text != "" || len(argv) < 2 {
		return text
	}
	n, ok := scanUint(argv[1])
	if p.throughput = n; !ok || n > 100 {
		return "service-time ps: invalid relative_throughput value"
	}
	return ""
}

// serviceTime is st_compare_load.
func serviceTime(p, q *mpathPath, bytes int) int {
	pt, qt := int(p.throughput), int(q.throughput)
	switch {
	case pt == qt:
		return p.bytes - q.bytes
	case p.bytes == q.bytes || pt == 0 || qt == 0:
		return qt - pt
	}
	if a, b := (p.bytes+bytes)*qt, (q.bytes+bytes)*pt; a != b {
		return a - b
	}
	return qt - pt
}

func createHistorical(g *mpathGroup, argv []string) bool {
	g.weight = 972 // HST_FIXED_95
	if len(argv) > 2 {
		return false
	}
	ok := true
	if len(argv) > 0 {
		if g.weight, ok = scanUint(argv[0]); !ok || g.weight >= hstFixed1 {
			return false
		}
	}
	if len(argv) > 1 {
		g.threshold, ok = scanUint(argv[1])
	}
	return ok
}

func addAffinity(a *Args, p *mpathPath, argv []string) string {
	if len(argv) != 1 {
		return "io-affinity ps: invalid number of arguments"
	}
	mask, err := strconv.ParseUint(strings.ReplaceAll(argv[0], ",", ""), 16, 64)
	if err != nil || mask >= 1<<mpathCPUs {
		return "io-affinity ps: invalid cpumask"
	}
	p.mask = mask
	fresh := false
	for cpu := range mpathCPUs {
		if mask>>cpu&1 == 0 {
			continue
		}
		if slices.ContainsFunc(p.group.paths, func(o *mpathPath) bool { return o.mask>>cpu&1 == 1 }) {
			a.Kernel().Log("multipath io-affinity", "CPU mapping for %d exists. Ignoring.", cpu)
			continue
		}
		fresh = true
	}
	if !fresh {
		return "io-affinity ps: No new/valid CPU mapping found"
	}
	return ""
}

// choose is select_path: of the valid paths the best, the first of equals,
// which then goes to the end of the list.
func (g *mpathGroup) choose(bytes int) *mpathPath {
	if len(g.valid) == 0 {
		return nil
	}
	best := g.valid[0]
	for _, p := range g.valid[1:] {
		if g.selector.better(p, best, bytes) {
			best = p
		}
	}
	if g.selector.name == "io-affinity" {
		if !slices.ContainsFunc(g.paths, func(p *mpathPath) bool { return p.mask&1 == 1 }) {
			g.misses++
		}
		return best
	}
	g.drop(best)
	g.valid = append(g.valid, best)
	return best
}

// drop takes a path off the list of valid ones.
func (g *mpathGroup) drop(p *mpathPath) {
	g.valid = slices.DeleteFunc(g.valid, func(o *mpathPath) bool { return o == p })
}

// reinstate puts a path back: round-robin at the head, others at the end.
func (g *mpathGroup) reinstate(p *mpathPath) {
	if g.selector.name == "round-robin" {
		g.valid = slices.Insert(g.valid, 0, p)
	} else {
		g.valid = append(g.valid, p)
	}
}
