// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/linuxblock/linuxblock/internal/cmd/vmtest/wire"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// reporter prints what go test would print. Test binaries always run
// verbosely: only so are skipped tests seen. Without -v, the reporter leaves out what go test would.
type reporter struct {
	o     *options
	out   io.Writer
	outMu *sync.Mutex // shared by the reporters of two VMs
	label string      // behind the package's name: " [peer 1]" or ""

	convert func(pkg string, handle func(event)) (*converter, error)

	list []testPackage
	next int // first package of list that nothing was printed of

	mu      sync.Mutex
	current *packageReport
	failed  bool
	notHere []skip // skipped because this VM is not of the kind they need
}

// verbosity is the flag that makes the binaries tell of every test. The form
// for test2json marks its lines, so that output of a test cannot be taken for
// them; but it prints results of subtests at another place than go test -v.
func (o *options) verbosity() string {
	if o.verbose && !o.json {
		return "-test.v=true"
	}
	return "-test.v=test2json"
}

// skip is a test that was skipped.
type skip struct{ pkg, test, reason string }

// packageReport is the package whose binary runs.
type packageReport struct {
	index   int
	name    string
	conv    *converter
	tests   testTree
	rest    []string // output that belongs to no test
	noTests bool
	skips   []skip
	running []string // tests that have started and not ended
	begin   time.Time
	synced  chan struct{}
}

func newReporter(o *options, out io.Writer, mu *sync.Mutex, label string, list []testPackage) *reporter {
	return &reporter{o: o, out: out, outMu: mu, label: label, list: list, convert: newConverter}
}

func (r *reporter) name(i int) string { return r.list[i].ImportPath + r.label }

func (r *reporter) print(text string) {
	r.outMu.Lock()
	defer r.outMu.Unlock()
	_, _ = io.WriteString(r.out, text)
}

func (r *reporter) emit(e event) {
	if e.Time == nil && e.ImportPath == "" {
		now := time.Now()
		e.Time = &now
	}
	data, err := json.Marshal(e)
	if err == nil {
		r.print(string(data) + "\n")
	}
}

// line prints a line about a package that does not run.
func (r *reporter) line(i int, action, format string, args ...any) {
	text := fmt.Sprintf(format+"\n", args...)
	if !r.o.json {
		r.print(text)
		return
	}
	name := r.name(i)
	zero := 0.0
	r.emit(event{Action: "start", Package: name})
	r.emit(event{Action: "output", Package: name, Output: text})
	r.emit(event{Action: action, Package: name, Elapsed: &zero})
}

// upTo prints the packages before i that have no binary, so that all come in
// the order in which go list has them. Those with a binary were not run.
func (r *reporter) upTo(i int, why string) {
	for ; r.next < i; r.next++ {
		p := r.list[r.next]
		switch {
		case p.Failed != "":
			r.failed = true
			r.line(r.next, "fail", "FAIL\t%s %s", r.name(r.next), p.Failed)
		case p.NoTests:
			r.line(r.next, "skip", "?   \t%s\t[no test files]", r.name(r.next))
		default:
			r.failed = true
			r.line(r.next, "fail", "FAIL\t%s [not run: %s]", r.name(r.next), why)
		}
	}
}

// start begins the report of package i.
func (r *reporter) start(i int) error {
	r.upTo(i, "skipped by the runner")
	p := &packageReport{index: i, name: r.name(i), begin: time.Now(), tests: make(testTree), synced: make(chan struct{})}
	r.mu.Lock()
	r.current = p
	r.mu.Unlock()
	r.next = i + 1
	var err error
	p.conv, err = r.convert(r.name(i), func(e event) { r.handle(p, e) })
	return err
}

// output takes what the test binary wrote.
func (r *reporter) output(b []byte) {
	if r.current != nil {
		r.current.conv.write(b)
	}
}

// end finishes the package that runs.
func (r *reporter) end(res wire.Result) {
	p := r.current
	if p == nil {
		return
	}
	if res.Killed != "" {
		p.conv.line(false, "vmtest: killed: %s", res.Killed)
	}
	ok := res.Code == 0 && !res.Stuck
	switch {
	case ok || res.Stuck:
	case res.Signal != "":
		p.conv.line(false, "signal: %s", res.Signal)
	case res.Code > 2 || !p.conv.wrote:
		// Like the go command, only where the output does not say it: 1 is
		// a failed test and 2 a panic.
		p.conv.line(false, "exit status %d", res.Code)
	}
	if res.Stuck {
		p.conv.line(false, "vmtest: the test binary cannot be killed: a thread of it hangs in the kernel")
	}
	r.finish(p, ok, res.Elapsed, "")
}

// die finishes the package that runs when its VM has died. text explains it.
func (r *reporter) die(text []string) {
	p := r.current
	if p == nil {
		return
	}
	r.mu.Lock()
	running := strings.Join(p.running, ", ")
	r.mu.Unlock()
	if running != "" {
		p.conv.line(false, "vmtest: running then: %s", running)
	}
	for _, l := range text {
		p.conv.line(false, "%s", l)
	}
	r.finish(p, false, time.Since(p.begin), " [the VM died]")
}

// finish writes the package's summary line and waits for its last event.
func (r *reporter) finish(p *packageReport, ok bool, elapsed time.Duration, note string) {
	var forbidden []skip
	if ok && !r.o.allowSkips {
		forbidden = r.forbiddenSkips(p)
	}
	for _, s := range forbidden {
		p.conv.line(false, "vmtest: %s was skipped, and nothing may be skipped in the VM: %s", s.test, s.reason)
	}
	if len(forbidden) > 0 {
		ok = false
		note = fmt.Sprintf(" [%d skipped]", len(forbidden))
	}
	r.mu.Lock()
	if ok && p.noTests {
		note += " [no tests to run]"
	}
	r.mu.Unlock()
	word := "ok  "
	if !ok {
		word = "FAIL"
		r.failed = true
	}
	summary := fmt.Sprintf("%s\t%s\t%.3fs%s", word, r.name(p.index), elapsed.Seconds(), note)
	p.conv.line(true, "%s", summary)
	err := p.conv.close()
	r.mu.Lock()
	r.current = nil
	r.mu.Unlock()
	if err != nil {
		r.failed = true
		r.print(fmt.Sprintf("vmtest: %v\n", err))
	}
	if r.o.json {
		action, seconds := "pass", elapsed.Round(time.Millisecond).Seconds()
		if !ok {
			action = "fail"
		}
		r.emit(event{Action: action, Package: r.name(p.index), Elapsed: &seconds})
	} else if !r.o.verbose && r.o.list == "" {
		r.quietEnd(p, ok, summary)
	}
}

// syncLine is swallowed on its way back from the converter.
const syncLine = "vmtest: end of the test binary's output"

// forbiddenSkips returns the tests that were skipped though they had no right
// to. Events come back from the converter some time after the output went in;
// a line of our own at the end tells when all have come.
func (r *reporter) forbiddenSkips(p *packageReport) []skip {
	p.conv.line(false, syncLine)
	select {
	case <-p.synced:
	case <-p.conv.done:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []skip
	for _, s := range p.skips {
		switch {
		case strings.HasPrefix(s.reason, vmtest.NotHere):
			r.notHere = append(r.notHere, s)
		case r.o.short && strings.Contains(strings.ToLower(s.reason), "short"):
		default:
			list = append(list, s)
		}
	}
	return list
}

// handle takes one event of package p.
func (r *reporter) handle(p *packageReport, e event) {
	if e.Output == syncLine+"\n" {
		close(p.synced)
		return
	}
	r.mu.Lock()
	r.note(p, e)
	r.mu.Unlock()
	switch {
	case r.o.json:
		if e.Test == "" && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip") {
			return // finish knows better
		}
		r.emit(e)
	case r.o.verbose || r.o.list != "":
		if e.Action == "output" {
			// The lines of two VMs come in any order.
			prefix := ""
			if r.label != "" {
				prefix = strings.TrimSpace(r.label) + " "
			}
			r.print(prefix + e.Output)
		}
	default:
		r.quiet(p, e)
	}
}

// note keeps what the end of the package or of the VM will ask for.
func (r *reporter) note(p *packageReport, e event) {
	switch e.Action {
	case "run":
		p.running = append(p.running, e.Test)
	case "pass", "fail", "skip":
		p.running = slices.DeleteFunc(p.running, func(t string) bool { return t == e.Test })
		if e.Action == "skip" && e.Test != "" {
			p.skips = append(p.skips, skip{p.name, e.Test, p.tests.reason(e.Test)})
		}
	case "output":
		if e.Test != "" {
			p.tests.add(e.Test, e.Output)
		} else if strings.HasPrefix(e.Output, "testing: warning: no tests to run") {
			p.noTests = true
		}
	}
}
