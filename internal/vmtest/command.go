// SPDX-License-Identifier: MIT

package vmtest

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Command returns a command that runs a real tool of the VM, for cross-checks.
// It skips the test outside the VM; inside, it fails the test if the tool is
// not there (vmtest's flag -tools decides what is). The tool dies with the
// test.
//
// While no udevd runs, its environment has DM_DISABLE_UDEV=1. libdevmapper
// leaves the nodes in /dev/mapper to udev's rules even when it sees that no
// udevd runs, and lvm asks udev for the list of devices; with the variable set
// both do the work themselves.
func Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	need(t)
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("the VM has no %s; add its package to vmtest -tools: %v", name, err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	if _, err := os.Stat(udevControl); err != nil {
		cmd.Env = append(os.Environ(), "DM_DISABLE_UDEV=1")
	}
	return cmd
}

// Run runs a tool with Command and returns what it wrote to stdout and stderr.
// It fails the test if the tool fails.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := Command(t, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Output is Run for tools whose stdout is parsed: stderr is not part of the
// result, and is shown only if the tool fails.
func Output(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := Command(t, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return string(out)
}
