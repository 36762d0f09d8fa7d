// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

// sizes is an Environment; what it does not name does not exist.
type sizes map[string]dmraid.Sectors

func (s sizes) Sectors(device string) (dmraid.Sectors, error) {
	if n, ok := s[device]; ok {
		return n, nil
	}
	return 0, errors.New("no such device")
}

// busy is an Environment in which every device is used by somebody else.
type busy struct{}

func (busy) Sectors(string) (dmraid.Sectors, error) {
	return 0, fmt.Errorf("opened: %w", syscall.Errno(16))
}

// Rules of raid_ctr that the recorded cases do not touch. The texts are
// those of dm-raid.c; where a case was run on a kernel, TestDifferential did.
func TestCheck(t *testing.T) {
	env := sizes{"a": 8192, "b": 8192, "c": 8192, "d": 8192, "small": 8000, "j": 8192, "tiny": 8191}
	const run, runs = "Failed to run raid array", ""
	for _, tt := range []struct {
		params string
		length dmraid.Sectors
		want   string
		code   syscall.Errno
	}{
		{"raid1 1 0 1 - a", 0, "zero-length target", 22},
		{"raid1 9 0 1 - a", 8192, "Cannot understand number of raid parameters", 22},
		{"raid1 1x 0 1 - a", 8192, "Cannot understand number of raid parameters", 22},
		{"raid1 +1 0 1 - a", 8192, "Cannot understand number of raid parameters", 22},
		// sscanf keeps the low 32 bits, and skips a quoted blank.
		{"raid1 4294967297 0 1 - a", 8192, runs, 0},
		{`raid1 \ 1 0 1 - a`, 8192, runs, 0},
		{`raid1 1\  0 1 - a`, 8192, "Cannot understand number of raid parameters", 22},
		// kstrtoint takes a sign and a line feed.
		{"raid0 1 +64 1 - a", 8192, runs, 0},
		{"raid0 1 64\\\n 1 - a", 8192, runs, 0},
		{"raid0 1 6_4 1 - a", 8192, "Bad numerical argument given for chunk_size", 22},
		{"raid0 1 2147483648 1 - a", 8192, "Bad numerical argument given for chunk_size", 22},
		{"raid0 1 -2147483648 1 - a", 8192, "Chunk size must be a power of 2", 22},
		{"raid0 1 99999999999999999999 1 - a", 8192, "Bad numerical argument given for chunk_size", 22},
		{"raid1 1 0 254" + strings.Repeat(" - a", 254), 8192, "Invalid number of supplied raid devices", 22},
		{"raid1 1 0 253" + strings.Repeat(" - a", 253), 8192, runs, 0},
		{"raid5_ls 1 64 1 - a", 8192, "Insufficient number of devices", 22},
		{"raid6_zr 1 64 2 - a - b", 8192, "Insufficient number of devices", 22},
		{"raid6_zr 1 64 3 - a - b - c", 8192, run, 22},
		// With 0 parameters the rest of the line is taken for them.
		{"raid1 0 1 - a", 8192, "Bad numerical argument given in raid params", 22},
		{"raid1 0 1 sync nosync", 8192, "Not enough raid parameters given", 22},
		{"raid1 0 1 sync rebuild", 8192, "Wrong number of raid parameters given", 22},
		// A pair that reaches over its end takes the number of legs.
		{"raid1 2 0 rebuild 2 - a - b", 8192, "Invalid rebuild index given", 22},
		{"raid1 2 0 region_size 1 - a", 8192, "Unknown error", 22},
		{"raid1 3 0 raid10_use_near_sets raid10_use_near_sets 1 - a", 8192, "Only one 'raid10_use_new_sets' argument allowed", 22},
		{"raid1 5 0 raid10_use_near_sets x 1 y 2 1 - a", 8192, "Cannot understand number of raid devices parameters", 22},
		{"raid10 5 64 raid10_format near raid10_format near 2 a b c d", 8192, "Only one 'raid10_format' argument pair allowed", 22},
		{"raid5_ls 5 64 journal_dev j journal_dev j 2 - a - b", 8192, "Only one raid4/5/6 set journaling device allowed", 22},
		{"raid5_ls 3 64 journal_dev nosuch 2 - a - b", 8192, "raid4/5/6 journal device lookup failure", 19},
		{"raid5_ls 3 64 journal_dev 9:9 2 - a - b", 8192, "raid4/5/6 journal device lookup failure", 6},
		{"raid5_ls 3 64 journal_dev tiny 2 - a - b", 8192, "No space for raid4/5/6 journal", 28},
		{"raid5_ls 5 64 journal_dev j journal_mode fast 2 - a - b", 8192, "Invalid 'journal_mode' argument", 22},
		{"raid5_ls 7 64 journal_dev j journal_mode writeback journal_mode writeback 2 - a - b", 8192, "Only one raid4/5/6 'journal_mode' argument allowed", 22},
		{"raid5_ls 5 64 journal_dev j journal_mode WRITEBACK 2 - a - b", 8192, runs, 0},
		{"raid5_ls 5 64 journal_dev j journal_mode writeback 2 - a - -", 8192, "Failed to set raid4/5/6 journal mode", 22},
		{"raid5_ls 5 64 journal_dev j journal_mode writethrough 2 - a - -", 8192, runs, 0},
		{"raid1 3 0 max_write_behind 32767 2 - a - b", 8192, runs, 0},
		{"raid1 3 0 max_write_behind 32768 2 - a - b", 8192, "Max write-behind limit out of range", 22},
		{"raid1 5 0 max_write_behind 2 max_write_behind 2 2 - a - b", 8192, "Only one max_write_behind argument pair allowed", 22},
		{"raid1 5 0 daemon_sleep 2 daemon_sleep 2 2 - a - b", 8192, "Only one daemon_sleep argument pair allowed", 22},
		{"raid1 5 0 data_offset 32 data_offset 32 2 - a - b", 8192, "Only one data_offset argument pair allowed", 22},
		{"raid1 3 0 data_offset 24 2 - a - b", 8000, "Bogus data_offset value", 22},
		{"raid1 3 0 data_offset 36 2 - a - b", 8000, "Bogus data_offset value", 22},
		{"raid1 3 0 data_offset 32 2 - a - b", 8160, runs, 0},
		{"raid1 3 0 data_offset 32 2 - a - b", 8161, "No space for backward reshape", 28},
		{"raid5_ls 5 64 data_offset 32 delta_disks 1 2 - a - b", 8192, "No space for forward reshape", 28},
		{"raid5_ls 3 64 data_offset 32 3 - - - a - b", 8000, "data_offset without leg 0 crashes the kernel (rs_adjust_data_offsets)", 0},
		{"raid5_ls 3 64 data_offset 0 3 - - - a - b", 8192, runs, 0},
		{"raid5_ls 5 64 delta_disks 1 delta_disks 1 2 - a - b", 8192, "Only one delta_disks argument pair allowed", 22},
		{"raid5_ls 3 64 delta_disks 0 2 - a - b", 8192, "Too many delta_disk requested", 22},
		{"raid5_ls 3 64 delta_disks -251 2 - a - b", 8192, runs, 0},
		{"raid5_ls 3 64 delta_disks 252 2 - a - b", 8192, "Too many delta_disk requested", 22},
		{"raid6_zr 3 64 delta_disks 250 4 - a - b - c - d", 8192, "Too many delta_disk requested", 22},
		{"raid5_ls 5 64 delta_disks 1 journal_dev j 2 - a - b", 8192, "Can't reshape a journaled raid4/5/6 set", 1},
		{"raid1 5 0 delta_disks 1 rebuild 1 2 - a - b", 8192, "Can't reshape degraded raid set", 1},
		{"raid5_ls 5 64 delta_disks 1 data_offset 32 3 - a - b - -", 16000, "Can't reshape degraded raid set", 1},
		{"raid5_ls 3 64 delta_disks 1 3 - a - b - -", 16384, runs, 0},
		{"raid10 3 64 delta_disks -1 4 - a - b - c - d", 8192, "Bogus raid10 data copies or delta disks", 22},
		{"raid0 3 64 delta_disks 1 2 - a - b", 8192, "Invalid flags combination", 22},
		{"raid5_ls 5 64 stripe_cache 64 stripe_cache 64 2 - a - b", 8192, "Only one stripe_cache argument pair allowed", 22},
		{"raid5_ls 3 64 stripe_cache -1 2 - a - b", 8192, "Bogus stripe cache entries value", 22},
		{"raid5_ls 3 64 stripe_cache 32769 2 - a - b", 8192, "Failed to set raid4/5/6 stripe cache size", 22},
		{"raid5_ls 3 64 stripe_cache 0 2 - a - b", 8192, runs, 0},
		{"raid5_ls 3 32 stripe_cache 16 2 - a - b", 8192, "Failed to set raid4/5/6 stripe cache size", 22},
		{"raid5_ls 3 32 stripe_cache 17 2 - a - b", 8192, runs, 0},
		{"raid5_ls 1 131072 2 - a - b", 8192, "Failed to set raid4/5/6 stripe cache size", 22},
		{"raid1 3 0 min_recovery_rate -1 1 - a", 8192, "min_recovery_rate out of range", 22},
		{"raid1 3 0 max_recovery_rate -1 1 - a", 8192, "max_recovery_rate out of range", 22},
		{"raid1 5 0 min_recovery_rate 1 min_recovery_rate 1 1 - a", 8192, "Only one min_recovery_rate argument pair allowed", 22},
		{"raid1 5 0 max_recovery_rate 1 max_recovery_rate 1 1 - a", 8192, "Only one max_recovery_rate argument pair allowed", 22},
		{"raid1 5 0 max_recovery_rate 0 min_recovery_rate 9 1 - a", 8192, runs, 0},
		{"raid1 5 0 region_size 8 region_size 8 1 - a", 8192, "Only one region_size argument pair allowed", 22},
		{"raid1 3 0 region_size -1 1 - a", 8192, "Supplied region size is too large", 22},
		{"raid1 3 0 region_size 1 1 - a", 8192, runs, 0},
		{"raid1 3 0 region_size 512 1 - x", 1 << 31, "Supplied region size is too small", 22},
		{"raid0 3 64 region_size 7 1 - a", 8192, "Invalid flags combination", 22},
		{"raid10 3 64 raid10_copies 2 1 - a", 8192, "Bad value for 'raid10_copies'", 22},
		{"raid10 5 64 raid10_copies 2 raid10_copies 2 2 - a - b", 8192, "Only one raid10_copies argument pair allowed", 22},
		{"raid10 1 64 1 - a", 8192, "Not enough devices to satisfy specification", 22},
		{"raid10 1 64 3 - a - b - c", 8192, "Target length not divisible by number of data devices", 22},
		{"raid10 2 64 sync 2 a b c d", 8192, run, 22},
		{"raid10 5 64 rebuild 0 rebuild 1 2 a b c d", 8192, run, 5},
		{"raid10 1 64 2 a b c d", 8192, runs, 0},
		{"raid5_ls 3 64 journal_mode writeback 2 - a - b", 8192, "raid4/5/6 'journal_mode' is invalid without 'journal_dev'", 22},
		{"raid1 1 0 2 nosuch a - b", 8192, "RAID metadata device lookup failure", 19},
		{"raid1 1 0 2 - nosuch - b", 8192, "RAID device lookup failure", 19},
		{"raid1 1 0 2 - 64 - b", 8192, "RAID device lookup failure", 6},
		{"raid1 1 0 2 - 0 - b", 8192, "RAID device lookup failure", 19},
		{"raid1 1 0 2 - 9x - b", 8192, "RAID device lookup failure", 19},
		{"raid1 1 0 2 - 9:9 - b", 8192, "RAID device lookup failure", 6},
		{"raid1 3 0 rebuild 1 2 - a - -", 8192, "Drive designated for rebuild not specified", 22},
		{"raid1 1 0 2 - a - small", 8192, "Component device(s) too small", 22},
		{"raid1 1 0 2 - - - -", 8192, "Invalid rdev size", 22},
		{"raid0 1 64 2 - a - -", 16384, run, 22},
		{"raid0 1 64 2 a b - -", 16384, run, 22},
		{"raid5_ls 1 64 3 - a - b - -", 16384, runs, 0},
		{"raid5_ls 1 64 3 - a - - - -", 16384, run, 5},
		{"raid5_ls 5 64 rebuild 0 rebuild 1 3 - a - b - c", 16384, run, 5},
		{"raid6_zr 3 64 rebuild 0 4 - a - - - c - d", 16384, runs, 0},
		{"raid6_zr 3 64 rebuild 0 4 - a - - - c - -", 16384, run, 5},
		{"raid1 5 0 rebuild 0 rebuild 1 2 - a - b", 8192, run, 22},
		{"raid1 3 0 rebuild 0 1 a b", 8192, "Insufficient redundancy to activate array", 22},
		{"raid1 3 0 rebuild 0 1 - a", 8192, run, 22},
		// What superblocks decide.
		{"raid1 1 0 2 a b - -", 8192, runs, 0},
		{"raid5_ls 5 64 rebuild 0 rebuild 1 3 a b c d a b", 16384, runs, 0},
	} {
		var with dmraid.Environment = env
		if tt.length > 1<<30 {
			with = nil
		}
		err := dmraid.Check(tt.params, tt.length, with)
		if tt.want == runs {
			if err != nil {
				t.Errorf("%q: %v", tt.params, err)
			}
			continue
		}
		var e *dmraid.Error
		if !errors.As(err, &e) || e.Detail != tt.want || e.Code != tt.code || e.Op != "check" || !errors.Is(err, dmraid.ErrTable) {
			t.Errorf("%q:\n got %v\nwant %q %d", tt.params, err, tt.want, tt.code)
		}
	}
	if err := dmraid.Check("raid1 1 0 1 - a", 8192, busy{}); !errors.Is(err, syscall.Errno(16)) {
		t.Errorf("busy: %v", err)
	}
	journal204 := "raid5_ls 3 64 journal_dev j 204" + strings.Repeat(" - a", 204)
	if err := dmraid.Check(journal204, 203*64, nil); err == nil || !errors.Is(err, syscall.Errno(5)) {
		t.Errorf("204 legs with a journal: %v", err)
	}
	if err := dmraid.Check("raid1 1 0 2 - nosuch - b", 8192, nil); err != nil {
		t.Errorf("without an Environment: %v", err)
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		params string
		length dmraid.Sectors
		want   string
	}{
		{"raid5_ls 1 64 3 m a n b o c", 16384, ""},
		{"raid5_ls 1 64 3 m a n b o c", 16383, "Target length not divisible"},
		{"raid5_ls 1 64 3 m a n b o c", 16376, "md would use 16256"},
		{"raid0 1 64 2 - a - b", 16320, "md would use 16256"},
		{"raid0 1 64 2 - a - b", 16384, ""},
		{"raid10 5 64 raid10_copies 2 raid10_format far 3 m a n b o c", 12288, ""},
		{"raid10 5 64 raid10_copies 2 raid10_format far 3 m a n b o c", 12240, "md would use 12096"},
		{"raid10 1 64 3 m a n b o c", 12288, ""},
		{"raid1 1 0 2 m a n b", 8191, ""},
		{"raid1 1 0 2 m a m b", 8192, "m is both the metadata of leg 0 and the metadata of leg 1"},
		{"raid1 1 0 2 m a n a", 8192, "a is both the data of leg 0 and the data of leg 1"},
		{"raid1 1 0 2 m a n m", 8192, "m is both the metadata of leg 0 and the data of leg 1"},
		{"raid5_ls 3 64 journal_dev b 2 m a n b", 8192, "b is both the data of leg 1 and the journal"},
		{"raid1 1 0 2 m a - -", 8192, ""},
		{"raid10_far 1 64 2 m a n b", 8192, "type raid10_far gives format near"},
		{"raid10_far 3 64 raid10_format far 2 m a n b", 8192, ""},
		{"raid10_near 1 64 2 m a n b", 8192, ""},
		{"raid10_near 3 64 raid10_format offset 2 m a n b", 8192, "type raid10_near gives format offset"},
		{"raid10_offset 3 64 raid10_format far 2 m a n b", 8192, "type raid10_offset gives format far"},
		{"raid1 3 0 region_size 8388608 1 m a", 1 << 30, "holds less than 4 GiB"},
		{"raid1 3 0 region_size 4194304 1 m a", 1 << 30, ""},
		{"raid1 3 0 daemon_sleep 999 1 m a", 8192, "daemon_sleep 999 can be less than a second"},
		{"raid1 3 0 daemon_sleep 1000 1 m a", 8192, ""},
		// Traps are not for Validate.
		{"raid1 2 0 sync 2 m a n b", 8192, ""},
		{"raid1 1 0 2 - a - b", 8192, ""},
	} {
		err := parse(t, dmraid.Parse, tt.params).Validate(tt.length)
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || !errors.Is(err, dmraid.ErrTable)) {
			t.Errorf("%q of %d: %v, want %q", tt.params, tt.length, err, tt.want)
		}
	}
	for _, odd := range []dmraid.Table{
		{},
		{Type: dmraid.RAID1},
		{Type: dmraid.RAID1, Legs: []dmraid.Leg{{Meta: "-", Data: "a"}}},
		{Type: dmraid.RAID1, Legs: []dmraid.Leg{{Meta: "m"}}},
		{Type: dmraid.RAID10, ChunkSize: 64, Legs: legs(2), Format: "nearest"},
		{Type: dmraid.RAID5LS, ChunkSize: 64, Legs: legs(2), JournalMode: dmraid.WriteBack},
		{Type: dmraid.RAID5LS, ChunkSize: 64, Legs: legs(2), Copies: 2},
	} {
		if err := odd.Validate(8192); !errors.Is(err, dmraid.ErrTable) {
			t.Errorf("%#v: %v", odd, err)
		}
	}
}

func TestExtents(t *testing.T) {
	x := func(device string, length dmraid.Sectors) dm.Extent { return dm.Extent{Device: device, Length: length} }
	for _, tt := range []struct {
		params string
		length dmraid.Sectors
		want   []dm.Extent
	}{
		{"raid1 1 0 2 m a - b", 8191, []dm.Extent{x("m", 16), x("a", 8191), x("b", 8191)}},
		{"raid0 1 64 2 m a n b", 16384, []dm.Extent{x("m", 8), x("a", 8192), x("n", 8), x("b", 8192)}},
		{"raid5_ls 3 64 data_offset 2048 3 - - m b n c", 16376, []dm.Extent{x("m", 16), x("b", 8128+2048), x("n", 16), x("c", 8128+2048)}},
		{"raid6_zr 3 64 journal_dev j 4 m a n b o c - -", 16384,
			[]dm.Extent{x("m", 8), x("a", 8192), x("n", 8), x("b", 8192), x("o", 8), x("c", 8192), x("j", 8192)}},
		// Three legs of near: a chunk and a half of each for a chunk of data.
		{"raid10 1 64 3 - a - b - c", 12288, []dm.Extent{x("a", 8192), x("b", 8192), x("c", 8192)}},
		{"raid10 3 64 raid10_format offset 4 - a - b - c - d", 16384, []dm.Extent{x("a", 8192), x("b", 8192), x("c", 8192), x("d", 8192)}},
		// 1 TiB: 262144 regions of 4 MiB are 32 KiB of bits, 9 pages with the head.
		{"raid1 1 0 1 m a", 1 << 31, []dm.Extent{x("m", 8+9*8), x("a", 1<<31)}},
		// 32 TiB: the region is chosen so that 2^21 of them do.
		{"raid1 1 0 1 m a", 1 << 36, []dm.Extent{x("m", 8+65*8), x("a", 1<<36)}},
	} {
		table := parse(t, dmraid.Parse, tt.params)
		if got := table.Extents(tt.length); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q:\n got %v\nwant %v", tt.params, got, tt.want)
		}
	}
	if got := (dmraid.Table{}).Extents(8192); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}
