// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"strings"
)

// The limits of drivers/md/dm-thin.c.
const (
	minThinBlock    = Sectors(64 << 10 / 512) // DATA_DEV_BLOCK_SIZE_MIN_SECTORS; a block is a multiple of it
	maxThinBlock    = Sectors(1 << 30 / 512)  // DATA_DEV_BLOCK_SIZE_MAX_SECTORS
	maxThinID       = 1<<24 - 1               // MAX_DEV_ID
	maxPoolFeatures = 4                       // of parse_pool_features, although there are five words
)

// ThinPool is where thin volumes get their blocks from (drivers/md/dm-thin.c).
// Its length is how much of the data device it uses, in whole blocks.
//
// The kernel formats the metadata device when its first 4096 bytes are zero,
// and refuses any other content that is not its own. A pool is created anew
// from its two devices; the volumes are in the metadata.
//
// To grow a pool that is in use, make the data device larger and reload the
// pool with a larger length. Writes that a full pool has queued go on then.
type ThinPool struct {
	Metadata  string // device of 4096-byte blocks; what is beyond 15.9 GiB is not used
	Data      string
	BlockSize Sectors // 128 to 2097152, a multiple of 128; fixed once the pool is made
	// LowWaterMark is the number of free data blocks at which the pool raises
	// an event, once until its next resume.
	LowWaterMark uint64

	// The kernel takes at most four of these five.

	SkipBlockZeroing  bool // a new block keeps what was on the data device
	IgnoreDiscard     bool // volumes take no discards; fixed at the first load
	NoDiscardPassdown bool // discards free blocks and end there
	ReadOnly          bool // the metadata are not changed
	ErrorIfNoSpace    bool // a full pool fails writes; by default it queues them, for a minute
}

// TargetType is "thin-pool".
func (ThinPool) TargetType() string { return "thin-pool" }

// Params is "metadata data block low n feature…", in the kernel's own order.
func (p ThinPool) Params() string {
	args := []string{p.Metadata, p.Data, num(p.BlockSize), num(p.LowWaterMark)}
	feat := p.features()
	return JoinArgs(append(append(args, num(len(feat))), feat...)...)
}

func (p ThinPool) features() []string {
	var feat []string
	for _, f := range []struct {
		on   bool
		name string
	}{
		{p.SkipBlockZeroing, "skip_block_zeroing"}, {p.IgnoreDiscard, "ignore_discard"},
		{p.NoDiscardPassdown, "no_discard_passdown"}, {p.ReadOnly, "read_only"},
		{p.ErrorIfNoSpace, "error_if_no_space"},
	} {
		if f.on {
			feat = append(feat, f.name)
		}
	}
	return feat
}

// Extents is the data device from its start, and the metadata device.
func (p ThinPool) Extents(length Sectors) []Extent {
	return []Extent{{p.Data, 0, length}, {p.Metadata, 0, 0}}
}

// Validate checks the block size, the number of features and that there are
// two devices.
func (p ThinPool) Validate(Sectors) error {
	if err := needDevice(p.Metadata, p.Data); err != nil {
		return err
	}
	switch {
	case p.Metadata == p.Data:
		return errors.New("metadata and data are the same device")
	case p.BlockSize < minThinBlock || p.BlockSize > maxThinBlock || p.BlockSize%minThinBlock != 0:
		return fmt.Errorf("block size %d is not a multiple of %d up to %d", uint64(p.BlockSize), uint64(minThinBlock), uint64(maxThinBlock))
	case len(p.features()) > maxPoolFeatures:
		return fmt.Errorf("the kernel takes at most %d features", maxPoolFeatures)
	}
	return nil
}

func parseThinPool(params string) (Target, error) {
	r := readArgs(params)
	p := ThinPool{Metadata: r.device("metadata"), Data: r.device("data"), BlockSize: r.sectors("block size"), LowWaterMark: r.uint("low water mark", 64)}
	for range r.group("features") {
		switch name := r.str("feature"); strings.ToLower(name) {
		case "skip_block_zeroing":
			p.SkipBlockZeroing = true
		case "ignore_discard":
			p.IgnoreDiscard = true
		case "no_discard_passdown":
			p.NoDiscardPassdown = true
		case "read_only":
			p.ReadOnly = true
		case "error_if_no_space":
			p.ErrorIfNoSpace = true
		default:
			r.fail("feature", fmt.Errorf("%q is unknown", name))
		}
	}
	return p, r.end()
}

// Thin is a volume of a [ThinPool] (drivers/md/dm-thin.c). The volume is made
// by the message [CreateThin] or [CreateSnap]; its size is that of the table
// and may change at every load. The pool has to run while it is loaded.
type Thin struct {
	Pool string // device of the pool
	ID   uint32 // 24 bits
	// ExternalOrigin is a device outside the pool that is read where the
	// volume has nothing of its own, and that nobody may write to. It may be
	// shorter than the volume. Empty for none.
	ExternalOrigin string
}

// TargetType is "thin".
func (Thin) TargetType() string { return "thin" }

// Params is "pool id [origin]".
func (t Thin) Params() string {
	args := []string{t.Pool, num(t.ID)}
	if t.ExternalOrigin != "" {
		args = append(args, t.ExternalOrigin)
	}
	return JoinArgs(args...)
}

// Extents is the two devices; a volume may be larger than both.
func (t Thin) Extents(Sectors) []Extent {
	ext := []Extent{{t.Pool, 0, 0}}
	if t.ExternalOrigin != "" {
		ext = append(ext, Extent{t.ExternalOrigin, 0, 0})
	}
	return ext
}

// Validate checks the id and that the origin is not the pool.
func (t Thin) Validate(Sectors) error {
	switch {
	case t.Pool == t.ExternalOrigin && t.Pool != "":
		return errors.New("the pool can't be the origin")
	case t.ID > maxThinID:
		return badThinID(t.ID)
	}
	return needDevice(t.Pool)
}

func badThinID(id uint32) error { return fmt.Errorf("volume %d is beyond %d", id, maxThinID) }

func parseThin(params string) (Target, error) {
	r := readArgs(params)
	t := Thin{Pool: r.device("pool"), ID: uint32(r.uint("id", 24))}
	if r.err == nil && r.left() > 0 {
		t.ExternalOrigin = r.device("origin")
	}
	return t, r.end()
}
