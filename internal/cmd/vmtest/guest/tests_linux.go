// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/linuxblock/linuxblock/internal/cmd/vmtest/wire"
)

// grace is what a test binary gets after its own timeout to print stacks and
// to end, and again after each signal.
const grace = 5 * time.Second

// runTests runs the test binaries one after the other: they share the
// kernel's devices.
func runTests(c wire.Config, r *reaper, w *wire.Writer) {
	for i, p := range c.Packages {
		res := runTest(c, i, p, r, w)
		_ = w.JSON(wire.End, res)
		if res.Stuck || c.FailFast && res.Code != 0 {
			return
		}
	}
}

func runTest(c wire.Config, i int, p wire.Package, r *reaper, w *wire.Writer) wire.Result {
	res := wire.Result{Index: i, Code: -1}
	_ = w.JSON(wire.Start, wire.Begin{Index: i})
	fail := func(err error) wire.Result {
		_ = w.Bytes(wire.Output, fmt.Appendf(nil, "vmtest: %v\n", err))
		return res
	}
	out, in, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer out.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fail(err)
	}
	defer null.Close()

	args := append([]string{p.Binary}, c.Args...)
	timeout := c.Timeout
	if c.Deadline > 0 {
		// Leave time for the stacks, and for the host to hear of it.
		if left := c.Deadline - uptime() - 3*grace; timeout == 0 || left < timeout {
			timeout = max(left, time.Second)
		}
	}
	args = append(args, "-test.timeout="+timeout.String())
	before := devices()
	begin := time.Now()
	pid, status, err := r.start(p.Binary, args, &syscall.ProcAttr{
		Dir:   p.Dir,
		Env:   append(append(os.Environ(), "PWD="+p.Dir), c.Env...),
		Files: []uintptr{null.Fd(), in.Fd(), in.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	in.Close()
	if err != nil {
		return fail(err)
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		buf := make([]byte, 64<<10)
		for {
			n, err := out.Read(buf)
			if n > 0 {
				_ = w.Bytes(wire.Output, buf[:n])
			}
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, fs.ErrClosed) {
					w.Logf("%s: %v", p.ImportPath, err)
				}
				return
			}
		}
	}()

	ws, ended := waitTest(pid, status, timeout, &res)
	res.Elapsed = time.Since(begin)
	if !ended {
		res.Stuck = true
		dumpTasks("w")
		return res
	}
	if ws.Signaled() {
		res.Signal = ws.Signal().String()
	} else {
		res.Code = ws.ExitStatus()
	}
	// Whoever still runs would hold devices that the next package wants, and
	// the pipe.
	if left := killAll(); len(left) > 0 {
		w.Logf("%s left processes behind: %s", p.ImportPath, strings.Join(left, " "))
	}
	select {
	case <-copied:
	case <-time.After(grace):
		w.Logf("%s: output incomplete: some process still holds it open", p.ImportPath)
	}
	cleanTmp()
	var stayed []string
	for d, what := range devices() {
		if before[d] == "" {
			stayed = append(stayed, what)
		}
	}
	if len(stayed) > 0 {
		slices.Sort(stayed)
		w.Logf("%s left devices behind: %s", p.ImportPath, strings.Join(stayed, " "))
	}
	return res
}

// devices returns the device-mapper, md and bound loop devices that exist,
// with what they are.
func devices() map[string]string {
	found := make(map[string]string)
	for _, file := range []string{"dm/name", "loop/backing_file", "md/level"} {
		names, _ := filepath.Glob("/sys/block/*/" + file)
		for _, n := range names {
			data, err := os.ReadFile(n)
			if err != nil {
				continue
			}
			device := filepath.Base(filepath.Dir(filepath.Dir(n)))
			found[device] = device + "(" + strings.TrimSpace(string(data)) + ")"
		}
	}
	return found
}

// waitTest waits for a test binary. The binary ends itself at its timeout; if
// it does not, it gets SIGQUIT, which prints stacks, and then SIGKILL.
func waitTest(pid int, status <-chan unix.WaitStatus, timeout time.Duration, res *wire.Result) (unix.WaitStatus, bool) {
	var expired <-chan time.Time
	if timeout > 0 {
		expired = time.After(timeout + grace)
	}
	select {
	case ws := <-status:
		return ws, true
	case <-expired:
	}
	res.Killed = fmt.Sprintf("did not end %v after its timeout of %v", grace, timeout)
	for _, s := range []unix.Signal{unix.SIGQUIT, unix.SIGKILL} {
		_ = unix.Kill(pid, s)
		select {
		case ws := <-status:
			return ws, true
		case <-time.After(grace):
		}
	}
	return 0, false
}

// cleanTmp empties /tmp: it is memory, and all packages share it. What is
// mounted below it stays.
func cleanTmp() {
	entries, _ := os.ReadDir("/tmp")
	for _, e := range entries {
		_ = os.RemoveAll(filepath.Join("/tmp", e.Name()))
	}
}

// shell runs busybox on the console until it ends.
func shell(c wire.Config, r *reaper, w *wire.Writer) {
	tty, err := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if err != nil {
		w.Logf("%v", err)
		return
	}
	defer tty.Close()
	// A terminal that is to be the controlling one must not be /dev/console.
	if t, err := os.OpenFile("/dev/ttyS0", os.O_RDWR, 0); err == nil {
		tty = t
	}
	fmt.Fprintf(tty, "\nTest binaries are in %s, the source tree is in %s. Leave with exit.\n", wire.BinDir, wire.SourceDir)
	for _, p := range c.Packages {
		fmt.Fprintf(tty, "  cd %s && %s -test.v\n", p.Dir, p.Binary)
	}
	for _, sh := range [][]string{{"/usr/bin/bash"}, {"/usr/bin/busybox", "sh"}} {
		if _, err := os.Stat(sh[0]); err != nil {
			continue
		}
		_, status, err := r.start(sh[0], sh, &syscall.ProcAttr{
			Dir:   wire.SourceDir,
			Env:   append(os.Environ(), c.Env...),
			Files: []uintptr{tty.Fd(), tty.Fd(), tty.Fd()},
			Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true},
		})
		if err != nil {
			w.Logf("%v", err)
			continue
		}
		<-status
		return
	}
	w.Logf("no shell: add busybox-static to -tools")
}
