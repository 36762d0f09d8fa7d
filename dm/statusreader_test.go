// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"reflect"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/dmwire"
)

func testStatusReader(t *testing.T, e *env) {
	ctx := context.Background()
	d := e.disks
	var long dm.Table
	for i := range 200 {
		long = long.Append(8, dm.Delay{Read: dm.DelayLeg{Device: d[0], Offset: dm.Sectors(8 * i)}})
	}
	devs := []dm.Dev{
		e.create(t, "none", nil, dm.CreateOptions{}).Dev,
		e.create(t, "two", e.table(t, "0 2048 striped 2 16 %s 0 %s 0\n2048 8 zero", d[0], d[1]), dm.CreateOptions{}).Dev,
		e.create(t, "long", long, dm.CreateOptions{}).Dev,
		e.create(t, "snap", e.table(t, "0 1024 snapshot %s %s N 8", d[0], d[2]), dm.CreateOptions{}).Dev,
	}
	if err := e.c.Load(ctx, devs[1], e.table(t, "0 8 delay %s 0 1", d[0]), dm.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, opts := range []dm.StatusOptions{{}, {Inactive: true}, {NoFlush: true}} {
		r := e.c.StatusReader(opts)
		for range 2 {
			for _, dev := range devs {
				got, err := r.Read(ctx, dev)
				if err != nil {
					t.Fatal(err)
				}
				want, err := e.c.Status(ctx, dev, opts)
				if err != nil || len(want) != len(got) || len(got) > 0 && !reflect.DeepEqual(want, got) {
					t.Fatalf("%+v: read %v, want %v, %v", opts, got, want, err)
				}
			}
		}
	}
	r := e.c.StatusReader(dm.StatusOptions{})
	for _, dev := range devs {
		e.remove(t, dev)
		_, err := r.Read(ctx, dev)
		wantErr(t, err, fs.ErrNotExist)
	}
	_, err := r.Read(ctx, dm.Dev{})
	wantErr(t, err, dm.ErrBadName)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = r.Read(cancelled, devs[0])
	wantErr(t, err, context.Canceled)
	e.c.Close()
	_, err = r.Read(ctx, devs[0])
	wantErr(t, err, dm.ErrClosed)
	e.c = e.open(t)
}

// canned answers every status with the same text, and takes no memory.
type canned struct {
	answerer
	spec []dmwire.Spec
	more uint32 // records that are counted and not there
}

func (c *canned) Ioctl(req uint32, b []byte) error {
	binary.NativeEndian.PutUint32(b[4:], 47)
	if dmwire.Command(req&0xff) != dmwire.CmdTableStatus {
		return nil
	}
	used, full, err := dmwire.PutStatus(b[dmwire.HeaderSize:], c.spec)
	ne := binary.NativeEndian
	ne.PutUint32(b[12:], uint32(dmwire.HeaderSize+used))
	ne.PutUint32(b[20:], uint32(len(c.spec))+c.more)
	if full {
		ne.PutUint32(b[28:], ne.Uint32(b[28:])|uint32(dmwire.BufferFull))
	}
	return err
}

// A read of a typed status takes no memory, nor does a read of a long one
// once the buffer has grown.
func TestStatusReaderAllocations(t *testing.T) {
	ctx := context.Background()
	c := &canned{}
	client, err := dm.Open(ctx, dm.WithTransport(c))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, segments := range []int{1, 100} {
		c.spec = nil
		for range segments {
			c.spec = append(c.spec, dmwire.Spec{Length: 8, Type: "snapshot", Params: "16/2048 16"})
		}
		r := client.StatusReader(dm.StatusOptions{})
		n := testing.AllocsPerRun(100, func() {
			list, err := r.Read(ctx, dm.Dev{Major: 254, Minor: 1})
			if err != nil || len(list) != segments {
				t.Fatal(list, err)
			}
			for _, s := range list {
				if st, err := dm.ParseSnapshotStatus(s.Text); err != nil || st.Used != 16 || s.Type != "snapshot" {
					t.Fatal(s, st, err)
				}
			}
		})
		if n != 0 {
			t.Errorf("%v allocations for %d segments", n, segments)
		}
	}
	c.spec, c.more = c.spec[:1], 2
	if _, err := client.StatusReader(dm.StatusOptions{}).Read(ctx, dm.Dev{Major: 1}); !errors.Is(err, dm.ErrCorrupt) {
		t.Error(err)
	}
}
