// SPDX-License-Identifier: MIT

package blockdev

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// image builds a sparse device of pieces; negative offsets count from the end.
type image map[int64]string

func (m image) device(size int64) *sparse {
	s := &sparse{size: size}
	for off, text := range m {
		if off < 0 {
			off += size
		}
		s.pieces = append(s.pieces, piece{off, []byte(text)})
	}
	slices.SortFunc(s.pieces, func(a, b piece) int { return cmp.Compare(a.off, b.off) })
	return s
}

func le16(v uint16) string { return string(binary.LittleEndian.AppendUint16(nil, v)) }
func le32(v uint32) string { return string(binary.LittleEndian.AppendUint32(nil, v)) }
func le64(v uint64) string { return string(binary.LittleEndian.AppendUint64(nil, v)) }
func be16(v uint16) string { return string(binary.BigEndian.AppendUint16(nil, v)) }
func be32(v uint32) string { return string(binary.BigEndian.AppendUint32(nil, v)) }
func be64(v uint64) string { return string(binary.BigEndian.AppendUint64(nil, v)) }
func zeros(n int) string   { return strings.Repeat("\x00", n) }

const someUUID = "\x01\x23\x45\x67\x89\xab\x4c\xde\x8f\x01\x23\x45\x67\x89\xab\xcd"

// xdr is a name-value pair of ZFS.
func xdr(name string, value string) string {
	n := len(name)
	body := be32(uint32(n)) + name + zeros((4-n%4)%4) + value
	return be32(uint32(8+len(body))) + be32(0) + body
}

// Formats that no tool here makes: built by their specification.
func TestProbeBuilt(t *testing.T) {
	const mib = 1 << 20
	md1 := func(sector uint64) string {
		b := []byte(le32(0xa92b4efc) + le32(1) + zeros(8) + someUUID + "host:0" + zeros(26) + zeros(80) + le64(sector) + zeros(104))
		b = b[:256]
		var sum uint64
		for i := 0; i < 256; i += 4 {
			sum += uint64(le.Uint32(b[i:]))
		}
		le.PutUint32(b[216:], uint32(sum)+uint32(sum>>32))
		return string(b)
	}
	md0 := func(order binary.AppendByteOrder, cmp binary.ByteOrder) string {
		u := func(v uint32) string { return string(order.AppendUint32(nil, v)) }
		b := []byte(u(0xa92b4efc) + u(0) + u(90) + u(0) + u(0) + u(0x01234567) + zeros(28) + u(0x89ab4cde) + u(0x8f012345) + u(0x6789abcd) + zeros(4096-64))
		var sum uint64
		for i := 0; i < len(b); i += 4 {
			sum += uint64(cmp.Uint32(b[i:]))
		}
		cmp.PutUint32(b[152:], uint32(sum)+uint32(sum>>32))
		return string(b)
	}
	zfsLabel := zeros(0) + "\x01\x01\x00\x00" + be32(0) + be32(1) +
		xdr("version", be32(8)+be32(1)+be64(5000)) +
		xdr("name", be32(9)+be32(1)+be32(4)+"tank") +
		xdr("pool_guid", be32(8)+be32(1)+be64(12345)) + be32(0) + be32(0)
	bch := func(sector uint64) string {
		return zeros(16) + le16(1026) + zeros(6) + "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef" +
			zeros(16) + someUUID + "bch" + zeros(29) + le64(sector) + zeros(144)
	}
	gpt := func(bs, lba, alt, entries int64) string {
		e := crc32.ChecksumIEEE(make([]byte, 512))
		h := []byte("EFI PART" + le32(0x10000) + le32(92) + le32(0) + le32(0) + le64(uint64(lba)) + le64(uint64(alt)) +
			zeros(16) + someUUID + le64(uint64(entries)) + le32(4) + le32(128) + le32(e))
		binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h))
		return string(h)
	}
	fve := zeros(0) + "\xeb\x58\x90-FVE-FS-" + zeros(165) + le64(mib)
	tests := []struct {
		name string
		size int64
		img  image
		want string
	}{
		{"empty", 8 * mib, nil, ""},
		{"md 1.0", 8*mib + 512, image{8*mib - 8192: md1((8*mib - 8192) / 512)}, "linux_raid_member 1.0 at 8380416 label \"host:0\" uuid 01234567-89ab-4cde-8f01-23456789abcd"},
		{"md 1.1", 8 * mib, image{0: md1(0)}, "linux_raid_member 1.1 at 0 label \"host:0\" uuid 01234567-89ab-4cde-8f01-23456789abcd"},
		{"md 1.2", 8 * mib, image{4096: md1(8)}, "linux_raid_member 1.2 at 4096 label \"host:0\" uuid 01234567-89ab-4cde-8f01-23456789abcd"},
		{"md 1.2 of another place", 8 * mib, image{4096: md1(16)}, ""},
		{"md 0.90", 8*mib + 65535, image{8*mib - 65536: md0(le, le)}, "linux_raid_member 0.90.0 at 8323072 uuid 01234567-89ab-4cde-8f01-23456789abcd"},
		{"md 0.90 big-endian", 8 * mib, image{8*mib - 65536: md0(be, be)}, "linux_raid_member 0.90.0 at 8323072 uuid 01234567-89ab-4cde-8f01-23456789abcd"},
		{"zfs", 64*mib + 100000, image{
			16 << 10: zfsLabel, 128<<10 + 2048: le64(0x00bab10c),
			64*mib - 512<<10 + 128<<10: be64(0x00bab10c), 64*mib - 256<<10 + 16<<10: zfsLabel,
		}, `zfs_member 5000 at 133120 label "tank" uuid 12345
zfs_member backup at 66715648
zfs_member 5000 backup at 66863104 label "tank" uuid 12345`},
		{"bcachefs", 16 * mib, image{
			7 * 512: "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef" + "\x00\x0b\x02" + zeros(5) + le64(8) + le64(16),
			4096:    bch(8), 8192: bch(16), 15 * mib: bch(15 * mib / 512),
		}, `bcachefs 1026 at 4120 label "bch" uuid 01234567-89ab-4cde-8f01-23456789abcd
bcachefs 1026 backup at 8216 label "bch" uuid 01234567-89ab-4cde-8f01-23456789abcd
bcachefs 1026 backup at 15728664 label "bch" uuid 01234567-89ab-4cde-8f01-23456789abcd`},
		{"gpt of 4 KiB blocks", 8 * mib, image{
			4096: gpt(4096, 1, 2047, 2), 8*mib - 4096: gpt(4096, 2047, 1, 2046),
		}, `gpt at 4096 uuid 67452301-ab89-de4c-8f01-23456789abcd
gpt backup at 8384512 uuid 67452301-ab89-de4c-8f01-23456789abcd`},
		{"gpt grown", 8 * mib, image{512: gpt(512, 1, 8191, 2), 4*mib - 512: gpt(512, 8191, 1, 8000)},
			`gpt at 512 uuid 67452301-ab89-de4c-8f01-23456789abcd
gpt backup at 4193792 uuid 67452301-ab89-de4c-8f01-23456789abcd`},
		{"gpt damaged", 8 * mib, image{512: gpt(512, 3, 4, 2)}, "gpt (damaged) at 512 uuid 67452301-ab89-de4c-8f01-23456789abcd"},
		{"bitlocker", 8 * mib, image{0: fve, mib: "-FVE-FS-" + le16(0) + le16(2) + zeros(68) + someUUID}, "BitLocker 2 at 3 uuid 67452301-ab89-de4c-8f01-23456789abcd"},
		{"bitlocker as MBR", 8 * mib, image{0: fve, 510: "\x55\xaa"}, "BitLocker at 3"},
		{"integrity", mib, image{0: "integrt\x00\x04"}, "DM_integrity 4 at 0"},
		{"vdo", mib, image{0: "dmvdo001", 40: someUUID}, "vdo at 0 uuid 01234567-89ab-4cde-8f01-23456789abcd"},
		{"clone damaged", mib, image{32: le64(0x8af27f64)}, "DM_clone_metadata (damaged) at 32"},
		{"writecache", mib, image{0: le32(0x23489321) + le32(2)}, "DM_writecache 2 at 0"},
		{"zoned", mib, image{0: "DZBD"}, "DM_zoned at 0"},
		{"mirror log", mib, image{0: le32(0x4D695272)}, "DM_mirror_log at 0"},
		{"log-writes", mib, image{0: le64(0x6a736677736872)}, "DM_log_writes at 0"},
		{"bluestore", mib, image{0: "bluestore block device\n01234567-89ab-4cde-8f01-23456789abcd\n"}, "ceph_bluestore at 0 uuid 01234567-89ab-4cde-8f01-23456789abcd"},
		{"ddf", mib, image{-512: be32(0xDE11DE11) + zeros(4) + "LINUXMD 0123456789abcdef" + "02.00.00"}, "ddf_raid_member 02.00.00 at 1048064 uuid LINUXMD 0123456789abcdef"},
		{"ddf second", mib, image{-257 * 512: be32(0xDE11DE11)}, "ddf_raid_member at 916992 uuid " + strings.Repeat("0", 48)},
		{"intel", mib, image{-1024: "Intel Raid ISM Cfg Sig. 1.3.00"}, "isw_raid_member 1.3.00 at 1047552"},
		{"intel 4Kn", mib, image{-8192: "Intel Raid ISM Cfg Sig. 1.3.00"}, "isw_raid_member 1.3.00 at 1040384"},
		{"promise", 4 * mib, image{-63 * 512: "Promise Technology, Inc."}, "promise_fasttrack_raid_member at 4162048"},
		{"nvidia", mib, image{-1024: "NVIDIA"}, "nvidia_raid_member at 1047552"},
		{"lsi", mib, image{-512: "$XIDE$"}, "lsi_mega_raid_member at 1048064"},
		{"stratis", mib, image{516: "!Stra0tis\x86\xff\x02^\x41rh", 4612: "!Stra0tis\x86\xff\x02^\x41rh"}, "stratis at 516\nstratis backup at 4612"},
		{"suspend", mib, image{4086: "S1SUSPEND\x00"}, "swsuspend at 4086"},
		{"suspend 64K", mib, image{65526: "LINHIB0001"}, "swsuspend at 65526"},
		{"old swap", mib, image{8182: "SWAP-SPACE"}, "swap 0 at 8182"},
		{"hfsplus", mib, image{
			1024: "H+" + be16(4) + zeros(36) + be32(4096), -1024: "HX" + be16(5) + zeros(36) + be32(4096),
		}, "hfsplus 4 at 1024\nhfsplus 5 backup at 1047552"},
		{"lvm damaged", mib, image{0: "LABELONE" + le64(0) + le32(1) + le32(32) + "LVM2 001" + strings.Repeat("a", 32)}, "LVM2_member LVM2 001 (damaged) at 24 uuid aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa"},
		{"lvm1", mib, image{0: "HM\x01\x00"}, "LVM1_member at 0"},
		{"drbd v07 internal", 256 * mib, image{128*mib + 60: be32(0x8374026a), 128*mib + 80: be32(4096)}, "drbd v07 at 134217788"},
		{"drbd indexed", 300 * mib, image{128*mib + 60: be32(0x8374026b), 128*mib + 80: be32(4096), 256*mib + 60: be32(0x8374026c), 256*mib + 80: be32(4096)}, "drbd v08 at 134217788\ndrbd v08 at 268435516"},
		{"xfs log", mib, image{1024: be32(0xFEEDBABE) + be32(1) + be32(2) + be32(512), 1024 + 300: be32(1) + someUUID}, "xfs_external_log at 1024 uuid 01234567-89ab-4cde-8f01-23456789abcd"},
		{"xfs damaged", mib, image{0: "XFSB"}, "xfs (damaged) at 0"},
		{"apfs", mib, image{32: "NXSB", 72: someUUID}, "apfs at 32 uuid 01234567-89ab-4cde-8f01-23456789abcd"},
		{"bsd", mib, image{512: bsdLabel()}, "bsd at 512"},
		{"dos with a wrong flag", mib, image{446: "\x12", 510: "\x55\xaa"}, ""},
		{"dos", mib, image{440: le32(0xfeed), 510: "\x55\xaa"}, "dos at 510 uuid 0000feed"},
		{"btrfs mirror alone", 65 * mib, image{64*mib + 0x30: le64(64 * mib), 64*mib + 0x40: "_BHRfS_M"}, "btrfs backup (damaged) at 67108928"},
		{"btrfs image inside", 65 * mib, image{64*mib + 0x30: le64(65536), 64*mib + 0x40: "_BHRfS_M"}, ""},
		{"ext magic in noise", mib, image{1024 + 0x38: "\x53\xef"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Probe(tt.img.device(tt.size), tt.size)
			if err != nil {
				t.Fatal(err)
			}
			lines := make([]string, len(got))
			for i, s := range got {
				lines[i] = s.String()
			}
			if text := strings.Join(lines, "\n"); text != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", text, tt.want)
			}
		})
	}
}

func bsdLabel() string {
	b := make([]byte, 148+16)
	le.PutUint32(b, 0x82564557)
	le.PutUint32(b[132:], 0x82564557)
	le.PutUint16(b[138:], 1)
	le.PutUint16(b[136:], xor16(b))
	return string(b)
}

// failing answers with an error in some regions.
type failing struct {
	io.ReaderAt
	bad [][2]int64
}

var errMedium = errors.New("medium error")

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	for _, r := range f.bad {
		if off < r[1] && off+int64(len(p)) > r[0] {
			return 0, errMedium
		}
	}
	return f.ReaderAt.ReadAt(p, off)
}

func TestProbeReadErrors(t *testing.T) {
	const size = 4 << 20
	img := image{1024 + 0x38: "\x53\xef", 4086: "SWAPSPACE2", -1024: "NVIDIA"}
	got, err := Probe(failing{img.device(size), [][2]int64{{0, 512}, {8192, 16384}}}, size)
	var re *ReadError
	if !errors.As(err, &re) || !errors.Is(err, errMedium) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"read 4096 bytes at offset 0:", "read 8192 bytes at offset 8192:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
	// What lies elsewhere is found all the same.
	if len(got) != 1 || got[0].Type != "nvidia_raid_member" {
		t.Errorf("found %v", got)
	}
	// A size that is not true is an error as well.
	_, err = Probe(strings.NewReader(strings.Repeat("x", 5000)), 10000)
	if !errors.As(err, &re) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short reader: %v", err)
	}
}

func TestProbeSizes(t *testing.T) {
	full := strings.Repeat("\xff", 70000)
	for size := int64(0); size < 5000; size += 7 {
		for _, text := range []string{full, zeros(70000)} {
			if got, err := Probe(strings.NewReader(text[:size]), size); err != nil || len(got) > 0 {
				t.Fatalf("size %d: %v, %v", size, got, err)
			}
		}
	}
	if got, err := Probe(strings.NewReader(""), -1); err != nil || got != nil {
		t.Errorf("negative size: %v, %v", got, err)
	}
}

// TestProbeCut takes the real images apart: every length and every place that
// a device may end at must be survived, and a magic that is still there found.
func TestProbeCut(t *testing.T) {
	for _, name := range []string{"ntfs", "fat32", "lvm2-pv", "luks2", "iso-udf", "nilfs2", "gpt", "exfat", "thin"} {
		img := loadImage(t, "testdata/images/"+name+".gz")
		for _, size := range []int64{1, 511, 512, 513, 1024, 4095, 4096, 4097, 8192, 33000, 65536, img.size - 1, img.size + 1, img.size + 4096} {
			if _, err := Probe(&sparse{size, img.pieces}, size); err != nil {
				t.Errorf("%s cut to %d: %v", name, size, err)
			}
		}
	}
}

// TestProbeNoise flips bytes in the metadata of real images: nothing panics.
func TestProbeNoise(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"ntfs", "fat16", "lvm2-pv", "luks2", "iso-joliet", "udf", "exfat", "gpt", "minix3", "hfs"} {
		img := loadImage(t, "testdata/images/"+name+".gz")
		for range 200 {
			c := &sparse{img.size, slices.Clone(img.pieces)}
			for range 1 + rnd.IntN(8) {
				p := &c.pieces[rnd.IntN(len(c.pieces))]
				p.data = slices.Clone(p.data)
				p.data[rnd.IntN(len(p.data))] = byte(rnd.Uint32())
			}
			if _, err := Probe(c, c.size); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestSignatureError(t *testing.T) {
	found := []Signature{{Type: "ext4", Offset: 1080, Label: "root"}, {Type: "gpt", Offset: 512, Damaged: true}}
	err := error(newError("check", "/dev/x", &SignatureError{found, &ReadError{4096, 512, errMedium}}))
	if !errors.Is(err, ErrSignature) || !errors.Is(err, errMedium) || errors.Is(err, ErrBusy) {
		t.Errorf("matching of %v", err)
	}
	const want = `blockdev: check /dev/x: device carries a signature: ext4 at 1080 label "root", gpt (damaged) at 512; and read 512 bytes at offset 4096: medium error`
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	var se *SignatureError
	if !errors.As(err, &se) || len(se.Signatures) != 2 {
		t.Errorf("as: %v", se)
	}
}

func ExampleProbe() {
	disk := make([]byte, 1<<20)
	copy(disk[4086:], "SWAPSPACE2")
	copy(disk[510:], "\x55\xaa")
	found, err := Probe(strings.NewReader(string(disk)), int64(len(disk)))
	fmt.Println(err)
	for _, s := range found {
		fmt.Println(s.Kind, s)
	}
	// Output:
	// <nil>
	// partition table dos at 510
	// swap swap 1 at 4086
}

func FuzzProbe(f *testing.F) {
	f.Add([]byte("XFSB"), uint32(0), []byte("NVIDIA"), uint32(1024), uint32(1<<20))
	f.Fuzz(func(t *testing.T, head []byte, at uint32, tail []byte, back, size uint32) {
		n := int64(size) % (8 << 20)
		img := image{}
		if at := int64(at % (1 << 20)); at+int64(len(head)) <= n {
			img[at] = string(head)
		}
		if off := n - int64(back%(1<<20)); off >= 0 && off+int64(len(tail)) <= n && off > int64(at%(1<<20))+int64(len(head)) {
			img[off] = string(tail)
		}
		dev := img.device(n)
		got, err := Probe(dev, n)
		if err != nil {
			t.Fatalf("no read can fail: %v", err)
		}
		for i, s := range got {
			if s.Type == "" || s.Kind == "" || s.Length <= 0 || s.Offset < 0 || s.Offset+int64(s.Length) > n {
				t.Errorf("%+v on %d bytes", s, n)
			}
			if i > 0 && got[i-1].Offset > s.Offset {
				t.Errorf("order: %v", got)
			}
			if s.Usage == "" && s.Kind != PartitionTable {
				t.Errorf("no usage: %+v", s)
			}
		}
		again, _ := Probe(dev, n)
		if !slices.Equal(got, again) {
			t.Errorf("not repeatable: %v, %v", got, again)
		}
	})
}
