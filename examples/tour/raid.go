// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

// raidChapter takes an array of three legs through its life: a leg fails,
// comes back, is replaced; a disk lies; and the legs are read without the
// kernel.
type raidChapter struct {
	s      *stage
	client *dm.Client
	disks  []disk // three for the legs, one spare
	legs   []dmraid.Leg

	table  dmraid.Table
	array  *dmraid.Array
	io     blockDevice
	blocks *blocks // what must be on the array
}

func (c *raidChapter) title() string {
	return "dm-raid: an array that loses a disk, and no data"
}

// Sizes of a leg and of the array, in sectors.
const (
	legMeta  = mib
	legData  = 4 * mib
	raidSize = 2 * legData
)

func (c *raidChapter) begin(ctx context.Context, s *stage) ([]step, error) {
	c.s = s
	var err error
	if c.disks, err = s.disks(4); err != nil {
		return nil, err
	}
	if c.client, err = s.openDM(ctx); err != nil {
		return nil, err
	}
	return []step{
		{"explain", "A line of a table is read and told in words.", true, c.explain},
		{"legs", "Each disk gets a device for the superblock and one for data.", false, c.makeLegs},
		{"create", "A plan is made, read, and run; the array syncs by itself.", false, c.create},
		{"fail", "A leg is taken out. What it held is computed from the others.", false, c.fail},
		{"return", "The leg comes back. Only what was written meanwhile is copied.", false, c.giveBack},
		{"replace", "Another disk takes the place of a leg and is rebuilt.", false, c.replace},
		{"scrub", "A disk changes a byte by itself. Who compares all legs finds it.", false, c.scrub},
		{"stop", "The array and the devices of its legs go.", false, c.stop},
		{"verify", "The superblocks tell what the legs are to each other.", true, c.verify},
		{"rescue", "The content is read from two of three legs, without the kernel.", true, c.rescue},
	}, nil
}

func (c *raidChapter) explain(context.Context) (string, error) {
	line := fmt.Sprintf("0 %d raid raid5_ls 3 64 region_size 1024 3 1:0 1:1 1:2 1:3 1:4 1:5", uint64(raidSize))
	text, err := dmraid.Explain(line)
	if err != nil {
		return "", err
	}
	for l := range strings.Lines(text) {
		c.s.say("%s", strings.TrimRight(l, "\n"))
	}
	parsed, err := dm.ParseTable(line, dmraid.TextParsers())
	if err == nil && parsed.Format() != line+"\n" {
		err = mismatch("%q came back as %q", line, parsed.Format())
	}
	return "printed and parsed, the line is the same", err
}

// part is the place of a leg's metadata or data on its disk.
func part(d disk, data bool) (dm.Sectors, dm.Target) {
	if data {
		return legData, dm.Linear{Device: d.path, Offset: legMeta}
	}
	return legMeta, dm.Linear{Device: d.path}
}

func (c *raidChapter) makeLegs(ctx context.Context) (string, error) {
	var b dm.Batch
	for i, d := range c.disks {
		for _, kind := range []string{"rmeta", "rimage"} {
			n, t := part(d, kind == "rimage")
			b.Create(dm.Name(fmt.Sprintf("tour-%s-%d", kind, i)), dm.Table{}.Append(n, t), dm.CreateOptions{})
		}
	}
	made, err := c.client.RunBatch(ctx, &b, dm.BatchOptions{AllOrNothing: true})
	if err != nil {
		return "", err
	}
	for ; len(made) > 0; made = made[2:] {
		c.legs = append(c.legs, dmraid.Leg{Meta: made[0].Info.Dev.String(), Data: made[1].Info.Dev.String()})
	}
	return fmt.Sprintf("%d devices made side by side, all or none", 2*len(c.legs)), nil
}

// settle waits for what runs, and wants everything in sync then.
func (c *raidChapter) settle(ctx context.Context) error {
	p, err := c.array.WaitIdle(ctx, dmraid.WatchOptions{})
	if err != nil {
		return err
	}
	c.s.say("%v", p.Health)
	if !p.Health.InSync {
		return mismatch("the array is not in sync: %v", p.Status)
	}
	return nil
}

// do plans a change, shows the plan and runs it.
func (c *raidChapter) do(ctx context.Context, op dmraid.Operation) error {
	p, err := c.array.Plan(ctx, op)
	if err != nil {
		return err
	}
	return c.run(ctx, p)
}

func (c *raidChapter) run(ctx context.Context, p *linuxblock.Plan) error {
	for l := range strings.Lines(p.String()) {
		c.s.say("%s", strings.TrimRight(l, "\n"))
	}
	return p.Run(ctx, linuxblock.RunOptions{})
}

func (c *raidChapter) create(ctx context.Context) (string, error) {
	c.table = dmraid.Table{Type: dmraid.RAID5LS, ChunkSize: 64, RegionSize: 1024, Legs: c.legs[:3]}
	p, err := dmraid.PlanCreate(ctx, c.client, dmraid.NewArray{Name: "tour-raid", Table: c.table, Length: raidSize}, dmraid.WithDevices(c.s.devices()))
	if err == nil {
		err = c.run(ctx, p)
	}
	if err == nil {
		c.array, err = dmraid.OpenArray(ctx, c.client, dm.Name("tour-raid"), dmraid.WithDevices(c.s.devices()))
	}
	if err == nil {
		err = c.settle(ctx)
	}
	if err != nil {
		return "", err
	}
	if c.io, err = c.s.open(c.array.Dev().Path()); err != nil {
		return "", err
	}
	c.blocks = newBlocks(raidSize)
	return "it is in sync, and every block reads back", c.writeAll()
}

// writeAll writes every block anew and reads all back.
func (c *raidChapter) writeAll() error {
	p := aligned(blockSize)
	for i := range c.blocks.written {
		if err := c.blocks.write(c.io, p, i); err != nil {
			return err
		}
	}
	return c.blocks.checkAll(c.io)
}

func (c *raidChapter) fail(ctx context.Context) (string, error) {
	if err := c.do(ctx, dmraid.FailLeg{Leg: 1}); err != nil {
		return "", err
	}
	s, err := c.array.State(ctx)
	if err != nil {
		return "", err
	}
	c.s.say("%v", s.Health)
	if s.Health.Condition != dmraid.Degraded || s.Health.Spare != 0 {
		return "", mismatch("status %v", s.Status)
	}
	// One block in the middle is all that is written without the leg.
	if err := c.blocks.write(c.io, aligned(blockSize), len(c.blocks.written)/2); err != nil {
		return "", err
	}
	return "degraded, every block reads back, writes go on", c.blocks.checkAll(c.io)
}
