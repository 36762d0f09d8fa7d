// SPDX-License-Identifier: MIT

package dm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
)

// WriteLog reads the log that a [LogWrites] target wrote: a superblock, and
// for each entry a block that describes it and its data.
type WriteLog struct {
	BlockSize int    // bytes, the unit of the log: the logical block size of the device
	Entries   uint64 // as of the last mark or FUA write, which store it

	r io.ReaderAt
}

// WriteLogEntry is a write, a discard, a flush or a mark.
type WriteLogEntry struct {
	Offset Sectors // on the device
	Length Sectors // 0 for a mark and a mere flush

	Flush    bool   // was preceded by a flush of what is logged before it
	FUA      bool   // was durable when it ended
	Discard  bool   // has no data
	Metadata bool   // marked as metadata by the file system
	Mark     string // of [LogMark]; empty for anything else

	// Data is where the data are in the log, in bytes, if there are any.
	// There are as many as Length says.
	Data int64
}

// HasData reports whether the log holds data of the entry.
func (e WriteLogEntry) HasData() bool { return e.Length > 0 && !e.Discard }

// What drivers/md/dm-log-writes.c writes, little endian.
const (
	writeLogMagic   = 0x6a736677736872
	writeLogVersion = 1

	writeLogFlush    = 1 << 0
	writeLogFUA      = 1 << 1
	writeLogDiscard  = 1 << 2
	writeLogMark     = 1 << 3
	writeLogMetadata = 1 << 4

	writeLogEntrySize = 32
)

// OpenWriteLog reads the superblock of a log. The error matches ErrCorrupt if
// there is none: the target writes it with the first mark, or when it goes.
func OpenWriteLog(r io.ReaderAt) (*WriteLog, error) {
	b := make([]byte, 512)
	if err := readFull(r, b, 0); err != nil {
		return nil, fail("open write log", nil, err)
	}
	le := binary.LittleEndian
	l := &WriteLog{BlockSize: int(le.Uint32(b[24:])), Entries: le.Uint64(b[16:]), r: r}
	var err error
	switch version := le.Uint64(b[8:]); {
	case le.Uint64(b) != writeLogMagic:
		err = errors.New("not a log of writes")
	case version != writeLogVersion:
		err = fmt.Errorf("version %d", version)
	case l.BlockSize < 512 || l.BlockSize > 1<<16 || l.BlockSize&(l.BlockSize-1) != 0:
		err = fmt.Errorf("block size %d", l.BlockSize)
	}
	if err != nil {
		return nil, fail("open write log", nil, corrupt(err))
	}
	return l, nil
}

// readFull reads all of p; a log that ends before is corrupt.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF:
		return corrupt(io.ErrUnexpectedEOF)
	}
	return err
}

// All gives the entries in their order. An error, which matches ErrCorrupt if
// it is the log's, is the last thing it yields.
func (l *WriteLog) All() iter.Seq2[WriteLogEntry, error] {
	return func(yield func(WriteLogEntry, error) bool) {
		at := int64(l.BlockSize)
		block := make([]byte, l.BlockSize)
		for i := range l.Entries {
			e, next, err := l.entry(block, at)
			if err != nil {
				yield(WriteLogEntry{}, fail("read write log", fmt.Sprintf("entry %d", i), err))
				return
			}
			if !yield(e, nil) {
				return
			}
			at = next
		}
	}
}

func (l *WriteLog) entry(block []byte, at int64) (e WriteLogEntry, next int64, err error) {
	if err := readFull(l.r, block, at); err != nil {
		return e, 0, err
	}
	le := binary.LittleEndian
	sector, count := le.Uint64(block), le.Uint64(block[8:])
	flags, length := le.Uint64(block[16:]), le.Uint64(block[24:])
	unit := uint64(l.BlockSize / 512)
	if sector >= 1<<54/unit || count >= 1<<54/unit {
		return e, 0, corrupt(fmt.Errorf("%d blocks at %d are beyond any device", count, sector))
	}
	e = WriteLogEntry{
		Offset:   Sectors(sector * unit),
		Length:   Sectors(count * unit),
		Flush:    flags&writeLogFlush != 0,
		FUA:      flags&writeLogFUA != 0,
		Discard:  flags&writeLogDiscard != 0,
		Metadata: flags&writeLogMetadata != 0,
	}
	next = at + int64(l.BlockSize)
	if flags&writeLogMark != 0 {
		if length > uint64(l.BlockSize-writeLogEntrySize) || count != 0 {
			return e, 0, corrupt(fmt.Errorf("mark of %d bytes and %d blocks", length, count))
		}
		e.Mark = string(block[writeLogEntrySize : writeLogEntrySize+length])
	}
	if e.HasData() {
		e.Data = next
		size := e.Length.Bytes()
		if next > 1<<62-size {
			return e, 0, corrupt(errors.New("log beyond any device"))
		}
		next += size
	}
	return e, next, nil
}

// Data reads the data of an entry.
func (l *WriteLog) Data(e WriteLogEntry) io.Reader {
	n := int64(0)
	if e.HasData() {
		n = e.Length.Bytes()
	}
	return io.NewSectionReader(l.r, e.Data, n)
}
