// SPDX-License-Identifier: MIT

package dmtest

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// Kernel is one pretended kernel: its device-mapper driver, the plain block
// devices beneath and the kernel log. Instances share nothing.
//
// The zero value is not usable; call [New]. All methods are safe for
// concurrent use.
type Kernel struct {
	version dmwire.Version
	major   uint32
	clock   func() time.Time
	booted  time.Time

	// mu guards everything below and the fields of the devices. It is
	// never held while a target model, a hook or a waiter runs, so these
	// may call back into the Kernel.
	mu   sync.Mutex
	wake chan struct{} // closed and replaced at every change that someone may wait for

	admin       bool
	globalEvent uint32
	devices     map[uint32]*device // by minor
	names       map[string]*device
	uuids       map[string]*device
	created     uint64 // orders equal hash buckets
	disks       map[uint64]*Disk
	paths       map[string]*Disk
	targets     []*registeredTarget // in the order of registration
	origins     map[uint64]*originGroup
	holdMerges  bool
	holdResyncs bool
	thin        thinPools // has its own lock
	background  background

	log     []string
	logBase int // lines dropped from the head of log

	before, after []*hook
	uevents       []Uevent
	onUevent      func(Uevent)
}

// Option changes a new Kernel.
type Option func(*Kernel)

// WithVersion sets the version of the ioctl interface, 4.47.0 by default
// (Linux 6.1). Commands, list records and filters that came later than the
// given version are absent; 4.43.0 is Linux 5.10 and 4.48.0 Linux 6.12.
func WithVersion(major, minor, patch uint32) Option {
	return func(k *Kernel) { k.version = dmwire.Version{Major: major, Minor: minor, Patch: patch} }
}

// WithMajor sets the block major of device-mapper devices, 254 by default.
// The real one is dynamic: mostly 254 or 253.
func WithMajor(major uint32) Option { return func(k *Kernel) { k.major = major } }

// WithTargets replaces the target models that a new Kernel knows. The
// default is [Targets].
func WithTargets(models ...Target) Option {
	return func(k *Kernel) {
		k.targets = nil
		for _, m := range models {
			k.targets = append(k.targets, &registeredTarget{Target: m, loaded: !m.Autoload})
		}
	}
}

// New makes a Kernel without devices and disks.
func New(opts ...Option) *Kernel {
	k := &Kernel{
		version: dmwire.Version{Major: 4, Minor: 47},
		major:   254,
		clock:   time.Now,
		wake:    make(chan struct{}),
		admin:   true,
		devices: map[uint32]*device{},
		names:   map[string]*device{},
		uuids:   map[string]*device{},
		disks:   map[uint64]*Disk{},
		paths:   map[string]*Disk{},
		origins: map[uint64]*originGroup{},
		thin:    thinPools{timeout: 60 * time.Second},
	}
	for _, o := range opts {
		o(k)
	}
	k.booted = k.clock()
	if k.targets == nil {
		v := k.version
		WithTargets(Targets(v.Major, v.Minor)...)(k)
	}
	return k
}

// SetAdmin says whether the callers have CAP_SYS_ADMIN. Without it every
// ioctl, VERSION too, is refused with EACCES before the version is written.
func (k *Kernel) SetAdmin(has bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.admin = has
}

// Major is the block major of device-mapper devices.
func (k *Kernel) Major() uint32 { return k.major }

// broadcast wakes everyone who waits for a change. Called with mu held.
func (k *Kernel) broadcast() {
	close(k.wake)
	k.wake = make(chan struct{})
}

// waitUntil waits with mu held until cond holds, and gives mu up meanwhile.
// It returns false when stop was closed first; a nil stop never is.
func (k *Kernel) waitUntil(stop <-chan struct{}, cond func() bool) bool {
	for !cond() {
		ch := k.wake
		k.mu.Unlock()
		stopped := false
		select {
		case <-ch:
		case <-stop:
			stopped = true
		}
		k.mu.Lock()
		if stopped {
			return cond()
		}
	}
	return true
}

// issueGlobalEvent is dm_issue_global_event of dm-ioctl.c: what poll on the
// control node waits for. Called with mu held.
func (k *Kernel) issueGlobalEvent() {
	k.globalEvent++
	k.broadcast()
}

// sortedDevices are the devices that have a name, in the order in which the
// kernel walks them. Called with mu held.
func (k *Kernel) sortedDevices() []*device {
	list := make([]*device, 0, len(k.names))
	for _, d := range k.names {
		list = append(list, d)
	}
	if k.version.AtLeast(4, 45) {
		// A tree ordered by strcmp since Linux 5.13.
		slices.SortFunc(list, func(a, b *device) int { return strings.Compare(a.name, b.name) })
		return list
	}
	// 64 hash buckets before; each grows at its head.
	slices.SortFunc(list, func(a, b *device) int {
		if x, y := nameBucket(a.name), nameBucket(b.name); x != y {
			return int(x) - int(y)
		}
		if a.linked > b.linked {
			return -1
		}
		return 1
	})
	return list
}

// nameBucket is hash_str of dm-ioctl.c up to Linux 5.12.
func nameBucket(name string) uint32 {
	h := uint32(0)
	for i := range len(name) {
		h = (h + uint32(int32(int8(name[i])))) * 2654435387
	}
	return h & 63
}
