// SPDX-License-Identifier: MIT

package dmtest

import (
	"math"
	"strings"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// checkName is check_name of dm-ioctl.c.
func (k *Kernel) checkName(name string) error {
	if strings.Contains(name, "/") {
		text := "invalid device name"
		if k.version.AtLeast(4, 48) {
			text = "device name cannot contain '/'"
		}
		k.Log(logIoctl, "%s", text)
		return EINVAL
	}
	// Linux 6.3 reserved the names of the directory's own entries.
	if k.version.AtLeast(4, 48) && (name == "control" || name == "." || name == "..") {
		k.Log(logIoctl, `device name cannot be "%s", "%s", or "%s"`, "control", ".", "..")
		return EINVAL
	}
	return nil
}

func (t *Transport) devCreate(p *param) error {
	k := t.k
	name, uuid := p.name(), p.uuid()
	if err := k.checkName(name); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var minor uint32
	if p.has(dmwire.PersistentDev) {
		// The major number of the request is not looked at.
		_, minor = splitDev(p.dev())
		if minor >= 1<<20 || k.devices[minor] != nil {
			return ENXIO // alloc_dev fails without its reason
		}
	} else {
		for k.devices[minor] != nil {
			minor++
		}
	}
	if k.names[name] != nil || uuid != "" && k.uuids[uuid] != nil {
		return EBUSY
	}
	k.created++
	d := &device{
		k: k, minor: minor, name: name, uuid: uuid, hashed: true,
		linked: k.created, tableDevs: map[tableDevKey]*tableDev{},
		last: statsPosition{sector: math.MaxUint64},
	}
	k.devices[minor] = d
	k.names[name] = d
	if uuid != "" {
		k.uuids[uuid] = d
	}
	if !k.lateDisk() {
		d.register()
	}
	p.unset(dmwire.InactivePresent)
	d.devStatusInto(p)
	k.broadcast()
	return nil
}

// lateDisk says whether the disk of a device comes to be with its first
// table and not at DEV_CREATE. That came in Linux 5.15, whose interface
// version is the one of 5.13.
func (k *Kernel) lateDisk() bool { return k.version.AtLeast(4, 45) }

func (t *Transport) devRemove(d *device, p *param) error {
	deferred := p.has(dmwire.DeferredRemove)
	if !d.lockForDeletion(deferred, false) {
		if deferred {
			return nil
		}
		return EBUSY
	}
	d.unhash()
	p.unset(dmwire.DeferredRemove)
	if d.uevent("remove", p.eventNr(), false) {
		p.set(dmwire.UeventGenerated)
	}
	d.destroy(t.closed)
	return nil
}

func (t *Transport) removeAll(p *param) error {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hashRemoveAll(p.has(dmwire.DeferredRemove), false, t.closed)
	p.setDataSize(0)
	return nil
}

// hashRemoveAll is dm_hash_remove_all of dm-ioctl.c: again from the start
// behind every device that went, because one may have used another. Called
// with mu held.
func (k *Kernel) hashRemoveAll(markDeferred, onlyDeferred bool, stop <-chan struct{}) {
	for {
		skipped, again := 0, false
		for _, d := range k.sortedDevices() {
			if !d.lockForDeletion(markDeferred, onlyDeferred) {
				skipped++
				continue
			}
			d.unhash()
			d.destroy(stop)
			again = true
			break
		}
		if !again {
			if skipped > 0 && !onlyDeferred {
				k.logLocked(sprintf("device-mapper: ioctl: remove_all left %d open device(s)", skipped))
			}
			return
		}
	}
}

func (t *Transport) devRename(p *param) error {
	k := t.k
	setUUID := p.has(dmwire.UUIDFlag)
	longest, what := dmwire.NameLen-1, "name"
	if setUUID {
		longest, what = dmwire.UUIDLen-1, "uuid"
	}
	to, ok := "", false
	if p.dataStart() >= dmwire.MinSize {
		to, ok = p.stringAt(p.dataStart())
	}
	if !ok || to == "" || len(to) > longest {
		k.Log(logIoctl, "Invalid new mapped device name or uuid string supplied.")
		return EINVAL
	}
	if !setUUID {
		if err := k.checkName(to); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	from := p.name()
	if setUUID && k.uuids[to] != nil || !setUUID && k.names[to] != nil {
		k.logLocked(sprintf("device-mapper: ioctl: Unable to change %s on mapped device %s to one that already exists: %s", what, from, to))
		return EBUSY
	}
	// By name only: a uuid or a device number finds nothing.
	d := k.names[from]
	if d == nil {
		extra := ""
		if setUUID {
			extra = "uuid "
		}
		k.logLocked(sprintf("device-mapper: ioctl: Unable to rename non-existent device, %s to %s%s", from, extra, to))
		return ENXIO
	}
	if setUUID && d.uuid != "" {
		k.logLocked(sprintf("device-mapper: ioctl: Unable to change uuid of mapped device %s to %s because uuid is already set to %s", from, to, d.uuid))
		return EINVAL
	}
	if setUUID {
		d.uuid = to
		k.uuids[to] = d
	} else {
		delete(k.names, d.name)
		d.name = to
		k.names[to] = d
		k.created++
		d.linked = k.created
	}
	if d.live != nil {
		d.event()
	}
	if d.uevent("change", p.eventNr(), false) {
		p.set(dmwire.UeventGenerated)
	}
	d.devStatusInto(p)
	return nil
}

func (t *Transport) devStatus(d *device, p *param) error {
	d.devStatusInto(p)
	return nil
}

func (t *Transport) devSuspend(d *device, p *param) error {
	if p.has(dmwire.Suspend) {
		return t.doSuspend(d, p)
	}
	return t.doResume(d, p)
}

func (t *Transport) doSuspend(d *device, p *param) error {
	if !d.suspended {
		if err := d.suspend(p.flags(), t.closed); err != nil {
			return err
		}
	}
	d.devStatusInto(p)
	return nil
}

func (t *Transport) doResume(d *device, p *param) error {
	next := d.next
	d.next = nil
	p.unset(dmwire.InactivePresent)
	var old *table
	resize := false
	if next != nil {
		if !d.suspended {
			d.suspend(p.flags(), t.closed) // its outcome shows at the swap
		}
		before := d.size
		var err error
		old, err = d.swap(next)
		if err != nil {
			// The new table is lost and the device stays suspended.
			next.destroy()
			return err
		}
		resize = before != 0 && d.size != 0 && before != d.size
		d.readOnly = next.readOnly()
	}
	var err error
	if d.suspended {
		if err = d.resume(); err == nil && d.uevent("change", p.eventNr(), resize) {
			p.set(dmwire.UeventGenerated)
		}
	}
	if old != nil {
		old.destroy()
	}
	if err != nil {
		return err
	}
	d.devStatusInto(p)
	return nil
}

func (t *Transport) armPoll(*param) error {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	t.cursor = k.globalEvent
	return nil
}

func (t *Transport) setGeometry(d *device, p *param) error {
	k := t.k
	text, ok := "", false
	if p.dataStart() >= dmwire.MinSize {
		text, ok = p.stringAt(p.dataStart())
	}
	if !ok {
		k.logLocked("device-mapper: ioctl: Invalid geometry supplied.")
		return EINVAL
	}
	g, ok := scanGeometry(text)
	if !ok {
		k.logLocked("device-mapper: ioctl: Unable to interpret geometry settings.")
		return EINVAL
	}
	if g[0] > 65535 || g[1] > 255 || g[2] > 255 {
		k.logLocked("device-mapper: ioctl: Geometry exceeds range limits.")
		return EINVAL
	}
	if g[3] > g[0]*g[1]*g[2] {
		k.logLocked("device-mapper: core: Start sector is beyond the geometry limits.")
		return EINVAL
	}
	d.geometry = g
	p.setDataSize(0) // nothing comes back
	return nil
}

// scanGeometry is sscanf(text, "%lu %lu %lu %lu%c") == 4.
func scanGeometry(text string) (g [4]uint64, ok bool) {
	rest := text
	for i := range g {
		rest = strings.TrimLeft(rest, " \t\n\v\f\r")
		n := 0
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			g[i] = g[i]*10 + uint64(rest[n]-'0')
			n++
		}
		if n == 0 {
			return g, false
		}
		rest = rest[n:]
	}
	return g, rest == ""
}
