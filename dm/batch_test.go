// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// batchWorld is a double with a stack, and a batch that touches all of it.
func batchWorld(t *testing.T) (*dmtest.Kernel, *dm.Client, *dm.Batch) {
	t.Helper()
	ctx := context.Background()
	k := dmtest.New()
	k.AddDisk("/dev/sda", 8, 0, 1<<16)
	c, err := dm.Open(ctx, dm.WithTransport(k.Transport()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	table := func(format string, args ...any) dm.Table {
		t.Helper()
		tab, err := dm.ParseTable(fmt.Sprintf(format, args...))
		if err != nil {
			t.Fatal(err)
		}
		return tab
	}
	create := func(name dm.Name, tab dm.Table, o dm.CreateOptions) {
		t.Helper()
		if _, err := c.Create(ctx, name, tab, o); err != nil {
			t.Fatal(err)
		}
	}
	create("base", table("0 1024 linear /dev/sda 0"), dm.CreateOptions{UUID: "b"})
	create("mid", table("0 512 linear /dev/mapper/base 0"), dm.CreateOptions{UUID: "m"})
	create("goes-low", table("0 512 linear /dev/sda 4096"), dm.CreateOptions{UUID: "l"})
	create("goes", table("0 64 linear /dev/mapper/goes-low 8"), dm.CreateOptions{UUID: "g", ReadOnly: true})
	create("still", table("0 8 zero"), dm.CreateOptions{})
	if err := c.Suspend(ctx, dm.Name("still"), dm.SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	b := new(dm.Batch).
		Reload(dm.Name("mid"), table("0 1024 linear /dev/mapper/base 0\n1024 8 linear /dev/mapper/new 0"), dm.ReloadOptions{ReadOnly: true}).
		Reload(dm.Name("base"), table("0 2048 linear /dev/sda 8"), dm.ReloadOptions{}).
		Reload(dm.Name("still"), table("0 16 zero"), dm.ReloadOptions{}).
		Remove(dm.Name("goes-low"), dm.RemoveOptions{}).
		Remove(dm.UUID("g"), dm.RemoveOptions{}).
		Create("goes", table("0 8 zero"), dm.CreateOptions{UUID: "g"}).
		Create("new", table("0 8 linear /dev/mapper/newer 0"), dm.CreateOptions{}).
		Create("newer", table("0 8 zero"), dm.CreateOptions{UUID: "n"})
	return k, c, b
}

// stateOf is all that must be the same behind a batch that was taken back.
func stateOf(k *dmtest.Kernel) string {
	text := ""
	for _, d := range k.Devices() {
		d.EventNr = 0
		text += fmt.Sprintf("%+v\n", d)
	}
	return text
}

// Whichever ioctl of a batch fails, or wherever it is cancelled, all is as
// before; and without a fault all is done.
func TestBatchFaults(t *testing.T) {
	changing := map[string]bool{"DEV_CREATE": true, "TABLE_LOAD": true, "DEV_SUSPEND": true, "DEV_REMOVE": true}
	for _, parallel := range []int{1, 8} {
		for _, cancels := range []bool{false, true} {
			faults := 0
			for at := 1; ; at++ {
				k, c, b := batchWorld(t)
				before := stateOf(k)
				ctx, cancel := context.WithCancel(context.Background())
				var calls atomic.Int32
				var once sync.Once
				k.Hook(func(call *dmtest.Call) (err error) {
					if changing[call.Command] && int(calls.Add(1)) == at {
						once.Do(func() {
							if cancels {
								cancel()
							} else {
								err = syscall.Errno(12)
							}
						})
					}
					return err
				})
				results, err := c.RunBatch(ctx, b, dm.BatchOptions{AllOrNothing: true, Parallel: parallel})
				cancel()
				after := stateOf(k)
				if int(calls.Load()) < at {
					if err != nil || before == after || len(results) != b.Len() {
						t.Fatalf("without a fault: %v %v", results, err)
					}
					break
				}
				if errors.Is(err, dm.ErrPending) {
					t.Fatalf("fault %d: %v", at, err)
				}
				if err == nil {
					// Cancelled in the last change, which is past its point of no return.
					if !cancels || before == after {
						t.Fatalf("fault %d: no error", at)
					}
					continue
				}
				faults++
				if after != before {
					t.Fatalf("fault %d (cancels %v, parallel %d): %v\nbefore\n%safter\n%s", at, cancels, parallel, err, before, after)
				}
				for _, r := range results {
					if r.State == linuxblock.Done || r.State == linuxblock.UndoFailed {
						t.Errorf("fault %d: %+v", at, r)
					}
				}
			}
			if faults < 10 {
				t.Errorf("only %d faults", faults)
			}
		}
	}
}

// An undo that fails says so, and nothing is put on top of a number that
// belongs to somebody else by now.
func TestBatchUndoFails(t *testing.T) {
	ctx := context.Background()
	k, c, _ := batchWorld(t)
	low, _ := k.Device("goes-low")
	zero := dm.Table{}.Append(1024, dm.Zero{})
	opts := dm.CreateOptions{Minor: &low.Minor}
	k.HookAfter(func(call *dmtest.Call) error {
		if call.Command == "DEV_REMOVE" && call.Minor == low.Minor {
			// Somebody takes the number at once.
			if _, err := c.Create(ctx, "thief", zero, opts); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	results, err := c.RunBatch(ctx, new(dm.Batch).
		Remove(dm.Name("goes"), dm.RemoveOptions{}).
		Remove(dm.Name("goes-low"), dm.RemoveOptions{}).
		Create("heir", zero, opts), dm.BatchOptions{AllOrNothing: true})
	wantErr(t, err, dm.ErrSkipped, "3 of 3 changes failed", "could not be taken back")
	if len(results) != 3 {
		t.Fatal(results)
	}
	for i, want := range []linuxblock.State{linuxblock.UndoFailed, linuxblock.UndoFailed, linuxblock.Failed} {
		if results[i].State != want || results[i].Err == nil {
			t.Errorf("%d: %+v", i, results[i])
		}
	}
	if d, _ := k.Device("thief"); d.Active == "" || d.OpenCount != 0 {
		t.Errorf("%+v", d)
	}
	if _, ok := k.Device("goes"); ok {
		t.Error("a device was put on top of another's number")
	}
}
