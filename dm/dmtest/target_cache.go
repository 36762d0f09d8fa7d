// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

const logCache = "cache"

// cache is struct cache of dm-cache-target.c.
//
// What is cached is decided by a rule that is simpler than the kernel's, so
// that tests can count on it. As in the kernel, a write of a whole block in
// the mode writeback takes a free block of the cache at once. Any other block
// comes in with its second miss; when no block is free, the one that was not
// used for the longest time goes. Dirty blocks are written back only when they
// have to go and by the policy cleaner: the kernel's smq does it too as soon
// as the device was idle for a second.
type cache struct {
	a                   *Args
	k                   *Kernel
	meta                metadata
	fast, origin        *Dev
	block               uint64   // sectors
	blocks              uint64   // of the cache
	argv                []string // the arguments behind the devices
	mode                string
	metadata2, passdown bool
	policy              *cachePolicy

	io     sync.Mutex // orders I/O, writing back and what changes the mapping
	commit sync.Mutex // orders writers of the metadata

	// mu guards the rest and is not held over I/O. The mapping changes only
	// with io held too, so that who holds io reads it freely.
	mu         sync.Mutex
	threshold  uint64
	disk       cacheState         // as it is on the metadata device
	where      map[uint64]*cblock // by block of the origin
	byIndex    map[uint64]*cblock // by block of the cache
	missed     map[uint64]bool    // blocks of the origin that missed once
	firstFree  uint64             // no block of the cache below is free
	clock      uint64
	dirty      uint64
	hits       [4]uint32 // read hits, read misses, write hits, write misses
	demotions  uint32
	promotions uint32
	failed     metaMode
	needsCheck bool
	sized      bool // a resume got as far as the size of the cache
	loaded     bool // the mapping was read
}

// cblock is a block of the cache that holds one of the origin.
type cblock struct {
	index, owner uint64
	dirty        bool
	used         uint64 // when, by the clock
}

// cachePolicy is struct dm_cache_policy_type.
type cachePolicy struct {
	name    string
	keys    []string // what it takes and ignores
	cleaner bool
}

var mqKeys = []string{"random_threshold", "sequential_threshold", "discard_promote_adjustment", "read_promote_adjustment", "write_promote_adjustment"}

var cachePolicies = map[string]*cachePolicy{
	"smq":     {name: "smq"},
	"default": {name: "smq"},
	"mq":      {name: "mq", keys: mqKeys},
	"cleaner": {name: "cleaner", cleaner: true},
}

func cacheTarget() Target {
	return Target{Name: "cache", Version: [3]uint32{2, 3, 0}, Autoload: true, New: newCache}
}

func newCache(a *Args) (Instance, error) {
	c := &cache{a: a, k: a.Kernel(), mode: "writeback", passdown: true, threshold: 2048, missed: map[uint64]bool{}}
	args, err := c.devices(a.Argv)
	if err != nil {
		return nil, err
	}
	c.argv = slices.Clone(args)
	if args, err = c.sizeAndFeatures(args); err != nil {
		return nil, err
	}
	if err := c.choosePolicy(args); err != nil {
		return nil, err
	}
	if err := c.open(); err != nil {
		return nil, err
	}
	if c.passdown && !c.k.disksDiscard() {
		c.k.Log(logCache, "Origin device (%s) discard unsupported: Disabling discard passdown.", c.origin.bdev.diskName())
		c.passdown = false
	}
	return c, nil
}

// devices opens metadata, cache and origin and returns the other arguments.
func (c *cache) devices(argv []string) ([]string, error) {
	var devs [3]*Dev
	for i, name := range []string{"metadata", "cache", "origin"} {
		if len(argv) == 0 {
			return nil, c.a.Fail(EINVAL, "Insufficient args")
		}
		dev, err := c.a.t.open(argv[0], modeRead|modeWrite)
		if err != nil {
			return nil, withText(err, "Error opening "+name+" device")
		}
		devs[i], argv = dev, argv[1:]
	}
	c.meta = metadata{k: c.k, dev: devs[0], prefix: "cache metadata", check: "sb_check failed", wanted: ": wanted", magic: cacheSuperMagic}
	c.fast, c.origin = devs[1], devs[2]
	if c.a.Length > c.origin.Sectors() {
		return nil, c.a.Fail(EINVAL, "Device size larger than cached device")
	}
	return argv, nil
}

func (c *cache) sizeAndFeatures(argv []string) ([]string, error) {
	if len(argv) == 0 {
		return nil, c.a.Fail(EINVAL, "Insufficient args")
	}
	var err error
	c.block, err = strconv.ParseUint(strings.TrimPrefix(argv[0], "+"), 10, 64)
	if err != nil || c.block < 64 || c.block > 1<<21 || c.block%64 != 0 {
		return nil, c.a.Fail(EINVAL, "Invalid data block size")
	}
	if c.block > c.fast.Sectors() {
		return nil, c.a.Fail(EINVAL, "Data block size is larger than the cache device")
	}
	c.blocks = c.fast.Sectors() / c.block
	feat, rest, ok := argGroup(argv[1:], 3)
	if !ok {
		return nil, c.a.Fail(EINVAL, "Invalid number of cache feature arguments")
	}
	modes := 0
	for _, f := range feat {
		switch f = strings.ToLower(f); f {
		case "writeback", "writethrough", "passthrough":
			c.mode = f
			modes++
		case "metadata2":
			c.metadata2 = true
		case "no_discard_passdown":
			c.passdown = false
		default:
			return nil, c.a.Fail(EINVAL, "Unrecognised cache feature requested")
		}
	}
	if modes > 1 {
		return nil, c.a.Fail(EINVAL, "Duplicate cache io_mode features requested")
	}
	return rest, nil
}

// argGroup is dm_read_arg_group: a count of up to limit, and as many words.
func argGroup(argv []string, limit uint32) (group, rest []string, ok bool) {
	if len(argv) == 0 {
		return nil, nil, false
	}
	n, ok := scanUint(argv[0])
	if !ok || n > limit || int(n) > len(argv)-1 {
		return nil, nil, false
	}
	return argv[1 : 1+n], argv[1+n:], true
}

func (c *cache) choosePolicy(argv []string) error {
	if len(argv) == 0 {
		return c.a.Fail(EINVAL, "Insufficient args")
	}
	config, _, ok := argGroup(argv[1:], 1024)
	if !ok {
		return c.a.Fail(EINVAL, "Invalid number of policy arguments")
	}
	if c.policy = cachePolicies[argv[0]]; c.policy == nil {
		c.k.Log("cache-policy", "unknown policy type")
		return c.a.Fail(EINVAL, "Error creating cache's policy")
	}
	bad := len(config)%2 != 0
	if bad {
		c.k.Log(logCache, "Odd number of policy arguments given but they should be <key> <value> pairs.")
	}
	for ; len(config) > 0 && !bad; config = config[2:] {
		bad = c.set(config[0], config[1]) != nil
	}
	if bad {
		return c.a.Fail(EINVAL, "Error setting cache policy's config values")
	}
	return nil
}

// set is set_config_value.
func (c *cache) set(key, value string) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(value, "+"), 10, 64)
	core := strings.EqualFold(key, "migration_threshold")
	if err != nil || !core && !slices.ContainsFunc(c.policy.keys, func(k string) bool { return strings.EqualFold(k, key) }) {
		c.k.Log(logCache, "bad config value for %s: %s", key, value)
		return EINVAL
	}
	if core {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.threshold = n
	}
	return nil
}

func (c *cache) Devices() []Area {
	return []Area{{c.fast, 0, c.fast.Sectors()}, {c.origin, 0, c.a.Length}}
}

func (c *cache) Table() string {
	return strings.Join(append([]string{c.meta.dev.Name(), c.fast.Name(), c.origin.Name()}, c.argv...), " ")
}

func (c *cache) Status(noflush bool) string {
	c.mu.Lock()
	failed := c.failed
	c.mu.Unlock()
	if failed == metaFail {
		return "Fail"
	}
	if !noflush && !c.a.Suspended() {
		c.write(false)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == metaFail {
		return "Error" // the status that finds out; the next one says Fail
	}
	text := fmt.Sprintf("%d %d/%d %d %d/%d", metadataBlock/sectorSize, c.disk.used(&c.meta, c.discardBlocks()), c.meta.blocks(), c.block, len(c.where), c.blocks)
	for _, n := range append(c.hits[:], c.demotions, c.promotions) {
		text += fmt.Sprintf(" %d", n)
	}
	feat := []string{c.mode}
	if c.metadata2 {
		feat = []string{"metadata2", c.mode}
	}
	if !c.passdown {
		feat = append(feat, "no_discard_passdown")
	}
	text += fmt.Sprintf(" %d %d %s 2 migration_threshold %d %s %d ", c.dirty, len(feat), strings.Join(feat, " "), c.threshold, c.policy.name, 2*len(c.policy.keys))
	for _, key := range c.policy.keys {
		text += key + " 0 "
	}
	check := "-"
	if c.needsCheck {
		check = "needs_check"
	}
	return text + c.modeWord() + " " + check + " "
}

// modeWord is how status and measurement name the mode of the metadata.
// Called with mu held.
func (c *cache) modeWord() string { return [...]string{"rw", "ro", "fail"}[c.failed] }

func (c *cache) IMA() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	yn := func(b bool) byte {
		if b {
			return 'y'
		}
		return 'n'
	}
	return fmt.Sprintf("target_name=cache,target_version=2.3.0,metadata_mode=%s,cache_metadata_device=%s,cache_device=%s,cache_origin_device=%s,"+
		"writethrough=%c,writeback=%c,passthrough=%c,metadata2=%c,no_discard_passdown=%c;",
		c.modeWord(), c.meta.dev.Name(), c.fast.Name(), c.origin.Name(),
		yn(c.mode == "writethrough"), yn(c.mode == "writeback"), yn(c.mode == "passthrough"), yn(c.metadata2), yn(!c.passdown))
}

func (c *cache) Message(argv []string) (string, error) {
	c.mu.Lock()
	failed := c.failed
	c.mu.Unlock()
	switch {
	case failed != metaRW:
		c.k.Log(logCache, "%s: unable to service cache target messages in READ_ONLY or FAIL mode", c.a.DeviceName())
		return "", errOpNotSupp
	case strings.EqualFold(argv[0], "invalidate_cblocks"):
		return "", c.invalidateRanges(argv[1:])
	case len(argv) != 2:
		return "", EINVAL
	}
	return "", c.set(argv[0], argv[1])
}

func (c *cache) invalidateRanges(ranges []string) error {
	fail := func(errno syscall.Errno, format string, args ...any) error {
		c.k.Log(logCache, "%s: %s", c.a.DeviceName(), fmt.Sprintf(format, args...))
		return errno
	}
	if c.mode != "passthrough" {
		return fail(EPERM, "cache has to be in passthrough mode for invalidation")
	}
	for _, text := range ranges {
		first, last, isRange := strings.Cut(text, "-")
		begin, ok := scanSector(first)
		end := begin + 1
		if isRange && ok {
			end, ok = scanSector(last)
		}
		switch {
		case !ok:
			return fail(EINVAL, "invalid cblock range '%s'", text)
		case begin >= c.blocks:
			return fail(EINVAL, "begin cblock out of range: %d >= %d", begin, c.blocks)
		case end > c.blocks:
			return fail(EINVAL, "end cblock out of range: %d > %d", end, c.blocks)
		case begin >= end:
			return fail(EINVAL, "invalid cblock range: %d >= %d", begin, end)
		}
		c.io.Lock()
		for _, b := range c.inOrder() {
			if b.index >= begin && b.index < end {
				c.drop(b)
			}
		}
		c.io.Unlock()
	}
	return nil
}
