// SPDX-License-Identifier: MIT

package kmsg

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseRecord(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Record
	}{
		// Linux Documentation/ABI/testing/dev-kmsg
		{"7,160,424069,-;pci_root PNP0A03:00: host bridge window [io  0x0000-0x0cf7] (ignored)\n SUBSYSTEM=acpi\n DEVICE=+acpi:PNP0A03:00\n",
			Record{Priority: 7, Seq: 160, Timestamp: 424069 * time.Microsecond, Continuation: '-',
				Text: "pci_root PNP0A03:00: host bridge window [io  0x0000-0x0cf7] (ignored)",
				Dict: []Pair{{"SUBSYSTEM", "acpi"}, {"DEVICE", "+acpi:PNP0A03:00"}}}},
		{"6,339,5140900,-,caller=T123;NET: Registered protocol family 10\n",
			Record{Priority: 6, Seq: 339, Timestamp: 5140900 * time.Microsecond, Continuation: '-', Caller: "T123",
				Text: "NET: Registered protocol family 10"}},
		{"6,339,5140900,c,caller=C1,new=1;a\\x5cb\\x0ac\\xc3\\xa9;d\\",
			Record{Priority: 6, Seq: 339, Timestamp: 5140900 * time.Microsecond, Continuation: 'c', Caller: "C1",
				Text: "a\\b\ncé;d\\"}},
		{"30,340,5690716,-;udevd[80]: starting version 181\n",
			Record{Priority: 6, Facility: 3, Seq: 340, Timestamp: 5690716 * time.Microsecond, Continuation: '-',
				Text: "udevd[80]: starting version 181"}},
		{"0,0,0;", Record{Continuation: '-'}},
		{"0,0,0;\\x4", Record{Continuation: '-', Text: "\\x4"}},
		{"0,0,0;\\xzz1\nno blank\n K\n", Record{Continuation: '-', Text: "\\xzz1", Dict: []Pair{{"K", ""}}}},
	} {
		got, err := ParseRecord([]byte(c.in))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q:\ngot  %+v %v\nwant %+v", c.in, got, err, c.want)
		}
	}
	if r, _ := ParseRecord([]byte("6,1,1,-;x\n A=b\n")); r.Get("A") != "b" || r.Get("B") != "" {
		t.Error("Get")
	}
	for _, bad := range []string{"", "6,1,1,-", ";", "6,1;x", "x,1,1;", "6,x,1;", "6,1,-1;", "6,1,18446744073709551615;"} {
		if r, err := ParseRecord([]byte(bad)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %+v", bad, r)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte("6,339,5140900,-,caller=T123;NET\\x5c\n KEY=value\n"))
	f.Add([]byte("7,160,424069,-;pci_root PNP0A03:00: host bridge\n SUBSYSTEM=acpi\n DEVICE=+acpi:PNP0A03:00\n"))
	f.Add([]byte("3,1,1,+;device-mapper: table: 254:0: linear: Invalid argument count (-EINVAL)"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			return
		}
		if r.Priority < 0 || r.Priority > 7 || r.Facility < 0 || r.Timestamp < 0 || len(r.Text) > len(b) {
			t.Fatalf("%+v", r)
		}
		r.Facility, r.Priority = 0, 3
		got := Match([]Record{r}, Subject{Dev: "254:0", Name: "n", TID: 1, Alone: true})
		if strings.Contains(got, "\n") {
			t.Fatalf("%q has more than one line", got)
		}
	})
}
