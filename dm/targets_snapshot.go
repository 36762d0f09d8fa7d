// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// SnapshotOrigin is the device that snapshots are taken of: it copies what
// is overwritten to each of them (drivers/md/dm-snap.c).
type SnapshotOrigin struct {
	Origin string
}

// TargetType is "snapshot-origin".
func (SnapshotOrigin) TargetType() string { return "snapshot-origin" }

// Params is the origin's device.
func (s SnapshotOrigin) Params() string { return JoinArgs(s.Origin) }

// Extents is the origin from its start.
func (s SnapshotOrigin) Extents(length Sectors) []Extent { return []Extent{{s.Origin, 0, length}} }

// Validate refuses an empty device.
func (s SnapshotOrigin) Validate(Sectors) error { return needDevice(s.Origin) }

func parseSnapshotOrigin(params string) (Target, error) {
	r := readArgs(params)
	s := SnapshotOrigin{r.device("origin")}
	return s, r.end()
}

// Store is where a snapshot keeps its exceptions: the table that says which
// chunk was copied where.
type Store uint8

// The exception stores (drivers/md/dm-exception-store.c).
const (
	// Persistent keeps them on the COW device: they survive a reboot.
	Persistent Store = iota
	// PersistentOverflow does too, and tells user space when it is full
	// instead of only becoming invalid: status Overflow.
	PersistentOverflow
	// Transient keeps them in memory.
	Transient
)

var storeNames = [...]string{"P", "PO", "N"}

// String is the word of the table: P, PO or N.
func (s Store) String() string {
	if int(s) < len(storeNames) {
		return storeNames[s]
	}
	return "store " + strconv.Itoa(int(s))
}

func parseStore(s string) (Store, error) {
	for i, name := range storeNames {
		if strings.EqualFold(s, name) {
			return Store(i), nil
		}
	}
	return 0, fmt.Errorf("%q is not P, PO or N", s)
}

// Snapshot is the state of an origin at the time when the snapshot was
// made, plus what was written to it since. Linux 4.18 brought features.
type Snapshot struct {
	Origin    string
	COW       string // device that takes copies and changes
	Store     Store
	ChunkSize Sectors // a power of 2; 0 takes that of the COW device

	// A discard zeroes the chunk in the snapshot. Debian's Linux 7.2.13 divides
	// by zero in blk_stack_limits, and dies, when such a table with a chunk
	// below 512 sectors is loaded: the target gives its chunk in sectors where
	// bytes are wanted.
	DiscardZeroesCOW      bool
	DiscardPassdownOrigin bool // a discard of the snapshot-origin is passed down
}

// TargetType is "snapshot".
func (Snapshot) TargetType() string { return "snapshot" }

// Params is "origin cow store chunk [n feature…]".
func (s Snapshot) Params() string {
	args := []string{s.Origin, s.COW, s.Store.String(), num(s.ChunkSize)}
	var feat []string
	if s.DiscardZeroesCOW {
		feat = append(feat, "discard_zeroes_cow")
	}
	if s.DiscardPassdownOrigin {
		feat = append(feat, "discard_passdown_origin")
	}
	if len(feat) > 0 {
		args = append(append(args, num(len(feat))), feat...)
	}
	return JoinArgs(args...)
}

// Extents is the origin from its start, and the COW device.
func (s Snapshot) Extents(length Sectors) []Extent {
	return []Extent{{s.Origin, 0, length}, {s.COW, 0, 0}}
}

// Validate checks the chunk size and the two devices.
func (s Snapshot) Validate(Sectors) error {
	if err := needDevice(s.Origin, s.COW); err != nil {
		return err
	}
	switch {
	case s.Origin == s.COW:
		return errors.New("origin and COW are the same device")
	case int(s.Store) >= len(storeNames):
		return fmt.Errorf("%v", s.Store)
	case bits.OnesCount64(uint64(s.ChunkSize)) > 1:
		return fmt.Errorf("chunk size %d is not a power of 2", uint64(s.ChunkSize))
	case s.ChunkSize > 1<<31-1>>9:
		return fmt.Errorf("chunk size %d is too large", uint64(s.ChunkSize))
	case s.DiscardPassdownOrigin && !s.DiscardZeroesCOW:
		return errors.New("discard_passdown_origin needs discard_zeroes_cow")
	}
	return nil
}

func snapshotArgs(params string) (Snapshot, error) {
	r := readArgs(params)
	s := Snapshot{Origin: r.device("origin"), COW: r.device("cow")}
	if word := r.str("store"); r.err == nil {
		var err error
		if s.Store, err = parseStore(word); err != nil {
			r.fail("store", err)
		}
	}
	s.ChunkSize = r.sectors("chunk size")
	if r.err == nil && r.left() > 0 {
		if n := r.uint("features", 32); r.err == nil && n != uint64(r.left()) {
			return s, fmt.Errorf("%d features announced, %d given", n, r.left())
		}
		for r.err == nil && r.left() > 0 {
			switch name := r.str("feature"); name {
			case "discard_zeroes_cow":
				s.DiscardZeroesCOW = true
			case "discard_passdown_origin":
				s.DiscardPassdownOrigin = true
			default:
				r.fail("feature", fmt.Errorf("%q is unknown", name))
			}
		}
	}
	return s, r.end()
}

func parseSnapshot(params string) (Target, error) {
	s, err := snapshotArgs(params)
	return s, err
}

// SnapshotMerge writes what a snapshot holds back to its origin. It takes
// the place of the snapshot-origin; it is done when the status says that
// only metadata is left.
type SnapshotMerge Snapshot

// TargetType is "snapshot-merge".
func (SnapshotMerge) TargetType() string { return "snapshot-merge" }

// Params is as for a snapshot.
func (s SnapshotMerge) Params() string { return Snapshot(s).Params() }

// Extents is as for a snapshot.
func (s SnapshotMerge) Extents(length Sectors) []Extent { return Snapshot(s).Extents(length) }

// Validate is as for a snapshot; only a persistent store can be merged.
func (s SnapshotMerge) Validate(length Sectors) error {
	if s.Store == Transient {
		return errors.New("a transient snapshot can't be merged")
	}
	return Snapshot(s).Validate(length)
}

func parseSnapshotMerge(params string) (Target, error) {
	s, err := snapshotArgs(params)
	return SnapshotMerge(s), err
}
