// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
)

// MirrorSync says what the log of a [Mirror] takes the legs for when it has
// no record of them.
type MirrorSync uint8

// The choices of drivers/md/dm-log.c.
const (
	// MirrorSyncNeeded copies what the log does not know to be in sync: all
	// of it with a log in memory or a new one on disk.
	MirrorSyncNeeded MirrorSync = iota
	// MirrorSyncAll copies everything whatever the log says: "sync".
	MirrorSyncAll
	// MirrorSyncNone takes the legs for equal: "nosync".
	MirrorSyncNone
)

var mirrorSyncWords = [...]string{"", "sync", "nosync"}

// String is the word of the table; none for MirrorSyncNeeded.
func (s MirrorSync) String() string {
	if int(s) < len(mirrorSyncWords) {
		return mirrorSyncWords[s]
	}
	return "sync " + num(s)
}

// MirrorLog is where a [Mirror] keeps which of its regions are in sync: in
// memory, or on Device.
type MirrorLog struct {
	Device     string  // empty for a log in memory
	RegionSize Sectors // a power of 2, at least 2
	Sync       MirrorSync

	// Type and Args are of a log that is not the kernel's own, such as
	// "userspace" of clusters (drivers/md/dm-log-userspace-base.c). The
	// other fields are not used then.
	Type string
	Args []string
}

func (l MirrorLog) args() []string {
	typ, args := l.Type, l.Args
	switch {
	case typ != "":
	case l.Device != "":
		typ, args = "disk", []string{l.Device, num(l.RegionSize)}
	default:
		typ, args = "core", []string{num(l.RegionSize)}
	}
	if l.Type == "" && l.Sync != MirrorSyncNeeded {
		args = append(args, l.Sync.String())
	}
	return append([]string{typ, num(len(args))}, args...)
}

func (l MirrorLog) validate(length Sectors) error {
	r := l.RegionSize
	switch {
	case l.Type == "core" || l.Type == "disk":
		return fmt.Errorf("log type %q goes without saying", l.Type)
	case l.Type != "" && (l.Device != "" || r != 0 || l.Sync != 0):
		return fmt.Errorf("a log of type %q has only arguments", l.Type)
	case l.Type != "":
		return nil
	case len(l.Args) > 0:
		return errors.New("log arguments without a type")
	case r < 2 || r&(r-1) != 0 || r >= 1<<32:
		return fmt.Errorf("region size %d is not a power of 2 from 2 on", uint64(r))
	case r > length:
		return fmt.Errorf("region size %d is larger than the mirror", uint64(r))
	case int(l.Sync) >= len(mirrorSyncWords):
		return fmt.Errorf("%v", l.Sync)
	}
	return nil
}

func parseMirrorLog(r *argReader) MirrorLog {
	typ := r.str("log type")
	n := r.group("log arguments")
	if typ != "core" && typ != "disk" {
		l := MirrorLog{Type: typ}
		for range n {
			l.Args = append(l.Args, r.str("log argument"))
		}
		return l
	}
	want := 1
	var l MirrorLog
	if typ == "disk" {
		want = 2
		l.Device = r.device("log device")
	}
	if r.err == nil && (n < want || n > want+1) {
		r.fail("log arguments", fmt.Errorf("%d of them for a log of type %s", n, typ))
	}
	l.RegionSize = Sectors(r.uint("region size", 32))
	if n > want {
		l.Sync = MirrorSync(1 + r.oneOf("sync", mirrorSyncWords[1:]...))
	}
	return l
}

// MirrorLeg is one copy of a [Mirror].
type MirrorLeg struct {
	Device string
	Offset Sectors
}

// maxMirrorLegs is MAX_NR_MIRRORS of dm-raid1.c.
const maxMirrorLegs = 9

// Mirror keeps the same data on several legs (drivers/md/dm-raid1.c). It is
// the older of two targets that do; "raid" has more to offer.
//
// An I/O error makes a leg fail: see [MirrorStatus]. A read is then served by
// another leg that is in sync. A write that failed on a leg is done as far
// as the caller can see. HandleErrors holds it back instead and raises an
// event, so that somebody loads a table without the leg: a suspend with
// NoFlush leaves the write to that table, one with a flush fails it.
type Mirror struct {
	Log  MirrorLog
	Legs []MirrorLeg // 2 to 9; the first is what the others are copied from

	HandleErrors bool // events for failed legs; their writes are held
	KeepLog      bool // no writes are held, and without the log they fail; only with HandleErrors
}

// TargetType is "mirror".
func (Mirror) TargetType() string { return "mirror" }

// Params is "log n argument… legs (device offset)… [n feature…]".
func (m Mirror) Params() string {
	args := append(m.Log.args(), num(len(m.Legs)))
	for _, l := range m.Legs {
		args = append(args, l.Device, num(l.Offset))
	}
	var feat []string
	if m.HandleErrors {
		feat = append(feat, "handle_errors")
	}
	if m.KeepLog {
		feat = append(feat, "keep_log")
	}
	if len(feat) > 0 {
		args = append(append(args, num(len(feat))), feat...)
	}
	return JoinArgs(args...)
}

// Extents is the range on every leg, and the device of the log.
func (m Mirror) Extents(length Sectors) []Extent {
	var ext []Extent
	for _, l := range m.Legs {
		ext = append(ext, Extent{l.Device, l.Offset, length})
	}
	if m.Log.Device != "" {
		ext = append(ext, Extent{Device: m.Log.Device})
	}
	return ext
}

// Validate checks the log, the number of legs and the features.
func (m Mirror) Validate(length Sectors) error {
	if err := m.Log.validate(length); err != nil {
		return err
	}
	if n := len(m.Legs); n < 2 || n > maxMirrorLegs {
		return fmt.Errorf("%d legs, want 2 to %d", n, maxMirrorLegs)
	}
	for _, l := range m.Legs {
		if err := needDevice(l.Device); err != nil {
			return err
		}
	}
	if m.KeepLog && !m.HandleErrors {
		return errors.New("keep_log needs handle_errors")
	}
	return nil
}

func parseMirror(params string) (Target, error) {
	r := readArgs(params)
	m := Mirror{Log: parseMirrorLog(&r)}
	n := r.uint("legs", 32)
	for i := uint64(0); i < n && r.err == nil; i++ {
		m.Legs = append(m.Legs, MirrorLeg{r.device("device"), r.sectors("offset")})
	}
	for range r.group("features") {
		switch r.oneOf("feature", "handle_errors", "keep_log") {
		case 0:
			m.HandleErrors = true
		case 1:
			m.KeepLog = true
		}
	}
	return m, r.end()
}

// MirrorHealth is the worst that happened to a leg or a log.
type MirrorHealth byte

// What device_status_char in dm-raid1.c and disk_status in dm-log.c tell.
const (
	MirrorAlive       MirrorHealth = 'A'
	MirrorWriteFailed MirrorHealth = 'D' // out of sync; of a log: its header can't be read or written
	MirrorSyncFailed  MirrorHealth = 'S' // while it was copied from or to
	MirrorReadFailed  MirrorHealth = 'R' // its data may be good
	MirrorFlushFailed MirrorHealth = 'F'
	MirrorUnclear     MirrorHealth = 'U'
)

// String is the letter.
func (h MirrorHealth) String() string { return string(rune(h)) }

func mirrorHealth(b byte) (MirrorHealth, error) {
	switch h := MirrorHealth(b); h {
	case MirrorAlive, MirrorWriteFailed, MirrorSyncFailed, MirrorReadFailed, MirrorFlushFailed, MirrorUnclear:
		return h, nil
	}
	return 0, fmt.Errorf("%q is no health", b)
}

// MirrorLegStatus is one leg of a mirror.
type MirrorLegStatus struct {
	Device string // major:minor
	Health MirrorHealth
}

// MirrorStatus is the status of a mirror.
type MirrorStatus struct {
	Legs            []MirrorLegStatus
	InSync, Regions uint64 // of so many regions so many are in sync
	LogType         string // "core", "disk", or what the daemon of a cluster says
	LogDevice       string // major:minor of a log that has one
	LogHealth       MirrorHealth
	// NoAnswer says that the daemon of a userspace log did not answer.
	NoAnswer bool
}

// Complete reports whether all regions are in sync.
func (s MirrorStatus) Complete() bool { return s.InSync == s.Regions }

// Failed gives the legs that had an error.
func (s MirrorStatus) Failed() []MirrorLegStatus {
	var failed []MirrorLegStatus
	for _, l := range s.Legs {
		if l.Health != MirrorAlive {
			failed = append(failed, l)
		}
	}
	return failed
}

// noAnswer is what dm-log-userspace-base.c prints in place of a log's status.
const noAnswer = "COM_FAILURE"

// ParseMirrorStatus reads "2 1:0 1:1 8/8 1 AA 3 disk 1:6 A".
func ParseMirrorStatus(text string) (MirrorStatus, error) {
	r := readArgs(text)
	var s MirrorStatus
	n := int(r.uint("legs", 16))
	for range min(n, r.left()) {
		s.Legs = append(s.Legs, MirrorLegStatus{Device: r.device("device")})
	}
	s.InSync, s.Regions = r.fraction("regions in sync")
	if groups := r.uint("groups", 32); r.err == nil && groups != 1 {
		r.fail("groups", fmt.Errorf("%d, want 1", groups))
	}
	health := r.str("health")
	if r.err == nil && (len(health) != n || n == 0) {
		r.fail("health", fmt.Errorf("%q for %d legs", health, n))
	}
	for i := 0; r.err == nil && i < n; i++ {
		var err error
		if s.Legs[i].Health, err = mirrorHealth(health[i]); err != nil {
			r.fail("health", err)
		}
	}
	s.parseLog(&r)
	if err := r.end(); err != nil {
		return MirrorStatus{}, badStatus("mirror", err)
	}
	return s, nil
}

func (s *MirrorStatus) parseLog(r *argReader) {
	if p := r.peek(); r.err == nil && p != "" && (p[0] < '0' || p[0] > '9') {
		s.LogType = r.str("log type")
		if one, word := r.uint("log words", 32), r.str("log"); r.err == nil && (one != 1 || word != noAnswer) {
			r.fail("log", fmt.Errorf("%d %q", one, word))
		}
		s.NoAnswer = true
		return
	}
	n := r.group("log words")
	if r.err == nil && n != 1 && n != 3 {
		r.fail("log words", fmt.Errorf("%d, want 1 or 3", n))
	}
	s.LogType = r.str("log type")
	if n != 3 {
		return
	}
	s.LogDevice = r.device("log device")
	h := r.str("log health")
	if r.err != nil {
		return
	}
	var err error
	if len(h) != 1 {
		err = fmt.Errorf("%q is no health", h)
	} else {
		s.LogHealth, err = mirrorHealth(h[0])
	}
	if err != nil {
		r.fail("log health", err)
	}
}

// String is the kernel's text.
func (s MirrorStatus) String() string {
	args := []string{num(len(s.Legs))}
	health := make([]byte, len(s.Legs))
	for i, l := range s.Legs {
		args = append(args, l.Device)
		health[i] = byte(l.Health)
	}
	args = append(args, num(s.InSync)+"/"+num(s.Regions), "1", string(health))
	switch {
	case s.NoAnswer:
		args = append(args, s.LogType, "1", noAnswer)
	case s.LogDevice != "":
		args = append(args, "3", s.LogType, s.LogDevice, s.LogHealth.String())
	default:
		args = append(args, "1", s.LogType)
	}
	return JoinArgs(args...)
}
