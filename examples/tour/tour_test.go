// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/internal/dmwire"
)

func TestTour(t *testing.T) {
	d := newDouble()
	var out bytes.Buffer
	if code := tour(t.Context(), &out, d, chapters()); code != 0 {
		t.Fatalf("status %d\n%s", code, out.String())
	}
	checkOutput(t, out.String(), "double")
}

// checkOutput holds for every ground: the first column, the table.
func checkOutput(t *testing.T, text, kind string) {
	t.Helper()
	steps, table, found := strings.Cut(text, "\nstep ")
	if !found || !strings.Contains(table, "were as expected on the "+kind) {
		t.Errorf("no table at the end:\n%s", text)
	}
	_, steps, _ = strings.Cut(steps, "\n\n")
	for l := range strings.Lines(steps) {
		if strings.HasPrefix(l, "device-mapper: ") || strings.HasPrefix(l, "dm-raid: ") || l == "\n" {
			continue
		}
		if first, _, _ := strings.Cut(l, " "); first != "image" && first != kind {
			t.Errorf("the line does not say what is real: %q", l)
		}
	}
}

// broken is a double with something wrong.
type broken struct {
	*double
	ioctl func(t *dmtest.Transport, cmd dmwire.Command, h dmwire.Header, request uint32, buf []byte) error
	read  func(p []byte)
}

func (b *broken) openDM(ctx context.Context) (*dm.Client, error) {
	return dm.Open(ctx, dm.WithTransport(&brokenTransport{b.kernel.Transport(), b}))
}

func (b *broken) open(path string) (blockDevice, error) {
	dev, err := b.double.open(path)
	return &brokenDevice{dev, b}, err
}

type brokenTransport struct {
	*dmtest.Transport
	b *broken
}

func (t *brokenTransport) Ioctl(request uint32, buf []byte) error {
	cmd, _ := dmwire.CommandOf(request)
	h, err := dmwire.ParseHeader(buf)
	if err != nil || t.b.ioctl == nil {
		return t.Transport.Ioctl(request, buf)
	}
	return t.b.ioctl(t.Transport, cmd, h, request, buf)
}

type brokenDevice struct {
	blockDevice
	b *broken
}

func (d *brokenDevice) ReadAt(p []byte, off int64) (int, error) {
	n, err := d.blockDevice.ReadAt(p, off)
	if d.b.read != nil {
		d.b.read(p)
	}
	return n, err
}

// TestBroken breaks the ground in ways that the tour must see.
func TestBroken(t *testing.T) {
	type ioctl = func(*dmtest.Transport, dmwire.Command, dmwire.Header, uint32, []byte) error
	// lie answers a command with success and does nothing.
	lie := func(which func(dmwire.Command, dmwire.Header) bool) ioctl {
		return func(t *dmtest.Transport, cmd dmwire.Command, h dmwire.Header, request uint32, buf []byte) error {
			if which(cmd, h) {
				cmd = dmwire.CmdStatus
				request = cmd.Request()
			}
			return t.Ioctl(request, buf)
		}
	}
	var reads, loads atomic.Int64
	for _, c := range []struct {
		name, want string
		b          broken
	}{
		{"a bit flips", "is not what was written", broken{read: func(p []byte) {
			if reads.Add(1) == 2000 {
				p[100] ^= 4
			}
		}}},
		{"no ioctl works", "CAP_SYS_ADMIN", broken{ioctl: func(*dmtest.Transport, dmwire.Command, dmwire.Header, uint32, []byte) error {
			return dmtest.EACCES
		}}},
		{"the fifth load fails", "EIO", broken{ioctl: func(t *dmtest.Transport, cmd dmwire.Command, h dmwire.Header, request uint32, buf []byte) error {
			if cmd == dmwire.CmdLoad && loads.Add(1) == 5 {
				return dmtest.EIO
			}
			return t.Ioctl(request, buf)
		}}},
		{"a swap does nothing", "the live table is", broken{ioctl: lie(func(cmd dmwire.Command, h dmwire.Header) bool {
			return cmd == dmwire.CmdSuspend && h.Name == "" // by number: a reload
		})}},
		{"no device stands on another", "stands on []", broken{ioctl: func(t *dmtest.Transport, cmd dmwire.Command, h dmwire.Header, request uint32, buf []byte) error {
			err := t.Ioctl(request, buf)
			if cmd == dmwire.CmdDeps && err == nil {
				clear(buf[dmwire.HeaderSize:])
			}
			return err
		}}},
		{"a removal does nothing", "left over", broken{ioctl: lie(func(cmd dmwire.Command, h dmwire.Header) bool {
			return cmd == dmwire.CmdRemove && h.Name == "tour-real"
		})}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.b.double = newDouble()
			var out bytes.Buffer
			if code := tour(t.Context(), &out, &c.b, []chapter{&dmChapter{}}); code != 1 {
				t.Errorf("status %d", code)
			}
			if text := out.String(); !strings.Contains(text, "NOT AS EXPECTED: ") || !strings.Contains(text, c.want) || !strings.Contains(text, "not as expected.") {
				t.Errorf("want %q in\n%s", c.want, text)
			}
			// The tour cleans up behind a failure as well.
			client, err := c.b.double.openDM(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if list, err := client.List(t.Context(), dm.ListOptions{}); err != nil || len(list) > 0 {
				t.Errorf("behind it: %v %v", list, err)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := newDouble()
	n := 0
	d.kernel.Hook(func(c *dmtest.Call) error {
		if c.Command == "TABLE_LOAD" {
			if n++; n == 4 {
				cancel()
			}
		}
		return nil
	})
	var out bytes.Buffer
	if code := tour(ctx, &out, d, chapters()); code != 1 || !strings.Contains(out.String(), context.Canceled.Error()) {
		t.Errorf("status %d\n%s", code, out.String())
	}
}
