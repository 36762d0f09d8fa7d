// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/cmd/vmtest/wire"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// echo stands in for test2json: it takes events in JSON, and any other line
// as output.
type echo struct {
	handle func(event)
	pkg    string
	done   chan struct{}
}

func (e *echo) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		line = strings.TrimPrefix(line, "\x16")
		ev := event{Action: "output", Package: e.pkg, Output: line}
		if strings.HasPrefix(line, "{") {
			ev = event{}
			if err := json.Unmarshal([]byte(line), &ev); err != nil {
				return 0, err
			}
		}
		e.handle(ev)
	}
	return len(p), nil
}

func (e *echo) Close() error { close(e.done); return nil }

func echoReporter(o *options, out io.Writer, list []testPackage) *reporter {
	r := newReporter(o, out, new(sync.Mutex), "", list)
	r.convert = func(pkg string, handle func(event)) (*converter, error) {
		done := make(chan struct{})
		return &converter{in: &echo{handle, pkg, done}, done: done, newline: true}, nil
	}
	return r
}

func events(list ...event) []byte {
	var b bytes.Buffer
	for _, e := range list {
		data, _ := json.Marshal(e)
		b.Write(append(data, '\n'))
	}
	return b.Bytes()
}

func skipped(test, reason string) []byte {
	return events(event{Action: "run", Test: test}, event{Action: "output", Test: test, Output: "=== RUN   " + test + "\n"},
		event{Action: "output", Test: test, Output: "    x_test.go:5: " + reason + "\n"},
		event{Action: "output", Test: test, Output: "--- SKIP: " + test + " (0.00s)\n"}, event{Action: "skip", Test: test},
		event{Action: "output", Output: "PASS\n"})
}

func TestSkipsFail(t *testing.T) {
	for _, c := range []struct {
		reason string
		o      options
		ok     bool
		note   int
	}{
		{reason: "no reason", ok: false},
		{reason: "no reason", o: options{allowSkips: true}, ok: true},
		{reason: "short: takes minutes", ok: false},
		{reason: "short: takes minutes", o: options{short: true}, ok: true},
		{reason: "needs sky", o: options{short: true}, ok: false},
		{reason: vmtest.NotHere + "needs Linux 9.0", ok: true, note: 1},
	} {
		var out bytes.Buffer
		r := echoReporter(&c.o, &out, []testPackage{{ImportPath: "m/p", Binary: "x"}})
		if err := r.start(0); err != nil {
			t.Fatal(err)
		}
		r.output(skipped("TestX", c.reason))
		r.end(wire.Result{Elapsed: time.Second})
		want := "ok  \tm/p\t1.000s\n"
		if !c.ok {
			want = "vmtest: TestX was skipped, and nothing may be skipped in the VM: " + c.reason + "\nFAIL\nFAIL\tm/p\t1.000s [1 skipped]\n"
		}
		if out.String() != want || r.failed == c.ok || len(r.notHere) != c.note {
			t.Errorf("%+v: failed %v, %d not here, output\n%s", c, r.failed, len(r.notHere), out.String())
		}
	}
}

func TestDeadVM(t *testing.T) {
	var out bytes.Buffer
	list := []testPackage{
		{ImportPath: "m/none", NoTests: true}, {ImportPath: "m/a", Binary: "x"}, {ImportPath: "m/bad", Failed: "[build failed]"},
		{ImportPath: "m/b", Binary: "x"},
	}
	r := echoReporter(&options{}, &out, list)
	if err := r.start(1); err != nil {
		t.Fatal(err)
	}
	r.output(events(event{Action: "run", Test: "TestX"}, event{Action: "output", Test: "TestX", Output: "    x_test.go:1: before\n"}))
	r.die([]string{"vmtest: kernel panic: Kernel panic - not syncing: x"})
	r.upTo(len(list), "kernel panic")
	got := regexp.MustCompile(`\d\.\d+s`).ReplaceAllString(out.String(), "N")
	want := `?   	m/none	[no test files]
--- FAIL: TestX (did not end)
    x_test.go:1: before
vmtest: running then: TestX
vmtest: kernel panic: Kernel panic - not syncing: x
FAIL
FAIL	m/a	N [the VM died]
FAIL	m/bad [build failed]
FAIL	m/b [not run: kernel panic]
`
	if got != want || !r.failed {
		t.Errorf("failed %v, output\n%swant\n%s", r.failed, got, want)
	}
}

func TestKilledAndSignalled(t *testing.T) {
	for _, c := range []struct {
		res  wire.Result
		want string
	}{
		{wire.Result{Code: 2}, "exit status 2\nFAIL\nFAIL\tm/p\t0.000s\n"},
		{wire.Result{Code: -1, Signal: "killed", Killed: "too late"}, "vmtest: killed: too late\nsignal: killed\nFAIL\nFAIL\tm/p\t0.000s\n"},
	} {
		var out bytes.Buffer
		r := echoReporter(&options{}, &out, []testPackage{{ImportPath: "m/p", Binary: "x"}})
		if err := r.start(0); err != nil {
			t.Fatal(err)
		}
		r.end(c.res)
		if out.String() != c.want {
			t.Errorf("%+v:\n%swant\n%s", c.res, out.String(), c.want)
		}
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	list := []testPackage{{ImportPath: "m/p", Binary: "x"}, {ImportPath: "m/q", NoTests: true}}
	r := echoReporter(&options{json: true}, &out, list)
	if err := r.start(0); err != nil {
		t.Fatal(err)
	}
	r.output(skipped("TestX", "short: x"))
	r.output(events(event{Action: "pass", Package: "m/p"}))
	r.end(wire.Result{})
	r.upTo(2, "")
	var actions []string
	s := bufio.NewScanner(&out)
	for s.Scan() {
		var e event
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatalf("%s: %v", s.Bytes(), err)
		}
		if e.Action != "output" {
			actions = append(actions, e.Action+" "+e.Package+e.Test)
		}
	}
	if got, want := strings.Join(actions, ", "), "run TestX, skip TestX, fail m/p, start m/q, skip m/q"; got != want {
		t.Errorf("actions %s\nwant    %s", got, want)
	}
}

// The reporter's output is that of go test itself, but for times.
func TestLikeGoTest(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		if vmtest.InVM() {
			t.Skip(vmtest.NotHere + "needs the go command; runs under go test")
		}
		t.Fatal(err)
	}
	times := regexp.MustCompile(`\d+\.\d+s`)
	for _, name := range []string{"fails", "passes", "skips"} {
		bin := filepath.Join(t.TempDir(), name+".test")
		if out, err := exec.Command(goTool, "test", "-c", "-o", bin, "./testdata/"+name).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, verbose := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s verbose=%v", name, verbose), func(t *testing.T) {
				args := []string{"test", "-count=1", "-vet=off", "./testdata/" + name}
				if verbose {
					args = append(args, "-v")
				}
				want, err := exec.Command(goTool, args...).Output()
				var failed *exec.ExitError
				if err != nil && !errors.As(err, &failed) {
					t.Fatal(err)
				}
				var out bytes.Buffer
				pkg := "github.com/linuxblock/linuxblock/internal/cmd/vmtest/testdata/" + name
				o := &options{verbose: verbose, allowSkips: true}
				r := newReporter(o, &out, new(sync.Mutex), "", []testPackage{{ImportPath: pkg, Binary: bin}})
				if err := r.start(0); err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(bin, o.verbosity(), "-test.paniconexit0")
				output, _ := cmd.CombinedOutput()
				r.output(output)
				r.end(wire.Result{Code: cmd.ProcessState.ExitCode()})
				wantText, got := string(want), out.String()
				// go test prints FAIL once more when it ends.
				if r.failed {
					wantText = strings.TrimSuffix(wantText, "FAIL\n")
				}
				if got, want := times.ReplaceAllString(got, "N"), times.ReplaceAllString(wantText, "N"); got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
			})
		}
	}
}
