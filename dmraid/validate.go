// SPDX-License-Identifier: MIT

package dmraid

import (
	"fmt"

	"github.com/linuxblock/linuxblock/dm"
)

// Validate checks t for a segment of the given length: first the rules of
// the kernel, as [Check] does with the text, then what the kernel takes
// though nobody can want it:
//   - a device that is named twice: legs that share a device lose data;
//   - the types raid10_far, raid10_offset and raid10_near with another
//     Format than they say (get_raid_type: the name is not looked at);
//   - a length that is no whole number of stripes: md rounds it down, and
//     I/O beyond md's end is put back into the queue for ever (raid_map);
//   - a region of 4 GiB or more, for the superblock of the bitmap holds its
//     size in 32 bits of bytes, and the array can't be started again;
//   - a DaemonSleep under 1000, which is under a second on some kernels: the
//     superblock of the bitmap then holds 0 seconds (md_bitmap_update_sb), and
//     the array can't be started again ("daemon sleep period out of range");
//   - a JournalMode without a JournalDev, a Format that is none.
//
// Whether data are at risk, as with [SyncForce] or with no metadata, is not
// asked here; see [Traps].
func (t Table) Validate(length Sectors) error {
	if err := Check(t.Params(), length, nil); err != nil {
		return err
	}
	if err := t.strict(length); err != nil {
		return &Error{Op: "check", Code: einval, Detail: err.Error(), Err: ErrTable}
	}
	return nil
}

// minDaemonSleep is a second in jiffies at the highest HZ, 1000.
const minDaemonSleep = 1000

func (t Table) strict(length Sectors) error {
	if err := t.eachDeviceOnce(); err != nil {
		return err
	}
	named := map[Type]Format{RAID10Far: FormatFar, RAID10Off: FormatOffset, RAID10Near: FormatNear}
	if want, ok := named[t.Type]; ok {
		got := t.Format
		if got == "" {
			got = FormatNear
		}
		if got != want {
			return fmt.Errorf("type %s gives format %s: say %s with raid10_format %s", t.Type, got, RAID10, want)
		}
	}
	s := t.shape(length)
	if s.array != length {
		return fmt.Errorf("%d sectors are no whole number of stripes: md would use %d, and I/O behind them would hang",
			uint64(length), uint64(s.array))
	}
	if n := t.DaemonSleep; n > 0 && n < minDaemonSleep {
		return fmt.Errorf("daemon_sleep %d can be less than a second, which the bitmap's superblock holds as 0: the array could not be started again", n)
	}
	if t.RegionSize.Bytes() >= 1<<32 {
		return fmt.Errorf("region size %d: the bitmap's superblock holds less than 4 GiB", uint64(t.RegionSize))
	}
	return nil
}

// eachDeviceOnce compares devices as they are written.
func (t Table) eachDeviceOnce() error {
	role := map[string]string{}
	use := func(device, as string) error {
		if device == "" {
			return nil
		}
		if other, ok := role[device]; ok {
			return fmt.Errorf("%s is both %s and %s", device, other, as)
		}
		role[device] = as
		return nil
	}
	for i, l := range t.Legs {
		if l.Meta == "-" || l.Data == "-" {
			return fmt.Errorf("leg %d: a device \"-\": leave it empty", i)
		}
		if err := use(l.Meta, fmt.Sprintf("the metadata of leg %d", i)); err != nil {
			return err
		}
		if err := use(l.Data, fmt.Sprintf("the data of leg %d", i)); err != nil {
			return err
		}
	}
	return use(t.JournalDev, "the journal")
}

// shape is what md makes of a table and its length.
type shape struct {
	leg   Sectors // used of each leg
	array Sectors // what the array holds
	sync  Sectors // what a resync goes through: the bitmap covers it
}

// shape computes as raid0_size, raid1_size, raid5_run and calc_sectors of
// raid10.c do from the dev_sectors of rs_set_dev_and_array_sectors. The
// table must have passed the kernel's rules.
func (t Table) shape(length Sectors) shape {
	n := Sectors(len(t.Legs))
	chunk := t.ChunkSize
	stripes := n - Sectors(t.Type.Parity())
	if t.Type.Level() == 1 {
		return shape{leg: length, array: length, sync: length}
	}
	if stripes == 0 || chunk == 0 {
		return shape{}
	}
	if !t.Type.IsRAID10() {
		leg := length / stripes / chunk * chunk
		return shape{leg: leg, array: leg * stripes, sync: leg}
	}
	copies := Sectors(2)
	if t.Copies > 0 {
		copies = Sectors(t.Copies)
	}
	near, far := copies, Sectors(1)
	if t.Format == FormatFar || t.Format == FormatOffset {
		near, far = 1, copies
	}
	chunks := length * copies / n / chunk / far * n / near // of the array
	used := (chunks*copies + n - 1) / n                    // of a leg
	return shape{leg: used * chunk, array: chunks * chunk, sync: chunks * chunk}
}

// Extents is what a table needs of its devices: of each data device the
// sectors that md uses and the room of DataOffset, of each metadata device
// the superblock and the bitmap, of the journal the least that the kernel
// takes. Paths and numbers are as in the table.
func (t Table) Extents(length Sectors) []dm.Extent {
	s := t.shape(length)
	data := s.leg
	if t.DataOffset != nil {
		data += *t.DataOffset
	}
	var list []dm.Extent
	for _, l := range t.Legs {
		if l.Meta != "" {
			list = append(list, dm.Extent{Device: l.Meta, Length: t.metaSectors(length, s)})
		}
		if l.Data != "" {
			list = append(list, dm.Extent{Device: l.Data, Length: data})
		}
	}
	if t.JournalDev != "" {
		list = append(list, dm.Extent{Device: t.JournalDev, Length: minJournal})
	}
	return list
}

// MetaSectors is how large the metadata devices of the table must be at
// least: 4 KiB for the superblock, and behind it the bitmap with its own
// superblock of 256 bytes and a bit for each region, in whole pages, as md
// writes it. An array without a bitmap, which is raid0 or has a journal,
// needs the first 4 KiB alone. lvm2 gives an extent.
func (t Table) MetaSectors(length Sectors) Sectors { return t.metaSectors(length, t.shape(length)) }

func (t Table) metaSectors(length Sectors, s shape) Sectors {
	if t.Type.Level() == 0 || t.JournalDev != "" {
		return pageSectors
	}
	region := t.RegionSize
	if region == 0 {
		region = regionFor(length)
	}
	regions := s.sync/region + min(1, s.sync%region)
	bytes := bitmapSuperBytes + (regions+7)/8
	const page = pageSectors * 512
	return pageSectors + (bytes+page-1)/page*pageSectors
}

var (
	_ dm.Target    = Table{}
	_ dm.Validator = Table{}
	_ dm.Mapper    = Table{}
)
