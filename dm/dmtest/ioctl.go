// SPDX-License-Identifier: MIT

package dmtest

import (
	"errors"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// command is one entry of _ioctls in dm-ioctl.c.
type command struct {
	run         func(t *Transport, p *param) error
	globalEvent bool // IOCTL_FLAGS_ISSUE_GLOBAL_EVENT
}

var commands = [dmwire.NumCommands]command{
	dmwire.CmdRemoveAll:     {(*Transport).removeAll, true},
	dmwire.CmdListDevices:   {(*Transport).listDevices, false},
	dmwire.CmdCreate:        {(*Transport).devCreate, true},
	dmwire.CmdRemove:        {onDevice((*Transport).devRemove), true},
	dmwire.CmdRename:        {(*Transport).devRename, true},
	dmwire.CmdSuspend:       {onDevice((*Transport).devSuspend), false},
	dmwire.CmdStatus:        {onDevice((*Transport).devStatus), false},
	dmwire.CmdWait:          {onDevice((*Transport).devWait), false},
	dmwire.CmdLoad:          {(*Transport).tableLoad, false},
	dmwire.CmdClear:         {onDevice((*Transport).tableClear), false},
	dmwire.CmdDeps:          {onDevice((*Transport).tableDeps), false},
	dmwire.CmdTableStatus:   {onDevice((*Transport).tableStatus), false},
	dmwire.CmdListVersions:  {(*Transport).listVersions, false},
	dmwire.CmdMessage:       {onDevice((*Transport).targetMessage), false},
	dmwire.CmdSetGeometry:   {onDevice((*Transport).setGeometry), false},
	dmwire.CmdArmPoll:       {(*Transport).armPoll, false},
	dmwire.CmdTargetVersion: {(*Transport).targetVersion, false},
}

// onDevice finds the device of a command and runs it with mu held; a command
// that sleeps gives mu back meanwhile.
func onDevice(run func(t *Transport, d *device, p *param) error) func(*Transport, *param) error {
	return func(t *Transport, p *param) error {
		t.k.mu.Lock()
		defer t.k.mu.Unlock()
		d := t.k.find(p)
		if d == nil {
			return ENXIO
		}
		return run(t, d, p)
	}
}

// Ioctl does what ioctl(2) on the control node does with a buffer. It
// returns nil or a syscall.Errno with a Linux number. Calls may run at the
// same time; DEV_WAIT and suspends sleep without hindering others.
func (t *Transport) Ioctl(request uint32, buf []byte) error {
	k := t.k
	if t.isClosed() {
		return EBADF
	}
	k.mu.Lock()
	admin := k.admin
	k.mu.Unlock()
	if !admin {
		return EACCES
	}
	if request>>8&0xff != 0xfd {
		return ENOTTY
	}
	cmd := dmwire.Command(request & 0xff)
	if len(buf) < 12 {
		return EFAULT
	}
	// check_version: the kernel's version is written whatever comes.
	asked := dmwire.ParseVersion(buf)
	dmwire.PutVersion(buf, k.version)
	if asked.Major != k.version.Major || asked.Minor > k.version.Minor {
		k.Log(logIoctl, "ioctl interface mismatch: kernel(%d.%d.%d), user(%d.%d.%d), cmd(%d)",
			k.version.Major, k.version.Minor, k.version.Patch, asked.Major, asked.Minor, asked.Patch, cmd)
		return EINVAL
	}
	if cmd == dmwire.CmdVersion {
		return t.versionHooks(buf)
	}
	since := cmd.Since()
	if int(cmd) >= dmwire.NumCommands || !k.version.AtLeast(since.Major, since.Minor) {
		k.Log(logIoctl, "dm_ctl_ioctl: unknown command 0x%x", request)
		return ENOTTY
	}
	p, err := t.copyParams(cmd, buf)
	if err != nil {
		return err
	}
	if err := k.validate(cmd, p); err != nil {
		return err
	}
	call := t.newCall(cmd, p, buf)
	if err := k.runHooks(&k.before, call); err != nil {
		return err
	}
	p.setDataSize(dmwire.MinSize)
	err = commands[cmd].run(t, p)
	if err == nil && commands[cmd].globalEvent {
		k.mu.Lock()
		k.issueGlobalEvent()
		k.mu.Unlock()
	}
	if call.Err = err; err == errNoCopy {
		call.Err = nil
	}
	if hooked := k.runHooks(&k.after, call); hooked != nil {
		return hooked
	}
	if err == errNoCopy {
		return nil
	}
	if err != nil {
		return err
	}
	if p.dataSize() > len(buf) {
		return EFAULT
	}
	copy(buf, p.b[:p.dataSize()])
	return nil
}

// errNoCopy is the outcome of a command that returns a positive number: the
// program sees success, and nothing is copied back.
var errNoCopy = errors.New("nothing is copied back")

func (t *Transport) versionHooks(buf []byte) error {
	// VERSION looks at nothing but the version, so neither do the hooks.
	call := &Call{Transport: t, Command: dmwire.CmdVersion.String()}
	if err := t.k.runHooks(&t.k.before, call); err != nil {
		return err
	}
	return t.k.runHooks(&t.k.after, call)
}

// copyParams is copy_params of dm-ioctl.c.
func (t *Transport) copyParams(cmd dmwire.Command, buf []byte) (*param, error) {
	if len(buf) < dmwire.MinSize {
		return nil, EFAULT
	}
	p := &param{b: buf}
	given := p.u32(offDataSize)
	if given < dmwire.MinSize || given > dmwire.MaxBuffer {
		t.k.Log(logIoctl, "Invalid data size in the ioctl structure: %d", given)
		return nil, EINVAL
	}
	secure := p.has(dmwire.SecureData)
	if cmd.NoParams() {
		p = &param{b: make([]byte, dmwire.HeaderSize), size: dmwire.MinSize}
		copy(p.b, buf[:dmwire.MinSize])
		p.setDataSize(dmwire.MinSize)
	} else {
		if int(given) > len(buf) {
			return nil, EFAULT
		}
		p = &param{b: make([]byte, given), size: int(given)}
		copy(p.b, buf)
	}
	if secure {
		// The caller's copy must not outlive the call; the header is
		// written over the zeros at the end, when the call succeeds.
		clear(buf[:p.size])
	}
	return p, nil
}

// validate is validate_params of dm-ioctl.c.
func (k *Kernel) validate(cmd dmwire.Command, p *param) error {
	p.unset(dmwire.BufferFull | dmwire.UeventGenerated | dmwire.SecureData | dmwire.DataOut)
	switch cmd {
	case dmwire.CmdRemoveAll, dmwire.CmdListDevices, dmwire.CmdListVersions:
		return nil
	case dmwire.CmdCreate:
		if p.b[offName] == 0 {
			k.Log(logIoctl, "name not supplied when creating device")
			return EINVAL
		}
	default:
		if p.b[offUUID] != 0 && p.b[offName] != 0 {
			k.Log(logIoctl, "only supply one of name or uuid, cmd(%d)", cmd)
			return EINVAL
		}
	}
	// A name of 128 bytes is cut to 127 without a word.
	p.b[offUUID-1] = 0
	p.b[dmwire.MinSize-1] = 0
	return nil
}

// find is __find_device_hash_cell of dm-ioctl.c: it also writes the name and
// the uuid into the answer. Called with mu held.
func (k *Kernel) find(p *param) *device {
	var d *device
	name, uuid, dev := p.name(), p.uuid(), p.dev()
	switch {
	case uuid != "":
		if name != "" || dev != 0 {
			k.logLocked(sprintf("device-mapper: ioctl: Invalid ioctl structure: uuid %s, name %s, dev %x", uuid, name, dev))
			return nil
		}
		d = k.uuids[uuid]
	case name != "":
		if dev != 0 {
			k.logLocked(sprintf("device-mapper: ioctl: Invalid ioctl structure: name %s, dev %x", name, dev))
			return nil
		}
		d = k.names[name]
	case dev != 0:
		major, minor := splitDev(dev)
		if major == k.major {
			d = k.devices[minor]
		}
		if d != nil && !d.hashed {
			d = nil
		}
	}
	if d == nil {
		return nil
	}
	p.setName(d.name)
	p.setUUID(d.uuid)
	p.setIf(d.next != nil, dmwire.InactivePresent)
	return d
}

// devStatusInto is __dev_status of dm-ioctl.c. Called with mu held.
func (d *device) devStatusInto(p *param) {
	p.unset(dmwire.Suspend | dmwire.ReadOnly | dmwire.ActivePresent | dmwire.InternalSuspend)
	if d.suspended {
		p.set(dmwire.Suspend)
	}
	if d.deferred {
		p.set(dmwire.DeferredRemove)
	}
	p.setDev(d.dev())
	p.setU32(offOpenCount, uint32(d.openCount))
	p.setU32(offEventNr, d.eventNr)
	p.setU32(offTargetCount, 0)
	inactive := p.has(dmwire.QueryInactive)
	if d.live != nil {
		if !inactive {
			if d.readOnly {
				p.set(dmwire.ReadOnly)
			}
			p.setU32(offTargetCount, uint32(len(d.live.targets)))
		}
		p.set(dmwire.ActivePresent)
	}
	if inactive && d.hashed && d.next != nil {
		if d.next.readOnly() {
			p.set(dmwire.ReadOnly)
		}
		p.setU32(offTargetCount, uint32(len(d.next.targets)))
	}
}
