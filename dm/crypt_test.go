// SPDX-License-Identifier: MIT

package dm

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestKey(t *testing.T) {
	raw := []byte{0, 1, 0xab, 0xff}
	k := NewKey(raw)
	if k.Reveal() != "0001abff" || k.Size() != 4 || k.IsZero() || k.InKeyring() || k != NewKey([]byte{0, 1, 0xab, 0xff}) || k == NewKey(raw[:2]) {
		t.Errorf("%q", k.Reveal())
	}
	if NewKey(nil) != (Key{}) || (Key{}).Reveal() != "-" || (Key{}).String() != "-" || (Key{}).Size() != 0 || !NewKey([]byte{}).IsZero() {
		t.Error("the zero key is not that of no bytes")
	}
	ref := KeyringKey(32, "logon", "cryptsetup:a:b")
	if ref.Reveal() != ":32:logon:cryptsetup:a:b" || ref.String() != ref.Reveal() || ref.Size() != 32 || !ref.InKeyring() || ref.Validate() != nil {
		t.Errorf("%q", ref.Reveal())
	}
	for _, text := range []string{"-", "00", "0001abff", ":1:user:x", ":64:encrypted:y", ":64:trusted:z:z"} {
		if k, err := ParseKey(text); err != nil || k.Reveal() != text {
			t.Errorf("%q came back as %q, %v", text, k.Reveal(), err)
		}
	}
	if k, err := ParseKey("ABCDEF"); err != nil || k != NewKey([]byte{0xab, 0xcd, 0xef}) {
		t.Errorf("upper case: %v %v", k.Reveal(), err)
	}
	for _, text := range []string{
		"", "0", "abc", "0g", "00 ", ":", ":32", ":32:user", ":32:user:", ":x:user:a", ":0:user:a", ":032:user:a", ":32:bad:a",
		":32:user:a b", `:32:user:a\b`, ":99999999999:user:a", "--", strings.Repeat("00", maxKeySize+1),
	} {
		if k, err := ParseKey(text); err == nil || !k.IsZero() {
			t.Errorf("%q was taken", text)
		} else if len(text) > 3 && strings.Contains(err.Error(), text) {
			t.Errorf("%q is in its error: %v", text, err)
		}
	}
}

// Whatever holds a key, and however it is printed, the key is not seen.
func TestKeyIsNotPrinted(t *testing.T) {
	const secret = "c0ffee115ec3e742c0ffee115ec3e742"
	k, err := ParseKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	type hidden struct {
		k Key
		c Crypt
		p *Key
	}
	values := []any{
		k, &k, []Key{k}, map[Key]int{k: 1}, map[string]Key{"a": k}, hidden{k, Crypt{Key: k}, &k}, &hidden{k: k},
		Crypt{Cipher: "aes", Key: k}, &Crypt{Key: k}, Table{}.Append(8, Crypt{Key: k}), Segment{0, 8, Crypt{Key: k}},
		Integrity{InternalHash: Alg{"hmac(sha256)", k}}, Table{}.Append(8, Integrity{JournalMAC: Alg{"x", k}}),
		SetKey{k}, []TargetMessage{SetKey{k}}, fmt.Errorf("%w with %v", errors.New("x"), k),
	}
	for _, v := range values {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%t", "%p", "%U", "%c", "%e", "%10.3v", "%T", "%!"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		fmt.Fprintln(&out, v)
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
		if b, err := xml.Marshal(v); err == nil {
			out.Write(b)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		shown := strings.ToLower(out.String())
		for _, s := range []string{secret[:8], fmt.Sprintf("%x", secret)[:16]} {
			if i := strings.Index(shown, s); i >= 0 {
				t.Errorf("%T is shown as %.120q", v, shown[i:])
			}
		}
	}
}

func cryptLines(t testing.TB) (tried, printed []string) {
	t.Helper()
	data, err := os.ReadFile("testdata/targets/crypt-6.1.192.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if s, ok := strings.CutPrefix(line, "TRY "); ok {
			tried = append(tried, strings.TrimSpace(s))
		} else if s, ok := strings.CutPrefix(line, "  TAB "); ok {
			printed = append(printed, strings.TrimSpace(s))
		}
	}
	return tried, printed
}

// cryptSeeds start the fuzzer of tables.
func cryptSeeds(t testing.TB) []string {
	tried, printed := cryptLines(t)
	return append(append(tried, printed...), "0 8 crypt a 00 0 b 0 3 high_priority integrity:1:aead integrity_key_size:9",
		"0 8 integrity a 0 - I 5 internal_hash:x:00 journal_crypt:y:01 journal_mac:z:02 meta_device:q sectors_per_bit:77",
		"0 8 verity 1 a b 4096 4096 1 0 sha256 00 - 3 panic_on_error root_hash_sig_key_desc x")
}

// What the kernel printed is typed, valid, prints the same, and shows no key,
// typed or not; nor do the errors of what can't be parsed.
func TestRecordedCryptTables(t *testing.T) {
	tried, printed := cryptLines(t)
	const key = "0123456789abcdef0123456789abcdef"
	for _, line := range printed {
		tab, err := ParseTable(line)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if err := tab.Validate(); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		if got := strings.TrimSpace(tab.Format()); got != line {
			t.Errorf("%q is printed as %q", line, got)
		}
		again, err := ParseTable(tab.Format())
		if err != nil || !reflect.DeepEqual(again, tab) {
			t.Errorf("%q came back as %v, %v", line, again, err)
		}
	}
	for _, line := range tried {
		w := strings.SplitN(line, " ", 4)
		if w[2] == "verity" {
			continue
		}
		raw := Raw{w[2], w[3] + " some_newer_option:1"}
		if shown := fmt.Sprintf("%v %+v %#v", raw, raw, raw); strings.Contains(shown, key) {
			t.Errorf("%q shows as %q", raw.Text, shown)
		}
		tab, err := ParseTable(line)
		if err != nil {
			if strings.Contains(err.Error(), key) {
				t.Errorf("%v", err)
			}
			continue
		}
		target := tab[0].Target
		if typed, untyped := targetString(target), (Raw{w[2], target.Params()}).String(); typed != untyped || strings.Contains(typed, key) {
			t.Errorf("typed %q, raw %q", typed, untyped)
		}
		if err := tab.Validate(); err != nil && strings.Contains(err.Error(), key) {
			t.Errorf("%v", err)
		}
	}
	// A key that stands where it does not belong.
	for _, bad := range []string{
		"0 8 crypt " + key + " aes 0 /dev/x 0", "0 8 crypt aes 0 " + key + " /dev/x 0", "0 8 crypt aes 00 0 /dev/x " + key,
		"0 8 crypt aes 00 0 /dev/x 0 1 " + key, "0 8 crypt aes 00 0 /dev/x 0 1 sector_size:" + key, "0 8 crypt aes " + key + "g 0 /dev/x 0",
		"0 8 integrity /dev/x 0 " + key + " J 0", "0 8 integrity /dev/x 0 - J 1 " + key, "0 8 integrity /dev/x 0 - J 1 internal_hash:x:" + key + "z",
		"0 8 integrity /dev/x 0 - J 1 journal_mac:" + key + ":" + key[:31], "0 8 integrity /dev/x 0 - " + key + " 0",
	} {
		tab, err := ParseTable(bad)
		if err != nil && !errors.Is(err, ErrBadTable) || strings.Contains(fmt.Sprint(err), key) {
			t.Errorf("%q: %v", bad, err)
		}
		if err == nil && tab.Validate() == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestMessagesWithKeys(t *testing.T) {
	k := NewKey([]byte("0123456789abcdef"))
	if got := (SetKey{k}).Text(); got != "key set "+k.Reveal() {
		t.Errorf("%q", got)
	}
	if got := messageSecrets((SetKey{k}).Text()); len(got) != 1 || got[0] != k.Reveal() {
		t.Errorf("%d secrets", len(got))
	}
	if got := messageSecrets((SetKey{KeyringKey(16, "user", "a")}).Text()); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got := messageSecrets("key set :c0ffee"); len(got) != 1 {
		t.Errorf("what only looks like the keyring is shown: %q", got)
	}
	for _, m := range []TargetMessage{SetKey{}, SetKey{k}, WipeKey{}} {
		if m.TargetType() != "crypt" || m.Validate() != nil {
			t.Errorf("%v: %v", m, m.Validate())
		}
	}
	if (SetKey{KeyringKey(0, "", "")}).Validate() == nil {
		t.Error("a key that can't be was taken")
	}
}

func TestCryptValidate(t *testing.T) {
	good := Crypt{Cipher: "aes-xts-plain64", Key: NewKey(make([]byte, 64)), Device: "/dev/x"}
	integrity := Integrity{Device: "/dev/x", InternalHash: Alg{Name: "crc32c"}}
	verity := Verity{Device: "a", HashDevice: "b", DataBlockSize: 4096, HashBlockSize: 4096, DataBlocks: 1024, Algorithm: "sha256", RootDigest: strings.Repeat("00", 32)}
	type bad struct {
		target Target
		says   string
	}
	var list []bad
	for _, c := range []struct {
		says   string
		change func(c *Crypt)
	}{
		{"", func(*Crypt) {}},
		{"", func(c *Crypt) { c.Cipher = "aes:64-cbc-lmk" }},
		{"", func(c *Crypt) { c.Cipher, c.Key = "capi:ecb(cipher_null)", Key{} }},
		{"", func(c *Crypt) { c.Cipher, c.Integrity = "capi:gcm(aes)-random", CryptIntegrity{28, true} }},
		{"", func(c *Crypt) { c.Key = KeyringKey(64, "trusted", "k") }},
		{"", func(c *Crypt) {
			*c = Crypt{
				Cipher: "aes-cbc-essiv:sha256", Key: NewKey([]byte{3}), IVOffset: 8, Device: `/dev/a b\c`, Offset: 9, AllowDiscards: true, SameCPUCrypt: true,
				HighPriority: true, SubmitFromCryptCPUs: true, NoReadWorkqueue: true, NoWriteWorkqueue: true, Integrity: CryptIntegrity{TagSize: 480},
				IntegrityKeySize: 1, SectorSize: 2048, IVLargeSectors: true,
			}
		}},
		{"empty device", func(c *Crypt) { c.Device = "" }},
		{"cipher is empty", func(c *Crypt) { c.Cipher = "" }},
		{"blank", func(c *Crypt) { c.Cipher = "aes x" }},
		{"power of 2", func(c *Crypt) { c.Cipher = "aes:3-cbc-plain" }},
		{"no IV", func(c *Crypt) { c.Cipher = "aes-cbc" }},
		{"digest", func(c *Crypt) { c.Cipher = "aes-cbc-essiv" }},
		{"digest", func(c *Crypt) { c.Cipher = "capi:cbc(aes)-essiv" }},
		{"capi:", func(c *Crypt) { c.Cipher = "xts(aes)-plain64" }},
		{"capi:", func(c *Crypt) { c.Integrity = CryptIntegrity{28, true} }},
		{"needs one", func(c *Crypt) { c.Key = Key{} }},
		{"takes no key", func(c *Crypt) { c.Cipher = "cipher_null-ecb" }},
		{"hex digits", func(c *Crypt) { c.Key = textKey("abc") }},
		{"tag of 481", func(c *Crypt) { c.Integrity.TagSize = 481 }},
		{"tag of 0", func(c *Crypt) { c.Cipher, c.Integrity.AEAD = "capi:gcm(aes)-random", true }},
		{"sector size", func(c *Crypt) { c.SectorSize = 1000 }},
		{"sector size", func(c *Crypt) { c.SectorSize = 8192 }},
		{"length 1028", func(c *Crypt) { c.SectorSize = 4096 }},
		{"IV offset", func(c *Crypt) { c.SectorSize, c.IVOffset = 1024, 3 }},
	} {
		v := good
		c.change(&v)
		list = append(list, bad{v, c.says})
	}
	ms := func(d time.Duration) *time.Duration { return &d }
	for _, c := range []struct {
		says   string
		change func(i *Integrity)
	}{
		{"", func(*Integrity) {}},
		{"", func(i *Integrity) { i.Mode = IntegrityInline }},
		{"empty device", func(i *Integrity) { i.Device = "" }},
		{"tag size", func(i *Integrity) { i.InternalHash = Alg{} }},
		{"tag of 425", func(i *Integrity) { i.TagSize = 425 }},
		{"block size", func(i *Integrity) { i.BlockSize = 8192 }},
		{"length 1028", func(i *Integrity) { i.BlockSize = 4096 }},
		{"mode 5", func(i *Integrity) { i.Mode = 5 }},
		{"101 percent", func(i *Integrity) { i.JournalWatermark = new(uint8(101)) }},
		{"is not a 32-bit number", func(i *Integrity) { i.CommitTime = ms(1) }},
		{"is not a 32-bit number", func(i *Integrity) { i.BitmapFlushInterval = ms(-time.Millisecond) }},
		{"32 bits", func(i *Integrity) { i.JournalSectors = 1 << 32 }},
		{"need internal_hash", func(i *Integrity) { i.InternalHash, i.TagSize, i.Mode = Alg{}, 4, IntegrityBitmap }},
		{"need internal_hash", func(i *Integrity) { i.InternalHash, i.TagSize, i.Recalculate = Alg{}, 4, true }},
		{"inline mode", func(i *Integrity) { i.Mode, i.MetaDevice = IntegrityInline, "/dev/y" }},
		{"inline mode", func(i *Integrity) { i.Mode, i.JournalSectors = IntegrityInline, 8 }},
		{"power of 2", func(i *Integrity) { i.SectorsPerBit = 1000 }},
		{"", func(i *Integrity) {
			*i = Integrity{
				Device: "/dev/x", Offset: 1, TagSize: 9, Mode: IntegrityBitmap, MetaDevice: "/dev/y", BlockSize: 4096, Recalculate: true,
				ResetRecalculate: true, AllowDiscards: true, AllowDiscardsKeyed: true, JournalSectors: 3, InterleaveSectors: 5, FixPadding: true, BufferSectors: 7,
				JournalWatermark: new(uint8(0)), CommitTime: ms(0), SectorsPerBit: 1 << 40, BitmapFlushInterval: ms(time.Second), FixHMAC: true,
				LegacyRecalculate: true, InternalHash: Alg{"a", NewKey([]byte{1})}, JournalCrypt: Alg{"b", NewKey([]byte{2})}, JournalMAC: Alg{Name: "c"},
			}
		}},
		{"without an algorithm", func(i *Integrity) { i.JournalMAC.Key = NewKey([]byte{1}) }},
		{"keyring", func(i *Integrity) { i.JournalMAC = Alg{"hmac(sha256)", KeyringKey(8, "user", "a")} }},
		{"colon", func(i *Integrity) { i.JournalMAC = Alg{Name: "a:b"} }},
		{"journal_crypt", func(i *Integrity) { i.JournalCrypt = Alg{"a", textKey("g0")} }},
	} {
		v := integrity
		c.change(&v)
		list = append(list, bad{v, c.says})
	}
	for _, c := range []struct {
		says   string
		change func(v *Verity)
	}{
		{"", func(*Verity) {}},
		{"empty device", func(v *Verity) { v.HashDevice = "" }},
		{"", func(v *Verity) {
			*v = Verity{
				ChromeOS: true, Device: "a", HashDevice: "b c", DataBlockSize: 512, HashBlockSize: 512, DataBlocks: 4096, HashStart: 3, Algorithm: "sha512",
				RootDigest: strings.Repeat("0a", 64), Salt: "f0", OnCorruption: VerityPanic, OnError: VerityRestart, IgnoreZeroBlocks: true,
				CheckAtMostOnce: true, TryVerifyInTasklet: true, FEC: VerityFEC{"c", 24, 1 << 20, 9}, RootHashSigKeyDesc: "d",
			}
		}},
		{"data block size", func(v *Verity) { v.DataBlockSize = 0 }},
		{"hash block size", func(v *Verity) { v.HashBlockSize = 0 }},
		{"data block size", func(v *Verity) { v.DataBlockSize = 128 << 10 }},
		{"less than the length", func(v *Verity) { v.DataBlocks = 127 }},
		{"multiple", func(v *Verity) { v.DataBlockSize = 4096 << 1 }},
		{"beyond any device", func(v *Verity) { v.DataBlocks = 1 << 60 }},
		{"beyond any device", func(v *Verity) { v.HashStart = 1 << 60 }},
		{"no algorithm", func(v *Verity) { v.Algorithm = "" }},
		{"blank", func(v *Verity) { v.RootHashSigKeyDesc = "a b" }},
		{"salt", func(v *Verity) { v.Salt = "AB" }},
		{"root digest", func(v *Verity) { v.RootDigest = "" }},
		{"root digest", func(v *Verity) { v.Algorithm = "sha1" }},
		{"two digests", func(v *Verity) { v.RootDigest, v.Algorithm, v.HashBlockSize = strings.Repeat("0", 1024), "x", 512 }},
		{"on corruption", func(v *Verity) { v.OnCorruption = 4 }},
		{"on error", func(v *Verity) { v.OnError = VerityIgnore }},
		{"check_at_most_once", func(v *Verity) { v.CheckAtMostOnce, v.DataBlocks = true, 1<<31 }},
		{"without a device", func(v *Verity) { v.FEC.Roots = 2 }},
		{"25 roots", func(v *Verity) { v.FEC = VerityFEC{"c", 25, 2000, 0} }},
		{"covers 1030 blocks", func(v *Verity) { v.FEC = VerityFEC{"c", 2, 1030, 0} }},
		{"", func(v *Verity) { v.FEC = VerityFEC{"c", 2, 1033, 0} }}, // 1024, 8 and the top
		{"one size", func(v *Verity) { v.FEC, v.HashBlockSize = VerityFEC{"c", 2, 2000, 0}, 1024 }},
	} {
		v := verity
		c.change(&v)
		list = append(list, bad{v, c.says})
	}
	for _, tt := range list {
		length := Sectors(1028)
		if tt.says == "" || tt.target.TargetType() == "verity" {
			length = 1024
		}
		if tt.says == "multiple" {
			length = 1032
		}
		err := Table{}.Append(length, tt.target).Validate()
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%v: %v, want %q", tt.target, err, tt.says)
		}
		if err == nil {
			p := tt.target.Params()
			back, err := parseTarget(tt.target.TargetType(), p, nil)
			if err != nil || !reflect.DeepEqual(back, tt.target) {
				t.Errorf("%v came back as %v, %v", tt.target, back, err)
			}
		}
	}
}

func TestVerityExtents(t *testing.T) {
	for _, tt := range []struct {
		blocks uint64
		block  uint32
		digest int
		want   uint64
	}{{1, 4096, 32, 0}, {2, 4096, 32, 1}, {128, 4096, 32, 1}, {129, 4096, 32, 3}, {128 * 128, 4096, 32, 129}, {2048, 512, 32, 128 + 8 + 1}, {100, 4096, 48, 3}} {
		v := Verity{Device: "a", HashDevice: "b", DataBlockSize: 4096, HashBlockSize: tt.block, DataBlocks: tt.blocks, HashStart: 2, RootDigest: strings.Repeat("00", tt.digest)}
		unit := Sectors(tt.block / 512)
		want := []Extent{{"a", 0, 8}, {"b", 2 * unit, Sectors(tt.want) * unit}}
		if got := v.Extents(8); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: %v, want %v", tt, got, want)
		}
	}
}

func TestCryptStatuses(t *testing.T) {
	for text, want := range map[string]any{
		"0 64664 -":     IntegrityStatus{Provided: 64664},
		"3 64664 32768": IntegrityStatus{3, 64664, true, 32768},
		"V":             VerityStatus{},
		"C":             VerityStatus{Corrupted: true},
		"V -":           VerityStatus{FECReported: true},
		"C 12":          VerityStatus{true, true, true, 12},
	} {
		typ := strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", want), "dm."), "Status"))
		got, err := Status{Type: typ, Text: text}.Typed()
		if err != nil || any(got) != want || got.String() != text {
			t.Errorf("%q came back as %+v, %v", text, got, err)
		}
		if n := testing.AllocsPerRun(10, func() {
			ParseIntegrityStatus("3 64664 32768")
			ParseVerityStatus("C 1")
		}); n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
	for _, bad := range []string{"", "0", "0 1", "x 1 -", "0 1 x", "0 1 - 2"} {
		if _, err := ParseIntegrityStatus(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("integrity %q: %v", bad, err)
		}
	}
	for _, bad := range []string{"", "X", "V x", "V 1 2", "V - -", "- V"} {
		if _, err := ParseVerityStatus(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("verity %q: %v", bad, err)
		}
	}
	if s, err := (Status{Type: "crypt"}).Typed(); s != nil || err != nil {
		t.Errorf("crypt: %v %v", s, err)
	}
}
