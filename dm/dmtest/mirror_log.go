// SPDX-License-Identifier: MIT

package dmtest

import (
	"encoding/binary"
	"strconv"
)

// mirrorLog is the dirty log of dm-log.c, in memory or on a device. Its
// fields but for the arguments are guarded by mirror.mu.
type mirrorLog struct {
	a      *Args
	dev    *Dev // nil for a log in memory
	region uint64
	count  uint64
	sync   string // "", "sync" or "nosync"

	clean, inSync []bool // of each region; made at the first resume
	synced        uint64
	search        uint64 // where the next region to copy is looked for
	failed        bool
}

const (
	logDirty         = "dirty region log"
	mirrorMagic      = 0x4D695272
	mirrorVersion    = 2
	mirrorBitsOffset = 1024
)

// newMirrorLog is dm_dirty_log_create. It returns nil when it refuses; the
// reason is in the log.
func newMirrorLog(a *Args, typ string, argv []string) *mirrorLog {
	warn := func(format string, args ...any) *mirrorLog {
		a.Kernel().Log(logDirty, format, args...)
		return nil
	}
	l := &mirrorLog{a: a}
	switch typ {
	case "core":
	case "disk":
		if len(argv) < 2 || len(argv) > 3 {
			return warn("wrong number of arguments to disk dirty region log")
		}
		var err error
		if l.dev, err = a.Open(argv[0]); err != nil {
			return nil
		}
		argv = argv[1:]
	default:
		return warn("Module for logging type %q not found.", typ)
	}
	if len(argv) < 1 || len(argv) > 2 {
		return warn("wrong number of arguments to dirty region log")
	}
	if len(argv) > 1 {
		if l.sync = argv[1]; l.sync != "sync" && l.sync != "nosync" {
			return warn("unrecognised sync argument to dirty region log: %s", argv[1])
		}
	}
	size, ok := scanUint(argv[0])
	if l.region = uint64(size); !ok || size < 2 || l.region > a.Length || size&(size-1) != 0 {
		return warn("invalid region size %s", argv[0])
	}
	l.count = (a.Length + l.region - 1) / l.region
	if l.sync == "nosync" {
		l.synced = l.count
	}
	if l.dev != nil {
		if bytes := l.size(); bytes > l.dev.Sectors()*sectorSize {
			return warn("log device %s too small: need %d bytes", l.dev.Name(), bytes)
		}
	}
	return l
}

// size is what the header and the bits need on the device.
func (l *mirrorLog) size() uint64 {
	block := uint64(l.dev.BlockSize())
	n := mirrorBitsOffset + (l.count+31)/32*4
	return (n + block - 1) / block * block
}

// resume is core_resume and disk_resume.
func (l *mirrorLog) resume() (event bool) {
	if l.clean == nil {
		l.clean, l.inSync = make([]bool, l.count), make([]bool, l.count)
		for i := range l.clean {
			l.clean[i], l.inSync[i] = true, l.sync == "nosync"
		}
	}
	if l.dev == nil {
		return false
	}
	known, err := l.read()
	if err != nil {
		l.a.Kernel().Log(logDirty, "%s: Failed to read header on dirty region log device", l.dev.Name())
		event = l.fail()
		known = 0
	}
	l.synced = 0
	for i := range l.clean {
		if uint64(i) >= known {
			l.clean[i] = l.sync == "nosync"
		}
		if l.inSync[i] = l.clean[i]; l.clean[i] {
			l.synced++
		}
	}
	if err := l.write(); err != nil {
		l.a.Kernel().Log(logDirty, "%s: Failed to write header on dirty region log device", l.dev.Name())
		event = l.fail() || event
	}
	return event
}

// read reads the clean bits, and of how many regions the log knows.
func (l *mirrorLog) read() (known uint64, err error) {
	buf := make([]byte, l.size())
	if err := l.dev.ReadSectors(buf, 0); err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	if l.sync != "" || le.Uint32(buf) != mirrorMagic {
		return 0, nil
	}
	if v := le.Uint32(buf[4:]); v != 1 && v != mirrorVersion {
		l.a.Kernel().Log(logDirty, "incompatible disk log version")
		return 0, EINVAL
	}
	known = min(le.Uint64(buf[8:]), l.count)
	for i := range known {
		l.clean[i] = buf[mirrorBitsOffset+i/8]>>(i%8)&1 == 1
	}
	return known, nil
}

func (l *mirrorLog) write() error {
	if l.dev == nil {
		return nil
	}
	buf := make([]byte, l.size())
	le := binary.LittleEndian
	le.PutUint32(buf, mirrorMagic)
	le.PutUint32(buf[4:], mirrorVersion)
	le.PutUint64(buf[8:], l.count)
	for i, clean := range l.clean {
		if clean {
			buf[mirrorBitsOffset+i/8] |= 1 << (i % 8)
		}
	}
	return l.dev.WriteSectors(buf, 0)
}

// mark says that a region is being written, or no longer; err is that the
// log could not be.
func (l *mirrorLog) mark(region uint64, clean bool) (event bool, err error) {
	if l.clean[region] == clean {
		return false, nil
	}
	l.clean[region] = clean
	if err = l.write(); err != nil {
		event = l.fail()
	}
	return event, err
}

// fail is fail_log_device.
func (l *mirrorLog) fail() (event bool) {
	event = !l.failed
	l.failed = true
	return event
}

// set is core_set_region_sync.
func (l *mirrorLog) set(region uint64, inSync bool) {
	switch {
	case inSync && !l.inSync[region]:
		l.synced++
	case !inSync && l.inSync[region]:
		l.synced--
	}
	l.inSync[region] = inSync
}

// work is core_get_resync_work: the next region to copy.
func (l *mirrorLog) work() (region uint64, ok bool) {
	for ; l.search < l.count; l.search++ {
		if !l.inSync[l.search] {
			l.search++
			return l.search - 1, true
		}
	}
	return 0, false
}

func (l *mirrorLog) status() string {
	if l.dev == nil {
		return "1 core"
	}
	health := "A"
	if l.failed {
		health = "D"
	}
	return "3 disk " + l.dev.Name() + " " + health
}

func (l *mirrorLog) table() string {
	words := []string{strconv.FormatUint(l.region, 10)}
	typ := "core"
	if l.dev != nil {
		typ, words = "disk", append([]string{l.dev.Name()}, words...)
	}
	if l.sync != "" {
		words = append(words, l.sync)
	}
	text := typ + " " + strconv.Itoa(len(words)) + " "
	for _, w := range words {
		text += w + " "
	}
	return text
}
