// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// dust is dm-dust.c.
type dust struct {
	area
	k     *Kernel
	block uint64 // sectors

	mu     sync.Mutex
	bad    map[uint64]uint8 // of the device beneath, and how many writes fail first
	active bool
	quiet  bool
}

const logDust = "dust"

func dustTarget() Target {
	return Target{Name: "dust", Version: [3]uint32{1, 0, 0}, Autoload: true, Module: "dm-dust", New: newDust}
}

func newDust(a *Args) (Instance, error) {
	if len(a.Argv) != 3 {
		return nil, a.Fail(EINVAL, "Invalid argument count")
	}
	size, err := strconv.ParseUint(a.Argv[2], 10, 32)
	switch {
	case err != nil || size == 0:
		return nil, a.Fail(EINVAL, "Invalid block size parameter")
	case size < sectorSize:
		return nil, a.Fail(EINVAL, "Block size must be at least 512")
	case size&(size-1) != 0:
		return nil, a.Fail(EINVAL, "Block size must be a power of 2")
	case size/sectorSize > min(a.Length, 2097152):
		return nil, a.Fail(EINVAL, "Block size is too large")
	}
	start, ok := scanSector(a.Argv[1])
	if !ok {
		return nil, a.Fail(EINVAL, "Invalid device offset sector")
	}
	dev, err := a.Open(a.Argv[0])
	if err != nil {
		return nil, a.Fail(EINVAL, "Device lookup failed")
	}
	return &dust{area: area{dev, start, a.Length}, k: a.Kernel(), block: size / sectorSize, bad: map[uint64]uint8{}}, nil
}

func (d *dust) Table() string { return fmt.Sprintf("%s %d", d.area, d.block*sectorSize) }

func (d *dust) Status(bool) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	mode, log := "bypass", "verbose"
	if d.active {
		mode = "fail_read_on_bad_block"
	}
	if d.quiet {
		log = "quiet"
	}
	return d.dev.Name() + " " + mode + " " + log
}

func (d *dust) Message(argv []string) (string, error) {
	blocks := d.dev.Sectors() / d.block
	d.mu.Lock()
	defer d.mu.Unlock()
	name := strings.ToLower(argv[0])
	switch len(argv) {
	case 1:
		return d.simple(name, argv[0])
	case 2, 3:
	default:
		d.k.Log(logDust, "invalid number of arguments '%d'", len(argv))
		return "", EINVAL
	}
	block, ok := scanSector(argv[1])
	failures := uint32(0)
	if len(argv) == 3 && ok {
		failures, ok = scanUint(argv[2])
	}
	switch {
	case !ok:
		return "", EINVAL
	case failures > 255:
		d.k.Log(logDust, "selected write fail count out of range")
		return "", EINVAL
	case block > blocks: // one more than there are, as the kernel has it
		d.k.Log(logDust, "selected block value out of range")
		return "", EINVAL
	}
	_, bad := d.bad[block]
	switch {
	case name == "addbadblock" && !bad:
		d.bad[block] = uint8(failures)
		d.tell("dust_add_block: badblock added at block %d with write fail count %d", block, failures)
	case name == "addbadblock":
		d.tell("dust_add_block: block %d already in badblocklist", block)
		return "", EINVAL
	case name == "removebadblock" && len(argv) == 2 && bad:
		delete(d.bad, block)
		d.tell("dust_remove_block: badblock removed at block %d", block)
	case name == "removebadblock" && len(argv) == 2:
		d.tell("dust_remove_block: block %d not found in badblocklist", block)
		return "", EINVAL
	case name == "queryblock" && len(argv) == 2 && bad:
		return fmt.Sprintf("dust_query_block: block %d found in badblocklist", block), nil
	case name == "queryblock" && len(argv) == 2:
		return fmt.Sprintf("dust_query_block: block %d not found in badblocklist", block), nil
	default:
		return "", d.unknown(argv[0])
	}
	return "", nil
}

func (d *dust) simple(name, given string) (string, error) {
	switch name {
	case "addbadblock", "removebadblock", "queryblock":
		d.k.Log(logDust, "%s requires an additional argument", given)
		return "", EINVAL
	case "disable":
		d.k.Log(logDust, "disabling read failures on bad sectors")
		d.active = false
	case "enable":
		d.k.Log(logDust, "enabling read failures on bad sectors")
		d.active = true
	case "countbadblocks":
		return fmt.Sprintf("countbadblocks: %d badblock(s) found", len(d.bad)), nil
	case "clearbadblocks":
		if len(d.bad) == 0 {
			return "dust_clear_badblocks: no badblocks found", nil
		}
		clear(d.bad)
		return "dust_clear_badblocks: badblocks cleared", nil
	case "quiet":
		d.quiet = !d.quiet
	case "listbadblocks":
		if len(d.bad) == 0 {
			return "No blocks in badblocklist", nil
		}
		var b strings.Builder
		for _, block := range slices.Sorted(maps.Keys(d.bad)) {
			fmt.Fprintln(&b, block)
		}
		return b.String(), nil
	default:
		return "", d.unknown(given)
	}
	return "", nil
}

func (d *dust) unknown(name string) error {
	d.k.Log(logDust, "unrecognized message '%s' received", name)
	return EINVAL
}

func (d *dust) tell(format string, args ...any) {
	if !d.quiet {
		d.k.Log(logDust, format, args...)
	}
}

// each splits an I/O at blocks, which the kernel counts from the start of the
// target here and from that of the device when it looks one up.
func (d *dust) each(sector, n uint64, f func(block, at, from, count uint64) error) error {
	for done := uint64(0); done < n; {
		at := sector + done
		count := min(n-done, d.block-at%d.block)
		if err := f((d.start+at)/d.block, at, done, count); err != nil {
			return err
		}
		done += count
	}
	return nil
}

func (d *dust) ReadSectors(p []byte, sector uint64) error {
	return d.each(sector, uint64(len(p)/sectorSize), func(block, at, from, n uint64) error {
		d.mu.Lock()
		_, bad := d.bad[block]
		bad = bad && d.active
		d.mu.Unlock()
		if bad {
			return EIO
		}
		return d.area.ReadSectors(p[from*sectorSize:(from+n)*sectorSize], at)
	})
}

func (d *dust) WriteSectors(p []byte, sector uint64) error {
	return d.each(sector, uint64(len(p)/sectorSize), func(block, at, from, n uint64) error {
		if err := d.heal(block); err != nil {
			return err
		}
		return d.area.WriteSectors(p[from*sectorSize:(from+n)*sectorSize], at)
	})
}

func (d *dust) DiscardSectors(sector, n uint64) error {
	return d.each(sector, n, func(block, at, _, count uint64) error {
		if err := d.heal(block); err != nil {
			return err
		}
		return d.area.DiscardSectors(at, count)
	})
}

// heal is __dust_map_write.
func (d *dust) heal(block uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	failures, bad := d.bad[block]
	switch {
	case !bad || !d.active:
	case failures > 0:
		d.bad[block]--
		return EIO
	default:
		delete(d.bad, block)
		// The kernel divides the number of the block by the size once more.
		d.tell("block %d removed from badblocklist by write", block/d.block)
	}
	return nil
}
