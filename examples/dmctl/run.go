// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/linuxblock/linuxblock/dm"
)

// opener is dm.Open, or a test's that opens a double.
type opener func(ctx context.Context, opts ...dm.Option) (*dm.Client, error)

// tool is one run of dmctl.
type tool struct {
	*dm.Client
	options
	in  io.Reader
	out io.Writer
}

// usageError is a bad command line: exit status 2.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// run does one command and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, open opener) int {
	err := runCommand(ctx, args, stdin, stdout, stderr, open)
	if err == nil {
		return 0
	}
	code := exitCode(err)
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		fmt.Fprintf(stderr, "dmctl: %v\n", err)
		return code
	}
	fmt.Fprintf(stderr, "dmctl: %s%s\n", strings.TrimPrefix(err.Error(), "dm: "), hint(err))
	return code
}

func runCommand(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, open opener) error {
	t := &tool{in: stdin, out: stdout}
	cmd, rest, err := t.parse(args)
	if err != nil {
		return err
	}
	if cmd.name == "help" {
		return t.help(rest)
	}
	if !cmd.offline {
		var opts []dm.Option
		if t.dump {
			opts = append(opts, dm.WithTrace((&dumper{w: stderr}).trace))
		}
		if t.Client, err = open(ctx, opts...); err != nil {
			return err
		}
		// Close waits for what a cancelled call left to the kernel.
		defer t.Client.Close()
	}
	return cmd.run(ctx, t, rest)
}

// exitCode tells scripts why a command failed.
func exitCode(err error) int {
	usage := (*usageError)(nil)
	switch {
	case errors.As(err, &usage):
		return 2
	case errors.Is(err, context.Canceled):
		return 130
	case errors.Is(err, fs.ErrNotExist):
		return 3
	case errors.Is(err, fs.ErrExist):
		return 4
	case errors.Is(err, dm.ErrBusy):
		return 5
	case errors.Is(err, fs.ErrPermission):
		return 6
	}
	return 1
}

// hint says what to do about an error, where that is known.
func hint(err error) string {
	e := (*dm.Error)(nil)
	switch {
	case errors.Is(err, dm.ErrPending):
		return "\n  the kernel is still at it; see: dmctl info"
	case errors.Is(err, dm.ErrBusy):
		text := "\n  who has it open: dmctl users, /proc/mounts"
		if errors.As(err, &e) && e.Op == "remove" {
			text += "; try again with --retry, or leave it to the kernel with --deferred"
		}
		return text
	case errors.Is(err, fs.ErrPermission):
		return "\n  device-mapper wants CAP_SYS_ADMIN: run as root"
	case errors.Is(err, errors.ErrUnsupported):
		return "\n  dmctl needs Linux 4.14 or newer with the module dm-mod"
	}
	return ""
}

const intro = `dmctl drives device-mapper.

usage: dmctl [--json] [--dump] COMMAND [arguments]

  --json  print JSON
  --dump  show each ioctl on stderr, keys left out

Names are mangled as dmsetup does: blanks and the like become \xNN. Where a
NAME is wanted, --uuid U or --dev MAJOR:MINOR may stand in its place. A table
is lines of "start length target arguments…" in sectors of 512 bytes, from
--table or from stdin.

`

// help prints the list of commands, or the use of one.
func (t *tool) help(args []string) error {
	if len(args) > 0 {
		cmd := find(args[0])
		if cmd == nil {
			return usagef("unknown command %q", args[0])
		}
		fmt.Fprintf(t.out, "usage: dmctl %s\n  %s\n", cmd.usage(), cmd.help)
		return nil
	}
	io.WriteString(t.out, intro)
	for _, c := range commands() {
		fmt.Fprintf(t.out, "  %s\n        %s\n", c.usage(), c.help)
	}
	fmt.Fprint(t.out, "\nexit status: 0 done, 1 refused or failed, 2 bad command line, 3 no such device,\n"+
		"4 name taken, 5 in use, 6 no permission, 130 interrupted\n")
	return nil
}
