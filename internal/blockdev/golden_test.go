// SPDX-License-Identifier: MIT

package blockdev

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	packDir = flag.String("pack", "", "pack the *.img and *.expect of this folder into testdata/images")
	update  = flag.Bool("update", false, "rewrite the Probe section of testdata/images/*.expect")
)

// sparse is a device that is zero outside some pieces, which are in order and
// may overlap only where the test wants it.
type sparse struct {
	size   int64
	pieces []piece
}

type piece struct {
	off  int64
	data []byte
}

func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), max(s.size-off, 0)))
	clear(p[:n])
	i, _ := slices.BinarySearchFunc(s.pieces, off, func(c piece, off int64) int {
		return cmp.Compare(c.off+int64(len(c.data)), off)
	})
	for ; i < len(s.pieces) && s.pieces[i].off < off+int64(n); i++ {
		c := s.pieces[i]
		if c.off < off {
			if c.off+int64(len(c.data)) > off {
				copy(p[:n], c.data[off-c.off:])
			}
		} else {
			copy(p[c.off-off:n], c.data)
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

const lineSize = 64

// loadImage reads the packed form: gzip of "size N" and of lines of an offset
// and the bytes there, both in hexadecimal, zeros at the end of a line cut.
func loadImage(t testing.TB, path string) *sparse {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	s := &sparse{}
	for sc := bufio.NewScanner(z); sc.Scan(); {
		key, value, _ := strings.Cut(sc.Text(), " ")
		if key == "size" {
			if s.size, err = strconv.ParseInt(value, 10, 64); err != nil {
				t.Fatal(err)
			}
			continue
		}
		off, err := strconv.ParseInt(key, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		data, err := hex.DecodeString(value)
		if err != nil {
			t.Fatal(err)
		}
		s.pieces = append(s.pieces, piece{off, data})
	}
	return s
}

// packImage writes the packed form of what Probe can see of an image: all that
// is not zero near both ends, and the places in between that it reads.
func packImage(t *testing.T, src, dst string) {
	f, err := os.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd) // works for devices as well
	if err != nil {
		t.Fatal(err)
	}
	p := &prober{r: f, size: size, pages: map[int64][]byte{}}
	p.matchTable()
	for _, find := range finders {
		find(p)
	}
	var numbers []int64
	for n := range p.pages {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression)
	fmt.Fprintf(z, "size %d\n", size)
	for _, n := range numbers {
		for i, line := range slices.Collect(slices.Chunk(p.pages[n], lineSize)) {
			if line = bytes.TrimRight(line, "\x00"); len(line) > 0 {
				fmt.Fprintf(z, "%x %x\n", n*pageSize+int64(i)*lineSize, line)
			}
		}
	}
	z.Close()
	if err := os.WriteFile(dst, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d bytes", dst, out.Len())
}

// expectation is what util-linux said about an image.
type expectation struct {
	blkid  map[string]string
	wipefs []wipefsRow
	probe  string // what Probe said when the fixture was last updated
	head   string // all but the last
}

type wipefsRow struct {
	Offset string
	Length int
	Type   string
	UUID   string
	Label  string
}

func (w wipefsRow) offset() int64 {
	n, _ := strconv.ParseInt(strings.TrimPrefix(w.Offset, "0x"), 16, 64)
	return n
}

func loadExpectation(t *testing.T, path string) expectation {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	e := expectation{blkid: map[string]string{}}
	e.head, e.probe, _ = strings.Cut(string(b), "$ Probe\n")
	_, rest, _ := strings.Cut(e.head, "$ blkid -p -o export\n")
	blkid, wipefs, _ := strings.Cut(rest, "$ wipefs -n\n")
	for line := range strings.Lines(blkid) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		e.blkid[k] = strings.ReplaceAll(v, `\`, "")
	}
	var doc struct{ Signatures []wipefsRow }
	if err := json.Unmarshal([]byte(wipefs), &doc); err != nil && strings.TrimSpace(wipefs) != "" {
		t.Fatal(err)
	}
	e.wipefs = doc.Signatures
	return e
}

// TestPack is not a test: go test -run TestPack -pack DIR makes the fixtures.
func TestPack(t *testing.T) {
	if *packDir == "" {
		return
	}
	images, _ := filepath.Glob(filepath.Join(*packDir, "*.img"))
	for _, src := range images {
		name := strings.TrimSuffix(filepath.Base(src), ".img")
		packImage(t, src, filepath.Join("testdata/images", name+".gz"))
		b, err := os.ReadFile(strings.TrimSuffix(src, ".img") + ".expect")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("testdata/images", name+".expect"), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// unknownToBlkid are the types that util-linux 2.38.1 does not find, where it
// does not look, or that it does not look for on files.
var unknownToBlkid = map[string][]string{
	"thin":         {"DM_thin_metadata"},
	"cache":        {"DM_cache_metadata"},
	"era":          {"DM_era_metadata"},
	"dmraid-raid1": {"DM_raid_member"},
	"loop":         {"loop"},
	"amiga":        {"amiga"},
	"bsd":          {"bsd"},
	"drbd84-flex":  {"drbd"},
	"drbd84-odd":   {"drbd"}, // size not a multiple of 4 KiB: blkid does not align
	"drbd84-idx0":  {"drbd"},
	"drbd9-flex":   {"drbd"},
	"mirror-log":   {"DM_mirror_log"},
	"log-writes":   {"DM_log_writes"},
	"writecache":   {"DM_writecache"},
	"iso-udf":      {"iso9660"}, // it stops at udf
}

// falseAlarms are rows of wipefs that Probe rightly leaves out: the mark of an
// NTFS or exFAT boot sector taken for a partition table (libblkid before 2.40
// for exFAT; wipefs hides the NTFS magic before it looks for tables).
var falseAlarms = map[string]string{"ntfs": "dos", "exfat": "dos"}

// TestGolden compares Probe with what blkid and wipefs said about images that
// were made by the real tools.
func TestGolden(t *testing.T) {
	paths, _ := filepath.Glob("testdata/images/*.gz")
	if len(paths) < 60 {
		t.Fatalf("only %d images", len(paths))
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".gz")
		t.Run(name, func(t *testing.T) {
			img := loadImage(t, path)
			expectFile := strings.TrimSuffix(path, ".gz") + ".expect"
			e := loadExpectation(t, expectFile)
			got, err := Probe(img, img.size)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, s := range got {
				fmt.Fprintf(&b, "%v\n", s)
			}
			if *update {
				if err := os.WriteFile(expectFile, []byte(e.head+"$ Probe\n"+b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if b.String() != e.probe {
				t.Errorf("Probe:\n%swas:\n%s", b.String(), e.probe)
			}
			known := unknownToBlkid[name]
			for _, row := range e.wipefs {
				known = append(known, row.Type)
				if falseAlarms[name] == row.Type {
					known = known[:len(known)-1]
					continue
				}
				if !slices.ContainsFunc(got, func(s Signature) bool { return sameRow(s, row, e.wipefs) }) {
					t.Errorf("wipefs found %+v, Probe:\n%s", row, b.String())
				}
			}
			for _, s := range got {
				// parted 3.5 computes the checksum of a BSD label in a way that
				// neither libblkid nor we understand.
				if s.Damaged && name != "bsd" {
					t.Errorf("damaged: %v", s)
				}
				if !slices.Contains(known, s.Type) {
					t.Errorf("wipefs did not find %v", s)
				}
			}
			if falseAlarms[name] == e.blkid["PTTYPE"] {
				delete(e.blkid, "PTTYPE")
			}
			checkBlkid(t, e.blkid, got)
		})
	}
}

// sameRow matches a signature with a row. Where wipefs has several rows for a
// type (FAT), any of their places will do; for UDF it names the start of the
// sequence that we look through.
func sameRow(s Signature, row wipefsRow, all []wipefsRow) bool {
	place := s.Offset == row.offset() || s.Type == "udf" || slices.ContainsFunc(all, func(o wipefsRow) bool {
		return row.Type == "vfat" && o.Type == "vfat" && o.offset() == s.Offset
	})
	return s.Type == row.Type && place && s.Label == row.Label &&
		(s.UUID == row.UUID || s.Kind == PartitionTable || s.Type == "drbd" && row.UUID == "" || s.Type == "ddf_raid_member")
}

// checkBlkid compares the fields that wipefs does not print.
func checkBlkid(t *testing.T, blkid map[string]string, got []Signature) {
	find := func(typ string) *Signature {
		i := slices.IndexFunc(got, func(s Signature) bool { return s.Type == typ && (!s.Backup || typ == "gpt" || typ == "crypto_LUKS") })
		if i < 0 {
			t.Errorf("blkid says %s, Probe %v", typ, got)
			return nil
		}
		return &got[i]
	}
	if typ := blkid["TYPE"]; typ != "" {
		if s := find(typ); s != nil {
			if string(s.Usage) != blkid["USAGE"] {
				t.Errorf("usage %q, blkid %q", s.Usage, blkid["USAGE"])
			}
			if v := blkid["VERSION"]; v != "" && s.Version != v {
				t.Errorf("%s: version %q, blkid %q", typ, s.Version, v)
			}
			if s.UUID != blkid["UUID"] && typ != "drbd" && typ != "ddf_raid_member" {
				t.Errorf("%s: uuid %q, blkid %q", typ, s.UUID, blkid["UUID"])
			}
		}
	}
	if typ := blkid["PTTYPE"]; typ != "" {
		if s := find(typ); s != nil && blkid["PTUUID"] != "" && s.UUID != blkid["PTUUID"] {
			t.Errorf("%s: uuid %q, blkid %q", typ, s.UUID, blkid["PTUUID"])
		}
	}
}
