// SPDX-License-Identifier: MIT

package dm

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

// recordedTable is a case of the recording: a table that was loaded and what
// the kernel printed of it.
type recordedTable struct {
	Case   string   `json:"case"`
	In     string   `json:"in"`
	RC     int      `json:"rc"`
	Status []string `json:"status"`
	Table  []string `json:"table"`
}

func recordedTables(t testing.TB) []recordedTable {
	t.Helper()
	data, err := os.ReadFile("testdata/targets/targets-6.1.192.json")
	if err != nil {
		t.Fatal(err)
	}
	var runs map[string][]recordedTable
	if err := json.Unmarshal(data, &runs); err != nil {
		t.Fatal(err)
	}
	var all []recordedTable
	for _, cases := range runs {
		all = append(all, cases...)
	}
	return all
}

// Every table that the kernel printed parses, prints the same, and parses to
// an equal value; those of targets with a type are typed, and valid where
// the kernel took them.
func TestRecordedTables(t *testing.T) {
	typed, raw := 0, 0
	for _, tt := range recordedTables(t) {
		for _, line := range tt.Table {
			if tt.RC != 0 || strings.TrimSpace(line) == "" {
				continue
			}
			tab, err := ParseTable(line)
			if err != nil {
				t.Errorf("%s: %q: %v", tt.Case, line, err)
				continue
			}
			if tt.Case == "crynull" {
				// Recorded with dmsetup, which put zeros over the "-" too.
				line = strings.Replace(line, "ecb 0", "ecb -", 1)
			}
			got := strings.Fields(tab.Format())
			if want := strings.Fields(line); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %q is printed as %q", tt.Case, line, got)
			}
			again, err := ParseTable(tab.Format())
			if err != nil || !reflect.DeepEqual(again, tab) || !again.Equal(tab) {
				t.Errorf("%s: %v came back as %v, %v", tt.Case, tab, again, err)
			}
			if tab[0].Start == 0 {
				if err := tab.Validate(); err != nil {
					t.Errorf("%s: the kernel took what we refuse: %v", tt.Case, err)
				}
			}
			if _, ok := tab[0].Target.(Raw); ok {
				raw++
			} else {
				typed++
			}
		}
	}
	if typed < 60 || raw > 0 {
		t.Errorf("%d typed and %d raw tables", typed, raw)
	}
}

func TestRecordedStatus(t *testing.T) {
	n := 0
	for _, tt := range recordedTables(t) {
		for _, line := range tt.Status {
			w := strings.SplitN(strings.TrimSpace(line), " ", 4)
			if len(w) < 4 {
				continue
			}
			back, err := Status{Type: w[2], Text: w[3]}.Typed()
			if errors.Is(err, errors.ErrUnsupported) || err == nil && back == nil {
				continue
			}
			n++
			if err != nil || back.String() != strings.TrimSpace(w[3]) {
				t.Errorf("%s: %q came back as %v, %v", tt.Case, line, back, err)
			}
		}
	}
	if n < 6 {
		t.Errorf("only %d statuses", n)
	}
	for _, bad := range []string{"", "x", "2 1:0 1 AA", "2 1:0 1:1 2 AA", "2 1:0 1:1 1 A", "2 1:0 1:1 1 AX", "65535 a 1 A"} {
		if _, err := ParseStripedStatus(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("striped %q: %v", bad, err)
		}
	}
	for _, bad := range []string{"", "16", "16/2048", "a/b c", "1/2 3 4", "invalid"} {
		if _, err := ParseSnapshotStatus(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("snapshot %q: %v", bad, err)
		}
	}
}

func TestParseTableRefuses(t *testing.T) {
	for _, bad := range []string{
		"0", "0 8", "a 8 zero", "0 b zero", "-1 8 zero", "0 8 a-target-name-of-more-than-15",
		"0 8 linear", "0 8 linear /dev/x", "0 8 linear /dev/x y", "0 8 linear /dev/x 0 0", "0 8 zero 1",
		"0 8 striped 2 8 /dev/x 0", "0 8 striped 0 8", "0 8 striped 2 8 /dev/x 0 /dev/y 0 z",
		"0 8 delay /dev/x 0", "0 8 delay /dev/x 0 1 /dev/y", "0 8 flakey /dev/x 0 1 1 2 drop_writes",
		"0 8 flakey /dev/x 0 1 1 1 what", "0 8 flakey /dev/x 0 1 1 5 corrupt_bio_byte 1 x 0 0",
		"0 8 snapshot /dev/x /dev/y Q 8", "0 8 snapshot /dev/x /dev/y P 8 1 what", "0 8 snapshot-origin",
		"0 8 linear /dev/x 18014398509481984",
	} {
		if tab, err := ParseTable(bad); !errors.Is(err, ErrBadTable) {
			t.Errorf("%q: %v, %v", bad, tab, err)
		}
	}
	for _, bad := range []Table{
		nil, {{}}, {{0, 8, Raw{}}}, {{0, 8, Raw{Type: "a b"}}}, {{0, 8, Linear{}}}, {{0, 1 << 60, Zero{}}},
		{{0, 8, Raw{Type: "x", Text: "a\x00b"}}}, {{0, 8, Striped{}}},
		{{0, 8, Delay{Read: DelayLeg{Device: "x"}, Flush: &DelayLeg{Device: "x"}}}},
		{{0, 8, Delay{Read: DelayLeg{Device: "x", Delay: 1}}}},
		{{0, 8, SnapshotMerge{Origin: "a", COW: "b", Store: Transient}}},
		{{0, 8, Snapshot{Origin: "a", COW: "b", ChunkSize: 7}}},
		{{0, 8, Flakey{Device: "a", Up: 1e9, DropWrites: true, ErrorWrites: true}}},
	} {
		if err := bad.Validate(); !errors.Is(err, ErrBadTable) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestArgs(t *testing.T) {
	for _, tt := range []struct {
		text string
		args []string
	}{
		{"", nil}, {"  ", nil}, {"a b", []string{"a", "b"}}, {" a\t\nb ", []string{"a", "b"}},
		{`a\ b c`, []string{"a b", "c"}}, {`a\\b`, []string{`a\b`}}, {`a\`, []string{`a\`}},
	} {
		if got := SplitArgs(tt.text); !reflect.DeepEqual(got, tt.args) {
			t.Errorf("%q: %q", tt.text, got)
		}
	}
	l := Linear{Device: `/dev/my disk\1`, Offset: 1}
	if back, err := parseLinear(l.Params()); err != nil || back != Target(l) {
		t.Errorf("%v came back as %v, %v", l, back, err)
	}
}

func FuzzParseTable(f *testing.F) {
	for _, tt := range recordedTables(f) {
		f.Add(tt.In)
	}
	f.Add("0 8 linear /dev/a\\ b 0\n8 8 delay a 0 1 b 0 2 c 0 3")
	f.Add("0 8 snapshot a b PO 8 2 discard_zeroes_cow discard_passdown_origin")
	for _, line := range cryptSeeds(f) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tab, err := ParseTable(text)
		if err != nil {
			if !errors.Is(err, ErrBadTable) {
				t.Fatal(err)
			}
			return
		}
		if tab.Validate() != nil {
			return
		}
		again, err := ParseTable(tab.Format())
		if err != nil || !again.Equal(tab) {
			t.Fatalf("%q came back as %q, %v", tab.Format(), again.Format(), err)
		}
		for i := range tab {
			if reflect.TypeOf(tab[i].Target) != reflect.TypeOf(again[i].Target) {
				t.Fatalf("%T came back as %T", tab[i].Target, again[i].Target)
			}
		}
		_ = tab.String()
		for _, s := range tab {
			if m, ok := s.Target.(Mapper); ok {
				m.Extents(s.Length)
			}
		}
	})
}

func FuzzStatus(f *testing.F) {
	f.Add("0 64664 32768")
	f.Add("V")
	for _, s := range []string{"2 1:0 1:1 1 AD", "0 1 2", "16/2048 16", "Merge failed", "65535 1 A"} {
		f.Add(s)
	}
	for _, tt := range recordedTables(f) {
		for _, line := range tt.Status {
			if w := strings.SplitN(line, " ", 4); len(w) == 4 {
				f.Add(w[3])
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name := range builtin {
			s, err := Status{Type: name, Text: text}.Typed()
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatal(err)
				}
				continue
			}
			if s == nil {
				continue
			}
			back, err := Status{Type: name, Text: s.String()}.Typed()
			if err != nil || !reflect.DeepEqual(back, s) {
				t.Fatalf("%s: %+v came back as %+v, %v", name, s, back, err)
			}
		}
	})
}
