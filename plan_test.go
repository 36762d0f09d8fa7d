// SPDX-License-Identifier: MIT

package linuxblock_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock"
)

// recorder makes steps that write down what is called.
type recorder struct{ calls []string }

// step makes a step called name; do and undo are what its functions return.
func (r *recorder) step(name string, do, undo error) linuxblock.Step {
	return linuxblock.Step{
		Name: name,
		Do:   func(context.Context) error { r.calls = append(r.calls, "do "+name); return do },
		Undo: func(context.Context) error { r.calls = append(r.calls, "undo "+name); return undo },
	}
}

func (r *recorder) want(t *testing.T, calls ...string) {
	t.Helper()
	if !slices.Equal(r.calls, calls) {
		t.Errorf("called %q, want %q", r.calls, calls)
	}
}

// states collects the progress of a run as "index name state".
func states(list *[]string) linuxblock.RunOptions {
	return linuxblock.RunOptions{Progress: func(p linuxblock.Progress) {
		*list = append(*list, fmt.Sprintf("%d %s %v", p.Step, p.Name, p.State))
	}}
}

func TestPlanRun(t *testing.T) {
	var r recorder
	var p linuxblock.Plan
	if p.Add(r.step("a", nil, nil)).Add(r.step("b", nil, nil)) != &p {
		t.Error("Add returns another plan")
	}
	p.Add(linuxblock.Step{Name: "nothing"})
	var seen []string
	if err := p.Run(t.Context(), states(&seen)); err != nil {
		t.Fatal(err)
	}
	r.want(t, "do a", "do b")
	want := []string{"0 a started", "0 a done", "1 b started", "1 b done", "2 nothing started", "2 nothing done"}
	if !slices.Equal(seen, want) {
		t.Errorf("progress %q, want %q", seen, want)
	}
}

func TestEmptyPlan(t *testing.T) {
	var p linuxblock.Plan
	if err := p.Run(t.Context(), linuxblock.RunOptions{}); err != nil {
		t.Error(err)
	}
	if s := p.String(); s != "" {
		t.Errorf("prints %q", s)
	}
}

func TestPlanRollBack(t *testing.T) {
	boom := errors.New("boom")
	var r recorder
	p := &linuxblock.Plan{Title: "make things"}
	p.Add(r.step("a", nil, nil)).Do("b", func(context.Context) error { return nil }, nil)
	p.Add(r.step("c", nil, nil)).Add(r.step("d", boom, nil)).Add(r.step("e", nil, nil))
	var seen []string
	err := p.Run(t.Context(), states(&seen))
	r.want(t, "do a", "do c", "do d", "undo c", "undo a")

	var failure *linuxblock.PlanError
	if !errors.As(err, &failure) || !errors.Is(err, boom) {
		t.Fatalf("error %v", err)
	}
	want := linuxblock.PlanError{Title: "make things", Step: 3, Name: "d", Err: boom, Undone: []string{"c", "a"}}
	if !reflect.DeepEqual(*failure, want) {
		t.Errorf("got %+v, want %+v", *failure, want)
	}
	if s := err.Error(); s != "make things: step 4 (d): boom; undone 2" {
		t.Errorf("prints %q", s)
	}
	tail := []string{"3 d started", "3 d failed", "2 c undone", "0 a undone"}
	if got := seen[len(seen)-4:]; !slices.Equal(got, tail) {
		t.Errorf("progress ends %q, want %q", got, tail)
	}
}

// The first step's failure has nothing to undo.
func TestPlanFirstStepFails(t *testing.T) {
	var r recorder
	boom := errors.New("boom")
	p := (&linuxblock.Plan{}).Add(r.step("a", boom, nil))
	err := p.Run(t.Context(), linuxblock.RunOptions{})
	r.want(t, "do a")
	if err == nil || err.Error() != "step 1 (a): boom" {
		t.Errorf("error %v", err)
	}
}

func TestPlanUndoFails(t *testing.T) {
	boom, stuck := errors.New("boom"), errors.New("stuck")
	var r recorder
	p := (&linuxblock.Plan{}).Add(r.step("a", nil, nil)).Add(r.step("b", nil, stuck)).Add(r.step("c", boom, nil))
	var seen []error
	err := p.Run(t.Context(), linuxblock.RunOptions{Progress: func(p linuxblock.Progress) {
		if p.Err != nil {
			seen = append(seen, p.Err)
		}
	}})
	r.want(t, "do a", "do b", "do c", "undo b", "undo a")
	if !errors.Is(err, boom) || !errors.Is(err, stuck) {
		t.Errorf("error %v", err)
	}
	if s := err.Error(); s != "step 3 (c): boom; undone 1, not undone 1: undo of b: stuck" {
		t.Errorf("prints %q", s)
	}
	if !slices.Equal(seen, []error{boom, stuck}) {
		t.Errorf("progress told of %v", seen)
	}
}

func TestPlanFinal(t *testing.T) {
	boom := errors.New("boom")
	var r recorder
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	final := r.step("commit", nil, nil)
	final.Final = true
	do := final.Do
	final.Do = func(c context.Context) error { cancel(); return do(c) }
	p := (&linuxblock.Plan{}).Add(r.step("a", nil, nil)).Add(final)
	p.Do("after", func(ctx context.Context) error {
		r.calls = append(r.calls, "do after")
		return ctx.Err() // cancellation does not reach this step
	}, nil)
	p.Add(r.step("last", boom, nil))
	err := p.Run(ctx, linuxblock.RunOptions{})
	r.want(t, "do a", "do commit", "do after", "do last")
	var failure *linuxblock.PlanError
	if !errors.As(err, &failure) || !failure.Final || failure.Undone != nil || failure.Step != 3 {
		t.Fatalf("error %#v", err)
	}
	if !strings.HasSuffix(err.Error(), "past the point of no return, nothing was undone") {
		t.Errorf("prints %q", err)
	}
}

// A final step that fails has not been done: what came before is undone.
func TestPlanFinalStepFails(t *testing.T) {
	var r recorder
	final := r.step("commit", errors.New("boom"), nil)
	final.Final = true
	err := (&linuxblock.Plan{}).Add(r.step("a", nil, nil)).Add(final).Run(t.Context(), linuxblock.RunOptions{})
	r.want(t, "do a", "do commit", "undo a")
	var failure *linuxblock.PlanError
	if !errors.As(err, &failure) || failure.Final {
		t.Errorf("error %v", err)
	}
}

type key struct{}

func TestPlanCancelled(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Hour)
	defer cancel()
	var r recorder
	p := &linuxblock.Plan{}
	p.Do("a", func(context.Context) error { cancel(); return nil }, func(ctx context.Context) error {
		if _, bounded := ctx.Deadline(); bounded || ctx.Err() != nil {
			t.Error("the undo has a deadline, or is cancelled")
		}
		if ctx.Value(key{}) != "value" {
			t.Error("the undo lost the values of the context")
		}
		r.calls = append(r.calls, "undo a")
		return nil
	})
	p.Add(r.step("b", nil, nil))
	var seen []string
	err := p.Run(ctx, states(&seen))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	r.want(t, "undo a")
	if want := []string{"0 a started", "0 a done", "1 b failed", "0 a undone"}; !slices.Equal(seen, want) {
		t.Errorf("progress %q, want %q", seen, want)
	}
}

func TestPlanCancelledBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var r recorder
	err := (&linuxblock.Plan{}).Add(r.step("a", nil, nil)).Run(ctx, linuxblock.RunOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	r.want(t)
}

func TestProgressElapsed(t *testing.T) {
	var last time.Duration
	p := (&linuxblock.Plan{}).Do("a", nil, nil).Do("b", nil, nil)
	err := p.Run(t.Context(), linuxblock.RunOptions{Progress: func(p linuxblock.Progress) {
		if p.Elapsed < last {
			t.Errorf("time runs backwards: %v after %v", p.Elapsed, last)
		}
		last = p.Elapsed
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPlanWriteTo(t *testing.T) {
	p := &linuxblock.Plan{Title: "nothing"}
	p.Do("a", nil, nil)
	var b bytes.Buffer
	n, err := p.WriteTo(&b)
	if err != nil || int(n) != b.Len() || b.String() != p.String() {
		t.Errorf("%d bytes, %v: %q", n, err, b.String())
	}
}

func TestStateString(t *testing.T) {
	for s, want := range map[linuxblock.State]string{
		linuxblock.Started:    "started",
		linuxblock.Done:       "done",
		linuxblock.Failed:     "failed",
		linuxblock.Undone:     "undone",
		linuxblock.UndoFailed: "undo failed",
		99:                    "state 99",
	} {
		if got := s.String(); got != want {
			t.Errorf("state %d is %q, want %q", uint8(s), got, want)
		}
	}
}
