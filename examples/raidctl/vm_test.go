// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// TestReadme does on the real kernel what README.md shows, in a folder of its
// own, and wants what is shown there.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, ok := strings.Cut(string(text), "```console\n")
	shown, _, end := strings.Cut(shown, "```\n")
	if !ok || !end {
		t.Fatal("README.md shows no session")
	}
	vmtest.Require(t, "dm-raid", "raid1", "raid10", "raid456", "loop")
	t.Chdir(t.TempDir())
	defer func() {
		if t.Failed() {
			session(t, "raidctl stop demo")
		}
	}()
	var got strings.Builder
	for l := range strings.Lines(shown) {
		command, ok := strings.CutPrefix(l, "$ ")
		if !ok {
			continue
		}
		got.WriteString(l)
		got.WriteString(session(t, strings.TrimSpace(command)))
	}
	if steady(got.String()) != steady(shown) {
		t.Errorf("the session is now:\n%s", got.String())
	}
}

// session is a command of the README and what it prints.
func session(t *testing.T, command string) string {
	t.Helper()
	words := line(command)
	switch words[0] {
	case "spoil": // a byte of a leg goes bad: the file is changed behind the array
		spoil(t, words[1])
		return ""
	case "truncate":
		if err := os.WriteFile(words[3], make([]byte, 36<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		return ""
	case "raidctl":
	default:
		t.Fatalf("unknown command %q", command)
	}
	var out bytes.Buffer
	code := run(context.Background(), words[1:], strings.NewReader(""), &out, &out, system{})
	var b strings.Builder
	for l := range strings.Lines(out.String()) {
		// Of a line that was drawn again and again the last counts.
		l = l[strings.LastIndexByte(l, '\r')+1:]
		b.WriteString(strings.TrimRight(l, " \n") + "\n")
	}
	if code != 0 {
		b.WriteString("(exit status " + string(rune('0'+code)) + ")\n")
	}
	return b.String()
}

func spoil(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("spoilt"), metaSize.Bytes()+1<<20); err != nil {
		t.Fatal(err)
	}
}

// steady takes out of a session what is another in each run.
func steady(s string) string {
	for _, r := range []struct{ from, to string }{
		{`\b\d+:\d+\b`, "M:m"}, {`events \d+`, "events N"}, {`/dev/loop\d+`, "/dev/loopN"},
		{`\S*/([^/ ]*-leg-\d)`, "$1"}, {`, \d+\w* left`, ""},
	} {
		s = regexp.MustCompile(r.from).ReplaceAllString(s, r.to)
	}
	return s
}

// TestFilesFree looks that nothing keeps a file when its array is gone.
func TestFilesFree(t *testing.T) {
	vmtest.Require(t, "dm-raid", "raid1", "loop")
	t.Chdir(t.TempDir())
	session(t, "raidctl create a raid1 --files . --count 2 --size 16M")
	if list, _ := filepath.Glob("/sys/block/loop*/loop/backing_file"); len(list) != 2 {
		t.Errorf("loop devices %q", list)
	}
	session(t, "raidctl stop a")
	if list, _ := filepath.Glob("/sys/block/loop*/loop/backing_file"); len(list) != 0 {
		t.Errorf("loop devices stay: %q", list)
	}
}
