// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// vm is dmctl on the real kernel.
type vm struct{ *testing.T }

func (v vm) run(command, stdin string) (stdout, stderr string, code int) {
	var out, err bytes.Buffer
	open := func(ctx context.Context, opts ...dm.Option) (*dm.Client, error) {
		return dm.Open(ctx, append(opts, dm.WithRunDir(v.TempDir()))...)
	}
	code = run(v.Context(), line(command), strings.NewReader(stdin), &out, &err, open)
	return out.String(), err.String(), code
}

func (v vm) ok(command string) string {
	v.Helper()
	out, errText, code := v.run(command, "")
	if code != 0 {
		v.Fatalf("dmctl %s: status %d\n%s", command, code, errText)
	}
	return out
}

// same wants dmctl and dmsetup to print the same.
func (v vm) same(command string) {
	v.Helper()
	got, want := v.ok(command), vmtest.Output(v, "dmsetup", line(command)...)
	switch command {
	case "ls --tree": // dmsetup draws in ASCII here, disks have no names, and nothing is sorted
		got, want = treePaths(v, got), treePaths(v, want)
	case "targets": // dmsetup prints in the order of loading
		lines := slices.Sorted(strings.Lines(want))
		want = strings.Join(lines, "")
	}
	if inOrder(command, got) != inOrder(command, want) {
		v.Errorf("dmctl %s:\n%q\ndmsetup:\n%q", command, got, want)
	}
}

// inOrder sorts the devices in the output of a command on all devices: the
// older kernels list them in the order of a hash table, which dmsetup keeps.
// What belongs to one device stays as it is.
func inOrder(command, out string) string {
	var starts func(prev, line string) bool // a device's first line
	device := func(line string) string { name, _, _ := strings.Cut(line, ": "); return name }
	switch command {
	case "table", "table --inactive", "status", "deps": // lines with the name in front
		starts = func(prev, line string) bool { return device(prev) != device(line) }
	case "info": // an empty line behind each device
		starts = func(prev, _ string) bool { return prev == "\n" }
	default:
		return out
	}
	var blocks []string
	prev := ""
	for line := range strings.Lines(out) {
		if prev == "" || starts(prev, line) {
			blocks = append(blocks, "")
		}
		blocks[len(blocks)-1] += line
		prev = line
	}
	slices.Sort(blocks)
	return strings.Join(blocks, "")
}

func TestInOrder(t *testing.T) {
	for _, c := range []struct{ command, out, want string }{
		{"table", "b: 8 8 zero\nb: 0 8 error\na b: \n", "a b: \nb: 8 8 zero\nb: 0 8 error\n"},
		{"deps", "b: 1 dependencies\t: (1, 0)\na: 0 dependencies\t:\n", "a: 0 dependencies\t:\nb: 1 dependencies\t: (1, 0)\n"},
		{"info", "Name: b\nState: x\n\nName: a\nState: y\n\n", "Name: a\nState: y\n\nName: b\nState: x\n\n"},
		{"table b", "8 8 zero\n0 8 error\n", "8 8 zero\n0 8 error\n"},
		{"status", "No devices found\n", "No devices found\n"},
	} {
		if got := inOrder(c.command, c.out); got != c.want {
			t.Errorf("%s: %q", c.command, got)
		}
	}
}

// TestKernel cross-checks dmctl and dmsetup.
func TestKernel(t *testing.T) {
	vmtest.Require(t, "dm-mod")
	disks := vmtest.RAMDisks(t, 2)
	v := vm{t}
	t.Cleanup(func() {
		for _, name := range []string{"top", "lin", `a\x20b`} {
			v.run("remove --force "+name, "")
		}
	})
	v.same("table")
	v.same("info")
	v.ok("create lin --uuid TEST-1 --table '0 8192 linear " + disks[0] + " 0'")
	vmtest.Run(t, "dmsetup", "create", "top", "--readonly", "--table", "0 8192 linear /dev/mapper/lin 0")
	v.ok("create 'a b' --table '0 4096 striped 2 8 " + disks[0] + " 16384 " + disks[1] + " 0'")
	all := func() {
		t.Helper()
		for _, c := range []string{
			"table", "table lin", "status", "status top", "info", "info lin", "deps", "deps lin",
			"ls --tree", "targets", "table --inactive", "info --uuid TEST-1",
		} {
			v.same(c)
		}
	}
	all()
	vmtest.Run(t, "dmsetup", "suspend", "top")
	v.ok("load lin --table '0 16384 linear " + disks[0] + " 0'")
	all()
	v.ok("clear lin")
	v.ok("resume top")
	v.ok("reload lin --table '0 8192 linear " + disks[1] + " 0'")
	all()
	if out, _, code := v.run("message lin 0 @stats_create - 4096", ""); code != 0 || out != vmtest.Output(t, "dmsetup", "message", "lin", "0", "@stats_create", "-", "8192") && out != "0\n" {
		t.Errorf("message: status %d %q", code, out)
	}
	v.same("message lin 0 @stats_list")
	if out := v.ok("users lin"); !strings.HasPrefix(out, "top (") || strings.Count(out, "\n") != 1 {
		t.Errorf("users of lin: %q", out)
	}
	if _, e, code := v.run("remove lin", ""); code != 5 || !strings.Contains(e, "in use") {
		t.Errorf("status %d %s", code, e)
	}
	v.ok("wipe lin --force")
	all()
	// What the driver says when the table of top can't be.
	if _, e, code := v.run("create bad --table '0 8 frobnicate'", ""); code != 1 || !strings.Contains(e, "unknown target type") {
		t.Errorf("status %d %s", code, e)
	}
	v.ok("rename top 'a c'")
	if out := vmtest.Output(t, "dmsetup", "info", "a c"); !strings.Contains(out, "Number of targets: 1") {
		t.Error(out)
	}
	v.ok("rename 'a c' top")
	v.ok("remove top lin 'a b'")
	if out := v.ok("ls"); out != "No devices found\n" {
		t.Error(out)
	}
	v.same("table")
	if v.ok("version") == "" || v.ok("recover") != "nothing to recover\n" {
		t.Error("version, recover")
	}
}

// TestKernelKeys has the real crypt target hold a key.
func TestKernelKeys(t *testing.T) {
	vmtest.Require(t, "dm-crypt", "aes", "xts")
	disk := vmtest.RAMDisk(t)
	v := vm{t}
	t.Cleanup(func() { v.run("remove --force sec", "") })
	table := "0 8192 crypt aes-xts-plain64 " + secret + " 0 " + disk + " 0"
	v.ok("create sec --table '" + table + "'")
	if out := vmtest.Output(t, "dmsetup", "table", "--showkeys", "sec"); !strings.Contains(out, secret) {
		t.Error(out)
	}
	v.same("table --showkeys sec")
	for _, c := range []string{
		"--dump table sec", "--dump table --json", "--dump status sec", "--dump load sec --table '" + table + "'",
		"--dump message sec 0 key set " + secret, "--dump create sec2 --table '" + table + " 3 a b c'",
		"--dump info sec", "--dump table sec --inactive",
	} {
		out, errText, _ := v.run(c, "")
		if errText == "" || strings.Contains(out+errText, secret[:8]) || strings.Contains(out+errText, secret[40:]) {
			t.Errorf("dmctl %s:\n%s%s", c, out, errText)
		}
	}
	v.ok("remove sec")
}
