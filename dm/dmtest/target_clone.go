// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"sync"
)

const logClone = "clone"

// clone is dm-clone-target.c. As there, a table reads the metadata when it is
// loaded: what the one before it hydrates after that it doesn't know. Regions that nobody writes to are copied at
// once, unless [Kernel.HoldBackground]; the batch size has no effect.
type clone struct {
	a            *Args
	k            *Kernel
	meta         metadata
	dest, source *Dev
	region       uint64 // sectors
	regions      uint64
	argv         []string // the arguments behind the devices

	io sync.Mutex // orders I/O and hydration

	mu               sync.Mutex // guards the rest; not held over I/O
	hydrated         []uint64   // a bit a region
	count            uint64     // of the bits
	changed          bool       // since the last commit
	hydrate          bool
	threshold, batch uint32
	passdown         bool
	failed           metaMode
}

// cloneState is what the metadata device of a clone holds.
type cloneState struct {
	RegionSize, TargetSize uint64
	Hydrated               []uint64
}

func cloneTarget() Target {
	return Target{Name: "clone", Version: [3]uint32{1, 0, 0}, Autoload: true, New: newClone}
}

func newClone(a *Args) (Instance, error) {
	if len(a.Argv) < 4 {
		return nil, a.Fail(EINVAL, "Invalid number of arguments")
	}
	c := &clone{a: a, k: a.Kernel(), argv: slices.Clone(a.Argv[3:]), hydrate: true, passdown: true, threshold: 1, batch: 1}
	dev, err := a.t.open(a.Argv[0], modeRead|modeWrite)
	if err != nil {
		return nil, withText(err, "Error opening metadata device")
	}
	c.meta = metadata{k: c.k, dev: dev, prefix: "clone metadata", check: "Superblock check failed", wanted: ", expected", magic: cloneSuperMagic}
	if c.dest, err = a.t.open(a.Argv[1], modeRead|modeWrite); err != nil {
		return nil, withText(err, "Error opening destination device")
	}
	if c.dest.Sectors() < a.Length {
		return nil, a.Fail(EINVAL, "Device size larger than destination device")
	}
	if c.source, err = a.OpenRead(a.Argv[2]); err != nil {
		return nil, withText(err, "Error opening source device")
	}
	if c.source.Sectors() < a.Length {
		return nil, a.Fail(EINVAL, "Device size larger than source device")
	}
	if text := c.parse(a.Argv[3:]); text != "" {
		return nil, a.Fail(EINVAL, text)
	}
	if err := c.open(); err != nil {
		return nil, withText(err, "Failed to load metadata")
	}
	if c.passdown && !c.k.disksDiscard() {
		c.k.Log(logClone, "Destination device (%s) discard unsupported: Disabling discard passdown.", c.dest.bdev.diskName())
		c.passdown = false
	}
	return c, nil
}

// parse reads what is behind the devices, and returns the text of a refusal.
func (c *clone) parse(argv []string) string {
	region, ok := scanUint(argv[0])
	switch {
	case !ok || region < 8 || region > 1<<21:
		return "Invalid region size"
	case bits.OnesCount32(region) != 1:
		return "Region size is not a power of 2"
	case int(region)*sectorSize%max(c.source.BlockSize(), 1) != 0 || int(region)*sectorSize%max(c.dest.BlockSize(), 1) != 0:
		return "Region size is not a multiple of device logical block size"
	}
	c.region = uint64(region)
	c.regions = (c.a.Length + c.region - 1) / c.region
	if c.regions > 1<<31 {
		return "Too many regions. Consider increasing the region size"
	}
	if argv = argv[1:]; len(argv) == 0 {
		return ""
	}
	feat, argv, ok := argGroup(argv, 2)
	if !ok {
		return "Invalid number of feature arguments"
	}
	for _, f := range feat {
		switch strings.ToLower(f) {
		case "no_hydration":
			c.hydrate = false
		case "no_discard_passdown":
			c.passdown = false
		default:
			return "Invalid feature argument"
		}
	}
	if len(argv) == 0 {
		return ""
	}
	core, _, ok := argGroup(argv, 4)
	switch {
	case !ok:
		return "Invalid number of core arguments"
	case len(core)%2 != 0:
		return "Number of core arguments must be even"
	}
	for ; len(core) > 0; core = core[2:] {
		dst := c.value(core[0])
		if dst == nil {
			return "Invalid core argument"
		}
		if *dst, ok = scanUint(core[1]); !ok {
			return "Invalid value for argument `" + strings.ToLower(core[0]) + "'"
		}
	}
	return ""
}

func (c *clone) value(name string) *uint32 {
	switch strings.ToLower(name) {
	case "hydration_threshold":
		return &c.threshold
	case "hydration_batch_size":
		return &c.batch
	}
	return nil
}

func (c *clone) open() error {
	var s cloneState
	fresh, err := c.meta.load(&s)
	words := int((c.regions + 63) / 64)
	switch {
	case err != nil:
		c.k.Log(c.meta.prefix, "Failed to read_lock superblock")
		return err
	case fresh:
		s = cloneState{c.region, c.a.Length, make([]uint64, words)}
		if err := c.meta.save(&s); err != nil {
			return err
		}
	case s.RegionSize != c.region || s.TargetSize != c.a.Length || len(s.Hydrated) != words:
		c.k.Log(c.meta.prefix, "Region and/or target size don't match the ones in metadata")
		return EINVAL
	}
	c.set(s.Hydrated)
	return nil
}

// set takes a bitmap over.
func (c *clone) set(hydrated []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hydrated, c.count = hydrated, 0
	for _, w := range hydrated {
		c.count += uint64(bits.OnesCount64(w))
	}
}

func (c *clone) Devices() []Area {
	return []Area{{c.source, 0, c.a.Length}, {c.dest, 0, c.a.Length}}
}

func (c *clone) Table() string {
	return strings.Join(append([]string{c.meta.dev.Name(), c.dest.Name(), c.source.Name()}, c.argv...), " ")
}

func (c *clone) Status(noflush bool) string {
	if c.state() == metaFail {
		return "Fail"
	}
	if !noflush && !c.a.Suspended() {
		c.commit()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == metaFail {
		return "Error"
	}
	feat, n := "", 0
	if !c.hydrate {
		feat, n = "no_hydration ", 1
	}
	if !c.passdown {
		feat, n = feat+"no_discard_passdown ", n+1
	}
	return fmt.Sprintf("%d %d/%d %d %d/%d 0 %d %s4 hydration_threshold %d hydration_batch_size %d %s",
		metadataBlock/sectorSize, c.meta.spaceMaps()+1+bitset(c.regions), c.meta.blocks(), c.region, c.count, c.regions,
		n, feat, c.threshold, c.batch, [...]string{"rw", "ro"}[c.failed])
}

func (c *clone) Message(argv []string) (string, error) {
	switch name := strings.ToLower(argv[0]); {
	case name == "enable_hydration" || name == "disable_hydration":
		c.mu.Lock()
		c.hydrate = name == "enable_hydration"
		c.mu.Unlock()
	case len(argv) != 2:
		return "", EINVAL
	default:
		n, ok := scanUint(argv[1])
		dst := c.value(name)
		if dst == nil {
			c.k.Log(logClone, "%s: Unsupported message `%s'", c.a.DeviceName(), argv[0])
		}
		if dst == nil || !ok {
			return "", EINVAL
		}
		c.mu.Lock()
		*dst = n
		c.mu.Unlock()
	}
	c.k.kick(c)
	return "", nil
}

func (c *clone) Resume()         { c.k.startBackground(c, c.background) }
func (c *clone) Presuspend()     { c.k.stopBackground(c) }
func (c *clone) PresuspendUndo() { c.Resume() }
func (c *clone) Postsuspend()    { c.commit() }

func (c *clone) state() metaMode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// commit writes the bitmap. The one that says that all is hydrated raises an
// event.
func (c *clone) commit() {
	c.mu.Lock()
	if !c.changed || c.failed != metaRW {
		c.mu.Unlock()
		return
	}
	s := cloneState{c.region, c.a.Length, slices.Clone(c.hydrated)}
	done := c.count == c.regions
	c.changed = false
	c.mu.Unlock()
	err := c.meta.save(&s)
	if err == nil {
		if done {
			c.a.Event()
		}
		return
	}
	errno, _ := ctorErrno(err)
	name := c.a.DeviceName()
	c.k.Log(logClone, "%s: Metadata operation `dm_clone_metadata_commit' failed: error = %d", name, -int(errno))
	c.k.Log(logClone, "%s: Aborting current metadata transaction", name)
	failed := metaRO
	var old cloneState
	if _, err := c.meta.load(&old); err != nil || len(old.Hydrated) != len(s.Hydrated) {
		c.k.Log(logClone, "%s: Failed to abort metadata transaction", name)
		failed = metaFail
	} else {
		c.set(old.Hydrated)
	}
	c.mu.Lock()
	c.failed = failed
	c.mu.Unlock()
	c.a.Event()
}

// each cuts an I/O at the regions.
func (c *clone) each(p []byte, sector uint64, f func(q []byte, sector, region uint64) error) error {
	if c.state() == metaFail {
		return EIO
	}
	c.io.Lock()
	defer c.io.Unlock()
	for len(p) > 0 {
		n := min(uint64(len(p)/sectorSize), c.region-sector%c.region)
		if err := f(p[:n*sectorSize], sector, sector/c.region); err != nil {
			return err
		}
		p, sector = p[n*sectorSize:], sector+n
	}
	return nil
}

func (c *clone) ReadSectors(p []byte, sector uint64) error {
	return c.each(p, sector, func(q []byte, sector, region uint64) error {
		if c.isHydrated(region) {
			return c.dest.ReadSectors(q, sector)
		}
		return c.source.ReadSectors(q, sector)
	})
}

func (c *clone) WriteSectors(p []byte, sector uint64) error {
	err := c.each(p, sector, func(q []byte, sector, region uint64) error {
		if !c.isHydrated(region) {
			if c.state() != metaRW {
				return EIO
			}
			if uint64(len(q)) < c.region*sectorSize {
				if err := c.copy(region); err != nil {
					return err
				}
			}
		}
		if err := c.dest.WriteSectors(q, sector); err != nil {
			return err
		}
		c.markHydrated(region)
		return nil
	})
	c.k.kick(c)
	return err
}

// DiscardSectors makes whole regions hydrated without a copy: what they read
// as from then on is what the destination holds.
func (c *clone) DiscardSectors(sector, n uint64) error {
	if c.state() != metaRW {
		return nil
	}
	c.io.Lock()
	first, end := (sector+c.region-1)/c.region, (sector+n)/c.region
	for r := first; r < end; r++ {
		c.markHydrated(r)
	}
	var err error
	if c.passdown && first < end {
		err = c.dest.DiscardSectors(first*c.region, (end-first)*c.region)
	}
	c.io.Unlock()
	c.k.kick(c)
	return err
}

func (c *clone) isHydrated(region uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hydrated[region/64]>>(region%64)&1 == 1
}

func (c *clone) markHydrated(region uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if bit := uint64(1) << (region % 64); c.hydrated[region/64]&bit == 0 {
		c.hydrated[region/64] |= bit
		c.count++
		c.changed = true
	}
}

// copy hydrates a region from the source. Called with io held.
func (c *clone) copy(region uint64) error {
	from := region * c.region
	buf := make([]byte, min(c.region, c.a.Length-from)*sectorSize)
	err := c.source.ReadSectors(buf, from)
	if err == nil {
		err = c.dest.WriteSectors(buf, from)
	}
	if err != nil {
		c.k.Log(logClone, "%s: hydration failed", c.a.DeviceName())
		return err
	}
	c.markHydrated(region)
	return nil
}

// background hydrates the regions that nobody wrote to. A copy that fails is
// tried again when there is work the next time.
func (c *clone) background() {
	c.mu.Lock()
	on := c.hydrate && c.threshold > 0 && c.failed == metaRW && c.count < c.regions
	c.mu.Unlock()
	if on {
		c.io.Lock()
		for r := range c.regions {
			if !c.isHydrated(r) && c.copy(r) != nil {
				break
			}
		}
		c.io.Unlock()
	}
	c.commit()
}
