// SPDX-License-Identifier: MIT

package vmtest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// udevd is the one daemon of this test binary.
var udevd struct {
	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	log  bytes.Buffer
}

const (
	udevControl = "/run/udev/control" // libudev takes its presence for a running udevd
	udevWait    = 60 * time.Second
)

// StartUdevd starts systemd's udevd of the suite whose tools are in the VM,
// with the rules of the packages there, and waits until it has handled the
// devices that exist. It ends when the test does, or with [StopUdevd]. It
// skips the test outside the VM.
//
// Whether udevd runs is a property of the whole VM, so that a test that calls
// StartUdevd must not be parallel to tests that count on its absence.
func StartUdevd(t testing.TB) {
	t.Helper()
	need(t)
	path := ""
	// Debian up to 11 has the daemon itself here, later a link to udevadm,
	// which looks at the name that it was called by.
	for _, p := range []string{"/usr/lib/systemd/systemd-udevd", "/lib/systemd/systemd-udevd", "/usr/bin/systemd-udevd"} {
		if _, err := os.Stat(p); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Fatal("the VM has no systemd-udevd; add udev to vmtest -tools")
	}
	udevd.mu.Lock()
	defer udevd.mu.Unlock()
	if udevd.cmd != nil {
		t.Fatal("udevd runs already")
	}
	if err := os.MkdirAll("/run/udev", 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path)
	udevd.log.Reset()
	cmd.Stdout, cmd.Stderr = &udevd.log, &udevd.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	udevd.cmd, udevd.done = cmd, make(chan struct{})
	go func(done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(udevd.done)
	t.Cleanup(func() { StopUdevd(t) })
	deadline := time.Now().Add(udevWait)
	for {
		if _, err := os.Stat(udevControl); err == nil {
			break
		}
		select {
		case <-udevd.done:
			t.Fatalf("udevd ended at once:\n%s", udevd.log.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("udevd does not answer after %v", udevWait)
		}
	}
	// Only block devices: replaying every device of the machine takes
	// seconds, and no test looks at a mouse.
	Run(t, "udevadm", "trigger", "--type=devices", "--action=add", "--subsystem-match=block")
	Run(t, "udevadm", "settle", "--timeout=60")
}

// StopUdevd ends the udevd that [StartUdevd] started, after it has handled
// what it knows of, and removes its database and the links that it made in
// /dev/disk. It does nothing if none runs.
func StopUdevd(t testing.TB) {
	t.Helper()
	udevd.mu.Lock()
	defer udevd.mu.Unlock()
	if udevd.cmd == nil {
		return
	}
	cmd, done := udevd.cmd, udevd.done
	udevd.cmd = nil
	// Not Command: the test's context has ended when this is a cleanup.
	if out, err := exec.Command("udevadm", "settle", "--timeout=60").CombinedOutput(); err != nil {
		t.Errorf("udevadm settle: %v\n%s", err, out)
	}
	out, err := exec.Command("udevadm", "control", "--exit").CombinedOutput()
	if err != nil {
		t.Errorf("udevadm control --exit: %v\n%s", err, out)
	}
	select {
	case <-done:
	case <-time.After(udevWait / 4):
		// Once, with udev 257, the message was answered and nothing came of
		// it. The signal is what systemd ends it with.
		t.Log("udevd does not end by udevadm control --exit; sending SIGTERM")
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-done:
	case <-time.After(udevWait):
		t.Errorf("udevd did not end within %v; killed", udevWait)
		_ = cmd.Process.Kill()
		<-done
	}
	if err := errors.Join(os.RemoveAll("/run/udev"), os.RemoveAll("/dev/disk")); err != nil {
		t.Error(err)
	}
	// Links of removed devices are gone; those left point to live ones.
	links, _ := filepath.Glob("/dev/mapper/*")
	for _, l := range links {
		if _, err := os.Stat(l); errors.Is(err, os.ErrNotExist) {
			_ = os.Remove(l)
		}
	}
}
