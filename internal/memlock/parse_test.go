// SPDX-License-Identifier: MIT

package memlock

import (
	"slices"
	"strings"
	"testing"
)

const statusText = "Name:\tx: VmLck\nVmPeak:\t  999 kB\nVmSize:\t 1227296 kB\nVmLck:\t      64 kB\nVmSwap:\t       5 kB\nThreads:\t4\n"

func TestParseStatus(t *testing.T) {
	if s := parseStatus(statusText); s != (status{64}) {
		t.Errorf("%+v", s)
	}
	if s := parseStatus("VmLck:\t-1 kB\nVmLck: x kB\nVmLck: 1\n"); s != (status{}) {
		t.Errorf("%+v", s)
	}
}

const smapsText = `00400000-00500000 r-xp 00001000 fe:01 1234                       /usr/bin/a\012b
Size:               1024 kB
Swap:                  0 kB
SwapPss:               0 kB
VmFlags: rd ex mr mw me lo sd
c000000000-c000400000 rw-p 00000000 00:00 0                              [anon: Go: heap]
Swap:                 12 kB
VmFlags: rd wr mr mw me ac sd
c000400000-c004000000 ---p 00000000 00:00 0
VmFlags: mr mw me sd
`

func TestParseMaps(t *testing.T) {
	list, err := parseMaps(smapsText)
	if err != nil {
		t.Fatal(err)
	}
	want := []mapping{
		{0x400000, 0x500000, "r-xp", Dev{254, 1}, 1234, "/usr/bin/a\nb", true, 0},
		{0xc000000000, 0xc000400000, "rw-p", Dev{}, 0, "[anon: Go: heap]", false, 12 << 10},
		{0xc000400000, 0xc004000000, "---p", Dev{}, 0, "", false, 0},
	}
	if !slices.Equal(list, want) {
		t.Errorf("%+v", list)
	}
	if !list[2].none() || list[1].none() || !list[0].file() || list[1].file() || list[1].special() {
		t.Error("kinds")
	}
	for _, bad := range []string{"x", "1-2 r 0 0:0 0", "Swap: 1 kB", "2-1 rwxp 0 0:0 0", "1-2 rwxp 0 0 0", "1-2 rwxp 0 0:0 x",
		"1-2 rwxp 0 0:0 0\nSwap: x kB"} {
		if l, err := parseMaps(bad); err == nil {
			t.Errorf("%q: %+v", bad, l)
		}
	}
}

func TestMountOf(t *testing.T) {
	list, err := parseMountinfo(`1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 8:2 /sub /a\040b rw,noatime shared:1 master:2 - xfs /dev/sda2 rw,logbsize=32k
3 1 0:9 / /a rw - tmpfs tmpfs rw
4 1 0:10 / /a rw - tmpfs second rw
`)
	if err != nil {
		t.Fatal(err)
	}
	for p, source := range map[string]string{"/": "/dev/sda1", "/a b/c": "/dev/sda2", "/a/x": "second", "/ab": "/dev/sda1", "/a": "second"} {
		if m, ok := mountOf(list, p); !ok || m.source != source {
			t.Errorf("%s: %+v", p, m)
		}
	}
	if _, ok := mountOf(nil, "/"); ok {
		t.Error("no mounts")
	}
	if v := list[1].values("logbsize"); !slices.Equal(v, []string{"32k"}) {
		t.Error(v)
	}
}

func FuzzParseMaps(f *testing.F) {
	f.Add(smapsText)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseMaps(text)
		if err != nil {
			return
		}
		for _, m := range append(codeFiles(list), list...) {
			if m.end < m.start {
				t.Fatalf("%+v", m)
			}
			if m.file() && m.special() {
				t.Fatalf("a file is special: %+v", m)
			}
			_ = m.none() // must not panic
		}
		parseStatus(text)
	})
}

func FuzzParseMountinfo(f *testing.F) {
	f.Add("27 1 0:48 / / rw shared:1 - overlay overlay rw,lowerdir=/a\\134:b:/c,upperdir=/d\n")
	f.Add("27 1 254:1 / /a\\040b rw - ext4 /dev/mapper/x rw\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseMountinfo(text)
		if err != nil {
			return
		}
		mountOf(list, "/a b/c")
		for _, m := range list {
			for _, v := range m.values("lowerdir") {
				for _, d := range splitEscaped(v, ':') {
					if len(dropBackslash(d)) > len(d) {
						t.Fatal(d)
					}
				}
			}
		}
		for _, p := range parseSwaps(text) {
			if p == "" && !strings.Contains(text, "\\") {
				t.Fatal("empty path")
			}
		}
	})
}
