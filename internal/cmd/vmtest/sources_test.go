// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"path/filepath"
	"testing"
)

const deb822Example = `Types: deb
# http://snapshot.example.org/archive/debian/20250520T000000Z
URIs: http://m.example.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://m.example.org/debian-security/
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://download.example.com/linux/debian
Suites: bookworm
Components: stable

Enabled: no
Types: deb
URIs: http://disabled.example.org/debian
Suites: trixie
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
`

func TestFindArchive(t *testing.T) {
	none := debianArchive{keyring: debianKeyring}
	for name, c := range map[string]struct {
		files  map[string]string
		mirror string
		want   debianArchive
	}{
		"stanzas": {
			files: map[string]string{"sources.list.d/debian.sources": deb822Example},
			want:  debianArchive{"http://m.example.org/debian", "http://m.example.org/debian-security", debianKeyring},
		},
		"lines": {
			files: map[string]string{"sources.list": "# deb http://old.example.org/debian bookworm main\n" +
				"deb-src http://src.example.org/debian bookworm main\n" +
				"deb [arch=amd64 signed-by=/etc/apt/keyrings/d.gpg] https://a.example.org/pub/debian/ trixie main contrib # comment\n" +
				"deb https://s.example.org/debian-security trixie-security main\n"},
			want: debianArchive{"https://a.example.org/pub/debian", "https://s.example.org/debian-security", "/etc/apt/keyrings/d.gpg"},
		},
		"no security": {
			files: map[string]string{"sources.list": "deb http://a.example.org/debian sid main\n"},
			want:  debianArchive{"http://a.example.org/debian", "http://a.example.org/debian-security", debianKeyring},
		},
		"others only": {
			files: map[string]string{
				"sources.list":              "deb http://archive.example.com/ubuntu noble main\n",
				"sources.list.d/cloud.list": "deb https://packages.example.com/apt cloud-sdk-bookworm main\n",
				"sources.list.d/pg.list":    "deb https://apt.example.org/pub/repos/apt bookworm-pgdg main\n",
				"sources.list.d/x.save":     "deb http://saved.example.org/debian sid main\n",
			},
			want: none,
		},
		"nothing": {want: none},
		"flag": {
			files:  map[string]string{"sources.list.d/debian.sources": deb822Example},
			mirror: "http://flag.example.org/debian/",
			want:   debianArchive{"http://flag.example.org/debian", "http://flag.example.org/debian-security", debianKeyring},
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for f, text := range c.files {
				f = filepath.Join(root, "etc/apt", f)
				if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := findArchive(root, c.mirror); got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestSourcesFor(t *testing.T) {
	a := debianArchive{"http://m.example.org/debian", "http://m.example.org/debian-security", "/k.gpg"}
	want := "deb [signed-by=/k.gpg] http://m.example.org/debian trixie main\n" +
		"deb [signed-by=/k.gpg] http://m.example.org/debian trixie-updates main\n" +
		"deb [signed-by=/k.gpg] http://m.example.org/debian-security trixie-security main\n"
	if got := sourcesFor("trixie", a); got != want {
		t.Errorf("trixie:\n%s", got)
	}
	if got, want := sourcesFor("sid", a), "deb [signed-by=/k.gpg] http://m.example.org/debian sid main\n"; got != want {
		t.Errorf("sid:\n%s", got)
	}
}

func TestParseURIs(t *testing.T) {
	out := "Reading package lists...\n" +
		"'http://m.example.org/debian/pool/main/l/lvm2/dmsetup_1.02.185-2_amd64.deb' dmsetup_2%3a1.02.185-2_amd64.deb 82040 SHA256:aa\n" +
		"'http://m.example.org/debian/pool/x.deb' odd.deb 1 SHA256:bb\n"
	got := parseURIs(out)
	want := debPackage{Name: "dmsetup", Version: "2:1.02.185-2", File: "dmsetup_2%3a1.02.185-2_amd64.deb"}
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestKernelPackages(t *testing.T) {
	for name, want := range map[string]bool{
		"linux-image-6.1.0-56-amd64": true, "linux-binary-7.2.13+deb14-amd64": true, "linux-modules-7.2.13+deb14-amd64": true,
		"linux-base-7.2.13+deb14-amd64": true, "linux-image-amd64": false, "linux-base": false, "util-linux": false,
	} {
		if got := kernelPackage.MatchString(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
