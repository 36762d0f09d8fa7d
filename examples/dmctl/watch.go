// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/linuxblock/linuxblock/dm"
)

// events prints until it is interrupted, which is its regular end, or until
// it has printed enough.
func events(ctx context.Context, t *tool, _ []string) error {
	n := 0
	for e, err := range t.Events(ctx, dm.EventOptions{Initial: t.initial}) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Kind == dm.Listed {
			continue // who reads sees "before" end
		}
		if t.json {
			err = json.NewEncoder(t.out).Encode(eventJSON(e))
		} else {
			_, err = fmt.Fprintln(t.out, eventText(e))
		}
		if err != nil {
			return err // nobody reads any more
		}
		if n++; n == t.count {
			break
		}
	}
	return nil
}

func eventText(e dm.Event) string {
	line := fmt.Sprintf("%-9s %s (%v)", e.Kind, e.Name.Label(), e.Dev)
	switch {
	case e.Kind == dm.Renamed:
		line += " was " + e.OldName.Label()
	case e.Kind == dm.Triggered:
		line += fmt.Sprintf(" event %d", e.EventNr)
	case e.Initial:
		line += " before"
	}
	return line
}

func wait(ctx context.Context, t *tool, args []string) error {
	ref, rest, err := t.ref(args)
	if err != nil {
		return err
	}
	var nr uint32
	if len(rest) > 0 {
		n, err := strconv.ParseUint(rest[0], 10, 32)
		if err != nil {
			return usagef("wait: %q is not an event number", rest[0])
		}
		nr = uint32(n)
	} else {
		info, err := t.Info(ctx, ref)
		if err != nil {
			return err
		}
		nr = info.EventNr
	}
	info, status, err := t.WaitEvent(ctx, ref, nr)
	if err != nil {
		return err
	}
	s := statusJSON(info.Name, status)
	if t.json {
		s.EventNr = &info.EventNr
		return t.printJSON([]jsonStatus{s})
	}
	fmt.Fprintf(t.out, "Event number:      %d\n", info.EventNr)
	for _, l := range segmentLines(s.Segments) {
		fmt.Fprintln(t.out, l)
	}
	return nil
}

// recoverAll cleans up. What could not be cleaned up makes it fail.
func recoverAll(ctx context.Context, t *tool, _ []string) error {
	found, err := t.Recover(ctx, dm.RecoverOptions{DryRun: t.dryRun})
	data := []jsonLeftover{}
	var failed []error
	for _, l := range found {
		if !t.json {
			fmt.Fprintln(t.out, l)
		}
		entry := jsonLeftover{PID: l.PID, What: l.What, Name: l.Name.String(), Action: l.Action, DryRun: t.dryRun}
		if l.Err != nil {
			entry.Error = l.Err.Error()
			failed = append(failed, l.Err)
		}
		data = append(data, entry)
	}
	if t.json {
		err = errors.Join(err, t.printJSON(data))
	} else if len(found) == 0 && err == nil {
		fmt.Fprintln(t.out, "nothing to recover")
	}
	return errors.Join(err, errors.Join(failed...))
}

func mangleText(_ context.Context, t *tool, args []string) error {
	for _, a := range args {
		text := dm.Name(a).Unmangle()
		if !t.undo {
			name, err := dm.Mangle(a, dm.MangleAuto)
			if err != nil {
				return err
			}
			text = name.String()
		}
		fmt.Fprintln(t.out, text)
	}
	return nil
}
