// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

// change plans an operation and carries it out.
func (t *tool) change(ctx context.Context, name string, op dmraid.Operation) error {
	a, err := t.array(ctx, name)
	if err != nil {
		return err
	}
	p, err := a.Plan(ctx, op)
	if err != nil {
		return err
	}
	return t.carryOut(ctx, p)
}

func position(word string) (int, error) {
	n, err := strconv.Atoi(word)
	if err != nil || n < 0 {
		return 0, usagef("%q is no position of a leg: 0, 1, …", word)
	}
	return n, nil
}

func failLeg(ctx context.Context, t *tool, words []string) error {
	n, err := position(words[1])
	if err != nil {
		return err
	}
	if !t.plan {
		if err := t.confirm("Leg %d will be taken out of %s, which bears less from then on.", n, words[0]); err != nil {
			return err
		}
	}
	return t.change(ctx, words[0], dmraid.FailLeg{Leg: n})
}

// legOf finds the devices of a leg that is in no table.
func (t *tool) legOf(ctx context.Context, name string, n int) (dmraid.Leg, error) {
	meta, err := t.c.Info(ctx, metaName(name, n))
	if err != nil {
		return dmraid.Leg{}, err
	}
	image, err := t.c.Info(ctx, imageName(name, n))
	return dmraid.Leg{Meta: meta.Dev.String(), Data: image.Dev.String()}, err
}

func returnLeg(ctx context.Context, t *tool, words []string) error {
	n, err := position(words[1])
	if err != nil {
		return err
	}
	leg, err := t.legOf(ctx, words[0], n)
	if err != nil {
		return err
	}
	return t.change(ctx, words[0], dmraid.MergeLeg{Leg: n, With: leg})
}

func replaceLeg(ctx context.Context, t *tool, words []string) error {
	name := words[0]
	n, err := position(words[1])
	if err != nil {
		return err
	}
	list, release, err := t.openSources(ctx, words[2:])
	defer release()
	if err != nil {
		return err
	}
	if err := t.mayOverwrite(ctx, list); err != nil {
		return err
	}
	// The leg that was there makes room for the names of the new one. It is
	// out of the array already, or is taken out now.
	a, err := t.array(ctx, name)
	if err != nil {
		return err
	}
	state, err := a.State(ctx)
	if err != nil {
		return err
	}
	if n >= len(state.Table.Legs) {
		return usagef("%s has %d legs", name, len(state.Table.Legs))
	}
	if !state.Table.Legs[n].Missing() {
		if err := t.change(ctx, name, dmraid.FailLeg{Leg: n}); err != nil || t.plan {
			return err
		}
	}
	if err := t.dropLeg(ctx, name, n); err != nil {
		return err
	}
	legs, remove, err := t.makeLegs(ctx, name, n, list)
	if err != nil {
		return err
	}
	err = t.change(ctx, name, dmraid.ReplaceLegs{Legs: map[int]dmraid.Leg{n: legs[0]}, Force: t.force})
	if err != nil || t.plan {
		err = errors.Join(err, remove())
	}
	return err
}

// dropLeg removes the devices of a leg that is out of the array, where there
// are any.
func (t *tool) dropLeg(ctx context.Context, name string, n int) error {
	if t.plan {
		return nil
	}
	all, err := t.legDevices(ctx, name)
	var refs []dm.Ref
	for _, e := range all {
		if e.Name == metaName(name, n) || e.Name == imageName(name, n) {
			refs = append(refs, e.Name)
		}
	}
	return errors.Join(err, t.removeAll(ctx, refs))
}

func revive(ctx context.Context, t *tool, words []string) error {
	return t.change(ctx, words[0], dmraid.Revive{})
}

func scrub(ctx context.Context, t *tool, words []string) error {
	a, err := t.array(ctx, words[0])
	if err != nil {
		return err
	}
	b := &bar{out: t.out}
	r, err := a.Scrub(ctx, dmraid.ScrubOptions{Repair: t.repair, Progress: b.progress})
	b.end()
	switch {
	case err != nil:
		return err
	case r.Found == 0:
		fmt.Fprintln(t.out, "all legs agree")
	case r.Repaired && r.Left == 0:
		fmt.Fprintf(t.out, "%s differed and were repaired\n", human(r.Found))
	default:
		fmt.Fprintf(t.out, "%s differ; --repair makes them equal\n", human(r.Found))
		return errDiffers
	}
	return nil
}

// stop takes an array down with the devices of its legs.
func stop(ctx context.Context, t *tool, words []string) error {
	name := words[0]
	legs, err := t.legDevices(ctx, name)
	if err != nil {
		return err
	}
	if err := t.change(ctx, name, dmraid.Stop{Retries: 5}); err != nil || t.plan {
		return err
	}
	var refs []dm.Ref
	for _, l := range legs {
		refs = append(refs, l.Name)
	}
	return t.removeAll(ctx, refs)
}
