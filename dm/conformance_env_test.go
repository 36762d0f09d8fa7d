// SPDX-License-Identifier: MIT

package dm_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
)

// wipe zeroes the first sectors of a disk, so that a target that keeps
// metadata there finds a fresh one.
func (e *env) wipe(t *testing.T, disk string, n dm.Sectors) {
	t.Helper()
	e.create(t, "wipe", e.table(t, "0 %d linear %s 0", uint64(n), disk), dm.CreateOptions{})
	f := e.rw(t, e.name("wipe"))
	_, err := f.WriteAt(make([]byte, n.Bytes()), 0)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	e.remove(t, e.name("wipe"))
}

func typedStatus[T any](t *testing.T, e *env, ref dm.Ref) T {
	t.Helper()
	list, err := e.c.Status(context.Background(), ref, dm.StatusOptions{})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	s, err := list[0].Typed()
	if err != nil || s.String() != strings.TrimSpace(list[0].Text) {
		t.Fatalf("%q came back as %v, %v", list[0].Text, s, err)
	}
	return any(s).(T)
}

// eventually waits for what the kernel does in the background.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long: %s", what)
		}
	}
}

func (e *env) reload(t *testing.T, ref dm.Ref, tab dm.Table) {
	t.Helper()
	if _, err := e.c.Reload(context.Background(), ref, tab, dm.ReloadOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (e *env) send(t *testing.T, ref dm.Ref, m dm.TargetMessage) string {
	t.Helper()
	out, err := e.c.Send(context.Background(), ref, m)
	if err != nil {
		t.Fatalf("%s: %v", m.Text(), err)
	}
	return out
}

// write writes to a device.
func (e *env) write(t *testing.T, name dm.Name, p []byte, off int64) error {
	t.Helper()
	f := e.rw(t, name)
	defer f.Close()
	_, err := f.WriteAt(p, off)
	return err
}

func (e *env) writeAt(t *testing.T, name dm.Name, p []byte, off int64) {
	t.Helper()
	if err := e.write(t, name, p, off); err != nil {
		t.Fatalf("write to %s at %d: %v", name, off, err)
	}
}

// holds reads a device and compares.
func (e *env) holds(t *testing.T, name dm.Name, want []byte, off int64) {
	t.Helper()
	f := e.rw(t, name)
	defer f.Close()
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, off); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s at %d: other data, %v", name, off, err)
	}
}
