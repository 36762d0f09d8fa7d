// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// self names this process in the aux data of its regions, so that another
// dmtop can tell whether it still runs: the number, the time of its start,
// because numbers are used again, and the pid namespace in which they hold.
func self() string {
	_, start := processStat(os.Getpid())
	return ownerText(os.Getpid(), start, pidNamespace())
}

func ownerText(pid int, start, namespace string) string {
	return fmt.Sprintf("pid=%d start=%s ns=%s", pid, start, namespace)
}

// dead says whether the process of an owner is gone for sure. One of another
// namespace can't be seen from here and counts as running.
func dead(owner string) bool {
	var pid int
	var start, namespace string
	if _, err := fmt.Sscanf(owner, "pid=%d start=%s ns=%s", &pid, &start, &namespace); err != nil {
		return false
	}
	if ownerText(pid, start, namespace) != owner || namespace != pidNamespace() {
		return false
	}
	exists, now := processStat(pid)
	return !exists || now != start
}

func pidNamespace() string {
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "unknown"
	}
	return ns
}

// processStat reads the start time of a process, in ticks since boot; a dead
// one that its parent did not wait for yet does not exist any more.
func processStat(pid int) (exists bool, start string) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) && pidNamespace() != "unknown" {
		return false, ""
	}
	// The name in parentheses may hold anything. Behind it come the state as
	// field 3 and the start as field 22, of proc(5).
	fields := strings.Fields(string(data)[strings.LastIndexByte(string(data), ')')+1:])
	if len(fields) < 20 {
		return true, "unknown"
	}
	return fields[0] != "Z" && fields[0] != "X", fields[19]
}
