// SPDX-License-Identifier: MIT

package raidtest_test

import (
	"bufio"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// matrixCase is a start that was recorded: a level, what lay on the metadata
// devices, and the words sync, nosync and rebuild.
type matrixCase struct {
	name, meta, in string
	refused        bool
	log, status    []string
}

func matrixCases(t *testing.T) (list []matrixCase) {
	t.Helper()
	f, err := os.Open("../testdata/sync-rebuild-matrix.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name := regexp.MustCompile(`^CASE matrix (.* meta=(\w+) .*)$`)
	for in := bufio.NewScanner(f); in.Scan(); {
		line := in.Text()
		if m := name.FindStringSubmatch(line); m != nil {
			list = append(list, matrixCase{name: m[1], meta: m[2]})
			continue
		}
		if len(list) == 0 {
			continue
		}
		c := &list[len(list)-1]
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "TABLEIN":
			c.in = rest
		case "RC":
			c.refused = rest != "0"
		case "DMESG":
			if line, ok := logLine(rest); ok {
				c.log = append(c.log, line)
			}
		case "STATUS":
			c.status = append(c.status, rest)
		}
	}
	if len(list) != 96 {
		t.Fatalf("%d cases", len(list))
	}
	return list
}

// plain is the table without the words of the matrix, and without a rate.
func plain(in string) string {
	f := strings.Fields(in)
	f[4] = "1"
	at := slices.Index(f, "max_recovery_rate")
	return strings.Join(slices.Concat(f[:6], f[at+2:]), " ")
}

// Every start in the matrix of level, metadata and words comes to what Linux
// 6.1 made of it.
func TestMatrix(t *testing.T) {
	ran := 0
	for _, c := range matrixCases(t) {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, dmraid.Linux61)
			switch c.meta {
			case "clean":
				l.start(plain(c.in))
				l.settled()
				l.remove()
			case "dirty":
				l.m.HoldSync(true)
				l.start(plain(c.in))
				if more, err := l.m.Step("r", 4096); err != nil || !more {
					t.Fatal(more, err)
				}
				l.remove()
			}
			l.m.HoldSync(true)
			l.raidLog()
			err := l.load(c.in)
			if (err != nil) != c.refused {
				t.Errorf("%v", err)
			}
			if log := l.raidLog(); !slices.Equal(log, c.log) {
				t.Errorf("log\n got %q\nwant %q", log, c.log)
			}
			if err != nil || c.refused {
				return
			}
			ran++
			l.resume()
			got, want := strings.Fields(l.status()), strings.Fields(c.status[0])
			if want[7] != "idle" {
				// How far it is differs.
				if _, err := l.m.Step("r", 64); err != nil {
					t.Fatal(err)
				}
				got = strings.Fields(l.status())
				_, got[6], _ = strings.Cut(got[6], "/")
				_, want[6], _ = strings.Cut(want[6], "/")
			}
			if !slices.Equal(got, want) {
				t.Errorf("status\n got %s\nwant %s", got, want)
			}
		})
	}
	if ran == 0 {
		t.Error("no start was taken")
	}
}
