// SPDX-License-Identifier: MIT

package dmtest

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
	"github.com/linuxblock/linuxblock/internal/fixture"
)

// FuzzIoctl sends arbitrary buffers: the input is cut in calls of a command
// byte, two bytes of length and a buffer. Nothing may panic or hang, and what
// comes back must decode.
func FuzzIoctl(f *testing.F) {
	for _, dir := range []string{"ioctl", "ioctl-udev"} {
		calls, err := fixture.AllIoctls("../testdata/" + dir + "/*.txt")
		if err != nil {
			f.Fatal(err)
		}
		// A seed a recording, so that the fuzzer has little to shorten.
		sessions := map[string][]byte{}
		for _, c := range calls {
			session := sessions[c.File]
			if c.Command == "VERSION" || len(session) > 2048 {
				continue
			}
			buf := append([]byte(nil), c.In[:min(len(c.In), 512)]...)
			binary.NativeEndian.PutUint32(buf[12:], uint32(len(buf)))
			session = append(session, byte(c.Request), byte(len(buf)), byte(len(buf)>>8))
			sessions[c.File] = append(session, buf...)
		}
		for _, session := range sessions {
			f.Add(session, uint8(47))
			f.Add(session, uint8(48))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, minor uint8) {
		k := New(WithVersion(4, uint32(minor), 0))
		k.RemoveTarget("era") // asked for its status while suspended, it sleeps until a resume
		k.AddDisk("/dev/ram0", 1, 0, 4096)
		k.AddDisk("/dev/ram1", 1, 1, 4096)
		tr := k.Transport()
		defer tr.Close()
		hang := time.AfterFunc(20*time.Second, func() { panic("the double hangs") })
		defer hang.Stop()
		create(t, tr, "t1", dmwire.Spec{Length: 2048, Type: "linear", Params: "1:0 0"})
		for len(data) >= 3 {
			cmd, n := data[0], int(data[1])|int(data[2])<<8
			n = min(n, len(data)-3)
			buf := append([]byte(nil), data[3:3+n]...)
			data = data[3+n:]
			if cmd == byte(dmwire.CmdWait) || cmd == byte(dmwire.CmdSuspend) {
				// These may sleep; a signal breaks them off.
				one := k.Transport()
				timer := time.AfterFunc(time.Millisecond, func() { one.Close() })
				one.Ioctl(0xc138fd00|uint32(cmd), buf)
				timer.Stop()
				continue
			}
			if tr.Ioctl(0xc138fd00|uint32(cmd), buf) != nil || len(buf) < dmwire.MinSize {
				continue
			}
			h, err := dmwire.ParseHeader(buf)
			if err != nil || h.Flags&dmwire.BufferFull != 0 {
				continue
			}
			payload, err := h.Payload(buf)
			if err != nil {
				continue // commands that copy nothing back leave what was sent
			}
			switch dmwire.Command(cmd) {
			case dmwire.CmdListDevices:
				_, err = dmwire.ParseNames(payload, h.Version)
			case dmwire.CmdTableStatus:
				if len(payload) > 0 {
					_, err = dmwire.ParseStatus(payload, h.TargetCount)
				}
			case dmwire.CmdDeps:
				if h.TargetCount > 0 {
					_, err = dmwire.ParseDeps(payload)
				}
			case dmwire.CmdListVersions, dmwire.CmdTargetVersion:
				_, err = dmwire.ParseVersions(payload)
			}
			if err != nil {
				t.Fatalf("%v: %v", dmwire.Command(cmd), err)
			}
		}
		k.Devices()
		must(t, tr, dmwire.CmdRemoveAll, dmwire.Header{}, nil)
	})
}

// FuzzTable loads arbitrary tables of all models, runs them and prints them:
// what a model prints it takes again and prints the same.
func FuzzTable(f *testing.F) {
	for _, run := range recordedCases(f) {
		for _, c := range run {
			s := parseSpec(f, c.In)
			f.Add(s.Length, s.Type, s.Params)
		}
	}
	f.Add(uint64(8), "linear", "254:0 0") // the device itself
	for _, line := range cryptSeeds(f) {
		s := parseSpec(f, line)
		f.Add(s.Length, s.Type, s.Params)
	}
	f.Fuzz(func(t *testing.T, length uint64, typ, params string) {
		if len(typ) >= dmwire.TypeLen || len(params) > 2000 {
			return
		}
		for _, minor := range []uint32{43, 48} {
			k := New(WithVersion(4, minor, 0))
			ramdisks(k)
			tr := k.Transport()
			must(t, tr, dmwire.CmdCreate, named("a"), nil)
			if typ == "thin" { // volumes 0 and 1 of 254:1
				create(t, tr, "pool", spec(8192, "thin-pool", "1:9 1:10 128 0"))
				mustSay(t, tr, "pool", "create_thin 0", "create_snap 1 0")
			}
			readOnly := typ == "verity"
			if loadAs(t, tr, "a", spec(length, typ, params), readOnly) != nil {
				continue
			}
			must(t, tr, dmwire.CmdSuspend, named("a"), nil)
			first := status(t, tr, "a", dmwire.StatusTable)
			status(t, tr, "a", 0)
			status(t, tr, "a", dmwire.IMAMeasurement)
			if _, _, err := call(t, tr, dmwire.CmdRemove, named("a"), nil); err != nil {
				// The older kernel takes a table on the device itself, which
				// then holds itself until another table comes.
				h, deps := must(t, tr, dmwire.CmdDeps, named("a"), nil)
				if on, perr := dmwire.ParseDeps(deps); err != EBUSY || perr != nil || !slices.Contains(on, h.Dev) {
					t.Fatalf("remove: %v; the device uses %v, %v", err, on, perr)
				}
				if err := load(t, tr, "a", spec(length, "error", "")); err != nil {
					t.Fatal(err)
				}
				must(t, tr, dmwire.CmdSuspend, named("a"), nil)
				must(t, tr, dmwire.CmdRemove, named("a"), nil)
				k.AssertClean(t)
				continue
			}
			// The error target does not print what it took.
			must(t, tr, dmwire.CmdCreate, named("a"), nil)
			if err := loadAs(t, tr, "a", parseSpec(t, first), readOnly); err != nil {
				t.Fatalf("%q: %v", first, err)
			}
			must(t, tr, dmwire.CmdSuspend, named("a"), nil)
			if again := status(t, tr, "a", dmwire.StatusTable); again != first {
				t.Errorf("%q came back as %q", first, again)
			}
			must(t, tr, dmwire.CmdRemoveAll, dmwire.Header{}, nil)
			k.AssertClean(t)
		}
	})
}
