// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// CacheMode says what a [Cache] does with a write.
type CacheMode uint8

// The modes of a cache (enum cache_io_mode in drivers/md/dm-cache-target.c).
const (
	// Writeback lets a write end when it is in the cache: such a block is
	// dirty until it was written to the origin.
	Writeback CacheMode = iota
	// Writethrough lets it end when it is in both.
	Writethrough
	// Passthrough reads and writes the origin, and drops a block of the cache
	// that is written to. No block may be dirty. On Debian's Linux 5.10 such a
	// write never ends.
	Passthrough
)

var cacheModes = [...]string{"writeback", "writethrough", "passthrough"}

// String is the word of the table.
func (m CacheMode) String() string {
	if int(m) < len(cacheModes) {
		return cacheModes[m]
	}
	return "cache mode " + strconv.Itoa(int(m))
}

// CacheArg is a key and its value, of the cache itself or of its policy:
// migration_threshold and 2048.
type CacheArg struct{ Key, Value string }

// Cache keeps blocks of a slow device on a fast one
// (drivers/md/dm-cache-target.c, Documentation/admin-guide/device-mapper/cache.rst).
//
// To detach a cache that may be dirty, reload it with the policy "cleaner",
// wait until [CacheStatus] counts no dirty block, and only then map the origin
// alone.
//
// The kernel formats a metadata device whose first 4096 bytes are zero, takes
// up the cache that it finds there, and refuses anything else. A cache keeps
// the block size it was made with. Let it be the first segment of its table:
// the kernel maps sectors of the device to the same sectors of the origin,
// wherever the segment starts; seen on Linux 6.1.
type Cache struct {
	Metadata  string  // device with the metadata
	Cache     string  // fast device
	Origin    string  // slow device
	BlockSize Sectors // of the cache: 64 to 2097152, a multiple of 64

	Mode              CacheMode
	Metadata2         bool // dirty bits apart from the mapping; Linux 4.12. Of no effect on metadata that are there
	NoDiscardPassdown bool // discards stop here; Linux 5.1. The kernel does so too when the origin takes none

	// Policy decides what is cached: "smq", "default" for the kernel's own
	// choice, which is smq, and "cleaner", which caches nothing new and writes
	// all back. A policy is a kernel module, dm-cache-smq.
	Policy string
	// Args are set as messages would, see [SetCacheArg]; nil for none.
	Args []CacheArg
}

// TargetType is "cache".
func (Cache) TargetType() string { return "cache" }

// Params is "metadata cache origin block n feature… policy n key value…". The
// kernel prints the words that it was given; here the mode is always among
// them, and they have one order, that of the status.
func (c Cache) Params() string {
	args := []string{c.Metadata, c.Cache, c.Origin, num(c.BlockSize)}
	args = append(args, cacheFeatures(c.Metadata2, c.Mode, c.NoDiscardPassdown)...)
	args = append(args, c.Policy)
	return JoinArgs(append(args, cacheArgs(c.Args)...)...)
}

// cacheFeatures is the group of features, as table and status have it.
func cacheFeatures(metadata2 bool, m CacheMode, noPassdown bool) []string {
	feat := []string{m.String()}
	if metadata2 {
		feat = []string{"metadata2", m.String()}
	}
	if noPassdown {
		feat = append(feat, "no_discard_passdown")
	}
	return append([]string{num(len(feat))}, feat...)
}

func cacheArgs(list []CacheArg) []string {
	args := []string{num(2 * len(list))}
	for _, a := range list {
		args = append(args, a.Key, a.Value)
	}
	return args
}

// Extents is the origin from its start, the cache and the metadata.
func (c Cache) Extents(length Sectors) []Extent {
	return []Extent{{c.Origin, 0, length}, {c.Cache, 0, c.BlockSize}, {c.Metadata, 0, 0}}
}

// The limits of DATA_DEV_BLOCK_SIZE_* in dm-cache-target.c.
const (
	minCacheBlock = 64
	maxCacheBlock = 1 << 21
)

// Validate checks the block size, the three devices and the arguments that
// the cache itself takes.
func (c Cache) Validate(Sectors) error {
	if err := needDevice(c.Metadata, c.Cache, c.Origin); err != nil {
		return err
	}
	switch {
	case c.BlockSize < minCacheBlock || c.BlockSize > maxCacheBlock || c.BlockSize%minCacheBlock != 0:
		return fmt.Errorf("block size %d is no multiple of 64 from 64 to 2097152", uint64(c.BlockSize))
	case int(c.Mode) >= len(cacheModes):
		return fmt.Errorf("%v", c.Mode)
	case c.Policy == "":
		return errors.New("no policy")
	case len(c.Args) > 512:
		return fmt.Errorf("%d policy arguments, at most 512", len(c.Args))
	case c.Args != nil && len(c.Args) == 0:
		return errors.New("empty, not nil, arguments")
	}
	for _, a := range c.Args {
		if err := a.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (a CacheArg) validate() error {
	if a.Key == "" || a.Value == "" {
		return fmt.Errorf("empty key or value in %q", a)
	}
	if a.Key == "migration_threshold" {
		if _, err := strconv.ParseUint(a.Value, 10, 64); err != nil {
			return fmt.Errorf("migration_threshold: %q is not a number of sectors", a.Value)
		}
	}
	return nil
}

func parseCache(params string) (Target, error) {
	r := readArgs(params)
	c := Cache{
		Metadata: r.device("metadata"), Cache: r.device("cache"), Origin: r.device("origin"),
		BlockSize: r.sectors("block size"),
	}
	c.Metadata2, c.Mode, c.NoDiscardPassdown = r.cacheFeatures(false)
	c.Policy = r.str("policy")
	c.Args = r.cacheArgs("policy arguments")
	return c, r.end()
}

// cacheFeatures reads the group of features. A table need not name the mode,
// and may name it once; a status always names it.
func (r *argReader) cacheFeatures(status bool) (metadata2 bool, m CacheMode, noPassdown bool) {
	moded := false
	for range r.group("features") {
		switch name := r.str("feature"); name {
		case "metadata2":
			metadata2 = true
		case "no_discard_passdown":
			noPassdown = true
		default:
			i := slices.Index(cacheModes[:], name)
			switch {
			case r.err != nil:
			case i < 0:
				r.fail("feature", fmt.Errorf("%q is unknown", name))
			case moded:
				r.fail("feature", fmt.Errorf("%q is a second mode", name))
			default:
				m, moded = CacheMode(i), true
			}
		}
	}
	if status && !moded {
		r.fail("feature", errors.New("no mode"))
	}
	return metadata2, m, noPassdown
}

// cacheArgs reads a group of keys and values.
func (r *argReader) cacheArgs(what string) []CacheArg {
	if r.left() == 0 {
		r.fail(what, errMissing)
	}
	n := r.group(what)
	if n%2 != 0 {
		r.fail(what, fmt.Errorf("%d are not pairs", n))
	}
	var list []CacheArg
	for range n / 2 {
		if r.err != nil {
			break
		}
		list = append(list, CacheArg{r.str("key"), r.str("value")})
	}
	return list
}

// SetCacheArg is the message that changes an argument of a running [Cache]:
// {"migration_threshold", "4096"}, in sectors that may be on their way between
// cache and origin at a time. The policy smq of today takes none; mq, which is
// smq under its old name, takes some and ignores them.
type SetCacheArg CacheArg

// TargetType is "cache".
func (SetCacheArg) TargetType() string { return "cache" }

// Text is "key value".
func (a SetCacheArg) Text() string { return JoinArgs(a.Key, a.Value) }

// Validate checks the value of migration_threshold, and that the key is no
// other message.
func (a SetCacheArg) Validate() error {
	if a.Key != "" && a.Key[0] == '@' || strings.EqualFold(a.Key, "invalidate_cblocks") {
		return fmt.Errorf("%q is no key", a.Key)
	}
	return CacheArg(a).validate()
}

// InvalidateCblocks is the message that drops blocks of a [Cache]. The cache
// must be in the mode [Passthrough], else the answer is EPERM.
type InvalidateCblocks []CblockRange

// CblockRange are blocks of the cache device, from Begin to the one before
// End.
type CblockRange struct{ Begin, End uint32 }

// TargetType is "cache".
func (InvalidateCblocks) TargetType() string { return "cache" }

// Text is "invalidate_cblocks begin-end…", or a bare begin for one block.
func (l InvalidateCblocks) Text() string {
	text := "invalidate_cblocks"
	for _, c := range l {
		text += " " + num(c.Begin)
		if c.End != c.Begin+1 {
			text += "-" + num(c.End)
		}
	}
	return text
}

// Validate refuses an empty range. Where the cache ends, only the kernel
// knows.
func (l InvalidateCblocks) Validate() error {
	for _, c := range l {
		if c.Begin >= c.End {
			return fmt.Errorf("no block from %d to before %d", c.Begin, c.End)
		}
	}
	return nil
}
