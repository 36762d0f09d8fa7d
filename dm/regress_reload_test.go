// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// era reads its metadata when it is loaded: what is written between the load
// and the swap must not be forgotten.
func TestReloadHoldsEra(t *testing.T) {
	ctx := context.Background()
	k, c := smallDouble(t)
	k.AddDisk("/dev/meta", 8, 96, 8192)
	k.AddDisk("/dev/origin", 8, 112, 8192)
	tab := Table{}.Append(8192, Era{Metadata: "/dev/meta", Origin: "/dev/origin", BlockSize: 128})
	d, err := c.Create(ctx, "era", tab, CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := k.OpenDevice("era")
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	k.HookAfter(func(call *dmtest.Call) error {
		if call.Command == "TABLE_LOAD" {
			// Somebody writes just then.
			go func() {
				_, err := f.WriteAt(make([]byte, 4096), 5*64<<10)
				wrote <- err
			}()
			time.Sleep(20 * time.Millisecond)
		}
		return nil
	})
	if _, err := c.Reload(ctx, d.Dev, tab, ReloadOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	f.Close()
	if eras, err := k.WrittenIn("era"); err != nil || eras[5] == 0 {
		t.Errorf("%v, %v: a write was forgotten", eras, err)
	}
	k.AssertRunning(t)
	if err := c.Remove(ctx, d.Dev, RemoveOptions{}); err != nil {
		t.Error(err)
	}
}
