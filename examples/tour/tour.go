// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// chapter is the story of one package. A new one implements this, and is
// added to chapters in main.go.
type chapter interface {
	// title is a name and a few words on it: "device-mapper: …".
	title() string
	// begin opens what the chapter needs and gives its steps in order. s
	// stays valid until clean.
	begin(ctx context.Context, s *stage) ([]step, error)
	// clean closes what begin opened. It removes what a failed step left
	// over and lists what it found: behind a good run there is nothing.
	clean(ctx context.Context) (left []string, err error)
}

// step is one thing that is shown.
type step struct {
	name     string // a word or two
	sentence string // what happens and why, for a newcomer
	image    bool   // no driver takes part
	// do makes and checks it, and says what it verified. An error ends the
	// chapter.
	do func(ctx context.Context) (verified string, err error)
}

// result is a line of the table at the end.
type result struct {
	step, verified string
	took           time.Duration
	err            error
}

// stage is where steps are played: the ground beneath and the output.
type stage struct {
	ground
	out     io.Writer
	column  string // what is real in the step under way
	results []result
}

// say prints a detail of the step under way.
func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%-6s  %14s%s\n", s.column, "", fmt.Sprintf(format, args...))
}

// tour plays chapters and returns the exit status.
func tour(ctx context.Context, out io.Writer, g ground, list []chapter) int {
	s := &stage{ground: g, out: out}
	fmt.Fprintf(out, "A tour of linuxblock. %s\n", g.about())
	fmt.Fprint(out, "First column, what is real: image = a value in memory, double = a double of the\n"+
		"driver that speaks its bytes, kernel = the running Linux kernel.\n")
	for _, c := range list {
		s.play(ctx, c)
	}
	return s.summary()
}

// play runs one chapter and cleans up behind it whatever happens.
func (s *stage) play(ctx context.Context, c chapter) {
	fmt.Fprintf(s.out, "\n%s\n\n", c.title())
	s.column = s.kind()
	start := time.Now()
	steps, err := c.begin(ctx, s)
	if err != nil {
		s.note("begin", "", time.Since(start), err)
	}
	for i, st := range steps {
		s.column = s.kind()
		if st.image {
			s.column = "image"
		}
		fmt.Fprintf(s.out, "%-6s %2d %-11s %s\n", s.column, i+1, st.name, st.sentence)
		start := time.Now()
		verified, err := st.do(ctx)
		s.note(st.name, verified, time.Since(start), err)
		if err != nil {
			break
		}
	}
	s.column = s.kind()
	// Also behind ^C: cleaning up is what is left to do then.
	start = time.Now()
	left, err := c.clean(context.WithoutCancel(ctx))
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left over: %q", left)
	}
	fmt.Fprintf(s.out, "%-6s    %-11s %s\n", s.column, "leftovers", "What the chapter made must be gone.")
	s.note("leftovers", "no device, nothing open, nothing to recover", time.Since(start), err)
}

func (s *stage) note(name, verified string, took time.Duration, err error) {
	if err != nil {
		s.say("NOT AS EXPECTED: %v", err)
	}
	s.results = append(s.results, result{name, verified, took, err})
}

// summary prints the table of all steps.
func (s *stage) summary() int {
	failed := 0
	fmt.Fprintf(s.out, "\n%-12s %10s  %s\n", "step", "time", "verified")
	for _, r := range s.results {
		text := r.verified
		if r.err != nil {
			failed++
			text = "NO: " + r.err.Error()
		}
		fmt.Fprintf(s.out, "%-12s %7.1f ms  %s\n", r.step, float64(r.took.Microseconds())/1000, text)
	}
	if failed > 0 {
		fmt.Fprintf(s.out, "\n%d of %d steps were not as expected.\n", failed, len(s.results))
		return 1
	}
	fmt.Fprintf(s.out, "\nAll %d steps were as expected on the %s.\n", len(s.results), s.kind())
	return 0
}

// mismatch is the error of a check that did not hold.
func mismatch(format string, args ...any) error { return fmt.Errorf("mismatch: "+format, args...) }

// wants tells whether err is the one that a step wanted to see.
func wants(err, want error) error {
	switch {
	case err == nil:
		return mismatch("no error, want %v", want)
	case !errors.Is(err, want):
		return mismatch("%w, want %v", err, want)
	}
	return nil
}
