// SPDX-License-Identifier: MIT

package dmtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

func parseSpec(t testing.TB, line string) dmwire.Spec {
	t.Helper()
	f := strings.SplitN(line, " ", 4)
	if len(f) < 3 {
		t.Fatalf("table %q", line)
	}
	start, err1 := strconv.ParseUint(f[0], 10, 64)
	length, err2 := strconv.ParseUint(f[1], 10, 64)
	if err1 != nil || err2 != nil {
		t.Fatalf("table %q", line)
	}
	s := dmwire.Spec{Start: start, Length: length, Type: f[2]}
	if len(f) == 4 {
		s.Params = f[3]
	}
	return s
}

// status prints a device as dmsetup does.
func status(t testing.TB, tr *Transport, name string, flags dmwire.Flags) string {
	t.Helper()
	h, body := must(t, tr, dmwire.CmdTableStatus, dmwire.Header{Name: name, Flags: flags}, nil)
	specs, err := dmwire.ParseStatus(body, h.TargetCount)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range specs {
		lines = append(lines, fmt.Sprintf("%d %d %s %s", s.Start, s.Length, s.Type, s.Params))
	}
	return strings.Join(lines, "\n")
}

// loadAs loads a table, read-only where the target needs it.
func loadAs(t testing.TB, tr *Transport, name string, s dmwire.Spec, readOnly bool) error {
	t.Helper()
	h := dmwire.Header{Name: name, TargetCount: 1}
	if readOnly {
		h.Flags = dmwire.ReadOnly
	}
	_, _, err := call(t, tr, dmwire.CmdLoad, h, loadPayload(t, s))
	return err
}

// withoutKey puts zeros over the key of crypt, as dmsetup did in the
// recording.
func withoutKey(line string) string {
	if w := strings.Fields(line); len(w) > 4 && w[2] == "crypt" {
		return strings.Replace(line, " "+w[4]+" ", " "+strings.Repeat("0", len(w[4]))+" ", 1)
	}
	return line
}

type recordedCase struct {
	Case   string
	In     string
	RC     int
	Status []string
	Table  []string
	IMA    *string
	Dmesg  []string
}

func recordedCases(t testing.TB) map[string][]recordedCase {
	t.Helper()
	data, err := os.ReadFile("../testdata/targets/targets-6.1.192.json")
	if err != nil {
		t.Fatal(err)
	}
	var runs map[string][]recordedCase
	if err := json.Unmarshal(data, &runs); err != nil {
		t.Fatal(err)
	}
	return runs
}

func ramdisks(k *Kernel) {
	for i := range 12 {
		k.AddDisk("/dev/ram"+strconv.Itoa(i), 1, uint32(i), 65536)
	}
}

// Every recorded table of a target that the double models gives the recorded
// texts, refusals with the recorded kernel log among them.
func TestRecordedTargets(t *testing.T) {
	absent := []string{"clone", "ebs", "dust", "vdo"} // not in that kernel
	known := map[string]bool{}
	for _, name := range absent {
		known[name] = true
	}
	for _, m := range Targets(4, 47) {
		known[m.Name] = true
	}
	n := 0
	for _, run := range []string{"vm_run_a", "vm_run_b"} {
		k := New()
		for _, name := range absent {
			k.RemoveTarget(name)
		}
		ramdisks(k)
		tr := k.Transport()
		for _, c := range recordedCases(t)[run] {
			spec := parseSpec(t, c.In)
			if !known[spec.Type] {
				continue
			}
			n++
			if c.Case == "cach2" || c.Case == "era" {
				// The metadata device was wiped in between.
				if _, err := k.disks[makeDev(1, 9)].WriteAt(make([]byte, 4096), 0); err != nil {
					t.Fatal(err)
				}
			}
			if strings.Contains(c.In, "254:0") || c.Case == "snm" || c.Case == "snmerge" {
				continue // in TestRecordedSnapshots
			}
			if spec.Type == "thin" || spec.Type == "thin-pool" {
				continue // in TestRecordedThin
			}
			// A refusal at 254:1 had another device beside it.
			beside := c.RC != 0 && len(c.Dmesg) > 0 && strings.Contains(c.Dmesg[0], "254:1")
			if beside {
				create(t, tr, "beside", dmwire.Spec{Length: 8, Type: "zero"})
			}
			collect, _ := tr.KernelLog()
			must(t, tr, dmwire.CmdCreate, dmwire.Header{Name: c.Case}, nil)
			err := loadAs(t, tr, c.Case, spec, spec.Type == "verity" && c.RC == 0)
			if (err != nil) != (c.RC != 0) {
				t.Errorf("%s %q: %v", c.Case, c.In, err)
			}
			if c.RC != 0 {
				if got := collect(); !slices.Equal(got, c.Dmesg) {
					t.Errorf("%s: log\n got %q\nwant %q", c.Case, got, c.Dmesg)
				}
				must(t, tr, dmwire.CmdRemove, dmwire.Header{Name: c.Case}, nil)
				if beside {
					must(t, tr, dmwire.CmdRemove, dmwire.Header{Name: "beside"}, nil)
				}
				continue
			}
			must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: c.Case}, nil)
			if spec.Type == "mirror" {
				resync(t, k, c.Case)
			}
			if got := status(t, tr, c.Case, 0); got != c.Status[0] {
				t.Errorf("%s: status %q, want %q", c.Case, got, c.Status[0])
			}
			if got := status(t, tr, c.Case, dmwire.StatusTable); withoutKey(got) != c.Table[0] {
				t.Errorf("%s: table %q, want %q", c.Case, got, c.Table[0])
			}
			if got := status(t, tr, c.Case, dmwire.IMAMeasurement); c.IMA != nil && got != *c.IMA {
				t.Errorf("%s: ima\n got %q\nwant %q", c.Case, got, *c.IMA)
			}
			if c.Case == "sn" && len(c.Status) == 3 {
				// 32 chunks were written between the records.
				f, err := k.OpenDevice(c.Case)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteAt(bytes.Repeat([]byte{1}, 256<<10), 0); err != nil {
					t.Error(err)
				}
				f.Close()
				if got := status(t, tr, c.Case, 0); got != c.Status[1] {
					t.Errorf("%s: status %q, want %q", c.Case, got, c.Status[1])
				}
			}
			must(t, tr, dmwire.CmdRemove, dmwire.Header{Name: c.Case}, nil)
		}
		k.AssertClean(t)
	}
	if n < 30 {
		t.Errorf("only %d cases", n)
	}
}

// The recorded overflows: a copy-on-write device of 16 chunks, filled up.
func TestRecordedSnapshots(t *testing.T) {
	k := New()
	ramdisks(k)
	tr := k.Transport()
	want := map[string]recordedCase{}
	for _, c := range recordedCases(t)["vm_run_b"] {
		want[c.Case] = c
	}
	make := func(name string) {
		t.Helper()
		create(t, tr, name, parseSpec(t, want[name].In))
	}
	fill := func(name string) {
		f, err := k.OpenDevice(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var failed error
		for i := range int64(64) {
			if _, err := f.WriteAt(bytes.Repeat([]byte{9}, 4096), i*4096); err != nil {
				failed = err
			}
		}
		if failed != EIO {
			t.Errorf("%s: writes beyond the room: %v", name, failed)
		}
	}
	check := func(name string, i int) {
		t.Helper()
		if got := status(t, tr, name, 0); got != want[name].Status[i] {
			t.Errorf("%s: status %q, want %q", name, got, want[name].Status[i])
		}
	}
	remove := func(name string) { must(t, tr, dmwire.CmdRemove, dmwire.Header{Name: name}, nil) }

	make("cowtiny")
	collect, _ := tr.KernelLog()
	make("snover")
	check("snover", 0)
	fill("snover")
	check("snover", 1)
	if got := collect(); !slices.Equal(got, want["snover"].Dmesg) {
		t.Errorf("log %q", got)
	}
	if s, _ := k.Device("snover"); s.EventNr != 1 {
		t.Errorf("an overflow raised %d events", s.EventNr)
	}
	remove("snover")
	collect, _ = tr.KernelLog()
	make("snover2")
	check("snover2", 0)
	if got := collect(); !slices.Equal(got, want["snover2"].Dmesg) {
		t.Errorf("log %q", got)
	}
	remove("snover2")
	remove("cowtiny")
	// The header of the device says invalid until it is wiped.
	if _, err := k.disks[makeDev(1, 5)].WriteAt(bytes.Repeat([]byte{0}, 4096), 0); err != nil {
		t.Fatal(err)
	}
	make("cowtiny")
	collect, _ = tr.KernelLog()
	make("snpo")
	check("snpo", 0)
	fill("snpo")
	check("snpo", 1)
	if got := collect(); !slices.Equal(got[:1], want["snm"].Dmesg) { // recorded with the next case
		t.Errorf("log %q", got)
	}
	remove("snpo")
	remove("cowtiny")
	make("snm")
	check("snm", 0)
	remove("snm")
	k.AssertClean(t)
}

// The recorded session of statistics messages.
func TestRecordedStats(t *testing.T) {
	f, err := os.Open("../testdata/targets/stats-messages-6.1.192.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	k := New()
	ramdisks(k)
	tr := k.Transport()
	create(t, tr, "st", dmwire.Spec{Length: 2048, Type: "linear", Params: "1:0 0"})
	collect, _ := tr.KernelLog()
	var got, want, dmesg []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line := sc.Text()
		if m, ok := strings.CutPrefix(line, "MSG "); ok {
			want = append(want, line)
			payload := make([]byte, dmwire.MessageSize(m))
			dmwire.PutMessage(payload, 0, m)
			h, body, err := call(t, tr, dmwire.CmdMessage, dmwire.Header{Name: "st"}, payload)
			got = append(got, line)
			switch {
			case err != nil:
				text := map[error]string{EINVAL: "Invalid argument", ENOENT: "No such file or directory"}[err]
				got = append(got, "device-mapper: message ioctl on st  failed: "+text, "Command failed.", "rc 1")
			case h.Flags&dmwire.DataOut != 0:
				text := strings.TrimSuffix(cstring(body), "\n")
				if text != "" {
					got = append(got, strings.Split(text, "\n")...)
				}
				got = append(got, "rc 0")
			default:
				got = append(got, "rc 0")
			}
			continue
		}
		if d, ok := strings.CutPrefix(line, "DMESG "); ok {
			dmesg = append(dmesg, d)
		} else if len(want) > 0 && line != "DONE" {
			want = append(want, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("session\n got %s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if log := collect(); !slices.Equal(log, dmesg) {
		t.Errorf("log %q, want %q", log, dmesg)
	}
}
