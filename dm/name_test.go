// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"strings"
	"testing"
)

// The pairs were made by dmsetup 1.02.185.
func TestMangle(t *testing.T) {
	for _, tt := range []struct {
		text string
		mode Mangling
		name string // empty: refused
	}{
		{"plain", MangleAuto, "plain"},
		{"#+-.:=@_09azAZ", MangleHex, "#+-.:=@_09azAZ"},
		{"t two", MangleAuto, `t\x20two`},
		{`back\slash`, MangleAuto, `back\x5cslash`},
		{"ünïcode", MangleAuto, `\xc3\xbcn\xc3\xafcode`},
		{"pct%20", MangleAuto, `pct\x2520`},
		{"tab\ttab", MangleAuto, `tab\x09tab`},
		{`x\x20y`, MangleAuto, `x\x20y`},
		{`x\x20z`, MangleHex, `x\x5cx20z`},
		{`mix \x20`, MangleAuto, ""},
		{`\x2`, MangleAuto, ""},
		{`\xzz`, MangleAuto, `\xzz`},
		{"m:\\x2\t\\xzz.", MangleAuto, "m:\\x2\t\\xzz."},
		{"a/b", MangleAuto, ""},
		{"a/b", MangleNone, ""},
		{"", MangleAuto, ""},
		{"a\x00b", MangleNone, ""},
		{"t two", MangleNone, "t two"},
		{strings.Repeat("n", 127), MangleAuto, strings.Repeat("n", 127)},
		{strings.Repeat("n", 128), MangleAuto, ""},
		{strings.Repeat(" ", 32), MangleAuto, ""},
		{strings.Repeat(" ", 31), MangleAuto, strings.Repeat(`\x20`, 31)},
	} {
		got, err := Mangle(tt.text, tt.mode)
		if string(got) != tt.name || (tt.name == "") != errors.Is(err, ErrBadName) {
			t.Errorf("Mangle(%q, %d) = %q, %v; want %q", tt.text, tt.mode, got, err, tt.name)
		}
		if err == nil && tt.mode == MangleHex && got.Unmangle() != tt.text {
			t.Errorf("%q unmangles to %q", got, got.Unmangle())
		}
	}
	if got := Name(`x\x20y`).Unmangle(); got != "x y" {
		t.Errorf("%q", got)
	}
	if u, err := MangleUUID("LVM a", MangleAuto); u != `LVM\x20a` || err != nil {
		t.Errorf("%q %v", u, err)
	}
}

func TestNewNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, `a\x20b`: true, "a b": false, `a\b`: false, ".": false, "..": false, "control": false,
		"a/b": false, "": false, strings.Repeat("x", 128): false, `\xzz`: false,
	} {
		if err := validateNew(name, MaxName, "name", false); (err == nil) != ok || err != nil && !errors.Is(err, ErrBadName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := validateNew("a b", MaxName, "name", true); err != nil {
		t.Error(err)
	}
}

func TestLVMNames(t *testing.T) {
	for _, tt := range []struct {
		name Name
		l    LVMName
	}{
		{"vg-lv", LVMName{"vg", "lv", ""}},
		{"vg--a-lv--b-real", LVMName{"vg-a", "lv-b", "real"}},
		{"vg----x-lv", LVMName{"vg--x", "lv", ""}},
		{"vg-lv_rimage_0", LVMName{"vg", "lv_rimage_0", ""}},
	} {
		if got, ok := ParseLVMName(tt.name); !ok || got != tt.l {
			t.Errorf("%s: %+v %v", tt.name, got, ok)
		}
		if got, err := tt.l.Name(); got != tt.name || err != nil {
			t.Errorf("%+v: %s %v", tt.l, got, err)
		}
	}
	for _, n := range []Name{"plain", "vg-", "-lv", "a-b-c-d", "vg--lv", ""} {
		if got, ok := ParseLVMName(n); ok {
			t.Errorf("%q is no LVM name, got %+v", n, got)
		}
	}
	vg, lv := strings.Repeat("v", 32), strings.Repeat("l", 32)
	for _, l := range []LVMUUID{{vg, lv, ""}, {vg, lv, "real"}} {
		u, err := l.UUID()
		if err != nil {
			t.Fatal(err)
		}
		if back, ok := ParseLVMUUID(u); !ok || back != l {
			t.Errorf("%s: %+v", u, back)
		}
	}
	for _, u := range []UUID{"CRYPT-x", "LVM-short", UUID("LVM-" + vg + lv + "x"), UUID("LVM-" + vg + lv + "-")} {
		if _, ok := ParseLVMUUID(u); ok {
			t.Errorf("%q is no uuid of LVM", u)
		}
	}
}

func TestParseDev(t *testing.T) {
	if d, err := ParseDev("254:3"); err != nil || d != (Dev{254, 3}) || d.String() != "254:3" || d.Path() != "/dev/dm-3" {
		t.Errorf("%v %v", d, err)
	}
	for _, s := range []string{"", "1", "1:", ":1", "4096:0", "0:1048576", "a:b", "1:2:3", "-1:0"} {
		if _, err := ParseDev(s); !errors.Is(err, ErrBadName) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"t two", `x\x20y`, `\x`, `a\x5cx20`, "vg--a-lv--b-real", "ü/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, mode := range []Mangling{MangleAuto, MangleHex} {
			n, err := Mangle(s, mode)
			if err != nil {
				if !errors.Is(err, ErrBadName) {
					t.Fatal(err)
				}
				continue
			}
			if err := validateNew(string(n), MaxName, "uuid", mode == MangleAuto && strings.Contains(s, `\x`)); err != nil {
				t.Fatalf("%q became %q: %v", s, n, err)
			}
			if again, err := Mangle(string(n), MangleAuto); again != n || err != nil {
				t.Fatalf("%q is not stable: %q %v", n, again, err)
			}
			if mode == MangleHex && n.Unmangle() != s {
				t.Fatalf("%q became %q, and back %q", s, n, n.Unmangle())
			}
		}
		if l, ok := ParseLVMName(Name(s)); ok {
			if n, err := l.Name(); err == nil {
				if back, ok := ParseLVMName(n); !ok || back != l {
					t.Fatalf("%+v became %q and %+v", l, n, back)
				}
			}
		}
		ParseLVMUUID(UUID(s))
		ParseDev(s)
	})
}

// What would upset a terminal is not shown as it is, and a label that is not
// the name itself leads back to it.
func TestLabel(t *testing.T) {
	for name, want := range map[Name]string{
		"": "", "lv-1": "lv-1", `a\x20b`: "a b", "a+b": "a+b", `\xc3\xa9`: "é",
		`\x1b[31m`: `\x1b[31m`, `a\x0ab`: `a\x0ab`, `\xff`: `\xff`, `\x5cx41`: `\x5cx41`, `\x41`: `\x41`,
		"raw ü": "raw ü", "raw\x1b[31m\n\x7f": `raw\x1b[31m\x0a\x7f`, "\xff\xc3": `\xff\xc3`, "a\u202eb": `a\xe2\x80\xaeb`, "\ufffd": "\ufffd", `a\`: `a\`,
	} {
		if got := name.Label(); got != want {
			t.Errorf("%q is shown as %q, want %q", name, got, want)
		}
	}
}
