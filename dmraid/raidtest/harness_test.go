// SPDX-License-Identifier: MIT

package raidtest_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/dmraid/raidtest"
)

// diskSectors is the size of the disks, as of those that were recorded on.
const diskSectors = 16384

// lab is a kernel with the raid target, disks 1:0 to 1:19, and a client.
type lab struct {
	t     *testing.T
	k     *dmtest.Kernel
	m     *raidtest.Model
	tr    *dmtest.Transport
	c     *dm.Client
	disks []*dmtest.Disk
	log   func() []string
	seen  int // lines of it
}

// rawTarget is a segment whose parameters are as they are.
type rawTarget struct{ typ, params string }

func (r rawTarget) TargetType() string                   { return r.typ }
func (r rawTarget) Params() string                       { return r.params }
func (r rawTarget) Extents(dmraid.Sectors) []dm.Extent   { return nil }
func (r rawTarget) Validate(length dmraid.Sectors) error { return nil }

func newLab(t *testing.T, kernel dmraid.Kernel) *lab {
	t.Helper()
	l := &lab{t: t, k: dmtest.New(), m: raidtest.New(kernel)}
	l.k.AddTarget(l.m.Target())
	for i := range uint32(20) {
		l.disks = append(l.disks, l.k.AddDisk(fmt.Sprintf("/dev/ram%d", i), 1, i, diskSectors))
	}
	l.connect()
	return l
}

func (l *lab) connect() {
	l.t.Helper()
	l.tr = l.k.Transport()
	c, err := dm.Open(context.Background(), dm.WithTransport(l.tr), dm.WithoutUdevSync(),
		dm.WithDevDir(l.t.TempDir()), dm.WithRunDir(l.t.TempDir()))
	if err != nil {
		l.t.Fatal(err)
	}
	l.c = c
	l.t.Cleanup(func() { c.Close() })
	if l.log, err = l.tr.KernelLog(); err != nil {
		l.t.Fatal(err)
	}
}

// table parses "start length raid params".
func table(t *testing.T, line string) dm.Table {
	t.Helper()
	var start, length dmraid.Sectors
	var typ string
	if _, err := fmt.Sscan(line, &start, &length, &typ); err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(line, typ+" ")
	return dm.Table{{Start: start, Length: length, Target: rawTarget{typ, rest}}}
}

// load loads a table; "r" is made for it when it isn't there.
func (l *lab) load(line string) error {
	l.t.Helper()
	ctx := context.Background()
	if _, ok := l.k.Device("r"); !ok {
		if _, err := l.c.Create(ctx, "r", nil, dm.CreateOptions{}); err != nil {
			l.t.Fatal(err)
		}
	}
	return l.c.Load(ctx, dm.Name("r"), table(l.t, line), dm.LoadOptions{})
}

func (l *lab) resume() {
	l.t.Helper()
	if _, err := l.c.Resume(context.Background(), dm.Name("r"), dm.ResumeOptions{}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) suspend() {
	l.t.Helper()
	if err := l.c.Suspend(context.Background(), dm.Name("r"), dm.SuspendOptions{}); err != nil {
		l.t.Fatal(err)
	}
}

// start loads a table and resumes it.
func (l *lab) start(line string) {
	l.t.Helper()
	if err := l.load(line); err != nil {
		l.t.Fatalf("%s: %v\n%s", line, err, strings.Join(l.log(), "\n"))
	}
	l.resume()
}

func (l *lab) remove() {
	l.t.Helper()
	if err := l.c.Remove(context.Background(), dm.Name("r"), dm.RemoveOptions{}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) status() string {
	l.t.Helper()
	list, err := l.c.Status(context.Background(), dm.Name("r"), dm.StatusOptions{})
	if err != nil || len(list) != 1 {
		l.t.Fatal(list, err)
	}
	return list[0].String()
}

func (l *lab) wantStatus(want string) {
	l.t.Helper()
	if got := l.status(); got != want {
		l.t.Errorf("status\n got %s\nwant %s", got, want)
	}
}

// settled waits until nothing is under way.
func (l *lab) settled() {
	l.t.Helper()
	for range 5000 {
		if f := strings.Fields(l.status()); f[7] == "idle" || f[7] == "frozen" {
			return
		}
		time.Sleep(time.Millisecond)
	}
	l.t.Fatal("not idle: " + l.status())
}

func (l *lab) tableLine() string {
	l.t.Helper()
	d, ok := l.k.Device("r")
	if !ok {
		l.t.Fatal("no device")
	}
	return strings.TrimSuffix(d.Active, "\n")
}

func (l *lab) message(text string) error {
	_, err := l.c.Message(context.Background(), dm.Name("r"), 0, text)
	return err
}

// raidLog are the lines of the target that came into the kernel log since the
// last call, as [logLine] has them.
func (l *lab) raidLog() []string {
	all := l.log()
	var list []string
	for _, line := range all[l.seen:] {
		if line, ok := logLine(line); ok {
			list = append(list, line)
		}
	}
	l.seen = len(all)
	return list
}

var tableLine = regexp.MustCompile(`^(device-mapper: table: )\d+:\d+: (raid: .*)$`)

// logLine takes the device out of a line of the kernel log; ok is false for
// one that is not the target's.
func logLine(line string) (string, bool) {
	if m := tableLine.FindStringSubmatch(line); m != nil {
		line = m[1] + m[2]
	}
	return line, strings.HasPrefix(line, "device-mapper: ") && !strings.HasPrefix(line, "device-mapper: ioctl: ")
}
