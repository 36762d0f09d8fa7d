// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

func (c *raidChapter) giveBack(ctx context.Context) (string, error) {
	if err := c.do(ctx, dmraid.MergeLeg{Leg: 1, With: c.legs[1]}); err != nil {
		return "", err
	}
	if err := c.settle(ctx); err != nil {
		return "", err
	}
	return "in sync again, every block reads back", c.blocks.checkAll(c.io)
}

func (c *raidChapter) replace(ctx context.Context) (string, error) {
	if err := c.do(ctx, dmraid.ReplaceLegs{Legs: map[int]dmraid.Leg{2: c.legs[3]}}); err != nil {
		return "", err
	}
	c.disks[2], c.disks[3] = c.disks[3], c.disks[2]
	if err := c.settle(ctx); err != nil {
		return "", err
	}
	return "rebuilt on the spare disk, every block reads back", c.blocks.checkAll(c.io)
}

// scrub changes a byte on a disk behind the array's back.
func (c *raidChapter) scrub(ctx context.Context) (string, error) {
	f, err := c.s.open(c.disks[0].path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	p := aligned(blockSize)
	off := legMeta.Bytes() + 16*blockSize
	if _, err := f.ReadAt(p, off); err != nil {
		return "", err
	}
	p[5] ^= 0x20
	if _, err := f.WriteAt(p, off); err != nil {
		return "", err
	}
	found, err := c.array.Scrub(ctx, dmraid.ScrubOptions{})
	if err == nil && found.Found == 0 {
		err = mismatch("nothing was found")
	}
	if err != nil {
		return "", err
	}
	c.s.say("%v differ", found.Found)
	// The kernel can't tell which leg is wrong: it makes the parity fit. The
	// disk is given its byte back first, so that it is right to do so.
	p[5] ^= 0x20
	if _, err := f.WriteAt(p, off); err != nil {
		return "", err
	}
	again, err := c.array.Scrub(ctx, dmraid.ScrubOptions{})
	if err == nil && again.Found != 0 {
		err = mismatch("%v still differ", again.Found)
	}
	return "the stripe was found; set right, nothing differs", err
}

func (c *raidChapter) stop(ctx context.Context) (string, error) {
	c.closeIO()
	if err := c.do(ctx, dmraid.Stop{Retries: 24}); err != nil {
		return "", err
	}
	var b dm.Batch
	for i := range c.disks {
		for _, kind := range []string{"rmeta", "rimage"} {
			b.Remove(dm.Name(fmt.Sprintf("tour-%s-%d", kind, i)), dm.RemoveOptions{Retries: 24})
		}
	}
	_, err := c.client.RunBatch(ctx, &b, dm.BatchOptions{})
	return "the superblocks stay as the array left them", err
}

// legReader reads a leg's part of a disk, from below device-mapper.
func (c *raidChapter) legReader(i int, data bool) (io.ReaderAt, io.Closer, error) {
	d, err := c.s.devices().OpenDevice(c.disks[i].path, false)
	if err != nil {
		return nil, nil, err
	}
	n, start := legMeta, dm.Sectors(0)
	if data {
		n, start = legData, legMeta
	}
	return io.NewSectionReader(d, start.Bytes(), n.Bytes()), d, nil
}

func (c *raidChapter) report(ctx context.Context) (dmraid.Report, error) {
	var sources []dmraid.LegSource
	for i := range 3 {
		r, closer, err := c.legReader(i, false)
		if err != nil {
			return dmraid.Report{}, err
		}
		defer closer.Close()
		sources = append(sources, dmraid.LegReader(c.disks[i].path, r))
	}
	images, err := dmraid.Scan(ctx, sources)
	if err != nil {
		return dmraid.Report{}, err
	}
	return dmraid.Verify(images)
}

func (c *raidChapter) verify(ctx context.Context) (string, error) {
	r, err := c.report(ctx)
	if err != nil {
		return "", err
	}
	for i, l := range r.Legs {
		c.s.say("%s: leg %d, %s", l.Name, l.Position, l.Verdict)
		if l.Verdict != dmraid.LegCurrent || l.Position != i {
			return "", mismatch("%v", r)
		}
	}
	return fmt.Sprintf("%s, clean, all legs at events %d", r.Type, r.Events), nil
}

func (c *raidChapter) rescue(ctx context.Context) (string, error) {
	r, err := c.report(ctx)
	if err != nil {
		return "", err
	}
	g, err := r.Newest.Geometry()
	if err != nil {
		return "", err
	}
	legs := make([]io.ReaderAt, 3)
	for _, i := range []int{0, 2} {
		leg, closer, err := c.legReader(i, true)
		if err != nil {
			return "", err
		}
		defer closer.Close()
		legs[i] = leg
	}
	reader, err := dmraid.NewReader(g, legs)
	if err == nil {
		err = c.blocks.checkAll(readOnly{reader})
	}
	return "every block is as it was written last", err
}

// readOnly is a reader in the place of an open node.
type readOnly struct{ io.ReaderAt }

func (readOnly) WriteAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func (readOnly) Close() error                       { return nil }

func (c *raidChapter) closeIO() {
	if c.io != nil {
		c.io.Close()
		c.io = nil
	}
}

func (c *raidChapter) clean(ctx context.Context) (left []string, err error) {
	c.closeIO()
	return c.s.sweep(ctx, c.client, c.disks)
}
