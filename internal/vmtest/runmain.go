// SPDX-License-Identifier: MIT

package vmtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// RunMain is for a program with a mode that needs the VM: it runs one test of
// the program's package there, whose output it passes on as it comes, without
// the lines of go test. pkg is an import path, as vmtest takes it. It returns
// the exit status: 0 when the test passed, 2 when the VM could not be had.
//
// The go command must be there, and the working directory must be inside the
// module. When ctx is done the VM is ended.
func RunMain(ctx context.Context, pkg, test string, stdout, stderr io.Writer) int {
	cmd := exec.CommandContext(ctx, "go", "run", "github.com/linuxblock/linuxblock/internal/cmd/vmtest",
		"-v", "-run", "^"+test+"$", pkg)
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false "+os.Getenv("GOFLAGS"))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	for sc := bufio.NewScanner(out); sc.Scan(); {
		if line := sc.Text(); !ofGoTest(line, test) {
			fmt.Fprintln(stdout, line)
		}
	}
	if err := cmd.Wait(); err != nil {
		if cmd.ProcessState == nil || ctx.Err() != nil {
			fmt.Fprintln(stderr, err)
			return 2
		}
		return max(cmd.ProcessState.ExitCode(), 1)
	}
	return 0
}

// ofGoTest reports whether a line is go test's own and tells of no failure.
func ofGoTest(line, test string) bool {
	return line == "PASS" || line == "=== RUN   "+test ||
		strings.HasPrefix(line, "--- PASS: "+test+" (") || strings.HasPrefix(line, "ok  \t")
}
