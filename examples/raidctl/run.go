// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

// tool is one run of raidctl.
type tool struct {
	options
	ground
	c   *dm.Client
	in  *bufio.Reader
	out io.Writer
	err io.Writer
}

// options are the flags of all commands together.
type options struct {
	yes, force, plan    bool
	repair, once, draft bool
	chunk, region, size size
	files, output       string
	count               int
	rate                int64
}

// usageError is a bad command line: exit status 2.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errDegraded ends status and verify when not all is well, errDiffers a scrub.
var (
	errDegraded = errors.New("not all legs are there and in sync")
	errDiffers  = errors.New("the legs differ")
)

// run does one command and returns the exit status.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer, g ground) int {
	t := &tool{ground: g, in: bufio.NewReader(in), out: out, err: errOut}
	err := t.command(ctx, args)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errDegraded), errors.Is(err, errDiffers):
		return 7 // it was said already
	}
	fmt.Fprintf(errOut, "raidctl: %s%s\n", strings.TrimPrefix(strings.TrimPrefix(err.Error(), "dmraid: "), "dm: "), hint(err))
	return exitCode(err)
}

func (t *tool) command(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return usagef("no command; see: raidctl help")
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		return t.help()
	}
	for _, c := range commands {
		if c.name != args[0] {
			continue
		}
		words, err := t.flags(c, args[1:])
		switch {
		case err != nil:
			return err
		case len(words) < c.least || c.most >= 0 && len(words) > c.most:
			return usagef("usage: raidctl %s %s", c.name, c.args)
		}
		if !c.offline {
			if t.c, err = t.open(ctx); err != nil {
				return err
			}
			// Close waits for what a cancelled call left to the kernel.
			defer t.c.Close()
		}
		return c.run(ctx, t, words)
	}
	return usagef("unknown command %q; see: raidctl help", args[0])
}

// flags reads the flags of a command, which may stand between its words.
func (t *tool) flags(c command, args []string) (words []string, err error) {
	f := flag.NewFlagSet("raidctl", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.BoolVar(&t.yes, "yes", false, "")
	f.BoolVar(&t.force, "force", false, "")
	f.BoolVar(&t.plan, "plan", false, "")
	f.Var(&t.chunk, "chunk", "")
	f.Var(&t.region, "region", "")
	f.Var(&t.size, "size", "")
	f.StringVar(&t.files, "files", "", "")
	f.IntVar(&t.count, "count", 0, "")
	f.BoolVar(&t.repair, "repair", false, "")
	f.BoolVar(&t.once, "once", false, "")
	f.BoolVar(&t.draft, "draft", false, "")
	f.StringVar(&t.output, "out", "", "")
	f.Int64Var(&t.rate, "max-rate", 0, "")
	for len(args) > 0 {
		if err := f.Parse(args); err != nil {
			return nil, usagef("%v", err)
		}
		if args = f.Args(); len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	f.Visit(func(used *flag.Flag) {
		if !strings.Contains(" "+c.flags+" ", " "+used.Name+" ") && err == nil {
			err = usagef("%s takes no --%s; it takes %s", c.name, used.Name, c.args)
		}
	})
	return words, err
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
	case errors.Is(err, dm.ErrBusy):
		return 5
	case errors.Is(err, fs.ErrPermission):
		return 6
	}
	return 1
}

// hint says what to do about an error, where that is known.
func hint(err error) string {
	switch {
	case errors.Is(err, dmraid.ErrTrap):
		return "\n  the kernel would do it; see the documentation of dmraid.Trap"
	case errors.Is(err, fs.ErrPermission):
		return "\n  device-mapper wants CAP_SYS_ADMIN: run as root"
	case errors.Is(err, errors.ErrUnsupported):
		return "\n  raidctl needs Linux with the module dm-raid"
	}
	return ""
}
