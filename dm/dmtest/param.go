// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"encoding/binary"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// Offsets in struct dm_ioctl.
const (
	offDataSize    = 12
	offDataStart   = 16
	offTargetCount = 20
	offOpenCount   = 24
	offFlags       = 28
	offEventNr     = 32
	offDev         = 40
	offName        = 48
	offUUID        = 176
)

// param is the kernel's own copy of a request, struct dm_ioctl and what
// follows it. Commands change it in place, as the driver does, so that bytes
// that no command touches come back as they were sent.
type param struct {
	b    []byte // at least dmwire.MinSize bytes
	size int    // input_param_size: end of what the caller gave
}

func (p *param) u32(off int) uint32       { return binary.NativeEndian.Uint32(p.b[off:]) }
func (p *param) setU32(off int, v uint32) { binary.NativeEndian.PutUint32(p.b[off:], v) }

func (p *param) flags() dmwire.Flags     { return dmwire.Flags(p.u32(offFlags)) }
func (p *param) has(f dmwire.Flags) bool { return p.flags()&f != 0 }
func (p *param) set(f dmwire.Flags)      { p.setU32(offFlags, uint32(p.flags()|f)) }
func (p *param) unset(f dmwire.Flags)    { p.setU32(offFlags, uint32(p.flags()&^f)) }
func (p *param) setDataSize(n int)       { p.setU32(offDataSize, uint32(n)) }
func (p *param) dataSize() int           { return int(p.u32(offDataSize)) }
func (p *param) dataStart() int          { return int(p.u32(offDataStart)) }
func (p *param) targetCount() uint32     { return p.u32(offTargetCount) }
func (p *param) eventNr() uint32         { return p.u32(offEventNr) }
func (p *param) dev() uint64             { return binary.NativeEndian.Uint64(p.b[offDev:]) }
func (p *param) setDev(v uint64)         { binary.NativeEndian.PutUint64(p.b[offDev:], v) }
func (p *param) name() string            { return cstring(p.b[offName:offUUID]) }
func (p *param) uuid() string            { return cstring(p.b[offUUID:dmwire.MinSize]) }
func (p *param) setName(s string)        { strlcpy(p.b[offName:offUUID], s) }
func (p *param) setUUID(s string)        { strlcpy(p.b[offUUID:dmwire.MinSize], s) }
func (p *param) setIf(on bool, f dmwire.Flags) {
	if on {
		p.set(f)
	} else {
		p.unset(f)
	}
}

// result is get_result_buffer of dm-ioctl.c: the place behind the header for
// an answer. It also sets data_start.
func (p *param) result() []byte {
	p.setU32(offDataStart, dmwire.HeaderSize)
	if p.size <= dmwire.HeaderSize {
		return nil
	}
	return p.b[dmwire.HeaderSize:p.size]
}

// stringAt reads a NUL-terminated string at off, as invalid_str checks it.
func (p *param) stringAt(off int) (string, bool) {
	if off < 0 || off >= p.size {
		return "", false
	}
	i := bytes.IndexByte(p.b[off:p.size], 0)
	if i < 0 {
		return "", false
	}
	return string(p.b[off : off+i]), true
}

// strlcpy writes s and a NUL and leaves what is behind as it was.
func strlcpy(dst []byte, s string) {
	n := copy(dst[:len(dst)-1], s)
	dst[n] = 0
}

func cstring(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func align8(n int) int { return (n + 7) &^ 7 }

func makeDev(major, minor uint32) uint64        { return dmwire.MakeDev(major, minor) }
func splitDev(dev uint64) (major, minor uint32) { return dmwire.SplitDev(dev) }
