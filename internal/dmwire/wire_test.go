// SPDX-License-Identifier: MIT

package dmwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/linuxblock/linuxblock/internal/fixture"
)

func recorded(t testing.TB) []fixture.Call {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the recordings are little-endian")
	}
	var all []fixture.Call
	for _, p := range []string{"../../dm/testdata/ioctl/*.txt", "../../dm/testdata/ioctl-udev/*.txt"} {
		calls, err := fixture.AllIoctls(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, calls...)
	}
	if len(all) < 250 {
		t.Fatalf("only %d recorded calls", len(all))
	}
	return all
}

// Every recorded request and answer decodes, and encoding what was decoded
// gives the recorded bytes.
func TestRecorded(t *testing.T) {
	kernel := Version{4, 47, 0}
	for _, call := range recorded(t) {
		cmd, ok := CommandOf(call.Request)
		if !ok || cmd.String() != call.Command {
			t.Fatalf("%v: request %#x is %v", call, call.Request, cmd)
		}
		in, err := ParseHeader(call.In)
		if err != nil {
			t.Fatalf("%v: %v", call, err)
		}
		head := make([]byte, HeaderSize)
		if err := in.Put(head); err != nil {
			t.Fatalf("%v: %v", call, err)
		}
		if !bytes.Equal(head[:MinSize], call.In[:MinSize]) {
			t.Errorf("%v: header is not reproduced", call)
		}
		body := call.In[in.DataStart:]
		switch cmd {
		case CmdLoad:
			specs, err := ParseLoad(body, in.TargetCount)
			if err != nil {
				t.Fatalf("%v: %v", call, err)
			}
			out := make([]byte, SpecsSize(specs))
			if err := PutLoad(out, specs); err != nil {
				t.Fatalf("%v: %v", call, err)
			}
			if !bytes.Equal(out, body[:len(out)]) {
				t.Errorf("%v: table is not reproduced\n got %x\nwant %x", call, out, body[:len(out)])
			}
		case CmdMessage:
			sector, text, err := ParseMessage(body)
			if err != nil {
				t.Fatalf("%v: %v", call, err)
			}
			out := make([]byte, MessageSize(text))
			PutMessage(out, sector, text)
			if !bytes.Equal(out, body[:len(out)]) {
				t.Errorf("%v: message is not reproduced", call)
			}
		}
		if call.Ret != 0 || call.Out == nil {
			continue
		}
		out, err := ParseHeader(call.Out)
		if err != nil {
			t.Fatalf("%v: %v", call, err)
		}
		if out.Flags&BufferFull != 0 {
			continue
		}
		payload, err := out.Payload(call.Out)
		if err != nil {
			t.Fatalf("%v: %v", call, err)
		}
		again := make([]byte, len(call.Out)-int(out.DataStart))
		var used int
		var full bool
		switch cmd {
		case CmdListDevices:
			var names []Name
			if names, err = ParseNames(payload, kernel); err == nil {
				used, full = PutNames(again, names, kernel, in.Flags&UUIDFlag != 0)
			}
		case CmdDeps:
			var devs []uint64
			if devs, err = ParseDeps(payload); err == nil {
				used, full = PutDeps(again, devs)
			}
		case CmdListVersions:
			var list []TargetVersion
			if list, err = ParseVersions(payload); err == nil {
				used, full = PutVersions(again, list)
			}
		case CmdTableStatus, CmdWait:
			var specs []Spec
			if specs, err = ParseStatus(payload, out.TargetCount); err == nil {
				used, full, err = PutStatus(again, specs)
			}
		default:
			continue
		}
		if err != nil || full {
			t.Fatalf("%v: %v (full %v)", call, err, full)
		}
		if len(payload) == 0 {
			continue
		}
		n := min(used, len(payload))
		if cmd == CmdListVersions || cmd == CmdListDevices {
			n = used // records are padded behind the last string
		}
		if used < len(payload) && cmd != CmdListVersions && cmd != CmdListDevices {
			t.Errorf("%v: %d payload bytes, encoded %d", call, len(payload), used)
		}
		n = min(n, len(payload))
		if !bytes.Equal(again[:n], payload[:n]) {
			t.Errorf("%v: payload is not reproduced\n got %x\nwant %x", call, again[:n], payload[:n])
		}
	}
}

func TestDevNumbers(t *testing.T) {
	for _, d := range [][2]uint32{{0, 0}, {254, 0}, {1, 255}, {253, 256}, {4095, 1<<20 - 1}} {
		major, minor := SplitDev(MakeDev(d[0], d[1]))
		if major != d[0] || minor != d[1] {
			t.Errorf("%v came back as %d:%d", d, major, minor)
		}
	}
	if got := MakeDev(254, 0x12345); got != 0x1230fe45 {
		t.Errorf("MakeDev: %#x", got)
	}
}

// The sizes at which the kernel says BUFFER_FULL for a "zero" status, as
// measured on 6.1: 353…359 bytes are full although the text ends at 353.
func TestStatusBufferFull(t *testing.T) {
	for n := HeaderSize; n < 400; n++ {
		_, full, err := PutStatus(make([]byte, n-HeaderSize), []Spec{{Length: 8, Type: "zero"}})
		if err != nil {
			t.Fatal(err)
		}
		if want := n < 360; full != want {
			t.Errorf("buffer of %d: full is %v", n, full)
		}
	}
}

func TestRequestNumbers(t *testing.T) {
	if iocReadWrite != 3<<30 {
		t.Skip("another ioctl encoding")
	}
	if CmdVersion.Request() != 0xc138fd00 || CmdTargetVersion.Request() != 0xc138fd11 {
		t.Errorf("%#x %#x", CmdVersion.Request(), CmdTargetVersion.Request())
	}
	if _, ok := CommandOf(0xc138fd12); ok {
		t.Error("18 is not a command of the control node")
	}
}

func TestPutRefusesLongStrings(t *testing.T) {
	buf := make([]byte, HeaderSize)
	long := string(bytes.Repeat([]byte{'n'}, 129))
	for _, h := range []Header{{Name: long[:128]}, {UUID: long}} {
		if err := h.Put(buf); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v", err)
		}
	}
	h := Header{Name: long[:127], UUID: long[:128]}
	if err := h.Put(buf); err != nil {
		t.Error(err)
	}
	if got, _ := ParseHeader(buf); got != h {
		t.Errorf("%+v", got)
	}
}

// A count or an offset beyond 31 bits is refused, also where an int has 32.
func TestHugeNumbers(t *testing.T) {
	buf := make([]byte, 100)
	for _, parse := range []func([]byte, uint32) ([]Spec, error){ParseLoad, ParseStatus} {
		for _, next := range []uint32{0, 39, 101, 1 << 31, 1<<32 - 1} {
			binary.NativeEndian.PutUint32(buf[20:], next)
			for _, count := range []uint32{2, 1 << 31, 1<<32 - 1} {
				if specs, err := parse(buf, count); !errors.Is(err, ErrMalformed) {
					t.Errorf("next %d, count %d: %v, %v", next, count, specs, err)
				}
			}
		}
	}
}

// Records whose strings run into the following ones are refused: decoded,
// each would be as long as the rest of the buffer.
func TestOverlongStrings(t *testing.T) {
	ne := binary.NativeEndian
	load := bytes.Repeat([]byte{'x'}, 1<<20)
	status, versions := bytes.Clone(load), bytes.Clone(load)
	n := uint32(len(load) / specSize)
	for i := range n {
		ne.PutUint32(load[i*specSize+20:], specSize)
		ne.PutUint32(status[i*specSize+20:], (i+1)*specSize)
	}
	for off := 0; off < len(versions); off += 24 {
		ne.PutUint32(versions[off:], 24)
	}
	for _, b := range [][]byte{load, status, versions} {
		b[len(b)-1] = 0
	}
	if _, err := ParseLoad(load, n); !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
	if _, err := ParseStatus(status, n); !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
	if _, err := ParseVersions(versions); !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
}

func FuzzAnswers(f *testing.F) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		seen := map[Command]int{}
		for _, call := range recorded(f) {
			cmd, _ := CommandOf(call.Request)
			if seen[cmd]++; seen[cmd] <= 2 && call.Out != nil {
				f.Add(call.Out[:min(len(call.Out), 1024)])
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ParseHeader(data)
		if err != nil {
			return
		}
		payload, err := h.Payload(data)
		if err != nil {
			return
		}
		if specs, err := ParseLoad(payload, h.TargetCount); err == nil {
			buf := make([]byte, SpecsSize(specs))
			if err := PutLoad(buf, specs); err == nil {
				back, err := ParseLoad(buf, uint32(len(specs)))
				if err != nil || !slices.Equal(back, specs) {
					t.Fatalf("load %v came back as %v, %v", specs, back, err)
				}
			}
		}
		if specs, err := ParseStatus(payload, h.TargetCount); err == nil {
			buf := make([]byte, SpecsSize(specs)+8)
			if _, full, err := PutStatus(buf, specs); err == nil {
				back, err := ParseStatus(buf, uint32(len(specs)))
				if full || err != nil || !slices.Equal(back, specs) {
					t.Fatalf("status %v came back as %v, %v, full %v", specs, back, err, full)
				}
			}
		}
		for _, v := range []Version{{4, 0, 0}, {4, 37, 0}, h.Version} {
			if names, err := ParseNames(payload, v); err == nil && len(names) > 0 {
				buf := make([]byte, 4*len(payload)+64)
				used, full := PutNames(buf, names, v, true)
				if full {
					t.Fatalf("%d names do not fit %d bytes", len(names), len(buf))
				}
				if back, err := ParseNames(buf[:used], v); err != nil || len(back) != len(names) {
					t.Fatalf("names %v came back as %v, %v", names, back, err)
				}
			}
		}
		ParseDeps(payload)
		ParseVersions(payload)
		ParseMessage(payload)
		ParseString(payload)
	})
}
