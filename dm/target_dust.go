// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Dust fails reads of blocks that it was told are bad, until they are written
// again, like a disk with medium errors (drivers/md/dm-dust.c, Linux 5.2). It
// starts with none and in bypass mode: see [AddBadBlock] and
// [EnableBadBlocks]. It is made from the source alone: the kernels that this
// package is tested on come without it.
type Dust struct {
	Device    string
	Offset    Sectors
	BlockSize uint32 // bytes, a power of 2 from 512 to 2^30
}

// TargetType is "dust".
func (Dust) TargetType() string { return "dust" }

// Params is "device offset block".
func (d Dust) Params() string { return JoinArgs(d.Device, num(d.Offset), num(d.BlockSize)) }

// Extents is the range on the device.
func (d Dust) Extents(length Sectors) []Extent { return []Extent{{d.Device, d.Offset, length}} }

// Validate checks the block size.
func (d Dust) Validate(length Sectors) error {
	switch b := d.BlockSize; {
	case b < 512 || b&(b-1) != 0 || b > 1<<30:
		return fmt.Errorf("block size %d is not a power of 2 from 512 to 2^30", b)
	case Sectors(b/512) > length:
		return fmt.Errorf("block size %d is larger than the device", b)
	}
	return needDevice(d.Device)
}

func parseDust(params string) (Target, error) {
	r := readArgs(params)
	d := Dust{r.device("device"), r.sectors("offset"), uint32(r.uint("block size", 32))}
	return d, r.end()
}

// DustStatus is the status of a dust target.
type DustStatus struct {
	Device string // major:minor
	Active bool   // reads of bad blocks fail, else nothing happens
	Quiet  bool   // the kernel's log is spared
}

// ParseDustStatus reads "1:0 fail_read_on_bad_block verbose".
func ParseDustStatus(text string) (DustStatus, error) {
	r := readArgs(text)
	s := DustStatus{Device: r.device("device")}
	s.Active = r.oneOf("mode", dustModes[:]...) == 1
	s.Quiet = r.oneOf("log", dustLogs[:]...) == 1
	if err := r.end(); err != nil {
		return DustStatus{}, badStatus("dust", err)
	}
	return s, nil
}

var (
	dustModes = [...]string{"bypass", "fail_read_on_bad_block"}
	dustLogs  = [...]string{"verbose", "quiet"}
)

// String is the kernel's text.
func (s DustStatus) String() string {
	mode, log := 0, 0
	if s.Active {
		mode = 1
	}
	if s.Quiet {
		log = 1
	}
	return JoinArgs(s.Device, dustModes[mode], dustLogs[log])
}

// Messages to a dust target. Blocks count from the start of the device
// beneath, not from the offset: dm-dust.c looks a block up after it has mapped
// it.
type (
	// AddBadBlock makes a block bad. The kernel answers EINVAL if it is
	// already.
	AddBadBlock struct {
		Block uint64
		// WriteFailures is how many writes fail before one heals the block.
		WriteFailures uint8
	}
	// RemoveBadBlock makes it good; EINVAL if it is.
	RemoveBadBlock struct{ Block uint64 }
	// QueryBadBlock asks whether it is bad: see its Answer.
	QueryBadBlock struct{ Block uint64 }
	// CountBadBlocks asks how many blocks are bad: see its Answer.
	CountBadBlocks struct{}
	// ListBadBlocks asks which blocks are bad: see its Answer. Linux 5.9.
	ListBadBlocks struct{}
	// ClearBadBlocks makes all blocks good.
	ClearBadBlocks struct{}
	// EnableBadBlocks has reads of bad blocks fail.
	EnableBadBlocks struct{}
	// DisableBadBlocks lets all I/O pass; bad blocks are not healed then.
	DisableBadBlocks struct{}
	// ToggleDustLog turns [DustStatus.Quiet] over.
	ToggleDustLog struct{}
)

// TargetType is "dust".
func (AddBadBlock) TargetType() string      { return "dust" }
func (RemoveBadBlock) TargetType() string   { return "dust" }
func (QueryBadBlock) TargetType() string    { return "dust" }
func (CountBadBlocks) TargetType() string   { return "dust" }
func (ListBadBlocks) TargetType() string    { return "dust" }
func (ClearBadBlocks) TargetType() string   { return "dust" }
func (EnableBadBlocks) TargetType() string  { return "dust" }
func (DisableBadBlocks) TargetType() string { return "dust" }
func (ToggleDustLog) TargetType() string    { return "dust" }

// Text is the kernel's word, and the block.
func (m AddBadBlock) Text() string {
	text := "addbadblock " + num(m.Block)
	if m.WriteFailures > 0 {
		text += " " + num(m.WriteFailures)
	}
	return text
}
func (m RemoveBadBlock) Text() string { return "removebadblock " + num(m.Block) }
func (m QueryBadBlock) Text() string  { return "queryblock " + num(m.Block) }
func (CountBadBlocks) Text() string   { return "countbadblocks" }
func (ListBadBlocks) Text() string    { return "listbadblocks" }
func (ClearBadBlocks) Text() string   { return "clearbadblocks" }
func (EnableBadBlocks) Text() string  { return "enable" }
func (DisableBadBlocks) Text() string { return "disable" }
func (ToggleDustLog) Text() string    { return "quiet" }

// Validate finds nothing to refuse: only the kernel knows the size of the
// device.
func (AddBadBlock) Validate() error      { return nil }
func (RemoveBadBlock) Validate() error   { return nil }
func (QueryBadBlock) Validate() error    { return nil }
func (CountBadBlocks) Validate() error   { return nil }
func (ListBadBlocks) Validate() error    { return nil }
func (ClearBadBlocks) Validate() error   { return nil }
func (EnableBadBlocks) Validate() error  { return nil }
func (DisableBadBlocks) Validate() error { return nil }
func (ToggleDustLog) Validate() error    { return nil }

// Before Linux 5.9 these answers went to the kernel's log.
func dustAnswer(text string, err error) error {
	if text == "" {
		err = errors.ErrUnsupported
	} else {
		err = corrupt(err)
	}
	return &Error{Op: "message", Object: "dust", Err: err}
}

// Answer reads what Send gave: whether the block is bad. The error matches
// errors.ErrUnsupported for the empty answer of a kernel before Linux 5.9.
func (m QueryBadBlock) Answer(text string) (bool, error) {
	switch block := ": block " + num(m.Block); {
	case strings.HasSuffix(text, block+" found in badblocklist"):
		return true, nil
	case strings.HasSuffix(text, block+" not found in badblocklist"):
		return false, nil
	}
	return false, dustAnswer(text, fmt.Errorf("%q", text))
}

// Answer reads what Send gave: the number of bad blocks. For errors see
// [QueryBadBlock.Answer].
func (CountBadBlocks) Answer(text string) (uint64, error) {
	r := readArgs(text)
	r.oneOf("countbadblocks", "countbadblocks:")
	n := r.uint("count", 64)
	r.oneOf("count", "badblock(s)")
	r.oneOf("count", "found")
	if err := r.end(); err != nil {
		return 0, dustAnswer(text, err)
	}
	return n, nil
}

// Answer reads what Send gave: the bad blocks in order. For errors see
// [QueryBadBlock.Answer].
func (ListBadBlocks) Answer(text string) ([]uint64, error) {
	if text == "No blocks in badblocklist" {
		return nil, nil
	}
	var list []uint64
	for line := range strings.Lines(text) {
		n, err := strconv.ParseUint(strings.TrimSuffix(line, "\n"), 10, 64)
		if err != nil {
			return nil, dustAnswer(text, err)
		}
		list = append(list, n)
	}
	if list == nil {
		return nil, dustAnswer(text, nil)
	}
	return list, nil
}
