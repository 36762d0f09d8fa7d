// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

// start runs a command in the background; lines gives what it prints.
func (b *bench) start(ctx context.Context, command string) (lines *bufio.Scanner, code chan int) {
	r, w := io.Pipe()
	code = make(chan int, 1)
	go func() {
		var stderr bytes.Buffer
		c := run(ctx, line(command), strings.NewReader(""), w, &stderr, b.open)
		if stderr.Len() > 0 {
			b.t.Errorf("dmctl %s: %s", command, stderr.String())
		}
		w.Close()
		code <- c
	}()
	return bufio.NewScanner(r), code
}

func next(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	if !lines.Scan() || lines.Text() != want {
		t.Errorf("got %q, want %q", lines.Text(), want)
	}
}

func TestEvents(t *testing.T) {
	b := newBench(t)
	b.ok("create old --table '0 8 zero'")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines, code := b.start(ctx, "events --initial")
	next(t, lines, "created   old (254:0) before")
	b.ok("create new --table '0 8 zero'")
	next(t, lines, "created   new (254:1)")
	b.ok("rename new newer")
	next(t, lines, "renamed   newer (254:1) was new")
	if err := b.k.Event("newer"); err != nil {
		t.Fatal(err)
	}
	next(t, lines, "triggered newer (254:1) event 2")
	b.ok("remove newer")
	next(t, lines, "removed   newer (254:1)")
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("status %d behind ^C", c)
	}
}

func TestWait(t *testing.T) {
	b := newBench(t)
	b.ok("create lin --table '0 8 zero'")
	if err := b.k.Event("lin"); err != nil {
		t.Fatal(err)
	}
	b.prints("wait lin 0", "Event number:      1\n0 8 zero \n")
	lines, code := b.start(t.Context(), "wait lin 1")
	if err := b.k.Event("lin"); err != nil {
		t.Fatal(err)
	}
	next(t, lines, "Event number:      2")
	next(t, lines, "0 8 zero ")
	if c := <-code; c != 0 {
		t.Errorf("status %d", c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	if c := run(ctx, line("wait lin"), nil, io.Discard, &stderr, b.open); c != 130 {
		t.Errorf("interrupted: status %d, %s", c, stderr.String())
	}
}
