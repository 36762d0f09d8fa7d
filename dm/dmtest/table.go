// SPDX-License-Identifier: MIT

package dmtest

import (
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// mode is fmode_t.
type mode uint8

const (
	modeRead mode = 1 << iota
	modeWrite
)

// table is struct dm_table.
type table struct {
	d         *device
	mode      mode
	targets   []*target
	devs      []*Dev // the most recently opened first
	refs      int    // calls and I/O in it; guarded by Kernel.mu
	singleton bool
	requests  bool // request-based
	immutable string
}

// kindOf is enum dm_queue_mode.
func kindOf(requests bool) int {
	if requests {
		return 2
	}
	return 1
}

// determineType is the part of dm_table_complete that finds out whether the
// table takes whole requests. Called without mu.
func (t *table) determineType() error {
	for _, ti := range t.targets {
		x, ok := ti.inst.(interface{ requestBased() bool })
		if !ok || !x.requestBased() {
			continue
		}
		t.requests = true
		t.d.k.mu.Lock()
		refused := slices.ContainsFunc(t.devs, func(dev *Dev) bool { return !dev.bdev.takesRequests() })
		t.d.k.mu.Unlock()
		if refused {
			t.d.k.Log(logTable, "table load rejected: including non-request-stackable devices")
			t.d.k.Log(logTable, "unable to determine table type")
			return EINVAL
		}
	}
	return nil
}

// target is struct dm_target.
type target struct {
	typ           *registeredTarget
	start, length uint64
	inst          Instance
}

func (t *table) readOnly() bool { return t.mode&modeWrite == 0 }

func (t *table) size() uint64 {
	if len(t.targets) == 0 {
		return 0
	}
	last := t.targets[len(t.targets)-1]
	return last.start + last.length
}

// find is dm_table_find_target.
func (t *table) find(sector uint64) *target {
	i, _ := slices.BinarySearchFunc(t.targets, sector, func(ti *target, s uint64) int {
		switch {
		case ti.start+ti.length <= s:
			return -1
		case ti.start > s:
			return 1
		}
		return 0
	})
	if i == len(t.targets) {
		return nil
	}
	return t.targets[i]
}

// add is dm_table_add_target of dm-table.c. Called without mu.
func (t *table) add(name string, start, length uint64, params string) error {
	k, d := t.d.k, t.d
	if t.singleton {
		k.Log(logTable, "%s: target type %s must appear alone in table", d, t.targets[0].typ.Name)
		return EINVAL
	}
	if length == 0 {
		k.Log(logTable, "%s: zero-length target", d)
		return EINVAL
	}
	k.mu.Lock()
	typ := k.targetType(name)
	k.mu.Unlock()
	if typ == nil {
		k.Log(logTable, "%s: %s: unknown target type", d, name)
		return EINVAL
	}
	bad := func(errno syscall.Errno, text string) error {
		k.Log(logTable, "%s: %s: %s (%s)", d, name, text, errnoText(errno))
		return errno
	}
	if typ.Singleton {
		if len(t.targets) > 0 {
			return bad(EINVAL, "singleton target type must appear alone in table")
		}
		t.singleton = true
	}
	if typ.AlwaysWriteable && t.readOnly() {
		return bad(EINVAL, "target type may not be included in a read-only table")
	}
	if t.immutable != "" && t.immutable != name || t.immutable == "" && typ.Immutable && len(t.targets) > 0 {
		return bad(EINVAL, "immutable target type cannot be mixed with other target types")
	}
	if typ.Immutable {
		t.immutable = name
	}
	if start != t.size() {
		return bad(EINVAL, "Gap in table")
	}
	if start+length < start {
		// The kernel lets sums wrap; nothing real can have the size.
		return bad(EINVAL, "Gap in table")
	}
	ti := &target{typ: typ, start: start, length: length}
	if typ.New != nil {
		a := &Args{Type: name, Start: start, Length: length, Argv: splitArgs(params), ReadOnly: t.readOnly(), t: t}
		inst, err := typ.New(a)
		if err != nil {
			return bad(ctorErrno(err))
		}
		ti.inst = inst
	}
	t.targets = append(t.targets, ti)
	return nil
}

// splitArgs is dm_split_args of dm-table.c: words are parted by blanks, and
// a backslash takes the next byte as it is.
func splitArgs(s string) []string {
	var argv []string
	for i := 0; ; {
		for i < len(s) && isSpace(s[i]) {
			i++
		}
		if i == len(s) {
			return argv
		}
		var word strings.Builder
		for i < len(s) && !isSpace(s[i]) {
			if s[i] == '\\' && i+1 < len(s) {
				i++
			}
			word.WriteByte(s[i])
			i++
		}
		argv = append(argv, word.String())
	}
}

// isSpace is the kernel's, which counts the Latin-1 hard space too.
func isSpace(c byte) bool { return c >= 9 && c <= 13 || c == ' ' || c == 0xa0 }

// areas are the stretches of devices that the targets use. Called with mu
// held, which it gives up for the targets.
func (t *table) areas() []Area {
	var list []Area
	t.d.unlocked(func() {
		for _, ti := range t.targets {
			if it, ok := ti.inst.(Iterator); ok {
				list = append(list, it.Devices()...)
			}
			if h, ok := ti.inst.(LimitsHinter); ok {
				h.IOHints()
			}
		}
	})
	return list
}

// checkLimits is the part of dm_calculate_queue_limits that refuses a table:
// device_area_is_invalid. Called with mu held; areas was asked for without.
func (t *table) checkLimits(areas []Area) error {
	k := t.d.k
	for _, a := range areas {
		size := a.Dev.bdev.sectors()
		if size == 0 {
			continue
		}
		if a.Start >= size || a.Start+a.Length > size || a.Start+a.Length < a.Start {
			k.logLocked(sprintf("device-mapper: table: %s: %s too small for target: start=%d, len=%d, dev_size=%d",
				t.d, a.Dev.bdev.diskName(), a.Start, a.Length, size))
			return EINVAL
		}
		block := uint64(a.Dev.bdev.blockSize() / 512)
		if block <= 1 {
			continue
		}
		what, n := "start", a.Start
		if n%block == 0 {
			what, n = "len", a.Length
		}
		if n%block != 0 {
			k.logLocked(sprintf("device-mapper: table: %s: %s=%d not aligned to h/w logical block size %d of %s",
				t.d, what, n, block*512, a.Dev.bdev.diskName()))
			return EINVAL
		}
	}
	return nil
}

// destroy is dm_table_destroy: it waits for the calls inside, then drops the
// targets and closes the devices. Called with mu held.
func (t *table) destroy() {
	k := t.d.k
	k.waitUntil(nil, func() bool { return t.refs == 0 })
	t.d.unlocked(func() {
		for _, ti := range t.targets {
			if x, ok := ti.inst.(Destroyer); ok {
				x.Destroy()
			}
		}
	})
	devs := t.devs
	t.devs = nil
	for _, dev := range devs {
		t.d.putTableDev(dev)
	}
	k.broadcast()
}

func (t *table) presuspend() {
	for _, ti := range t.targets {
		if x, ok := ti.inst.(Presuspender); ok {
			x.Presuspend()
		}
	}
}

func (t *table) presuspendUndo() {
	for _, ti := range t.targets {
		if x, ok := ti.inst.(PresuspendUndoer); ok {
			x.PresuspendUndo()
		}
	}
}

func (t *table) postsuspend() {
	for _, ti := range t.targets {
		if x, ok := ti.inst.(Postsuspender); ok {
			x.Postsuspend()
		}
	}
}

func (t *table) preresume() error {
	for _, ti := range t.targets {
		x, ok := ti.inst.(Preresumer)
		if !ok {
			continue
		}
		if err := x.Preresume(); err != nil {
			errno, _ := ctorErrno(err)
			t.d.k.Log(logTable, "%s: %s: preresume failed, error = %d", t.d, ti.typ.Name, -int(errno))
			return errno
		}
	}
	return nil
}

func (t *table) resume() {
	for _, ti := range t.targets {
		if x, ok := ti.inst.(Resumer); ok {
			x.Resume()
		}
	}
}

// parseDevNumber is sscanf(s, "%u:%u%c") == 2 of dm_get_device.
func parseDevNumber(s string) (major, minor uint64, ok bool) {
	a, b, found := strings.Cut(s, ":")
	if !found {
		return 0, 0, false
	}
	major, err := strconv.ParseUint(a, 10, 32)
	if err != nil {
		return 0, 0, false
	}
	minor, err = strconv.ParseUint(b, 10, 32)
	return major, minor, err == nil
}

// holdTable keeps the live table of a device while a test does something to
// its targets.
func (k *Kernel) holdTable(op, name string) (t *table, release func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.byName(name)
	if d == nil {
		return nil, nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	if d.live == nil {
		return nil, nil, EINVAL
	}
	t = d.live
	t.refs++
	return t, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		t.refs--
		k.broadcast()
	}, nil
}
