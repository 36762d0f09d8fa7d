// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bufio"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

func TestParseStatus(t *testing.T) {
	for _, tt := range []struct {
		text string
		want dmraid.Status
	}{
		{"raid1 2 AA 100/200", dmraid.Status{Type: dmraid.RAID1, Devices: 2, Letters: "AA", Done: 100, Total: 200, Fields: 4}},
		{"raid4 3 AaD 8192/8192 recover 16", dmraid.Status{Type: dmraid.RAID4, Devices: 3, Letters: "AaD", Done: 8192, Total: 8192, Action: dmraid.ActionRecover, Mismatches: 16, Fields: 6}},
		{"raid5_ls 4 AAA- 0/1 reshape 0 2048", dmraid.Status{Type: dmraid.RAID5LS, Devices: 4, Letters: "AAA-", Total: 1, Action: dmraid.ActionReshape, DataOffset: 2048, Fields: 7}},
		{"raid6_zr 4 AAAA 8/8 idle 0 0 a", dmraid.Status{Type: dmraid.RAID6ZR, Devices: 4, Letters: "AAAA", Done: 8, Total: 8, Action: dmraid.ActionIdle, Journal: 'a', Fields: 8}},
		{"raid10_far 2 AA 8/8 undef 0 0 - more things", dmraid.Status{Type: dmraid.RAID10Far, Devices: 2, Letters: "AA", Done: 8, Total: 8, Action: "undef", Journal: '-', Fields: 8, Rest: "more things"}},
		{"raid7_x 2 AA 18446744073709551615/18446744073709551615 idle 0", dmraid.Status{Type: "raid7_x", Devices: 2, Letters: "AA", Done: 1<<64 - 1, Total: 1<<64 - 1, Action: dmraid.ActionIdle, Fields: 6}},
	} {
		got, err := dmraid.ParseStatus(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
		if got.String() != tt.text {
			t.Errorf("%q is printed as %q", tt.text, got)
		}
	}
}

func TestParseStatusRefuses(t *testing.T) {
	for _, text := range []string{
		"", " ", "raid1", "raid1 2", "raid1 2 AA", "raid1 2 AA 1", "raid1 2 AA 1/", "raid1 2 AA /1", "raid1 2 AA 2/1",
		"raid1 x AA 1/2", "raid1 0 AA 1/2", "raid1 -1 AA 1/2", "raid1 2 AB 1/2", "raid1 65536 AA 1/2",
		"raid1 2 AA 1/2 idle", "raid1 2 AA 1/2 idle x", "raid1 2 AA 1/2 idle 0 x", "raid1 2 AA 1/2 idle 0 0 x", "raid1 2 AA 1/2 idle 0 0 AA",
		"raid1 2 AA 18446744073709551616/18446744073709551616", "raid1 2 AA 1/2/3",
		"raid1 254 " + strings.Repeat("A", 254) + " 1/2",
	} {
		s, err := dmraid.ParseStatus(text)
		var e *dmraid.Error
		if !errors.Is(err, dmraid.ErrCorrupt) || !errors.As(err, &e) || e.Op != "status" {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
}

// Every line that a kernel printed in the recordings comes back as it was.
func TestParseStatusRecorded(t *testing.T) {
	f, err := os.Open("testdata/status.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := sc.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		n++
		s, err := dmraid.ParseStatus(line)
		if err != nil || s.String() != line || s.Fields != 8 {
			t.Errorf("%q: %v, %v", line, s, err)
		}
		if _, err := dmraid.ParseType(string(s.Type)); err != nil {
			t.Error(err)
		}
	}
	if n < 60 {
		t.Errorf("only %d lines", n)
	}
}

func TestParseStatusAllocs(t *testing.T) {
	line := "raid5_ls 3 AaA 128/8192 recover 0 0 -"
	var s dmraid.Status
	if n := testing.AllocsPerRun(100, func() { s, _ = dmraid.ParseStatus(line) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	buf := make([]byte, 0, 128)
	if n := testing.AllocsPerRun(100, func() { buf = s.Append(buf[:0]) }); n != 0 || string(buf) != line {
		t.Errorf("%v allocations, %q", n, buf)
	}
}

func BenchmarkParseStatus(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dmraid.ParseStatus("raid6_ls_6 12 AAAAAAAAAAAa 134217728/268435456 recover 0 2048 -"); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add("raid1 2 AA 100/200")
	f.Add("raid5_ls 4 AAA- 0/1 reshape 0 2048")
	f.Add("raid6_zr 4 AAAA 8/8 idle 0 0 a x y")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := dmraid.ParseStatus(text)
		if err != nil {
			if !errors.Is(err, dmraid.ErrCorrupt) {
				t.Errorf("%v", err)
			}
			return
		}
		again, err := dmraid.ParseStatus(s.String())
		if err != nil || again != s {
			t.Errorf("%q: %+v came back as %+v, %v", text, s, again, err)
		}
		h := s.Health(dmraid.Facts{})
		if p, ok := h.Percent(); ok && (p < 0 || p > 100) || ok != h.Known {
			t.Errorf("%q: %v %% %v", text, p, ok)
		}
	})
}

func TestStatusOf(t *testing.T) {
	s, err := dmraid.StatusOf(dm.Status{Type: "raid", Text: "raid1 2 AA 1/2"})
	if err != nil || s.Done != 1 {
		t.Error(s, err)
	}
	if _, err := dmraid.StatusOf(dm.Status{Type: "mirror", Text: "raid1 2 AA 1/2"}); !errors.Is(err, dmraid.ErrForeign) {
		t.Error(err)
	}
}
