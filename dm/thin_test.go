// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"testing"
)

func TestThinPoolParams(t *testing.T) {
	p := ThinPool{Metadata: "/dev/m", Data: "/dev/d", BlockSize: 128, LowWaterMark: 1<<64 - 1}
	for _, tt := range []struct {
		change func(p *ThinPool)
		params string
		bad    bool
	}{
		{func(*ThinPool) {}, "/dev/m /dev/d 128 18446744073709551615 0", false},
		{func(p *ThinPool) { p.BlockSize = 1 << 21; p.LowWaterMark = 0 }, "/dev/m /dev/d 2097152 0 0", false},
		{func(p *ThinPool) { p.ReadOnly, p.SkipBlockZeroing = true, true }, "/dev/m /dev/d 2097152 0 2 skip_block_zeroing read_only", false},
		{func(p *ThinPool) { p.IgnoreDiscard, p.NoDiscardPassdown = true, true },
			"/dev/m /dev/d 2097152 0 4 skip_block_zeroing ignore_discard no_discard_passdown read_only", false},
		{func(p *ThinPool) { p.ErrorIfNoSpace = true },
			"/dev/m /dev/d 2097152 0 5 skip_block_zeroing ignore_discard no_discard_passdown read_only error_if_no_space", true},
		{func(p *ThinPool) { *p = ThinPool{Metadata: "m", Data: "d"} }, "m d 0 0 0", true},
		{func(p *ThinPool) { p.BlockSize = 64 }, "m d 64 0 0", true},
		{func(p *ThinPool) { p.BlockSize = 192 }, "m d 192 0 0", true},
		{func(p *ThinPool) { p.BlockSize = 1<<21 + 128 }, "m d 2097280 0 0", true},
		{func(p *ThinPool) { p.BlockSize = 128; p.Data = "m" }, "m m 128 0 0", true},
	} {
		tt.change(&p)
		if got := p.Params(); got != tt.params {
			t.Errorf("%q, want %q", got, tt.params)
		}
		if err := p.Validate(1024); (err != nil) != tt.bad {
			t.Errorf("%q: %v", tt.params, err)
		}
		if back, err := parseThinPool(tt.params); err != nil || back != Target(p) {
			t.Errorf("%q came back as %+v, %v", tt.params, back, err)
		}
	}
	// Without a count there are no features; case does not matter to the kernel.
	if back, err := parseThinPool("m d 128 3"); err != nil || back != Target(ThinPool{Metadata: "m", Data: "d", BlockSize: 128, LowWaterMark: 3}) {
		t.Errorf("%+v, %v", back, err)
	}
	if back, err := parseThinPool("m d 128 3 1 Read_Only"); err != nil || !back.(ThinPool).ReadOnly {
		t.Errorf("%+v, %v", back, err)
	}
	for _, bad := range []string{"", "m d 128", "m d x 0", "m d 128 0 1", "m d 128 0 1 what", "m d 128 0 0 more", "m d 128 -1"} {
		if back, err := parseThinPool(bad); err == nil {
			t.Errorf("%q: %+v", bad, back)
		}
	}
}

func TestThinParams(t *testing.T) {
	for _, tt := range []struct {
		thin   Thin
		params string
		bad    bool
	}{
		{Thin{Pool: "/dev/my pool", ID: 1<<24 - 1}, `/dev/my\ pool 16777215`, false},
		{Thin{Pool: "p", ID: 0, ExternalOrigin: "o"}, "p 0 o", false},
		{Thin{Pool: "p", ExternalOrigin: "p"}, "p 0 p", true},
	} {
		if got := tt.thin.Params(); got != tt.params {
			t.Errorf("%q, want %q", got, tt.params)
		}
		if err := tt.thin.Validate(8); (err != nil) != tt.bad {
			t.Errorf("%q: %v", tt.params, err)
		}
		if back, err := parseThin(tt.params); err != nil || back != Target(tt.thin) {
			t.Errorf("%q came back as %+v, %v", tt.params, back, err)
		}
	}
	for _, bad := range []Thin{{}, {Pool: "p", ID: 1 << 24}, {ExternalOrigin: "o"}} {
		if bad.Validate(8) == nil {
			t.Errorf("%+v", bad)
		}
	}
	for _, bad := range []string{"", "p", "p x", "p 16777216", "p 0 o more", "Fail"} {
		if back, err := parseThin(bad); err == nil {
			t.Errorf("%q: %+v", bad, back)
		}
	}
}

func TestThinStatus(t *testing.T) {
	full := ThinPoolStatus{
		TransactionID: 3, UsedMetadata: 1, TotalMetadata: 2, UsedData: 4, TotalData: 5, MetadataSnapshot: 6,
		Mode: ThinPoolOutOfDataSpace, Discard: ThinPoolPassesDiscards, ErrorIfNoSpace: true, NeedsCheck: true, MetadataLowWater: 7,
	}
	without := func(change func(s *ThinPoolStatus)) ThinPoolStatus {
		s := full
		change(&s)
		return s
	}
	for _, tt := range []struct {
		text string
		want ThinPoolStatus
		back string // "" when it is the text
	}{
		{"3 1/2 4/5 6 out_of_data_space discard_passdown error_if_no_space needs_check 7", full, ""},
		// Linux 4.14 to 4.19.
		{"3 1/2 4/5 6 out_of_data_space discard_passdown error_if_no_space needs_check", without(func(s *ThinPoolStatus) { s.MetadataLowWater = 0 }), ""},
		// Still older ones.
		{"3 1/2 4/5 6 out_of_data_space discard_passdown error_if_no_space", without(func(s *ThinPoolStatus) { s.MetadataLowWater, s.NeedsCheck = 0, false }),
			"3 1/2 4/5 6 out_of_data_space discard_passdown error_if_no_space -"},
		{"0 1/2 4/5 - ro ignore_discard", ThinPoolStatus{UsedMetadata: 1, TotalMetadata: 2, UsedData: 4, TotalData: 5, Mode: ThinPoolReadOnly, Discard: ThinPoolIgnoresDiscards},
			"0 1/2 4/5 - ro ignore_discard queue_if_no_space -"},
		{"0 1/2 4/5 -", ThinPoolStatus{UsedMetadata: 1, TotalMetadata: 2, UsedData: 4, TotalData: 5}, ""},
		{"Fail", ThinPoolStatus{Mode: ThinPoolFail}, ""},
		{"Error", ThinPoolStatus{Mode: ThinPoolError}, ""},
	} {
		got, err := ParseThinPoolStatus(tt.text + " ")
		if err != nil || got != tt.want {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
		if tt.back == "" {
			tt.back = tt.text
		}
		if got.String() != tt.back {
			t.Errorf("%q came back as %q", tt.text, got)
		}
	}
	for _, bad := range []string{"", "fail", "Fail 1", "0 1/2 4 -", "0 1/2 4/5 0", "0 1/2 4/5 - rx discard_passdown", "0 1/2 4/5 - rw", "0 1/2 4/5 - rw discard_passdown queue_if_no_space - 1 2"} {
		if s, err := ParseThinPoolStatus(bad); !errors.Is(err, ErrCorrupt) || s != (ThinPoolStatus{}) {
			t.Errorf("%q: %+v, %v", bad, s, err)
		}
	}
	for _, tt := range []struct {
		text string
		want ThinStatus
	}{
		{"384 383", ThinStatus{Mapped: 384, Highest: 383}}, {"0 -", ThinStatus{}}, {"128 -", ThinStatus{Mapped: 128}},
		{"Fail", ThinStatus{State: ThinFail}}, {"-", ThinStatus{State: ThinGone}}, {"Error", ThinStatus{State: ThinError}},
	} {
		if got, err := ParseThinStatus(tt.text); err != nil || got != tt.want || got.String() != tt.text {
			t.Errorf("%q: %+v, %v", tt.text, got, err)
		}
	}
	for _, bad := range []string{"", "0", "x -", "1 2 3", "fail", "- -"} {
		if s, err := ParseThinStatus(bad); !errors.Is(err, ErrCorrupt) || s != (ThinStatus{}) {
			t.Errorf("%q: %+v, %v", bad, s, err)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		ParseThinStatus("384 383")
		ParseThinPoolStatus("3 1/2 4/5 6 out_of_data_space discard_passdown error_if_no_space needs_check 7")
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestThinMessages(t *testing.T) {
	for _, tt := range []struct {
		m    TargetMessage
		text string
		bad  bool
	}{
		{CreateThin{}, "create_thin 0", false},
		{CreateThin{ID: 1 << 24}, "create_thin 16777216", true},
		{CreateSnap{ID: 1<<24 - 1, Origin: 2}, "create_snap 16777215 2", false},
		{CreateSnap{ID: 1, Origin: 1 << 24}, "create_snap 1 16777216", true},
		{CreateSnap{ID: 1 << 24, Origin: 1}, "create_snap 16777216 1", true},
		{DeleteThin{ID: 3}, "delete 3", false},
		{DeleteThin{ID: 1 << 31}, "delete 2147483648", true},
		{SetTransactionID{Old: 1, New: 1<<64 - 1}, "set_transaction_id 1 18446744073709551615", false},
		{ReserveMetadataSnap{}, "reserve_metadata_snap", false},
		{ReleaseMetadataSnap{}, "release_metadata_snap", false},
	} {
		if got := tt.m.Text(); got != tt.text || tt.m.TargetType() != "thin-pool" {
			t.Errorf("%T: %s %q", tt.m, tt.m.TargetType(), got)
		}
		if err := tt.m.Validate(); (err != nil) != tt.bad {
			t.Errorf("%q: %v", tt.text, err)
		}
	}
	// A bad one never gets to a kernel.
	_, err := new(Client).Send(context.Background(), Name("p"), CreateThin{ID: 1 << 24})
	var e *Error
	if !errors.As(err, &e) || e.Code != einval {
		t.Error(err)
	}
}
