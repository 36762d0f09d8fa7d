// SPDX-License-Identifier: MIT

package kmod

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// elfWith returns the smallest ELF object with a .modinfo section.
func elfWith(modinfo string) []byte {
	names := "\x00.modinfo\x00.shstrtab\x00"
	var b bytes.Buffer
	le := binary.LittleEndian
	put := func(v any) { _ = binary.Write(&b, le, v) }
	dataOff := uint64(64)
	namesOff := dataOff + uint64(len(modinfo))
	shOff := namesOff + uint64(len(names))
	b.WriteString("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	put([]uint16{1, 62}) // relocatable, x86-64
	put(uint32(1))
	put([]uint64{0, 0, shOff})
	put(uint32(0))
	put([]uint16{64, 0, 0, 64, 3, 2})
	b.WriteString(modinfo + names)
	section := func(name, kind uint32, off, size uint64) {
		put([]uint32{name, kind})
		put([]uint64{0, 0, off, size})
		put([]uint32{0, 0})
		put([]uint64{1, 0})
	}
	section(0, 0, 0, 0)
	section(1, 1, dataOff, uint64(len(modinfo)))
	section(10, 3, namesOff, uint64(len(names)))
	return b.Bytes()
}

const raidInfo = "license=GPL\x00description=device-mapper raid456 target\x00" +
	"alias=dm-raid10\x00alias=dm-raid4\x00depends=dm-mod,raid456,md-mod\x00softdep=pre: crc32c xor-lib post: foo-bar\x00" +
	"softdep=post: last\x00vermagic=6.1.0 SMP\x00alias=of:N*T*Csome thing\x00broken"

func TestParseModule(t *testing.T) {
	m, err := ParseModule("kernel/drivers/md/dm-raid.ko", elfWith(raidInfo))
	if err != nil {
		t.Fatal(err)
	}
	want := &Module{
		Name: "dm_raid", Path: "kernel/drivers/md/dm-raid.ko",
		Depends: []string{"dm_mod", "raid456", "md_mod"},
		Pre:     []string{"crc32c", "xor_lib"}, Post: []string{"foo_bar", "last"},
		Aliases: []string{"dm_raid10", "dm_raid4"},
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got  %+v\nwant %+v", m, want)
	}
	if _, err := ParseModule("x.ko", []byte("not ELF")); err == nil {
		t.Error("no error for a file that is not ELF")
	}
	other := bytes.Replace(elfWith("a=b"), []byte(".modinfo"), []byte(".nothing"), 1)
	if _, err := ParseModule("x.ko", other); !errors.Is(err, ErrNotModule) {
		t.Errorf("without .modinfo: %v", err)
	}
}

func TestLibcrc32cNeedsGeneric(t *testing.T) {
	m := parseModinfo("kernel/lib/libcrc32c.ko", []byte("softdep=pre: crc32c\x00"))
	if want := []string{"crc32c", "crc32c_generic"}; !slices.Equal(m.Pre, want) {
		t.Errorf("Pre = %v, want %v", m.Pre, want)
	}
}

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"dm-raid": "dm_raid", "a_b-c": "a_b_c", "pci:v0[1-3]-x": "pci:v0[1-3]_x", "": "",
	} {
		if got := Canonical(in); got != want {
			t.Errorf("Canonical(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"dm_raid", "dm_raid", true}, {"dm_raid", "dm_raid1", false},
		{"block_major_7_*", "block_major_7_0", true}, {"block_major_7_*", "block_major_70_0", false},
		{"pci:v*d*sv*", "pci:v00001AF4d00001001sv00001AF4", true}, {"a*/b", "a/x/b", true},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"x[0-9a]z", "x5z", true}, {"x[0-9a]z", "xaz", true},
		{"x[0-9a]z", "xbz", false}, {"x[", "x[", false}, {"*", "", true}, {"**a*", "bca", true}, {"", "", true}, {"", "a", false},
		{"a*b*c", "a1b2b3", false}, {"a*b*c", "a1b2b3c", true},
	} {
		if got := match(c.pattern, c.name); got != c.want {
			t.Errorf("match(%q, %q) = %v, want %v", c.pattern, c.name, got, c.want)
		}
	}
}

func exampleIndex() *Index {
	x := NewIndex()
	for _, m := range []*Module{
		{Name: "dm_mod", Path: "kernel/drivers/md/dm-mod.ko", Aliases: []string{"devname:mapper/control", "char_major_10_236"}},
		{Name: "raid456", Path: "kernel/drivers/md/raid456.ko", Depends: []string{"libcrc32c", "builtin_one"}},
		{Name: "libcrc32c", Path: "kernel/lib/libcrc32c.ko", Pre: []string{"crc32c", "absent"}},
		{Name: "crc32c_generic", Path: "kernel/crypto/crc32c_generic.ko", Aliases: []string{"crc32c", "crypto_crc32c"}},
		{Name: "crc32c_intel", Path: "kernel/arch/x86/crypto/crc32c-intel.ko", Aliases: []string{"crc32c", "crypto_crc32c"}},
		{Name: "dm_raid", Path: "kernel/drivers/md/dm-raid.ko", Depends: []string{"dm_mod", "raid456"}, Post: []string{"late"}},
		{Name: "late", Path: "kernel/late.ko"},
		{Name: "loop", Path: "kernel/drivers/block/loop.ko", Aliases: []string{"block_major_7_*"}},
		{Name: "orphan", Path: "kernel/orphan.ko", Depends: []string{"gone"}},
		{Name: "cycle_a", Path: "kernel/cycle_a.ko", Pre: []string{"cycle_b"}},
		{Name: "cycle_b", Path: "kernel/cycle_b.ko", Pre: []string{"cycle_a"}},
	} {
		x.Add(m)
	}
	x.AddBuiltin([]byte("kernel/builtin-one.ko\nkernel/fs/ext4.ko\n"), []byte("ext4.alias=fs-ext3\x00ext4.license=GPL\x00pci.alias=pci:v*\x00"))
	return x
}

func names(steps []Step) string {
	var list []string
	for _, s := range steps {
		n := s.Name
		if s.Optional {
			n += "?"
		}
		list = append(list, n)
	}
	return strings.Join(list, " ")
}

func TestResolve(t *testing.T) {
	x := exampleIndex()
	data := new(bytes.Buffer)
	if err := x.Write(data); err != nil {
		t.Fatal(err)
	}
	read, err := ReadIndex(data.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, want string }{
		{"dm-raid", "dm_mod crc32c_generic? crc32c_intel? libcrc32c raid456 dm_raid late?"},
		{"loop", "loop"}, {"block-major-7-3", "loop"}, {"devname:mapper/control", "dm_mod"},
		{"crypto-crc32c", "crc32c_generic? crc32c_intel?"},
		{"ext4", ""}, {"fs-ext3", ""}, {"builtin_one", ""}, {"pci:v1", ""},
		{"cycle_a", "cycle_b? cycle_a"},
	} {
		for kind, x := range map[string]*Index{"built": x, "read": read} {
			steps, err := x.Resolve(c.name)
			if got := names(steps); err != nil || got != c.want {
				t.Errorf("%s index: Resolve(%s) = %q, %v; want %q", kind, c.name, got, err, c.want)
			}
		}
	}
	for _, n := range []string{"nothing", "orphan", ""} {
		if _, err := x.Resolve(n); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Resolve(%q): %v, want fs.ErrNotExist", n, err)
		}
	}
}

func TestSelect(t *testing.T) {
	y := exampleIndex().Select(func(m *Module) bool { return m.Name == "dm_raid" })
	want := []string{"crc32c_generic", "crc32c_intel", "dm_mod", "dm_raid", "late", "libcrc32c", "raid456"}
	if got := y.Names(); !slices.Equal(got, want) {
		t.Errorf("Names() = %v, want %v", got, want)
	}
	if !y.Builtin("ext4") || y.Builtin("loop") {
		t.Error("built-in modules are not those of the whole index")
	}
}

func TestReadIndexRejects(t *testing.T) {
	for _, s := range []string{"d x\n", "m a b\n", "q\n", "m a.ko\nz y\n"} {
		if _, err := ReadIndex([]byte(s)); err == nil {
			t.Errorf("no error for %q", s)
		}
	}
}

func FuzzReadIndex(f *testing.F) {
	var b bytes.Buffer
	_ = exampleIndex().Write(&b)
	f.Add(b.Bytes(), "dm-raid")
	f.Add([]byte("m x.ko\na a*[b\nb c? d\n"), "a1")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		x, err := ReadIndex(data)
		if err != nil {
			return
		}
		_, _ = x.Resolve(name)
		var out bytes.Buffer
		if err := x.Write(&out); err != nil {
			t.Fatal(err)
		}
		y, err := ReadIndex(out.Bytes())
		if err != nil {
			t.Fatalf("cannot read what Write wrote: %v\n%s", err, out.Bytes())
		}
		if !slices.Equal(x.Names(), y.Names()) {
			t.Errorf("names %v, read back %v", x.Names(), y.Names())
		}
	})
}

func FuzzParseModule(f *testing.F) {
	f.Add(elfWith(raidInfo))
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseModule("kernel/x.ko", data)
		if err != nil {
			return
		}
		x := NewIndex()
		x.Add(m)
		_, _ = x.Resolve("x")
	})
}
