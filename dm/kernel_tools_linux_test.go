// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// What we make, dmsetup sees; what dmsetup makes, we see: names, uuids,
// tables, status and nodes, with udevd and without, and no semaphore is left
// by either.
func TestKernelDmsetupAgrees(t *testing.T) {
	for _, udevd := range []bool{false, true} {
		t.Run(fmt.Sprintf("udevd=%v", udevd), func(t *testing.T) {
			vmtest.Require(t, "dm-mod", "dm-zero", "brd")
			disks := vmtest.RAMDisks(t, 2)
			if udevd {
				vmtest.StartUdevd(t)
			}
			ctx := context.Background()
			c, err := dm.Open(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			text := fmt.Sprintf("0 1024 linear %[1]s 8\n1024 2048 striped 2 16 %[1]s 4096 %[2]s 0\n3072 8 zero\n", disks[0], disks[1])
			tab, err := dm.ParseTable(text)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := dm.Mangle("agree ours", dm.MangleAuto)
			if err != nil {
				t.Fatal(err)
			}
			made, err := c.Create(ctx, ours, tab, dm.CreateOptions{UUID: "AGREE-ours"})
			if err != nil {
				t.Fatal(err)
			}
			file := t.TempDir() + "/table"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			dmsetup := func(args ...string) string {
				t.Helper()
				if !udevd {
					// Without it dmsetup waits for nodes that nobody makes.
					args = append(args, "--verifyudev")
				}
				return strings.TrimSpace(vmtest.Output(t, "dmsetup", args...))
			}
			dmsetup("create", "agree theirs", "-u", "AGREE-theirs", file)

			list, err := c.List(ctx, dm.ListOptions{NamePrefix: "agree"})
			if err != nil || len(list) != 2 {
				t.Fatalf("%v %v", list, err)
			}
			for _, l := range list {
				info, err := c.Info(ctx, l.Dev)
				if err != nil {
					t.Fatal(err)
				}
				human := info.Name.Unmangle()
				want := fmt.Sprintf("%s|%s|%s|%d|%d|%d|%d|Active|Writeable", human, info.UUID, info.Dev, info.Dev.Minor, info.Open, info.EventNr, info.Targets)
				got := dmsetup("info", "-c", "--noheadings", "--separator", "|", "-o", "name,uuid,devno,minor,open,events,segments,suspended,readonly", human)
				if got != want {
					t.Errorf("dmsetup info: %s, ours %s", got, want)
				}
				for _, q := range []struct {
					command string
					ours    func() string
				}{
					{"table", func() string {
						tb, err := c.Table(ctx, l.Dev, dm.StatusOptions{})
						return fmt.Sprint(tb) + errText(err)
					}},
					{"status", func() string {
						st, err := c.Status(ctx, l.Dev, dm.StatusOptions{})
						var lines []string
						for _, s := range st {
							lines = append(lines, s.String())
						}
						return strings.Join(lines, "\n") + errText(err)
					}},
				} {
					if got, want := trimLines(dmsetup(q.command, human)), trimLines(q.ours()); got != want {
						t.Errorf("dmsetup %s:\n%s\nours:\n%s", q.command, got, want)
					}
				}
			}
			// The two nodes are of one kind.
			a, b := node(t, string(ours)), node(t, `agree\x20theirs`)
			if a.mode != b.mode || a.gid != b.gid || a.link != (b.link) {
				t.Errorf("our node %+v, dmsetup's %+v", a, b)
			}
			if a.dev != made.Dev {
				t.Errorf("our node is of %v, the device is %v", a.dev, made.Dev)
			}
			if udevd != a.link {
				t.Errorf("our node is a link: %v, udevd runs: %v", a.link, udevd)
			}
			// Each renames and removes the other's.
			dmsetup("rename", "agree ours", "agree renamed")
			if err := c.Rename(ctx, dm.UUID("AGREE-theirs"), `agree\x20other`, dm.RenameOptions{}); err != nil {
				t.Error(err)
			}
			if n := node(t, `agree\x20other`); n.dev.IsZero() {
				t.Error("no node for the new name")
			}
			if _, err := os.Lstat(`/dev/mapper/agree\x20theirs`); err == nil {
				t.Error("the node of the old name is there")
			}
			dmsetup("remove", "agree renamed")
			if err := c.Remove(ctx, dm.UUID("AGREE-theirs"), dm.RemoveOptions{Retries: 20}); err != nil {
				t.Error(err)
			}
			for _, name := range []string{string(ours), `agree\x20theirs`, `agree\x20renamed`, `agree\x20other`} {
				if _, err := os.Lstat("/dev/mapper/" + name); err == nil {
					t.Errorf("the node of %s is left", name)
				}
			}
			if out := vmtest.Output(t, "dmsetup", "udevcookies"); len(strings.Split(strings.TrimSpace(out), "\n")) > 1 {
				t.Errorf("semaphores are left:\n%s", out)
			}
		})
	}
}

func errText(err error) string {
	if err != nil {
		return " error: " + err.Error()
	}
	return ""
}

func trimLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

type nodeInfo struct {
	link bool
	mode os.FileMode
	gid  uint32
	dev  dm.Dev
}

func node(t *testing.T, name string) nodeInfo {
	t.Helper()
	path := "/dev/mapper/" + name
	l, err := os.Lstat(path)
	if err != nil {
		t.Error(err)
		return nodeInfo{}
	}
	s, err := os.Stat(path)
	if err != nil {
		t.Error(err)
		return nodeInfo{}
	}
	sys := s.Sys().(*syscall.Stat_t)
	return nodeInfo{
		link: l.Mode()&os.ModeSymlink != 0, mode: s.Mode(), gid: sys.Gid,
		dev: dm.Dev{Major: uint32(sys.Rdev>>8) & 0xfff, Minor: uint32(sys.Rdev&0xff | (sys.Rdev>>12)&^0xff)},
	}
}
