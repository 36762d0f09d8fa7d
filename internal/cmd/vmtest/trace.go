// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// tracer prints what vmtest itself is doing, to stderr: stdout is for what go
// test would print. Steps that take long are printed always, the others with
// -x.
type tracer struct {
	mu      sync.Mutex
	w       io.Writer
	verbose bool
}

// say prints a line.
func (t *tracer) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "vmtest: "+format+"\n", args...)
}

// step starts a step and returns the function that ends it.
func (t *tracer) step(format string, args ...any) func() {
	text := fmt.Sprintf(format, args...)
	begin := time.Now()
	timer := time.AfterFunc(2*time.Second, func() {
		if !t.verbose {
			t.say("%s ...", text)
		}
	})
	return func() {
		timer.Stop()
		if t.verbose {
			t.say("%s: %.2fs", text, time.Since(begin).Seconds())
		}
	}
}

// trace prints a line with -x only.
func (t *tracer) trace(format string, args ...any) {
	if t.verbose {
		t.say(format, args...)
	}
}

// lines prints a block of text.
func (t *tracer) lines(title string, lines []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "vmtest: %s:\n", title)
	for _, l := range lines {
		fmt.Fprintf(t.w, "    | %s\n", l)
	}
}
