// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/internal/dmwire"
)

const dumped = `#1 > VERSION
     version 4.0.0  data_size 312  data_start 312  target_count 0  open_count 0
     flags EXISTS  event_nr 0  dev 0:0
#1 < ok
     version 4.47.0  data_size 312  data_start 312  target_count 0  open_count 0
     flags EXISTS  event_nr 0  dev 0:0
#2 > DEV_STATUS
     version 4.0.0  data_size 312  data_start 312  target_count 0  open_count 0
     flags EXISTS  event_nr 0  dev 0:0
     name "lin"  uuid ""
#2 < ok
     version 4.47.0  data_size 305  data_start 312  target_count 1  open_count 0
     flags EXISTS|ACTIVE_PRESENT  event_nr 0  dev 254:0
     name "lin"  uuid "U"
#3 > TABLE_LOAD
     version 4.0.0  data_size 360  data_start 312  target_count 1  open_count 0
     flags EXISTS  event_nr 0  dev 0:0
     name "lin"  uuid ""
     0 16 linear /dev/ram1 8
     0000  00 00 00 00 00 00 00 00  10 00 00 00 00 00 00 00  |................|
     0010  00 00 00 00 38 00 00 00  6c 69 6e 65 61 72 00 00  |....8...linear..|
     0020  00 00 00 00 00 00 00 00  2f 64 65 76 2f 72 61 6d  |......../dev/ram|
     0030  31 20 38 00 00 00 00 00                           |1 8.....|
#3 < ok
     version 4.47.0  data_size 305  data_start 312  target_count 1  open_count 0
     flags EXISTS|ACTIVE_PRESENT|INACTIVE_PRESENT  event_nr 0  dev 254:0
     name "lin"  uuid "U"
`

func TestDump(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the bytes are those of a little-endian machine")
	}
	b := newBench(t)
	b.ok("create lin --uuid U --table '0 8 zero'")
	_, got, code := b.run("load lin --table '0 16 linear /dev/ram1 8' --dump", "")
	want := strings.Replace(dumped, "data_size 360", "data_size 368", 1)
	if code != 0 || got != want {
		t.Errorf("status %d\n%s\nwant\n%s", code, got, want)
	}
}

// TestDumpAll has every command decoded: a payload that is not is a gap.
func TestDumpAll(t *testing.T) {
	b := newBench(t)
	b.ok("create low --table '0 8192 linear /dev/ram0 0'")
	for _, c := range []struct{ command, want string }{
		{"create lin --minor 9 --table '0 8192 linear /dev/mapper/low 0'", "flags EXISTS|PERSISTENT_DEV  udev flags"},
		{"ls", `254:9 "lin" uuid "" event_nr 0`},
		{"deps lin", "     254:0\n"},
		{"status lin", "     0 8192 linear\n"},
		{"targets", "     striped 1.6.0\n"},
		{"message lin 0 @stats_create - 4096", `sector 0 message "@stats_create - 4096"`},
		{"message lin 0 @stats_list", `"0: 0+8192 4096 - -\n"`},
		{"suspend lin --noflush --nolockfs", "SUSPEND|EXISTS|PERSISTENT_DEV|SKIP_LOCKFS|NOFLUSH"},
		{"resume lin", "#3 > DEV_SUSPEND\n"},
		{"rename lin lon", "     \"lon\"\n"},
		{"setuuid lon U", "flags EXISTS|UUID "},
		{"wait lon 0", "DEV_WAIT"},
		{"remove lon", "DEV_REMOVE"},
	} {
		_, got, code := b.run("--dump "+c.command, "")
		if code != 0 || !strings.Contains(got, c.want) || strings.Contains(got, "not known") {
			t.Errorf("dmctl --dump %s: status %d, want %q in\n%s", c.command, code, c.want, got)
		}
	}
	_, got, code := b.run("--dump info nosuch", "")
	if code != 3 || !strings.Contains(got, "#2 < errno 6\n") {
		t.Errorf("status %d\n%s", code, got)
	}
}

// crypt is as much of dm-crypt as has to do with its key.
type crypt struct{ argv []string }

func (c crypt) Table() string                         { return strings.Join(c.argv, " ") }
func (c crypt) Status(bool) string                    { return "" }
func (c crypt) Message(argv []string) (string, error) { return "", nil }

const secret = "00112233445566778899aabbccddeeff00112233445566778899aabbccddee42"

// TestKeys looks for the key in all that dmctl prints, as text and in hex.
func TestKeys(t *testing.T) {
	b := newBench(t)
	b.k.AddTarget(dmtest.Target{Name: "crypt", New: func(a *dmtest.Args) (dmtest.Instance, error) {
		if len(a.Argv) != 5 {
			return nil, a.Fail(dmtest.EINVAL, "Not enough arguments")
		}
		_, err := a.Open(a.Argv[3])
		return crypt{a.Argv}, err
	}})
	table := "0 8192 crypt aes-xts-plain64 " + secret + " 0 /dev/ram0 0"
	escaped := "0 8192 crypt aes-xts-plain64 " + secret[:7] + `\` + secret[7:] + " 0 /dev/ram0 0"
	var spelt strings.Builder // as a hex dump has it
	for _, c := range []byte(secret[40:46]) {
		spelt.WriteString(hex.EncodeToString([]byte{c}) + " ")
	}
	for _, command := range []string{
		"create sec --table '" + table + "'",
		"load sec --table '" + escaped + "'",
		"create sec --table '" + table + "'",
		"create no --table '" + table + " 17 more'",
		"table sec", "table --inactive", "table --json", "status", "ls", "info",
		"message sec 0 key set " + secret,
		"message sec 0  KEY  SET " + secret,
		"wipe sec --force",
	} {
		for _, flag := range []string{"--dump ", "--dump --json "} {
			out, errText, _ := b.run(flag+command, "")
			for _, s := range []string{secret[:7], secret[40:], spelt.String()} {
				if strings.Contains(out+errText, s) {
					t.Errorf("dmctl %s%s shows the key:\n%s%s", flag, command, out, errText)
				}
			}
		}
	}
	b.ok("create key --table '" + table + "'")
	if out := b.ok("table key --showkeys"); !strings.Contains(out, secret) {
		t.Errorf("--showkeys: %s", out)
	}
	if out := b.ok("table key --showkeys --json"); !strings.Contains(out, secret) {
		t.Errorf("--showkeys --json: %s", out)
	}
}

// TestDumpGarbage feeds what no kernel sends.
func TestDumpGarbage(t *testing.T) {
	p := decode("TABLE_LOAD", dmwire.Header{TargetCount: 2}, []byte(strings.Repeat(secret, 2)), true)
	if len(p.bytes) != 0 || len(p.lines) != 1 || strings.Contains(p.lines[0], secret[:6]) {
		t.Errorf("%q %q", p.lines, p.bytes)
	}
	if p := decode("NEW_COMMAND", dmwire.Header{}, []byte(secret), false); len(p.bytes) != 0 || len(p.lines) != 1 {
		t.Errorf("%q %q", p.lines, p.bytes)
	}
	var b strings.Builder
	dumpBuffer(&b, "VERSION", []byte("short"), true)
	if !strings.Contains(b.String(), "truncated") {
		t.Error(b.String())
	}
	if got := flagNames(1<<31 | dmwire.Suspend); got != "SUSPEND|0x80000000" {
		t.Error(got)
	}
	if got := flagNames(0); got != "0" {
		t.Error(got)
	}
}
