// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		line string
		want []string
	}{
		{"0 16384 raid raid5_ls 1 64 3 1:8 1:0 - 1:1 - -", []string{
			"level 5, left symmetric", "capacity             8 MiB (16384 sectors)\n", "chunk                32 KiB (64 sectors)\n",
			"4 MiB (8192 sectors) of data, metadata device of 8 KiB", "any 1 of 3 legs, missing ones included",
			"leg 0                1:0, metadata 1:8\n", "leg 1                1:1, no metadata\n", "leg 2                missing\n",
			"4 MiB (8192 sectors) for each bit of the bitmap, the default"}},
		{"0 8192 raid raid1 15 0 rebuild 1 daemon_sleep 1000 min_recovery_rate 10 max_recovery_rate 20 write_mostly 1 max_write_behind 256 region_size 1024 3 m a n b o c",
			[]string{"each leg holds everything", "any 2 of 3", "rebuild              made anew from the others: leg 1", "4 s at HZ=250",
				"10 KiB/s for each leg at least", "20 KiB/s for each leg at most", "no other leg is there: leg 1", "lag by 128 writes",
				"512 KiB (1024 sectors) for each bit of the bitmap\n", "load it again without", "prints max_write_behind 128"}},
		{"0 16384 raid raid10 8 64 region_size 1024 raid10_copies 2 raid10_format offset 4 m a n b o c p d", []string{
			"offset: 2 copies", "any 1 of 4 legs; more", "raid10_use_near_sets", "#params does not fit"}},
		{"0 16384 raid raid10 2 64 sync 4 m a n b o c p d", []string{"near: 2 copies", "the kernel refuses this table: Failed to run raid array", "sync does not sync"}},
		{"0 16384 raid raid10 5 64 raid10_copies 3 raid10_format far 3 m a n b o c", []string{"far: 3 copies", "any 2 of 3"}},
		{"0 16384 raid raid0 1 64 2 - a - b", []string{"no redundancy", "may fail             none"}},
		{"0 16376 raid raid5_ls 1 64 3 - a - b - c", []string{"this library does not: 16376 sectors", "never synced"}},
		{"0 16384 raid raid4 9 64 nosync stripe_cache 512 delta_disks -1 data_offset 2048 journal_dev j 3 m a n b o c", nil},
		{"0 16384 raid raid4 12 64 nosync stripe_cache 512 delta_disks -1 data_offset 2048 journal_dev j journal_mode writeback 3 m a n b o c", []string{
			"parity is on the first leg", "taken for in sync", "512 stripes of a page for each leg: 6 MiB", "to 1 legs less", "1 MiB (2048 sectors) of room",
			"j, writeback", "lose it and they are lost", "nosync declares", "done once", "neither reshaped", "metadata device of 4 KiB"}},
		{"0 16384 raid raid6_nc 5 64 delta_disks 2 data_offset 0 4 m a n b o c p d", []string{"Q before P", "any 2 of 4", "to 2 legs more", "given back"}},
		{"0 3 raid raid1 1 0 1 - a", []string{"1.5 KiB (3 sectors)"}},
	} {
		got, err := dmraid.Explain(tt.line)
		if tt.want == nil {
			// The count is too low for a person's line, and for a kernel's.
			if err != nil || !strings.Contains(got, "#params does not fit") {
				t.Errorf("%q: %q, %v", tt.line, got, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.line, err)
		}
		for _, w := range tt.want {
			if !strings.Contains(got, w) {
				t.Errorf("%q: no %q in\n%s", tt.line, w, got)
			}
		}
	}
	for _, line := range []string{"", "0 16384 linear 1:0 0", "0 x raid raid1 1 0 1 - a", "0 8 raid raid1 3 0 foo 1 1 - a"} {
		if got, err := dmraid.Explain(line); got != "" || !errors.Is(err, dmraid.ErrTable) {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
	for _, typ := range dmraid.Types() {
		text := dmraid.Table{Type: typ, ChunkSize: 64, Legs: legs(4)}.Explain(49152)
		first, _, _ := strings.Cut(text, "\n")
		if len(first) < 40 {
			t.Errorf("%s: %q", typ, first)
		}
	}
}

func TestExplainTolerates(t *testing.T) {
	for params, want := range map[string]int{
		"raid0 1 64 2 - a - b":        0,
		"raid1 1 0 3 - a - b - c":     2,
		"raid5_ls 1 64 3 - a - b - c": 1, "raid6_zr 1 64 4 - a - b - c - d": 2,
		"raid10 1 64 4 - a - b - c - d": 1, "raid10 3 64 raid10_copies 3 4 - a - b - c - d": 2,
	} {
		if got := parse(t, dmraid.Parse, params).Tolerates(); got != want {
			t.Errorf("%q: %d, want %d", params, got, want)
		}
	}
}
