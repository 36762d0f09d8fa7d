// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"sync"
)

const logEra = "era"

// era is dm-era-target.c: it remembers in which era each block was written
// last. As there, a table reads the metadata when it is loaded: what the one
// before it notes after that is lost.
type era struct {
	a      *Args
	k      *Kernel
	meta   metadata
	origin *Dev
	block  uint64 // sectors
	blocks uint64

	mu      sync.Mutex
	disk    eraState
	stopped chan struct{} // closed by a resume; nil while the worker runs
}

// eraState is what the metadata device of an era holds.
type eraState struct {
	BlockSize uint64
	Blocks    uint64
	Era       uint32
	Written   map[uint64]uint32 // block to era
	Current   bool              // the current era is open: it has a set of blocks
	Pending   uint64            // sets of closed eras that were not worked in yet
	Snap      uint64            // where the metadata snapshot is; 0 for none
}

func eraTarget() Target {
	return Target{Name: "era", Version: [3]uint32{1, 0, 0}, Autoload: true, New: newEra}
}

func newEra(a *Args) (Instance, error) {
	if len(a.Argv) != 3 {
		return nil, a.Fail(EINVAL, "Invalid argument count")
	}
	e := &era{a: a, k: a.Kernel()}
	dev, err := a.t.open(a.Argv[0], modeRead|modeWrite)
	if err != nil {
		return nil, a.Fail(EINVAL, "Error opening metadata device")
	}
	e.meta = metadata{k: e.k, dev: dev, prefix: logEra, check: "sb_check failed", wanted: ": wanted", magic: eraSuperMagic}
	if e.origin, err = a.t.open(a.Argv[1], modeRead|modeWrite); err != nil {
		return nil, a.Fail(EINVAL, "Error opening data device")
	}
	block, ok := scanUint(a.Argv[2])
	switch {
	case !ok:
		return nil, a.Fail(EINVAL, "Error parsing block size")
	case block == 0 || block%8 != 0:
		return nil, a.Fail(EINVAL, "Invalid block size")
	}
	e.block = uint64(block)
	e.blocks = (a.Length + e.block - 1) / e.block
	fresh, err := e.meta.load(&e.disk)
	switch {
	case err != nil:
		e.k.Log(logEra, "couldn't read_lock superblock")
	case fresh:
		e.disk = eraState{BlockSize: e.block}
		err = e.meta.save(&e.disk)
	case e.disk.BlockSize != e.block:
		e.k.Log(logEra, "changing the data block size (from %d to %d) is not supported", e.disk.BlockSize, e.block)
		err = EINVAL
	}
	if err != nil {
		return nil, withText(err, "Error reading metadata")
	}
	return e, nil
}

// used is how many blocks of the metadata device are in use, as the kernel's
// trees would be: roots for the sets of blocks and for the eras, leaves of the
// eras, a set for the current era and for each that is pending.
func (s *eraState) used(m *metadata) uint64 {
	sets := s.Pending
	if s.Current {
		sets++
	}
	n := m.spaceMaps() + 2 + leaves(s.Blocks, 4) + sets*(1+bitset(s.Blocks))
	if s.Snap > 0 {
		n++
	}
	return n
}

func (e *era) Devices() []Area { return []Area{{e.origin, 0, e.origin.Sectors()}} }

func (e *era) Table() string {
	return fmt.Sprintf("%s %s %d", e.meta.dev.Name(), e.origin.Name(), e.block)
}

// await takes mu when the worker runs: it stands still while the device is
// suspended, and no signal ends that wait. Who waited is served by the resume,
// also when the next suspend has come since.
func (e *era) await() {
	e.mu.Lock()
	if ch := e.stopped; ch != nil {
		e.mu.Unlock()
		<-ch
		e.mu.Lock()
	}
}

func (e *era) Status(bool) string {
	e.await()
	defer e.mu.Unlock()
	snap := "-"
	if e.disk.Snap > 0 {
		snap = fmt.Sprint(e.disk.Snap)
	}
	return fmt.Sprintf("%d %d/%d %d %s", metadataBlock/sectorSize, e.disk.used(&e.meta), e.meta.blocks(), e.disk.Era, snap)
}

func (e *era) Message(argv []string) (string, error) {
	if len(argv) != 1 {
		e.k.Log(logEra, "incorrect number of message arguments")
		return "", EINVAL
	}
	name := strings.ToLower(argv[0])
	if name != "checkpoint" && name != "take_metadata_snap" && name != "drop_metadata_snap" {
		e.k.Log(logEra, "unsupported message '%s'", argv[0])
		return "", EINVAL
	}
	e.await()
	defer e.mu.Unlock()
	switch {
	case name == "take_metadata_snap" && e.disk.Snap > 0:
		e.k.Log(logEra, "metadata_take_snap: metadata snapshot already exists")
		return "", EINVAL
	case name == "drop_metadata_snap" && e.disk.Snap == 0:
		e.k.Log(logEra, "metadata_drop_snap: no snap to drop")
		return "", EINVAL
	case name == "drop_metadata_snap":
		e.disk.Snap = 0
		e.disk.Pending = 0
	default:
		e.disk.Pending = 0
		e.rollover()
		if name == "take_metadata_snap" {
			e.disk.Snap = e.disk.used(&e.meta) // the kernel's allocator has other numbers
		}
	}
	return "", e.meta.save(&e.disk)
}

// rollover is metadata_era_rollover. Called with mu held.
func (e *era) rollover() {
	if e.disk.Current {
		e.disk.Pending++
	}
	e.disk.Era++
	e.disk.Current = true
}

// Preresume begins an era.
func (e *era) Preresume() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.disk.Blocks = e.blocks
	maps.DeleteFunc(e.disk.Written, func(b uint64, _ uint32) bool { return b >= e.blocks })
	e.rollover()
	if err := e.meta.save(&e.disk); err != nil {
		return err
	}
	if e.stopped != nil {
		close(e.stopped)
		e.stopped = nil
	}
	return nil
}

// Postsuspend closes the era and stops the worker.
func (e *era) Postsuspend() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.disk.Current, e.disk.Pending = false, 2
	if err := e.meta.save(&e.disk); err != nil {
		e.k.Log(logEra, "era_postsuspend: metadata_commit failed")
	}
	e.stopped = make(chan struct{})
}

// mark notes a write.
func (e *era) mark(sector, count uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	changed := false
	for b := sector / e.block; b*e.block < sector+count; b++ {
		if e.disk.Written[b] == e.disk.Era {
			continue
		}
		if e.disk.Written == nil {
			e.disk.Written = map[uint64]uint32{}
		}
		e.disk.Written[b] = e.disk.Era
		changed = true
	}
	if !changed {
		return nil
	}
	return e.meta.save(&e.disk)
}

func (e *era) ReadSectors(p []byte, sector uint64) error {
	return e.origin.ReadSectors(p, sector)
}

func (e *era) WriteSectors(p []byte, sector uint64) error {
	if err := e.mark(sector, uint64(len(p)/sectorSize)); err != nil {
		return err
	}
	return e.origin.WriteSectors(p, sector)
}

func (e *era) DiscardSectors(sector, n uint64) error {
	if err := e.mark(sector, n); err != nil {
		return err
	}
	return e.origin.DiscardSectors(sector, n)
}

// WrittenIn tells for each block of an era target in which era it was written
// last: what the tool era_dump reads from the metadata.
func (k *Kernel) WrittenIn(name string) (map[uint64]uint32, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.byName(name)
	if d == nil {
		return nil, &fs.PathError{Op: "written", Path: name, Err: fs.ErrNotExist}
	}
	if d.live == nil {
		return nil, EINVAL
	}
	for _, ti := range d.live.targets {
		if e, ok := ti.inst.(*era); ok {
			e.mu.Lock()
			defer e.mu.Unlock()
			return maps.Clone(e.disk.Written), nil
		}
	}
	return nil, EINVAL
}
