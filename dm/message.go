// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// Message sends a message to the target that maps the sector, or to the
// device itself when it starts with '@' (DM_TARGET_MSG), and returns the
// answer, which most targets leave empty. A message whose answer does not
// fit the buffer is sent again with a larger one, as libdevmapper does.
// [Client.StatsPrint] and its like are for statistics.
//
// The key in "key set" to a crypt target is kept out of errors.
func (c *Client) Message(ctx context.Context, ref Ref, sector Sectors, text string) (string, error) {
	if text == "" || strings.IndexByte(text, 0) >= 0 {
		return "", fail("message", ref, &Error{Code: einval, Detail: "empty message, or a NUL in it"})
	}
	return run(ctx, c, "message", ref, func(context.Context) (answer string, err error) {
		r := request{
			cmd: dmwire.CmdMessage, ref: ref, reply: true, keys: messageSecrets(text),
			size: dmwire.MessageSize(text),
			put:  func(b []byte) error { dmwire.PutMessage(b, uint64(sector), text); return nil },
		}
		noTable := false
		err = c.explained(r, func(h *dmwire.Header, payload []byte) error {
			if text[0] != '@' && h.Flags&dmwire.ActivePresent == 0 {
				// The kernel answers a positive number and nothing else when
				// there is no target that could take the message.
				noTable = true
				return nil
			}
			if h.Flags&dmwire.DataOut == 0 {
				return nil
			}
			answer, err = dmwire.ParseString(payload)
			return err
		})
		if err == nil && noTable {
			err = &Error{Code: einval, Err: errNoTable}
		}
		return answer, err
	})
}

// Geometry is the legacy geometry that BIOS partitioning tools read.
type Geometry struct {
	Cylinders uint16
	Heads     uint8
	Sectors   uint8 // a track
	Start     Sectors
}

// SetGeometry sets the geometry of a device (DM_DEV_SET_GEOMETRY). The kernel
// wants the start to be below cylinders × heads × sectors, and a live table.
func (c *Client) SetGeometry(ctx context.Context, ref Ref, g Geometry) error {
	text := num(uint(g.Cylinders)) + " " + num(g.Heads) + " " + num(g.Sectors) + " " + num(g.Start)
	return run0(ctx, c, "set geometry", ref, func(context.Context) error {
		return c.explained(request{
			cmd: dmwire.CmdSetGeometry, ref: ref, size: len(text) + 1,
			put: func(b []byte) error { copy(b, text); return nil },
		}, nil)
	})
}

// ReadAhead is how much the kernel reads ahead on a device.
func (c *Client) ReadAhead(ctx context.Context, ref Ref) (Sectors, error) {
	return run(ctx, c, "read-ahead", ref, func(context.Context) (Sectors, error) {
		path, err := c.readAheadFile(ref)
		if err != nil {
			return 0, err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		kib, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
		return Sectors(kib * 2), err
	})
}

// SetReadAhead sets how much the kernel reads ahead, rounded up to whole
// KiB. It goes through sysfs, because opening the node for it would make
// udev look at the device again.
func (c *Client) SetReadAhead(ctx context.Context, ref Ref, n Sectors) error {
	return run0(ctx, c, "set read-ahead", ref, func(context.Context) error {
		info, err := c.info(ref)
		if err != nil {
			return err
		}
		return c.setReadAhead(info.Dev, n)
	})
}

func (c *Client) setReadAhead(dev Dev, n Sectors) error {
	path, err := c.readAheadFile(dev)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(num((n+1)/2)), 0); err != nil {
		return &Error{Detail: "read-ahead", Err: opaque{err}}
	}
	return nil
}

// readAheadFile is the file of the device's queue; block/blk-sysfs.c counts
// in KiB there.
func (c *Client) readAheadFile(ref Ref) (string, error) {
	if !c.host.live {
		return "", &Error{Detail: "read-ahead belongs to the kernel's block layer", Err: errors.ErrUnsupported}
	}
	info, err := c.info(ref)
	if err != nil {
		return "", err
	}
	dir, err := c.host.sysfs.Dir(info.Dev.Major, info.Dev.Minor)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "queue", "read_ahead_kb"), nil
}
