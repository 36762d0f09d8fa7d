// SPDX-License-Identifier: MIT

package main

import (
	"strings"
	"testing"
)

func TestFindTrouble(t *testing.T) {
	for _, c := range []struct{ name, log, kind, line, first string }{
		{name: "quiet", log: "[    0.1] Linux version\r\nbrd: module loaded\r\n"},
		{
			name: "panic", log: "one\ntwo\n[   12.5] sysrq: Trigger a crash\r\n[   12.6] Kernel panic - not syncing: sysrq triggered crash\r\nCPU: 0\n",
			kind: "kernel panic", line: "Kernel panic - not syncing: sysrq triggered crash", first: "one",
		},
		{
			name: "oops", kind: "kernel panic", line: "Kernel panic - not syncing: Fatal exception", first: "three",
			log: "one\ntwo\nthree\nfour\nfive\nBUG: kernel NULL pointer dereference, address: 0000000000000000\n" + strings.Repeat("trace\n", 20) + "Kernel panic - not syncing: Fatal exception\n",
		},
		{name: "init", log: "\x1b[2J\x1bcvmtest init: no virtio-serial port\n", kind: "vmtest's init failed", line: "vmtest init: no virtio-serial port", first: "vmtest init: no virtio-serial port"},
		{name: "oom", log: "Out of memory: Killed process 114 (x.test) total-vm:1kB\n", kind: "out of memory", line: "Out of memory: Killed process 114 (x.test) total-vm:1kB", first: "Out of memory: Killed process 114 (x.test) total-vm:1kB"},
		{name: "warn", log: "WARNING: CPU: 1 PID: 77 at drivers/md/md.c:100 md_run+0x1/0x2 [md_mod]\n", kind: "kernel warning", line: "WARNING: CPU: 1 PID: 77 at drivers/md/md.c:100 md_run+0x1/0x2 [md_mod]", first: "WARNING: CPU: 1 PID: 77 at drivers/md/md.c:100 md_run+0x1/0x2 [md_mod]"},
		{name: "hung", log: "INFO: task lvm:12 blocked for more than 120 seconds.\n", kind: "hung task", line: "INFO: task lvm:12 blocked for more than 120 seconds.", first: "INFO: task lvm:12 blocked for more than 120 seconds."},
	} {
		got := findTrouble(c.log, 10)
		if c.kind == "" {
			if got != nil {
				t.Errorf("%s: found %+v", c.name, got)
			}
			continue
		}
		if got == nil || got.name != c.kind || got.line != c.line || got.tail[0] != c.first || len(got.tail) > 10 {
			t.Errorf("%s: got %+v, want %s: %s from %q", c.name, got, c.kind, c.line, c.first)
		}
	}
}

func TestTailOf(t *testing.T) {
	log := "a\nb\nc\n\n[ 1.0] d\r\n"
	if got := strings.Join(tailOf(log, 2), " "); got != "c d" {
		t.Errorf("tail %q, want c d", got)
	}
	log = "a\nsysrq: Show Blocked State\ntask:x state:D\n more\nsysrq: Show backtrace of all active CPUs\n"
	if got := strings.Join(tailOf(log, 2), "|"); got != "sysrq: Show Blocked State|task:x state:D" {
		t.Errorf("tail %q", got)
	}
}
