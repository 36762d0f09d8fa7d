// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"io"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

// scan reads the superblocks and bitmaps of legs, and judges them.
func (t *tool) scan(ctx context.Context, list []source) (dmraid.Report, []dmraid.LegImage, error) {
	sources := make([]dmraid.LegSource, len(list))
	for i, s := range list {
		if s.path != "-" {
			sources[i] = dmraid.LegSource{Name: s.path, Open: func(context.Context) (io.ReaderAt, error) {
				return t.devices().OpenDevice(s.device, false)
			}}
		}
	}
	images, err := dmraid.Scan(ctx, sources)
	if err != nil {
		return dmraid.Report{}, nil, err
	}
	report, err := dmraid.Verify(images)
	return report, images, err
}

// assemble brings an array up that was stopped, or whose machine was.
func assemble(ctx context.Context, t *tool, words []string) error {
	name := words[0]
	if err := t.free(ctx, name); err != nil {
		return err
	}
	list, release, err := t.openSources(ctx, words[1:])
	defer release()
	if err != nil {
		return err
	}
	report, _, err := t.scan(ctx, list)
	fmt.Fprint(t.out, report)
	if err != nil {
		return err
	}
	table, length, err := report.Newest.Table()
	if err != nil {
		return err
	}
	if len(table.Legs) != len(list) {
		return usagef("the array has %d legs; give them all in their order, - for one that is missing", len(table.Legs))
	}
	return t.withLegs(ctx, name, list, func(legs []dmraid.Leg) error {
		table.Legs = legs
		p, err := dmraid.PlanAssemble(ctx, t.c, dmraid.Assemble{Name: dm.Name(name), Table: table, Length: length}, dmraid.WithDevices(t.devices()))
		if err == nil {
			err = t.carryOut(ctx, p)
		}
		return err
	})
}

// verify looks at legs that are in no array.
func verify(ctx context.Context, t *tool, words []string) error {
	list, release, err := t.openSources(ctx, words)
	defer release()
	if err != nil {
		return err
	}
	report, _, err := t.scan(ctx, list)
	fmt.Fprint(t.out, report)
	if err == nil && (len(report.Findings) > 0 || report.Lost > 0) {
		err = errDegraded
	}
	return err
}
