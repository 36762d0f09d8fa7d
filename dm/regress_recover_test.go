// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/internal/runfile"
)

func TestRegressKillInResume(t *testing.T) {
	k, c := smallDouble(t)
	ctx := context.Background()
	top, low := mk(t, c, "top", 8), mk(t, c, "low", 8)
	dir, dir2 := t.TempDir(), t.TempDir()
	c.host.run = &runList{dir: dir}
	killed := false
	rm := k.Hook(func(call *dmtest.Call) error {
		if call.Command == "DEV_SUSPEND" && call.Flags&2 == 0 && call.Minor == top.Dev.Minor {
			if !killed {
				m, _ := filepath.Glob(filepath.Join(dir, "dm-*"))
				b, _ := os.ReadFile(m[0])
				os.WriteFile(filepath.Join(dir2, filepath.Base(m[0])), b, 0o600)
				deadFile(t, dir2)
			}
			killed = true
			return syscall.Errno(12) // the process is dead from here on
		}
		return nil
	})
	c.WhileSuspended(ctx, []Ref{top.Dev, low.Dev}, GuardOptions{}, func(ctx context.Context) error {
		c.Load(ctx, top.Dev, lin(16), LoadOptions{})
		return c.Load(ctx, low.Dev, lin(16), LoadOptions{})
	})
	rm()
	c2, _ := Open(ctx, WithTransport(k.Transport()))
	c2.host.run = &runList{dir: dir2}
	t.Log(c2.Recover(ctx, RecoverOptions{}))
	a, _ := c2.Table(ctx, top.Dev, StatusOptions{})
	b, _ := c2.Table(ctx, low.Dev, StatusOptions{})
	if a.Length() != b.Length() {
		t.Errorf("after a kill between two resumes and Recover: top %v, low %v", a, b)
	}
}

func TestRegressSuspendRecoverClearsOthers(t *testing.T) {
	k, c := smallDouble(t)
	ctx := context.Background()
	a := mk(t, c, "a", 8)
	dir := t.TempDir()
	run := &runList{dir: dir}
	run.begin("suspend", c.noteOf(a)...)
	deadFile(t, dir)
	c.Suspend(ctx, a.Dev, SuspendOptions{})
	other, _ := Open(ctx, WithTransport(k.Transport())) // a living program between its load and its resume
	other.Load(ctx, a.Dev, lin(16), LoadOptions{})
	c.host.run = &runList{dir: dir}
	t.Log(c.Recover(ctx, RecoverOptions{}))
	i, _ := other.Info(ctx, a.Dev)
	if !i.InactiveTable {
		t.Error("Recover dropped the table a living program had just loaded")
	}
}

func TestRegressTwoInstances(t *testing.T) {
	// A dies between the note and DEV_CREATE; B makes the device, without a table, and lives.
	k, c := smallDouble(t)
	ctx := context.Background()
	dir := t.TempDir()
	run := &runList{dir: dir}
	run.begin("create", runfile.F("name", "vol"), runfile.F("uuid", ""))
	deadFile(t, dir)
	other, _ := Open(ctx, WithTransport(k.Transport()))
	other.Create(ctx, "vol", nil, CreateOptions{})
	c.host.run = &runList{dir: dir}
	t.Log(c.Recover(ctx, RecoverOptions{}))
	if _, err := other.Info(ctx, Name("vol")); err != nil {
		t.Errorf("Recover removed a living program's device without a table: %v", err)
	}
}
