// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
)

// Era passes I/O to its origin and remembers in which era each block was
// written last (drivers/md/dm-era-target.c). Every resume and every checkpoint
// begins a new era. The eras of blocks are read from a metadata snapshot with
// era_invalidate and era_dump, of Debian's thin-provisioning-tools.
//
// The metadata are read when a table is loaded: writes between that and the
// swap would be in no era. [Client.Reload] therefore suspends a device with era
// before it loads the next era table; do so yourself before [Client.Load].
//
// While the device is suspended, a status call or a message sleeps until it is
// resumed, and nothing ends that sleep: a call whose context ends answers
// [ErrPending].
type Era struct {
	Metadata  string
	Origin    string
	BlockSize Sectors // the grain; a multiple of 8
}

// TargetType is "era".
func (Era) TargetType() string { return "era" }

// Params is "metadata origin block".
func (e Era) Params() string { return JoinArgs(e.Metadata, e.Origin, num(e.BlockSize)) }

// Extents is the origin from its start, and the metadata. The kernel does not
// look whether the origin is long enough; a table that is longer is a mistake.
func (e Era) Extents(length Sectors) []Extent {
	return []Extent{{e.Origin, 0, length}, {e.Metadata, 0, 0}}
}

// Validate checks the block size and that there are less than 2^31 blocks.
func (e Era) Validate(length Sectors) error {
	if err := needDevice(e.Metadata, e.Origin); err != nil {
		return err
	}
	switch {
	case e.BlockSize == 0 || e.BlockSize%8 != 0 || e.BlockSize > 1<<32-1:
		return fmt.Errorf("block size %d is no multiple of 8 of 32 bits", uint64(e.BlockSize))
	case length/e.BlockSize >= 1<<31-1:
		return fmt.Errorf("%d sectors are more than 2^31 blocks of %d", uint64(length), uint64(e.BlockSize))
	}
	return nil
}

func parseEra(params string) (Target, error) {
	r := readArgs(params)
	e := Era{r.device("metadata"), r.device("origin"), r.sectors("block size")}
	return e, r.end()
}

// EraStatus is the status of an [Era].
type EraStatus struct {
	Error bool // the numbers could not be read

	MetadataBlockSize           Sectors // 8
	MetadataUsed, MetadataTotal uint64  // blocks
	Era                         uint32  // the current one
	MetadataSnap                uint64  // block of the metadata snapshot; 0 for none
}

// ParseEraStatus reads "8 9/8192 1 -" or "Error".
func ParseEraStatus(text string) (EraStatus, error) {
	r := readArgs(text)
	if _, bad, _ := r.failed(); bad {
		return EraStatus{Error: true}, nil
	}
	var s EraStatus
	s.MetadataBlockSize = r.sectors("metadata block size")
	s.MetadataUsed, s.MetadataTotal = r.fraction("metadata blocks")
	s.Era = uint32(r.uint("era", 32))
	if r.peek() == "-" {
		r.str("metadata snapshot")
	} else if s.MetadataSnap = r.uint("metadata snapshot", 64); s.MetadataSnap == 0 {
		r.fail("metadata snapshot", errors.New("0 is the superblock"))
	}
	if err := r.end(); err != nil {
		return EraStatus{}, badStatus("era", err)
	}
	return s, nil
}

// String is the kernel's text.
func (s EraStatus) String() string {
	if s.Error {
		return "Error"
	}
	snap := "-"
	if s.MetadataSnap != 0 {
		snap = num(s.MetadataSnap)
	}
	return fmt.Sprintf("%d %d/%d %d %s", uint64(s.MetadataBlockSize), s.MetadataUsed, s.MetadataTotal, s.Era, snap)
}

// EraMessage is a message to an [Era].
type EraMessage string

// The messages of era.
const (
	// EraCheckpoint begins a new era.
	EraCheckpoint EraMessage = "checkpoint"
	// EraTakeMetadataSnap begins one too, and keeps a snapshot of the
	// metadata that programs may read. There can be one at a time.
	EraTakeMetadataSnap EraMessage = "take_metadata_snap"
	// EraDropMetadataSnap lets it go.
	EraDropMetadataSnap EraMessage = "drop_metadata_snap"
)

// TargetType is "era".
func (EraMessage) TargetType() string { return "era" }

// Text is the message itself.
func (m EraMessage) Text() string { return string(m) }

// Validate refuses what is none of the constants.
func (m EraMessage) Validate() error {
	return knownMessage(m, EraCheckpoint, EraTakeMetadataSnap, EraDropMetadataSnap)
}

func knownMessage[M ~string](m M, known ...M) error {
	for _, k := range known {
		if m == k {
			return nil
		}
	}
	return fmt.Errorf("%q is no message of the target", string(m))
}
