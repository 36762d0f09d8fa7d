// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

// create makes an array.
func create(ctx context.Context, t *tool, words []string) (err error) {
	name, legs := words[0], words[2:]
	typ, err := dmraid.ParseType(words[1])
	if err != nil {
		return usagef("%v; the types are %v", err, dmraid.Types())
	}
	if err := t.free(ctx, name); err != nil {
		return err
	}
	if t.files != "" {
		if t.count <= 0 || t.options.size <= 0 || len(legs) > 0 {
			return usagef("--files wants --count and --size, and no legs")
		}
		if legs, err = makeFiles(t.files, name, t.count, t.options.size.sectors()); err != nil {
			return err
		}
		defer func() {
			if err != nil || t.plan {
				for _, f := range legs {
					os.Remove(f)
				}
			}
		}()
	} else if len(legs) == 0 {
		return usagef("give the legs, or --files DIR --count N --size S")
	}
	list, release, err := t.openSources(ctx, legs)
	defer release()
	if err != nil {
		return err
	}
	if t.files == "" {
		if err := t.mayOverwrite(ctx, list); err != nil {
			return err
		}
	}
	table := dmraid.Table{Type: typ, ChunkSize: t.chunk.sectors(), RegionSize: t.region.sectors(), MaxRecoveryRate: t.rate}
	if t.chunk == 0 && typ != dmraid.RAID1 {
		table.ChunkSize = 128
	}
	return t.withLegs(ctx, name, list, func(legs []dmraid.Leg) error {
		table.Legs = legs
		length, err := capacity(table, list)
		if err != nil {
			return err
		}
		p, err := dmraid.PlanCreate(ctx, t.c, dmraid.NewArray{Name: dm.Name(name), Table: table, Length: length, Force: t.force}, dmraid.WithDevices(t.devices()))
		if err == nil {
			err = t.carryOut(ctx, p)
		}
		if err == nil && !t.plan {
			fmt.Fprintf(t.out, "/dev/mapper/%s: %s of %d legs, %s\n", name, typ, len(legs), human(length))
		}
		return err
	})
}

// withLegs makes the devices of the legs for f, and removes them when f fails
// or is only to plan.
func (t *tool) withLegs(ctx context.Context, name string, list []source, f func([]dmraid.Leg) error) error {
	legs, remove, err := t.makeLegs(ctx, name, 0, list)
	if err != nil {
		return err
	}
	err = f(legs)
	if err != nil || t.plan {
		err = errors.Join(err, remove())
	}
	return err
}

// free refuses a name that is taken.
func (t *tool) free(ctx context.Context, name string) error {
	taken, err := t.legDevices(ctx, name)
	if err == nil && len(taken) > 0 {
		err = fmt.Errorf("there is an array %s, or some of it: %s", name, taken[0].Name)
	}
	return err
}

// capacity is the largest length that the legs have room for: whole chunks on
// the smallest.
func capacity(table dmraid.Table, list []source) (linuxblock.Sectors, error) {
	least := slices.MinFunc(list, func(a, b source) int { return int(a.size) - int(b.size) }).size - metaSize
	if c := table.ChunkSize; c > 0 {
		least -= least % c
	}
	n := linuxblock.Sectors(len(list))
	length := least * (n - linuxblock.Sectors(table.Type.Parity()))
	switch {
	case len(list) < table.Type.MinLegs():
		return 0, fmt.Errorf("%s needs %d legs", table.Type, table.Type.MinLegs())
	case table.Type == dmraid.RAID1:
		length = least
	case table.Type.IsRAID10():
		// Two copies; a whole number of chunks on every leg.
		length = least / table.ChunkSize * n / 2 * table.ChunkSize
		length -= length % n
	}
	if least == 0 || length == 0 {
		return 0, fmt.Errorf("the legs are too small for a chunk of %s", human(table.ChunkSize))
	}
	return length, nil
}
