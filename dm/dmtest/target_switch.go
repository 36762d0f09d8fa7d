// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// switchTable is dm-switch.c.
type switchTable struct {
	k      *Kernel
	region uint64 // sectors
	count  uint64 // of regions
	paths  []area

	mu    sync.Mutex
	moved map[uint64]uint32 // regions that are not where they were at first
}

const logSwitch = "switch"

func switchTarget() Target {
	return Target{Name: "switch", Version: [3]uint32{1, 1, 0}, Autoload: true, Module: "dm-switch", New: newSwitch}
}

func newSwitch(a *Args) (Instance, error) {
	as := argSet{a.Argv}
	n, ok := as.read(1, 1<<18)
	if !ok {
		return nil, a.Fail(EINVAL, "Invalid number of paths")
	}
	region, ok := as.read(1, 1<<32-1)
	if !ok {
		return nil, a.Fail(EINVAL, "Invalid region size")
	}
	if _, ok := as.group(0); !ok {
		return nil, a.Fail(EINVAL, "Invalid number of optional args")
	}
	if uint64(len(as.argv)) != 2*uint64(n) {
		return nil, a.Fail(EINVAL, "Incorrect number of path arguments")
	}
	s := &switchTable{k: a.Kernel(), region: uint64(region), moved: map[uint64]uint32{}}
	s.count = a.Length / s.region
	if a.Length%s.region != 0 {
		s.count++
	}
	for len(as.argv) > 0 {
		arg := as.take(2)
		dev, err := a.Open(arg[0])
		if err != nil {
			return nil, withText(err, "Device lookup failed")
		}
		start, err := strconv.ParseUint(arg[1], 10, 64)
		if err != nil {
			return nil, a.Fail(EINVAL, "Invalid device starting offset")
		}
		s.paths = append(s.paths, area{dev, start, a.Length})
	}
	return s, nil
}

func (s *switchTable) Devices() []Area {
	var list []Area
	for _, p := range s.paths {
		list = append(list, p.Devices()...)
	}
	return list
}

func (s *switchTable) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %d 0", len(s.paths), s.region)
	for _, p := range s.paths {
		fmt.Fprintf(&b, " %s", p)
	}
	return b.String()
}

// path is switch_region_table_read. The table starts in turn over the paths.
// Called with mu held.
func (s *switchTable) path(region uint64) uint32 {
	if p, ok := s.moved[region]; ok {
		return p
	}
	return uint32(region % uint64(len(s.paths)))
}

func (s *switchTable) Message(argv []string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.EqualFold(argv[0], "set_region_mappings") {
		s.k.Log(logSwitch, "Unrecognised message received.")
		return "", EINVAL
	}
	at := uint64(0)
	for _, arg := range argv[1:] {
		var text string
		if arg != "" && arg[0]&0xdf == 'R' {
			at, text = s.repeat(at, arg)
		} else {
			at, text = s.set(at, arg)
		}
		if text != "" {
			s.k.Log(logSwitch, "%s", text)
			return "", EINVAL
		}
	}
	return "", nil
}

// set is an argument "index:path" or ":path"; text is why it is refused.
func (s *switchTable) set(at uint64, arg string) (next uint64, text string) {
	bad := fmt.Sprintf("invalid set_region_mappings argument: '%s'", arg)
	index, path, found := strings.Cut(arg, ":")
	if !found || path == "" {
		return at, bad
	}
	at++
	if index != "" {
		var ok bool
		if at, ok = parseHex(index); !ok {
			return at, bad
		}
	}
	p, ok := parseHex(path)
	switch {
	case !ok:
		return at, bad
	case at >= s.count:
		return at, fmt.Sprintf("invalid set_region_mappings region number: %d >= %d", at, s.count)
	case p >= uint64(len(s.paths)):
		return at, fmt.Sprintf("invalid set_region_mappings device: %d >= %d", p, len(s.paths))
	}
	s.moved[at] = uint32(p)
	return at, ""
}

// repeat is an argument "Rn,m": the last n regions again for m more.
func (s *switchTable) repeat(at uint64, arg string) (next uint64, text string) {
	bad := fmt.Sprintf("invalid set_region_mappings argument: '%s'", arg)
	a, b, found := strings.Cut(arg[1:], ",")
	if !found || a == "" || b == "" {
		return at, bad
	}
	cycle, ok1 := parseHex(a)
	n, ok2 := parseHex(b)
	switch {
	case !ok1 || !ok2:
		return at, bad
	case cycle == 0 || cycle-1 > at:
		return at, fmt.Sprintf("invalid set_region_mappings cycle length: %d > %d", cycle-1, at)
	case at+n < at || at+n >= s.count:
		return at, fmt.Sprintf("invalid set_region_mappings region number: %d + %d >= %d", at, n, s.count)
	}
	for range n {
		at++
		s.moved[at] = s.path(at - cycle)
	}
	return at, ""
}

// parseHex is parse_hex up to the end; what does not fit is shifted out.
func parseHex(s string) (n uint64, ok bool) {
	for i := range len(s) {
		d, err := strconv.ParseUint(s[i:i+1], 16, 8)
		if err != nil {
			return 0, false
		}
		n = n<<4 | d
	}
	return n, true
}

// each splits an I/O at regions.
func (s *switchTable) each(sector, n uint64, f func(p area, at, from, count uint64) error) error {
	for done := uint64(0); done < n; {
		at := sector + done
		count := min(n-done, s.region-at%s.region)
		s.mu.Lock()
		p := s.paths[s.path(at/s.region)]
		s.mu.Unlock()
		if err := f(p, at, done, count); err != nil {
			return err
		}
		done += count
	}
	return nil
}

func (s *switchTable) ReadSectors(p []byte, sector uint64) error {
	return s.each(sector, uint64(len(p)/sectorSize), func(path area, at, from, n uint64) error {
		return path.ReadSectors(p[from*sectorSize:(from+n)*sectorSize], at)
	})
}

func (s *switchTable) WriteSectors(p []byte, sector uint64) error {
	return s.each(sector, uint64(len(p)/sectorSize), func(path area, at, from, n uint64) error {
		return path.WriteSectors(p[from*sectorSize:(from+n)*sectorSize], at)
	})
}

func (s *switchTable) DiscardSectors(sector, n uint64) error {
	return s.each(sector, n, func(path area, at, _, count uint64) error { return path.DiscardSectors(at, count) })
}
