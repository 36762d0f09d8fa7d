// SPDX-License-Identifier: MIT

package runfile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Owner identifies the process that wrote a run file.
type Owner struct {
	PID   int
	Start uint64 // clock ticks since boot, field 22 of /proc/<pid>/stat
	Boot  string // /proc/sys/kernel/random/boot_id
	PIDNS string // what /proc/self/ns/pid links to
	// TimeNS is what /proc/self/ns/time links to, "" before Linux 5.6. The start
	// time in /proc is shifted by it (Linux fs/proc/array.c do_task_stat).
	TimeNS string
}

const format = 1

func (o Owner) fields() []Field {
	return []Field{
		{"pid", strconv.Itoa(o.PID)},
		{"start", strconv.FormatUint(o.Start, 10)},
		{"boot", o.Boot},
		{"pidns", o.PIDNS},
		{"timens", o.TimeNS},
	}
}

// ownerFrom reads the head line, whose id is the format's version.
func ownerFrom(version uint64, fields []Field) (Owner, error) {
	l := Left{Fields: fields}
	if version != format {
		return Owner{}, fmt.Errorf("format %d is unknown", version)
	}
	var o Owner
	var err error
	if o.PID, err = strconv.Atoi(l.Get("pid")); err != nil || o.PID <= 0 {
		return Owner{}, errors.New("bad pid")
	}
	if o.Start, err = strconv.ParseUint(l.Get("start"), 10, 64); err != nil {
		return Owner{}, errors.New("bad start time")
	}
	o.Boot, o.PIDNS, o.TimeNS = l.Get("boot"), l.Get("pidns"), l.Get("timens")
	return o, nil
}

// fileName is <kind>-<pid>-<start>-<n>.log.
func fileName(kind string, pid int, start uint64, n int) string {
	return fmt.Sprintf("%s-%d-%d-%d.log", kind, pid, start, n)
}

// parseName is the reverse of fileName. A kind may itself contain '-'.
func parseName(name string) (kind string, pid int, start uint64, ok bool) {
	base, isLog := strings.CutSuffix(name, ".log")
	part := strings.Split(base, "-")
	if !isLog || len(part) < 4 {
		return "", 0, 0, false
	}
	k := len(part) - 3
	kind = strings.Join(part[:k], "-")
	pid, err1 := strconv.Atoi(part[k])
	start, err2 := strconv.ParseUint(part[k+1], 10, 64)
	n, err3 := strconv.Atoi(part[k+2])
	if err1 != nil || err2 != nil || err3 != nil || n < 0 || pid <= 0 || !validName(kind) ||
		fileName(kind, pid, start, n) != name {
		return "", 0, 0, false
	}
	return kind, pid, start, true
}

// stat is what is used of /proc/<pid>/stat.
type stat struct {
	state   byte
	threads int
	start   uint64
}

// parseStat reads /proc/<pid>/stat. The command's name in parentheses may
// itself contain blanks, parentheses and newlines, so fields are counted from
// the last ')' (proc(5)).
func parseStat(data string) (stat, error) {
	i := strings.LastIndexByte(data, ')')
	if i < 0 {
		return stat{}, errors.New("no command name")
	}
	f := strings.Fields(data[i+1:])
	// f[0] is field 3, the state.
	if len(f) < 20 || len(f[0]) != 1 || f[0][0] < 'A' || f[0][0] > 'z' {
		return stat{}, errors.New("too few fields")
	}
	threads, err := strconv.Atoi(f[20-3])
	if err != nil {
		return stat{}, errors.New("bad number of threads")
	}
	start, err := strconv.ParseUint(f[22-3], 10, 64)
	if err != nil {
		return stat{}, errors.New("bad start time")
	}
	return stat{f[0][0], threads, start}, nil
}

// dead tells whether the process described by s has ended: a zombie whose
// other threads are gone too. As long as one thread of a killed process hangs
// in the kernel (a suspend in D state), its ioctl still goes on.
func (s stat) dead() bool {
	return (s.state == 'Z' || s.state == 'X' || s.state == 'x') && s.threads <= 1
}
