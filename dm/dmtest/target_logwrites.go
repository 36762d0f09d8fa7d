// SPDX-License-Identifier: MIT

package dmtest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// logWrites is dm-log-writes.c, and writes the log as that does. There are no
// flushes in the double, so that writes are logged when the target goes.
type logWrites struct {
	area
	k      *Kernel
	log    *Dev
	sector uint32 // bytes

	mu        sync.Mutex
	entries   uint64
	next      uint64 // free sector of the log, of 512 bytes
	disabled  bool
	unflushed []logEntry
}

// logEntry is struct pending_block.
type logEntry struct {
	at, count uint64 // blocks of the device
	flags     uint64
	mark      string
	data      []byte
}

const (
	logWritesPrefix = "log-writes"
	logWritesMagic  = 0x6a736677736872
	logDiscardFlag  = 1 << 2
	logMarkFlag     = 1 << 3
	logEntrySize    = 32 // struct log_write_entry
)

func logWritesTarget() Target {
	return Target{Name: "log-writes", Version: [3]uint32{1, 1, 0}, Autoload: true, Module: "dm-log-writes", New: newLogWrites}
}

func newLogWrites(a *Args) (Instance, error) {
	if len(a.Argv) < 2 {
		return nil, a.Fail(EINVAL, "Invalid argument count")
	}
	dev, err := a.Open(a.Argv[0])
	if err != nil {
		return nil, withText(err, "Device lookup failed")
	}
	log, err := a.Open(a.Argv[1])
	if err != nil {
		return nil, withText(err, "Log device lookup failed")
	}
	l := &logWrites{area: area{dev, 0, a.Length}, k: a.Kernel(), log: log, sector: uint32(dev.BlockSize())}
	l.next = uint64(l.sector / sectorSize)
	return l, nil
}

func (l *logWrites) Table() string { return l.dev.Name() + " " + l.log.Name() }

func (l *logWrites) Status(bool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := fmt.Sprintf("%d %d", l.entries, l.next-1)
	if l.disabled {
		text += " logging_disabled"
	}
	return text
}

func (l *logWrites) Message(argv []string) (string, error) {
	if len(argv) != 2 {
		l.k.Log(logWritesPrefix, "Invalid log-writes message arguments, expect 2 arguments, got %d", len(argv))
		return "", EINVAL
	}
	if !strings.EqualFold(argv[0], "mark") {
		l.k.Log(logWritesPrefix, "Unrecognised log writes target message received: %s", argv[0])
		return "", EINVAL
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark(argv[1])
	return "", nil
}

func (l *logWrites) mark(text string) {
	room := int(l.sector) - logEntrySize - 1
	l.add(logEntry{flags: logMarkFlag, mark: text[:min(len(text), room)]})
}

// add is what the kernel's thread does with an entry. Called with mu held.
func (l *logWrites) add(e logEntry) {
	if l.disabled {
		return
	}
	at, block := l.next, uint64(l.sector/sectorSize)
	l.next += block
	if e.flags&logDiscardFlag == 0 {
		l.next += e.count * block
	}
	if l.next >= l.log.Sectors() {
		l.k.Log(logWritesPrefix, "Ran out of space on the logdev")
		l.disabled = true
		return
	}
	l.entries++
	head := make([]byte, l.sector)
	le := binary.LittleEndian
	le.PutUint64(head, e.at)
	le.PutUint64(head[8:], e.count)
	le.PutUint64(head[16:], e.flags)
	le.PutUint64(head[24:], uint64(len(e.mark)))
	copy(head[logEntrySize:], e.mark)
	l.write(head, at)
	if len(e.data) > 0 {
		l.write(e.data, at+block)
	}
	if e.flags&logMarkFlag != 0 {
		l.super()
	}
}

func (l *logWrites) super() {
	b := make([]byte, l.sector)
	le := binary.LittleEndian
	le.PutUint64(b, logWritesMagic)
	le.PutUint64(b[8:], 1)
	le.PutUint64(b[16:], l.entries)
	le.PutUint32(b[24:], l.sector)
	l.write(b, 0)
}

func (l *logWrites) write(p []byte, at uint64) {
	if err := l.log.WriteSectors(p, at); err != nil && !l.disabled {
		l.k.Log(logWritesPrefix, "Error writing log block, error=%d", 10) // BLK_STS_IOERR
		l.disabled = true
	}
}

func (l *logWrites) WriteSectors(p []byte, sector uint64) error {
	err := l.area.WriteSectors(p, sector)
	l.keep(logEntry{at: sector, count: uint64(len(p) / sectorSize), data: slices.Clone(p)})
	return err
}

func (l *logWrites) DiscardSectors(sector, n uint64) error {
	// Where the device takes none it is logged all the same.
	if err := l.area.DiscardSectors(sector, n); err != nil && err != errNotSupported {
		return err
	}
	l.keep(logEntry{at: sector, count: n, flags: logDiscardFlag})
	return nil
}

func (l *logWrites) keep(e logEntry) {
	block := uint64(l.sector / sectorSize)
	e.at, e.count = e.at/block, e.count/block
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.disabled {
		l.unflushed = append(l.unflushed, e)
	}
}

func (l *logWrites) Destroy() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.unflushed {
		l.add(e)
	}
	l.unflushed = nil
	l.mark("dm-log-writes-end")
}
