// SPDX-License-Identifier: MIT

package blockdev

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// findISO9660 reads the volume descriptors from sector 16 on (ECMA-119), and
// the older High Sierra form, whose descriptors start eight bytes later.
func findISO9660(p *prober) {
	const start = 16 * 2048
	if p.hasMagic(start+9, "CDROM") {
		s := Signature{
			Kind: Filesystem, Usage: UsageFilesystem, Type: "iso9660", Version: "High Sierra",
			Offset: start + 9, Length: 5,
		}
		if b := p.at(start, 2048); b != nil {
			s.Label = text(b[48:80])
		}
		p.add(s)
		return
	}
	if !p.hasMagic(start+1, "CD001") {
		return
	}
	s := Signature{Kind: Filesystem, Usage: UsageFilesystem, Type: "iso9660", Offset: start + 1, Length: 5}
	var joliet string
	for i := int64(0); i < 16; i++ {
		b := p.at(start+i*2048, 2048)
		if b == nil || string(b[1:6]) != "CD001" || b[0] == 255 {
			break
		}
		switch {
		case b[0] == 1 && s.UUID == "":
			s.Label = text(b[40:72])
			if s.UUID = isoDate(b[830:847]); s.UUID == "" { // modified
				s.UUID = isoDate(b[813:830]) // created
			}
		case b[0] == 2 && b[88] == '%' && b[89] == '/' && strings.IndexByte("@CE", b[90]) >= 0:
			joliet, s.Version = text16(b[40:72], be), "Joliet Extension"
		}
	}
	if joliet != "" {
		s.Label = joliet + joinedTail(joliet, s.Label)
	}
	p.add(s)
}

// joinedTail is what the plain label has beyond the sixteen characters that
// Joliet has room for, when both start alike.
func joinedTail(joliet, plain string) string {
	j := []rune(joliet)
	if len(j) < 16 || len(plain) <= len(j) {
		return ""
	}
	for i, r := range j {
		if c := plain[i]; c != '_' && !strings.EqualFold(string(r), string(rune(c))) {
			return ""
		}
	}
	return plain[len(j):]
}

// isoDate turns "YYYYMMDDHHMMSScc" into the uuid that blkid makes of it.
func isoDate(b []byte) string {
	d := b[:16]
	for _, c := range d {
		if c < '0' || c > '9' {
			return ""
		}
	}
	if strings.Trim(string(d), "0") == "" {
		return ""
	}
	return fmt.Sprintf("%s-%s-%s-%s-%s-%s-%s", d[:4], d[4:6], d[6:8], d[8:10], d[10:12], d[12:14], d[14:16])
}

// findUDF looks for an NSR descriptor in the volume recognition sequence
// (ECMA-167 part 2), which starts at 32 KiB in steps of 2 KiB or of a larger
// block, and reads label and uuid by way of the anchor at block 256.
func findUDF(p *prober) {
	for _, step := range []int64{2048, 4096} {
		for i := int64(0); i < 64; i++ {
			pos := 32<<10 + i*step
			b := p.at(pos, 6)
			if b == nil {
				break
			}
			switch string(b[1:6]) {
			case "NSR02", "NSR03":
				s := Signature{
					Kind: Filesystem, Usage: UsageFilesystem, Type: "udf",
					Offset: pos + 1, Length: 5,
				}
				p.udfNames(&s)
				p.add(s)
				return
			case "BEA01", "BOOT2", "CD001", "CDW02", "TEA01":
				continue
			}
			break
		}
	}
}

// udfNames fills in what the main volume descriptor sequence says.
func (p *prober) udfNames(s *Signature) {
	for _, bs := range []int64{512, 1024, 2048, 4096} {
		a := p.at(256*bs, 512)
		if a == nil || le.Uint16(a) != 2 || le.Uint32(a[12:]) != 256 { // anchor, and it knows its place
			continue
		}
		n, loc := int64(le.Uint32(a[16:]))/bs, int64(le.Uint32(a[20:]))
		for i := range min(n, 64) {
			d := p.at((loc+i)*bs, 512)
			if d == nil || int64(le.Uint32(d[12:])) != loc+i {
				return
			}
			switch le.Uint16(d) {
			case 1: // primary volume descriptor
				if s.UUID == "" {
					s.UUID = udfUUID(dstring(d[72:200]))
				}
			case 6: // logical volume descriptor
				if s.Label == "" {
					s.Label = dstring(d[84:212])
				}
				if rev := le.Uint16(d[216+24:]); string(d[217:217+18]) == "*OSTA UDF Complian" {
					s.Version = fmt.Sprintf("%x.%02x", rev>>8, rev&0xff)
				}
			case 0, 8: // none, terminating
				return
			}
		}
		return
	}
}

// dstring decodes OSTA compressed unicode: a byte 8 or 16 for the width, the
// characters, and the length in the last byte of the field.
func dstring(f []byte) string {
	n := min(int(f[len(f)-1]), len(f)-1)
	if n < 2 {
		return ""
	}
	switch b := f[1:n]; f[0] {
	case 8:
		r := make([]rune, len(b))
		for i, c := range b {
			r[i] = rune(c)
		}
		return strings.TrimSpace(strings.TrimRight(string(r), "\x00"))
	case 16:
		return text16(b, be)
	}
	return ""
}

// udfUUID makes sixteen hexadecimal digits of the unique part of a volume set
// identifier, in the way libblkid documents it (superblocks/udf.c).
func udfUUID(id string) string {
	if len(id) < 8 {
		return ""
	}
	head := id[:min(16, len(id))]
	isHex := func(s string) bool {
		for i := range len(s) {
			if !strings.ContainsRune("0123456789abcdefABCDEF", rune(s[i])) {
				return false
			}
		}
		return true
	}
	switch {
	case len(head) == 16 && isHex(head):
		return strings.ToLower(head)
	case !isHex(head[:8]):
		return hex.EncodeToString([]byte(head[:8]))
	case len(head) >= 12:
		return strings.ToLower(head[:8]) + hex.EncodeToString([]byte(head[8:12]))
	}
	return ""
}
