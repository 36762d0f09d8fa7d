// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

// Values print as the kernel's constructors want them, and parse to equal
// values.
func TestCacheTargetsRoundTrip(t *testing.T) {
	ms := func(n int) *time.Duration { return new(time.Duration(n) * time.Millisecond) }
	for _, tt := range []struct {
		target interface {
			Target
			Validator
			Mapper
		}
		params string
	}{
		{Cache{Metadata: "m", Cache: "c", Origin: "o", BlockSize: 64, Policy: "smq"}, "m c o 64 1 writeback smq 0"},
		{
			Cache{
				Metadata: "m", Cache: "c", Origin: "/dev/my disk", BlockSize: 2097152, Mode: Passthrough, Metadata2: true, NoDiscardPassdown: true,
				Policy: "mq", Args: []CacheArg{{"migration_threshold", "1"}, {"random_threshold", "2"}},
			},
			`m c /dev/my\ disk 2097152 3 metadata2 passthrough no_discard_passdown mq 4 migration_threshold 1 random_threshold 2`,
		},
		{Writecache{Origin: "o", Cache: "c", BlockSize: 512}, "s o c 512 0"},
		{
			Writecache{
				PMEM: true, Origin: "o", Cache: "c", BlockSize: 4096, StartSector: 8, HighWatermark: new(uint8(60)), LowWatermark: new(uint8(0)),
				WritebackJobs: new(uint32(16)), AutocommitBlocks: new(uint32(0)), AutocommitTime: ms(1000), MaxAge: ms(0), Cleaner: true, NoFUA: true,
				MetadataOnly: true, PauseWriteback: ms(60000),
			},
			"p o c 4096 19 start_sector 8 high_watermark 60 low_watermark 0 writeback_jobs 16 autocommit_blocks 0 autocommit_time 1000 max_age 0 cleaner nofua metadata_only pause_writeback 60000",
		},
		{Era{"m", "o", 8}, "m o 8"},
		{Clone{Metadata: "m", Dest: "d", Source: "s", RegionSize: 8}, "m d s 8"},
		{Clone{Metadata: "m", Dest: "d", Source: "s", RegionSize: 8, NoHydration: true, NoDiscardPassdown: true}, "m d s 8 2 no_hydration no_discard_passdown"},
		{
			Clone{Metadata: "m", Dest: "d", Source: "s", RegionSize: 1 << 21, HydrationThreshold: new(uint32(0)), HydrationBatchSize: new(uint32(7))},
			"m d s 2097152 0 4 hydration_threshold 0 hydration_batch_size 7",
		},
	} {
		if got := tt.target.Params(); got != tt.params {
			t.Errorf("%T prints %q, want %q", tt.target, got, tt.params)
		}
		if err := tt.target.Validate(1024); err != nil {
			t.Errorf("%s: %v", tt.params, err)
		}
		back, err := builtin[tt.target.TargetType()].parse(tt.params)
		if err != nil || !reflect.DeepEqual(back, Target(tt.target)) {
			t.Errorf("%s came back as %+v, %v", tt.params, back, err)
		}
		if n := len(tt.target.Extents(1024)); n < 2 {
			t.Errorf("%s: %d extents", tt.params, n)
		}
	}
	// What the kernel takes and echoes, in other words for the same.
	for _, tt := range []struct{ typ, params, canon string }{
		{"cache", "m c o 64 0 smq 0", "m c o 64 1 writeback smq 0"},
		{"cache", "m c o 64 2 writeback metadata2 smq 0", "m c o 64 2 metadata2 writeback smq 0"},
		{"writecache", "s o c 4096 2 start_sector 0", "s o c 4096 0"},
		{"writecache", "p o c 4096 2 nofua fua", "p o c 4096 1 fua"},
		{"clone", "m d s 8 0", "m d s 8"},
		{"clone", "m d s 8 1 no_hydration 0", "m d s 8 1 no_hydration"},
	} {
		back, err := builtin[tt.typ].parse(tt.params)
		if err != nil || back.Params() != tt.canon {
			t.Errorf("%s %s came back as %v, %v", tt.typ, tt.params, back, err)
		}
	}
}

func TestCacheTargetsRefuse(t *testing.T) {
	for _, bad := range []string{
		"0 8 cache m c o", "0 8 cache m c o 64", "0 8 cache m c o 64 0", "0 8 cache m c o 64 0 smq", "0 8 cache m c o 64 0 smq 1 a", "0 8 cache m c o 64 0 smq 2 a",
		"0 8 cache m c o 64 1 what smq 0", "0 8 cache m c o 64 2 writeback writeback smq 0", "0 8 cache m c o 64 0 smq 0 more", "0 8 cache m c o x 0 smq 0",
		"0 8 writecache x o c 512 0", "0 8 writecache s o c", "0 8 writecache s o c 512 1", "0 8 writecache s o c 512 1 what", "0 8 writecache s o c 512 2 max_age x",
		"0 8 writecache s o c 512 1 high_watermark", "0 8 writecache s o c 512 2 high_watermark 256", "0 8 writecache s o c 512 0 cleaner",
		"0 8 era m o", "0 8 era m o x", "0 8 era m o 8 9",
		"0 8 clone m d s", "0 8 clone m d s 8 1", "0 8 clone m d s 8 1 what", "0 8 clone m d s 8 0 1 hydration_threshold", "0 8 clone m d s 8 0 2 what 1",
		"0 8 clone m d s 8 0 2 hydration_threshold x", "0 8 clone m d s 8 0 0 more",
	} {
		if tab, err := ParseTable(bad); !errors.Is(err, ErrBadTable) {
			t.Errorf("%q: %v, %v", bad, tab, err)
		}
	}
	c := Cache{Metadata: "m", Cache: "c", Origin: "o", BlockSize: 64, Policy: "smq"}
	w := Writecache{Origin: "o", Cache: "c", BlockSize: 4096}
	l := Clone{Metadata: "m", Dest: "d", Source: "s", RegionSize: 8}
	changed := func(f func()) Table {
		oldC, oldW, oldL := c, w, l
		defer func() { c, w, l = oldC, oldW, oldL }()
		f()
		return Table{{0, 1024, c}, {1024, 1024, w}, {2048, 1024, l}}
	}
	if err := changed(func() {}).Validate(); err != nil {
		t.Fatal(err)
	}
	for i, f := range []func(){
		func() { c.BlockSize = 0 }, func() { c.BlockSize = 96 }, func() { c.BlockSize = 1<<21 + 64 }, func() { c.Metadata = "" }, func() { c.Policy = "" },
		func() { c.Mode = 3 }, func() { c.Args = []CacheArg{} }, func() { c.Args = []CacheArg{{"migration_threshold", "x"}} },
		func() { c.Args = []CacheArg{{"", "1"}} }, func() { c.Args = make([]CacheArg, 513) },
		func() { w.BlockSize = 0 }, func() { w.BlockSize = 256 }, func() { w.BlockSize = 3000 }, func() { w.BlockSize = 1 << 17 }, func() { w.Origin = "" },
		func() { w.HighWatermark = new(uint8(44)) }, func() { w.LowWatermark = new(uint8(51)) }, func() { w.HighWatermark = new(uint8(101)) },
		func() { w.FUA = true }, func() { w.PMEM, w.FUA, w.NoFUA = true, true, true },
		func() { w.MaxAge = new(25 * time.Hour) }, func() { w.AutocommitTime = new(time.Hour + time.Millisecond) }, func() { w.PauseWriteback = new(61 * time.Second) },
		func() { w.MaxAge = new(time.Nanosecond) }, func() { w.PauseWriteback = new(-time.Second) },
		func() { l.RegionSize = 4 }, func() { l.RegionSize = 24 }, func() { l.RegionSize = 1 << 22 }, func() { l.Source = "" },
	} {
		if err := changed(f).Validate(); !errors.Is(err, ErrBadTable) {
			t.Errorf("%d: %v", i, err)
		}
	}
	for _, bad := range []Table{
		{{0, 8, Era{"m", "o", 0}}}, {{0, 8, Era{"m", "o", 12}}}, {{0, 8, Era{"", "o", 8}}}, {{0, 8, Era{"m", "o", 1 << 32}}},
		{{0, 1 << 35, Era{"m", "o", 8}}}, {{0, 1 << 35, l}},
	} {
		if err := bad.Validate(); !errors.Is(err, ErrBadTable) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestCacheStatuses(t *testing.T) {
	const text = "8 9/8192 64 5/1024 1 2 3 4 5 6 7 3 metadata2 writethrough no_discard_passdown 2 migration_threshold 2048 mq 2 a b ro needs_check"
	want := CacheStatus{
		MetadataBlockSize: 8, MetadataUsed: 9, MetadataTotal: 8192, BlockSize: 64, Used: 5, Total: 1024,
		ReadHits: 1, ReadMisses: 2, WriteHits: 3, WriteMisses: 4, Demotions: 5, Promotions: 6, Dirty: 7,
		Metadata2: true, Mode: Writethrough, NoDiscardPassdown: true,
		CoreArgs: []CacheArg{{"migration_threshold", "2048"}}, Policy: "mq", PolicyArgs: []CacheArg{{"a", "b"}}, ReadOnly: true, NeedsCheck: true,
	}
	if s, err := ParseCacheStatus(text); err != nil || !reflect.DeepEqual(s, want) || s.String() != text {
		t.Errorf("%+v, %v", s, err)
	}
	for text, want := range map[string]CacheStatus{"Fail": {Fail: true}, "Error": {Error: true}} {
		if s, err := ParseCacheStatus(text + " "); err != nil || !reflect.DeepEqual(s, want) || s.String() != text {
			t.Errorf("%s: %+v, %v", text, s, err)
		}
		if _, ok := want.MigrationThreshold(); ok {
			t.Errorf("%s has a threshold", text)
		}
	}
	old, err := ParseWritecacheStatus("1 8160 8158 2")
	if err != nil || old != (WritecacheStatus{Error: 1, Blocks: 8160, Free: 8158, Writeback: 2}) {
		t.Errorf("%+v, %v", old, err)
	}
	now, err := ParseWritecacheStatus("0 8160 8158 2 1 2 3 4 5 6 7 8 9 10")
	if err != nil || !now.Counters || now.Reads != 1 || now.WritesAllocate != 7 || now.Discards != 10 {
		t.Errorf("%+v, %v", now, err)
	}
	if s, err := ParseEraStatus("8 11/8192 3 25"); err != nil || s != (EraStatus{MetadataBlockSize: 8, MetadataUsed: 11, MetadataTotal: 8192, Era: 3, MetadataSnap: 25}) {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := ParseEraStatus("Error"); err != nil || !s.Error || s.String() != "Error" {
		t.Errorf("%+v, %v", s, err)
	}
	s, err := ParseCloneStatus("8 6/8192 8 3/4096 1 1 no_hydration 4 hydration_threshold 2 hydration_batch_size 3 ro")
	if err != nil || s.Hydrated != 3 || s.Total != 4096 || s.Hydrating != 1 || !s.NoHydration || s.NoDiscardPassdown || s.HydrationThreshold != 2 || s.HydrationBatchSize != 3 || !s.ReadOnly || s.Done() {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := ParseCloneStatus("Fail"); err != nil || !s.Fail || s.Done() {
		t.Errorf("%+v, %v", s, err)
	}
	for target, list := range map[string][]string{
		"cache": {
			"", "fail", "8 9/8192 64 5/1024 1 2 3 4 5 6 7 0 2 migration_threshold 1 smq 0 rw -", "8 9/8192 64 5/1024 1 2 3 4 5 6 7 1 writeback 2 migration_threshold 1 smq 0 rw",
			"8 9/8192 64 5/1024 1 2 3 4 5 6 7 1 unknown 2 migration_threshold 1 smq 0 rw -", "8 9/8192 64 5/1024 1 2 3 4 5 6 7 1 writeback 1 x smq 0 rw -",
			"8 9/8192 64 5/1024 1 2 3 4 5 6 7 1 writeback 2 migration_threshold 1 smq 0 rx -", "8 9/8192 64 5/1024 1 2 3 4 5 6 7 1 writeback 2 migration_threshold 1 smq 0 rw - x",
		},
		"writecache": {"", "0 1 2", "0 1 2 3 4", "x 1 2 3", "-1 1 2 3", "0 1 2 3 1 2 3 4 5 6 7 8 9 10 11"},
		"era":        {"", "8 9/8192 1", "8 9/8192 1 0", "8 9/8192 1 x", "8 9 1 -", "Fail"},
		"clone":      {"", "8 6/8192 8 3/4096 1 0 4 hydration_threshold 2 hydration_batch_size 3", "8 6/8192 8 3/4096 1 0 2 hydration_threshold 2 rw", "8 6/8192 8 3/4096 1 1 x 4 hydration_threshold 2 hydration_batch_size 3 rw"},
	} {
		for _, bad := range list {
			if s, err := builtin[target].status(bad); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s %q: %+v, %v", target, bad, s, err)
			}
		}
	}
	const wc = "0 8160 8158 2 1 2 3 4 5 6 7 8 9 10"
	if n := testing.AllocsPerRun(10, func() { ParseWritecacheStatus(wc); ParseEraStatus("8 11/8192 3 25") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCacheMessages(t *testing.T) {
	for _, tt := range []struct {
		m    TargetMessage
		text string
		ok   bool
	}{
		{SetCacheArg{"migration_threshold", "4096"}, "migration_threshold 4096", true},
		{SetCacheArg{"migration_threshold", "x"}, "migration_threshold x", false},
		{SetCacheArg{"@stats_list", "x"}, "@stats_list x", false},
		{SetCacheArg{"Invalidate_cblocks", "1"}, "Invalidate_cblocks 1", false},
		{SetCacheArg{"a", ""}, "a ", false},
		{InvalidateCblocks{{3, 4}, {5, 9}}, "invalidate_cblocks 3 5-9", true},
		{InvalidateCblocks{{4, 4}}, "invalidate_cblocks 4-4", false},
		{InvalidateCblocks{{1<<32 - 1, 0}}, "invalidate_cblocks 4294967295", false},
		{WritecacheFlush, "flush", true},
		{WritecacheFlushOnSuspend, "flush_on_suspend", true},
		{WritecacheCleaner, "cleaner", true},
		{WritecacheClearStats, "clear_stats", true},
		{WritecacheMessage(""), "", false},
		{EraCheckpoint, "checkpoint", true},
		{EraTakeMetadataSnap, "take_metadata_snap", true},
		{EraDropMetadataSnap, "drop_metadata_snap", true},
		{EraMessage("flush"), "flush", false},
		{EnableHydration, "enable_hydration", true},
		{DisableHydration, "disable_hydration", true},
		{CloneMessage("x"), "x", false},
		{HydrationThreshold(4), "hydration_threshold 4", true},
		{HydrationBatchSize(0), "hydration_batch_size 0", true},
	} {
		if err := tt.m.Validate(); (err == nil) != tt.ok || tt.m.TargetType() == "" {
			t.Errorf("%q: %v", tt.m.Text(), err)
		}
		if tt.m.Text() != tt.text {
			t.Errorf("%q, want %q", tt.m.Text(), tt.text)
		}
	}
}
