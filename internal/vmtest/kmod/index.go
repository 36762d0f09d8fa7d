// SPDX-License-Identifier: MIT

package kmod

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// IndexName is the name of the index file in /lib/modules/<release>.
const IndexName = "linuxblock.index"

// Index knows every module of one kernel.
type Index struct {
	modules  map[string]*Module
	builtin  map[string]bool // built-in modules, and their plain aliases
	exact    map[string][]string
	patterns []pattern
	bpattern []string // built-in modules' aliases with wildcards
}

type pattern struct{ glob, module string }

// NewIndex returns an empty Index.
func NewIndex() *Index {
	return &Index{
		modules: make(map[string]*Module),
		builtin: make(map[string]bool),
		exact:   make(map[string][]string),
	}
}

// Add adds a loadable module. A second module of the same name replaces the
// first.
func (x *Index) Add(m *Module) {
	x.modules[m.Name] = m
	for _, a := range m.Aliases {
		if isPattern(a) {
			x.patterns = append(x.patterns, pattern{a, m.Name})
		} else if !slices.Contains(x.exact[a], m.Name) {
			x.exact[a] = append(x.exact[a], m.Name)
		}
	}
}

// AddBuiltin adds the contents of modules.builtin and modules.builtin.modinfo;
// either may be empty (the second appeared in Linux 5.2).
func (x *Index) AddBuiltin(list, modinfo []byte) {
	for _, n := range parseBuiltin(list) {
		x.builtin[n] = true
	}
	for _, a := range parseBuiltinModinfo(modinfo) {
		x.addBuiltinAlias(a)
	}
}

func (x *Index) addBuiltinAlias(a string) {
	if isPattern(a) {
		x.bpattern = append(x.bpattern, a)
	} else {
		x.builtin[a] = true
	}
}

// Builtin reports whether name is a module, or an alias of one, that is part
// of the kernel image.
func (x *Index) Builtin(name string) bool {
	name = Canonical(name)
	if x.builtin[name] {
		return true
	}
	return slices.ContainsFunc(x.bpattern, func(p string) bool { return match(p, name) })
}

// Module returns the loadable module of that name, or nil.
func (x *Index) Module(name string) *Module { return x.modules[Canonical(name)] }

// Len returns the number of loadable modules.
func (x *Index) Len() int { return len(x.modules) }

// Names returns the names of all loadable modules in order.
func (x *Index) Names() []string {
	names := make([]string, 0, len(x.modules))
	for n := range x.modules {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// lookup returns the loadable modules that a name or alias stands for. A
// module's own name wins over aliases, as in modprobe.
func (x *Index) lookup(name string) []string {
	name = Canonical(name)
	if _, ok := x.modules[name]; ok {
		return []string{name}
	}
	found := slices.Clone(x.exact[name])
	for _, p := range x.patterns {
		if !slices.Contains(found, p.module) && match(p.glob, name) {
			found = append(found, p.module)
		}
	}
	return found
}

// Step is one module to load.
type Step struct {
	*Module
	// Optional is set for soft dependencies and for the alternatives behind
	// an alias: their failure does not count.
	Optional bool
}

// Resolve returns the modules to load for a name or alias, in order,
// dependencies first. The list is empty for what is built in. The error is
// fs.ErrNotExist if nothing has that name or a hard dependency is missing.
func (x *Index) Resolve(name string) ([]Step, error) {
	found := x.lookup(name)
	if len(found) == 0 {
		if x.Builtin(name) {
			return nil, nil
		}
		return nil, fmt.Errorf("kmod: %s: %w", name, fs.ErrNotExist)
	}
	r := resolver{index: x, at: make(map[string]int)}
	for _, n := range found {
		if err := r.add(n, len(found) > 1); err != nil {
			return nil, err
		}
	}
	return r.steps, nil
}

type resolver struct {
	index *Index
	steps []Step
	at    map[string]int // position in steps, or -1 while it is being visited
}

func (r *resolver) add(name string, optional bool) error {
	if i, seen := r.at[name]; seen {
		if !optional && i >= 0 {
			r.steps[i].Optional = false
		}
		return nil
	}
	m := r.index.modules[name]
	if m == nil {
		if r.index.Builtin(name) {
			return nil
		}
		return fmt.Errorf("kmod: %s: %w", name, fs.ErrNotExist)
	}
	r.at[name] = -1
	r.soft(m.Pre)
	for _, d := range m.Depends {
		if err := r.add(d, optional); err != nil {
			return fmt.Errorf("%w (needed by %s)", err, name)
		}
	}
	r.at[name] = len(r.steps)
	r.steps = append(r.steps, Step{m, optional})
	r.soft(m.Post)
	return nil
}

// soft adds soft dependencies; one that does not exist is no error.
func (r *resolver) soft(names []string) {
	for _, n := range names {
		for _, f := range r.index.lookup(n) {
			_ = r.add(f, true)
		}
	}
}

// Select returns an Index with only the modules that keep accepts and all
// that these need, softly or not, plus everything that is built in.
func (x *Index) Select(keep func(*Module) bool) *Index {
	y := NewIndex()
	y.builtin, y.bpattern = x.builtin, x.bpattern
	for _, n := range x.Names() {
		if !keep(x.modules[n]) {
			continue
		}
		r := resolver{index: x, at: make(map[string]int)}
		// A module whose dependency does not exist cannot be loaded, and
		// saying so is the business of whoever asks for it.
		_ = r.add(n, false)
		for _, s := range r.steps {
			if y.modules[s.Name] == nil {
				y.Add(s.Module)
			}
		}
	}
	return y
}

// Write writes the Index as text, one record a line:
//
//	m path              a module; the lines below belong to it
//	d name...           it depends on these
//	p name... / s name...  soft dependencies, before and after
//	a alias...
//	b name...           built in, modules and aliases
func (x *Index) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	line := func(key string, words []string) {
		if len(words) > 0 {
			fmt.Fprintf(b, "%s %s\n", key, strings.Join(words, " "))
		}
	}
	for _, n := range x.Names() {
		m := x.modules[n]
		line("m", []string{m.Path})
		line("d", m.Depends)
		line("p", m.Pre)
		line("s", m.Post)
		line("a", m.Aliases)
	}
	var names []string
	for n := range x.builtin {
		names = append(names, n)
	}
	slices.Sort(names)
	line("b", names)
	line("b", x.bpattern)
	return b.Flush()
}

// ReadIndex reads what Write wrote.
func ReadIndex(data []byte) (*Index, error) {
	x := NewIndex()
	var m *Module
	flush := func() {
		if m != nil {
			x.Add(m)
		}
		m = nil
	}
	for n, line := range bytes.Split(data, []byte("\n")) {
		words := strings.Fields(string(line))
		if len(words) == 0 {
			continue
		}
		key, words := words[0], words[1:]
		switch {
		case key == "m" && len(words) == 1 && path.Base(words[0]) != ".":
			flush()
			m = &Module{Name: moduleName(words[0]), Path: words[0]}
		case key == "b":
			for _, a := range words {
				x.addBuiltinAlias(a)
			}
		case m == nil:
			return nil, fmt.Errorf("kmod: index line %d: %q", n+1, line)
		case key == "d":
			m.Depends = words
		case key == "p":
			m.Pre = words
		case key == "s":
			m.Post = words
		case key == "a":
			m.Aliases = words
		default:
			return nil, fmt.Errorf("kmod: index line %d: %q", n+1, line)
		}
	}
	flush()
	return x, nil
}
