// SPDX-License-Identifier: MIT

package dmtest

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// prober makes the raw ioctls of the recorded error matrix and prints them
// as the recording does.
type prober struct {
	t    *testing.T
	k    *Kernel
	tr   *Transport
	buf  []byte
	held func()
}

type probe struct {
	cmd     uint8
	ver     dmwire.Version
	size    uint32
	start   uint32
	count   uint32
	flags   dmwire.Flags
	dev     uint64
	name    string
	uuid    string
	payload []byte
}

func (p *prober) run(q probe) string {
	buf := make([]byte, 16384)
	h := dmwire.Header{Version: q.ver, DataSize: q.size, DataStart: q.start, TargetCount: q.count, Flags: q.flags, Dev: q.dev, UUID: q.uuid}
	if h.Version == (dmwire.Version{}) {
		h.Version.Major = 4
	}
	if h.DataSize == 0 {
		h.DataSize = 312
	}
	if h.DataStart == 0 {
		h.DataStart = 312
	}
	if err := h.Put(buf); err != nil {
		p.t.Fatal(err)
	}
	copy(buf[48:176], q.name) // may be too long
	copy(buf[h.DataStart:], q.payload)
	err := p.tr.Ioctl(0xc138fd00|uint32(q.cmd), buf)
	p.buf = buf
	ret, errno := 0, syscall.Errno(0)
	if err != nil {
		ret, errno = -1, err.(syscall.Errno)
	}
	ne := binary.NativeEndian
	u := func(off int) uint32 { return ne.Uint32(buf[off:]) }
	return fmt.Sprintf("ret=%d errno=%d ver=%d.%d.%d flags=%#x data_size=%d open=%d ev=%d tc=%d dev=%x name=[%s] uuid=[%s]",
		ret, errno, u(0), u(4), u(8), u(28), u(12), u(24), u(32), u(20), ne.Uint64(buf[40:]),
		cstring(buf[48:175]), cstring(buf[176:305]))
}

func (p *prober) load(name string, flags dmwire.Flags, spec ...dmwire.Spec) string {
	return p.run(probe{cmd: 9, size: 16384, count: uint32(len(spec)), flags: flags, name: name, payload: loadPayload(p.t, spec...)})
}

func (p *prober) message(sector uint64, text string) string {
	payload := make([]byte, dmwire.MessageSize(text))
	dmwire.PutMessage(payload, sector, text)
	return p.run(probe{cmd: 14, size: 16384, name: "e2", payload: payload})
}

func (p *prober) poll() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if p.tr.Wait(ctx) == nil {
		return "r=1 rev=1"
	}
	return "r=0"
}

// answer does what the label says.
func (p *prober) answer(label string) string {
	zero := dmwire.Spec{Length: 8, Type: "zero"}
	long := strings.Repeat("n", 128)
	with := func(f func(q *probe)) string {
		q := probe{cmd: 7, name: "e1"}
		f(&q)
		return p.run(q)
	}
	var a, b, c int
	if n, _ := fmt.Sscanf(label, "version %d.%d.%d", &a, &b, &c); n == 3 {
		return p.run(probe{ver: dmwire.Version{Major: uint32(a), Minor: uint32(b), Patch: uint32(c)}})
	}
	if n, _ := fmt.Sscanf(label, "bad cmd %d", &a); n == 1 {
		return p.run(probe{cmd: uint8(a)})
	}
	switch label {
	case "data_size 304 list":
		return p.run(probe{cmd: 2, size: 304})
	case "data_size 305 status none":
		return p.run(probe{cmd: 7, size: 305})
	case "dev_status no id":
		return p.run(probe{cmd: 7})
	case "create e1", "create e1 again":
		return p.run(probe{cmd: 3, name: "e1"})
	case "create with slash":
		return p.run(probe{cmd: 3, name: "e/1"})
	case "create empty":
		return p.run(probe{cmd: 3})
	case "create 128 char name (no NUL)":
		return p.run(probe{cmd: 3, name: long})
	case "create 127 char name":
		return p.run(probe{cmd: 3, name: long[:127]})
	case "create p1", "create sec":
		return p.run(probe{cmd: 3, name: label[7:]})
	case "status name+uuid":
		return with(func(q *probe) { q.uuid = "U" })
	case "status name+dev":
		return with(func(q *probe) { q.dev = 0xfe00 })
	case "status bad dev":
		return with(func(q *probe) { q.name, q.dev = "", 0xfe63 })
	case "status bad uuid":
		return with(func(q *probe) { q.name, q.uuid = "", "nosuch" })
	case "resume no table", "resume no table (suspended)", "resume", "resume grow":
		return with(func(q *probe) { q.cmd = 6 })
	case "suspend no table":
		return with(func(q *probe) { q.cmd, q.flags = 6, dmwire.Suspend })
	case "load 0 targets":
		return p.load("e1", 0)
	case "load len 0":
		return p.load("e1", 0, dmwire.Spec{Type: "zero"})
	case "load start 8":
		return p.load("e1", 0, dmwire.Spec{Start: 8, Length: 8, Type: "zero"})
	case "load bad target":
		return p.load("e1", 0, dmwire.Spec{Length: 8, Type: "nosuch"})
	case "load count 2 next 0":
		payload := loadPayload(p.t, zero, zero)
		binary.NativeEndian.PutUint32(payload[20:], 0)
		return p.run(probe{cmd: 9, size: 16384, count: 2, name: "e1", payload: payload})
	case "load exactly 352 (no param byte)":
		return p.run(probe{cmd: 9, size: 352, count: 1, name: "e1", payload: loadPayload(p.t, zero)})
	case "load 353":
		return p.run(probe{cmd: 9, size: 353, count: 1, name: "e1", payload: loadPayload(p.t, zero)})
	case "load data_start 304":
		return p.run(probe{cmd: 9, size: 16384, start: 304, count: 1, name: "e1", payload: loadPayload(p.t, zero)})
	case "load RO":
		return p.load("e1", dmwire.ReadOnly, zero)
	case "table of live(none)":
		return with(func(q *probe) { q.cmd, q.size, q.flags = 12, 16384, dmwire.StatusTable })
	case "table inactive":
		return with(func(q *probe) { q.cmd, q.size, q.flags = 12, 16384, dmwire.StatusTable|dmwire.QueryInactive })
	case "load 16":
		return p.load("e1", 0, dmwire.Spec{Length: 16, Type: "zero"})
	case "load too big linear":
		return p.load("e1", 0, dmwire.Spec{Length: 1 << 40, Type: "linear", Params: "1:0 0"})
	case "load linear argc":
		return p.load("e1", 0, dmwire.Spec{Length: 8, Type: "linear", Params: "1:0"})
	case "load linear nodev":
		return p.load("e1", 0, dmwire.Spec{Length: 8, Type: "linear", Params: "/dev/nosuch 0"})
	case "load linear 88:88":
		return p.load("e1", 0, dmwire.Spec{Length: 8, Type: "linear", Params: "88:88 0"})
	case "list uuid":
		return p.run(probe{cmd: 2, size: 16384, flags: dmwire.UUIDFlag})
	case "list prefix nnn", "list prefix zzz (none)":
		return p.run(probe{cmd: 2, size: 16384, name: label[12:15]})
	case "get target version zero", "get target version nosuch", "get target version raid (autoload)":
		return p.run(probe{cmd: 17, size: 16384, name: strings.Fields(label)[3]})
	case "rename e1 e2":
		return p.run(probe{cmd: 5, size: 512, name: "e1", payload: []byte("e2\x00")})
	case "rename empty":
		return p.run(probe{cmd: 5, size: 512, name: "e2"})
	case "rename slash":
		return p.run(probe{cmd: 5, size: 512, name: "e2", payload: []byte("e/2\x00")})
	case "rename nosuch":
		return p.run(probe{cmd: 5, size: 512, name: "nosuch", payload: []byte("e3\x00")})
	case "set uuid":
		return p.run(probe{cmd: 5, size: 512, flags: dmwire.UUIDFlag, name: "e2", payload: []byte("UU\x00")})
	case "set uuid again":
		return p.run(probe{cmd: 5, size: 512, flags: dmwire.UUIDFlag, name: "e2", payload: []byte("UX\x00")})
	case "rename by uuid":
		return p.run(probe{cmd: 5, size: 512, uuid: "UU", payload: []byte("e3\x00")})
	case "empty message":
		return p.message(0, "")
	case "msg @stats_list":
		return p.message(0, "@stats_list")
	case "msg @stats_create":
		return p.message(0, "@stats_create - /1")
	case "msg sector out of range":
		return p.message(1<<30, "foo")
	case "msg foo to zero":
		return p.message(0, "foo")
	case "msg 320 bytes":
		return p.run(probe{cmd: 14, size: 320, name: "e2", payload: []byte("\x00\x00\x00\x00\x00\x00\x00\x00foo")})
	case "arm poll":
		return p.run(probe{cmd: 16})
	case "remove p1":
		return p.run(probe{cmd: 4, name: "p1"})
	case "suspend e2":
		return p.run(probe{cmd: 6, flags: dmwire.Suspend, name: "e2"})
	case "resume e2":
		return p.run(probe{cmd: 6, name: "e2"})
	case "remove open":
		return p.run(probe{cmd: 4, name: "e2"})
	case "remove open deferred", "deferred again":
		return p.run(probe{cmd: 4, flags: dmwire.DeferredRemove, name: "e2"})
	case "status while deferred", "status after cancel":
		return p.run(probe{cmd: 7, name: "e2"})
	case "cancel deferred":
		return p.message(0, "@cancel_deferred_remove")
	case "status after close":
		p.held()
		out := p.run(probe{cmd: 7, name: "e2"})
		// The recorded kernel had the minor still in use: it removes from
		// a work queue. Keep it in use here.
		p.run(probe{cmd: 3, name: "pad", dev: 0xfe01, flags: dmwire.PersistentDev})
		return out
	case "load secure":
		return p.load("sec", dmwire.SecureData, zero)
	case "remove sec":
		return p.run(probe{cmd: 4, name: "sec"})
	case "remove_all":
		return p.run(probe{cmd: 1, flags: dmwire.DeferredRemove})
	case "version as nobody":
		p.k.SetAdmin(false)
		return p.run(probe{})
	}
	p.t.Errorf("no probe for %q", label)
	return ""
}

// other does the lines that are not ERRS.
func (p *prober) other(line string) string {
	var n int
	if c, _ := fmt.Sscanf(line, "BUF n=%d", &n); c == 1 {
		p.run(probe{cmd: 12, size: uint32(n), name: "e1"})
		h, _ := dmwire.ParseHeader(p.buf)
		return fmt.Sprintf("BUF n=%d r=0 full=%d data_size=%d tc=%d", n, h.Flags>>8&1, h.DataSize, h.TargetCount)
	}
	if c, _ := fmt.Sscanf(line, "LBUF n=%d", &n); c == 1 {
		p.run(probe{cmd: 2, size: uint32(n)})
		h, _ := dmwire.ParseHeader(p.buf)
		return fmt.Sprintf("LBUF n=%d r=0 full=%d data_size=%d", n, h.Flags>>8&1, h.DataSize)
	}
	ne := binary.NativeEndian
	switch {
	case strings.HasPrefix(line, "first="):
		return fmt.Sprintf("first=[%s] next=%d", cstring(p.buf[324:]), ne.Uint32(p.buf[320:]))
	case strings.HasPrefix(line, "dev="):
		return fmt.Sprintf("dev=%d", ne.Uint64(p.buf[312:]))
	case strings.HasPrefix(line, "out="):
		return fmt.Sprintf("out=[%s]", cstring(p.buf[312:]))
	case strings.HasPrefix(line, "wiped="):
		return fmt.Sprintf("wiped=[%s]", strings.Trim(string(p.buf[305:]), "\x00"))
	case strings.HasPrefix(line, "POLL "):
		return line[:strings.Index(line, " r=")+1] + p.poll()
	case strings.HasPrefix(line, "open "):
		release, err := p.k.Hold("/dev/dm-1")
		if err != nil {
			p.t.Fatal(err)
		}
		p.held = release
		return line
	}
	return "?"
}

func TestErrorMatrix(t *testing.T) {
	k := New()
	k.AddDisk("/dev/ram0", 1, 0, 131072)
	k.AddTarget(Target{Name: "raid", Version: [3]uint32{1, 15, 1}, Autoload: true})
	p := &prober{t: t, k: k, tr: k.Transport()}
	must(t, p.tr, dmwire.CmdCreate, dmwire.Header{Name: "a"}, nil) // minor 0 was in use
	f, err := os.Open("../testdata/targets/errs-6.1.192.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := regexp.MustCompile(`errno=(\d+)\([^)]*\)`)
	lines := 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := text.ReplaceAllString(sc.Text(), "errno=$1")
		want, got := line, ""
		if rest, ok := strings.CutPrefix(line, "ERRS "); ok {
			i := strings.LastIndex(rest, " ret=")
			label := strings.TrimSpace(rest[:i])
			want, got = label+": "+rest[i+1:], label+": "+p.answer(label)
		} else {
			got = p.other(line)
		}
		if got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
		lines++
	}
	if lines < 100 {
		t.Errorf("only %d lines", lines)
	}
}
