// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
)

var (
	_ dm.Transport = (*dmtest.Transport)(nil)
	_ dm.System    = (*dmtest.Transport)(nil)

	_ dm.PathProber = (*dmtest.Transport)(nil)
)

// doubleDriver is the conformance suite's view of the double.
func doubleDriver(opts ...dmtest.Option) *driver {
	k := dmtest.New(opts...)
	d := &driver{}
	for i, path := range []string{"/dev/ram0", "/dev/ram1", "/dev/ram2", "/dev/ram3"} {
		k.AddDisk(path, 1, uint32(i), 65536)
		d.disks = append(d.disks, path)
	}
	d.open = func(t *testing.T, opts ...dm.Option) *dm.Client {
		t.Helper()
		c, err := dm.Open(context.Background(), append([]dm.Option{dm.WithTransport(k.Transport())}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	d.modules = func(*testing.T, ...string) {}
	d.hold = func(t *testing.T, name dm.Name) func() {
		t.Helper()
		release, err := k.Hold(string(name))
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	d.discard = func(t *testing.T, name dm.Name, off, n int64) error {
		t.Helper()
		f, err := k.OpenDevice(string(name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return f.Discard(off, n)
	}
	d.noSpaceTimeout = func(t *testing.T, timeout time.Duration) {
		k.SetNoSpaceTimeout(timeout)
		t.Cleanup(func() { k.SetNoSpaceTimeout(time.Minute) })
	}
	d.rw = func(t *testing.T, name dm.Name) rwDevice {
		t.Helper()
		f, err := k.OpenDevice(string(name))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	return d
}

func TestDoubleConformance(t *testing.T) { runConformance(t, doubleDriver(), allCases()) }

// The interfaces of Linux 5.10 and 6.12: an older list, newer targets.
func TestDoubleConformance510(t *testing.T) {
	runConformance(t, doubleDriver(dmtest.WithVersion(4, 43, 0)), allCases())
}

func TestDoubleConformance612(t *testing.T) {
	runConformance(t, doubleDriver(dmtest.WithVersion(4, 48, 0)), allCases())
}

// The interface of Linux 6.16 and later.
func TestDoubleConformance616(t *testing.T) {
	runConformance(t, doubleDriver(dmtest.WithVersion(4, 50, 0)), allCases())
}

// A table that wants a disk that somebody has claimed is busy; the name of
// the device is not taken.
func TestClaimedDisk(t *testing.T) {
	ctx := context.Background()
	k := dmtest.New()
	release, err := k.AddDisk("/dev/sda", 8, 0, 1024).Claim()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	c, err := dm.Open(ctx, dm.WithTransport(k.Transport()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Create(ctx, "x", dm.Table{}.Append(8, dm.Linear{Device: "/dev/sda"}), dm.CreateOptions{})
	wantErr(t, err, dm.ErrBusy, "in use")
	if errors.Is(err, fs.ErrExist) {
		t.Errorf("%v matches fs.ErrExist", err)
	}
	k.AssertClean(t)
}
