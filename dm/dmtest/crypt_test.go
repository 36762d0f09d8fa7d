// SPDX-License-Identifier: MIT

package dmtest

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// The tables of crypt, integrity and verity that a kernel was given, one after
// the other on the same two disks, with what it printed or why it refused.
func TestRecordedCrypt(t *testing.T) {
	testRecordedCrypt(t, "crypt-6.1.192.txt", 47)
}

func TestRecordedCrypt612(t *testing.T) {
	testRecordedCrypt(t, "crypt-6.12.txt", 48)
}

func testRecordedCrypt(t *testing.T, file string, minor uint32) {
	data, err := os.ReadFile("../testdata/targets/" + file)
	if err != nil {
		t.Fatal(err)
	}
	// The kernel has them, the double has not.
	unmodelled := []string{"-eboiv", "-lmk", "-random", "authenc("}
	// How far the kernel was with a recalculation depends on the moment; and
	// recovery mode printed a superblock that it had not made.
	loose := []string{"recalculate", " B ", "0 16 R"}
	has := func(line string, words []string) bool {
		for _, w := range words {
			if strings.Contains(line, w) {
				return true
			}
		}
		return false
	}
	k := New(WithVersion(4, minor, 0))
	disks := []*Disk{k.AddDisk("/dev/ram0", 1, 0, 65536), k.AddDisk("/dev/ram1", 1, 1, 65536)}
	tr := k.Transport()
	n := map[string]int{}
	for _, part := range strings.Split(string(data), "TRY ")[1:] {
		lines := strings.Split(strings.TrimSpace(part), "\n")
		wipe := lines[len(lines)-1] == "WIPE"
		tried := lines[0]
		s := parseSpec(t, tried)
		collect, _ := tr.KernelLog()
		must(t, tr, dmwire.CmdCreate, named("a"), nil)
		err := loadAs(t, tr, "a", s, s.Type == "verity")
		var got []string
		if err == nil {
			must(t, tr, dmwire.CmdSuspend, named("a"), nil)
			got = append(got, "  TAB "+status(t, tr, "a", dmwire.StatusTable),
				"  STA "+quoted(status(t, tr, "a", 0)), "  IMA "+quoted(status(t, tr, "a", dmwire.IMAMeasurement)))
		} else if log := collect(); len(log) >= 2 {
			var errno syscall.Errno
			if !errors.As(err, &errno) {
				t.Fatal(err)
			}
			reason := log[len(log)-2]
			got = append(got, reason[strings.Index(reason, s.Type):])
		}
		must(t, tr, dmwire.CmdRemove, named("a"), nil)
		n[s.Type]++
		for i, want := range lines[1:] {
			want = strings.TrimRight(want, " ")
			switch {
			case want == "WIPE" || has(tried, unmodelled) || i > 0 && has(lines[1], loose) || has(lines[1], loose[2:]):
				continue
			case i >= len(got):
				t.Errorf("%s: nothing like %q", tried, want)
				continue
			}
			have := strings.TrimRight(got[i], " ")
			if reason, refused := strings.CutPrefix(want, "  ERR dm: create zz: "); refused {
				// The client puts the errno behind it, and an earlier line before.
				if !strings.Contains(reason, have) {
					t.Errorf("%s:\n got %q\nwant %q", tried, have, reason)
				}
				continue
			}
			if have != want {
				t.Errorf("%s:\n got %q\nwant %q", tried, have, want)
			}
		}
		if wipe || s.Type != "integrity" {
			for _, d := range disks {
				d.mu.Lock()
				clear(d.content)
				d.mu.Unlock()
			}
		}
	}
	if n["crypt"] < 50 || n["integrity"] < 60 || n["verity"] < 40 {
		t.Errorf("cases: %v", n)
	}
	k.AssertClean(t)
}

// cryptSeeds are the recorded tables, for the fuzzer.
func cryptSeeds(t testing.TB) (lines []string) {
	t.Helper()
	data, err := os.ReadFile("../testdata/targets/crypt-6.1.192.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if s, ok := strings.CutPrefix(line, "TRY "); ok {
			lines = append(lines, strings.TrimSpace(s))
		}
	}
	return lines
}

func quoted(line string) string {
	w := strings.SplitN(line, " ", 4)
	return `"` + strings.ReplaceAll(w[3], `"`, `\"`) + `"`
}
