// SPDX-License-Identifier: MIT

package udev

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

func TestRunningAndRules(t *testing.T) {
	root := t.TempDir()
	if Running(root) || HasNotifyRules(root) {
		t.Error("empty root")
	}
	put := func(path, text string) string {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put("run/udev/control", "")
	if Running(root) {
		t.Error("a plain file is no socket")
	}
	os.Remove(filepath.Join(root, "run/udev/control"))
	if runtime.GOOS == "linux" {
		// Socket paths are short, so it is made from inside.
		t.Chdir(filepath.Join(root, "run/udev"))
		for _, name := range []string{"control", "io.systemd.Udev"} {
			fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer syscall.Close(fd)
			if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: name}); err != nil {
				t.Fatal(err)
			}
			if !Running(root) {
				t.Errorf("socket %s not seen", name)
			}
			os.Remove(name)
			if Running(root) {
				t.Errorf("socket %s is gone", name)
			}
		}
	}
	put("lib/udev/rules.d/95-dm-notify.rules", "ENV{DM_COOKIE}==\"?*\"\n")
	if !HasNotifyRules(root) {
		t.Error("in /lib")
	}
	etc := put("etc/udev/rules.d/95-dm-notify.rules", "")
	if HasNotifyRules(root) {
		t.Error("masked by an empty file")
	}
	os.Remove(etc)
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Symlink("/dev/null", etc); err != nil {
		t.Fatal(err)
	}
	if HasNotifyRules(root) {
		t.Error("masked by a link to /dev/null")
	}
	os.Remove(etc)
	os.Symlink("/nowhere", etc)
	if HasNotifyRules(root) {
		t.Error("masked by a dangling link")
	}
	os.Remove(etc)
	os.Symlink("/lib/udev/rules.d/95-dm-notify.rules", etc)
	if !HasNotifyRules(root) {
		t.Error("absolute link below root")
	}
	os.Remove(etc)
	os.Symlink("../../../lib/udev/rules.d/95-dm-notify.rules", etc)
	if !HasNotifyRules(root) {
		t.Error("relative link")
	}
}
