// SPDX-License-Identifier: MIT

package blockdev

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
)

var (
	le = binary.LittleEndian
	be = binary.BigEndian
)

// Probe looks on the size bytes of r for every signature that it knows,
// wherever the format puts it, and returns all of them in the order of their
// offsets. It does not stop at the first and it does not weigh one against
// another: a stale ext4 below a fresh LVM label is reported with it.
//
// Regions that cannot be read come back as *ReadError (several are joined)
// together with what was found elsewhere; a caller that is about to destroy
// must take them for a refusal. A size that is larger than what r delivers is
// reported in the same way.
func Probe(r io.ReaderAt, size int64) ([]Signature, error) {
	p := &prober{r: r, size: max(size, 0), pages: make(map[int64][]byte)}
	p.matchTable()
	for _, find := range finders {
		find(p)
	}
	slices.SortStableFunc(p.found, func(a, b Signature) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), strings.Compare(a.Type, b.Type))
	})
	return p.found, p.readErrors()
}

// finders are the formats whose place must be computed or whose magic is too
// weak for the table. The partition tables come last: the MBR must know which
// boot sectors were found.
var finders = []func(*prober){
	findExt, findFAT, findExFAT, findNTFS, findBitLocker,
	findHFS, findNILFS, findMinix, findISO9660, findUDF, findZFS, findBcache, findXFSLog,
	findSwap, findLVM2, findMD, findDRBD, findLUKS, findFirmwareRAID,
	findGPT, findMac, findBSD, findSun, findSGI, findAmiga, findAtari, findMBR,
}

const (
	pageSize  = 4096
	groupSize = 64 << 10 // read in one go near the start and the end
	nearStart = 256 << 10
	nearEnd   = 512 << 10
)

// prober reads a device once, page by page, and collects what is found.
type prober struct {
	r     io.ReaderAt
	size  int64
	pages map[int64][]byte // by number; nil means unreadable
	bad   []ReadError
	found []Signature
}

// at gives n bytes at off, or nil when they do not lie on the device or cannot
// be read. The slice must not be written to.
func (p *prober) at(off int64, n int) []byte {
	if off < 0 || n <= 0 || off > p.size || int64(n) > p.size-off {
		return nil
	}
	first, last := off/pageSize, (off+int64(n)-1)/pageSize
	if first == last {
		page := p.page(first)
		if page == nil {
			return nil
		}
		return page[off-first*pageSize:][:n:n]
	}
	out := make([]byte, 0, n)
	for i := first; i <= last; i++ {
		page := p.page(i)
		if page == nil {
			return nil
		}
		skip := max(off-i*pageSize, 0)
		out = append(out, page[skip:min(int64(len(page)), skip+int64(n-len(out)))]...)
	}
	return out
}

// page gives page i, which is shorter than pageSize only at the end.
func (p *prober) page(i int64) []byte {
	if page, ok := p.pages[i]; ok {
		return page
	}
	pos := i * pageSize
	if pos < nearStart || pos >= p.size-nearEnd {
		pos -= pos % groupSize
		buf := make([]byte, min(groupSize, p.size-pos))
		if p.read(buf, pos) == nil {
			for o := 0; o < len(buf); o += pageSize {
				end := min(o+pageSize, len(buf))
				p.pages[(pos+int64(o))/pageSize] = buf[o:end:end]
			}
			return p.pages[i]
		}
		// One bad sector must not hide its neighbours.
		pos = i * pageSize
	}
	buf := make([]byte, min(pageSize, p.size-pos))
	if err := p.read(buf, pos); err != nil {
		p.bad = append(p.bad, ReadError{Offset: pos, Length: int64(len(buf)), Err: err})
		buf = nil
	}
	p.pages[i] = buf
	return buf
}

func (p *prober) read(buf []byte, pos int64) error {
	n, err := p.r.ReadAt(buf, pos)
	if n == len(buf) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readErrors joins neighbouring bad pages and returns nil, one *ReadError or
// all of them joined.
func (p *prober) readErrors() error {
	slices.SortFunc(p.bad, func(a, b ReadError) int { return cmp.Compare(a.Offset, b.Offset) })
	var errs []error
	for i := 0; i < len(p.bad); {
		e := p.bad[i]
		for i++; i < len(p.bad) && p.bad[i].Offset == e.Offset+e.Length; i++ {
			e.Length += p.bad[i].Length
		}
		errs = append(errs, &e)
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// add records a signature, unless its format was already found at the place.
func (p *prober) add(s Signature) {
	for _, f := range p.found {
		if f.Offset == s.Offset && f.Type == s.Type {
			return
		}
	}
	p.found = append(p.found, s)
}

// has tells whether one of the types was found below the offset limit.
func (p *prober) has(limit int64, types ...string) bool {
	return slices.ContainsFunc(p.found, func(s Signature) bool {
		return s.Offset < limit && slices.Contains(types, s.Type)
	})
}

// hasMagic tells whether the magic lies at off.
func (p *prober) hasMagic(off int64, magic string) bool {
	b := p.at(off, len(magic))
	return b != nil && string(b) == magic
}

// uuidText prints 16 bytes in the usual way; all zeros print as "".
func uuidText(b []byte) string {
	if len(b) < 16 || allZero(b[:16]) {
		return ""
	}
	h := hex.EncodeToString(b[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// guidText prints a GUID whose first three fields are little-endian.
func guidText(b []byte) string {
	if len(b) < 16 {
		return ""
	}
	g := []byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]}
	return uuidText(append(g, b[8:16]...))
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// text is a label field: up to the first NUL, without the blanks around it.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return strings.TrimSpace(strings.ToValidUTF8(s, "_"))
}

// text16 is a label field in UTF-16.
func text16(b []byte, order binary.ByteOrder) string {
	u := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		c := order.Uint16(b)
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return strings.TrimSpace(string(utf16.Decode(u)))
}

func powerOf2(n uint32) bool { return n != 0 && n&(n-1) == 0 }
