// SPDX-License-Identifier: MIT

package dmraid

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
)

// Assemble says how an array that exists is to be made live again.
type Assemble struct {
	Name dm.Name
	UUID dm.UUID
	// Table is the array as it was; [Superblock.Type] and its like tell the
	// shape. Rebuild may name legs that are to be made anew, which a leg
	// without a superblock must be; those are written over.
	Table  Table
	Length Sectors
	// Allow names the traps that the caller knows of and takes.
	Allow []Trap
}

// PlanAssemble reads superblocks and bitmaps of all legs, judges them by
// [Verify], and lists the steps that make the array live so that all legs are
// right in the end:
//
//   - a leg that is behind the others and that none of them records as failed,
//     which the kernel would take for good, is rebuilt;
//   - an array that calls itself clean and was not stopped, or never synced, is
//     marked as not synced, so that the kernel resyncs what its bitmap has as
//     dirty; by itself it does not.
//
// What the kernel would do wrongly all the same is refused by [CheckTraps].
func PlanAssemble(ctx context.Context, c *dm.Client, n Assemble, opts ...ArrayOption) (*linuxblock.Plan, error) {
	a := newArray(c, opts)
	a.name = n.Name
	const op = "assemble"
	images, err := a.scan(ctx, n.Table.Legs)
	if err != nil {
		return nil, a.fail(op, err)
	}
	t := n.Table.clone()
	p := &linuxblock.Plan{Title: fmt.Sprintf("assemble %s", n.Name)}
	found := foundLegs(images)
	if slices.ContainsFunc(t.Legs, func(l Leg) bool { return l.Meta != "" }) && t.Type.Redundant() && t.Sync == SyncDefault {
		report, err := Verify(images)
		if err != nil {
			return nil, a.fail(op, err)
		}
		if err := a.judge(op, report, &t); err != nil {
			return nil, err
		}
		if report.Resync == ResyncDirty || report.Resync == ResyncAll && report.Clean {
			for i, l := range images {
				if found[i].Meta == MetaValid && len(t.Rebuild) == 0 {
					a.resyncStep(p, t.Legs[i].Meta, l.Super)
					found[i].Super = l.Super.Resync()
				}
			}
		}
	}
	if err := t.Validate(n.Length); err != nil {
		return nil, a.fail(op, err)
	}
	if err := CheckTraps(a.kernel, Situation{Table: t, Length: n.Length, Legs: found}, n.Allow...); err != nil {
		return nil, a.fail(op, err)
	}
	a.createStep(p, n.Name, n.UUID, t, n.Length)
	if len(t.Rebuild) > 0 {
		next := t.Reload()
		p.Do(fmt.Sprintf("reload %s with %s", n.Name, segment(next, n.Length)), func(ctx context.Context) error {
			info, err := c.Info(ctx, n.Name)
			if err != nil {
				return a.fail(op, err)
			}
			a.dev = info.Dev
			return a.swap(ctx, next, n.Length)
		}, nil)
	}
	return p, nil
}

// judge names the legs that must be rebuilt, and refuses those that nobody has
// given up.
func (a *Array) judge(op string, r Report, t *Table) error {
	for i, l := range r.Legs {
		named := slices.Contains(t.Rebuild, i)
		switch l.Verdict {
		case LegFresh, LegCorrupt, LegFuture, LegStranger:
			if !named {
				return &Error{Op: op, Object: fmt.Sprintf("leg %d", i), Detail: fmt.Sprintf("its superblock is %s; name it in Rebuild to have it written over", l.Verdict), Err: ErrForeign}
			}
		case LegStale:
			if !named {
				t.Rebuild = append(t.Rebuild, i)
			}
		}
	}
	slices.Sort(t.Rebuild)
	return nil
}

// scan reads the metadata of all legs.
func (a *Array) scan(ctx context.Context, legs []Leg) ([]LegImage, error) {
	sources := make([]LegSource, len(legs))
	for i, l := range legs {
		if l.Meta != "" {
			sources[i] = LegSource{Name: l.Meta, Open: func(context.Context) (io.ReaderAt, error) { return a.open.OpenDevice(l.Meta, false) }}
		}
	}
	return Scan(ctx, sources)
}

func foundLegs(images []LegImage) []LegFound {
	list := make([]LegFound, len(images))
	for i, l := range images {
		list[i] = l.Found()
	}
	return list
}

// resyncStep adds the step that marks a leg as of an array that is not synced.
func (a *Array) resyncStep(p *linuxblock.Plan, meta string, sb Superblock) {
	var before []byte
	p.Do("mark the array as not synced on "+meta, func(ctx context.Context) (err error) {
		size, err := a.blockSize(meta)
		if err == nil {
			before, err = a.overwrite(ctx, meta, sb.Resync().Encode(size))
		}
		return err
	}, func(ctx context.Context) error {
		_, err := a.overwrite(ctx, meta, before)
		return err
	})
}

func (a *Array) blockSize(path string) (int, error) {
	d, err := a.open.OpenDevice(path, false)
	if err != nil {
		return 0, &Error{Op: "open", Object: path, Err: err}
	}
	defer d.Close()
	logical, _ := d.SectorSize()
	return logical, nil
}
