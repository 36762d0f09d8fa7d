// SPDX-License-Identifier: MIT

package dm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/linuxblock/linuxblock/internal/dmwire"
	"github.com/linuxblock/linuxblock/internal/fixture"
)

// replay is a Transport that holds each request against what dmsetup sent
// and answers what the kernel answered.
type replay struct {
	t     *testing.T
	calls []fixture.Call
	// mask is taken out of both sides' flags, for differences on purpose.
	mask dmwire.Flags
	seen int
}

func (r *replay) Ioctl(request uint32, buf []byte) error {
	cmd, _ := dmwire.CommandOf(request)
	if len(r.calls) == 0 || r.calls[0].Request != request {
		// Questions that we ask and dmsetup did not.
		h, err := dmwire.ParseHeader(buf)
		if err != nil {
			r.t.Fatal(err)
		}
		switch cmd {
		case dmwire.CmdVersion:
			h.Version = dmwire.Version{Major: 4, Minor: 47}
		case dmwire.CmdStatus:
			h.Flags |= dmwire.ActivePresent
			h.Dev = dmwire.MakeDev(254, 0)
		default:
			r.t.Errorf("unexpected %v", cmd)
			return einval
		}
		return h.Put(buf)
	}
	call := r.calls[0]
	r.calls = r.calls[1:]
	r.seen++
	want := bytes.Clone(call.In)
	got := bytes.Clone(buf)
	normalise(want, r.mask)
	normalise(got, r.mask)
	if !bytes.Equal(got, want) {
		r.t.Errorf("%v (%s): request differs from dmsetup's\n%s", call, call.Label, sideBySide(got, want))
	}
	if call.Out != nil {
		copy(buf, call.Out)
	}
	if call.Ret != 0 {
		return syscall.Errno(call.Errno)
	}
	return nil
}

func (*replay) Wait(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (*replay) Close() error                   { return nil }

// normalise takes out the mask and the random half of a cookie.
func normalise(b []byte, mask dmwire.Flags) {
	ne := binary.NativeEndian
	ne.PutUint32(b[28:], ne.Uint32(b[28:])&^uint32(mask))
	if flags := ne.Uint32(b[32:]) >> 16; flags == 0x60 {
		ne.PutUint32(b[32:], flags<<16)
	}
}

func sideBySide(got, want []byte) string {
	var b strings.Builder
	for off := 0; off < max(len(got), len(want)); off += 16 {
		line := func(p []byte) string {
			if off >= len(p) {
				return ""
			}
			return fmt.Sprintf("%x", p[off:min(off+16, len(p))])
		}
		if g, w := line(got), line(want); g != w {
			fmt.Fprintf(&b, "%5d  got %-32s want %-32s\n", off, g, w)
		}
	}
	return b.String()
}

// What we send is what dmsetup sends, byte for byte, where we mean the same.
// The buffer size is set to libdevmapper's; two flags differ on purpose: the
// list is asked for with uuids, and tables are read as secret data.
func TestRequestsAreThoseOfDmsetup(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the recordings are little-endian")
	}
	ctx := context.Background()
	table := func(text string) Table {
		tab, err := ParseTable(text)
		if err != nil {
			t.Fatal(err)
		}
		return tab
	}
	create := func(name, tab string, o CreateOptions) func(*Client) error {
		return func(c *Client) error {
			var tb Table
			if tab != "" {
				tb = table(tab)
			}
			_, err := c.Create(ctx, Name(name), tb, o)
			return err
		}
	}
	const two = Name(`t\x20two`)
	tests := []struct {
		file string
		mask dmwire.Flags
		skip string // commands of the recording that are dmsetup's own affair
		call func(c *Client) error
		err  error
	}{
		{file: "ioctl/create.txt", call: create("t1", "0 2048 linear /dev/ram0 0", CreateOptions{UUID: "UUID-t1"})},
		{file: "ioctl/create-ro.txt", call: create("t5", "0 1024 zero", CreateOptions{ReadOnly: true})},
		{file: "ioctl/create-notable.txt", call: create("t2", "", CreateOptions{})},
		{file: "ioctl/addnodeoncreate.txt", call: create("t9", "0 8 zero", CreateOptions{})},
		{file: "ioctl/err-exist-create.txt", call: create("t1", "", CreateOptions{}), err: syscall.Errno(16)},
		{file: "ioctl/err-exist-uuid.txt", call: create("t3", "", CreateOptions{UUID: "UUID-t1"}), err: syscall.Errno(16)},
		{file: "ioctl/load.txt", call: func(c *Client) error {
			return c.Load(ctx, Name("t2"), table("0 1024 linear 1:1 0"), LoadOptions{})
		}},
		{file: "ioctl/reload.txt", call: func(c *Client) error {
			return c.Load(ctx, Name("t1"), table("0 4096 linear /dev/ram0 0"), LoadOptions{})
		}},
		{file: "ioctl/clear.txt", call: func(c *Client) error { return c.Clear(ctx, Name("t2")) }},
		{file: "ioctl/suspend.txt", call: func(c *Client) error { return c.suspend(Name("t2"), SuspendOptions{}) }},
		{file: "ioctl/suspend-noflush.txt", call: func(c *Client) error {
			return c.suspend(Name("t2"), SuspendOptions{NoFlush: true, SkipLockFS: true})
		}},
		{file: "ioctl/resume.txt", call: func(c *Client) error { _, err := c.Resume(ctx, Name("t2"), ResumeOptions{}); return err }},
		{file: "ioctl/resume4.txt", call: func(c *Client) error { _, err := c.Resume(ctx, Name("t1"), ResumeOptions{}); return err }},
		{file: "ioctl/remove.txt", call: func(c *Client) error { return c.Remove(ctx, Name("big"), RemoveOptions{}) }},
		{file: "ioctl/err-enxio-remove.txt", call: func(c *Client) error { return c.Remove(ctx, Name("nosuch"), RemoveOptions{}) }, err: enxio},
		{file: "ioctl/rename2.txt", call: func(c *Client) error { return c.Rename(ctx, Name("t2"), two, RenameOptions{}) }},
		{file: "ioctl/err-exist-rename.txt", call: func(c *Client) error { return c.Rename(ctx, Name("t1"), two, RenameOptions{}) }, err: ebusy},
		{file: "ioctl/setuuid.txt", call: func(c *Client) error { return c.SetUUID(ctx, two, "LVM-abc", RenameOptions{}) }},
		{file: "ioctl/setgeometry.txt", call: func(c *Client) error {
			return c.SetGeometry(ctx, Name("t1"), Geometry{Cylinders: 1, Heads: 2, Sectors: 32})
		}},
		{file: "ioctl/info.txt", call: func(c *Client) error { _, err := c.Info(ctx, Name("t1")); return err }},
		{file: "ioctl/err-enxio-info.txt", call: func(c *Client) error { _, err := c.Info(ctx, Name("nosuch")); return err }, err: enxio},
		{file: "ioctl/deps.txt", call: func(c *Client) error { _, err := c.Deps(ctx, Name("t2"), DepsOptions{}); return err }},
		{file: "ioctl/deps-big.txt", call: func(c *Client) error { _, err := c.Deps(ctx, Name("big"), DepsOptions{}); return err }},
		{file: "ioctl/ls.txt", mask: dmwire.UUIDFlag, call: func(c *Client) error { _, err := c.List(ctx, ListOptions{}); return err }},
		{file: "ioctl/targets.txt", call: func(c *Client) error { _, err := c.Versions(ctx); return err }},
		{file: "ioctl/status.txt", call: func(c *Client) error { _, err := c.Status(ctx, Name("t2"), StatusOptions{}); return err }},
		{file: "ioctl/status-noflush.txt", call: func(c *Client) error {
			_, err := c.Status(ctx, Name("t2"), StatusOptions{NoFlush: true})
			return err
		}},
		{file: "ioctl/table.txt", mask: dmwire.SecureData, call: func(c *Client) error { _, err := c.Table(ctx, Name("t2"), StatusOptions{}); return err }},
		{file: "ioctl/load-inactive-table.txt", mask: dmwire.SecureData, call: func(c *Client) error {
			_, err := c.Table(ctx, Name("t2"), StatusOptions{Inactive: true})
			return err
		}},
		{file: "ioctl/measure.txt", call: func(c *Client) error { _, err := c.Measure(ctx, Name("t6")); return err }},
		{file: "ioctl/message-badmsg.txt", call: func(c *Client) error {
			_, err := c.Message(ctx, Name("t1"), 0, "hello world")
			return err
		}, err: einval},
		{file: "ioctl/statslist.txt", call: func(c *Client) error {
			_, err := c.Message(ctx, Name("t1"), 0, "@stats_list")
			return err
		}},
		{file: "ioctl/remove_all.txt", skip: "DEV_STATUS LIST_DEVICES", call: func(c *Client) error {
			return c.RemoveAll(ctx, RemoveAllOptions{Force: true})
		}},
		{file: "ioctl-udev/u-create.txt", call: create("u1", "0 2048 linear 1:0 0", CreateOptions{UUID: "UUID-u1"})},
		{file: "ioctl-udev/busy-deferred.txt", call: func(c *Client) error {
			return c.Remove(ctx, Name("b1"), RemoveOptions{Deferred: true})
		}},
		{file: "ioctl-udev/u-suspend.txt", call: func(c *Client) error { return c.suspend(Name(`u\x202`), SuspendOptions{}) }},
	}
	seen := 0
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			all, err := fixture.Ioctls("testdata/" + tt.file)
			if err != nil {
				t.Fatal(err)
			}
			r := &replay{t: t, mask: tt.mask}
			for _, call := range all {
				if call.Command != "VERSION" && !strings.Contains(tt.skip, call.Command) {
					r.calls = append(r.calls, call)
				}
			}
			c, err := Open(ctx, WithTransport(r))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.least = 16384
			if err := tt.call(c); !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if len(r.calls) > 0 {
				t.Errorf("%d recorded calls were not made, first %v", len(r.calls), r.calls[0])
			}
			seen += r.seen
		})
	}
	if seen < 40 {
		t.Errorf("only %d requests compared", seen)
	}
}

// The recorded minor number was asked for with a major number, which the
// kernel ignores and we leave at 0.
func TestRequestedMinor(t *testing.T) {
	calls, err := fixture.Ioctls("testdata/ioctl/create-minor.txt")
	if err != nil {
		t.Fatal(err)
	}
	var buf []byte
	c := &Client{t: transportFunc(func(req uint32, b []byte) error { buf = bytes.Clone(b); return nil }), version: Version{Major: 4, Minor: 47}, least: 16384}
	if _, err := c.devCreate("t6", CreateOptions{Minor: new(uint32(77))}); err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(calls[1].In)
	binary.NativeEndian.PutUint64(want[40:], 77)
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 && !bytes.Equal(buf, want) {
		t.Error(sideBySide(buf, want))
	}
}

type transportFunc func(uint32, []byte) error

func (f transportFunc) Ioctl(req uint32, buf []byte) error { return f(req, buf) }
func (transportFunc) Wait(ctx context.Context) error       { <-ctx.Done(); return ctx.Err() }
func (transportFunc) Close() error                         { return nil }
