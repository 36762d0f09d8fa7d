// SPDX-License-Identifier: MIT

package dmtest

import (
	"encoding/binary"
	"strings"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// messageHead is the sector in struct dm_target_msg.
const messageHead = 8

// reply is the outcome of a message.
type reply struct {
	text string
	out  bool // there is a text to give back, be it empty
}

func (t *Transport) targetMessage(d *device, p *param) error {
	k := t.k
	text, ok := "", false
	start := p.dataStart()
	if start >= dmwire.MinSize {
		text, ok = p.stringAt(start + messageHead)
	}
	if !ok {
		k.logLocked("device-mapper: ioctl: Invalid target message parameters.")
		return EINVAL
	}
	sector := binary.NativeEndian.Uint64(p.b[start:])
	argv := splitArgs(text)
	if len(argv) == 0 {
		k.logLocked("device-mapper: ioctl: Empty message received.")
		return EINVAL
	}
	out := p.result()
	var r reply
	var err error
	if strings.HasPrefix(argv[0], "@") {
		r, err = d.coreMessage(argv, len(out))
	} else {
		r, err = d.targetMessage(sector, argv)
	}
	if err != nil {
		return err
	}
	d.devStatusInto(p)
	if !r.out {
		return nil
	}
	p.set(dmwire.DataOut)
	if len(out) < 2 || len(r.text) >= len(out)-1 {
		// dm_message_test_buffer_overflow: a text that fills all but the
		// last byte may have been cut.
		p.set(dmwire.BufferFull)
		return nil
	}
	n := copy(out, r.text)
	out[n] = 0
	p.setDataSize(dmwire.HeaderSize + n + 1)
	return nil
}

// coreMessage is message_for_md of dm-ioctl.c. Called with mu held.
func (d *device) coreMessage(argv []string, room int) (reply, error) {
	k := d.k
	if strings.EqualFold(argv[0], "@cancel_deferred_remove") {
		if len(argv) != 1 {
			k.logLocked("device-mapper: ioctl: Invalid arguments for @cancel_deferred_remove")
			return reply{}, EINVAL
		}
		if d.deleting {
			return reply{}, EBUSY
		}
		d.deferred = false
		return reply{}, nil
	}
	if r, known, err := d.statsMessage(argv, room); known {
		return r, err
	}
	k.logLocked("device-mapper: ioctl: Unsupported message sent to DM core: " + argv[0])
	return reply{}, EINVAL
}

// targetMessage hands a message to the target that owns the sector. Called
// with mu held.
func (d *device) targetMessage(sector uint64, argv []string) (reply, error) {
	k := d.k
	live := d.live
	if live == nil {
		return reply{}, errNoCopy
	}
	ti := live.find(sector)
	if ti == nil {
		k.logLocked("device-mapper: ioctl: Target message sector outside device.")
		return reply{}, EINVAL
	}
	m, ok := ti.inst.(Messenger)
	if !ok {
		k.logLocked("device-mapper: ioctl: Target type does not support messages")
		return reply{}, EINVAL
	}
	live.refs++
	var text string
	var err error
	d.unlocked(func() { text, err = m.Message(argv) })
	live.refs--
	k.broadcast()
	if err != nil {
		errno, _ := ctorErrno(err)
		return reply{}, errno
	}
	return reply{text, text != ""}, nil
}
