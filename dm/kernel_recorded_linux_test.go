// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/blockdev"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// recordedLine is a table of testdata/targets, with what Linux 6.1.192 made
// of it.
type recordedLine struct {
	Case, In      string
	RC            int
	Status, Table []string
	IMA           *string
	Dmesg         []string
}

// recordedRun plays the recording: its devices have the numbers of that day
// in the texts, and other ones here.
type recordedRun struct {
	t     *testing.T
	c     *dm.Client
	disks []string
	alive map[string]recordedDevice
}

// recordedStep is what was done around a case, beyond making its device and
// taking it away.
type recordedStep struct {
	before func(r *recordedRun)
	live   func(r *recordedRun) // with the device there
	keep   string               // the number it had: it stays for the cases behind it
	after  func(r *recordedRun)
}

var recordedSteps = map[string]recordedStep{
	"a/sn":      {before: func(r *recordedRun) { r.zero(1) }},
	"a/cowtiny": {before: func(r *recordedRun) { r.zero(5) }, keep: "254:0"},
	"a/snover2": {after: func(r *recordedRun) { r.drop("cowtiny") }},
	"a/integ0":  {before: func(r *recordedRun) { r.zero(7) }},
	"a/pool":    {before: func(r *recordedRun) { r.zero(9) }, keep: "254:1"},
	"a/thin":    {before: func(r *recordedRun) { r.message("pool", "create_thin 0") }},
	"a/thsnap":  {before: func(r *recordedRun) { r.message("pool", "create_snap 1 0") }},
	"a/thext": {after: func(r *recordedRun) {
		r.message("pool", "set_transaction_id 0 1")
		r.drop("pool")
	}},
	"a/cach":    {before: func(r *recordedRun) { r.zero(8, 9) }},
	"a/cach2":   {before: func(r *recordedRun) { r.zero(8, 9) }},
	"a/wc":      {before: func(r *recordedRun) { r.zero(8) }},
	"a/wc2":     {before: func(r *recordedRun) { r.zero(8) }},
	"a/era":     {before: func(r *recordedRun) { r.zero(9) }},
	"b/sn":      {before: func(r *recordedRun) { r.zero(1) }},
	"b/cowtiny": {before: func(r *recordedRun) { r.zero(5) }, keep: "254:0"},
	"b/snover":  {live: func(r *recordedRun) { r.overfill("snover") }},
	"b/snpo": {before: func(r *recordedRun) { r.zero(5) }, after: func(r *recordedRun) {
		r.drop("cowtiny")
	}},
	"b/snm":  {before: func(r *recordedRun) { r.zero(1) }},
	"b/data": {keep: "254:0"},
	"b/pool": {before: func(r *recordedRun) { r.zero(9) }, keep: "254:1"},
	"b/thin": {
		before: func(r *recordedRun) { r.message("pool", "create_thin 0") },
		live:   func(r *recordedRun) { r.write("thin", 3*64<<10) },
	},
	"b/thsnap": {
		before: func(r *recordedRun) { r.message("pool", "create_snap 1 0") },
		after:  func(r *recordedRun) { r.drop("pool"); r.drop("data") },
	},
}

// Every recorded line has the recorded answer, and what the kernel printed
// can be loaded again.
func TestKernelRecorded(t *testing.T) {
	vmtest.Require(t, "dm-mod", "brd", "dm-zero", "dm-delay", "dm-flakey", "dm-snapshot", "dm-mirror", "dm-crypt", "dm-integrity",
		"dm-verity", "dm-thin-pool", "dm-cache", "dm-cache-smq", "dm-writecache", "dm-era", "dm-log-writes", "dm-switch", "dm-unstripe",
		"dm-multipath", "dm-round-robin", "dm-service-time", "dm-queue-length", "dm-zoned", "xts", "crc32c", "sha256")
	vmtest.OnlyKernel(t, 6, 1, "the recording is of its answers")
	data, err := os.ReadFile("testdata/targets/targets-6.1.192.json")
	if err != nil {
		t.Fatal(err)
	}
	var runs map[string][]recordedLine
	if err := json.Unmarshal(data, &runs); err != nil {
		t.Fatal(err)
	}
	c, err := dm.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	disks := vmtest.RAMDisks(t, 11)
	for _, run := range []string{"a", "b"} {
		lines := runs["vm_run_"+run]
		if len(lines) < 10 {
			t.Fatalf("run %s has %d lines", run, len(lines))
		}
		r := &recordedRun{c: c, disks: disks, alive: map[string]recordedDevice{}}
		for _, l := range lines {
			t.Run(run+"/"+l.Case, func(t *testing.T) {
				r.t = t
				step := recordedSteps[run+"/"+l.Case]
				if step.before != nil {
					step.before(r)
				}
				r.play(run, l, step)
				if step.after != nil {
					step.after(r)
				}
			})
		}
		r.t = t
		for name := range r.alive {
			r.drop(name)
		}
	}
}

// play makes the device of a line and compares what it says.
func (r *recordedRun) play(run string, l recordedLine, step recordedStep) {
	t, ctx := r.t, context.Background()
	opts := dm.CreateOptions{ReadOnly: run == "b" && strings.HasPrefix(l.Case, "ver")}
	name := dm.Name("rec-" + l.Case)
	if l.RC != 0 {
		// As it is, so that it is the kernel that refuses it.
		w := strings.SplitN(r.here(l.In), " ", 4)
		length, err := strconv.ParseUint(w[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.c.Create(ctx, name, dm.Table{}.Append(dm.Sectors(length), dm.Raw{Type: w[2], Text: w[3]}), opts)
		var e *dm.Error
		if !errors.As(err, &e) {
			t.Fatalf("was refused then: %v", err)
		}
		reason := l.Dmesg[len(l.Dmesg)-2]
		_, reason, _ = strings.Cut(strings.TrimPrefix(reason, "device-mapper: table: "), ": ")
		if !strings.Contains(e.Detail, reason) {
			t.Errorf("%v, the reason was %q", err, reason)
		}
		return
	}
	tab, err := dm.ParseTable(r.here(l.In))
	if err != nil {
		t.Fatal(err)
	}
	again, err := dm.ParseTable(tab.Format())
	if err != nil || !again.Equal(tab) {
		t.Errorf("%v came back as %v, %v", tab, again, err)
	}
	info, err := r.c.Create(ctx, name, tab, opts)
	if err != nil {
		t.Fatal(err)
	}
	r.alive[l.Case] = recordedDevice{info, step.keep}
	if step.keep == "" {
		defer r.drop(l.Case)
	}
	// A mirror and a recalculation are at work in the background.
	got := r.print(info.Dev, r.c.Status)
	for deadline := time.Now().Add(20 * time.Second); !same(got, l.Status[0]) && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
		got = r.print(info.Dev, r.c.Status)
	}
	if !same(got, l.Status[0]) {
		t.Errorf("status\n got %q\nwant %q", got, l.Status[0])
	}
	printed, err := r.c.Table(ctx, info.Dev, dm.StatusOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := l.Table[0]
	if tab[0].Target.TargetType() == "crypt" {
		// dmsetup had zeroed the key.
		a, b := strings.Fields(want), strings.Fields(l.In)
		a[4] = b[4]
		want = strings.Join(a, " ")
	}
	if got := r.then(strings.TrimSpace(printed.Format())); !same(got, want) {
		t.Errorf("table\n got %q\nwant %q", got, want)
	}
	if l.IMA != nil {
		measure := func(ctx context.Context, ref dm.Ref, _ dm.StatusOptions) ([]dm.Status, error) {
			return r.c.Measure(ctx, ref)
		}
		if got := r.print(info.Dev, measure); !same(got, *l.IMA) {
			t.Errorf("measured\n got %q\nwant %q", got, *l.IMA)
		}
	}
	if step.live != nil {
		step.live(r)
	}
	if step.keep != "" {
		return
	}
	if err := r.c.Remove(ctx, info.Dev, dm.RemoveOptions{Retries: 20}); err != nil {
		t.Fatal(err)
	}
	info, err = r.c.Create(ctx, name, printed, opts)
	if err != nil {
		t.Fatalf("what the kernel printed can't be loaded: %v", err)
	}
	r.alive[l.Case] = recordedDevice{info, ""}
	if back, err := r.c.Table(ctx, info.Dev, dm.StatusOptions{}); err != nil || !back.Equal(printed) {
		t.Errorf("printed %v, then %v, %v", printed, back, err)
	}
}

// recordedDevice is a device and the number that it had in the recording.
type recordedDevice struct {
	info dm.Info
	then string
}

// here puts the numbers of today into a text of the recording.
func (r *recordedRun) here(text string) string {
	return deviceNumber.ReplaceAllStringFunc(text, func(n string) string {
		for _, d := range r.alive {
			if d.then == n {
				return d.info.Dev.String()
			}
		}
		if i, ok := strings.CutPrefix(n, "1:"); ok {
			if i, _ := strconv.Atoi(i); i < len(r.disks) {
				return r.number(i).String()
			}
		}
		return n
	})
}

// then puts the numbers of the recording into a text of today.
func (r *recordedRun) then(text string) string {
	return deviceNumber.ReplaceAllStringFunc(text, func(n string) string {
		for _, d := range r.alive {
			if d.info.Dev.String() == n && d.then != "" {
				return d.then
			}
		}
		for i := range r.disks {
			if r.number(i).String() == n {
				return "1:" + strconv.Itoa(i)
			}
		}
		return n
	})
}

var deviceNumber = regexp.MustCompile(`\b\d+:\d+\b`)

func (r *recordedRun) number(disk int) dm.Dev {
	major, minor, err := blockdev.Resolve(r.disks[disk])
	if err != nil {
		r.t.Fatal(err)
	}
	return dm.Dev{Major: major, Minor: minor}
}

// same compares without regard to how many blanks there are.
func same(a, b string) bool { return slices.Equal(strings.Fields(a), strings.Fields(b)) }

func (r *recordedRun) print(dev dm.Dev, ask func(context.Context, dm.Ref, dm.StatusOptions) ([]dm.Status, error)) string {
	r.t.Helper()
	list, err := ask(context.Background(), dev, dm.StatusOptions{})
	if err != nil || len(list) != 1 {
		r.t.Fatal(list, err)
	}
	return r.then(list[0].String())
}

// zero wipes the heads of disks, where targets keep what they know.
func (r *recordedRun) zero(disks ...int) {
	r.t.Helper()
	for _, i := range disks {
		r.fill(r.disks[i], make([]byte, 1<<20))
	}
}

func (r *recordedRun) fill(path string, data []byte) {
	r.t.Helper()
	f, err := blockdev.Open(path, blockdev.Options{Write: true, Direct: true})
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, 0); err != nil {
		r.t.Fatal(err)
	}
}

func (r *recordedRun) write(name string, n int) {
	r.t.Helper()
	r.fill(r.alive[name].info.Dev.Path(), pattern(n, 1))
}

// overfill writes to a snapshot until its store is full.
func (r *recordedRun) overfill(name string) {
	r.t.Helper()
	f, err := blockdev.Open(r.alive[name].info.Dev.Path(), blockdev.Options{Write: true, Direct: true})
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	for i := range int64(64) {
		if _, err = f.WriteAt(pattern(4096, 9), i*4096); err != nil {
			return
		}
	}
	r.t.Error("the store never was full")
}

func (r *recordedRun) message(name, text string) {
	r.t.Helper()
	if _, err := r.c.Message(context.Background(), r.alive[name].info.Dev, 0, text); err != nil {
		r.t.Error(err)
	}
}

func (r *recordedRun) drop(name string) {
	r.t.Helper()
	d, ok := r.alive[name]
	delete(r.alive, name)
	if ok {
		if err := r.c.Remove(context.Background(), d.info.Dev, dm.RemoveOptions{Retries: 20}); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.t.Error(err)
		}
	}
}
