// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

// recorded is a case of testdata/cases-6.1.192.json.
type recorded struct {
	Case   string   `json:"case"`
	In     string   `json:"in"`
	RC     int      `json:"rc"`
	Status []string `json:"status"`
	Table  string   `json:"table"`
	Log    []string `json:"dmesg"`
}

func recordedCases(t testing.TB) []recorded {
	t.Helper()
	text, err := os.ReadFile("testdata/cases-6.1.192.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []recorded
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 112 {
		t.Fatalf("%d cases, want 112", len(cases))
	}
	return cases
}

// cut gives the length and the arguments of a line "0 length raid arguments".
func cut(t testing.TB, line string) (dmraid.Sectors, string) {
	t.Helper()
	words := strings.SplitN(line, " ", 4)
	length, err := strconv.ParseUint(words[1], 10, 64)
	if err != nil || words[2] != "raid" {
		t.Fatalf("line %q", line)
	}
	if len(words) < 4 {
		return dmraid.Sectors(length), ""
	}
	return dmraid.Sectors(length), words[3]
}

var errnoByName = map[string]syscall.Errno{
	"EPERM": 1, "EIO": 5, "ENXIO": 6, "ENODEV": 19, "EINVAL": 22, "ENOSPC": 28,
}

var reasonLine = regexp.MustCompile(`^device-mapper: table: raid: (.*) \(-(E[A-Z]+)\)$`)

// reason is what the kernel's log gives as the reason of a refusal.
func (r recorded) reason(t testing.TB) (string, syscall.Errno) {
	t.Helper()
	for _, l := range r.Log {
		if m := reasonLine.FindStringSubmatch(l); m != nil {
			code := errnoByName[m[2]]
			if code == 0 {
				t.Fatalf("errno %s", m[2])
			}
			return m[1], code
		}
	}
	t.Fatalf("no reason in the log of %q", r.In)
	return "", 0
}

// ramDisks are the devices of the recorded cases.
type ramDisks struct{}

func (ramDisks) Sectors(device string) (dmraid.Sectors, error) {
	if strings.HasPrefix(device, "1:") {
		return 16384, nil
	}
	return 0, os.ErrNotExist
}

// bySuperblocks are the refusals that the table alone does not show: the
// legs are fresh, and some are missing or have no metadata.
var bySuperblocks = map[string]string{
	"missing raid1":  "Unable to assemble array: Invalid superblocks",
	"missing raid5":  "Unable to assemble array: Invalid superblocks",
	"missing2 raid5": "Unable to assemble array: Invalid superblocks",
	"missing raid6":  "Unable to assemble array: Invalid superblocks",
	"mixmeta":        "Unable to assemble array: Invalid superblocks",
}

func TestCheckRecorded(t *testing.T) {
	super := 0
	for _, r := range recordedCases(t) {
		length, params := cut(t, r.In)
		err := dmraid.Check(params, length, ramDisks{})
		if want, ok := bySuperblocks[r.Case]; ok {
			super++
			if text, _ := r.reason(t); text != want {
				t.Errorf("%q: the kernel said %q", r.In, text)
			}
			if err != nil {
				t.Errorf("%q: %v", r.In, err)
			}
			continue
		}
		if r.RC == 0 {
			if err != nil {
				t.Errorf("%q: %v, but the kernel takes it", r.In, err)
			}
			continue
		}
		text, code := r.reason(t)
		var e *dmraid.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v, but the kernel says %q", r.In, err, text)
			continue
		}
		if e.Detail != text || e.Code != code || !errors.Is(err, dmraid.ErrTable) || !errors.Is(err, code) {
			t.Errorf("%q:\n got %q %d\nwant %q %d", r.In, e.Detail, e.Code, text, code)
		}
	}
	if super != len(bySuperblocks) {
		t.Errorf("%d cases were left to the superblocks, want %d", super, len(bySuperblocks))
	}
}

// What the kernel printed can be read, and loads again with the same effect.
func TestParseRecorded(t *testing.T) {
	for _, r := range recordedCases(t) {
		if r.RC != 0 {
			continue
		}
		length, in := cut(t, r.In)
		printedLength, out := cut(t, r.Table)
		if printedLength != length {
			t.Errorf("%q: length %d", r.Table, printedLength)
		}
		if strings.HasSuffix(in, "1 - 1:0 - 1:1") {
			// One leg is meant by the count, and two are given.
			if tab, err := dmraid.Parse(in); err == nil || !strings.Contains(err.Error(), "2 words behind the 1 legs") {
				t.Errorf("Parse(%q): %v, %v", in, tab, err)
			}
			in = strings.TrimSuffix(in, " - 1:1")
		}
		asked := parse(t, dmraid.Parse, in)
		printed := parse(t, dmraid.ParsePrinted, out)
		if a, p := asked.Normalize().Params(), printed.Normalize().Params(); a != p {
			t.Errorf("asked   %q\nprinted %q\n  gives %q\n    not %q", in, out, p, a)
		}
		if err := dmraid.Check(printed.Params(), length, ramDisks{}); err != nil {
			t.Errorf("%q can't be loaded again: %v", printed.Params(), err)
		}
	}
}

// With the superblocks, which are fresh in all the cases, nothing is left.
func TestConstructRecorded(t *testing.T) {
	for _, r := range recordedCases(t) {
		length, params := cut(t, r.In)
		state, err := dmraid.Construct(dmraid.Linux61, params, length, ramDisks{}, nil)
		if r.RC == 0 {
			if err != nil {
				t.Errorf("%q: %v, but the kernel takes it", r.In, err)
				continue
			}
			words := strings.Fields(r.Status[0])
			if string(state.Type) != words[3] || strconv.Itoa(state.Disks) != words[4] || len(state.Health) != len(words[5]) {
				t.Errorf("%q: %s %d %s, but the kernel says %q", r.In, state.Type, state.Disks, state.Health, r.Status[0])
			}
			continue
		}
		text, code := r.reason(t)
		var e *dmraid.Error
		if !errors.As(err, &e) || e.Detail != text || e.Code != code {
			t.Errorf("%q:\n got %v\nwant %q %d", r.In, err, text, code)
		}
	}
}

func parse(t testing.TB, parser dm.Parser, params string) dmraid.Table {
	t.Helper()
	target, err := parser(params)
	if err != nil {
		t.Fatalf("%q: %v", params, err)
	}
	return target.(dmraid.Table)
}

func asError(err error, e **dmraid.Error) bool { return errors.As(err, e) }
