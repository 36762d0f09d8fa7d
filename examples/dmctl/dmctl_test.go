// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestLife drives a device through all its states.
func TestLife(t *testing.T) {
	b := newBench(t)
	b.prints("ls", "No devices found\n")
	b.prints("table", "No devices found\n")
	b.prints("info", "No devices found\n")
	b.ok("create lin -u TEST-1 --table '0 8192 linear /dev/ram0 0' --minor 7")
	if _, e, code := b.run("create --readonly top", "# a comment\n0 4096 linear /dev/mapper/lin 0\n\n4096 4096 zero\n"); code != 0 {
		t.Fatal(e)
	}
	b.prints("table", "lin: 0 8192 linear 1:0 0\ntop: 0 4096 linear 254:7 0\ntop: 4096 4096 zero \n")
	b.prints("table lin", "0 8192 linear 1:0 0\n")
	b.prints("table --uuid TEST-1", "0 8192 linear 1:0 0\n")
	b.prints("table --dev 254:7", "0 8192 linear 1:0 0\n")
	b.prints("status /dev/mapper/lin", "0 8192 linear \n")
	b.prints("ls", "lin\t(254:7)\tTEST-1\ntop\t(254:0)\n")
	b.prints("ls --tree", "top (254:0)\n └─lin (254:7)\n    └─ram0 (1:0)\n")
	b.prints("deps", "lin: 1 dependencies\t: (1, 0)\ntop: 1 dependencies\t: (254, 7)\n")
	b.prints("deps top", "1 dependencies\t: (254, 7)\n")
	b.prints("info top", `Name:              top
State:             ACTIVE (READ-ONLY)
Tables present:    LIVE
Open count:        0
Event number:      0
Major, minor:      254, 0
Number of targets: 2

`)
	b.ok("remove top")

	b.ok("load lin --table '0 16384 linear /dev/ram1 0'")
	b.prints("table lin --inactive", "0 16384 linear 1:1 0\n")
	if out := b.ok("info lin"); !strings.Contains(out, "LIVE & INACTIVE") || !strings.Contains(out, "UUID: TEST-1") {
		t.Errorf("info:\n%s", out)
	}
	b.ok("clear lin")
	b.prints("table lin --inactive", "")
	b.ok("suspend lin --noflush --nolockfs")
	if out := b.ok("info lin"); !strings.Contains(out, "State:             SUSPENDED\n") {
		t.Errorf("info:\n%s", out)
	}
	b.fails("reload lin --table '0 8 zero'", 1, "use load, and resume later")
	b.ok("load lin --table '0 8 zero'")
	b.ok("resume lin")
	b.prints("table lin", "0 8 zero \n")
	b.ok("reload lin --table '0 64 error'")
	b.prints("table lin", "0 64 error \n")
	b.ok("rename lin 'a b'")
	b.prints("ls", "a b\t(254:7)\tTEST-1\n")
	b.ok("reload 'a b' --table '0 8192 linear /dev/ram0 0'")
	b.fails("wipe 'a b'", 1, "set Force")
	b.ok("wipe 'a b' --force")
	b.prints("table 'a b'", "0 8192 error \n")
	b.ok("remove 'a b'")

	b.ok("create one --notable")
	b.ok("setuuid one U-1")
	b.prints("table", "one: \n")
	b.prints("ls", "one\t(254:0)\tU-1\n")
	b.ok("create two --notable")
	b.ok("remove one two --retry")
	b.ok("create three --notable")
	b.fails("remove_all", 1, "refused")
	b.ok("remove_all --force")
	b.prints("ls", "No devices found\n")
	b.prints("version", "Driver version:    4.47.0\n")
	b.prints("recover --dry-run", "nothing to recover\n")
	b.prints("mangle 'a b' a+b", "a\\x20b\na+b\n")
	b.prints("mangle --undo a\\x20b", "a b\n")
	if out := b.ok("targets"); !strings.Contains(out, "linear           v1.4.0\n") {
		t.Errorf("targets:\n%s", out)
	}
}

func TestMessage(t *testing.T) {
	b := newBench(t)
	b.ok("create lin --table '0 8192 linear /dev/ram0 0'")
	b.prints("message lin 0 @stats_create - 4096", "0\n")
	if out, e, code := b.run("message --dev 254:0 0", "@stats_list\n"); code != 0 || out != "0: 0+8192 4096 - -\n" {
		t.Errorf("message from stdin: status %d, %q %q", code, out, e)
	}
	b.fails("message lin 0 nonsense --force", 1, "message lin")
	b.fails("message lin x y", 2, "not a sector")
}

func TestJSON(t *testing.T) {
	b := newBench(t)
	for _, empty := range []string{"ls", "table", "status", "info", "deps", "users", "recover"} {
		b.prints("--json "+empty, "[]\n")
	}
	b.ok("create 'a b' --uuid U --table '0 8 zero'")
	for _, c := range []struct{ command, want string }{
		{"ls --json", `[{"name":"a\\x20b","text":"a b","dev":"254:0","uuid":"U","event_nr":0}]`},
		{"--json table", `[{"name":"a\\x20b","segments":[{"start":0,"length":8,"target":"zero","params":""}]}]`},
		{"deps --json", `[{"name":"a\\x20b","deps":[]}]`},
		{"version --json", `{"driver_version":"4.47.0"}`},
		{"events --json --initial --count 1", `{"kind":"created","name":"a\\x20b","uuid":"U","dev":"254:0","event_nr":0,"initial":true}`},
	} {
		var got, want any
		if err := json.Unmarshal([]byte(b.ok(c.command)), &got); err != nil {
			t.Errorf("%s: %v", c.command, err)
			continue
		}
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(err)
		}
		g, _ := json.Marshal(got)
		w, _ := json.Marshal(want)
		if string(g) != string(w) {
			t.Errorf("%s\n got %s\nwant %s", c.command, g, w)
		}
	}
}

// TestHelp keeps the help complete: every flag of a command is in its usage.
func TestHelp(t *testing.T) {
	b := newBench(t)
	all := b.ok("help")
	for _, c := range commands() {
		if !strings.Contains(all, "  "+c.usage()+"\n") || c.help == "" {
			t.Errorf("help says nothing of %s", c.name)
		}
		b.ok("help " + c.name)
		for _, f := range c.flags {
			if len(f) > 1 && f != "uuid" && f != "dev" && !strings.Contains(c.args, "--"+f) {
				t.Errorf("the usage of %s lacks --%s", c.name, f)
			}
		}
	}
}
