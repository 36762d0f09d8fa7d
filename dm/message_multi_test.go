// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestMultiMessages(t *testing.T) {
	for _, tt := range []struct {
		m          TargetMessage
		text       string // empty: not valid
		targetType string
	}{
		{FailPath{"/dev/a b"}, `fail_path /dev/a\ b`, "multipath"},
		{ReinstatePath{"8:0"}, "reinstate_path 8:0", "multipath"},
		{SwitchGroup{2}, "switch_group 2", "multipath"},
		{DisableGroup{1}, "disable_group 1", "multipath"},
		{EnableGroup{1024}, "enable_group 1024", "multipath"},
		{QueueIfNoPath{}, "queue_if_no_path", "multipath"},
		{FailIfNoPath{}, "fail_if_no_path", "multipath"},
		{m: FailPath{}}, {m: ReinstatePath{}}, {m: SwitchGroup{}}, {m: DisableGroup{}}, {m: EnableGroup{1025}},
		{LogMark{"a b"}, `mark a\ b`, "log-writes"},
		{m: LogMark{}}, {m: LogMark{strings.Repeat("x", 480)}},
		{AddBadBlock{Block: 5}, "addbadblock 5", "dust"},
		{AddBadBlock{5, 255}, "addbadblock 5 255", "dust"},
		{RemoveBadBlock{5}, "removebadblock 5", "dust"},
		{QueryBadBlock{5}, "queryblock 5", "dust"},
		{CountBadBlocks{}, "countbadblocks", "dust"},
		{ListBadBlocks{}, "listbadblocks", "dust"},
		{ClearBadBlocks{}, "clearbadblocks", "dust"},
		{EnableBadBlocks{}, "enable", "dust"},
		{DisableBadBlocks{}, "disable", "dust"},
		{ToggleDustLog{}, "quiet", "dust"},
		{ReclaimZones{}, "reclaim", "zoned"},
		{VDOStats{}, "stats", "vdo"},
		{VDODump{}, "dump", "vdo"},
		{VDODump{[]string{"queues", "vdo"}}, "dump queues vdo", "vdo"},
		{VDODumpOnShutdown{}, "dump-on-shutdown", "vdo"},
		{VDOCompress{true}, "compression on", "vdo"},
		{VDOCompress{}, "compression off", "vdo"},
		{VDOIndex{"close"}, "index-close", "vdo"},
		{m: VDODump{[]string{"x"}}}, {m: VDOIndex{}},
		{SetRegionMappings{[]RegionRun{{0, []uint32{1}}}}, "set_region_mappings 0:1", "switch"},
		{SetRegionMappings{[]RegionRun{{1, []uint32{10, 11}}, {3, []uint32{0}}, {255, []uint32{1}}}}, "set_region_mappings 1:a :b :0 ff:1", "switch"},
		{SetRegionMappings{[]RegionRun{{16, []uint32{3, 3, 3}}, {2, []uint32{3, 3}}}}, "set_region_mappings 10:3 R1,2 2:3 :3", "switch"},
		{SetRegionMappings{[]RegionRun{{0, []uint32{0, 1, 2, 0, 1, 2, 0, 5}}, {8, []uint32{1}}}}, "set_region_mappings 0:0 :1 :2 R3,4 :5 :1", "switch"},
		{m: SetRegionMappings{}}, {m: SetRegionMappings{[]RegionRun{{}}}}, {m: SetRegionMappings{[]RegionRun{{1<<64 - 1, []uint32{0}}}}},
	} {
		if err := tt.m.Validate(); (err != nil) != (tt.text == "") {
			t.Errorf("%#v: %v", tt.m, err)
		}
		if tt.text != "" && (tt.m.Text() != tt.text || tt.m.TargetType() != tt.targetType) {
			t.Errorf("%#v: %s %q, want %q", tt.m, tt.m.TargetType(), tt.m.Text(), tt.text)
		}
	}
	million := make([]uint32, 1<<20)
	for i := range million {
		million[i] = uint32(i % 4)
	}
	if text := (SetRegionMappings{[]RegionRun{{0, million}}}).Text(); text != "set_region_mappings 0:0 :1 :2 :3 R4,ffffc" {
		t.Errorf("%.100s", text)
	}
}

func TestDustAnswers(t *testing.T) {
	for _, tt := range []struct {
		text string
		bad  bool
		err  error
	}{
		{"dust_query_block: block 5 found in badblocklist", true, nil},
		{"dust_query_block: block 5 not found in badblocklist", false, nil},
		{"dust_query_block: block 15 found in badblocklist", false, ErrCorrupt},
		{"", false, errors.ErrUnsupported},
	} {
		if bad, err := (QueryBadBlock{5}).Answer(tt.text); bad != tt.bad || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
			t.Errorf("%q: %v %v", tt.text, bad, err)
		}
	}
	if n, err := (CountBadBlocks{}).Answer("countbadblocks: 12 badblock(s) found"); n != 12 || err != nil {
		t.Error(n, err)
	}
	if list, err := (ListBadBlocks{}).Answer("1\n30\n"); !slices.Equal(list, []uint64{1, 30}) || err != nil {
		t.Error(list, err)
	}
	if list, err := (ListBadBlocks{}).Answer("No blocks in badblocklist"); list != nil || err != nil {
		t.Error(list, err)
	}
	for text, want := range map[string]error{"": errors.ErrUnsupported, "x": ErrCorrupt, "countbadblocks: x badblock(s) found": ErrCorrupt, "1\n\n2": ErrCorrupt} {
		if _, err := (CountBadBlocks{}).Answer(text); !errors.Is(err, want) {
			t.Errorf("count %q: %v", text, err)
		}
		if _, err := (ListBadBlocks{}).Answer(text); !errors.Is(err, want) {
			t.Errorf("list %q: %v", text, err)
		}
	}
}
