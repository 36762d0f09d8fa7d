// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/linuxblock/linuxblock/dm"
)

// dmChapter makes a device of two disks, changes it while it is in use,
// takes a snapshot of it and takes all down again.
type dmChapter struct {
	s      *stage
	client *dm.Client
	disks  []disk // two for data, one to grow on, one for copies

	table  dm.Table // of tour-data, by paths
	info   dm.Info  // of tour-data
	io     blockDevice
	snap   blockDevice // tour-snap
	blocks *blocks     // what must be on tour-data

	events    chan dm.Event
	seen      []string // events so far: "created tour-data"
	stopWatch func()
}

func (c *dmChapter) title() string {
	return "device-mapper: block devices made of other ones, changed while in use"
}

// Sizes in sectors.
const (
	mib      = dm.Sectors(2048)
	stripe   = dm.Sectors(128) // 64 KiB
	dataSize = 6 * mib
)

func (c *dmChapter) begin(ctx context.Context, s *stage) ([]step, error) {
	c.s = s
	var err error
	if c.disks, err = s.disks(4); err != nil {
		return nil, err
	}
	if c.client, err = s.openDM(ctx); err != nil {
		return nil, err
	}
	c.watch(ctx)
	return []step{
		{"describe", "A table says which sectors lie where. It is a value: no driver is asked.", true, c.describe},
		{"create", "One call makes the device, loads its table and runs it.", false, c.create},
		{"write", "What is written to the device must lie where the table says.", false, c.write},
		{"swap", "The table is changed again and again while a program reads and writes.", false, c.swap},
		{"snapshot", "From now on what is overwritten is first copied to a third disk.", false, c.snapshot},
		{"overwrite", "The device takes new data; the snapshot must show the old.", false, c.overwrite},
		{"overflow", "A snapshot whose disk is full gives up; whoever waits for it is told.", false, c.overflow},
		{"graph", "What stands on what by now: the driver is asked, not our notes.", false, c.graph},
		{"rename", "A device gets another name while it is open.", false, c.rename},
		{"events", "A stream told of all that, without polling.", false, c.told},
		{"refusal", "A table too big for its disk is refused before the driver sees it.", false, c.refusal},
		{"reason", "What only the driver can refuse comes with the driver's own reason.", false, c.reason},
		{"force", "A device in use is not removed, unless its I/O is made to fail first.", false, c.force},
		{"remove", "All devices go, from the top of the stack to its bottom.", false, c.remove},
	}, nil
}

// describe makes the table: two MiB of the first disk as they are, four MiB
// in stripes over both.
func (c *dmChapter) describe(context.Context) (string, error) {
	a, b := c.disks[0], c.disks[1]
	c.table = dm.Table{}.
		Append(2*mib, dm.Linear{Device: a.path, Offset: 0}).
		Append(4*mib, dm.Striped{ChunkSize: stripe, Stripes: []dm.Stripe{
			{Device: a.path, Offset: 2 * mib},
			{Device: b.path, Offset: 0},
		}})
	for _, segment := range c.table {
		c.s.say("%v", segment)
	}
	if err := c.table.Validate(); err != nil {
		return "", err
	}
	parsed, err := dm.ParseTable(c.table.Format())
	if err != nil {
		return "", err
	}
	if !parsed.Equal(c.table) {
		return "", mismatch("%v parsed again is %v", c.table, parsed)
	}
	gap := append(dm.Table{}, c.table...)
	gap[1].Start += 8
	if err := wants(gap.Validate(), dm.ErrBadTable); err != nil {
		return "", err
	}
	return "printed and parsed, it is the same; one with a gap is refused", nil
}

func (c *dmChapter) create(ctx context.Context) (string, error) {
	var err error
	c.info, err = c.client.Create(ctx, "tour-data", c.table, dm.CreateOptions{UUID: "TOUR-data"})
	if err != nil {
		return "", err
	}
	c.s.say("%s is %v, uuid %s, %d segments", c.info.Name, c.info.Dev, c.info.UUID, c.info.Targets)
	if !c.info.ActiveTable || c.info.Suspended || c.info.Targets != 2 {
		return "", mismatch("the device does not run: %+v", c.info)
	}
	if err := c.runsOn(ctx, c.table); err != nil {
		return "", err
	}
	status, err := c.client.Status(ctx, dm.Name("tour-data"), dm.StatusOptions{})
	if err != nil {
		return "", err
	}
	if len(status) != 2 || status[1].Type != "striped" {
		return "", mismatch("status %v", status)
	}
	st, err := dm.ParseStripedStatus(status[1].Text)
	if err != nil {
		return "", err
	}
	c.s.say("status: %v", status[1])
	if len(st.Failed) != 2 || st.Failed[0] || st.Failed[1] {
		return "", mismatch("a stripe failed: %v", st)
	}
	if c.io, err = c.s.open(c.info.Dev.Path()); err != nil {
		return "", err
	}
	return "it runs, on our table, with both stripes alive", nil
}

// runsOn compares the live table of tour-data with one of ours. The driver
// prints devices as major:minor.
func (c *dmChapter) runsOn(ctx context.Context, want dm.Table) error {
	got, err := c.client.Table(ctx, c.info.Dev, dm.StatusOptions{})
	if err != nil {
		return err
	}
	text := want.Format()
	for _, d := range c.disks {
		text = strings.ReplaceAll(text, d.path+" ", d.dev.String()+" ")
	}
	if got.Format() != text {
		return mismatch("the live table is\n%swant\n%s", got.Format(), text)
	}
	return nil
}

func sizeText(n dm.Sectors) string { return fmt.Sprintf("%d MiB", n/mib) }
