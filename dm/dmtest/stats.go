// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// statsList are the statistics regions of a device, in the order of their
// numbers. Guarded by Kernel.mu.
type statsList []*statsRegion

// statsRegion is struct dm_stat of dm-stats.c.
type statsRegion struct {
	id               int
	start, end, step uint64
	precise          bool
	bounds           []uint64 // of the histogram
	program, aux     string
	areas            map[uint64]*statsArea // by number; absent ones are zero
}

func (r *statsRegion) count() uint64 {
	n := (r.end - r.start) / r.step
	if (r.end-r.start)%r.step != 0 {
		n++
	}
	return n
}

// statsMessage is dm_stats_message; known is false for a message that is not
// of the statistics. room is the size of the place for the answer. Called
// with mu held.
func (d *device) statsMessage(argv []string, room int) (r reply, known bool, err error) {
	var errno syscall.Errno
	switch strings.ToLower(argv[0]) {
	case "@stats_create":
		r, errno = d.statsCreate(argv[1:], room)
	case "@stats_delete":
		errno = d.statsOne(argv, 2, func(i int) { d.stats = slices.Delete(slices.Clone(d.stats), i, i+1) })
	case "@stats_clear":
		errno = d.statsOne(argv, 2, func(i int) { d.stats[i].clear(0, math.MaxUint64) })
	case "@stats_set_aux":
		errno = d.statsOne(argv, 3, func(i int) { d.stats[i].aux = argv[2] })
	case "@stats_list":
		r, errno = d.statsList(argv)
	case "@stats_print":
		r, errno = d.statsPrint(argv, room, false)
	case "@stats_print_clear":
		r, errno = d.statsPrint(argv, room, true)
	default:
		return reply{}, false, nil
	}
	if errno == EINVAL {
		d.k.logLocked("device-mapper: stats: Invalid parameters for message " + argv[0])
	}
	if errno != 0 {
		return reply{}, true, errno
	}
	return r, true, nil
}

func (d *device) statsCreate(argv []string, room int) (reply, syscall.Errno) {
	if len(argv) < 2 {
		return reply{}, EINVAL
	}
	s := &statsRegion{program: "-", aux: "-"}
	if argv[0] == "-" {
		s.end = max(d.size, 1)
	} else {
		a, b, found := strings.Cut(argv[0], "+")
		start, ok1 := scanSector(a)
		length, ok2 := scanSector(b)
		if !found || !ok1 || !ok2 {
			return reply{}, EINVAL
		}
		s.start, s.end = start, start+length
	}
	if s.start >= s.end {
		return reply{}, EINVAL
	}
	if rest, ok := strings.CutPrefix(argv[1], "/"); ok {
		n, ok := scanUint(rest)
		if !ok || n == 0 {
			return reply{}, EINVAL
		}
		s.step = (s.end - s.start) / uint64(n)
		if (s.end-s.start)%uint64(n) != 0 {
			s.step++
		}
		s.step = max(s.step, 1)
	} else if step, ok := scanSector(argv[1]); ok && step > 0 {
		s.step = step
	} else {
		return reply{}, EINVAL
	}
	argv = argv[2:]
	if len(argv) > 0 {
		if n, ok := scanUint(argv[0]); ok {
			if uint64(n) > uint64(len(argv)-1) {
				return reply{}, EINVAL
			}
			for _, f := range argv[1 : 1+n] {
				if !s.feature(f) {
					return reply{}, EINVAL
				}
			}
			argv = argv[1+n:]
		}
	}
	if len(argv) > 2 {
		return reply{}, EINVAL
	}
	if len(argv) > 0 {
		s.program = argv[0]
	}
	if len(argv) > 1 {
		s.aux = argv[1]
	}
	if len(strconv.Itoa(math.MaxInt32))+1 >= room {
		// Said before the region exists, since the caller will repeat.
		return reply{strings.Repeat("9", room+1), true}, 0
	}
	if errno := d.k.statsMemory(s); errno != 0 {
		return reply{}, errno
	}
	d.atRest(func() {
		at := 0
		for at < len(d.stats) && d.stats[at].id == s.id {
			s.id++
			at++
		}
		d.stats = slices.Insert(slices.Clone(d.stats), at, s)
	})
	return reply{strconv.Itoa(s.id), true}, 0
}

// feature reads one of the optional words of @stats_create.
func (s *statsRegion) feature(word string) bool {
	word = strings.ToLower(word)
	if word == "precise_timestamps" {
		s.precise = true
		return true
	}
	list, ok := strings.CutPrefix(word, "histogram:")
	if !ok || s.bounds != nil {
		return false
	}
	last := uint64(0)
	for _, b := range strings.Split(list, ",") {
		n, ok := scanSector(b)
		if !ok || n <= last {
			return false
		}
		s.bounds = append(s.bounds, n)
		last = n
	}
	return true
}

// statsID reads a region number and finds its index.
func (d *device) statsID(word string) (int, syscall.Errno) {
	id, err := strconv.ParseInt(strings.TrimPrefix(word, "+"), 10, 32)
	if err != nil || id < 0 {
		return 0, EINVAL
	}
	i := slices.IndexFunc(d.stats, func(r *statsRegion) bool { return r.id == int(id) })
	if i < 0 {
		return 0, ENOENT
	}
	return i, 0
}

func (d *device) statsOne(argv []string, argc int, f func(i int)) syscall.Errno {
	if len(argv) != argc {
		return EINVAL
	}
	i, errno := d.statsID(argv[1])
	if errno == 0 {
		f(i)
	}
	return errno
}

func (d *device) statsList(argv []string) (reply, syscall.Errno) {
	if len(argv) > 2 {
		return reply{}, EINVAL
	}
	var b strings.Builder
	for _, s := range d.stats {
		if len(argv) == 2 && argv[1] != s.program {
			continue
		}
		fmt.Fprintf(&b, "%d: %d+%d %d %s %s", s.id, s.start, s.end-s.start, s.step, s.program, s.aux)
		if s.precise {
			b.WriteString(" precise_timestamps")
		}
		for i, n := range s.bounds {
			if i == 0 {
				b.WriteString(" histogram:")
			} else {
				b.WriteByte(',')
			}
			b.WriteString(strconv.FormatUint(n, 10))
		}
		b.WriteByte('\n')
	}
	return reply{b.String(), true}, 0
}

func (d *device) statsPrint(argv []string, room int, clear bool) (reply, syscall.Errno) {
	if len(argv) != 2 && len(argv) != 4 {
		return reply{}, EINVAL
	}
	id, err := strconv.ParseInt(strings.TrimPrefix(argv[1], "+"), 10, 32)
	if err != nil || id < 0 {
		return reply{}, EINVAL
	}
	from, length := uint64(0), uint64(math.MaxUint64)
	if len(argv) == 4 {
		for i, p := range []*uint64{&from, &length} {
			if argv[2+i] == "-" {
				continue
			}
			n, ok := scanSector(argv[2+i])
			if !ok {
				return reply{}, EINVAL
			}
			*p = n
		}
	}
	i, errno := d.statsID(argv[1])
	if errno != 0 {
		return reply{}, errno
	}
	s := d.stats[i]
	to := from + length
	if to < from || to > s.count() {
		to = s.count()
	}
	from = min(from, to)
	var b strings.Builder
	for x := from; x < to; x++ {
		s.print(&b, x, d.k.now())
		if b.Len()+1 >= room {
			return reply{b.String(), true}, 0 // nothing is cleared then
		}
	}
	if clear {
		s.clear(from, to)
	}
	return reply{b.String(), true}, 0
}
