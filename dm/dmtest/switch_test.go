// SPDX-License-Identifier: MIT

package dmtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

func TestSwitch(t *testing.T) {
	m := newMulti(t)
	f := m.create(80, "switch", "3 8 0 1:0 0 1:1 0 1:2 1024")
	where := func() string {
		s := ""
		for i := range int64(10) {
			m.write(f, byte(i+1), i*4096, nil)
			p := make([]byte, 4096)
			for d := range 3 {
				m.disks[d].ReadAt(p, i*4096+int64(d/2)*1024*512)
				if p[0] == byte(i+1) {
					s += fmt.Sprint(d)
				}
				m.disks[d].WriteAt(make([]byte, 4096), i*4096+int64(d/2)*1024*512)
			}
		}
		return s
	}
	if got := where(); got != "0120120120" {
		t.Errorf("at first %s", got)
	}
	for _, tt := range []struct{ msg, want string }{
		{"set_region_mappings 0:2", "2120120120"},
		{"set_region_mappings :0 :1 9:2", "2010120122"},
		{"SET_REGION_MAPPINGS 0:0 :1 r2,7", "0101010102"},
		{"set_region_mappings 3:2 R1,3", "0102222102"},
	} {
		tell(t, m.tr, "x", tt.msg)
		if got := where(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.msg, got, tt.want)
		}
	}
	for _, bad := range []string{
		"hello", "set_region_mappings a:0", "set_region_mappings 0:3", "set_region_mappings 0", "set_region_mappings 0:",
		"set_region_mappings x:0", "set_region_mappings R,1", "set_region_mappings R1,", "set_region_mappings R2,1",
		"set_region_mappings R0,1", "set_region_mappings R1,a", "set_region_mappings R1", "set_region_mappings 0:g",
	} {
		if _, err := messageTo(t, m.tr, "x", bad); err != EINVAL {
			t.Errorf("%s: %v", bad, err)
		}
	}
	f.Close()
}

func TestLogWrites(t *testing.T) {
	m := newMulti(t)
	f := m.create(8192, "log-writes", "1:0 1:1")
	m.status("0 0")
	m.write(f, 1, 0, nil)
	m.status("0 0")
	tell(t, m.tr, "x", "mark a\\ b")
	m.status("1 1")
	if _, err := messageTo(t, m.tr, "x", "mark a b"); err != EINVAL {
		t.Error(err)
	}
	m.disks[1].Fail(2, 1)
	tell(t, m.tr, "x", "mark c")
	m.status("2 2 logging_disabled")
	tell(t, m.tr, "x", "mark d")
	m.status("2 2 logging_disabled")
	f.Close()
	must(t, m.tr, dmwire.CmdRemove, named("x"), nil)
	m.disks[1].FailWith(nil)
	m.disks[1].Resize(12)
	f = m.create(8192, "log-writes", "1:0 1:1")
	m.write(f, 2, 0, nil)
	m.write(f, 3, 4096, nil)
	f.Close()
	collect, _ := m.tr.KernelLog()
	must(t, m.tr, dmwire.CmdRemove, named("x"), nil)
	if log := collect(); !slices.Equal(log, []string{"device-mapper: log-writes: Ran out of space on the logdev"}) {
		t.Errorf("log %q", log)
	}
}

func TestDust(t *testing.T) {
	m := newMulti(t)
	f := m.create(8192, "dust", "1:0 0 4096")
	m.status("1:0 bypass verbose")
	ask := func(text, want string) {
		t.Helper()
		if got, err := messageTo(t, m.tr, "x", text); got != want || err != nil {
			t.Errorf("%s: %q %v, want %q", text, got, err, want)
		}
	}
	refuse := func(text string) {
		t.Helper()
		if _, err := messageTo(t, m.tr, "x", text); err != EINVAL {
			t.Errorf("%s: %v", text, err)
		}
	}
	tell(t, m.tr, "x", "addbadblock 1")
	tell(t, m.tr, "x", "addbadblock 3 2")
	refuse("addbadblock 1")
	m.read(f, 0, 4096, nil) // bypass
	tell(t, m.tr, "x", "enable")
	tell(t, m.tr, "x", "quiet")
	m.status("1:0 fail_read_on_bad_block quiet")
	ask("queryblock 1", "dust_query_block: block 1 found in badblocklist")
	ask("queryblock 2", "dust_query_block: block 2 not found in badblocklist")
	ask("countbadblocks", "countbadblocks: 2 badblock(s) found")
	ask("listbadblocks", "1\n3\n")
	m.read(f, 0, 4096, EIO)
	m.read(f, 0, 0, nil)
	m.write(f, 1, 4096, nil)
	m.read(f, 1, 4096, nil)
	m.write(f, 1, 3*4096, EIO)
	m.write(f, 1, 3*4096, EIO)
	m.write(f, 1, 3*4096, nil)
	ask("countbadblocks", "countbadblocks: 0 badblock(s) found")
	ask("listbadblocks", "No blocks in badblocklist")
	ask("clearbadblocks", "dust_clear_badblocks: no badblocks found")
	tell(t, m.tr, "x", "addbadblock 8192") // the end, as the kernel counts
	tell(t, m.tr, "x", "removebadblock 8192")
	tell(t, m.tr, "x", "addbadblock 5")
	ask("clearbadblocks", "dust_clear_badblocks: badblocks cleared")
	for _, bad := range []string{"removebadblock 1", "addbadblock", "addbadblock 8193", "addbadblock 1 256", "addbadblock x", "hello", "hello 1", "removebadblock 1 2", "a b c d"} {
		refuse(bad)
	}
	f.Close()
}

func TestEmulatedBlocks(t *testing.T) {
	m := newMulti(t)
	m.disks[0].SetBlockSize(4096)
	m.disks[0].FailWith(func(_ bool, sector, n uint64) error {
		if sector%8 != 0 || n%8 != 0 {
			return errors.New("not aligned")
		}
		return nil
	})
	f := m.create(8192, "ebs", "1:0 8 1")
	m.write(f, 1, 0, nil)
	m.write(f, 2, 512, nil)
	p := make([]byte, 512)
	if _, err := f.ReadAt(p, 0); err != nil || p[0] != 1 {
		t.Error(p[0], err)
	}
	m.read(f, 2, 512, nil)
	f.Close()
	must(t, m.tr, dmwire.CmdRemove, named("x"), nil)
	for _, tt := range []struct{ params, want string }{
		{"1:0 8", "Invalid argument count"}, {"1:0 9 1", "Device offset must be multiple of underlying block size"},
		{"1:0 8192 1", "Invalid device offset sector"}, {"1:0 8 3", "Invalid emulated block size"}, {"1:0 8 16", "Invalid emulated block size"},
		{"1:0 8 1 0", "Invalid underlying block size"}, {"88:88 8 1", "Device lookup failed"},
	} {
		collect, _ := m.tr.KernelLog()
		must(t, m.tr, dmwire.CmdCreate, named("x"), nil)
		if load(t, m.tr, "x", spec(8192, "ebs", tt.params)) == nil {
			t.Errorf("%s was taken", tt.params)
		}
		if log := collect(); len(log) == 0 || !strings.Contains(log[0], "ebs: "+tt.want) {
			t.Errorf("%s: %q", tt.params, log)
		}
		must(t, m.tr, dmwire.CmdRemove, named("x"), nil)
	}
}
