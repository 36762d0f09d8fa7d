// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// event is one of test2json's events.
type event struct {
	Time        *time.Time `json:",omitempty"`
	Action      string
	ImportPath  string   `json:",omitempty"` // of build-output and build-fail only
	Package     string   `json:",omitempty"`
	Test        string   `json:",omitempty"`
	Elapsed     *float64 `json:",omitempty"`
	Output      string   `json:",omitempty"`
	FailedBuild string   `json:",omitempty"`
}

// converter turns the output of one test binary, run with
// -test.v=test2json, into events. Go's own test2json does it, in a process
// of its own: its package is internal to the go command.
type converter struct {
	in      io.WriteCloser
	done    chan struct{}
	err     error // valid when done is closed
	wrote   bool  // anything at all
	newline bool  // the last byte written was one
}

// newConverter calls handle for each event, in another goroutine, until close
// returns.
func newConverter(pkg string, handle func(event)) (*converter, error) {
	cmd := exec.Command("go", "tool", "test2json", "-t", "-p", pkg)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	isolate(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &converter{in: in, done: make(chan struct{}), newline: true}
	go func() {
		defer close(c.done)
		c.err = readEvents(out, handle)
		if err := cmd.Wait(); c.err == nil && err != nil {
			c.err = fmt.Errorf("go tool test2json: %w", err)
		}
	}()
	return c, nil
}

func readEvents(r io.Reader, handle func(event)) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var e event
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			return fmt.Errorf("test2json wrote %q: %w", s.Bytes(), err)
		}
		handle(e)
	}
	return s.Err()
}

func (c *converter) write(p []byte) {
	if len(p) == 0 {
		return
	}
	c.wrote = true
	c.newline = p[len(p)-1] == '\n'
	_, _ = c.in.Write(p)
}

// line writes a line that is the runner's, not the test binary's. With
// framing it may end tests that are still open, as the go command's own
// summary does.
func (c *converter) line(framing bool, format string, args ...any) {
	var b bytes.Buffer
	if !c.newline {
		b.WriteByte('\n')
	}
	if framing {
		b.WriteByte(0x16) // ^V marks test2json's own lines
	}
	fmt.Fprintf(&b, format+"\n", args...)
	c.write(b.Bytes())
}

// close waits until the last event was handled.
func (c *converter) close() error {
	_ = c.in.Close()
	<-c.done
	return c.err
}
