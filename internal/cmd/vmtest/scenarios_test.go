// SPDX-License-Identifier: MIT

//go:build linux && vmscenarios

package main

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What must not be taken for a success: each scenario boots a VM, so that all
// of them take some minutes, and they run only when asked for:
//
//	go test -tags vmscenarios -timeout 60m -run Scenarios ./internal/cmd/vmtest
func TestScenarios(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "vmtest")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range []struct {
		name, args string
		status     int
		want       []string // in stdout or stderr
		not        []string
	}{
		{
			name: "all is well", args: "./testdata/passes ../../vmtest/kmod ./guest", status: 0,
			want: []string{"ok  \tP/testdata/passes\t", "?   \tP/guest\t[no test files]", "left processes behind: udevadm"},
			not:  []string{"a message that only -v shows"},
		},
		{
			name: "verbose", args: "-v -run TestPass|TestSub/one ./testdata/passes", status: 0,
			want: []string{"=== RUN   TestPass\n", "a message that only -v shows", "=== RUN   TestSub/one\n"}, not: []string{"TestSub/two"},
		},
		{
			name: "bench", args: "-run XXX -bench . -benchtime 100x -benchmem ./testdata/passes", status: 0,
			want: []string{"BenchmarkNothing", "ns/op", "0 allocs/op", "ok  \t"},
		},
		{
			name: "failure", args: "./testdata/fails ./testdata/passes", status: 1,
			want: []string{"--- FAIL: TestFails/bad/deep", "FAIL\tP/testdata/fails\t", "ok  \tP/testdata/passes\t"}, not: []string{"of no interest"},
		},
		{
			name: "failfast", args: "-failfast ./testdata/fails ./testdata/passes", status: 1,
			want: []string{"FAIL\tP/testdata/passes [not run: -failfast]"},
		},
		{
			name: "does not compile", args: "./testdata/broken ./testdata/passes", status: 1,
			want: []string{"undefined: thisDoesNotCompile", "FAIL\tP/testdata/broken [build failed]", "ok  \tP/testdata/passes\t"},
		},
		{
			name: "kernel panic", args: "./testdata/passes ./testdata/panics ./testdata/exits", status: 1,
			want: []string{
				"ok  \tP/testdata/passes\t", "before the crash", "vmtest: running then: TestPanic", "Kernel panic - not syncing: sysrq triggered crash",
				"sysrq_handle_crash", "[the VM died]", "FAIL\tP/testdata/exits [not run: kernel panic]",
			},
		},
		{
			name: "hang", args: "-timeout 3s ./testdata/hangs ./testdata/passes", status: 1,
			want: []string{"panic: test timed out after 3s", "hangs.TestHang", "FAIL\tP/testdata/hangs\t", "ok  \tP/testdata/passes\t"},
		},
		{
			name: "hang in the kernel", args: "-timeout 3s ./testdata/stuck ./testdata/passes", status: 1,
			want: []string{"cannot be killed", "sysrq: Show Blocked State", "FAIL\tP/testdata/passes [not run: the VM is stuck]"},
		},
		{
			name: "VM timeout", args: "-vm-timeout 2s ./testdata/passes", status: 1,
			want: []string{"longer than -vm-timeout allows", "FAIL\tP/testdata/passes [not run:"},
		},
		{name: "os.Exit", args: "./testdata/exits", status: 1, want: []string{"about to leave", "exit status 3", "FAIL\tP/testdata/exits\t"}},
		{
			name: "out of memory", args: "-memory 768M ./testdata/oom ./testdata/passes", status: 1,
			want: []string{"Out of memory: Killed process", "signal: killed", "FAIL\tP/testdata/oom\t", "ok  \tP/testdata/passes\t"},
		},
		{
			name: "skip", args: "./testdata/skips", status: 1,
			want: []string{"TestSkip was skipped, and nothing may be skipped in the VM: no reason to be here", "[1 skipped]"},
		},
		{name: "skip allowed", args: "-short -allow-skips ./testdata/skips", status: 0, want: []string{"ok  \t"}},
		{
			name: "no init", args: "-append rdinit=/nope ./testdata/passes", status: 1,
			want: []string{"Kernel panic - not syncing", "FAIL\tP/testdata/passes [not run: kernel panic]"},
		},
		{name: "json", args: "-json ./testdata/fails", status: 1, want: []string{`"Action":"fail","Package":"P/testdata/fails","Test":"TestFails/bad"`}},
		{name: "unknown suite", args: "-kernel potato ./testdata/passes", status: 2, want: []string{"potato"}},
		{name: "unknown tool", args: "-tools no-such-tool ./testdata/passes", status: 2, want: []string{"no-such-tool"}},
		{
			name: "two VMs", args: "-peers 2 -v -run TestPeers ../../vmtest", status: 0,
			want: []string{"ok  \tgithub.com/linuxblock/linuxblock/internal/vmtest [peer 0]", "ok  \tgithub.com/linuxblock/linuxblock/internal/vmtest [peer 1]"},
		},
		{name: "one VM", args: "-run TestPeers ../../vmtest", status: 0, want: []string{"not run: ", "needs two VMs"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			var out bytes.Buffer
			cmd := exec.CommandContext(ctx, bin, strings.Fields(c.args)...)
			cmd.Stdout, cmd.Stderr = &out, &out
			_ = cmd.Run()
			text := strings.ReplaceAll(out.String(), "github.com/linuxblock/linuxblock/internal/cmd/vmtest", "P")
			if got := cmd.ProcessState.ExitCode(); got != c.status {
				t.Errorf("exit status %d, want %d", got, c.status)
			}
			for _, w := range c.want {
				if !strings.Contains(text, w) {
					t.Errorf("no %q", w)
				}
			}
			for _, w := range c.not {
				if strings.Contains(text, w) {
					t.Errorf("%q should not be there", w)
				}
			}
			if t.Failed() {
				t.Logf("vmtest %s\n%s", c.args, text)
			}
		})
	}
}
