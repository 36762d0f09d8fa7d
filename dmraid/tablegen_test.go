// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// tableGen makes random lines of tables: valid, nearly valid and odd ones. The
// same seed gives the same lines.
type tableGen struct {
	*rand.Rand
	meta, data []string // devices; each data device has sectors
	sectors    int64
	small      string // a data device that is smaller
	journal    string // large enough
	tiny       string // a sector too small for a journal
}

func newTableGen(seed uint64) *tableGen {
	g := &tableGen{Rand: rand.New(rand.NewPCG(seed, 4)), sectors: genSectors, small: "small", journal: "journal", tiny: "tiny"}
	for i := range genLegs {
		g.meta = append(g.meta, fmt.Sprintf("meta%d", i))
		g.data = append(g.data, fmt.Sprintf("data%d", i))
	}
	return g
}

// What tableGen wants of its devices.
const (
	genLegs    = 8
	genSectors = 8192
	genSmall   = 4000
	genJournal = 8192
)

func pick[T any](g *tableGen, from ...T) T { return from[g.IntN(len(from))] }

// chance is true in percent of the cases.
func (g *tableGen) chance(percent int) bool { return g.IntN(100) < percent }

// line gives the length and the arguments of a table.
func (g *tableGen) line() (length int64, params string) {
	length, words := g.table()
	switch n := g.IntN(100); {
	case n < 60:
	case n < 85:
		length, words = g.mutate(length, words)
	default:
		for range 1 + g.IntN(4) {
			length, words = g.mutate(length, words)
		}
	}
	return length, strings.Join(words, " ")
}

// table is one that is meant to be valid.
func (g *tableGen) table() (length int64, words []string) {
	typ := pick(g, dmraid.Types()...)
	n := typ.MinLegs() + g.IntN(genLegs+1-typ.MinLegs())
	if g.chance(3) {
		n = 1 + g.IntN(4)
	}
	chunk := int64(8) << g.IntN(8)
	if typ.Level() == 1 && g.chance(80) {
		chunk = 0
	}
	leg := g.sectors >> g.IntN(4)
	if g.chance(10) {
		leg -= 8 * int64(g.IntN(20))
	}
	perData := int64(n - typ.Parity())
	copies := int64(2)
	p := g.params(typ, n, chunk, leg, &copies)
	switch {
	case typ.Level() == 1:
		length = leg
	case typ.IsRAID10():
		// length×copies must be whole for each leg.
		leg -= leg % copies
		length = leg * int64(n) / copies
		if length*copies%int64(n) != 0 {
			length = leg / copies * int64(n)
		}
	default:
		length = leg * max(perData, 1)
	}
	if length == 0 {
		length = 8
	}
	words = append([]string{string(typ), strconv.Itoa(1 + len(p)), strconv.FormatInt(chunk, 10)}, p...)
	words = append(words, strconv.Itoa(n))
	return length, append(words, g.legWords(n)...)
}

func (g *tableGen) legWords(n int) (words []string) {
	metaOf := pick(g, 100, 100, 100, 0, 0, 50)
	missing := pick(g, 0, 0, 0, 0, 15)
	for i := range n {
		switch {
		case g.chance(missing):
			words = append(words, "-", "-")
		case g.chance(metaOf):
			words = append(words, g.meta[i], g.data[i])
		default:
			words = append(words, "-", g.data[i])
		}
	}
	return words
}

// params are words that the level takes, each with one chance in five.
func (g *tableGen) params(typ dmraid.Type, n int, chunk, leg int64, copies *int64) []string {
	var groups [][]string
	add := func(want bool, words func() []string) {
		if want && g.chance(20) {
			groups = append(groups, words())
		}
	}
	pair := func(key string, n int64) func() []string {
		return func() []string { return []string{key, strconv.FormatInt(n, 10)} }
	}
	redundant, parity, mirror, ten := typ.Redundant(), typ.IsRAID456(), typ == dmraid.RAID1, typ.IsRAID10()
	switch g.IntN(10) {
	case 0:
		add(redundant, func() []string { return []string{"sync"} })
	case 1, 2:
		add(redundant && typ.Level() != 6, func() []string { return []string{"nosync"} })
	case 3, 4, 5:
		add(redundant, pair("rebuild", int64(g.IntN(n))))
		if g.chance(20) {
			add(redundant, pair("rebuild", int64(g.IntN(n))))
		}
	}
	add(redundant, pair("daemon_sleep", pick(g, int64(0), 100, 1000, 2147483647)))
	rate := int64(g.IntN(50000))
	add(redundant, pair("min_recovery_rate", rate))
	add(redundant, pair("max_recovery_rate", rate+int64(g.IntN(50000))))
	if mirror && n > 1 {
		for range g.IntN(n) {
			add(true, pair("write_mostly", int64(g.IntN(n))))
		}
	}
	add(mirror, pair("max_write_behind", pick(g, int64(0), 1, 256, 257, 16384, 32767)))
	add(parity, pair("stripe_cache", pick(g, int64(0), 10, 17, 256, 300, 1024)))
	add(redundant, pair("region_size", max(chunk, 8)<<g.IntN(3)))
	add(ten, func() []string {
		*copies = int64(2 + g.IntN(max(n-1, 1)))
		return []string{"raid10_copies", strconv.FormatInt(*copies, 10)}
	})
	format := pick(g, "near", "far", "offset")
	add(ten, func() []string { return []string{"raid10_format", format} })
	if format != "near" && g.chance(30) && slices.ContainsFunc(groups, func(w []string) bool { return w[0] == "raid10_format" }) {
		groups = append(groups, []string{"raid10_use_near_sets"})
	}
	if g.chance(30) {
		add(redundant, pair("delta_disks", pick(g, int64(1), 2, -1)))
		add(true, pair("data_offset", pick(g, int64(0), 32, 64, 2048)))
	}
	if parity && g.chance(50) {
		add(true, func() []string {
			w := []string{"journal_dev", g.journal}
			if g.chance(50) {
				w = append(w, "journal_mode", pick(g, "writethrough", "writeback"))
			}
			return w
		})
	}
	g.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
	words := slices.Concat(groups...)
	if g.chance(10) {
		for i, w := range words {
			if !slices.Contains([]string{g.journal}, w) {
				words[i] = strings.ToUpper(w)
			}
		}
	}
	return words
}

// oddNumbers are what a number is replaced by.
var oddNumbers = []string{"-1", "0", "1", "2", "3", "7", "8", "+8", "08", "9x", "64", "96", "254", "4096", "8192", "131072", "1048576", "2147483648", "-2147483648", "4294967297", "x", `8\ `}

// oddWords may stand anywhere.
var oddWords = []string{"-", "sync", "nosync", "rebuild", "region_size", "raid10_format", "foo", "journal_mode", "stripe_cache", "99:9", "/dev/nosuch", "delta_disks", "raid10_use_near_sets"}

// mutate makes one mistake.
func (g *tableGen) mutate(length int64, words []string) (int64, []string) {
	words = slices.Clone(words)
	at := g.IntN(len(words))
	var numbers []int
	for i, w := range words {
		if _, err := strconv.Atoi(w); err == nil {
			numbers = append(numbers, i)
		}
	}
	switch g.IntN(14) {
	case 0:
		words = slices.Delete(words, at, at+1)
	case 1:
		words = slices.Insert(words, at, words[at])
	case 2:
		words = slices.Insert(words, at, pick(g, oddWords...))
	case 3, 4, 5:
		if len(numbers) > 0 {
			words[pick(g, numbers...)] = pick(g, oddNumbers...)
		}
	case 6:
		if n, err := strconv.Atoi(words[min(1, len(words)-1)]); err == nil {
			words[1] = strconv.Itoa(n + pick(g, -1, 1, 2))
		}
	case 7:
		words[at] = pick(g, oddWords...)
	case 8:
		length += pick(g, int64(-1), 1, 8, -8)
	case 9:
		length *= pick(g, int64(2), 16)
	case 10:
		words = append(words, pick(g, oddWords...))
	case 11:
		words[len(words)-1] = pick(g, g.small, "-", "99:9")
	case 12:
		// A pair of words of another level.
		pair := pick(g, []string{"stripe_cache", "512"}, []string{"write_mostly", "0"}, []string{"raid10_copies", "2"},
			[]string{"max_write_behind", "8"}, []string{"journal_dev", g.journal}, []string{"journal_dev", g.tiny}, []string{"region_size", "8"})
		if len(words) > 3 {
			words = slices.Insert(words, 3, pair...)
			if n, err := strconv.Atoi(words[1]); err == nil {
				words[1] = strconv.Itoa(n + 2)
			}
		}
	case 13:
		if i, j := g.IntN(len(words)), g.IntN(len(words)); i != j {
			words[i], words[j] = words[j], words[i]
		}
	}
	if len(words) == 0 {
		words = []string{"raid1"}
	}
	return max(length, 1), words
}

// genDevices is the Environment of the names that tableGen gives devices.
type genDevices struct{}

func (genDevices) Sectors(device string) (dmraid.Sectors, error) {
	switch {
	case device == "small":
		return genSmall, nil
	case device == "journal":
		return genJournal, nil
	case device == "tiny":
		return genJournal - 1, nil
	case strings.HasPrefix(device, "meta"):
		return 2048, nil
	case strings.HasPrefix(device, "data"):
		return genSectors, nil
	}
	return 0, fmt.Errorf("no device %q", device)
}

// The lines are of all kinds, and Check and KernelState, which know the
// kernel from two sides, do not contradict each other.
func TestRandomTables(t *testing.T) {
	g := newTableGen(1)
	taken, texts := map[string]int{}, map[string]int{}
	for range 20000 {
		n, params := g.line()
		length := dmraid.Sectors(n)
		checked := dmraid.Check(params, length, genDevices{})
		state, made := dmraid.Construct(dmraid.Linux61, params, length, genDevices{}, nil)
		switch blind := dmraid.Blind(params, length, genDevices{}); {
		case blind && errorText(checked) != errorText(made), checked != nil && made == nil:
			t.Errorf("%d %q:\nCheck     %v\nConstruct %v", n, params, checked, made)
		case made != nil:
			texts[errorText(made)]++
		default:
			taken[strings.ToLower(strings.Fields(params)[0])]++
			if len(state.Legs) == 0 || state.Type == "" {
				t.Errorf("%d %q: state %v", n, params, state)
			}
		}
	}
	sum := 0
	for _, typ := range dmraid.Types() {
		if taken[string(typ)] < 100 {
			t.Errorf("%d lines of %s are taken, want 100", taken[string(typ)], typ)
		}
		sum += taken[string(typ)]
	}
	if sum < 6000 || sum > 16000 {
		t.Errorf("%d of 20000 are taken", sum)
	}
	if len(texts) < 55 {
		t.Errorf("%d reasons of refusal: %v", len(texts), texts)
	}
	t.Log(sum, "taken;", len(texts), "reasons")
}

// errorText is the kernel's text and errno.
func errorText(err error) string {
	var e *dmraid.Error
	if asError(err, &e) {
		return fmt.Sprintf("%s (%d)", e.Detail, e.Code)
	}
	return fmt.Sprint(err)
}
