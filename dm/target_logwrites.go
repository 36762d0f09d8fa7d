// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
)

// LogWrites passes I/O to a device, and logs each write on another one, in
// the order in which they became durable: tests of file systems replay it
// (drivers/md/dm-log-writes.c). A write is logged once a flush follows it.
type LogWrites struct {
	Device    string
	LogDevice string
}

// TargetType is "log-writes".
func (LogWrites) TargetType() string { return "log-writes" }

// Params is "device log".
func (l LogWrites) Params() string { return JoinArgs(l.Device, l.LogDevice) }

// Extents is the device from its start; the log only has to be there.
func (l LogWrites) Extents(length Sectors) []Extent {
	return []Extent{{l.Device, 0, length}, {Device: l.LogDevice}}
}

// Validate refuses an empty device.
func (l LogWrites) Validate(Sectors) error { return needDevice(l.Device, l.LogDevice) }

func parseLogWrites(params string) (Target, error) {
	r := readArgs(params)
	l := LogWrites{r.device("device"), r.device("log device")}
	return l, r.end()
}

// LogWritesStatus is the status of a log-writes target.
type LogWritesStatus struct {
	Entries uint64  // logged so far
	Highest Sectors // last sector of the log in use
	// Disabled says that nothing is logged any more: the log is full, or
	// could not be written.
	Disabled bool
}

// ParseLogWritesStatus reads "1 1", and "logging_disabled" behind it.
func ParseLogWritesStatus(text string) (LogWritesStatus, error) {
	r := readArgs(text)
	s := LogWritesStatus{Entries: r.uint("entries", 64), Highest: Sectors(r.uint("highest sector", 64))}
	if r.err == nil && r.left() > 0 {
		r.oneOf("logging", "logging_disabled")
		s.Disabled = true
	}
	if err := r.end(); err != nil {
		return LogWritesStatus{}, badStatus("log-writes", err)
	}
	return s, nil
}

// String is the kernel's text.
func (s LogWritesStatus) String() string {
	text := num(s.Entries) + " " + num(s.Highest)
	if s.Disabled {
		text += " logging_disabled"
	}
	return text
}

// LogMark puts a mark into the log of a log-writes target, and all that waits
// for a flush is not part of what lies before it.
type LogMark struct {
	Mark string // up to 479 bytes
}

// maxLogMark is what a sector of 512 bytes has room for behind struct
// log_write_entry and with a NUL. On devices with larger blocks the kernel has
// room for more; what does not fit it cuts off.
const maxLogMark = 512 - 32 - 1

// TargetType is "log-writes".
func (LogMark) TargetType() string { return "log-writes" }

// Text is "mark" and the mark.
func (m LogMark) Text() string { return JoinArgs("mark", m.Mark) }

// Validate refuses an empty mark and one that the kernel would cut off.
func (m LogMark) Validate() error {
	if m.Mark == "" {
		return errors.New("empty mark")
	}
	if len(m.Mark) > maxLogMark {
		return fmt.Errorf("mark of %d bytes, at most %d", len(m.Mark), maxLogMark)
	}
	return nil
}
