// SPDX-License-Identifier: MIT

package memlock

import (
	"errors"
	"path"
	"strconv"
	"strings"
)

// mount is one line of /proc/self/mountinfo.
type mount struct {
	dev     Dev
	root    string // the part of the file system that is mounted
	point   string
	fstype  string
	source  string
	options []string // of the superblock
}

var errMountinfo = errors.New("malformed line")

// parseMountinfo reads proc_pid_mountinfo(5): id parent major:minor root point
// options [tags…] - fstype source super-options.
func parseMountinfo(data string) ([]mount, error) {
	var list []mount
	for line := range strings.Lines(data) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		sep := 6
		for sep < len(f) && f[sep] != "-" {
			sep++
		}
		if sep >= len(f)-1 {
			return nil, errMountinfo
		}
		dev, ok := parseDev(f[2])
		if !ok {
			return nil, errMountinfo
		}
		m := mount{dev: dev, root: unescape(f[3]), point: unescape(f[4]), fstype: f[sep+1]}
		// An empty source or option list leaves fewer columns.
		if len(f) > sep+3 {
			m.source = unescape(f[sep+2])
		}
		if len(f) > sep+2 {
			m.options = splitOptions(unescape(f[len(f)-1]))
		}
		list = append(list, m)
	}
	return list, nil
}

// splitOptions splits at commas that are not escaped by a backslash, which is
// how overlay writes folders with commas.
func splitOptions(s string) []string {
	return splitEscaped(s, ',')
}

func splitEscaped(s string, sep byte) []string {
	var out []string
	from := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case sep:
			out = append(out, s[from:i])
			from = i + 1
		}
	}
	return append(out, s[from:])
}

// dropBackslash removes the escapes that splitEscaped honoured.
func dropBackslash(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// values returns every value of a key=value option.
func (m mount) values(key string) []string {
	var out []string
	for _, o := range m.options {
		if k, v, ok := strings.Cut(o, "="); ok && k == key {
			out = append(out, v)
		}
	}
	return out
}

// mountOf finds the mount that an absolute, link-free path lies in: the
// longest mount point above it, and the last one of those mounted over each
// other.
func mountOf(list []mount, p string) (mount, bool) {
	p = path.Clean(p)
	best := -1
	for i, m := range list {
		point := path.Clean(m.point)
		if point != "/" && p != point && !strings.HasPrefix(p, point+"/") {
			continue
		}
		if best < 0 || len(point) >= len(path.Clean(list[best].point)) {
			best = i
		}
	}
	if best < 0 {
		return mount{}, false
	}
	return list[best], true
}

// Dev is the number of a block device.
type Dev struct{ Major, Minor uint32 }

func (d Dev) String() string {
	return strconv.FormatUint(uint64(d.Major), 10) + ":" + strconv.FormatUint(uint64(d.Minor), 10)
}

// parseDev reads "major:minor" in decimal.
func parseDev(s string) (Dev, bool) {
	major, minor, ok := strings.Cut(strings.TrimSpace(s), ":")
	ma, err1 := strconv.ParseUint(major, 10, 32)
	mi, err2 := strconv.ParseUint(minor, 10, 32)
	return Dev{uint32(ma), uint32(mi)}, ok && err1 == nil && err2 == nil
}

// parseSwaps reads /proc/swaps and returns the first column, the paths.
func parseSwaps(data string) []string {
	var list []string
	n := 0
	for line := range strings.Lines(data) {
		if n++; n == 1 {
			continue // headings
		}
		if f := strings.Fields(line); len(f) > 0 {
			list = append(list, unescape(f[0]))
		}
	}
	return list
}
