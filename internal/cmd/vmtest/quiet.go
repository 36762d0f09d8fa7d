// SPDX-License-Identifier: MIT

package main

import (
	"regexp"
	"slices"
	"strings"
)

// Without -v, go test prints a failing test as
//
//	what it printed itself
//	--- FAIL: TestX (0.00s)
//	    x_test.go:12: message
//	    --- FAIL: TestX/sub (0.00s)
//	        x_test.go:15: message
//
// and nothing of the others. With -v, as the binaries run here, messages come
// before the result and are not indented below their parent; so the output of
// each test is kept until its result is known.

// testTree holds the output of tests by name. Subtests are entries of their
// own.
type testTree map[string]*testOutput

type testOutput struct {
	result string   // the line "--- FAIL: ..."
	lines  []string // what it printed and logged
	before int      // how many of the lines came before the result
	subs   []string // names of subtests, in order
}

var (
	resultLine = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP|BENCH): `)
	framing    = regexp.MustCompile(`^=== (RUN|PAUSE|CONT|NAME|ATTR|ARTIFACTS) `)
	sourceLine = regexp.MustCompile(`^\s*\S+\.go:\d+: `)
)

func (t testTree) get(name string) *testOutput {
	if o := t[name]; o != nil {
		return o
	}
	o := new(testOutput)
	t[name] = o
	if i := strings.LastIndexByte(name, '/'); i > 0 {
		parent := t.get(name[:i])
		parent.subs = append(parent.subs, name)
	}
	return o
}

// add takes one output event. Long lines come in pieces.
func (t testTree) add(name, text string) {
	o := t.get(name)
	switch {
	case framing.MatchString(text):
	case resultLine.MatchString(text):
		o.result, o.before = strings.TrimSpace(text), len(o.lines)
	case len(o.lines) > 0 && !strings.HasSuffix(o.lines[len(o.lines)-1], "\n"):
		o.lines[len(o.lines)-1] += text
	default:
		o.lines = append(o.lines, text)
	}
}

// reason returns the message that a skipped test gave, without its place.
func (t testTree) reason(name string) string {
	o := t.get(name)
	for _, l := range slices.Backward(o.lines) {
		if p := sourceLine.FindString(l); p != "" {
			return strings.TrimSpace(l[len(p):])
		}
	}
	return "no reason given"
}

// failure returns a failed test as go test would print it.
func (t testTree) failure(name string) string {
	var b strings.Builder
	t.writePrinted(&b, name)
	t.write(&b, name, "")
	return b.String()
}

// printed reports whether line i is one that the test printed, rather than
// logged, before its result; a panic comes after it. Of a test without a
// result everything is kept together.
func (o *testOutput) printed(i int) bool {
	return o.result != "" && i < o.before && !strings.HasPrefix(o.lines[i], "    ")
}

func (t testTree) writePrinted(b *strings.Builder, name string) {
	o := t.get(name)
	for i, l := range o.lines {
		if o.printed(i) {
			b.WriteString(wholeLine(l))
		}
	}
	for _, s := range o.subs {
		t.writePrinted(b, s)
	}
}

func (t testTree) write(b *strings.Builder, name, indent string) {
	o := t.get(name)
	if o.result != "" {
		b.WriteString(indent + o.result + "\n")
	} else {
		b.WriteString(indent + "--- FAIL: " + name + " (did not end)\n")
	}
	for i, l := range o.lines {
		if !o.printed(i) {
			b.WriteString(indent + wholeLine(l))
		}
	}
	for _, s := range o.subs {
		if r := t[s].result; strings.HasPrefix(r, "--- PASS") || strings.HasPrefix(r, "--- SKIP") {
			continue
		}
		t.write(b, s, indent+"    ")
	}
}

func wholeLine(l string) string { return strings.TrimSuffix(l, "\n") + "\n" }

// quiet takes an event of a package when neither -v nor -json was given.
func (r *reporter) quiet(p *packageReport, e event) {
	isBench := strings.HasPrefix(e.Test, "Benchmark")
	switch {
	case e.Action == "output" && e.Test == "":
		switch strings.TrimSpace(e.Output) {
		case "PASS", "FAIL":
			return
		}
		if r.o.bench != "" && !strings.HasPrefix(e.Output, "testing: ") && !summaryLine.MatchString(e.Output) {
			r.print(e.Output)
		} else {
			p.rest = append(p.rest, e.Output)
		}
	case e.Action == "output" && isBench && r.o.bench != "":
		// -test.v adds a line with the name alone.
		if !framing.MatchString(e.Output) && strings.TrimSpace(e.Output) != e.Test {
			r.print(e.Output)
		}
	case e.Action == "fail" && e.Test != "" && !isBench && !strings.Contains(e.Test, "/"):
		r.mu.Lock()
		text := p.tests.failure(e.Test)
		r.mu.Unlock()
		r.print(text)
	}
}

var summaryLine = regexp.MustCompile(`^(ok  |FAIL)\t`)

// quietEnd prints the end of a package.
func (r *reporter) quietEnd(p *packageReport, ok bool, summary string) {
	var b strings.Builder
	if !ok {
		// A test that never ended has no result: test2json does not make
		// one up.
		for _, t := range p.running {
			if !strings.Contains(t, "/") {
				b.WriteString(p.tests.failure(t))
			}
		}
		for _, l := range p.rest {
			if !summaryLine.MatchString(l) && !strings.HasPrefix(l, "testing: warning:") {
				b.WriteString(l)
			}
		}
		b.WriteString("FAIL\n")
	}
	b.WriteString(summary + "\n")
	r.print(b.String())
}
