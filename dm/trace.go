// SPDX-License-Identifier: MIT

package dm

import (
	"bytes"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// Trace is one ioctl: the bytes that were sent and those that came back,
// each a struct dm_ioctl and its payload. Keys in tables and messages are
// overwritten with 'x'.
type Trace struct {
	Command string // DEV_CREATE, TABLE_LOAD, …
	Request []byte
	Answer  []byte // as long as the driver says it is valid; equal to Request on error but for the version
	Err     error
}

// WithTrace calls f after each ioctl, from the goroutine that made it. Calls
// made while devices are held suspended are reported when they run again.
func WithTrace(f func(Trace)) Option { return func(c *config) { c.trace = f } }

// traced makes the ioctl and reports it.
func (c *Client) traced(cmd dmwire.Command, buf []byte) error {
	if c.trace == nil {
		return c.t.Ioctl(cmd.Request(), buf)
	}
	tr := Trace{Command: cmd.String(), Request: mask(cmd, buf, true)}
	tr.Err = c.t.Ioctl(cmd.Request(), buf)
	answer := buf
	if h, err := dmwire.ParseHeader(buf); err == nil && tr.Err == nil {
		answer = buf[:min(int(h.DataSize), len(buf))]
	}
	tr.Answer = mask(cmd, answer, false)
	if !c.quiet.keep(func() { c.trace(tr) }) {
		c.trace(tr)
	}
	return tr.Err
}

// mask copies the buffer without the secrets in its payload.
func mask(cmd dmwire.Command, buf []byte, sent bool) []byte {
	out := bytes.Clone(buf)
	h, err := dmwire.ParseHeader(out)
	if err != nil || int(h.DataStart) >= len(out) {
		return out
	}
	payload := out[h.DataStart:]
	var secret []string
	switch cmd {
	case dmwire.CmdLoad:
		specs, _ := dmwire.ParseLoad(payload, h.TargetCount)
		secret = specSecrets(specs)
	case dmwire.CmdTableStatus, dmwire.CmdWait:
		if !sent {
			specs, err := dmwire.ParseStatus(payload, h.TargetCount)
			if err != nil || h.Flags&dmwire.BufferFull != 0 {
				// What can't be read can't be masked.
				clear(payload)
			}
			secret = specSecrets(specs)
		}
	case dmwire.CmdMessage:
		_, text, _ := dmwire.ParseMessage(payload)
		secret = messageSecret(text)
	}
	for _, s := range secret {
		for {
			i := bytes.Index(payload, []byte(s))
			if i < 0 {
				break
			}
			for j := range s {
				payload[i+j] = 'x'
			}
			if s == string(payload[i:i+len(s)]) {
				break // a key of nothing but x
			}
		}
	}
	return out
}

func specSecrets(specs []dmwire.Spec) []string {
	var found []string
	for _, s := range specs {
		found = append(found, secrets(s.Type, s.Params)...)
	}
	return found
}
