// SPDX-License-Identifier: MIT

package dmraid

import (
	"fmt"
	"slices"
	"syscall"
)

// KernelState says what a kernel makes of a table and the superblocks that it
// finds: the constructor and the first resume of dm-raid.c, and the start of
// md that they lead to. The table is taken for one that the kernel can read;
// of its rules only those are checked that decide the state: the words sync,
// nosync and rebuild, the length, and what the superblocks have to agree with.
//
// It is checked against Linux 5.10, 6.1, 6.12 and 7.2; of what lies between
// the older behaviour is taken, where nothing better is known. From 6.12 on the
// request that makes the rest of a sync read "repair" is lost at times; the
// kernel then does a "resync" of what the bitmap has as dirty.
//
// A refusal is an [*Error] with the kernel's text in Detail, its errno in Code
// and, where the kernel says the reason only in its log, that line before the
// cause: [ErrTable]; [ErrDegraded] for too few legs; [ErrState] for an array
// that is dirty and degraded, or reshaping; errors.ErrUnsupported for
// superblocks of a later kernel.
func KernelState(k Kernel, s Situation) (State, error) {
	a, err := newAssembly(k, s)
	if err != nil {
		return State{}, err
	}
	for _, step := range []func() error{
		a.checkWords,
		a.requestSizes,
		a.analyse,
		a.decide,
		a.adjustOffsets,
		a.run,
		a.checkReshape,
	} {
		if err := step(); err != nil {
			return State{}, err
		}
	}
	a.resume()
	return a.state(), nil
}

// assembly is an array while the constructor works on it: what struct
// raid_set and struct mddev hold.
type assembly struct {
	kernel Kernel
	table  Table
	length Sectors
	typ    typeInfo // the table's, or that of superblocks that are reshaping
	legs   []assemblyLeg
	log    []string

	// Of struct mddev: what is, and what is asked for.
	level, newLevel   int
	layout, newLayout uint32
	chunk, newChunk   Sectors
	disks, delta      int
	backwards         bool
	recovery          Sectors // recovery_cp, resync_offset since Linux 6.18
	reshapePosition   Sectors
	devSectors        Sectors
	arraySectors      Sectors
	total             Sectors // resync_max_sectors
	events            uint64
	degraded          int
	firstUse          bool // MD_ARRAY_FIRST_USE
	hasBitmap         bool // bitmap_info.offset
	bitmap            BitmapUse

	// Of struct raid_set.
	copies     int
	dataOffset Sectors
	wantDev    Sectors // dev_sectors, as the table asks
	wantArray  Sectors
	wantLevel  int // rs_config_backup
	wantLayout uint32
	wantChunk  Sectors
	writes     bool // RT_FLAG_UPDATE_SBS
	grow       bool // RT_FLAG_RS_GROW
	reshape    bool // RT_FLAG_RESHAPE_RS
	isNew      bool
	action     Action
	start      Sectors
	freshest   int // -1: no superblock was looked at
}

// assemblyLeg is a leg while the constructor works on it: struct md_rdev.
type assemblyLeg struct {
	listed   bool // it has a data device
	meta     LegMeta
	super    Superblock // the page in memory
	bitmap   *Bitmap
	size     Sectors
	firstUse bool
	inSync   bool
	faulty   bool
	revived  bool
	spare    bool
	position int // raid_disk
	saved    int // saved_raid_disk

	recoveryOffset, sectors   Sectors
	dataOffset, newDataOffset Sectors
}

// hasPage reports whether the leg has a page for a superblock.
func (l *assemblyLeg) hasPage() bool { return l.listed && l.meta != MetaNone }

func (a *assembly) say(format string, args ...any) {
	a.log = append(a.log, fmt.Sprintf(format, args...))
}

// refuse is the constructor's error: its text for the table, and the line of
// the log that says more, if there is one.
func refuseState(code syscall.Errno, sentinel error, text, line string) error {
	err := sentinel
	if line != "" {
		err = fmt.Errorf("%s: %w", line, sentinel)
	}
	return &Error{Op: "construct", Code: code, Detail: text, Err: err}
}

func newAssembly(k Kernel, s Situation) (*assembly, error) {
	t := s.Table
	typ, ok := t.Type.info()
	switch {
	case !ok:
		return nil, refuseState(einval, ErrTable, "Unrecognised raid_type", "")
	case len(t.Legs) == 0 || len(t.Legs) > MaxLegs:
		return nil, refuseState(einval, ErrTable, "Invalid number of supplied raid devices", "")
	case len(t.Legs) <= typ.parity:
		return nil, refuseState(einval, ErrTable, "Insufficient number of devices", "")
	case len(s.Legs) != len(t.Legs):
		return nil, &Error{Op: "construct", Detail: fmt.Sprintf("%d legs described of %d in the table", len(s.Legs), len(t.Legs)), Err: ErrTable}
	}
	a := &assembly{
		kernel: k, table: t, length: s.Length, typ: typ,
		level: typ.level, newLevel: typ.level, layout: typ.kernelLayout(), newLayout: typ.kernelLayout(),
		disks: len(t.Legs), recovery: MaxSector,
		copies: 2, freshest: -1, action: ActionIdle,
		legs: make([]assemblyLeg, len(t.Legs)),
		// A zeroed mddev has reshape_position 0, but mddev_init sets it.
		reshapePosition: MaxSector,
	}
	if t.Type != RAID1 {
		a.chunk, a.newChunk = t.ChunkSize, t.ChunkSize
	}
	if t.Copies != 0 {
		a.copies = t.Copies
	}
	if t.DataOffset != nil {
		a.dataOffset = *t.DataOffset
	}
	if typ.level == 10 {
		a.newLayout = raid10Layout(t.Format, a.copies, t.NearSets)
	}
	for i, found := range s.Legs {
		l := &a.legs[i]
		*l = assemblyLeg{
			listed: !t.Legs[i].Missing(), meta: found.Meta, super: found.Super, bitmap: found.Bitmap,
			size: found.Sectors, inSync: true, recoveryOffset: MaxSector, position: i, saved: -1,
		}
		if !l.listed || t.Legs[i].Meta == "" {
			l.meta, l.super = MetaNone, Superblock{}
		} else if found.Meta == MetaNone {
			return nil, &Error{Op: "construct", Object: t.Legs[i].Meta, Detail: "what lies on the metadata device is not said", Err: ErrTable}
		}
		if l.meta != MetaValid || t.Sync == SyncForce {
			l.super = Superblock{} // what else lies there makes no difference
		}
	}
	return a, nil
}

// kernelLayout is the number that the kernel's table of types has.
func (t typeInfo) kernelLayout() uint32 {
	switch t.name {
	case RAID10Near:
		return 1
	case RAID10Off:
		return 2
	case RAID10Far:
		return 3
	}
	return t.layout
}

func raid10Near(layout uint32) int { return int(layout & raid10NearMask) }
func raid10Far(layout uint32) int  { return int(layout >> raid10FarShift & raid10NearMask) }

func isRAID10Near(layout uint32) bool { return layout&raid10Offset == 0 && raid10Near(layout) > 1 }
func isRAID10Far(layout uint32) bool  { return layout&raid10Offset == 0 && raid10Far(layout) > 1 }

// checkWords is what parse_raid_params and parse_dev_params say of sync,
// nosync and rebuild.
func (a *assembly) checkWords() error {
	t := a.table
	for _, i := range t.Rebuild {
		if i < 0 || i >= len(a.legs) {
			return refuseState(einval, ErrTable, "Invalid rebuild index given", "")
		}
	}
	switch {
	case len(t.Rebuild) > 0 && t.Sync != SyncDefault:
		return refuseState(einval, ErrTable, "sync/nosync and rebuild are mutually exclusive", "")
	case t.Sync == SyncNone && (a.typ.level == 6 || a.typ.level == 0),
		t.Sync == SyncForce && a.typ.level == 0,
		len(t.Rebuild) > 0 && a.typ.level == 0:
		return refuseState(einval, ErrTable, "Invalid flags combination", "")
	}
	for _, i := range t.Rebuild {
		a.legs[i].inSync, a.legs[i].recoveryOffset = false, 0
	}
	for i := range a.legs {
		l := &a.legs[i]
		switch {
		case l.listed:
		case !l.inSync:
			return refuseState(einval, ErrTable, "Drive designated for rebuild not specified", "")
		case t.Legs[i].Meta != "":
			return refuseState(einval, ErrTable, "No data device supplied with metadata device", "")
		}
	}
	return nil
}

// requestSizes works out the sizes that the table asks for, and keeps them
// and the layout aside: superblocks will overwrite them.
func (a *assembly) requestSizes() error {
	if err := a.setSizes(a.length, false); err != nil {
		return err
	}
	a.wantDev, a.wantArray = a.devSectors, a.arraySectors
	a.wantLevel, a.wantLayout, a.wantChunk = a.newLevel, a.newLayout, a.newChunk
	return nil
}

// restoreWanted is rs_config_restore.
func (a *assembly) restoreWanted() {
	a.newLevel, a.newLayout, a.newChunk = a.wantLevel, a.wantLayout, a.wantChunk
}

// setSizes is rs_set_dev_and_array_sectors: by the table's number of legs, or
// by md's.
func (a *assembly) setSizes(length Sectors, ofMD bool) error {
	delta, data := a.table.DeltaDisks, len(a.legs)-a.typ.parity
	if ofMD {
		delta, data = a.delta, a.disks-a.typ.parity
	}
	bad := refuseState(einval, ErrTable, "Target length not divisible by number of data devices", "")
	dev, array := length, length
	switch {
	case a.typ.level == 1:
	case data <= 0:
		return bad
	case a.typ.level == 10:
		if a.copies < 2 || delta < 0 {
			return refuseState(einval, ErrTable, "Bogus raid10 data copies or delta disks", "")
		}
		dev *= Sectors(a.copies)
		if dev%Sectors(data) != 0 {
			return bad
		}
		dev /= Sectors(data)
		array = Sectors(data+delta) * dev
		if array%Sectors(a.copies) != 0 {
			return bad
		}
		array /= Sectors(a.copies)
	default:
		if dev%Sectors(data) != 0 {
			return bad
		}
		dev /= Sectors(data)
		array = Sectors(data+delta) * dev
	}
	a.devSectors, a.arraySectors = dev, array
	for i := range a.legs {
		if l := &a.legs[i]; l.listed {
			l.sectors = dev
			if l.size != 0 && l.size < dev {
				return refuseState(einval, ErrTable, "Component device(s) too small", "")
			}
		}
	}
	return nil
}

// recovering is rs_is_recovering: with raid10 too it compares with the size
// of a leg.
func (a *assembly) recovering() bool { return a.recovery < a.devSectors }
func (a *assembly) reshaping() bool  { return a.reshapePosition != MaxSector }

// setupRecovery is rs_setup_recovery.
func (a *assembly) setupRecovery(at Sectors) {
	switch {
	case a.level == 0, a.level != 6 && a.table.Sync == SyncNone:
		a.recovery = MaxSector
	default:
		a.recovery = at
	}
}

// keepCurrent is rs_set_cur: nothing new is asked of md.
func (a *assembly) keepCurrent() {
	a.newLevel, a.newLayout, a.newChunk = a.level, a.layout, a.chunk
}

// takeNew is rs_set_new: what is asked for is.
func (a *assembly) takeNew() {
	a.level, a.layout, a.chunk = a.newLevel, a.newLayout, a.newChunk
	a.disks, a.delta = len(a.legs), 0
}

// state gathers what came of it.
func (a *assembly) state() State {
	s := State{
		ResyncOffset: a.recovery, New: a.isNew, Action: a.action,
		Type: typeOf(a.newLevel, a.newLayout), Disks: a.disks,
		Start: a.start, Total: a.total, Events: a.events, Writes: a.writes, Bitmap: a.bitmap,
		Geometry: Geometry{
			Level: a.level, Layout: a.layout, Legs: a.disks, Chunk: a.chunk,
			LegSectors: a.devSectors, DataOffset: a.legs[0].dataOffset,
		},
		Log: slices.Clone(a.log),
	}
	health := make([]byte, len(a.legs))
	for i := range a.legs {
		l := &a.legs[i]
		state := LegState{InSync: l.inSync && l.listed && !l.faulty, Faulty: l.faulty || !l.listed, RecoveryOffset: l.recoveryOffset, Spare: l.spare, Revived: l.revived}
		if l.hasPage() && !l.faulty {
			super := a.sync(l)
			state.Super = &super
		}
		s.Legs = append(s.Legs, state)
		health[i] = a.letter(l)
	}
	s.Health = string(health)
	return s
}

// letter is __raid_dev_status with the flags that rs_get_progress sets for
// the action.
func (a *assembly) letter(l *assemblyLeg) byte {
	switch {
	case !l.listed:
		return '-'
	case l.faulty:
		return 'D'
	case a.action == ActionResync || a.action == ActionReshape:
		return 'a'
	case a.action == ActionCheck || a.action == ActionRepair || a.level == 0:
		return 'A'
	case !l.inSync:
		return 'a'
	}
	return 'A'
}

// sync is super_sync: the superblock that is written on a leg at the next
// event.
func (a *assembly) sync(l *assemblyLeg) Superblock {
	s := l.super
	for i := range a.legs {
		if other := &a.legs[i]; !other.listed || other.faulty {
			s.SetFailed(i, true)
		}
	}
	s.Extended, s.OtherCompat, s.Incompat, s.Rest = true, 0, 0, ""
	s.NumDevices, s.ArrayPosition = uint32(a.disks), uint32(l.position)
	s.Events = a.events + 1
	s.DiskRecovery, s.ArrayResync = l.recoveryOffset, a.recovery
	s.Level, s.Layout, s.Chunk = uint32(a.level), a.layout, a.chunk
	s.NewLevel, s.NewLayout, s.NewChunk = uint32(a.newLevel), a.newLayout, a.newChunk
	s.DeltaDisks = int32(a.delta)
	s.ReshapePosition = a.reshapePosition
	s.Reshaping, s.Backwards = a.reshaping(), a.reshaping() && (a.delta < 0 || a.backwards)
	s.ArraySectors, s.DataOffset, s.NewDataOffset, s.DevSectors = a.arraySectors, l.dataOffset, l.newDataOffset, l.sectors
	return s
}
