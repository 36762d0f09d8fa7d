// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

// readArray copies what an array holds from its legs, without the kernel.
func readArray(ctx context.Context, t *tool, words []string) (err error) {
	if t.output == "" {
		return usagef("read wants --out FILE")
	}
	list, release, err := t.openSources(ctx, words)
	defer release()
	if err != nil {
		return err
	}
	report, images, err := t.scan(ctx, list)
	if err != nil {
		return err
	}
	g, err := report.Newest.Geometry()
	if err != nil {
		return err
	}
	legs := make([]io.ReaderAt, len(list))
	var opts []dmraid.ReaderOption
	for i, s := range list {
		// A leg that is not to be trusted is as good as missing.
		switch report.Legs[i].Verdict {
		case dmraid.LegCurrent, dmraid.LegRebuilding:
		default:
			continue
		}
		d, err := t.devices().OpenDevice(s.device, false)
		if err != nil {
			return err
		}
		defer d.Close()
		legs[i] = io.NewSectionReader(d, metaSize.Bytes(), (s.size - metaSize).Bytes())
		opts = append(opts, dmraid.WithSuperblock(i, images[i].Super))
	}
	r, err := dmraid.NewReader(g, legs, opts...)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(t.output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			os.Remove(t.output)
		}
	}()
	b := &bar{out: t.err}
	const piece = 8 << 20
	p := make([]byte, piece)
	for off := int64(0); off < r.Size(); off += piece {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.ReadAt(p, off)
		if err != nil && err != io.EOF {
			return err
		}
		if _, err := out.Write(p[:n]); err != nil {
			return err
		}
		b.draw("read", float64(off+int64(n))/float64(r.Size()), "")
	}
	b.end()
	for _, f := range r.Failures() {
		fmt.Fprintf(t.err, "warning: %v\n", f)
	}
	fmt.Fprintf(t.out, "%s read to %s\n", human(linuxblock.SectorsOf(r.Size())), t.output)
	return nil
}

// explain says in words what a line means.
func explain(_ context.Context, t *tool, words []string) error {
	line := words[0]
	if t.draft {
		length, params, err := draftLine(line)
		if err != nil {
			return err
		}
		table, err := dmraid.ParseDraft(params)
		if err != nil {
			return err
		}
		line = dm.Table{}.Append(length, table).Format()
		fmt.Fprintf(t.out, "today: %s\n", line)
	}
	text, err := dmraid.Explain(line)
	if err == nil {
		fmt.Fprint(t.out, text)
	}
	return err
}

// draftLine cuts "start length raid" off a line of the draft.
func draftLine(line string) (length linuxblock.Sectors, params string, err error) {
	tab, err := dm.ParseTable(line)
	if err != nil {
		return 0, "", err
	}
	if len(tab) != 1 || tab[0].Target.TargetType() != "raid" {
		return 0, "", usagef("one line of the target raid is wanted")
	}
	return tab[0].Length, tab[0].Target.Params(), nil
}
