// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"io/fs"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/linuxblock/linuxblock/internal/blockdev"
	"github.com/linuxblock/linuxblock/internal/devnode"
	"github.com/linuxblock/linuxblock/internal/kmsg"
	"github.com/linuxblock/linuxblock/internal/runfile"
	"github.com/linuxblock/linuxblock/internal/udev"
)

// host is the machine around the control node. Its zero value does nothing,
// which is right for a double without a System.
type host struct {
	system System
	live   bool // a real kernel: udev, nodes, run file
	noUdev bool
	root   string // of the file system, for udev's own files
	nodes  devnode.Dir
	sysfs  blockdev.SysFS
	run    *runList
	held   heldNotes

	busy atomic.Int32 // changing ioctls under way, for matching log lines
}

func realHost(h *host, cfg *config) {
	h.system, h.live, h.noUdev = &machine{dev: cfg.dev}, true, cfg.noUdev
	h.root, h.nodes = cfg.root, devnode.Dir{Root: cfg.dev}
	h.run = &runList{dir: cfg.runDir}
}

func (h *host) close() error {
	var err error
	h.held.release()
	if h.run != nil {
		err = h.run.close()
	}
	if m, ok := h.system.(*machine); ok {
		m.pool.Close()
	}
	return err
}

// ownNodes reports whether the nodes below /dev/mapper are ours to make,
// because udevd does not run.
func (h *host) ownNodes() bool { return h.live && !h.noUdev && !udev.Running(h.root) }

// machine is the System of the running kernel.
type machine struct {
	dev   string // of the nodes: /dev
	sysfs blockdev.SysFS
	pool  kmsg.Pool
}

func (m *machine) BlockDevice(name string) (major, minor uint32, sectors uint64, err error) {
	if major, minor, err = blockdev.Resolve(name); err != nil {
		return 0, 0, 0, err
	}
	size, err := m.sysfs.Size(major, minor)
	return major, minor, uint64(size), err
}

func (m *machine) KernelLog() (func() []string, error) {
	collect, err := m.records()
	if err != nil {
		return nil, err
	}
	return func() []string {
		var lines []string
		for _, r := range collect() {
			lines = append(lines, r.Text)
		}
		return lines
	}, nil
}

// records is KernelLog with all that a record tells.
func (m *machine) records() (func() []kmsg.Record, error) {
	r, err := m.pool.Get()
	if err != nil {
		return nil, err
	}
	if err := r.Mark(); err != nil {
		m.pool.Put(r)
		return nil, err
	}
	return func() []kmsg.Record {
		list, _ := r.Collect() // a reason is an extra: without the log there is none
		m.pool.Put(r)
		return list
	}, nil
}

// listen starts to follow the kernel log; the function it returns gives the
// kernel's reason concerning the subject. It must be called once.
func (h *host) listen() func(kmsg.Subject) string {
	none := func(kmsg.Subject) string { return "" }
	if h.system == nil {
		return none
	}
	alone := h.busy.Add(1) == 1
	var collect func() []kmsg.Record
	if m, ok := h.system.(*machine); ok {
		var err error
		if collect, err = m.records(); err != nil {
			collect = nil
		}
	} else if lines, err := h.system.KernelLog(); err == nil {
		collect = func() []kmsg.Record {
			var list []kmsg.Record
			for _, l := range lines() {
				list = append(list, kmsg.Record{Priority: kmsg.LevelErr, Text: l})
			}
			return list
		}
	}
	return func(s kmsg.Subject) string {
		s.Alone = h.busy.Add(-1) == 0 && alone
		if collect == nil {
			return ""
		}
		return kmsg.Match(collect(), s)
	}
}

// runList is the run file of a client, opened when it is first needed.
type runList struct {
	dir  string
	mu   sync.Mutex
	file *runfile.File
}

// note is an entry of the run file; the nil note is none.
type note struct{ entry *runfile.Entry }

// begin notes what is about to be made. The error says that the list can't
// be kept; nothing has been changed then.
func (l *runList) begin(kind string, fields ...runfile.Field) (*note, error) {
	if l == nil || l.dir == "" {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		f, err := runfile.Open(l.dir, "dm")
		if err != nil {
			return nil, runFileError(err)
		}
		l.file = f
	}
	e, err := l.file.Begin(append([]runfile.Field{runfile.F("what", kind)}, fields...)...)
	if err != nil {
		return nil, runFileError(err)
	}
	return &note{e}, nil
}

func runFileError(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return &Error{Detail: "the list of what a kill would leave can't be kept; see WithRunDir", Err: opaque{err}}
}

func (n *note) add(fields ...runfile.Field) {
	if n != nil {
		n.entry.Note(fields...) // the entry stands without it, only less exact
	}
}

func (n *note) end() {
	if n != nil {
		n.entry.End() // at worst Recover finds it and sees that all is well
	}
}

func (l *runList) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, runfile.ErrOpenEntries) {
		return nil
	}
	return err
}

// identity is what tells a device from a later one with the same number.
func (h *host) identity(dev Dev) []runfile.Field {
	fields := []runfile.Field{runfile.F("dev", dev.String())}
	if seq, err := h.sysfs.DiskSeq(dev.Major, dev.Minor); err == nil {
		fields = append(fields, runfile.F("diskseq", strconv.FormatUint(seq, 10)))
	}
	return fields
}

// heldNotes are the notes of devices that a caller suspended and has not
// resumed yet.
type heldNotes struct {
	mu    sync.Mutex
	notes map[Dev]*note
}

func (h *heldNotes) keep(dev Dev, n *note) {
	if n == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.notes == nil {
		h.notes = map[Dev]*note{}
	}
	h.notes[dev].end() // of a suspend that raced with this one
	h.notes[dev] = n
}

// any reports whether this client holds a device suspended.
func (h *heldNotes) any() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.notes) > 0
}

// loaded notes a table that is put into the inactive slot of a held device,
// so that Recover knows it from another one's.
func (h *heldNotes) loaded(dev Dev, shape string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notes[dev].add(runfile.F("shape", shape))
}

// forget ends the note of a device that runs again or is gone.
func (h *heldNotes) forget(dev Dev) {
	h.mu.Lock()
	n := h.notes[dev]
	delete(h.notes, dev)
	h.mu.Unlock()
	n.end()
}

// release ends all notes: a client that is closed in good order leaves its
// devices suspended on purpose.
func (h *heldNotes) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.notes {
		n.end()
	}
	h.notes = nil
}
