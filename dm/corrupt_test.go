// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// corrupter passes requests to a double and puts damage into its answers.
type corrupter struct {
	*dmtest.Transport
	damage func(answer []byte)
}

func (c *corrupter) Ioctl(request uint32, buf []byte) error {
	err := c.Transport.Ioctl(request, buf)
	if c.damage != nil {
		c.damage(buf)
	}
	return err
}

// corruptClient has two devices, made before the damage begins.
func corruptClient(t testing.TB) (*dm.Client, *corrupter) {
	k := dmtest.New()
	k.AddDisk("/dev/sda", 8, 0, 1<<16)
	tr := &corrupter{Transport: k.Transport()}
	ctx := context.Background()
	c, err := dm.Open(ctx, dm.WithTransport(tr))
	if err != nil {
		t.Fatal(err)
	}
	tab := dm.Table{}.Append(8, dm.Linear{Device: "/dev/sda"}).Append(8, dm.Zero{})
	for _, n := range []dm.Name{"a", "b"} {
		if _, err := c.Create(ctx, n, tab, dm.CreateOptions{UUID: dm.UUID("U-" + n)}); err != nil {
			t.Fatal(err)
		}
	}
	return c, tr
}

// readers are the calls that decode an answer.
func readers(c *dm.Client) []func() error {
	ctx := context.Background()
	n := dm.Name("a")
	return []func() error{
		func() error { _, err := c.List(ctx, dm.ListOptions{}); return err },
		func() error { _, err := c.Table(ctx, n, dm.StatusOptions{}); return err },
		func() error { _, err := c.Status(ctx, n, dm.StatusOptions{}); return err },
		func() error { _, err := c.Deps(ctx, n, dm.DepsOptions{}); return err },
		func() error { _, err := c.Versions(ctx); return err },
		func() error { _, err := c.TargetVersion(ctx, "linear"); return err },
		func() error { _, err := c.Message(ctx, n, 0, "@stats_list"); return err },
		func() error { _, err := c.Info(ctx, n); return err },
	}
}

// An answer that ends too early or contradicts itself is ErrCorrupt.
func TestCorruptAnswers(t *testing.T) {
	c, tr := corruptClient(t)
	defer c.Close()
	damages := map[string]func([]byte){
		"data_size beyond the buffer": func(b []byte) { binary.NativeEndian.PutUint32(b[12:], 1<<30) },
		"data_start in the header":    func(b []byte) { binary.NativeEndian.PutUint32(b[16:], 8) },
		"payload of 0xff": func(b []byte) {
			for i := 312; i < len(b); i++ {
				b[i] = 0xff
			}
		},
		"payload of two bytes": func(b []byte) {
			if len(b) > 320 {
				binary.NativeEndian.PutUint32(b[12:], 314)
				b[312], b[313] = 1, 1
			}
		},
	}
	corrupt := 0
	for name, damage := range damages {
		tr.damage = damage
		for i, read := range readers(c) {
			err := read()
			var e *dm.Error
			if err != nil && (!errors.Is(err, dm.ErrCorrupt) || !errors.As(err, &e)) {
				t.Errorf("%s, call %d: %v", name, i, err)
			}
			if err != nil {
				corrupt++
			}
		}
	}
	tr.damage = nil
	if corrupt < 20 {
		t.Errorf("%d answers were found corrupt", corrupt)
	}
	for i, read := range readers(c) {
		if err := read(); err != nil {
			t.Errorf("call %d, undamaged: %v", i, err)
		}
	}
}

// The numbers of the kernel become the errors that the doc names.
func TestErrnoMapping(t *testing.T) {
	for errno, want := range map[syscall.Errno]error{
		6: fs.ErrNotExist, 19: fs.ErrNotExist, 13: fs.ErrPermission, 1: fs.ErrPermission,
		25: errors.ErrUnsupported, 16: dm.ErrBusy, 17: fs.ErrExist,
	} {
		k := dmtest.New()
		ctx := context.Background()
		c, err := dm.Open(ctx, dm.WithTransport(k.Transport()))
		if err != nil {
			t.Fatal(err)
		}
		k.Hook(func(*dmtest.Call) error { return errno })
		_, err = c.Info(ctx, dm.Name("x"))
		wantErr(t, err, want)
		var e *dm.Error
		if !errors.As(err, &e) || e.Code != errno {
			t.Errorf("%v", err)
		}
		c.Close()
	}
	k := dmtest.New()
	k.Hook(func(*dmtest.Call) error { return syscall.Errno(13) })
	_, err := dm.Open(context.Background(), dm.WithTransport(k.Transport()))
	wantErr(t, err, fs.ErrPermission, "CAP_SYS_ADMIN")
	_, err = dm.Open(context.Background(), dm.WithTransport(dmtest.New(dmtest.WithVersion(4, 30, 0)).Transport()))
	wantErr(t, err, errors.ErrUnsupported, "4.30.0")
}

// FuzzCorruptAnswers lays the input over the answers of the driver.
func FuzzCorruptAnswers(f *testing.F) {
	f.Add(uint16(12), []byte{0xff, 0xff})
	f.Add(uint16(320), []byte{0xff, 0, 0, 0})
	f.Add(uint16(20), []byte{3, 0, 0, 0})
	c, tr := corruptClient(f)
	defer c.Close()
	f.Fuzz(func(t *testing.T, at uint16, over []byte) {
		tr.damage = func(b []byte) {
			if int(at) >= len(b) {
				return
			}
			copy(b[at:], over)
			// The flag that says "full" makes the client double its buffer up
			// to a gigabyte: one kind of damage that only costs time.
			b[29] &^= 1
		}
		for _, read := range readers(c) {
			err := read()
			var e *dm.Error
			if err != nil && !errors.As(err, &e) {
				t.Fatalf("%T %v", err, err)
			}
		}
	})
}
