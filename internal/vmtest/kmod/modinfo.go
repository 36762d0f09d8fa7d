// SPDX-License-Identifier: MIT

package kmod

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Module is one loadable module: the part of its .modinfo section that
// matters for loading it.
type Module struct {
	Name    string   // with underscores, as in /proc/modules
	Path    string   // relative to /lib/modules/<release>, uncompressed name
	Depends []string // names of modules that must be loaded first
	Pre     []string // soft dependencies: names or aliases to try first
	Post    []string // soft dependencies: names or aliases to try afterwards
	Aliases []string // patterns, with underscores
}

// Canonical returns a module or alias name with every dash replaced by an
// underscore, except inside a bracket expression. The kernel and its tools
// treat the two as equal.
func Canonical(name string) string {
	b := []byte(name)
	in := false
	for i, c := range b {
		switch {
		case c == '[':
			in = true
		case c == ']':
			in = false
		case c == '-' && !in:
			b[i] = '_'
		}
	}
	return string(b)
}

// moduleName returns the module's name from its path, with any of the
// suffixes .ko, .ko.xz, .ko.zst, .ko.gz removed.
func moduleName(p string) string {
	base := path.Base(p)
	if i := strings.Index(base, ".ko"); i >= 0 {
		base = base[:i]
	}
	return Canonical(base)
}

// ErrNotModule means that a file has no .modinfo section.
var ErrNotModule = errors.New("kmod: no .modinfo section")

// ParseModule reads the .modinfo section of an uncompressed module image.
// name is its path below /lib/modules/<release>.
func ParseModule(name string, image []byte) (*Module, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("kmod: %s: %w", name, err)
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("%s: %w", name, ErrNotModule)
	}
	info, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("kmod: %s: %w", name, err)
	}
	return parseModinfo(name, info), nil
}

// parseModinfo decodes NUL-separated key=value strings. Keys repeat; depends
// is a comma-separated list; softdep is "pre: a b post: c".
func parseModinfo(name string, info []byte) *Module {
	m := &Module{Name: moduleName(name), Path: name}
	for _, field := range strings.Split(string(info), "\x00") {
		key, value, ok := strings.Cut(field, "=")
		if !ok {
			continue
		}
		switch key {
		case "depends":
			for _, d := range strings.Split(value, ",") {
				if d = strings.TrimSpace(d); d != "" {
					m.Depends = append(m.Depends, Canonical(d))
				}
			}
		case "softdep":
			m.addSoftdep(value)
		case "alias":
			// An alias with a blank could not be told from two words in the
			// index, and modprobe cannot be asked for one either.
			if value != "" && !strings.ContainsAny(value, " \t\r\n") {
				m.Aliases = append(m.Aliases, Canonical(value))
			}
		}
	}
	// libcrc32c takes the crc32c transform when it is initialised, and fails
	// if nobody provides it yet. Kernels before 6.14 say so in a softdep, but
	// not all of them name the module that always works.
	if m.Name == "libcrc32c" && !slices.Contains(m.Pre, "crc32c_generic") {
		m.Pre = append(m.Pre, "crc32c_generic")
	}
	return m
}

func (m *Module) addSoftdep(value string) {
	var list *[]string
	for _, word := range strings.Fields(value) {
		switch word {
		case "pre:":
			list = &m.Pre
		case "post:":
			list = &m.Post
		default:
			if list != nil {
				*list = append(*list, Canonical(word))
			}
		}
	}
}

// parseBuiltin reads modules.builtin, a list of paths.
func parseBuiltin(data []byte) []string {
	var names []string
	for _, line := range strings.Fields(string(data)) {
		names = append(names, moduleName(line))
	}
	return names
}

// parseBuiltinModinfo reads modules.builtin.modinfo, NUL-separated strings
// "module.key=value", and returns the aliases in it.
func parseBuiltinModinfo(data []byte) []string {
	var aliases []string
	for _, field := range strings.Split(string(data), "\x00") {
		key, value, ok := strings.Cut(field, "=")
		if !ok || !strings.HasSuffix(key, ".alias") || strings.ContainsAny(value, " \t\r\n") {
			continue
		}
		aliases = append(aliases, Canonical(value))
	}
	return aliases
}
