// SPDX-License-Identifier: MIT

package dmraid

// Action is what md does with an array: the sync action of a status line.
type Action string

// The actions of decipher_sync_action in dm-raid.c.
const (
	ActionIdle    Action = "idle"
	ActionFrozen  Action = "frozen"
	ActionResync  Action = "resync"
	ActionRecover Action = "recover"
	ActionCheck   Action = "check"
	ActionRepair  Action = "repair"
	ActionReshape Action = "reshape"
)

// LegMeta is what lies on the metadata device of a leg.
type LegMeta uint8

// What the kernel can find.
const (
	MetaNone       LegMeta = iota // the table names no metadata device
	MetaFresh                     // no magic: zeroes, or something foreign
	MetaValid                     // a superblock
	MetaUnreadable                // reading fails
)

// LegFound is a leg as the constructor finds it.
type LegFound struct {
	Meta  LegMeta
	Super Superblock // with MetaValid
	// Bitmap is what [ReadBitmap] found. Nil: not looked at, taken for one
	// that fits the superblock.
	Bitmap *Bitmap
	// Sectors is the size of the data device; 0: large enough.
	Sectors Sectors
}

// Situation is all that the kernel's constructor decides by.
type Situation struct {
	Table  Table
	Length Sectors
	Legs   []LegFound // one for each leg of the table
	// Active is the table of the same array that is live while this one is
	// loaded; nil if there is none. Only [Traps] looks at it.
	Active *Table
}

// LegState is what the kernel makes of a leg.
type LegState struct {
	InSync         bool
	Faulty         bool    // 'D', or '-' without a device
	RecoveryOffset Sectors // how far it is rebuilt; MaxSector: wholly

	// Spare says that the table has more legs than md's array, and this is
	// one of them: it is not part of the array.
	Spare bool
	// Revived says that the superblocks record the leg as failed, so that
	// now that it is back the regions that the bitmap has as dirty are
	// copied to it.
	Revived bool
	// Super is what md next writes on the leg's metadata device: at the
	// first resume if [State.Writes] says so, or else at the next event or
	// the stop. It is nil for a leg without metadata, and with raid0 it is
	// written only at the stop.
	Super *Superblock
}

// BitmapUse is what becomes of the write-intent bitmap.
type BitmapUse uint8

// The ways of md_bitmap_create and md_bitmap_load.
const (
	BitmapNone   BitmapUse = iota // there is none: raid0, a journal, no metadata, "sync"
	BitmapNew                     // it is made, all regions dirty
	BitmapLoaded                  // it is loaded from disk
	BitmapOld                     // it is older than the superblocks: all regions dirty
)

// State is what the kernel makes of an array when it starts: md's recovery_cp,
// In_sync and recovery_offset, and what they lead to.
type State struct {
	ResyncOffset Sectors // md's recovery_cp: how far it is synced; MaxSector: wholly
	Legs         []LegState
	New          bool   // superblocks are made
	Action       Action // what starts by itself
	Health       string // of the status line then

	Type   Type    // the word of the status line
	Disks  int     // md's number of legs, as the status line shows it
	Start  Sectors // where the Action starts
	Total  Sectors // what there is to sync: of a leg, and with raid10 of the array
	Events uint64  // md's counter when the constructor is done; each writing of superblocks adds 1
	Writes bool    // superblocks are written at the first resume
	Bitmap BitmapUse
	// Level and the rest are md's, which is not always what the table says:
	// the superblocks have the last word.
	Geometry Geometry
	// Log is what the kernel logs of its decisions, without its prefixes:
	// not all lines, but those that tell one case from another.
	Log []string
}
