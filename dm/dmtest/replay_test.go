// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/linuxblock/linuxblock/internal/dmwire"
	"github.com/linuxblock/linuxblock/internal/fixture"
)

// player replays recordings of the real kernel against the double.
type player struct {
	t      *testing.T
	k      *Kernel
	tr     *Transport
	dir    string
	played map[string]bool
	calls  int
}

func newPlayer(t *testing.T, dir string) *player {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the recordings are little-endian")
	}
	k := New()
	for i, c := range "0123456789" {
		k.AddDisk("/dev/ram"+string(c), 1, uint32(i), 131072)
	}
	// Modules in the order in which the recorded kernel had loaded them.
	stub := func(name string, major, minor uint32) Target {
		return Target{Name: name, Version: [3]uint32{major, minor, 0}, New: func(a *Args) (Instance, error) {
			for _, w := range a.Argv {
				if strings.Contains(w, ":") && !strings.Contains(w, "-") {
					if _, err := a.Open(w); err != nil {
						return nil, err
					}
				}
			}
			return stubInstance(strings.Join(a.Argv, " ")), nil
		}}
	}
	tr := k.Transport()
	for _, name := range []string{"delay", "flakey", "snapshot"} {
		must(t, tr, dmwire.CmdTargetVersion, dmwire.Header{Name: name}, nil)
	}
	k.RemoveTarget("mirror") // it was loaded behind the others there
	k.AddTarget(stub("mirror", 1, 14))
	crypt := cryptTarget(47)
	crypt.Autoload = false // it was there already
	k.RemoveTarget("crypt")
	k.AddTarget(crypt)
	return &player{t: t, k: k, tr: tr, dir: filepath.Join("../testdata", dir), played: map[string]bool{}}
}

type stubInstance string

func (s stubInstance) Table() string { return string(s) }

// play makes the calls of recordings and compares all bytes of the buffers.
func (p *player) play(files ...string) {
	p.t.Helper()
	for _, file := range files {
		calls, err := fixture.Ioctls(filepath.Join(p.dir, file+".txt"))
		if err != nil {
			p.t.Fatal(err)
		}
		p.played[file] = true
		for _, c := range calls {
			if c.Out == nil {
				continue
			}
			p.calls++
			buf := slices.Clone(c.In)
			got := p.tr.Ioctl(c.Request, buf)
			want := error(nil)
			if c.Ret < 0 {
				want = syscall.Errno(c.Errno)
			}
			if got != want {
				p.t.Errorf("%v %q: %v, recorded %v", c, c.Label, got, want)
			}
			if !bytes.Equal(buf, c.Out) {
				i := 0
				for buf[i] == c.Out[i] {
					i++
				}
				h, _ := dmwire.ParseHeader(buf)
				w, _ := dmwire.ParseHeader(c.Out)
				p.t.Errorf("%v %q: byte %d differs\n got %+v %q\nwant %+v %q", c, c.Label, i,
					h, bytes.TrimRight(buf[312:min(len(buf), 700)], "\x00"), w, bytes.TrimRight(c.Out[312:min(len(c.Out), 700)], "\x00"))
			}
		}
	}
}

func (p *player) remove(names ...string) {
	p.t.Helper()
	for _, n := range names {
		must(p.t, p.tr, dmwire.CmdRemove, dmwire.Header{Name: n}, nil)
	}
}

// done fails for recordings that were not played and are not excused.
func (p *player) done(excused map[string]string) {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "*.txt"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".txt")
		if !p.played[name] && excused[name] == "" {
			p.t.Errorf("%s was not played", name)
		}
	}
	p.t.Logf("%d recordings, %d calls equal in every byte", len(p.played), p.calls)
}

// The recordings without udevd are one session; this is its order as it
// follows from the states that the answers show.
func TestReplay(t *testing.T) {
	p := newPlayer(t, "ioctl")
	p.play("version", "rename", "udevcreatecookie", "create", "create-notable", "info-notable",
		"load", "info-inactive", "load-inactive-table", "resume", "load-multi", "clear",
		"load-multi2", "suspend", "suspend-noflush-nolockfs", "resume2", "info", "status", "table",
		"status-noflush", "tableall", "deps", "deps-all", "ls", "ls-tree", "ls-exec", "info-c",
		"suspend-noflush", "resume3", "resume-args", "event", "setgeometry",
		"message-badmsg", "stats", "statslist", "statsprint", "statsdel", "after-deferred")
	p.play("rename2", "err-exist-create", "err-exist-rename", "err-exist-uuid", "setuuid", "setuuid2", "ls2", "mangle",
		"err-enxio-info", "err-enxio-remove")
	p.play("create-err-baddev", "create-err-badtarget", "create-err-gap", "create-err-start", "create-err-toobig",
		"create-err-align", "rm-align", "create-ro", "info-ro", "create-minor", "measure")
	p.play("remove-force")
	p.remove("t8")
	p.play("addnodeoncreate", "create-nodes", "mknodes", "wipe_table", "reload", "resume4", "secure", "secure-table",
		"secure-table-showkeys", "concise", "createconcise")
	specs := make([]dmwire.Spec, 600)
	for i := range specs {
		specs[i] = dmwire.Spec{Start: uint64(i) * 8, Length: 8, Type: "linear", Params: "1:1 0"}
	}
	must(t, p.tr, dmwire.CmdCreate, dmwire.Header{Name: "big"}, nil)
	buf := make([]byte, 1<<17)
	h := dmwire.Header{Version: dmwire.Version{Major: 4}, DataSize: 1 << 17, DataStart: 312, TargetCount: 600, Name: "big"}
	if err := h.Put(buf); err != nil {
		t.Fatal(err)
	}
	copy(buf[312:], loadPayload(t, specs...))
	if err := p.tr.Ioctl(dmwire.CmdLoad.Request(), buf); err != nil {
		t.Fatal(err)
	}
	must(t, p.tr, dmwire.CmdSuspend, dmwire.Header{Name: "big"}, nil)
	p.play("deps-big", "remove")
	p.play("targets", "remove_all")
	p.done(map[string]string{"wait-timeout": "the recording ends inside DEV_WAIT, which a signal broke off"})
	p.k.AssertClean(t)
}

// The recordings with udevd are a second session.
func TestReplayUdev(t *testing.T) {
	p := newPlayer(t, "ioctl-udev")
	p.play("u-create", "u-rename", "u-suspend", "u-resume", "u-load", "u-resume2", "u-remove", "rm-none", "crypt")
	p.remove("c1")
	must(t, p.tr, dmwire.CmdCreate, dmwire.Header{Name: "b1", UUID: "UUID-b1"}, nil)
	if err := load(t, p.tr, "b1", dmwire.Spec{Length: 2048, Type: "linear", Params: "1:0 0"}); err != nil {
		t.Fatal(err)
	}
	must(t, p.tr, dmwire.CmdSuspend, dmwire.Header{Name: "b1"}, nil)
	release, err := p.k.Hold("b1")
	if err != nil {
		t.Fatal(err)
	}
	p.play("busy-remove", "busy-retry", "busy-deferred", "info-deferred", "cancel-deferred", "info-cancelled", "busy-remove_all",
		"busy-force", "deferred2")
	release()
	p.done(map[string]string{
		"monitor": "uevents of udevadm", "strace-create": "system calls", "strace-nosync": "system calls", "strace-remove": "system calls",
	})
	p.k.AssertClean(t)
}
