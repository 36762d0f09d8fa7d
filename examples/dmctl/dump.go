// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// dumper prints ioctls.
type dumper struct {
	w io.Writer

	mu sync.Mutex
	n  int
}

// trace is the callback of dm.WithTrace. Calls come from many goroutines; one
// is printed at a time, in one piece.
func (d *dumper) trace(tr dm.Trace) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
	var b strings.Builder
	fmt.Fprintf(&b, "#%d > %s\n", d.n, tr.Command)
	dumpBuffer(&b, tr.Command, tr.Request, true)
	errno := syscall.Errno(0)
	switch {
	case errors.As(tr.Err, &errno):
		// Linux's number, also from a double on another system.
		fmt.Fprintf(&b, "#%d < errno %d\n", d.n, int(errno))
	case tr.Err != nil:
		fmt.Fprintf(&b, "#%d < error: %v\n", d.n, tr.Err)
	default:
		fmt.Fprintf(&b, "#%d < ok\n", d.n)
		dumpBuffer(&b, tr.Command, tr.Answer, false)
	}
	io.WriteString(d.w, b.String())
}

// dumpBuffer prints a struct dm_ioctl field by field, and its payload.
func dumpBuffer(b *strings.Builder, command string, buf []byte, sent bool) {
	h, err := dmwire.ParseHeader(buf)
	if err != nil {
		fmt.Fprintf(b, "     %v\n", err)
		return
	}
	fmt.Fprintf(b, "     version %s  data_size %d  data_start %d  target_count %d  open_count %d\n",
		versionText(h.Version), h.DataSize, h.DataStart, h.TargetCount, h.OpenCount)
	major, minor := dmwire.SplitDev(h.Dev)
	fmt.Fprintf(b, "     flags %s  %s  dev %d:%d\n", flagNames(h.Flags), eventField(command, h, sent), major, minor)
	if h.Name != "" || h.UUID != "" {
		fmt.Fprintf(b, "     name %q  uuid %q\n", h.Name, h.UUID)
	}
	payload, err := h.Payload(buf)
	if err != nil {
		fmt.Fprintf(b, "     %v\n", err)
		return
	}
	p := decode(command, h, payload, sent)
	for _, l := range p.lines {
		fmt.Fprintf(b, "     %s\n", l)
	}
	hexDump(b, p.bytes, p.hidden)
}

// eventField is the event number, or what requests that make udev act have
// in its place: a cookie and the flags for udev's rules.
func eventField(command string, h dmwire.Header, sent bool) string {
	if sent {
		switch command {
		case "DEV_CREATE", "DEV_REMOVE", "DEV_RENAME", "DEV_SUSPEND":
			return fmt.Sprintf("udev flags 0x%04x cookie 0x%04x", h.EventNr>>16, h.EventNr&0xffff)
		}
	}
	return fmt.Sprintf("event_nr %d", h.EventNr)
}

// flagList is DM_*_FLAG of include/uapi/linux/dm-ioctl.h, interface 4.48.
var flagList = []struct {
	bit  dmwire.Flags
	name string
}{
	{dmwire.ReadOnly, "READONLY"},
	{dmwire.Suspend, "SUSPEND"},
	{dmwire.Exists, "EXISTS"},
	{dmwire.PersistentDev, "PERSISTENT_DEV"},
	{dmwire.StatusTable, "STATUS_TABLE"},
	{dmwire.ActivePresent, "ACTIVE_PRESENT"},
	{dmwire.InactivePresent, "INACTIVE_PRESENT"},
	{dmwire.BufferFull, "BUFFER_FULL"},
	{dmwire.SkipBDGet, "SKIP_BDGET"},
	{dmwire.SkipLockFS, "SKIP_LOCKFS"},
	{dmwire.NoFlush, "NOFLUSH"},
	{dmwire.QueryInactive, "QUERY_INACTIVE_TABLE"},
	{dmwire.UeventGenerated, "UEVENT_GENERATED"},
	{dmwire.UUIDFlag, "UUID"},
	{dmwire.SecureData, "SECURE_DATA"},
	{dmwire.DataOut, "DATA_OUT"},
	{dmwire.DeferredRemove, "DEFERRED_REMOVE"},
	{dmwire.InternalSuspend, "INTERNAL_SUSPEND"},
	{dmwire.IMAMeasurement, "IMA_MEASUREMENT"},
}

func flagNames(f dmwire.Flags) string {
	var names []string
	for _, l := range flagList {
		if f&l.bit != 0 {
			names = append(names, l.name)
			f &^= l.bit
		}
	}
	if f != 0 {
		names = append(names, fmt.Sprintf("0x%x", uint32(f)))
	}
	if len(names) == 0 {
		return "0"
	}
	return strings.Join(names, "|")
}

// hexDump prints 16 bytes a line; a hidden byte is "**".
func hexDump(b *strings.Builder, p []byte, hidden []bool) {
	for off := 0; off < len(p); off += 16 {
		var hex, text strings.Builder
		for i := off; i < off+16; i++ {
			switch {
			case i >= len(p):
				hex.WriteString("   ")
			case hidden[i]:
				hex.WriteString("** ")
				text.WriteByte('*')
			default:
				fmt.Fprintf(&hex, "%02x ", p[i])
				if p[i] < ' ' || p[i] > '~' {
					text.WriteByte('.')
				} else {
					text.WriteByte(p[i])
				}
			}
			if i == off+7 {
				hex.WriteByte(' ')
			}
		}
		fmt.Fprintf(b, "     %04x  %s |%s|\n", off, hex.String(), text.String())
	}
}
