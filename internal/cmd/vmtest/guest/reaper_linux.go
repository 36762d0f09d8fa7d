// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reaper waits for every child of PID 1. Orphans become its children too, so
// that os/exec, which waits for one process, cannot be used next to it.
type reaper struct {
	mu     sync.Mutex
	waits  map[int]chan unix.WaitStatus
	lost   map[int]unix.WaitStatus // ended before start had registered them
	wakeup chan struct{}
}

func newReaper() *reaper {
	r := &reaper{
		waits:  make(map[int]chan unix.WaitStatus),
		lost:   make(map[int]unix.WaitStatus),
		wakeup: make(chan struct{}, 1),
	}
	go r.loop()
	return r
}

func (r *reaper) loop() {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		if errors.Is(err, unix.ECHILD) {
			<-r.wakeup
			continue
		}
		if err != nil || pid <= 0 {
			continue
		}
		r.mu.Lock()
		if c, ok := r.waits[pid]; ok {
			delete(r.waits, pid)
			c <- ws
		} else {
			r.lost[pid] = ws
		}
		r.mu.Unlock()
	}
}

// start starts a program and returns its pid and the channel that will have
// its status.
func (r *reaper) start(path string, argv []string, attr *syscall.ProcAttr) (int, <-chan unix.WaitStatus, error) {
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return 0, nil, &os.PathError{Op: "exec", Path: path, Err: err}
	}
	c := make(chan unix.WaitStatus, 1)
	r.mu.Lock()
	if ws, ok := r.lost[pid]; ok {
		c <- ws
	} else {
		r.waits[pid] = c
	}
	clear(r.lost) // only one start at a time: the others were orphans
	r.mu.Unlock()
	select {
	case r.wakeup <- struct{}{}:
	default:
	}
	return pid, c, nil
}

// killAll kills every process but this one and kernel threads, and returns
// the names of those it found. It waits a moment for them to go.
func killAll() []string {
	var names []string
	for round := 0; round < 100; round++ {
		found := processes()
		if len(found) == 0 {
			break
		}
		for pid, name := range found {
			if round == 0 {
				names = append(names, name+"("+strconv.Itoa(pid)+")")
			}
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return names
}

// processes returns the user-space processes but PID 1, by pid. Zombies and
// kernel threads have an empty command line.
func processes() map[int]string {
	found := make(map[int]string)
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 {
			continue
		}
		cmdline, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil || len(cmdline) == 0 {
			continue
		}
		comm, _ := os.ReadFile("/proc/" + e.Name() + "/comm")
		found[pid] = strings.TrimSpace(string(comm))
	}
	return found
}
