// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
)

// ThinPoolMode is what a pool can do at the moment.
type ThinPoolMode string

// The modes of a pool (pool_status in drivers/md/dm-thin.c).
const (
	ThinPoolReadWrite      ThinPoolMode = "rw"
	ThinPoolReadOnly       ThinPoolMode = "ro"                // by its table, out of metadata space, or after an error
	ThinPoolOutOfDataSpace ThinPoolMode = "out_of_data_space" // no new blocks
	ThinPoolFail           ThinPoolMode = "Fail"              // the metadata can't be read: all I/O fails
	ThinPoolError          ThinPoolMode = "Error"             // the status itself can't be had
)

// ThinPoolDiscard is what a pool does with discards.
type ThinPoolDiscard string

// The ways of a pool with discards. A pool whose data device takes none has
// none to pass down, whatever its table says.
const (
	ThinPoolIgnoresDiscards ThinPoolDiscard = "ignore_discard"
	ThinPoolPassesDiscards  ThinPoolDiscard = "discard_passdown"
	ThinPoolKeepsDiscards   ThinPoolDiscard = "no_discard_passdown"
)

// ThinPoolStatus is the status of a thin-pool. When the mode is Fail or Error
// there is nothing else.
type ThinPoolStatus struct {
	TransactionID uint64
	// Blocks of 4096 bytes. A tenth of the metadata device, 16 MiB at most, is
	// held back and counts as used (Linux 4.20).
	UsedMetadata, TotalMetadata uint64
	UsedData, TotalData         uint64 // blocks of the pool
	// MetadataSnapshot is the metadata block of the snapshot that
	// [ReserveMetadataSnap] made; 0 for none.
	MetadataSnapshot uint64
	Mode             ThinPoolMode    // empty on kernels before 3.6
	Discard          ThinPoolDiscard // empty on kernels before 3.6
	// ErrorIfNoSpace: a full pool fails writes, because of its table or
	// because it has queued them for long enough (module parameter
	// no_space_timeout of dm-thin-pool).
	ErrorIfNoSpace bool
	// NeedsCheck: an operation on the metadata failed. The pool is read-only
	// until they are repaired with thin_check or thin_repair.
	NeedsCheck bool
	// MetadataLowWater is the number of free metadata blocks, those held back
	// not counted, at which the pool raises an event; 0 on kernels before 4.20.
	MetadataLowWater uint64
}

// ParseThinPoolStatus reads "0 828/8192 0/512 - rw no_discard_passdown
// queue_if_no_space - 1024", or less of it from older kernels, or a state.
func ParseThinPoolStatus(text string) (ThinPoolStatus, error) {
	r := readArgs(text)
	var s ThinPoolStatus
	if mode := ThinPoolMode(r.peek()); mode == ThinPoolFail || mode == ThinPoolError {
		s.Mode = mode
		r.str("mode")
		return thinPoolStatus(s, r)
	}
	s.TransactionID = r.uint("transaction id", 64)
	s.UsedMetadata, s.TotalMetadata = r.fraction("metadata")
	s.UsedData, s.TotalData = r.fraction("data")
	if r.peek() == "-" {
		r.str("metadata snapshot")
	} else if s.MetadataSnapshot = r.uint("metadata snapshot", 64); r.err == nil && s.MetadataSnapshot == 0 {
		r.fail("metadata snapshot", errors.New("block 0"))
	}
	if r.err != nil || r.left() == 0 {
		return thinPoolStatus(s, r)
	}
	s.Mode = thinPoolModes[r.oneOf("mode", "rw", "ro", "out_of_data_space")]
	s.Discard = thinPoolDiscards[r.oneOf("discard", "ignore_discard", "discard_passdown", "no_discard_passdown")]
	if r.left() > 0 {
		s.ErrorIfNoSpace = r.oneOf("no space", "queue_if_no_space", "error_if_no_space") == 1
	}
	if r.left() > 0 {
		s.NeedsCheck = r.oneOf("needs check", "-", "needs_check") == 1
	}
	if r.left() > 0 {
		s.MetadataLowWater = r.uint("metadata low water mark", 64)
	}
	return thinPoolStatus(s, r)
}

var (
	thinPoolModes    = [...]ThinPoolMode{ThinPoolReadWrite, ThinPoolReadOnly, ThinPoolOutOfDataSpace}
	thinPoolDiscards = [...]ThinPoolDiscard{ThinPoolIgnoresDiscards, ThinPoolPassesDiscards, ThinPoolKeepsDiscards}
)

func thinPoolStatus(s ThinPoolStatus, r argReader) (ThinPoolStatus, error) {
	if err := r.end(); err != nil {
		return ThinPoolStatus{}, badStatus("thin-pool", err)
	}
	return s, nil
}

// String is the kernel's text. What older kernels leave out between the first
// and the last field they print is filled in.
func (s ThinPoolStatus) String() string {
	if s.Mode == ThinPoolFail || s.Mode == ThinPoolError {
		return string(s.Mode)
	}
	root := "-"
	if s.MetadataSnapshot != 0 {
		root = num(s.MetadataSnapshot)
	}
	text := fmt.Sprintf("%d %d/%d %d/%d %s", s.TransactionID, s.UsedMetadata, s.TotalMetadata, s.UsedData, s.TotalData, root)
	if s.Mode == "" {
		return text
	}
	space, check := "queue_if_no_space", "-"
	if s.ErrorIfNoSpace {
		space = "error_if_no_space"
	}
	if s.NeedsCheck {
		check = "needs_check"
	}
	text += " " + string(s.Mode) + " " + string(s.Discard) + " " + space + " " + check
	if s.MetadataLowWater != 0 {
		text += " " + num(s.MetadataLowWater)
	}
	return text
}

// ThinState is what a volume says instead of its numbers.
type ThinState string

// The states of a volume (thin_status in drivers/md/dm-thin.c).
const (
	ThinValid ThinState = ""      // numbers follow
	ThinFail  ThinState = "Fail"  // the pool failed
	ThinGone  ThinState = "-"     // the volume is not open in the pool
	ThinError ThinState = "Error" // the metadata can't be read
)

// ThinStatus is the status of a thin volume.
type ThinStatus struct {
	State  ThinState
	Mapped Sectors // what has blocks of the pool, shared ones included
	// Highest is the last sector that has a block; 0 when none has.
	Highest Sectors
}

// ParseThinStatus reads "384 383", "0 -", or one of the states.
func ParseThinStatus(text string) (ThinStatus, error) {
	r := readArgs(text)
	var s ThinStatus
	if r.left() == 1 {
		s.State = [...]ThinState{ThinFail, ThinGone, ThinError}[r.oneOf("state", "Fail", "-", "Error")]
	} else {
		s.Mapped = r.sectors("mapped")
		if r.peek() == "-" {
			r.str("highest")
		} else {
			s.Highest = r.sectors("highest")
		}
	}
	if err := r.end(); err != nil {
		return ThinStatus{}, badStatus("thin", err)
	}
	return s, nil
}

// String is the kernel's text.
func (s ThinStatus) String() string {
	switch {
	case s.State != ThinValid:
		return string(s.State)
	case s.Highest == 0: // a block has 128 sectors at least
		return num(s.Mapped) + " -"
	}
	return num(s.Mapped) + " " + num(s.Highest)
}
