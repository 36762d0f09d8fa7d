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
// made while WhileSuspended holds devices, and those of a swap that the kernel
// refused, are reported when the devices run again.
func WithTrace(f func(Trace)) Option { return func(c *config) { c.trace = f } }

// traced makes the ioctl and reports it.
func (c *Client) traced(r request, buf []byte) error {
	cmd := r.cmd
	if c.trace == nil {
		return c.t.Ioctl(cmd.Request(), buf)
	}
	tr := Trace{Command: cmd.String(), Request: maskValues(mask(cmd, buf, true), r.keys)}
	tr.Err = c.t.Ioctl(cmd.Request(), buf)
	answer := buf
	if h, err := dmwire.ParseHeader(buf); err == nil && tr.Err == nil {
		answer = buf[:min(uint64(h.DataSize), uint64(len(buf)))]
	}
	tr.Answer = maskValues(mask(cmd, answer, false), r.keys)
	if cmd == dmwire.CmdTableStatus && len(c.parsers) > 0 {
		tr.Answer = maskValues(tr.Answer, c.keysIn(answer))
	}
	if !c.quiet.keep(func() { c.trace(tr) }) {
		c.trace(tr)
	}
	return tr.Err
}

// mask copies the buffer without the secrets in its payload.
func mask(cmd dmwire.Command, buf []byte, sent bool) []byte {
	out := bytes.Clone(buf)
	h, err := dmwire.ParseHeader(out)
	if err != nil || uint64(h.DataStart) >= uint64(len(out)) {
		return out
	}
	payload := out[h.DataStart:]
	switch cmd {
	case dmwire.CmdLoad:
		specs, err := dmwire.ParseLoad(payload, h.TargetCount)
		maskSpecs(payload, specs, err)
	case dmwire.CmdTableStatus, dmwire.CmdWait:
		if !sent && h.Flags&dmwire.BufferFull == 0 {
			specs, err := dmwire.ParseStatus(payload, h.TargetCount)
			maskSpecs(payload, specs, err)
		} else if !sent {
			clear(payload)
		}
	case dmwire.CmdMessage:
		_, text, err := dmwire.ParseMessage(payload)
		switch {
		case sent && err == nil:
			maskText(payload, text, messageSpans(text))
		case sent, h.Flags&dmwire.DataOut == 0:
			// Without an answer the buffer still holds the message.
			clear(payload)
		}
	}
	return out
}

// maskSpecs masks a payload of segments; what can't be read can't be masked
// and is cleared.
func maskSpecs(payload []byte, specs []dmwire.Spec, err error) {
	if err != nil {
		clear(payload)
		return
	}
	for _, s := range specs {
		if spans := secretSpans(s.Type, s.Params); len(spans) > 0 {
			// The payload holds the text once for each segment that has it;
			// a second search finds the next, the first being masked.
			maskText(payload, s.Params, spans)
		}
	}
}

func maskText(payload []byte, text string, spans []span) {
	at := bytes.Index(payload, []byte(text))
	if at < 0 {
		clear(payload)
		return
	}
	for _, s := range spans {
		for i := s.start; i < s.end; i++ {
			payload[at+i] = 'x'
		}
	}
}

// maskValues masks keys wherever they stand in a payload.
func maskValues(buf []byte, keys []string) []byte {
	if len(buf) <= dmwire.HeaderSize {
		return buf
	}
	for _, k := range keys {
		payload := buf[dmwire.HeaderSize:]
		for {
			i := bytes.Index(payload, []byte(k))
			if i < 0 || k == "" {
				break
			}
			for j := range k {
				payload[i+j] = 'x'
			}
			payload = payload[i+len(k):]
		}
	}
	return buf
}

// keysIn finds the keys of targets that others brought in a table that the
// kernel printed.
func (c *Client) keysIn(answer []byte) []string {
	h, err := dmwire.ParseHeader(answer)
	if err != nil {
		return nil
	}
	payload, err := h.Payload(answer)
	if err != nil {
		return nil
	}
	specs, err := dmwire.ParseStatus(payload, h.TargetCount)
	if err != nil {
		return nil
	}
	return secretsOf(tableOf(specs, c.parsers))
}
