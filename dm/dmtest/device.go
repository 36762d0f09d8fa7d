// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"strconv"
	"sync"
	"syscall"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// device is struct mapped_device and its struct hash_cell. Its fields are
// guarded by Kernel.mu.
type device struct {
	k      *Kernel
	minor  uint32
	name   string
	uuid   string
	hashed bool   // can be found; false between removal and destruction
	linked uint64 // when it came under its name: the order in a hash bucket

	live, next *table
	suspended  bool
	noflush    bool // a suspend is under way that does not wait for I/O that targets hold
	blocked    bool // I/O is queued: from within a suspend to the end of a resume
	readOnly   bool
	deferred   bool // goes with its last close
	deleting   bool
	registered bool // the disk exists: uevents are sent and it can be opened
	typed      bool // a table was loaded: size checks move to the swap
	requests   bool // the type of that table was request-based
	immutable  string

	openCount int
	eventNr   uint32
	holders   int // sleepers that a removal waits for
	inflight  int // I/O in the live table
	size      uint64
	geometry  [4]uint64
	tableDevs map[tableDevKey]*tableDev
	stats     statsList
	last      statsPosition // of the I/O that statistics saw

	// suspendLock and typeLock of the kernel order suspends, swaps and
	// loads of one device. They are taken with mu not held.
	suspendLock sync.Mutex
	typeLock    sync.Mutex
}

func (d *device) dev() uint64      { return makeDev(d.k.major, d.minor) }
func (d *device) diskName() string { return "dm-" + strconv.Itoa(int(d.minor)) }

// String is "254:0", as the kernel log names the device.
func (d *device) String() string { return fmt.Sprintf("%d:%d", d.k.major, d.minor) }

// locked takes l without holding mu, and then mu again.
func (d *device) locked(l *sync.Mutex) {
	d.k.mu.Unlock()
	l.Lock()
	d.k.mu.Lock()
}

// unlocked runs f, which is a target model's, without mu.
func (d *device) unlocked(f func()) {
	d.k.mu.Unlock()
	defer d.k.mu.Lock()
	f()
}

func (d *device) register() {
	d.registered = true
	d.uevent("add", 0, false)
}

// event is event_callback of dm.c.
func (d *device) event() {
	d.eventNr++
	d.k.issueGlobalEvent()
}

// lockForDeletion is dm_lock_for_deletion of dm.c; false means that the
// device is open, or with onlyDeferred that nobody asked for its removal.
func (d *device) lockForDeletion(markDeferred, onlyDeferred bool) bool {
	switch {
	case d.openCount > 0:
		if markDeferred {
			d.deferred = true
		}
		return false
	case onlyDeferred && !d.deferred:
		return false
	}
	d.deleting = true
	return true
}

// unhash is __hash_remove of dm-ioctl.c: no call finds the device any more.
func (d *device) unhash() {
	k := d.k
	delete(k.names, d.name)
	if d.uuid != "" {
		delete(k.uuids, d.uuid)
	}
	d.hashed = false
	if d.live != nil {
		d.event()
	}
	if d.next != nil {
		next := d.next
		d.next = nil
		next.destroy()
	}
}

// destroy is __dm_destroy of dm.c. It waits for those who sleep in DEV_WAIT
// on the device. A device with a table woke them in unhash; one without
// leaves REMOVE asleep with them, as the real kernel does.
func (d *device) destroy(stop <-chan struct{}) {
	k := d.k
	d.locked(&d.suspendLock)
	if d.live != nil && !d.suspended {
		live := d.live
		d.unlocked(func() { live.presuspend(); live.postsuspend() })
	}
	d.suspended, d.blocked = true, true
	d.suspendLock.Unlock()
	k.broadcast()
	k.waitUntil(stop, func() bool { return d.holders == 0 })
	if live := d.live; live != nil {
		d.live = nil
		live.destroy()
	}
	delete(k.devices, d.minor)
	d.uevent("remove", 0, false) // of del_gendisk
	k.broadcast()
}

// suspend is dm_suspend of dm.c: no I/O runs when it returns. Called with mu
// held, which it gives up meanwhile.
func (d *device) suspend(flags dmwire.Flags, stop <-chan struct{}) error {
	k := d.k
	d.locked(&d.suspendLock)
	defer d.suspendLock.Unlock()
	if d.suspended {
		return nil
	}
	live := d.live
	d.noflush = flags&dmwire.NoFlush != 0
	defer func() { d.noflush = false }()
	if live != nil {
		d.unlocked(live.presuspend)
	}
	d.blocked = true
	if !k.waitUntil(stop, func() bool { return d.inflight == 0 }) {
		d.blocked = false
		if live != nil {
			d.unlocked(live.presuspendUndo)
		}
		k.broadcast()
		return EINTR
	}
	d.suspended = true
	if live != nil {
		d.unlocked(live.postsuspend)
	}
	k.broadcast()
	return nil
}

// resume is dm_resume of dm.c. Called with mu held.
func (d *device) resume() error {
	d.locked(&d.suspendLock)
	defer d.suspendLock.Unlock()
	live := d.live
	if !d.suspended || live == nil || live.size() == 0 {
		return EINVAL
	}
	var err error
	d.unlocked(func() {
		if err = live.preresume(); err == nil {
			live.resume()
		}
	})
	if err != nil {
		return err
	}
	d.suspended, d.blocked = false, false
	d.k.broadcast()
	return nil
}

// swap is dm_swap_table of dm.c: it puts next in and returns the table that
// was there. Called with mu held.
func (d *device) swap(next *table) (old *table, err error) {
	d.locked(&d.suspendLock)
	defer d.suspendLock.Unlock()
	if !d.suspended {
		return nil, EINVAL
	}
	// A table without data devices keeps the limits of the one before.
	if areas := next.areas(); d.live == nil || len(areas) > 0 {
		if err := next.checkLimits(areas); err != nil {
			return nil, err
		}
	}
	old = d.live
	d.live = next
	d.size = next.size()
	d.immutable = next.immutable
	d.k.issueGlobalEvent()
	return old, nil
}

// open is dm_blk_open of dm.c.
func (d *device) open() syscall.Errno {
	if !d.registered || d.deleting {
		return ENXIO
	}
	d.openCount++
	return 0
}

// close is dm_blk_close of dm.c. A removal that waited for it happens at
// once here; the kernel leaves it to a work queue.
func (d *device) close() {
	d.openCount--
	d.k.broadcast()
	if d.openCount == 0 && d.deferred {
		d.k.hashRemoveAll(false, true, nil)
	}
}

// byName finds a device by name, by "major:minor" or as /dev/dm-N. Called
// with mu held.
func (k *Kernel) byName(name string) *device {
	if d := k.names[name]; d != nil {
		return d
	}
	if dev, errno := k.lookupDev(name); errno == 0 {
		if major, minor := splitDev(dev); major == k.major && k.devices[minor] != nil && k.devices[minor].hashed {
			return k.devices[minor]
		}
	}
	return nil
}
