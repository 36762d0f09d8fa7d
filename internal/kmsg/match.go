// SPDX-License-Identifier: MIT

package kmsg

import (
	"slices"
	"strconv"
	"strings"
)

// Subject says whose messages are wanted.
type Subject struct {
	// Dev is the device's number, "254:0"; "" when it has none (yet).
	Dev string
	// Name is the device-mapper name as the kernel knows it; "" when unknown.
	Name string
	// TID is the thread that made the ioctl (gettid between
	// runtime.LockOSThread and UnlockOSThread); 0 when unknown. It decides on
	// kernels with CONFIG_PRINTK_CALLER.
	TID int
	// Alone says that this program ran no other storage ioctl between Mark and
	// Collect. Only then are lines without any device in them believed on
	// kernels without CONFIG_PRINTK_CALLER; dm-raid's and md's are such.
	Alone bool
}

// Match returns what the records say about the subject, in one line, "" when
// nothing. Only warnings and errors of the kernel itself count, never a line
// that names another device, or that another thread caused without naming this
// one. The parts that repeat what the caller knows are cut off:
// "device-mapper: table: 254:0: linear: Invalid argument count (-EINVAL)"
// becomes "linear: Invalid argument count (-EINVAL)". Several lines are joined
// by "; ".
func Match(records []Record, s Subject) string {
	all := make([]line, 0, len(records))
	alone := s.Alone
	for _, r := range records {
		if r.Facility != 0 {
			continue
		}
		l := classify(r, s)
		if l.whose == others {
			alone = false // somebody else was at work too
		}
		// Information is no reason, but it has shown who was at work.
		if l.text != "" && l.whose != others && r.Priority <= LevelNotice {
			all = append(all, l)
		}
	}
	all = slices.DeleteFunc(all, func(l line) bool { return l.whose == nobodys && !alone })
	if slices.ContainsFunc(all, func(l line) bool { return !l.general }) {
		all = slices.DeleteFunc(all, func(l line) bool { return l.general })
	}
	all = slices.CompactFunc(all, func(a, b line) bool { return a.text == b.text })
	out := make([]string, len(all))
	for i, l := range all {
		out[i] = l.text
	}
	return strings.Join(out, "; ")
}

type owner uint8

const (
	nobodys owner = iota // names no device
	ours
	others
)

type line struct {
	text    string // "" when not storage's
	whose   owner
	general bool // says only that something failed
}

// byCaller tells that the kernel names our thread as the one that logged.
func byCaller(r Record, s Subject) bool {
	return s.TID > 0 && r.Caller == "T"+strconv.Itoa(s.TID)
}

// classify cuts one record's text down and tells whose it is. What names no
// device is ours when our thread logged it, and somebody else's when another
// thread did.
func classify(r Record, s Subject) line {
	l := judge(r, s)
	if l.text != "" && l.whose == nobodys && s.TID > 0 && strings.HasPrefix(r.Caller, "T") {
		l.whose = others
		if byCaller(r, s) {
			l.whose = ours
		}
	}
	return l
}

// judge goes by the text alone.
func judge(r Record, s Subject) line {
	text := strings.TrimSpace(strings.ReplaceAll(r.Text, "\n", " "))
	rest, isDM := strings.CutPrefix(text, "device-mapper: ")
	if !isDM {
		if !isMD(text) {
			return line{}
		}
		l := line{text: text}
		// Every dm-raid array is called mdX (Linux drivers/md/md.c mdname), and
		// which one is not told; md127 and the like are arrays of md's own.
		if namesArray(text) {
			l.whose = others
		}
		return l
	}
	// "table: 254:0: linear: …", "thin: 254:1: switching …", "ioctl: error …".
	// The subject, if there is one, comes right after the subsystem: the macros
	// DMERR and DMWARN put the latter, dm_device_name the former
	// (Linux include/linux/device-mapper.h).
	sub, msg, ok := strings.Cut(rest, ": ")
	if !ok {
		sub, msg = "", rest
	}
	l := line{text: rest, general: sub == "ioctl" && msg == "error adding target to table"}
	dev, after, ok := strings.Cut(msg, ": ")
	switch {
	case sub == "verity" || sub == "verity-fec":
		// verity names the device below it (dm-verity-target.c
		// verity_handle_err): the same token there means another device's
		// message, and the owner is not told.
		if ok && isDev(dev) && dev == s.Dev {
			l.whose = others
		}
	case ok && isDev(dev):
		if dev != s.Dev {
			l.whose = others
			return l
		}
		l.whose = ours
		if sub == "table" {
			l.text = after
		} else {
			l.text = sub + ": " + after
		}
		return l
	default:
		if d := inParens(msg); d != "" {
			l.whose = others
			if d == s.Dev {
				l.whose = ours
			}
			return l
		}
	}
	if sub == "ioctl" {
		if n, ok := nameIn(msg); ok {
			l.whose = others
			if s.Name != "" && (n == s.Name || strings.HasPrefix(n, s.Name+" ")) {
				l.whose = ours
			}
			return l
		}
	}
	return l
}

// namesArray tells whether a word of text is md and a number.
func namesArray(text string) bool {
	words := strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(" :,./()", c) })
	return slices.ContainsFunc(words, func(w string) bool {
		n, ok := strings.CutPrefix(w, "md")
		return ok && digits(n)
	})
}

// isMD tells md's lines: "md: …", "md/raid1:mdX: …", "mdX: bitmap …", "md127: …".
func isMD(text string) bool {
	rest, ok := strings.CutPrefix(text, "md")
	if !ok || rest == "" {
		return false
	}
	if rest[0] == ':' || rest[0] == '/' {
		return true
	}
	head, _, ok := strings.Cut(rest, ":")
	if !ok {
		return false
	}
	return head == "X" || strings.Trim(head, "0123456789") == ""
}

// isDev tells whether s is "major:minor".
func isDev(s string) bool {
	major, minor, ok := strings.Cut(s, ":")
	return ok && digits(major) && digits(minor)
}

func digits(s string) bool {
	return s != "" && len(s) <= 10 && strings.Trim(s, "0123456789") == ""
}

// inParens finds "(254:0)".
func inParens(msg string) string {
	for {
		_, after, ok := strings.Cut(msg, "(")
		if !ok {
			return ""
		}
		if d, _, ok := strings.Cut(after, ")"); ok && isDev(d) {
			return d
		}
		msg = after
	}
}

// The messages of Linux drivers/md/dm-ioctl.c that name a device by its name.
// A name may hold blanks and the words of any message, so it is only looked
// for where one of these sentences has it.
var nameAfter = [...]string{
	"unable to remove open device ",
	"on mapped device ",
	"Unable to rename non-existent device, ",
	"asked to geometry of non-existent device, ",
}

// nameIn returns what follows one of these phrases. The name is its beginning.
func nameIn(msg string) (string, bool) {
	for _, p := range nameAfter {
		if _, after, ok := strings.Cut(msg, p); ok {
			return after, true
		}
	}
	return "", false
}
