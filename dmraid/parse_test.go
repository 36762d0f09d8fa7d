// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

func sectors(n dmraid.Sectors) *dmraid.Sectors { return &n }

func legs(n int) []dmraid.Leg {
	all := []dmraid.Leg{
		{Meta: "1:8", Data: "1:0"}, {Meta: "1:9", Data: "1:1"}, {Meta: "1:10", Data: "1:2"}, {Meta: "1:11", Data: "1:3"},
	}
	return all[:n]
}

// full has every field of its level.
var (
	fullRAID1 = dmraid.Table{
		Type: dmraid.RAID1, Legs: legs(3), Rebuild: []int{1, 2}, DaemonSleep: 1000, MinRecoveryRate: 10, MaxRecoveryRate: 20,
		WriteMostly: []int{0, 2}, MaxWriteBehind: 512, RegionSize: 1024, DeltaDisks: -1, DataOffset: sectors(0),
	}
	fullRAID5 = dmraid.Table{
		Type: dmraid.RAID5LS, ChunkSize: 64, Legs: legs(3), Sync: dmraid.SyncNone, StripeCache: 512, RegionSize: 1024, DeltaDisks: 1,
		DataOffset: sectors(2048), JournalDev: "1:16", JournalMode: dmraid.WriteBack,
	}
	fullRAID10 = dmraid.Table{
		Type: dmraid.RAID10, ChunkSize: 128, Legs: legs(4), Sync: dmraid.SyncForce, Copies: 3, Format: dmraid.FormatOffset, NearSets: true,
	}
)

func TestParams(t *testing.T) {
	for _, tt := range []struct {
		table dmraid.Table
		want  string
	}{
		{fullRAID1, "raid1 23 0 rebuild 1 rebuild 2 daemon_sleep 1000 min_recovery_rate 10 max_recovery_rate 20 write_mostly 0 write_mostly 2 " +
			"max_write_behind 512 region_size 1024 delta_disks -1 data_offset 0 3 1:8 1:0 1:9 1:1 1:10 1:2"},
		{fullRAID5, "raid5_ls 14 64 nosync stripe_cache 512 region_size 1024 delta_disks 1 data_offset 2048 journal_dev 1:16 journal_mode writeback " +
			"3 1:8 1:0 1:9 1:1 1:10 1:2"},
		{fullRAID10, "raid10 7 128 sync raid10_copies 3 raid10_format offset raid10_use_near_sets 4 1:8 1:0 1:9 1:1 1:10 1:2 1:11 1:3"},
		{dmraid.Table{Type: dmraid.RAID4, ChunkSize: 8, Legs: []dmraid.Leg{{}, {Data: "/dev/a b"}, {Meta: "/dev/m", Data: `/dev/c\d`}}},
			`raid4 1 8 3 - - - /dev/a\ b /dev/m /dev/c\\d`},
	} {
		got := tt.table.Params()
		if got != tt.want {
			t.Errorf("\n got %q\nwant %q", got, tt.want)
		}
		if back := parse(t, dmraid.Parse, got); !reflect.DeepEqual(back, tt.table) {
			t.Errorf("Parse(%q):\n got %#v\nwant %#v", got, back, tt.table)
		}
		if s := tt.table.String(); s != "raid "+got {
			t.Errorf("String: %q", s)
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct{ in, out string }{
		// In any case and order; what is the default is dropped.
		{"RAID5_LS 8 64 REGION_SIZE 1024 NoSync Stripe_Cache 512 min_recovery_rate 0 3 - a - b - c",
			"raid5_ls 6 64 nosync stripe_cache 512 region_size 1024 3 - a - b - c"},
		{"raid1 5 64 write_mostly 2 write_mostly 0 3 - a - b - -", "raid1 5 0 write_mostly 0 write_mostly 2 3 - a - b - -"},
		{"raid1 5 -1 daemon_sleep 0 max_write_behind 0 1 - a", "raid1 1 0 1 - a"},
		{"raid6_zr 3 64 data_offset 0 4 - a - b - c - d", "raid6_zr 3 64 data_offset 0 4 - a - b - c - d"},
		// 0 entries is not the default of 256.
		{"raid4 3 64 stripe_cache 0 2 - a - b", "raid4 3 64 stripe_cache 1 2 - a - b"},
		{"raid10 5 64 RAID10_FORMAT Far raid10_copies +2 2 - a - b", "raid10 5 64 raid10_copies 2 raid10_format far 2 - a - b"},
		{`raid0 1 8 1 - /dev/x\ y`, `raid0 1 8 1 - /dev/x\ y`},
		{`raid0 1 8 1 \- a`, "raid0 1 8 1 - a"},
	} {
		if got := parse(t, dmraid.Parse, tt.in).Params(); got != tt.out {
			t.Errorf("%q\n got %q\nwant %q", tt.in, got, tt.out)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                                       "too early",
		"raid0 1":                                "too early",
		"raid7 1 64 2 - a - b":                   `"raid7" is not known`,
		"\u017f" + "ync 1 64 1 - a":              "is not known",
		"raid0 x 64 2 - a - b":                   "#params",
		"raid0 -1 64 2 - a - b":                  "#params",
		"raid0 1 x 2 - a - b":                    "chunk size",
		"raid0 1 -8 2 - a - b":                   "chunk size -8",
		"raid0 1 64":                             "too early",
		"raid0 1 64 2":                           "4 words, not 0",
		"raid0 1 64 2 - a - b c":                 "1 words behind",
		"raid0 1 64 0":                           "0 legs",
		"raid0 1 64 254":                         "254 legs",
		"raid0 3 64 2 - a - b":                   "#params is 3, but there are 1 words",
		"raid0 3 64 what 1 2 - a - b":            `"what" is not known`,
		"raid5_ls 3 64 region_size":              "no value",
		"raid5_ls 3 64 region_size -1 2 - a - b": "negative",
		"raid5_ls 3 64 data_offset -8 2 - a - b": "negative",
		"raid5_ls 3 64 region_size 9x 2 - a - b": "no number",
		"raid5_ls 5 64 region_size 8 region_size 8 2 - a -":  "given twice",
		"raid5_ls 3 64 sync nosync 2 - a - b":                "exclude",
		"raid5_ls 3 64 sync sync 2 - a - b":                  "given twice",
		"raid5_ls 3 64 delta_disks 0 2 - a - b":              "0 legs",
		"raid5_ls 3 64 journal_dev - 2 - a - b":              "no device",
		"raid5_ls 5 64 journal_dev j journal_mode w 2 - a -": "none of",
		"raid10 3 64 raid10_format nearby 2 - a - b":         "none of",
		"raid10 3 64 raid10_copies 0 2 - a - b":              "0 copies",
		"raid1 1 0 - a":                                      "number of legs",
	} {
		got, err := dmraid.Parse(in)
		if got != nil || err == nil || !errors.Is(err, dmraid.ErrTable) || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, %v, want %q", in, got, err, want)
		}
	}
}

// Lines as raid_status of the target versions prints them.
func TestParsePrinted(t *testing.T) {
	v := func(minor, patch uint32) dm.Version { return dm.Version{Major: 1, Minor: minor, Patch: patch} }
	for _, tt := range []struct {
		version dm.Version
		in, out string
	}{
		{v(15, 1), "raid1 5 0 write_mostly 1 max_write_behind 128 2 1:8 1:0 1:9 1:1", "raid1 5 0 write_mostly 1 max_write_behind 256 2 1:8 1:0 1:9 1:1"},
		{v(15, 1), "raid1 3 0 max_write_behind 0 1 - 1:0", "raid1 1 0 1 - 1:0"},
		// raid10_use_near_sets is counted alone.
		{v(15, 1), "raid10 6 64 raid10_copies 2 raid10_format offset 2 - 1:0 - 1:1",
			"raid10 6 64 raid10_copies 2 raid10_format offset raid10_use_near_sets 2 - 1:0 - 1:1"},
		{v(15, 1), "raid10 5 64 raid10_copies 2 raid10_format far 2 - 1:0 - 1:1", "raid10 5 64 raid10_copies 2 raid10_format far 2 - 1:0 - 1:1"},
		{v(15, 1), "raid5_ls 3 64 delta_disks 0 3 - 1:0 - 1:1 - 1:2", "raid5_ls 1 64 3 - 1:0 - 1:1 - 1:2"},
		{v(15, 1), "raid1 3 0 write_mostly -1 2 - 1:0 - 1:1", "raid1 3 0 write_mostly -1 2 - 1:0 - 1:1"},
		// 1.15.0 and older count the first rebuild, write_mostly and the journal twice.
		{v(14, 0), "raid1 11 0 rebuild 1 rebuild 2 write_mostly 2 3 - 1:0 - 1:1 - 1:2", "raid1 7 0 rebuild 1 rebuild 2 write_mostly 2 3 - 1:0 - 1:1 - 1:2"},
		{v(12, 0), "raid5_ls 9 64 journal_dev 1:16 journal_mode writeback 2 1:8 1:0 1:9 1:1",
			"raid5_ls 5 64 journal_dev 1:16 journal_mode writeback 2 1:8 1:0 1:9 1:1"},
		// 1.9.0: another order, and the count 2 too high and 1 more.
		{v(9, 0), "raid10 12 64 raid10_format far raid10_copies 2 region_size 1024 rebuild 1 4 1:8 1:0 1:9 1:1 1:10 1:2 1:11 1:3",
			"raid10 10 64 rebuild 1 region_size 1024 raid10_copies 2 raid10_format far raid10_use_near_sets 4 1:8 1:0 1:9 1:1 1:10 1:2 1:11 1:3"},
		{v(10, 1), "raid1 9 0 nosync region_size 1024 max_recovery_rate 20 min_recovery_rate 10 1 1:8 1:0",
			"raid1 8 0 nosync min_recovery_rate 10 max_recovery_rate 20 region_size 1024 1 1:8 1:0"},
		// Before 1.9.0 the cache is in sectors, and sync is hidden until it is done.
		{v(5, 0), "raid5_ls 3 64 stripe_cache 1024 2 1:8 1:0 1:9 1:1", "raid5_ls 3 64 stripe_cache 512 2 1:8 1:0 1:9 1:1"},
		{v(5, 0), "raid1 2 0 1 - 1:0", "raid1 2 0 sync 1 - 1:0"},
		{v(5, 0), "raid1 2 0 sync 1 - 1:0", "raid1 2 0 sync 1 - 1:0"},
	} {
		if got := parse(t, dmraid.ParserFor(tt.version), tt.in).Params(); got != tt.out {
			t.Errorf("%v prints %q\n got %q\nwant %q", tt.version, tt.in, got, tt.out)
		}
	}
	// What no kernel printed is refused there too.
	for _, in := range []string{"raid1 1 0 2 - a - b c", "raid1 3 0 foo 1 1 - a"} {
		if got, err := dmraid.ParsePrinted(in); err == nil {
			t.Errorf("ParsePrinted(%q) = %v", in, got)
		}
	}
}

func TestParsers(t *testing.T) {
	const line = "0 8192 raid raid1 5 0 write_mostly 1 max_write_behind 128 2 - a - b"
	for _, tt := range []struct {
		parsers dm.Parsers
		want    int64
	}{{dmraid.Parsers(), 256}, {dmraid.TextParsers(), 128}} {
		table, err := dm.ParseTable(line, tt.parsers)
		if err != nil {
			t.Fatal(err)
		}
		if got := table[0].Target.(dmraid.Table).MaxWriteBehind; got != tt.want {
			t.Errorf("max_write_behind %d, want %d", got, tt.want)
		}
		if err := table.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestParamsFor(t *testing.T) {
	v := func(minor, patch uint32) dm.Version { return dm.Version{Major: 1, Minor: minor, Patch: patch} }
	plain := []dmraid.Leg{{Data: "a"}, {Data: "b"}}
	raid5 := dmraid.Table{Type: dmraid.RAID5LS, ChunkSize: 64, Legs: plain, StripeCache: 512, MinRecoveryRate: 5, Rebuild: []int{1}}
	for _, tt := range []struct {
		table   dmraid.Table
		version dm.Version
		want    string // what the error names, when it begins with "!"
	}{
		{raid5, v(0, 0), "raid5_ls 7 64 rebuild 1 min_recovery_rate 5 stripe_cache 1024 2 - a - b"},
		{raid5, v(8, 0), "raid5_ls 7 64 rebuild 1 min_recovery_rate 5 stripe_cache 1024 2 - a - b"},
		{raid5, v(9, 0), "raid5_ls 7 64 stripe_cache 512 rebuild 1 min_recovery_rate 5 2 - a - b"},
		{raid5, v(10, 1), "raid5_ls 7 64 stripe_cache 512 rebuild 1 min_recovery_rate 5 2 - a - b"},
		{raid5, v(11, 0), "raid5_ls 7 64 rebuild 1 min_recovery_rate 5 stripe_cache 512 2 - a - b"},
		{raid5, dm.Version{Major: 2}, raid5.Params()},
		{dmraid.Table{Type: dmraid.RAID1, Legs: plain}, v(0, 0), "!raid1 needs target version 1.1.0, this is 1.0.0"},
		{dmraid.Table{Type: dmraid.RAID1, Legs: plain}, v(1, 0), "raid1 1 0 2 - a - b"},
		{dmraid.Table{Type: dmraid.RAID4, ChunkSize: 8, Legs: legs(2)}, v(0, 0), "!a metadata device"},
		{dmraid.Table{Type: dmraid.RAID10, ChunkSize: 8, Legs: plain}, v(2, 0), "!raid10 needs target version 1.3.0"},
		{dmraid.Table{Type: dmraid.RAID10, ChunkSize: 8, Legs: plain, Format: "far"}, v(4, 1), "!format far needs target version 1.4.2"},
		{dmraid.Table{Type: dmraid.RAID10Far, ChunkSize: 8, Legs: plain}, v(8, 0), "!raid10_far needs target version 1.9.0"},
		{dmraid.Table{Type: dmraid.RAID0, ChunkSize: 8, Legs: plain}, v(6, 0), "!raid0 needs target version 1.7.0"},
		{dmraid.Table{Type: dmraid.RAID5N, ChunkSize: 8, Legs: plain}, v(8, 9), "!raid5_n"},
		{dmraid.Table{Type: dmraid.RAID6LS6, ChunkSize: 8, Legs: legs(4)}, v(8, 9), "!raid6_ls_6"},
		{dmraid.Table{Type: dmraid.RAID6NC, ChunkSize: 8, Legs: legs(4)}, v(8, 9), "raid6_nc 1 8 4 1:8 1:0 1:9 1:1 1:10 1:2 1:11 1:3"},
		{dmraid.Table{Type: dmraid.RAID0, ChunkSize: 8, Legs: make([]dmraid.Leg, 65)}, v(8, 0), "!a table of 65 legs"},
		{fullRAID1, v(8, 0), "!delta_disks"},
		{fullRAID10, v(8, 0), "!raid10_use_near_sets"},
		{dmraid.Table{Type: dmraid.RAID4, ChunkSize: 8, Legs: plain, DataOffset: sectors(0)}, v(8, 0), "!data_offset"},
		{dmraid.Table{Type: dmraid.RAID4, ChunkSize: 8, Legs: plain, JournalDev: "j"}, v(9, 2), "!journal_dev"},
		{dmraid.Table{Type: dmraid.RAID4, ChunkSize: 8, Legs: plain, JournalDev: "j", JournalMode: "writeback"}, v(11, 0), "!journal_mode needs target version 1.11.1"},
	} {
		got, err := tt.table.ParamsFor(tt.version)
		if wantErr, bad := strings.CutPrefix(tt.want, "!"); bad {
			if err == nil || got != "" || !errors.Is(err, dmraid.ErrTable) || !strings.Contains(err.Error(), wantErr) {
				t.Errorf("%v for %v: %q, %v, want %s", tt.table, tt.version, got, err, wantErr)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("%v for %v:\n got %q, %v\nwant %q", tt.table, tt.version, got, err, tt.want)
		}
		if back := parse(t, dmraid.ParserFor(tt.version), got); !reflect.DeepEqual(back, tt.table) && tt.table.MaxWriteBehind == 0 {
			t.Errorf("%v for %v read back: %v", tt.table, tt.version, back)
		}
	}
}

func TestNormalize(t *testing.T) {
	for _, tt := range []struct{ in, out string }{
		{"raid10_far 5 64 raid10_copies 2 raid10_format near 2 - a - b", "raid10 1 64 2 - a - b"},
		{"raid10 5 64 raid10_copies 3 raid10_format far 3 - a - b - c", "raid10 5 64 raid10_copies 3 raid10_format far 3 - a - b - c"},
		{"raid5_ls 7 64 stripe_cache 256 journal_dev j journal_mode writethrough 2 - a - b", "raid5_ls 3 64 journal_dev j 2 - a - b"},
		{"raid1 7 0 write_mostly 1 write_mostly 1 max_write_behind 257 3 - a - b - c", "raid1 5 0 write_mostly 1 max_write_behind 256 3 - a - b - c"},
		{"raid1 3 0 max_write_behind 1 1 - a", "raid1 1 0 1 - a"},
		// A region of the default size is resized to, the default is not.
		{"raid1 3 0 region_size 8192 1 - a", "raid1 3 0 region_size 8192 1 - a"},
	} {
		in := parse(t, dmraid.Parse, tt.in)
		before := in.Params()
		got := in.Normalize()
		if got.Params() != tt.out {
			t.Errorf("%q\n got %q\nwant %q", tt.in, got.Params(), tt.out)
		}
		if again := got.Normalize(); !reflect.DeepEqual(again, got) {
			t.Errorf("%q: normalised twice: %v", tt.in, again)
		}
		got.Legs[0].Data = "other"
		if in.Params() != before {
			t.Errorf("%q was changed: %v", tt.in, in)
		}
	}
	odd := dmraid.Table{Type: "RAID1", ChunkSize: 64, Legs: []dmraid.Leg{{Meta: "-", Data: "a"}}, WriteMostly: []int{1, 0}}
	want := dmraid.Table{Type: "raid1", Legs: []dmraid.Leg{{Data: "a"}}, WriteMostly: []int{0, 1}}
	if got := odd.Normalize(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v", got)
	}
}

func TestReload(t *testing.T) {
	in := parse(t, dmraid.Parse, "raid5_ls 9 64 rebuild 1 region_size 1024 delta_disks 1 data_offset 2048 3 - a - b - c")
	if got := in.Reload().Params(); got != "raid5_ls 3 64 region_size 1024 3 - a - b - c" {
		t.Errorf("got %q", got)
	}
	if len(in.Rebuild) != 1 || in.DataOffset == nil {
		t.Errorf("changed: %v", in)
	}
	printed := parse(t, dmraid.ParsePrinted, "raid1 8 0 nosync write_mostly -1 write_mostly 1 max_write_behind 8 2 - a - b")
	if got := printed.Reload().Params(); got != "raid1 5 0 write_mostly 1 max_write_behind 16 2 - a - b" {
		t.Errorf("got %q", got)
	}
	if got := parse(t, dmraid.ParsePrinted, "raid1 3 0 write_mostly -1 2 - a - b").Reload(); got.WriteMostly != nil {
		t.Errorf("got %#v", got)
	}
}
