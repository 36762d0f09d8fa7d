// SPDX-License-Identifier: MIT

package linuxblock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Step is one change of a [Plan].
type Step struct {
	// Name says what the step does, for people: "suspend vg-lv".
	Name string
	// Do makes the change. It must leave things as they were when it
	// returns an error, or be able to Undo a half-made change.
	Do func(context.Context) error
	// Undo takes the change back; nil when there is nothing to take back.
	// It is called without a deadline, because an undo that stops halfway
	// is worse than a slow one; the context carries the values of Run's.
	Undo func(context.Context) error
	// Final marks the point of no return: when this step has been done,
	// cancellation is ignored and nothing before it is undone any more.
	// What is left must be completed, by this run or by a later call.
	Final bool
}

// Plan is a list of steps that change several objects in order. It can be
// printed and inspected before it is run. The zero value is an empty plan.
type Plan struct {
	Title string
	Steps []Step
}

// Add appends a step and returns p for chaining.
func (p *Plan) Add(s Step) *Plan {
	p.Steps = append(p.Steps, s)
	return p
}

// Do appends a step made of a name and its two functions; undo may be nil.
func (p *Plan) Do(name string, do, undo func(context.Context) error) *Plan {
	return p.Add(Step{Name: name, Do: do, Undo: undo})
}

// String prints the plan, one numbered step a line. Steps that can't be
// undone are marked, and so is the point of no return.
func (p *Plan) String() string {
	var b strings.Builder
	if p.Title != "" {
		fmt.Fprintf(&b, "%s\n", p.Title)
	}
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "%3d. %s", i+1, s.Name)
		switch {
		case s.Final:
			b.WriteString(" (point of no return)")
		case s.Undo == nil:
			b.WriteString(" (nothing to undo)")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// WriteTo writes what String gives.
func (p *Plan) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, p.String())
	return int64(n), err
}

// State is where a step of a running plan stands.
type State uint8

// The states of a step, in the order they can occur.
const (
	Started State = iota
	Done
	Failed
	Undone
	UndoFailed
)

var stateNames = [...]string{"started", "done", "failed", "undone", "undo failed"}

// String is the state in lower case.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Progress tells how far a long change is. Plans report one for each change
// of state of a step; data movers fill the amounts.
type Progress struct {
	Step    int    // index in Plan.Steps
	Name    string // Step.Name
	State   State
	Err     error         // with Failed and UndoFailed
	Elapsed time.Duration // since the plan, or the transfer, started

	Done, Total int64 // bytes, when data moves; Total 0 when unknown
}

// RunOptions change how a plan runs. The zero value reports nothing.
type RunOptions struct {
	// Progress is called from the goroutine of Run, before and after each
	// step. A plan that holds devices suspended delivers these calls when
	// the last device runs again, so the callback may block.
	Progress func(Progress)
}

// PlanError says which step of a plan failed and what became of the ones
// before it. It unwraps to the step's error and those of failed undos.
type PlanError struct {
	Title  string
	Step   int // index of the step that failed
	Name   string
	Err    error
	Undone []string // steps that were taken back, last first
	Undo   []error  // errors of undos; what they name is still changed
	Final  bool     // the point of no return was passed: nothing was undone
}

// Error names the step, its error and what was taken back.
func (e *PlanError) Error() string {
	var b strings.Builder
	if e.Title != "" {
		fmt.Fprintf(&b, "%s: ", e.Title)
	}
	fmt.Fprintf(&b, "step %d (%s): %v", e.Step+1, e.Name, e.Err)
	switch {
	case e.Final:
		b.WriteString("; past the point of no return, nothing was undone")
	case len(e.Undo) > 0:
		fmt.Fprintf(&b, "; undone %d, not undone %d: %v", len(e.Undone), len(e.Undo), errors.Join(e.Undo...))
	case len(e.Undone) > 0:
		fmt.Fprintf(&b, "; undone %d", len(e.Undone))
	}
	return b.String()
}

// Unwrap gives the step's error and those of the undos.
func (e *PlanError) Unwrap() []error { return append([]error{e.Err}, e.Undo...) }

// Run does the steps in order. When one fails, or ctx is cancelled between
// two, the steps done before are undone in reverse order and the error is a
// [*PlanError]. A step whose Do failed is undone too only if it says so
// itself: Do must leave things as they were on error. Once a step marked
// Final is done, ctx is no longer looked at and nothing is undone.
func (p *Plan) Run(ctx context.Context, opts RunOptions) error {
	start := time.Now()
	report := func(i int, s State, err error) {
		if opts.Progress != nil {
			opts.Progress(Progress{Step: i, Name: p.Steps[i].Name, State: s, Err: err, Elapsed: time.Since(start)})
		}
	}
	final := false
	for i, s := range p.Steps {
		err := ctx.Err()
		if err == nil || final {
			report(i, Started, nil)
			err = nil
			if s.Do != nil {
				err = s.Do(ctx)
			}
		}
		if err == nil {
			report(i, Done, nil)
			if s.Final {
				final = true
				ctx = context.WithoutCancel(ctx)
			}
			continue
		}
		report(i, Failed, err)
		failure := &PlanError{Title: p.Title, Step: i, Name: s.Name, Err: err, Final: final}
		if !final {
			p.undo(context.WithoutCancel(ctx), i-1, failure, report)
		}
		return failure
	}
	return nil
}

func (p *Plan) undo(ctx context.Context, from int, failure *PlanError, report func(int, State, error)) {
	for i := from; i >= 0; i-- {
		s := p.Steps[i]
		if s.Undo == nil {
			continue
		}
		if err := s.Undo(ctx); err != nil {
			failure.Undo = append(failure.Undo, fmt.Errorf("undo of %s: %w", s.Name, err))
			report(i, UndoFailed, err)
			continue
		}
		failure.Undone = append(failure.Undone, s.Name)
		report(i, Undone, nil)
	}
}
