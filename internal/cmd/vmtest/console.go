// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"regexp"
	"strings"
)

// How the kernel announces that it is in trouble, worst first. The texts are
// those of kernel/panic.c, arch/x86/kernel/dumpstack.c, mm/oom_kill.c,
// kernel/watchdog.c and kernel/hung_task.c.
var troubles = []struct {
	name string
	re   *regexp.Regexp
}{
	{"kernel panic", regexp.MustCompile(`Kernel panic - not syncing: .*`)},
	{"kernel oops", regexp.MustCompile(`(BUG: (unable to handle|kernel NULL pointer).*|Oops: .*|general protection fault.*|kernel BUG at .*|invalid opcode: .*)`)},
	{"vmtest's init failed", regexp.MustCompile(`vmtest init: .*`)},
	{"out of memory", regexp.MustCompile(`(Out of memory: Killed process .*|oom-kill:.*)`)},
	{"soft lockup", regexp.MustCompile(`watchdog: BUG: soft lockup.*`)},
	{"hung task", regexp.MustCompile(`INFO: task .* blocked for more than .*`)},
	{"kernel warning", regexp.MustCompile(`WARNING: (CPU: \d+ PID: \d+ )?.* at .*|WARNING: .* lock.*`)},
}

// trouble is what the console's log says went wrong.
type trouble struct {
	name string   // "kernel panic"
	line string   // the kernel's own words
	tail []string // the log around it
}

// findTrouble looks for the worst trouble in a console log. Its tail starts a
// few lines before the first mark of that kind and has at most n lines. It
// returns nil for a quiet log.
func findTrouble(log string, n int) *trouble {
	lines := consoleLines(log)
	for _, t := range troubles {
		for i, l := range lines {
			found := t.re.FindString(l)
			if found == "" {
				continue
			}
			// An oops is the cause of the panic that follows it, and is
			// more interesting.
			from := i
			for j := 0; j < i; j++ {
				if troubles[1].re.MatchString(lines[j]) {
					from = j
					break
				}
			}
			from = max(0, from-3)
			return &trouble{name: t.name, line: found, tail: lines[from:min(len(lines), from+n)]}
		}
	}
	return nil
}

// tailOf returns the last n lines of a console log, or the first n of the
// list of blocked tasks if init has asked the kernel for it.
func tailOf(log string, n int) []string {
	lines := consoleLines(log)
	for i, l := range lines {
		if strings.Contains(l, "sysrq: Show Blocked State") {
			return lines[i:min(len(lines), i+n)]
		}
	}
	return lines[max(0, len(lines)-n):]
}

var (
	stamp  = regexp.MustCompile(`^\[ *\d+\.\d+\](\[[ TC]*\d+\])? ?`)
	escape = regexp.MustCompile("\x1b(\\[[0-9;?]*[a-zA-Z]|c)")
)

// consoleLines splits a log into lines without terminal escapes, time stamps,
// carriage returns and empty lines.
func consoleLines(log string) []string {
	var lines []string
	for l := range strings.Lines(escape.ReplaceAllString(log, "")) {
		l = stamp.ReplaceAllString(strings.TrimRight(l, "\r\n "), "")
		if strings.TrimSpace(l) != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

// consoleLog is the file that QEMU writes the console to.
type consoleLog string

// from returns what was written behind an offset, and the new offset.
func (c consoleLog) from(offset int64) (string, int64) {
	data, err := os.ReadFile(string(c))
	if err != nil || int64(len(data)) < offset {
		return "", offset
	}
	return string(data[offset:]), int64(len(data))
}
