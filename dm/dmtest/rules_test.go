// SPDX-License-Identifier: MIT

package dmtest

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

var zeroSpec = dmwire.Spec{Length: 8, Type: "zero"}

func linearTo(dev string, length uint64) dmwire.Spec {
	return dmwire.Spec{Length: length, Type: "linear", Params: dev + " 0"}
}

func setup(t *testing.T, opts ...Option) (*Kernel, *Transport) {
	k := New(opts...)
	k.AddDisk("/dev/ram0", 1, 0, 131072)
	k.AddDisk("/dev/ram1", 1, 1, 131072)
	tr := k.Transport()
	t.Cleanup(func() { tr.Close() })
	return k, tr
}

func named(name string) dmwire.Header { return dmwire.Header{Name: name} }

// A RESUME whose table does not fit loses the table and leaves the device
// suspended on the old one; the next RESUME runs that again.
func TestFailingResume(t *testing.T) {
	k, tr := setup(t)
	create(t, tr, "a", linearTo("1:0", 8))
	if err := load(t, tr, "a", linearTo("1:0", 1<<30)); err != nil {
		t.Fatal(err)
	}
	collect, _ := tr.KernelLog()
	if _, _, err := call(t, tr, dmwire.CmdSuspend, named("a"), nil); err != EINVAL {
		t.Fatalf("resume: %v", err)
	}
	if log := collect(); len(log) != 1 || !strings.Contains(log[0], "254:0: ram0 too small for target: start=0, len=1073741824, dev_size=131072") {
		t.Errorf("log %q", log)
	}
	s, _ := k.Device("a")
	if !s.Suspended || s.Inactive != "" || s.Active != "0 8 linear 1:0 0\n" || s.OpenCount != 0 {
		t.Errorf("%+v", s)
	}
	must(t, tr, dmwire.CmdSuspend, named("a"), nil)
	k.AssertRunning(t)
	// A first table is refused at once, with the log of that place.
	must(t, tr, dmwire.CmdCreate, named("b"), nil)
	collect, _ = tr.KernelLog()
	if err := load(t, tr, "b", linearTo("1:0", 1<<30)); err != EINVAL {
		t.Errorf("first load: %v", err)
	}
	if log := collect(); len(log) != 3 || log[2] != "device-mapper: ioctl: unable to set up device queue for new table." {
		t.Errorf("log %q", log)
	}
}

func TestHoldersAndSelfReference(t *testing.T) {
	k, tr := setup(t)
	create(t, tr, "low", linearTo("1:0", 64))
	create(t, tr, "high", linearTo("/dev/mapper/low", 32), dmwire.Spec{Start: 32, Length: 32, Type: "linear", Params: "254:0 32"})
	if s, _ := k.Device("low"); s.OpenCount != 1 {
		t.Errorf("open count %d", s.OpenCount)
	}
	// The inactive table of the same device shares the open.
	if err := load(t, tr, "high", linearTo("/dev/dm-0", 64)); err != nil {
		t.Fatal(err)
	}
	if s, _ := k.Device("low"); s.OpenCount != 1 {
		t.Errorf("open count %d with two tables", s.OpenCount)
	}
	if _, _, err := call(t, tr, dmwire.CmdRemove, named("low"), nil); err != EBUSY {
		t.Errorf("remove of a used device: %v", err)
	}
	// Deferred, it goes with its user.
	must(t, tr, dmwire.CmdRemove, dmwire.Header{Name: "low", Flags: dmwire.DeferredRemove}, nil)
	must(t, tr, dmwire.CmdRemove, named("high"), nil)
	k.AssertClean(t)

	create(t, tr, "self", zeroSpec)
	if err := load(t, tr, "self", linearTo("254:0", 8)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := call(t, tr, dmwire.CmdRemove, named("self"), nil); err != EBUSY {
		t.Errorf("remove of a device that uses itself: %v", err)
	}
	must(t, tr, dmwire.CmdClear, named("self"), nil)
	must(t, tr, dmwire.CmdRemove, named("self"), nil)
	k.AssertClean(t)
}

// REMOVE_ALL takes stacks from the top down and leaves what is open.
func TestRemoveAll(t *testing.T) {
	k, tr := setup(t)
	create(t, tr, "a-low", linearTo("1:0", 8))
	create(t, tr, "b-high", linearTo("254:0", 8))
	create(t, tr, "c-open", zeroSpec)
	release, err := k.Hold("c-open")
	if err != nil {
		t.Fatal(err)
	}
	collect, _ := tr.KernelLog()
	must(t, tr, dmwire.CmdRemoveAll, dmwire.Header{}, nil)
	if left := k.Leftovers(); len(left) != 1 || left[0] != "device c-open (254:2) remains, open 1 times" {
		t.Errorf("%q", left)
	}
	if log := collect(); !slices.Equal(log, []string{"device-mapper: ioctl: remove_all left 1 open device(s)"}) {
		t.Errorf("log %q", log)
	}
	must(t, tr, dmwire.CmdRemoveAll, dmwire.Header{Flags: dmwire.DeferredRemove}, nil)
	release()
	release()
	k.AssertClean(t)
}

func TestDepsOrder(t *testing.T) {
	k, tr := setup(t)
	k.AddDisk("/dev/ram2", 1, 2, 64)
	create(t, tr, "a", dmwire.Spec{Length: 16, Type: "striped", Params: "2 8 1:1 0 1:0 0"}, dmwire.Spec{Start: 16, Length: 8, Type: "linear", Params: "1:2 0"})
	_, body := must(t, tr, dmwire.CmdDeps, named("a"), nil)
	devs, err := dmwire.ParseDeps(body)
	if want := []uint64{makeDev(1, 2), makeDev(1, 0), makeDev(1, 1)}; err != nil || !slices.Equal(devs, want) {
		t.Errorf("%x, %v", devs, err)
	}
	h, _ := must(t, tr, dmwire.CmdDeps, dmwire.Header{Name: "a", DataSize: 312 + 31}, nil)
	if h.Flags&dmwire.BufferFull == 0 || h.DataSize != 305 {
		t.Errorf("%+v", h)
	}
}

func TestLoadRefusals(t *testing.T) {
	k, tr := setup(t)
	k.AddTarget(Target{Name: "single", Singleton: true, Immutable: true, Version: [3]uint32{1, 0, 0}})
	k.AddTarget(Target{Name: "rw", AlwaysWriteable: true})
	must(t, tr, dmwire.CmdCreate, named("a"), nil)
	after := func(s dmwire.Spec) dmwire.Spec { s.Start = 8; return s }
	single, rw := dmwire.Spec{Length: 8, Type: "single"}, dmwire.Spec{Length: 8, Type: "rw"}
	for _, c := range []struct {
		log   string
		flags dmwire.Flags
		specs []dmwire.Spec
	}{
		{"254:0: zero: Gap in table (-EINVAL)", 0, []dmwire.Spec{zeroSpec, zeroSpec}},
		{"254:0: zero-length target", 0, []dmwire.Spec{{Type: "zero"}}},
		{"254:0: target type single must appear alone in table", 0, []dmwire.Spec{single, after(zeroSpec)}},
		{"254:0: single: singleton target type must appear alone in table (-EINVAL)", 0, []dmwire.Spec{zeroSpec, after(single)}},
		{"254:0: rw: target type may not be included in a read-only table (-EINVAL)", dmwire.ReadOnly, []dmwire.Spec{rw}},
		{"254:0: zero: No arguments required (-EINVAL)", 0, []dmwire.Spec{{Length: 8, Type: "zero", Params: "x"}}},
		{"254:0: linear: Invalid argument count (-EINVAL)", 0, []dmwire.Spec{{Length: 8, Type: "linear"}}},
		{"254:0: linear: Invalid device sector (-EINVAL)", 0, []dmwire.Spec{{Length: 8, Type: "linear", Params: "1:0 x"}}},
		{"254:0: linear: Device lookup failed (-ENODEV)", 0, []dmwire.Spec{{Length: 8, Type: "linear", Params: "/dev/none 0"}}},
		{"254:0: linear: Device lookup failed (-ENXIO)", 0, []dmwire.Spec{{Length: 8, Type: "linear", Params: "99:9 0"}}},
		{"254:0: linear: Device lookup failed (-EOVERFLOW)", 0, []dmwire.Spec{{Length: 8, Type: "linear", Params: "4096:9 0"}}},
		{"254:0: striped: Invalid stripe count (-EINVAL)", 0, []dmwire.Spec{{Length: 8, Type: "striped", Params: "0 8"}}},
		{"254:0: striped: Target length not divisible by chunk size (-EINVAL)", 0, []dmwire.Spec{{Length: 8, Type: "striped", Params: "1 3 1:0 0"}}},
		{"254:0: striped: Not enough destinations specified (-EINVAL)", 0, []dmwire.Spec{{Length: 8, Type: "striped", Params: "1 8 1:0"}}},
		{"254:0: delay: Requires exactly 3, 6 or 9 arguments (-EINVAL)", 0, []dmwire.Spec{{Length: 8, Type: "delay", Params: "1:0 0"}}},
		{"254:0: flakey: Total (up + down) interval is zero (-EINVAL)", 0, []dmwire.Spec{{Length: 8, Type: "flakey", Params: "1:0 0 0 0"}}},
		{"254:0: snapshot: COW device cannot be the same as origin device (-EINVAL)", 0, []dmwire.Spec{{Length: 8, Type: "snapshot", Params: "1:0 1:0 P 8"}}},
		{"254:0: snapshot: Couldn't create exception store (-EINVAL)", 0, []dmwire.Spec{{Length: 8, Type: "snapshot", Params: "1:0 1:1 P 9"}}},
		{"254:0: snapshot-origin: origin: incorrect number of arguments (-EINVAL)", 0, []dmwire.Spec{{Length: 8, Type: "snapshot-origin"}}},
	} {
		collect, _ := tr.KernelLog()
		_, _, err := call(t, tr, dmwire.CmdLoad, dmwire.Header{Name: "a", TargetCount: uint32(len(c.specs)), Flags: c.flags}, loadPayload(t, c.specs...))
		log := collect()
		if err == nil || len(log) != 2 || log[0] != "device-mapper: table: "+c.log || log[1] != "device-mapper: ioctl: error adding target to table" {
			t.Errorf("%v, log %q, want %q", err, log, c.log)
		}
	}
	if s, _ := k.Device("a"); s.Inactive != "" {
		t.Error("a refused table remained")
	}
	// What a device once had it keeps, but for an error table.
	create(t, tr, "b", single)
	if err := load(t, tr, "b", zeroSpec); err != EINVAL {
		t.Errorf("an immutable target was replaced: %v", err)
	}
	if err := load(t, tr, "b", dmwire.Spec{Length: 8, Type: "error"}); err != nil {
		t.Error(err)
	}
	// A claim of another holder, and a block size.
	disk := k.AddDisk("/dev/sda", 8, 0, 64)
	release, err := disk.Claim()
	if err != nil {
		t.Fatal(err)
	}
	if err := load(t, tr, "a", linearTo("8:0", 8)); err != EBUSY {
		t.Errorf("claimed disk: %v", err)
	}
	release()
	disk.SetBlockSize(4096)
	if err := load(t, tr, "a", linearTo("8:0", 7)); err != EINVAL {
		t.Errorf("unaligned: %v", err)
	}
}

func TestSplitArgs(t *testing.T) {
	for in, want := range map[string][]string{
		"":                      nil,
		"  a  b\tc\n":           {"a", "b", "c"},
		`/dev/my\ disk 0`:       {"/dev/my disk", "0"},
		`a\\b c\`:               {`a\b`, `c\`},
		"\\  x":                 {" ", "x"},
		"nbsp\xa0is a\vblank\f": {"nbsp", "is", "a", "blank"},
	} {
		if got := splitArgs(in); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// What an older interface does not have.
func TestVersions(t *testing.T) {
	for _, c := range []struct {
		minor   uint32
		cmd     dmwire.Command
		present bool
	}{
		{0, dmwire.CmdListVersions, false}, {1, dmwire.CmdListVersions, true},
		{36, dmwire.CmdArmPoll, false}, {37, dmwire.CmdArmPoll, true},
		{40, dmwire.CmdTargetVersion, false}, {41, dmwire.CmdTargetVersion, true},
	} {
		_, tr := setup(t, WithVersion(4, c.minor, 0))
		_, _, err := call(t, tr, c.cmd, named("linear"), nil)
		if c.present != (err == nil) || err != nil && err != ENOTTY {
			t.Errorf("%v on 4.%d: %v", c.cmd, c.minor, err)
		}
	}
	names := func(tr *Transport, h dmwire.Header, v dmwire.Version) (list []dmwire.Name) {
		t.Helper()
		_, body := must(t, tr, dmwire.CmdListDevices, h, nil)
		list, err := dmwire.ParseNames(body, v)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	for _, minor := range []uint32{43, 47} {
		k, tr := setup(t, WithVersion(4, minor, 0))
		for _, n := range []string{"b", "a", "ab"} {
			must(t, tr, dmwire.CmdCreate, dmwire.Header{Name: n, UUID: "U-" + n}, nil)
		}
		v := dmwire.Version{Major: 4, Minor: minor}
		all := names(tr, dmwire.Header{Flags: dmwire.UUIDFlag}, v)
		prefix := names(tr, named("a"), v)
		byUUID := names(tr, dmwire.Header{UUID: "U-ab"}, v)
		if minor == 47 {
			if all[0].Name != "a" || all[1].Name != "ab" || all[2].Name != "b" || all[2].UUID != "U-b" || len(prefix) != 2 || len(byUUID) != 1 {
				t.Errorf("%+v %+v %+v", all, prefix, byUUID)
			}
		} else if len(prefix) != 3 || len(byUUID) != 3 || all[0].HasUUID {
			t.Errorf("%+v %+v", all, prefix)
		}
		// Up to Linux 5.14 the disk is there without a table.
		_, _, _, err := tr.BlockDevice("/dev/dm-0")
		if (err == nil) != (minor == 43) {
			t.Errorf("4.%d: %v", minor, err)
		}
		out, _ := must(t, tr, dmwire.CmdRemove, named("a"), nil)
		if got := out.Flags&dmwire.UeventGenerated != 0; got != (minor == 43) {
			t.Errorf("4.%d: uevent %v", minor, got)
		}
		_ = k
	}
	// Linux 6.5 and newer look closer at names, records and references.
	_, tr := setup(t, WithVersion(4, 48, 0))
	for _, n := range []string{"control", ".", ".."} {
		if _, _, err := call(t, tr, dmwire.CmdCreate, named(n), nil); err != EINVAL {
			t.Errorf("%s: %v", n, err)
		}
	}
	create(t, tr, "a", zeroSpec)
	if err := load(t, tr, "a", linearTo("254:0", 8)); err != EINVAL {
		t.Errorf("a table of itself: %v", err)
	}
	if err := load(t, tr, "a", linearTo("/dev/none", 8)); err != ENOENT {
		t.Errorf("no such path: %v", err)
	}
	if _, _, err := call(t, tr, dmwire.CmdLoad, dmwire.Header{Name: "a", DataStart: 304, TargetCount: 1}, loadPayload(t, zeroSpec)); err != EINVAL {
		t.Errorf("a record over the header: %v", err)
	}
	odd := loadPayload(t, zeroSpec, dmwire.Spec{Start: 8, Length: 8, Type: "zero"})
	binary.NativeEndian.PutUint32(odd[20:], 44)
	if _, _, err := call(t, tr, dmwire.CmdLoad, dmwire.Header{Name: "a", TargetCount: 2}, odd); err != EINVAL {
		t.Errorf("a record at an odd place: %v", err)
	}
}

func TestRenameAndIdentify(t *testing.T) {
	_, tr := setup(t)
	create(t, tr, "a", zeroSpec)
	must(t, tr, dmwire.CmdCreate, dmwire.Header{Name: "b", UUID: "U"}, nil)
	rename := func(h dmwire.Header, to string) (dmwire.Header, error) {
		out, _, err := call(t, tr, dmwire.CmdRename, h, append([]byte(to), 0))
		return out, err
	}
	out, err := rename(named("a"), "c")
	if err != nil || out.Name != "a" || out.EventNr != 1 || out.Flags&dmwire.UeventGenerated == 0 {
		t.Errorf("%+v %v", out, err)
	}
	// Without a table there is neither event nor uevent.
	out, err = rename(named("b"), "d")
	if err != nil || out.EventNr != 0 || out.Flags&dmwire.UeventGenerated != 0 {
		t.Errorf("%+v %v", out, err)
	}
	for _, c := range []struct {
		h    dmwire.Header
		to   string
		want error
	}{
		{named("c"), "d", EBUSY}, {named("c"), "c", EBUSY}, {named("x"), "y", ENXIO},
		{dmwire.Header{UUID: "U"}, "y", ENXIO}, {dmwire.Header{Dev: makeDev(254, 0)}, "y", ENXIO},
		{named("c"), strings.Repeat("n", 128), EINVAL}, {named("c"), strings.Repeat("n", 127), nil},
		{dmwire.Header{Name: "d", Flags: dmwire.UUIDFlag}, "V", EINVAL},
		{dmwire.Header{Name: strings.Repeat("n", 127), Flags: dmwire.UUIDFlag}, "U", EBUSY},
		{dmwire.Header{Name: strings.Repeat("n", 127), Flags: dmwire.UUIDFlag}, "a/b", nil},
	} {
		if _, err := rename(c.h, c.to); err != c.want {
			t.Errorf("%+v to %s: %v, want %v", c.h, c.to, err, c.want)
		}
	}
	for _, h := range []dmwire.Header{{UUID: "U"}, {Dev: makeDev(254, 1)}, named("d")} {
		if out, _ := must(t, tr, dmwire.CmdStatus, h, nil); out.Name != "d" || out.UUID != "U" {
			t.Errorf("%+v", out)
		}
	}
	// A minor of one's own; the major does not count.
	out, _ = must(t, tr, dmwire.CmdCreate, dmwire.Header{Name: "m", Flags: dmwire.PersistentDev, Dev: makeDev(7, 300)}, nil)
	if major, minor := splitDev(out.Dev); major != 254 || minor != 300 {
		t.Errorf("%d:%d", major, minor)
	}
	if _, _, err := call(t, tr, dmwire.CmdCreate, dmwire.Header{Name: "n", Flags: dmwire.PersistentDev, Dev: makeDev(254, 300)}, nil); err != ENXIO {
		t.Errorf("a minor in use: %v", err)
	}
}

func TestHooks(t *testing.T) {
	k, tr := setup(t)
	var seen []string
	remove := k.Hook(func(c *Call) error {
		seen = append(seen, c.Command+" "+c.Name)
		if c.Command == "DEV_CREATE" && c.Name == "no" {
			return ENOMEM
		}
		return nil
	})
	if _, _, err := call(t, tr, dmwire.CmdCreate, named("no"), nil); err != ENOMEM {
		t.Error(err)
	}
	create(t, tr, "a", zeroSpec)
	after := k.HookAfter(func(c *Call) error {
		if c.Command == "DEV_REMOVE" && c.Err == nil {
			return EINTR
		}
		return nil
	})
	if _, _, err := call(t, tr, dmwire.CmdRemove, named("a"), nil); err != EINTR {
		t.Error(err)
	}
	k.AssertClean(t)
	remove()
	after()
	must(t, tr, dmwire.CmdCreate, named("no"), nil)
	want := []string{"DEV_CREATE no", "DEV_CREATE a", "TABLE_LOAD a", "DEV_SUSPEND a", "DEV_REMOVE a"}
	if !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
}

func TestMessages(t *testing.T) {
	k, tr := setup(t)
	k.AddTarget(Target{Name: "talk", New: func(a *Args) (Instance, error) { return talker{a}, nil }})
	create(t, tr, "a", zeroSpec, dmwire.Spec{Start: 8, Length: 8, Type: "talk"})
	say := func(sector uint64, text string, size uint32) (dmwire.Header, string, error) {
		payload := make([]byte, dmwire.MessageSize(text))
		dmwire.PutMessage(payload, sector, text)
		h, body, err := call(t, tr, dmwire.CmdMessage, dmwire.Header{Name: "a", DataSize: size}, payload)
		return h, cstring(body), err
	}
	if h, text, err := say(9, `echo two\ words`, 0); err != nil || text != "two words" || h.Flags&dmwire.DataOut == 0 {
		t.Errorf("%+v %q %v", h, text, err)
	}
	if h, text, err := say(9, "event", 0); err != nil || text != "" || h.Flags&dmwire.DataOut != 0 || h.EventNr != 1 {
		t.Errorf("%+v %q %v", h, text, err)
	}
	if _, _, err := say(9, "fail", 0); err != EEXIST {
		t.Error(err)
	}
	// The text, its NUL and one byte more must fit.
	for size, full := range map[uint32]bool{312 + 401: true, 312 + 402: false} {
		if h, _, err := say(9, "long", size); err != nil || full != (h.Flags&dmwire.BufferFull != 0) {
			t.Errorf("size %d: %+v %v", size, h, err)
		}
	}
	if h, _, err := say(9, "long", 400); err != nil || h.Flags&dmwire.BufferFull == 0 || h.DataSize != 305 {
		t.Errorf("%+v %v", h, err)
	}
	must(t, tr, dmwire.CmdCreate, named("bare"), nil)
	payload := make([]byte, dmwire.MessageSize("x"))
	dmwire.PutMessage(payload, 0, "x")
	// A message to a device without a table comes to nothing.
	if h, _, err := call(t, tr, dmwire.CmdMessage, named("bare"), payload); err != nil || h.Dev != 0 {
		t.Errorf("%+v %v", h, err)
	}
}

type talker struct{ a *Args }

func (x talker) Message(argv []string) (string, error) {
	switch argv[0] {
	case "echo":
		return argv[1], nil
	case "long":
		return strings.Repeat("l", 400), nil
	case "event":
		x.a.Event()
		return "", nil
	}
	return "", EEXIST
}

func TestBlockDevice(t *testing.T) {
	k, tr := setup(t)
	create(t, tr, "a b", linearTo("/dev/ram1", 40))
	for _, name := range []string{"/dev/mapper/a b", "/dev/dm-0", "254:0"} {
		major, minor, sectors, err := tr.BlockDevice(name)
		if err != nil || major != 254 || minor != 0 || sectors != 40 {
			t.Errorf("%s: %d:%d %d %v", name, major, minor, sectors, err)
		}
	}
	k.RemoveDisk("/dev/ram1")
	if _, _, _, err := tr.BlockDevice("/dev/ram1"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := k.OpenDevice("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	k.SetAdmin(false)
	if err := tr.Ioctl(dmwire.CmdVersion.Request(), make([]byte, 312)); err != EACCES {
		t.Error(err)
	}
	var e syscall.Errno
	if !errors.As(error(&CtorError{EBUSY, "x"}), &e) || e != 16 {
		t.Error(e)
	}
}
