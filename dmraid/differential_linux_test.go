// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/internal/blockdev"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// differentialSeed makes the random tables. Another one may find more.
const differentialSeed = 20101123

// kernelBugs are the tables that a kernel takes and, as it prints them, does
// not take again. Each names the function and has a test of its own.
var kernelBugs = []struct {
	where string
	test  string
	is    func(printed dmraid.Table, err error) bool
}{{
	where: "md_bitmap_update_sb of md-bitmap.c writes daemon_sleep/HZ seconds, which can be 0, and md_bitmap_read_sb refuses that",
	test:  "TestKernelDaemonSleep",
	is: func(printed dmraid.Table, err error) bool {
		n := printed.DaemonSleep
		return n > 0 && n < kernelHZ && strings.Contains(err.Error(), "daemon sleep period out of range")
	},
}}

// The kernel answers to random tables on fresh legs what Construct predicts:
// whether it takes them, the errno, its own text, and what it prints.
func TestDifferential(t *testing.T) {
	vmtest.OnlyKernel(t, 6, 1, "what later and older kernels answer is not all known")
	vmtest.Require(t, "dm-mod", "dm-raid", "raid0", "raid1", "raid10", "raid456", "brd")
	d := newDifferential(t, vmtest.RAMDisks(t, 2))
	n := 200
	if *long {
		n = 2000
	}
	g := newTableGen(differentialSeed)
	for range n {
		length, params := g.line()
		d.try(t, dmraid.Sectors(length), d.named(g, params))
		if t.Failed() && !*long && d.failed > 20 {
			t.Fatal("too many disagreements")
		}
	}
	t.Logf("%d tables: %d taken, %d not tried, refused for %d reasons", n, d.taken, d.skipped, len(d.reasons))
	t.Logf("of those taken %d were loaded again as printed; not so %d with a journal, %d that name a device twice, %d kernel bugs",
		d.again, d.journals, d.shared, d.excused)
}

// differential is the devices that random tables name, and what came out.
type differential struct {
	c      *dm.Client
	kernel dmraid.Kernel
	dev    map[string]dm.Dev         // by the generator's name
	sizes  map[string]dmraid.Sectors // by number and by path
	number map[string]string         // major:minor by number and by path

	taken, again, skipped, shared, journals, excused, failed int
	reasons                                                  map[string]int
}

func newDifferential(t *testing.T, disks []string) *differential {
	t.Helper()
	c, err := dm.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	v := vmtest.KernelVersion()
	d := &differential{
		c: c, kernel: dmraid.Kernel{Major: v.Major, Minor: v.Minor},
		dev: map[string]dm.Dev{}, sizes: map[string]dmraid.Sectors{}, number: map[string]string{}, reasons: map[string]int{},
	}
	at := dm.Sectors(0)
	slice := func(disk, name string, length dm.Sectors) {
		info, err := c.Create(context.Background(), dm.Name("diff-"+name), dm.Table{}.Append(length, dm.Linear{Device: disk, Offset: at}), dm.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Remove(context.Background(), info.Dev, dm.RemoveOptions{Retries: 20}); err != nil {
				t.Error(err)
			}
		})
		at += length
		d.dev[name] = info.Dev
		for _, as := range []string{info.Dev.String(), "/dev/mapper/diff-" + name} {
			d.sizes[as], d.number[as] = length, info.Dev.String()
		}
	}
	for i := range genLegs {
		slice(disks[0], fmt.Sprintf("meta%d", i), 2048)
	}
	slice(disks[0], "small", genSmall)
	slice(disks[0], "journal", genJournal)
	slice(disks[0], "tiny", genJournal-1)
	at = 0
	for i := range genLegs {
		slice(disks[1], fmt.Sprintf("data%d", i), genSectors)
	}
	return d
}

// Sectors makes d an Environment.
func (d *differential) Sectors(device string) (dmraid.Sectors, error) {
	if n, ok := d.sizes[device]; ok {
		return n, nil
	}
	return 0, os.ErrNotExist
}

// named puts devices in place of the generator's names.
func (d *differential) named(g *tableGen, params string) string {
	words := strings.Split(params, " ")
	for i, w := range words {
		if dev, ok := d.dev[strings.ToLower(w)]; ok {
			if words[i] = dev.String(); g.chance(20) {
				words[i] = "/dev/mapper/diff-" + strings.ToLower(w)
			}
		}
	}
	return strings.Join(words, " ")
}

// fresh zeroes where a superblock, a bitmap or the head of a journal can be:
// on all devices, for an odd table has metadata on a data device.
func (d *differential) fresh(t *testing.T) {
	t.Helper()
	zero := make([]byte, 64<<10)
	for _, dev := range d.dev {
		f, err := blockdev.Open(dev.Path(), blockdev.Options{Write: true, Direct: true})
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(zero, 0)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func (d *differential) fail(t *testing.T, length dmraid.Sectors, params, format string, args ...any) {
	t.Helper()
	d.failed++
	t.Errorf("%d %q:\n%s", uint64(length), params, fmt.Sprintf(format, args...))
}

// try gives a table to the kernel.
func (d *differential) try(t *testing.T, length dmraid.Sectors, params string) {
	t.Helper()
	state, predicted := dmraid.Construct(d.kernel, params, length, d, nil)
	var e *dmraid.Error
	if errors.As(predicted, &e) && e.Code == 0 {
		d.skipped++ // the kernel would die of it
		return
	}
	if predicted == nil && strings.Contains(strings.ToLower(params), "journal_dev") {
		d.skipped++ // Linux 6.1 warns of itself when such an array goes (r5l_quiesce)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d.fresh(t)
	info, got := d.c.Create(ctx, "diff", dm.Table{}.Append(length, dm.Raw{Type: "raid", Text: params}), dm.CreateOptions{})
	if got == nil {
		defer func() {
			if err := d.c.Remove(ctx, info.Dev, dm.RemoveOptions{Retries: 20}); err != nil {
				t.Fatalf("%d %q: %v", uint64(length), params, err)
			}
		}()
	}
	if !agree(predicted, got) {
		d.fail(t, length, params, "predicted %v\nthe kernel %v", predicted, got)
		return
	}
	if got != nil {
		d.reasons[errorText(predicted)]++
		return
	}
	d.taken++
	d.printed(t, ctx, info, state, length, params)
}

// agree compares a prediction with the kernel's answer: both take the table,
// or errno and text are the same.
func agree(predicted, got error) bool {
	if predicted == nil || got == nil {
		return predicted == nil && got == nil
	}
	var p *dmraid.Error
	var k *dm.Error
	if !errors.As(predicted, &p) || !errors.As(got, &k) || p.Code != k.Code {
		return false
	}
	// The log gives lines of md before it, and the errno behind it since
	// Linux 5.17.
	for _, line := range strings.Split(k.Detail, "; ") {
		text, ok := strings.CutPrefix(line, "raid: ")
		if ok && (text == p.Detail || strings.HasPrefix(text, p.Detail+" (-")) {
			return true
		}
	}
	return false
}

// printed compares status and table, and loads what was printed once more.
func (d *differential) printed(t *testing.T, ctx context.Context, info dm.Info, state dmraid.State, length dmraid.Sectors, params string) {
	t.Helper()
	status, err := d.c.Status(ctx, info.Dev, dm.StatusOptions{})
	if err != nil || len(status) != 1 {
		t.Fatal(status, err)
	}
	words := strings.Fields(status[0].Text)
	_, total, _ := strings.Cut(words[3], "/")
	if words[0] != string(state.Type) || words[1] != strconv.Itoa(state.Disks) || len(words[2]) != len(state.Health) ||
		total != strconv.FormatUint(uint64(state.Total), 10) || state.Action == dmraid.ActionIdle && words[4] == "idle" && words[2] != state.Health {
		d.fail(t, length, params, "status %q\npredicted %s %d %s of %d, %s", status[0].Text, state.Type, state.Disks, state.Health, uint64(state.Total), state.Action)
	}
	table, err := d.c.Table(ctx, info.Dev, dm.StatusOptions{})
	if err != nil || len(table) != 1 {
		t.Fatal(table, err)
	}
	got := table[0].Target.Params()
	want, err := dmraid.Printed(state, params, length, d, func(device string) string { return d.number[device] })
	if err != nil {
		t.Fatal(err)
	}
	if !sameLine(want, got) {
		d.fail(t, length, params, "printed   %q\npredicted %q", got, want)
	}
	target, err := dmraid.ParsePrinted(got)
	if err != nil {
		d.fail(t, length, params, "printed %q: %v", got, err)
		return
	}
	again := target.(dmraid.Table).Reload()
	if again.JournalDev != "" {
		// Two arrays would write to one journal. The wait is a precaution:
		// without it a removal on Linux 6.1 hung for over a minute, once in
		// two runs. Why is not known, nor whether the wait helps; the other
		// run logged a warning from r5l_quiesce in a removal.
		d.journals++
		d.idle(t, ctx, info)
		return
	}
	if sharesDevice(again) {
		d.shared++
		return
	}
	err = d.c.Load(ctx, info.Dev, dm.Table{}.Append(length, dm.Raw{Type: "raid", Text: again.Params()}), dm.LoadOptions{})
	for _, b := range kernelBugs {
		if err != nil && b.is(again, err) {
			d.excused++
			return
		}
	}
	if err != nil {
		d.fail(t, length, params, "printed %q\n%q is not taken again: %v", got, again.Params(), err)
		return
	}
	d.again++
	if err := d.c.Clear(ctx, info.Dev); err != nil {
		t.Fatal(err)
	}
}

// An array whose daemon_sleep is less than a second can't be started a second
// time: that is why Validate refuses it.
func TestKernelDaemonSleep(t *testing.T) {
	vmtest.Require(t, "dm-mod", "dm-raid", "raid1", "brd")
	d := newDifferential(t, vmtest.RAMDisks(t, 2))
	for _, tt := range []struct {
		sleep int64
		again bool
	}{{kernelHZ - 1, false}, {kernelHZ, true}, {1000, true}} {
		d.fresh(t)
		table := dmraid.Table{Type: dmraid.RAID1, DaemonSleep: tt.sleep, Legs: []dmraid.Leg{
			{Meta: d.dev["meta0"].String(), Data: d.dev["data0"].String()},
			{Meta: d.dev["meta1"].String(), Data: d.dev["data1"].String()},
		}}
		segment := dm.Table{}.Append(genSectors, dm.Raw{Type: "raid", Text: table.Params()})
		for start := range 2 {
			info, err := d.c.Create(context.Background(), "diff", segment, dm.CreateOptions{})
			if want := start == 0 || tt.again; (err == nil) != want {
				t.Errorf("daemon_sleep %d, start %d: %v", tt.sleep, start, err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), "daemon sleep period out of range") {
					t.Errorf("daemon_sleep %d: another reason: %v", tt.sleep, err)
				}
				continue
			}
			d.idle(t, context.Background(), info)
			if err := d.c.Remove(context.Background(), info.Dev, dm.RemoveOptions{Retries: 20}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// sharesDevice reports whether a device has two roles. The kernel takes such
// a table, but then a resync writes over superblocks or not, as it happens:
// what a second load finds can't be predicted.
func sharesDevice(t dmraid.Table) bool {
	seen := map[string]bool{}
	for _, l := range t.Legs {
		for _, device := range []string{l.Meta, l.Data} {
			if device != "" && seen[device] {
				return true
			}
			seen[device] = true
		}
	}
	return false
}

// idle waits until the array does nothing any more.
func (d *differential) idle(t *testing.T, ctx context.Context, info dm.Info) {
	t.Helper()
	for {
		status, err := d.c.Status(ctx, info.Dev, dm.StatusOptions{})
		if err != nil || len(status) != 1 {
			t.Fatal(status, err)
		}
		words := strings.Fields(status[0].Text)
		if done, of, _ := strings.Cut(words[3], "/"); words[4] == "idle" && done == of {
			return
		}
		select {
		case <-ctx.Done():
			t.Logf("still at it: %q", status[0].Text)
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// kernelHZ is CONFIG_HZ of Debian's kernels.
const kernelHZ = 250

// sameLine compares words; * in want is any.
func sameLine(want, got string) bool {
	w, g := strings.Fields(want), strings.Fields(got)
	if len(w) != len(g) {
		return false
	}
	for i := range w {
		if w[i] != g[i] && w[i] != "*" {
			return false
		}
	}
	return true
}
