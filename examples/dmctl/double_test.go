// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
)

// bench is a double with four disks of 8 MiB, and dmctl on it.
type bench struct {
	t testing.TB
	k *dmtest.Kernel
}

func newBench(t testing.TB, opts ...dmtest.Option) *bench {
	k := dmtest.New(opts...)
	for i, path := range []string{"/dev/ram0", "/dev/ram1", "/dev/ram2", "/dev/ram3"} {
		k.AddDisk(path, 1, uint32(i), 16384)
	}
	return &bench{t, k}
}

func (b *bench) open(ctx context.Context, opts ...dm.Option) (*dm.Client, error) {
	return dm.Open(ctx, append(opts, dm.WithTransport(b.k.Transport()))...)
}

// line splits a command line at blanks; 'single quotes' keep some together.
func line(s string) []string {
	var args []string
	for i, part := range strings.Split(s, "'") {
		if i%2 == 0 {
			args = append(args, strings.Fields(part)...)
		} else {
			args = append(args, part)
		}
	}
	return args
}

// run does one command line and returns what it printed, and its status.
func (b *bench) run(command, stdin string) (stdout, stderr string, code int) {
	var out, err bytes.Buffer
	code = run(b.t.Context(), line(command), strings.NewReader(stdin), &out, &err, b.open)
	return out.String(), err.String(), code
}

// ok wants a command to succeed and returns what it printed.
func (b *bench) ok(command string) string {
	b.t.Helper()
	out, errText, code := b.run(command, "")
	if code != 0 || errText != "" {
		b.t.Fatalf("dmctl %s: status %d\n%s", command, code, errText)
	}
	return out
}

// prints wants a command to print exactly this.
func (b *bench) prints(command, want string) {
	b.t.Helper()
	if got := b.ok(command); got != want {
		b.t.Errorf("dmctl %s\n got:\n%s want:\n%s", command, got, want)
	}
}

// fails wants a status and a text on stderr.
func (b *bench) fails(command string, code int, text string) {
	b.t.Helper()
	_, errText, got := b.run(command, "")
	if got != code || !strings.Contains(errText, text) {
		b.t.Errorf("dmctl %s: status %d, want %d; stderr %q, want %q in it", command, got, code, errText, text)
	}
}
