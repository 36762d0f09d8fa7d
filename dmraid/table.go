// SPDX-License-Identifier: MIT

package dmraid

// Leg is one position of an array: where its superblock and bitmap lie, and
// its data. Devices are paths, or major:minor. Empty is "-" in a table.
type Leg struct {
	Meta string // empty: the leg has no metadata
	Data string // empty: there is no device in this position
}

// Missing reports whether the position is "- -".
func (l Leg) Missing() bool { return l.Data == "" }

// Sync is what a table says of the state of its legs.
type Sync uint8

// The words of a table. SyncDefault, none of them, is what the superblocks say.
const (
	SyncDefault Sync = iota
	SyncForce        // "sync"; see [KernelState] for what it really does
	SyncNone         // "nosync": the legs are equal, or their parity is right
)

// Format is how raid10 lays out its copies.
type Format string

// The formats of raid10. The empty one is near.
const (
	FormatNear   Format = "near"
	FormatOffset Format = "offset"
	FormatFar    Format = "far"
)

// JournalMode says how a raid 4, 5 or 6 uses its journal.
type JournalMode string

// The journal modes. The empty one is writethrough.
const (
	WriteThrough JournalMode = "writethrough"
	WriteBack    JournalMode = "writeback"
)

// Table is a segment of the target raid. It is a plain value; zero fields are
// the kernel's defaults and are not written.
type Table struct {
	Type      Type
	ChunkSize Sectors // a power of 2 from 8 on; raid1 has none: 0
	Legs      []Leg

	Sync    Sync
	Rebuild []int // positions to be rebuilt, ascending

	DaemonSleep     int64   // how often the bitmap is cleaned: the kernel's "ms", which are jiffies
	MinRecoveryRate int64   // KiB/s for each leg
	MaxRecoveryRate int64   // KiB/s for each leg
	WriteMostly     []int   // raid1: positions that are not read if another is there, ascending
	MaxWriteBehind  int64   // raid1: twice the number of writes a write-mostly leg may lag; even
	StripeCache     int64   // raid 4, 5, 6: entries
	RegionSize      Sectors // what a bit of the bitmap stands for
	Copies          int     // raid10; default 2
	Format          Format  // raid10; default near
	NearSets        bool    // raid10 far and offset: raid10_use_near_sets
	DeltaDisks      int     // legs that a reshape adds, or takes away
	// DataOffset asks for out-of-place room at the start of each data
	// device. Nil is not the same as 0, which gives the room back.
	DataOffset  *Sectors
	JournalDev  string // raid 4, 5, 6
	JournalMode JournalMode
}

// TargetType is "raid".
func (Table) TargetType() string { return "raid" }
