// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

func TestParseDraft(t *testing.T) {
	for _, tt := range []struct{ in, out string }{
		{"raid1 1 64 2 m a n b", "raid1 1 0 2 m a n b"},
		{"raid1 3 64 write_back=256 daemon_sleep=1000 2 m a n b", "raid1 5 0 daemon_sleep 1000 max_write_behind 256 2 m a n b"},
		{"raid4 2 64 1 3 m a n b o c", "raid4 3 64 rebuild 1 3 m a n b o c"},
		{"raid4 2 64 -1 3 m a n b o c", "raid4 1 64 3 m a n b o c"},
		{"raid4 1 64 3 m a n b o c", "raid4 1 64 3 m a n b o c"},
		{"raid6_zr 3 64 3 0 4 m a n b o c p d", "raid6_zr 5 64 rebuild 0 rebuild 3 4 m a n b o c p d"},
		{"raid6_zr 3 64 2 -1 4 m a n b o c p d", "raid6_zr 3 64 rebuild 2 4 m a n b o c p d"},
		{"raid5_ls 5 64 rebuild=1 stripecache=512 minspeed=10 maxspeed=20 3 m a n b o c",
			"raid5_ls 9 64 rebuild 1 min_recovery_rate 10 max_recovery_rate 20 stripe_cache 512 3 m a n b o c"},
		{"RAID5_RA 2 64 nosync 3 m a n b - -", "raid5_ra 2 64 nosync 3 m a n b - -"},
		{"raid5_rs 2 64 sync 3 m a n b o c", "raid5_rs 2 64 sync 3 m a n b o c"},
		// Rows of the mail's matrix: nosync beside a rebuild says nothing.
		{"raid5_la 3 64 0 nosync 3 m a n b o c", "raid5_la 3 64 rebuild 0 3 m a n b o c"},
		{"raid5_la 3 64 0 nosync 3 - a - b - c", "raid5_la 3 64 rebuild 0 3 - a - b - c"},
	} {
		got, err := dmraid.ParseDraft(tt.in)
		if err != nil || got.Params() != tt.out {
			t.Errorf("%q\n got %q, %v\nwant %q", tt.in, got.Params(), err, tt.out)
			continue
		}
		if err := dmraid.Check(got.Params(), 24576, nil); err != nil {
			t.Errorf("%q gives what the kernel refuses: %v", tt.in, err)
		}
	}
}

func TestParseDraftErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                                               "too early",
		"raid7 1 64 2 - a - b":                           "is not known",
		"raid10 1 64 2 - a - b":                          "the draft has no type raid10",
		"raid5_n 1 64 2 - a - b":                         "the draft has no type",
		"raid4 x 64 2 - a - b":                           "#params",
		"raid4 0 2 - a - b":                              "#params",
		"raid4 1 x 2 - a - b":                            "chunk size",
		"raid4 2 64 2 - a - b":                           "#params is 2, but the legs begin behind 1 words",
		"raid4 1 64 1 2 - a - b":                         "#params is 1, but the legs begin behind 2 words",
		"raid4 1 64 3 - a - b":                           "no number of legs",
		"raid4 99999 64 3 - a - b":                       "no number of legs",
		"raid1 2 64 1 2 - a - b":                         "raid1 has no rebuild argument",
		"raid4 3 64 1 0 2 - a - b":                       "takes 1 rebuild arguments",
		"raid4 3 64 rebuild 1 2 m a n b":                 "today's grammar",
		"raid4 2 64 what 2 - a - b":                      `"what" is not known`,
		"raid4 2 64 what=1 2 - a - b":                    `"what" is not known`,
		"raid4 2 64 stripecache=x 2 - a - b":             "no number",
		"raid4 2 64 stripecache=-1 2 - a - b":            "no number",
		"raid4 3 64 stripecache=1 stripecache=2 2 m a n": "no number of legs",
		"raid4 3 64 minspeed=1 minspeed=2 2 m a n b":     "given twice",
		"raid4 3 64 sync sync 2 m a n b":                 "given twice",
		"raid4 3 64 sync nosync 2 m a n b":               "exclude",
		"raid4 2 64 write_back=8 2 m a n b":              "write_back is for raid1",
		"raid1 2 0 stripecache=8 2 m a n b":              "stripecache is for",
		"raid4 2 64 2 2 m a n b":                         "no leg 2 to rebuild: 2 legs count from 0",
		"raid4 2 64 rebuild=-1 2 m a n b":                "no number",
		"raid4 2 64 1 2 m a - -":                         "is missing",
		"raid4 3 64 1 sync 2 m a n b":                    "sync with a rebuild is invalid",
		"raid4 2 64 1 2 - a - b":                         "needs nosync",
		"raid4 3 64 1 rebuild=0 2 m a n b":               "ambiguous",
		"raid6_nr 2 64 1 4 m a n b o c p d":              "ambiguous",
		"raid6_nr 3 64 1 1 4 m a n b o c p d":            "ambiguous",
		"raid6_nr 3 64 nosync 1 4 m a n b o c p d":       "ambiguous",
		"raid5_ls 3 64 rebuild=1 rebuild=1 2 m a n b":    "ambiguous",
	} {
		got, err := dmraid.ParseDraft(in)
		if err == nil || !errors.Is(err, dmraid.ErrTable) || !strings.Contains(err.Error(), want) || got.Legs != nil {
			t.Errorf("%q: %v, %v, want %q", in, got, err, want)
		}
		if errors.Is(err, dmraid.ErrAmbiguous) != (want == "ambiguous") {
			t.Errorf("%q: %v", in, err)
		}
	}
}
