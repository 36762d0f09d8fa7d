// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Values with every field, and their texts.
func TestMultiParams(t *testing.T) {
	for _, tt := range []struct {
		target Target
		text   string
	}{
		{Mirror{Log: MirrorLog{RegionSize: 1024}, Legs: []MirrorLeg{{"a", 0}, {"b", 8}}}, "mirror core 1 1024 2 a 0 b 8"},
		{Mirror{Log: MirrorLog{RegionSize: 2, Sync: MirrorSyncAll}, Legs: []MirrorLeg{{"a", 0}, {"b", 8}}, HandleErrors: true}, "mirror core 2 2 sync 2 a 0 b 8 1 handle_errors"},
		{
			Mirror{Log: MirrorLog{Device: "l", RegionSize: 512, Sync: MirrorSyncNone}, Legs: []MirrorLeg{{"a", 0}, {"b", 8}, {"c", 9}}, HandleErrors: true, KeepLog: true},
			"mirror disk 3 l 512 nosync 3 a 0 b 8 c 9 2 handle_errors keep_log",
		},
		{
			Mirror{Log: MirrorLog{Type: "userspace", Args: []string{"LVM-x", "clustered-disk", "1:2", "1024"}}, Legs: []MirrorLeg{{"a", 0}, {"b", 8}}},
			"mirror userspace 4 LVM-x clustered-disk 1:2 1024 2 a 0 b 8",
		},
		{Multipath{}, "multipath 0 0 0 0"},
		{
			Multipath{
				QueueIfNoPath: true, PGInitRetries: 50, PGInitDelay: new(time.Duration(0)), RetainAttachedHWHandler: true, QueueMode: QueueMq,
				HWHandler: []string{"alua", "1"}, InitialGroup: 2, Groups: []PathGroup{
					{Selector: "historical-service-time", SelectorArgs: []string{"1023", "2"}, Paths: []Path{{Device: "a"}, {Device: "b"}}},
					{Selector: "service-time", Paths: []Path{{"a", []string{"1", "100"}}}},
					{Selector: "io-affinity", Paths: []Path{{"a", []string{"00000000,00000003"}}}},
				},
			},
			"multipath 8 queue_if_no_path pg_init_retries 50 pg_init_delay_msecs 0 retain_attached_hw_handler queue_mode mq 2 alua 1 3 2 " +
				"historical-service-time 2 1023 2 2 0 a b service-time 0 1 2 a 1 100 io-affinity 0 1 1 a 00000000,00000003",
		},
		{Switch{RegionSize: 7, Paths: []SwitchPath{{"a", 0}, {"b", 9}}}, "switch 2 7 0 a 0 b 9"},
		{Unstriped{3, 16, 2, "a", 8}, "unstriped 3 16 2 a 8"},
		{LogWrites{"a", "b"}, "log-writes a b"},
		{Zoned{[]string{"a", "b"}}, "zoned a b"},
		{EmulatedBlocks{"a", 8, 1, 0}, "ebs a 8 1"},
		{EmulatedBlocks{"a", 8, 128, 8}, "ebs a 8 128 8"},
		{Dust{"a", 9, 1 << 20}, "dust a 9 1048576"},
		{VDO{Device: "a", StorageBlocks: 9, MinIO: 512, EraLength: 1}, "vdo V4 a 9 512 0 1"},
		{
			VDO{
				Device: "a", StorageBlocks: 9, MinIO: 4096, CacheBlocks: 245760, EraLength: 16380, MaxDiscard: 1048575, NoDeduplication: true, Compression: true,
				Threads:     VDOThreads{Ack: new(uint32(0)), Bio: 100, BioRotationInterval: 1024, CPU: 100, Hash: 100, Logical: 60, Physical: 16},
				IndexMemory: 512, IndexSparse: true, SlabSize: 8192,
			},
			"vdo V4 a 9 4096 245760 16380 deduplication off compression on ack 0 bio 100 bioRotationInterval 1024 cpu 100 hash 100 logical 60 physical 16 maxDiscard 1048575 slabSize 8192 indexMemory 0.5 indexSparse on",
		},
		{VDO{Device: "a", MinIO: 512, EraLength: 1, IndexMemory: 1 << 20}, "vdo V4 a 0 512 0 1 indexMemory 1024"},
	} {
		if got := targetString(tt.target); got != tt.text {
			t.Errorf("printed %q\nwant    %q", got, tt.text)
		}
		typ, params, _ := strings.Cut(tt.text, " ")
		back, err := parseTarget(typ, params, nil)
		if err != nil || !reflect.DeepEqual(back, tt.target) {
			t.Errorf("%q came back as %#v, %v", tt.text, back, err)
		}
		if err := tt.target.(Validator).Validate(1 << 20); err != nil {
			t.Errorf("%q is not valid: %v", tt.text, err)
		}
		for _, e := range tt.target.(Mapper).Extents(1 << 20) {
			if !strings.Contains(tt.text, " "+e.Device) {
				t.Errorf("%q: extent of %q", tt.text, e.Device)
			}
		}
		// No word may be cut off unnoticed.
		for i := range params {
			if params[i] != ' ' {
				continue
			}
			if x, err := parseTarget(typ, params[:i], nil); err == nil && reflect.DeepEqual(x, tt.target) {
				t.Errorf("%q is the same without %q", tt.text, params[i:])
			}
		}
	}
}

func TestMultiParamsRefused(t *testing.T) {
	for _, bad := range []string{
		"mirror", "mirror core", "mirror core 0 2 a 0 b 0", "mirror core 3 1 sync x 2 a 0 b 0", "mirror core 2 1 zync 2 a 0 b 0", "mirror disk 1 a 2 a 0 b 0",
		"mirror core 1 2 2 a 0", "mirror core 1 2 2 a 0 b 0 1", "mirror core 1 2 2 a 0 b 0 1 nope", "mirror core 1 2 2 a 0 b 0 0 x", "mirror core 1 2 99999999999 a 0",
		"multipath", "multipath 1", "multipath 1 what 0 0 0", "multipath 1 queue_mode bio 0 0 0", "multipath 2 queue_mode x 0 0 0", "multipath 2 pg_init_retries 0 0 0 0",
		"multipath 0 0 1 1", "multipath 0 0 1 1 rr 0 2 1 a 1", "multipath 0 0 1 1 rr 0 4294967295 4294967295 a", "multipath 0 0 0 0 x", "multipath 0 1 0 0",
		"switch 2 8 0 a 0", "switch 1 8 1 x a 0", "switch 1 8 0 a 0 b", "unstriped 1 2 3 a", "log-writes a", "log-writes a b c", "zoned",
		"ebs a 0", "ebs a 0 1 0", "ebs a 0 1 1 1", "ebs a 0 65536", "dust a 0", "dust a 0 512 1",
		"vdo V3 a 1 512 1 1", "vdo V4 a 1 512 1", "vdo V4 a 1 512 1 1 ack", "vdo V4 a 1 512 1 1 bio 0", "vdo V4 a 1 512 1 1 what 1",
		"vdo V4 a 1 512 1 1 indexMemory 0", "vdo V4 a 1 512 1 1 indexMemory 0.3", "vdo V4 a 1 512 1 1 compression maybe",
	} {
		typ, params, _ := strings.Cut(bad, " ")
		if x, err := parseTarget(typ, params, nil); err == nil {
			t.Errorf("%q was taken as %#v", bad, x)
		}
	}
	legs := []MirrorLeg{{"a", 0}, {"b", 0}}
	log := MirrorLog{RegionSize: 8}
	path := []Path{{Device: "a"}}
	group := func(g PathGroup) Multipath { return Multipath{InitialGroup: 1, Groups: []PathGroup{g}} }
	vdo := func(f func(*VDO)) VDO {
		v := VDO{Device: "a", StorageBlocks: 9, MinIO: 4096, CacheBlocks: 32768, EraLength: 16380}
		f(&v)
		return v
	}
	for i, bad := range []Validator{
		Mirror{Legs: legs}, Mirror{Log: log, Legs: legs[:1]}, Mirror{Log: log, Legs: make([]MirrorLeg, 10)}, Mirror{Log: log, Legs: []MirrorLeg{{"a", 0}, {}}},
		Mirror{Log: log, Legs: legs, KeepLog: true}, Mirror{Log: MirrorLog{RegionSize: 12}, Legs: legs}, Mirror{Log: MirrorLog{RegionSize: 2048}, Legs: legs},
		Mirror{Log: MirrorLog{RegionSize: 8, Sync: 3}, Legs: legs}, Mirror{Log: MirrorLog{Type: "core", Args: []string{"8"}}, Legs: legs},
		Mirror{Log: MirrorLog{Type: "x", RegionSize: 8}, Legs: legs}, Mirror{Log: MirrorLog{RegionSize: 8, Args: []string{"x"}}, Legs: legs},
		Multipath{InitialGroup: 1}, Multipath{PGInitRetries: 51}, Multipath{PGInitDelay: new(61 * time.Second)}, Multipath{PGInitDelay: new(time.Duration(1))},
		Multipath{QueueMode: "nvme"}, Multipath{HWHandler: []string{""}}, Multipath{Groups: []PathGroup{{Selector: "round-robin", Paths: path}}},
		group(PathGroup{Paths: path}), group(PathGroup{Selector: "round-robin"}), group(PathGroup{Selector: "x", Paths: []Path{{}}}),
		group(PathGroup{Selector: "x", Paths: []Path{{"a", []string{"1"}}, {"b", nil}}}), group(PathGroup{Selector: "x", Paths: []Path{{"a", []string{""}}}}),
		group(PathGroup{Selector: "round-robin", Paths: []Path{{"a", []string{"1", "1"}}}}), group(PathGroup{Selector: "queue-length", Paths: []Path{{"a", []string{"x"}}}}),
		group(PathGroup{Selector: "service-time", Paths: []Path{{"a", []string{"1", "101"}}}}), group(PathGroup{Selector: "io-affinity", Paths: path}),
		group(PathGroup{Selector: "historical-service-time", SelectorArgs: []string{"1024"}, Paths: path}), group(PathGroup{Selector: "x", SelectorArgs: []string{""}, Paths: path}),
		Switch{RegionSize: 8}, Switch{Paths: []SwitchPath{{"a", 0}}}, Switch{RegionSize: 8, Paths: []SwitchPath{{}}}, Switch{RegionSize: 1 << 32, Paths: []SwitchPath{{"a", 0}}},
		Unstriped{0, 8, 0, "a", 0}, Unstriped{2, 8, 2, "a", 0}, Unstriped{2, 0, 0, "a", 0}, Unstriped{2, 3, 0, "a", 0}, Unstriped{2, 8, 0, "", 0},
		LogWrites{}, LogWrites{Device: "a"}, Zoned{}, Zoned{[]string{""}},
		EmulatedBlocks{"a", 0, 0, 0}, EmulatedBlocks{"a", 0, 3, 0}, EmulatedBlocks{"a", 0, 256, 0}, EmulatedBlocks{"a", 1, 1, 8}, EmulatedBlocks{"a", 1024, 1, 0},
		EmulatedBlocks{"a", 0, 1, 3}, EmulatedBlocks{"", 0, 1, 0}, Dust{"a", 0, 256}, Dust{"a", 0, 513}, Dust{"a", 0, 1 << 20}, Dust{"", 0, 512},
		vdo(func(v *VDO) { v.Device = "" }), vdo(func(v *VDO) { v.MinIO = 1024 }), vdo(func(v *VDO) { v.EraLength = 0 }), vdo(func(v *VDO) { v.StorageBlocks = 1 << 60 }),
		vdo(func(v *VDO) { v.Threads.Hash = 1 }), vdo(func(v *VDO) { v.Threads.Ack = new(uint32(101)) }), vdo(func(v *VDO) { v.Threads.Bio = 101 }),
		vdo(func(v *VDO) { v.Threads = VDOThreads{Hash: 1, Logical: 9, Physical: 1} }), vdo(func(v *VDO) { v.IndexMemory = 100 }), vdo(func(v *VDO) { v.IndexMemory = 1280 }),
		vdo(func(v *VDO) { v.SlabSize = 4096 }), vdo(func(v *VDO) { v.MaxDiscard = 1 << 20 }),
	} {
		if err := bad.Validate(1024); err == nil {
			t.Errorf("%d: %+v is valid", i, bad)
		}
	}
	if (VDO{Device: "a", MinIO: 512, EraLength: 1}).Validate(9) == nil {
		t.Error("a length of nine sectors")
	}
}

func TestMultiStatus(t *testing.T) {
	for _, tt := range []struct {
		typ, text string
		want      any
	}{
		{"mirror", "2 1:0 1:1 7/8 1 AD 1 core", MirrorStatus{Legs: []MirrorLegStatus{{"1:0", 'A'}, {"1:1", 'D'}}, InSync: 7, Regions: 8, LogType: "core"}},
		{
			"mirror", "5 a b c d e 0/8 1 SRFUA 3 disk 1:6 F",
			MirrorStatus{
				Legs: []MirrorLegStatus{{"a", 'S'}, {"b", 'R'}, {"c", 'F'}, {"d", 'U'}, {"e", 'A'}}, Regions: 8,
				LogType: "disk", LogDevice: "1:6", LogHealth: MirrorFlushFailed,
			},
		},
		{"mirror", "1 a 0/8 1 A userspace 1 COM_FAILURE", MirrorStatus{Legs: []MirrorLegStatus{{"a", 'A'}}, Regions: 8, LogType: "userspace", NoAnswer: true}},
		{"multipath", "2 1 3 0 0 0", MultipathStatus{QueueIO: true, PGInits: 3}},
		{
			"multipath", "2 0 0 1 x 2 2 D 1 y 2 1 1:0 F 9 7 1:1 A 0 8 A 0 1 0 1:2 A 1",
			MultipathStatus{Handler: []string{"x"}, Group: 2, Groups: []PathGroupStatus{
				{PathGroupDisabled, []string{"y"}, []PathStatus{{"1:0", true, 9, []string{"7"}}, {"1:1", false, 0, []string{"8"}}}},
				{PathGroupActive, nil, []PathStatus{{"1:2", false, 1, nil}}},
			}},
		},
		{"log-writes", "5 99 logging_disabled", LogWritesStatus{5, 99, true}},
		{"dust", "1:0 fail_read_on_bad_block quiet", DustStatus{"1:0", true, true}},
		{"dust", "1:0 bypass verbose", DustStatus{Device: "1:0"}},
		{"zoned", "9 zones 1/2 cache", ZonedStatus{Zones: 9, Cache: ZonesFree{1, 2}}},
		{
			"zoned", "9 zones 1/2 cache 3/4 random 5/6 sequential 7/8 random 9/10 sequential",
			ZonedStatus{9, ZonesFree{1, 2}, []ZonedDevice{{ZonesFree{3, 4}, ZonesFree{5, 6}}, {ZonesFree{7, 8}, ZonesFree{9, 10}}}},
		},
		{"vdo", "/dev/zram0 normal - opening offline 1048930 1572864", VDOStatus{Device: "/dev/zram0", Mode: "normal", Index: "opening", Used: 1048930, Total: 1572864}},
		{"vdo", "/dev/dm-3 read-only recovering error online 1 2", VDOStatus{"/dev/dm-3", "read-only", true, "error", true, 1, 2}},
	} {
		got, err := Status{Type: tt.typ, Text: tt.text + " "}.Typed()
		if err != nil || !reflect.DeepEqual(got, tt.want) || got.String() != tt.text {
			t.Errorf("%s %q: %+v (%v), %v", tt.typ, tt.text, got, got, err)
		}
		for i := range tt.text {
			if tt.text[i] != ' ' || tt.typ == "zoned" && strings.HasSuffix(tt.text[:i], "cache") || strings.HasSuffix(tt.text[:i], " sequential") || tt.typ == "log-writes" && i > 3 {
				continue
			}
			if s, err := (Status{Type: tt.typ, Text: tt.text[:i]}).Typed(); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s %q: %v, %v", tt.typ, tt.text[:i], s, err)
			}
		}
	}
	for _, bad := range []string{
		"mirror 2 a b 1/2 2 AA 1 core", "mirror 2 a b 1/2 1 A 1 core", "mirror 2 a b 1/2 1 AX 1 core", "mirror 0 1/2 1  1 core", "mirror 1 a 1/2 1 A 2 core x",
		"mirror 1 a 1/2 1 A 3 disk b X", "mirror 1 a 1/2 1 A 3 disk b AA", "mirror 1 a 12 1 A 1 core", "mirror 1 a 1/2 1 A userspace 1 OK", "mirror 1 a 1/2 1 A 1 core x",
		"multipath 1 0 0 0 0", "multipath 2 2 0 0 0 0", "multipath 2 0 0 0 1 1 X 0 1 0 a A 0", "multipath 2 0 0 0 1 1 A 0 1 0 a X 0", "multipath 2 0 0 0 1 1 A 0 0 0",
		"multipath 2 0 0 0 1 1 A 0 4294967295 4294967295 a A 0", "log-writes 1 1 x", "dust a b c", "zoned 9 zones 4294967296/0 cache", "zoned 9 zones 1/2 random",
		"vdo a normal x online online 1 2", "vdo a normal - online maybe 1 2",
	} {
		typ, text, _ := strings.Cut(bad, " ")
		if s, err := (Status{Type: typ, Text: text}).Typed(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v, %v", bad, s, err)
		}
	}
	if s, _ := ParseMirrorStatus("2 a b 8/8 1 AD 1 core"); !s.Complete() || len(s.Failed()) != 1 || s.Failed()[0].Device != "b" {
		t.Errorf("%+v", s)
	}
}
