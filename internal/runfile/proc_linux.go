// SPDX-License-Identifier: MIT

package runfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// self describes this process.
func self() (Owner, error) {
	o := Owner{PID: os.Getpid()}
	data, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return o, err
	}
	st, err := parseStat(string(data))
	if err != nil {
		return o, err
	}
	o.Start = st.start
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return o, err
	}
	o.Boot = strings.TrimSpace(string(boot))
	if o.PIDNS, err = os.Readlink("/proc/self/ns/pid"); err != nil {
		return o, err
	}
	if o.TimeNS, err = os.Readlink("/proc/self/ns/time"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return o, err
	}
	return o, nil
}

// alive tells whether the process with this id and start time still runs in
// our pid namespace.
func alive(pid int, start uint64) (bool, error) { return aliveIn("/proc", pid, start) }

func aliveIn(proc string, pid int, start uint64) (bool, error) {
	data, err := os.ReadFile(fmt.Sprintf("%s/%d/stat", proc, pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		// A /proc mounted with hidepid shows no processes of others. The start
		// time can't be had then: what has this id counts as our process.
		return syscall.Kill(pid, 0) != syscall.ESRCH, nil
	}
	if err != nil {
		return false, err
	}
	st, err := parseStat(string(data))
	if err != nil {
		return false, err
	}
	return st.start == start && !st.dead(), nil
}
