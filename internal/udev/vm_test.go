// SPDX-License-Identifier: MIT

package udev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// The real dmsetup counts our cookies down, lists and destroys them, and we
// list and destroy its.
func TestVMCompletedByDmsetup(t *testing.T) {
	vmtest.Require(t, "dm-mod")
	vmtest.StartUdevd(t) // without it dmsetup has no synchronisation: udevcomplete does nothing
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	c := newCookie(t)
	for range 2 {
		if err := c.Add(); err != nil {
			t.Fatal(err)
		}
	}
	out := vmtest.Run(t, "dmsetup", "udevcookies")
	if !strings.Contains(out, fmt.Sprintf("%#x", c.Key())) {
		t.Errorf("dmsetup does not list %#x:\n%s", c.Key(), out)
	}
	value := strconv.FormatUint(uint64(c.Value(PrimarySource|DisableLibraryFallback)), 10)
	failed := make(chan error, 1)
	cmds := []func() error{vmtest.Command(t, "dmsetup", "udevcomplete", value).Run, vmtest.Command(t, "dmsetup", "udevcomplete", value).Run}
	go func() {
		for _, run := range cmds {
			if err := run(); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	if out, err := c.Wait(ctx); out != Completed || err != nil {
		t.Error(out, err)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}

	c = newCookie(t)
	_ = c.Add()
	all := vmtest.Command(t, "dmsetup", "udevcomplete_all", "-y").Run
	go func() { time.Sleep(100 * time.Millisecond); failed <- all() }()
	if out, err := c.Wait(ctx); out != Destroyed || err != nil {
		t.Error(out, err)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
}

func TestVMCookieOfDmsetup(t *testing.T) {
	vmtest.Require(t, "dm-mod")
	vmtest.StartUdevd(t) // without it dmsetup makes none
	text := strings.TrimSpace(vmtest.Output(t, "dmsetup", "udevcreatecookie"))
	value, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 32)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	key := uint32(value)
	if !IsKey(key) {
		t.Fatalf("%#x is no cookie's key", key)
	}
	s, err := Inspect(key)
	if err != nil || s.Value != 1 || s.LastPID == os.Getpid() || s.LastPID <= 0 {
		t.Errorf("%+v %v", s, err)
	}
	list, err := List()
	if err != nil || !slices.ContainsFunc(list, func(x Semaphore) bool { return x.Key == key }) {
		t.Error(list, err)
	}
	// Its maker has ended, but it is not ours to clean up.
	if done, err := Recover(key, -1, os.Getpid()); done || err != nil {
		t.Error(done, err)
	}
	if err := Remove(s.SemID, key); err != nil {
		t.Error(err)
	}
	if out := vmtest.Run(t, "dmsetup", "udevcookies"); strings.Contains(out, text) {
		t.Errorf("still there:\n%s", out)
	}
}

// The whole way: kernel, udevd, its rules, dmsetup udevcomplete.
func TestVMUdevd(t *testing.T) {
	vmtest.Require(t, "dm-mod")
	if Running("/") {
		t.Fatal("udevd runs before it was started")
	}
	vmtest.StartUdevd(t)
	if !Running("/") || !HasNotifyRules("/") {
		t.Fatal(Running("/"), HasNotifyRules("/"))
	}
	c := newCookie(t)
	vmtest.Run(t, "dmsetup", "create", "udevtest", "--table", "0 8 zero", "--udevcookie", fmt.Sprintf("%#x", c.Key()))
	defer vmtest.Run(t, "dmsetup", "remove", "udevtest")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if out, err := c.Wait(ctx); out != Completed || err != nil {
		t.Fatal(out, err)
	}
	if to, err := os.Readlink("/dev/mapper/udevtest"); err != nil || !strings.HasPrefix(to, "../dm-") {
		t.Error(to, err)
	}
	vmtest.StopUdevd(t)
	if Running("/") {
		t.Error("stopped, but seems to run")
	}
}

// The kernel's limit on semaphore sets.
func TestVMLimit(t *testing.T) {
	vmtest.Require(t)
	const file = "/proc/sys/kernel/sem"
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(file, was, 0o644)
	f := strings.Fields(string(was))
	f[3] = "2"
	if err := os.WriteFile(file, []byte(strings.Join(f, " ")), 0o644); err != nil {
		t.Fatal(err)
	}
	var notes []Stage
	for range 3 {
		var c *Cookie
		c, err = New(func(s Stage, _ uint32, _ int) error { notes = append(notes, s); return nil })
		if err != nil {
			break
		}
		defer c.Destroy()
	}
	if !errors.Is(err, ErrLimit) || errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if len(notes) < 2 || notes[len(notes)-1] != Dropped {
		t.Error(notes)
	}
}
