// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// VDO stores each block once and compressed (drivers/md/dm-vdo, Linux 6.9), in
// version 4 of its table. Sizes are in blocks of 4096 bytes. The device is
// formatted by vdoformat; version 9.2 of the target, which Linux 7.2 has,
// formats one that begins with zeros by itself. The kernel prints the table as
// it was given, with the path of the device.
type VDO struct {
	Device        string
	StorageBlocks uint64 // size of the device
	MinIO         uint32 // bytes: 512 or 4096
	CacheBlocks   uint32 // of the block map; at least 32768 are recommended
	EraLength     uint32 // of the block map, from 1; 16380 is recommended, and about the most

	Threads VDOThreads

	MaxDiscard      uint32 // blocks, 0 for the kernel's 1
	NoDeduplication bool
	Compression     bool

	// For formatting, from target version 9.2 on.
	IndexMemory uint32 // MiB: 256, 512, 768, or 1024 times 1 to 1024; 0 for the kernel's 256
	IndexSparse bool
	SlabSize    uint32 // blocks, a power of 2 from 8192 to 8388608; 0 for the kernel's choice
}

// VDOThreads are the numbers of threads for each kind of work.
type VDOThreads struct {
	Ack                     *uint32 // completing I/O; 0 for none, nil for the kernel's 1
	Bio                     uint32  // submitting I/O; 0 for the kernel's 4
	BioRotationInterval     uint32  // I/Os before the next of these threads; up to 1024, 0 for the kernel's 64
	CPU                     uint32  // hashing and compressing; 0 for the kernel's 1
	Hash, Logical, Physical uint32  // all 0 for one thread that does all, or none 0; up to 100, 60 and 16
}

// TargetType is "vdo".
func (VDO) TargetType() string { return "vdo" }

// Params is "V4 device blocks minimum-io cache era (key value)…".
func (v VDO) Params() string {
	args := []string{"V4", v.Device, num(v.StorageBlocks), num(v.MinIO), num(v.CacheBlocks), num(v.EraLength)}
	if v.NoDeduplication {
		args = append(args, "deduplication", "off")
	}
	if v.Compression {
		args = append(args, "compression", "on")
	}
	if v.Threads.Ack != nil {
		args = append(args, "ack", num(*v.Threads.Ack))
	}
	for _, k := range v.numbers() {
		if *k.n > 0 {
			args = append(args, k.key, num(*k.n))
		}
	}
	if m := v.IndexMemory; m > 0 {
		text := num(m / 1024)
		if i := m / 256; i < 4 {
			text = vdoIndexMemory[i]
		}
		args = append(args, "indexMemory", text)
	}
	if v.IndexSparse {
		args = append(args, "indexSparse", "on")
	}
	return JoinArgs(args...)
}

// vdoIndexMemory are the memories below a GiB, by quarters.
var vdoIndexMemory = [...]string{"0", "0.25", "0.5", "0.75"}

type vdoNumber struct {
	key   string
	n     *uint32
	zero  bool // may be written as 0, which is the default
	limit uint32
}

// numbers are the keys with a number, but for "ack". The limits are of
// constants.h.
func (v *VDO) numbers() []vdoNumber {
	t := &v.Threads
	return []vdoNumber{
		{"bio", &t.Bio, false, maxVDOThreads},
		{"bioRotationInterval", &t.BioRotationInterval, false, 1024},
		{"cpu", &t.CPU, false, maxVDOThreads},
		{"hash", &t.Hash, true, maxVDOThreads},
		{"logical", &t.Logical, true, 60},
		{"physical", &t.Physical, true, 16},
		{"maxDiscard", &v.MaxDiscard, false, (1<<32 - 1) / 4096},
		{"slabSize", &v.SlabSize, false, 1 << 23},
	}
}

const (
	maxVDOThreads = 100
	// A logical thread needs two blocks of cache for each of 2048 requests.
	vdoCachePerThread = 2 * 2048
)

// Extents is the storage.
func (v VDO) Extents(Sectors) []Extent {
	return []Extent{{v.Device, 0, Sectors(v.StorageBlocks * 8)}}
}

// Validate checks sizes and threads.
func (v VDO) Validate(length Sectors) error {
	t := v.Threads
	switch {
	case length%8 != 0:
		return errors.New("length is not a whole number of blocks of 4096 bytes")
	case v.StorageBlocks >= 1<<51:
		return fmt.Errorf("%d blocks are beyond any device", v.StorageBlocks)
	case v.MinIO != 512 && v.MinIO != 4096:
		return fmt.Errorf("minimum I/O size %d is neither 512 nor 4096", v.MinIO)
	case v.EraLength == 0:
		return errors.New("block map era length 0")
	case v.IndexMemory%256 != 0 || v.IndexMemory > 1024 && v.IndexMemory%1024 != 0 || v.IndexMemory > 1<<20:
		return fmt.Errorf("index memory of %d MiB", v.IndexMemory)
	case v.SlabSize&(v.SlabSize-1) != 0 || v.SlabSize > 0 && v.SlabSize < 8192:
		return fmt.Errorf("slab size %d is not a power of 2 from 8192 on", v.SlabSize)
	case t.Ack != nil && *t.Ack > maxVDOThreads:
		return fmt.Errorf("ack %d is more than %d", *t.Ack, maxVDOThreads)
	case (t.Hash == 0) != (t.Logical == 0) || (t.Logical == 0) != (t.Physical == 0):
		return errors.New("hash, logical and physical threads are all 0 or none is")
	case uint64(v.CacheBlocks) < vdoCachePerThread*uint64(t.Logical):
		return fmt.Errorf("%d blocks of cache for %d logical threads, which need %d each", v.CacheBlocks, t.Logical, vdoCachePerThread)
	}
	for _, k := range v.numbers() {
		if *k.n > k.limit {
			return fmt.Errorf("%s %d is more than %d", k.key, *k.n, k.limit)
		}
	}
	return needDevice(v.Device)
}

func parseVDO(params string) (Target, error) {
	r := readArgs(params)
	r.oneOf("version", "V4")
	v := VDO{
		Device:        r.device("device"),
		StorageBlocks: r.uint("storage blocks", 64),
		MinIO:         uint32(r.uint("minimum I/O size", 32)),
		CacheBlocks:   uint32(r.uint("block map cache", 32)),
		EraLength:     uint32(r.uint("block map era length", 32)),
	}
	for r.err == nil && r.left() > 0 {
		v.parseOption(&r)
	}
	return v, r.end()
}

func (v *VDO) parseOption(r *argReader) {
	key := r.str("key")
	switch key {
	case "deduplication":
		v.NoDeduplication = r.oneOf(key, "on", "off") == 1
		return
	case "compression":
		v.Compression = r.oneOf(key, "off", "on") == 1
		return
	case "indexSparse":
		v.IndexSparse = r.oneOf(key, "off", "on") == 1
		return
	case "indexMemory":
		text := r.str(key)
		if i := slices.Index(vdoIndexMemory[:], text); i > 0 {
			v.IndexMemory = uint32(i) * 256
			return
		}
		n, err := strconv.ParseUint(text, 10, 32)
		if r.err == nil && (err != nil || n == 0 || n > 1024) {
			r.fail(key, fmt.Errorf("%q is neither 0.25, 0.5, 0.75 nor a number from 1 to 1024", text))
		}
		v.IndexMemory = uint32(n) * 1024
		return
	case "ack":
		n := uint32(r.uint(key, 32))
		v.Threads.Ack = &n
		return
	}
	for _, k := range v.numbers() {
		if k.key != key {
			continue
		}
		*k.n = uint32(r.uint(key, 32))
		if r.err == nil && *k.n == 0 && !k.zero {
			r.fail(key, errors.New("must not be 0"))
		}
		return
	}
	r.fail("key", fmt.Errorf("%q is unknown", key))
}

// VDOStatus is the status of a vdo target.
type VDOStatus struct {
	Device      string // path of the storage: /dev/dm-3
	Mode        string // "normal", "recovering" or "read-only"
	Recovering  bool
	Index       string // of deduplication: "closed", "closing", "error", "offline", "online", "opening" or "unknown"
	Compressing bool
	Used, Total uint64 // blocks of 4096 bytes
}

// ParseVDOStatus reads "/dev/dm-3 normal - online offline 1052 262144".
func ParseVDOStatus(text string) (VDOStatus, error) {
	r := readArgs(text)
	s := VDOStatus{Device: r.device("device"), Mode: r.str("mode")}
	s.Recovering = r.oneOf("recovery", "-", "recovering") == 1
	s.Index = r.str("index")
	s.Compressing = r.oneOf("compression", "offline", "online") == 1
	s.Used, s.Total = r.uint("used blocks", 64), r.uint("blocks", 64)
	if err := r.end(); err != nil {
		return VDOStatus{}, badStatus("vdo", err)
	}
	return s, nil
}

// String is the kernel's text.
func (s VDOStatus) String() string {
	recovery, compression := "-", "offline"
	if s.Recovering {
		recovery = "recovering"
	}
	if s.Compressing {
		compression = "online"
	}
	return JoinArgs(s.Device, s.Mode, recovery, s.Index, compression, num(s.Used), num(s.Total))
}

// Messages to a vdo target.
type (
	// VDOStats asks for the statistics: see its Answer.
	VDOStats struct{}
	// VDODump writes internals to the kernel's log: "all", "queues",
	// "threads", "viopool", "pools", "vdo", "default"; the last without any.
	// The kernel's documentation warns that this is not always safe.
	VDODump struct{ What []string }
	// VDODumpOnShutdown does the default dump when the device goes.
	VDODumpOnShutdown struct{}
	// VDOCompress turns compression on or off.
	VDOCompress struct{ On bool }
	// VDOIndex is about the index of deduplication: "close", "create",
	// "disable" or "enable".
	VDOIndex struct{ Do string }
)

// TargetType is "vdo".
func (VDOStats) TargetType() string          { return "vdo" }
func (VDODump) TargetType() string           { return "vdo" }
func (VDODumpOnShutdown) TargetType() string { return "vdo" }
func (VDOCompress) TargetType() string       { return "vdo" }
func (VDOIndex) TargetType() string          { return "vdo" }

// Text is the kernel's word, and its arguments.
func (VDOStats) Text() string          { return "stats" }
func (m VDODump) Text() string         { return JoinArgs(append([]string{"dump"}, m.What...)...) }
func (VDODumpOnShutdown) Text() string { return "dump-on-shutdown" }
func (m VDOCompress) Text() string {
	if m.On {
		return "compression on"
	}
	return "compression off"
}
func (m VDOIndex) Text() string { return "index-" + m.Do }

// Validate refuses words that the kernel does not know.
func (VDOStats) Validate() error { return nil }
func (m VDODump) Validate() error {
	for _, w := range m.What {
		switch w {
		case "all", "queues", "threads", "viopool", "pools", "vdo", "default":
		default:
			return fmt.Errorf("dump of %q", w)
		}
	}
	return nil
}
func (VDODumpOnShutdown) Validate() error { return nil }
func (VDOCompress) Validate() error       { return nil }
func (m VDOIndex) Validate() error {
	switch m.Do {
	case "close", "create", "disable", "enable":
		return nil
	}
	return fmt.Errorf("index %q", m.Do)
}
