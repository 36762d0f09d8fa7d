// SPDX-License-Identifier: MIT

package kmsg

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// rec makes records of the kernel from "[<level>][T<tid>] text" lines.
func rec(lines ...string) []Record {
	var list []Record
	for _, l := range lines {
		r := Record{Priority: LevelErr, Continuation: '-'}
		if rest, ok := strings.CutPrefix(l, "<6>"); ok {
			r.Priority, l = LevelInfo, rest
		}
		if rest, ok := strings.CutPrefix(l, "<user>"); ok {
			r.Facility, l = 1, rest
		}
		if strings.HasPrefix(l, "[") {
			r.Caller, l, _ = strings.Cut(l[1:], "] ")
		}
		r.Text = l
		list = append(list, r)
	}
	return list
}

func TestMatch(t *testing.T) {
	dev := Subject{Dev: "254:0", Name: "t1"}
	alone := Subject{Dev: "254:0", Name: "t1", Alone: true}
	tid := Subject{Dev: "254:0", Name: "t1", TID: 77}
	const linear = "device-mapper: table: 254:0: linear: Invalid argument count (-EINVAL)"
	const other = "device-mapper: table: 254:1: linear: Invalid argument count (-EINVAL)"
	const adding = "device-mapper: ioctl: error adding target to table"
	for _, c := range []struct {
		name    string
		s       Subject
		records []Record
		want    string
	}{
		{"nothing", dev, nil, ""},
		{"the plain case", dev, rec(linear, adding), "linear: Invalid argument count (-EINVAL)"},
		{"general line of nobody", dev, rec(adding), ""},
		{"general line alone", alone, rec(adding), "ioctl: error adding target to table"},
		{"another device", alone, rec(other, adding), ""},
		{"another device too", alone, rec(other, linear, adding), "linear: Invalid argument count (-EINVAL)"},
		{"longer number", dev, rec("device-mapper: table: 254:01: linear: x", "device-mapper: table: 1254:0: linear: x"), ""},
		{"another one below it", dev, rec("device-mapper: table: 254:7: adding target device (start sect 0 len 8) 254:0: x"), ""},
		{"by caller", tid, rec("[T77] md/raid:mdX: cannot start dirty degraded array.", "[T78] md/raid:mdX: failed to run raid set.", "[T77] "+adding),
			"md/raid:mdX: cannot start dirty degraded array."},
		{"by caller, another device busy", tid, rec("[T78] "+other, "[T77] device-mapper: raid: Failed to read superblock of device at position 1", "[T78] device-mapper: raid: Unable to parse RAID parameter: foo"),
			"raid: Failed to read superblock of device at position 1"},
		{"other thread about this device", tid, rec("[T5] device-mapper: thin: 254:0: switching pool to read-only mode"), "thin: switching pool to read-only mode"},
		{"processor as caller", Subject{Dev: "254:0", TID: 77, Alone: true}, rec("[C1] device-mapper: raid: x"), "raid: x"},
		{"md without caller", dev, rec("md/raid:mdX: cannot start dirty degraded array."), ""},
		{"md alone", alone, rec("md/raid:mdX: cannot start dirty degraded array.", "md/raid:mdX: failed to run raid set.", "md: pers->run() failed ...",
			"device-mapper: table: 254:0: raid: Failed to run raid array (-EIO)", adding),
			"md/raid:mdX: cannot start dirty degraded array.; md/raid:mdX: failed to run raid set.; md: pers->run() failed ...; raid: Failed to run raid array (-EIO)"},
		{"md's own array", alone, rec("md/raid1:md127: Disk failure on sda, disabling device.", "md: md127: resync interrupted.", "md127: x"), ""},
		{"no md at all", alone, rec("mdio_bus 0000: x", "md5: hash", "mdadm: x", "EXT4-fs (dm-0): x"), ""},
		{"information", alone, rec("<6>device-mapper: raid: Superblocks created for new raid set", "<6>md/raid1:mdX: active with 2 out of 2 mirrors"), ""},
		{"information shows somebody else", alone, rec("<6>device-mapper: thin: 254:9: switching pool to write mode", adding), ""},
		{"forged", alone, rec("<user>" + linear), ""},
		{"twice", dev, rec(linear, linear), "linear: Invalid argument count (-EINVAL)"},
		{"two reasons", dev, rec(linear, "device-mapper: table: 254:0: ram0 too small for target: start=0, len=9, dev_size=8"),
			"linear: Invalid argument count (-EINVAL); ram0 too small for target: start=0, len=9, dev_size=8"},
		{"verity above us", dev, rec("device-mapper: verity: 254:0: metadata block 1 is corrupted"), ""},
		{"by name", dev, rec("device-mapper: ioctl: unable to remove open device t1"), "ioctl: unable to remove open device t1"},
		{"by another name", alone, rec("device-mapper: ioctl: unable to remove open device t12"), ""},
		{"name that is a word", Subject{Dev: "254:0", Name: "table"}, rec(adding), ""},
		{"name in a sentence", dev, rec("device-mapper: ioctl: Unable to change name on mapped device t1 to one that already exists: t2"),
			"ioctl: Unable to change name on mapped device t1 to one that already exists: t2"},
		{"in parentheses", dev, rec("device-mapper: core: cannot (x) do (254:0)"), "core: cannot (x) do (254:0)"},
		{"another in parentheses", alone, rec("device-mapper: core: cannot do (254:8)"), ""},
		{"without a number", Subject{Name: "t1"}, rec(linear), ""},
		{"newline in the text", dev, rec("device-mapper: table: 254:0: x: a\nb"), "x: a b"},
	} {
		if got := Match(c.records, c.s); got != c.want {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, got, c.want)
		}
	}
}

// What Debian's kernel 6.1.192 says to a refused table must be found, and
// never for another device.
func TestMatchRecorded(t *testing.T) {
	data, err := os.ReadFile("testdata/dmesg-6.1.192.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Case  string
		RC    int `json:"rc"`
		Dmesg []string
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, c := range cases {
		list := rec(c.Dmesg...)
		dev := ""
		for _, l := range c.Dmesg {
			if f := strings.Split(l, ": "); len(f) > 2 && strings.HasPrefix(f[2], "254:") {
				dev = f[2]
			}
		}
		if got := Match(list, Subject{Dev: "254:99", Name: "other", TID: 5}); got != "" {
			t.Errorf("%s: another device got %q", c.Case, got)
		}
		if c.RC == 0 || dev == "" {
			continue
		}
		refused++
		got := Match(list, Subject{Dev: dev})
		if got == "" || strings.Contains(got, dev) || strings.Contains(got, "error adding") || !strings.Contains(c.Dmesg[len(c.Dmesg)-2], got) {
			t.Errorf("%s: %q", c.Case, got)
		}
		if full := Match(list, Subject{Dev: dev, Alone: true}); !strings.HasSuffix(full, got) {
			t.Errorf("%s: %q alone", c.Case, full)
		}
	}
	if refused < 10 {
		t.Errorf("only %d cases", refused)
	}
}

func BenchmarkMatch(b *testing.B) {
	list := rec("device-mapper: table: 254:0: linear: Invalid argument count (-EINVAL)", "device-mapper: ioctl: error adding target to table")
	for b.Loop() {
		Match(list, Subject{Dev: "254:0"})
	}
}
