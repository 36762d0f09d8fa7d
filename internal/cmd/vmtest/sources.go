// SPDX-License-Identifier: MIT

package main

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// debianArchive is where a Debian archive is reached and which keys its
// signatures are checked with.
type debianArchive struct {
	main, security string // base URLs
	keyring        string
}

const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// aptSource is one line, or stanza, of the machine's apt configuration.
type aptSource struct {
	uris, suites, components []string
	signedBy                 string
}

// findArchive returns the Debian archive that this machine uses. A mirror
// from the command line wins; without either, main is empty. root is "/"
// outside tests.
func findArchive(root, mirror string) debianArchive {
	a := debianArchive{keyring: debianKeyring}
	var sources []aptSource
	etc := filepath.Join(root, "etc/apt")
	files, _ := filepath.Glob(filepath.Join(etc, "sources.list.d/*"))
	slices.Sort(files)
	for _, f := range append([]string{filepath.Join(etc, "sources.list")}, files...) {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		switch filepath.Ext(f) {
		case ".list":
			sources = append(sources, parseSourcesList(string(data))...)
		case ".sources":
			sources = append(sources, parseDeb822(string(data))...)
		}
	}
	for _, s := range sources {
		if !slices.Contains(s.components, "main") {
			continue // Docker's and others use Debian's suite names as well
		}
		for _, suite := range s.suites {
			uri := s.uris[0]
			switch {
			case a.main == "" && isDebianSuite(suite) && archiveName(uri) == "debian":
				a.main = uri
				if filepath.IsAbs(s.signedBy) {
					a.keyring = s.signedBy
				}
			case a.security == "" && strings.HasSuffix(suite, "-security") && archiveName(uri) == "debian-security":
				a.security = uri
			}
		}
	}
	if mirror != "" {
		a.main, a.security = mirror, ""
	}
	if a.main == "" {
		return debianArchive{keyring: a.keyring}
	}
	a.main = strings.TrimRight(a.main, "/")
	if a.security == "" {
		a.security = a.main + "-security"
	}
	a.security = strings.TrimRight(a.security, "/")
	return a
}

// archiveName returns the last element of an archive's path: "debian" and
// "debian-security" on every Debian mirror.
func archiveName(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	parts := strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' })
	if len(parts) == 0 {
		return ""
	}
	return parts[len(parts)-1]
}

// isDebianSuite reports whether s is the name of a Debian release or of one
// of its moving names, with or without -updates. Names of releases that are
// not published yet are added by whoever first runs this on one.
func isDebianSuite(s string) bool {
	return slices.Contains([]string{
		"bullseye", "bookworm", "trixie", "forky", "duke", "sid",
		"oldoldstable", "oldstable", "stable", "testing", "unstable",
	}, strings.TrimSuffix(s, "-updates"))
}

// parseSourcesList reads the one-line format:
//
//	deb [option=value ...] uri suite component...
func parseSourcesList(text string) []aptSource {
	var list []aptSource
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !ok {
			continue
		}
		var s aptSource
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			opts, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				continue
			}
			for _, o := range strings.Fields(opts) {
				if v, ok := strings.CutPrefix(o, "signed-by="); ok {
					s.signedBy = v
				}
			}
			rest = after
		}
		f := strings.Fields(rest)
		if len(f) < 3 {
			continue
		}
		s.uris, s.suites, s.components = f[:1], f[1:2], f[2:]
		list = append(list, s)
	}
	return list
}

// parseDeb822 reads the stanza format of *.sources files.
func parseDeb822(text string) []aptSource {
	var list []aptSource
	fields := make(map[string]string)
	last := ""
	flush := func() {
		enabled := !slices.Contains([]string{"no", "false", "0"}, strings.ToLower(strings.TrimSpace(fields["enabled"])))
		s := aptSource{
			uris:       strings.Fields(fields["uris"]),
			suites:     strings.Fields(fields["suites"]),
			components: strings.Fields(fields["components"]),
			signedBy:   strings.TrimSpace(fields["signed-by"]),
		}
		if enabled && slices.Contains(strings.Fields(fields["types"]), "deb") && len(s.uris) > 0 {
			list = append(list, s)
		}
		clear(fields)
		last = ""
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			flush()
		case line[0] == ' ' || line[0] == '\t':
			fields[last] += "\n" + line
		default:
			key, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(key)
			fields[last] = value
		}
	}
	flush()
	return list
}
