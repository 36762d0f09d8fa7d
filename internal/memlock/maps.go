// SPDX-License-Identifier: MIT

package memlock

import (
	"errors"
	"strconv"
	"strings"
)

// mapping is one line of /proc/self/maps, or one block of smaps.
type mapping struct {
	start, end uint64
	perm       string // "r-xp"
	dev        Dev    // 0:0 when there is no file
	inode      uint64
	path       string // "" for anonymous memory, "[heap]" and the like
	locked     bool   // smaps only
	swap       uint64 // bytes, smaps only
}

// file tells whether a real file with a name is behind the mapping.
func (m mapping) file() bool { return m.inode != 0 && strings.HasPrefix(m.path, "/") }

// none tells that nothing can be accessed.
func (m mapping) none() bool { return !strings.ContainsAny(m.perm[:3], "rwx") }

// special tells mappings that the kernel provides and that cannot be locked
// (Linux mm/mlock.c can_modify / VM_SPECIAL).
func (m mapping) special() bool {
	return strings.HasPrefix(m.path, "[vdso") || strings.HasPrefix(m.path, "[vvar") ||
		strings.HasPrefix(m.path, "[vsyscall") || strings.HasPrefix(m.path, "[uprobes")
}

var errMaps = errors.New("malformed line")

// parseMaps reads /proc/self/maps and /proc/self/smaps alike.
func parseMaps(data string) ([]mapping, error) {
	var list []mapping
	for line := range strings.Lines(data) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			continue
		}
		head, _, _ := strings.Cut(line, " ")
		if key, ok := strings.CutSuffix(head, ":"); ok { // a detail of smaps
			if len(list) == 0 {
				return nil, errMaps
			}
			m := &list[len(list)-1]
			f := strings.Fields(line)
			switch {
			case key == "VmFlags":
				for _, flag := range f[1:] {
					m.locked = m.locked || flag == "lo"
				}
			case key == "Swap" && len(f) == 3:
				n, err := strconv.ParseUint(f[1], 10, 54)
				if err != nil {
					return nil, errMaps
				}
				m.swap = n << 10
			}
			continue
		}
		m, err := parseMapping(line)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// parseMapping reads "start-end perm offset major:minor inode path", addresses
// and numbers of devices in hexadecimal (proc_pid_maps(5)).
func parseMapping(line string) (mapping, error) {
	var m mapping
	var f [5]string
	rest := line
	for i := range f {
		rest = strings.TrimLeft(rest, " ")
		f[i], rest, _ = strings.Cut(rest, " ")
	}
	m.path = unescape(strings.TrimLeft(rest, " "))
	from, to, ok := strings.Cut(f[0], "-")
	start, err1 := strconv.ParseUint(from, 16, 64)
	end, err2 := strconv.ParseUint(to, 16, 64)
	major, minor, ok2 := strings.Cut(f[3], ":")
	ma, err3 := strconv.ParseUint(major, 16, 32)
	mi, err4 := strconv.ParseUint(minor, 16, 32)
	inode, err5 := strconv.ParseUint(f[4], 10, 64)
	if !ok || !ok2 || len(f[1]) < 4 || end < start ||
		errors.Join(err1, err2, err3, err4, err5) != nil {
		return m, errMaps
	}
	m.start, m.end, m.perm = start, end, f[1]
	m.dev, m.inode = Dev{uint32(ma), uint32(mi)}, inode
	return m, nil
}

// codeFiles are the files that have an executable mapping, each with all its
// mappings: code, constants, data.
func codeFiles(list []mapping) []mapping {
	code := map[string]bool{}
	for _, m := range list {
		if m.file() && m.perm[2] == 'x' {
			code[m.path] = true
		}
	}
	var out []mapping
	for _, m := range list {
		if m.file() && code[m.path] && !m.none() {
			out = append(out, m)
		}
	}
	return out
}

// unescape turns \ooo, as /proc prints blanks and newlines in paths, into the
// byte (Linux fs/seq_file.c mangle_path).
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
