// SPDX-License-Identifier: MIT

package dmwire

import (
	"encoding/binary"
	"fmt"
)

// specSize is sizeof(struct dm_target_spec).
const specSize = 40

// Spec is struct dm_target_spec with the string that follows it: a segment
// of a table, or its status.
type Spec struct {
	Start, Length uint64 // sectors of 512 bytes
	Status        int32
	Type          string // name of the target, at most 15 bytes
	Params        string
}

// SpecsSize is the number of payload bytes that AppendLoad makes of specs.
func SpecsSize(specs []Spec) int {
	n := 0
	for _, s := range specs {
		n += align8(specSize + len(s.Params) + 1)
	}
	return n
}

// PutLoad writes the payload of TABLE_LOAD: each record's next is the
// distance to the following one. buf must hold SpecsSize bytes.
func PutLoad(buf []byte, specs []Spec) error {
	if need := SpecsSize(specs); len(buf) < need {
		return fmt.Errorf("dm_target_spec: %w: %d of %d bytes", ErrTruncated, len(buf), need)
	}
	for _, s := range specs {
		size := align8(specSize + len(s.Params) + 1)
		if err := putSpec(buf[:size], s, uint32(size)); err != nil {
			return err
		}
		buf = buf[size:]
	}
	return nil
}

func putSpec(buf []byte, s Spec, next uint32) error {
	if len(s.Type) >= TypeLen {
		return fmt.Errorf("dm_target_spec: %w: target type of %d bytes", ErrMalformed, len(s.Type))
	}
	ne := binary.NativeEndian
	clear(buf)
	ne.PutUint64(buf, s.Start)
	ne.PutUint64(buf[8:], s.Length)
	ne.PutUint32(buf[16:], uint32(s.Status))
	ne.PutUint32(buf[20:], next)
	copy(buf[24:40], s.Type)
	copy(buf[40:], s.Params)
	return nil
}

// SpecView is a [Spec] whose type and string lie in the buffer that it was
// decoded from.
type SpecView struct {
	Start, Length uint64
	Status        int32
	Type, Params  []byte
}

func (v SpecView) copied() Spec {
	return Spec{v.Start, v.Length, v.Status, string(v.Type), string(v.Params)}
}

// viewSpec decodes the record at off. The next one is at the returned
// offset; its distance is counted from base. The string must end before it:
// otherwise a bad answer of many short records would have each of them copy
// the rest of the buffer.
func viewSpec(b []byte, base, off int, last bool) (s SpecView, end int, err error) {
	if len(b)-off < specSize {
		return s, 0, fmt.Errorf("dm_target_spec: %w at offset %d of %d", ErrTruncated, off, len(b))
	}
	ne := binary.NativeEndian
	p := b[off:]
	if !last {
		next := int64(base) + int64(ne.Uint32(p[20:]))
		if next < int64(off)+specSize || next > int64(len(b)) {
			return s, 0, fmt.Errorf("dm_target_spec: %w: next %d at offset %d", ErrMalformed, ne.Uint32(p[20:]), off)
		}
		end = int(next)
		p = b[off:end]
	}
	s.Start, s.Length = ne.Uint64(p), ne.Uint64(p[8:])
	s.Status = int32(ne.Uint32(p[16:]))
	s.Type = cbytes(p[24:40])
	s.Params, err = cbytesAt(p, specSize, "dm_target_spec")
	return s, end, err
}

// ParseLoad decodes the payload of TABLE_LOAD as populate_table in
// dm-ioctl.c does, but a string must end inside its record.
func ParseLoad(payload []byte, count uint32) ([]Spec, error) {
	specs := make([]Spec, 0, int(min(count, 1024))) // an int may have 32 bits
	off := 0
	for i := range count {
		s, end, err := viewSpec(payload, off, off, i+1 == count)
		if err != nil {
			return nil, err
		}
		specs = append(specs, s.copied())
		off = end
	}
	return specs, nil
}

// ViewStatus calls each for the records of an answer to TABLE_STATUS or
// DEV_WAIT: a record's next is the distance from the first record. It
// allocates nothing, and may have called each before it finds an error.
func ViewStatus(payload []byte, count uint32, each func(SpecView)) error {
	off := 0
	for i := range count {
		// The last record's next is its own aligned end, which may lie beyond
		// the payload.
		s, end, err := viewSpec(payload, 0, off, i+1 == count)
		if err != nil {
			return err
		}
		each(s)
		off = end
	}
	return nil
}

// ParseStatus decodes the payload of an answer to TABLE_STATUS or DEV_WAIT.
func ParseStatus(payload []byte, count uint32) ([]Spec, error) {
	specs := make([]Spec, 0, int(min(count, 1024)))
	err := ViewStatus(payload, count, func(s SpecView) { specs = append(specs, s.copied()) })
	if err != nil {
		return nil, err
	}
	return specs, nil
}

// PutStatus writes records as retrieve_status in dm-ioctl.c does and returns
// the payload bytes used; full is true when they did not all fit, and then
// what is in buf is not to be trusted.
func PutStatus(buf []byte, specs []Spec) (used int, full bool, err error) {
	off, prev := 0, -1
	for _, s := range specs {
		// A string that exactly fills the rest counts as cut off, and the
		// aligned end of the record must fit too.
		end := off + specSize + len(s.Params) + 1
		if end >= len(buf) || align8(end) > len(buf) {
			return off, true, nil
		}
		if err := putSpec(buf[off:align8(end)], s, 0); err != nil {
			return 0, false, err
		}
		used = end
		prev = off
		off = align8(end)
		binary.NativeEndian.PutUint32(buf[prev+20:], uint32(off))
	}
	return used, false, nil
}

// Name is one record of LIST_DEVICES: struct dm_name_list.
type Name struct {
	Dev     uint64
	Name    string
	EventNr uint32 // 4.37 and newer
	UUID    string // 4.45 and newer, with UUIDFlag in the request
	HasUUID bool   // the kernel said whether there is a uuid
}

const (
	nameHead       = 12
	nameFlagHas    = 1 // DM_NAME_LIST_FLAG_HAS_UUID
	nameFlagHasNot = 2 // DM_NAME_LIST_FLAG_DOESNT_HAVE_UUID
)

// ParseNames decodes the payload of LIST_DEVICES. Event numbers are read
// when v is 4.37 or newer, uuids when v is 4.45 or newer.
func ParseNames(payload []byte, v Version) ([]Name, error) {
	var names []Name
	ne := binary.NativeEndian
	for off := 0; ; {
		p := payload[off:]
		if len(p) < nameHead {
			if off == 0 && len(p) == 0 {
				return nil, nil
			}
			return nil, fmt.Errorf("dm_name_list: %w at offset %d", ErrTruncated, off)
		}
		n := Name{Dev: ne.Uint64(p)}
		next := ne.Uint32(p[8:])
		if off == 0 && n.Dev == 0 {
			return nil, nil // the empty list is one record of zeros
		}
		end := len(p)
		if next != 0 {
			if next < nameHead+1 || int64(next) > int64(len(p)) {
				return nil, fmt.Errorf("dm_name_list: %w: next %d at offset %d", ErrMalformed, next, off)
			}
			end = int(next)
		}
		var err error
		if n.Name, err = cstringAt(p[:end], nameHead, "dm_name_list"); err != nil {
			return nil, err
		}
		if v.AtLeast(4, 37) {
			// The tail is aligned to 8 from the start of the record.
			at := align8(nameHead + len(n.Name) + 1)
			if at+4 > end {
				return nil, fmt.Errorf("dm_name_list: %w: no event number at offset %d", ErrTruncated, off)
			}
			n.EventNr = ne.Uint32(p[at:])
			if v.AtLeast(4, 45) && at+8 <= end {
				switch ne.Uint32(p[at+4:]) & (nameFlagHas | nameFlagHasNot) {
				case nameFlagHas:
					if n.UUID, err = cstringAt(p[:end], at+8, "dm_name_list"); err != nil {
						return nil, err
					}
					n.HasUUID = true
				}
			}
		}
		names = append(names, n)
		if next == 0 {
			return names, nil
		}
		off += int(next)
	}
}

// PutNames writes records as list_devices in dm-ioctl.c does; withUUID is
// UUIDFlag of the request. It returns the bytes used, or full.
func PutNames(buf []byte, names []Name, v Version, withUUID bool) (used int, full bool) {
	ne := binary.NativeEndian
	if len(names) == 0 {
		if len(buf) < nameHead+4 {
			return 0, true
		}
		clear(buf[:nameHead+4])
		return nameHead + 4, false
	}
	off := 0
	for i, n := range names {
		tail := align8(nameHead + len(n.Name) + 1)
		size := tail
		if v.AtLeast(4, 37) {
			size += 8
		}
		if v.AtLeast(4, 45) && withUUID && n.UUID != "" {
			size = align8(size + len(n.UUID) + 1)
		}
		if off+size > len(buf) {
			return 0, true
		}
		p := buf[off : off+size]
		clear(p)
		ne.PutUint64(p, n.Dev)
		if i+1 < len(names) {
			ne.PutUint32(p[8:], uint32(size))
		}
		copy(p[nameHead:], n.Name)
		if v.AtLeast(4, 37) {
			ne.PutUint32(p[tail:], n.EventNr)
		}
		if v.AtLeast(4, 45) && withUUID {
			flag := uint32(nameFlagHasNot)
			if n.UUID != "" {
				flag = nameFlagHas
				copy(p[tail+8:], n.UUID)
			}
			ne.PutUint32(p[tail+4:], flag)
		}
		off += size
	}
	return off, false
}

// ParseDeps decodes struct dm_target_deps: device numbers, the most recently
// opened first.
func ParseDeps(payload []byte) ([]uint64, error) {
	if len(payload) == 0 {
		return nil, nil // no table
	}
	if len(payload) < 8 {
		return nil, fmt.Errorf("dm_target_deps: %w: %d bytes", ErrTruncated, len(payload))
	}
	ne := binary.NativeEndian
	count := ne.Uint32(payload)
	if uint64(len(payload)-8)/8 < uint64(count) {
		return nil, fmt.Errorf("dm_target_deps: %w: %d devices in %d bytes", ErrTruncated, count, len(payload))
	}
	devs := make([]uint64, count)
	for i := range devs {
		devs[i] = ne.Uint64(payload[8+8*i:])
	}
	return devs, nil
}

// PutDeps is the inverse of ParseDeps.
func PutDeps(buf []byte, devs []uint64) (used int, full bool) {
	used = 8 + 8*len(devs)
	if used > len(buf) {
		return 0, true
	}
	ne := binary.NativeEndian
	clear(buf[:8])
	ne.PutUint32(buf, uint32(len(devs)))
	for i, d := range devs {
		ne.PutUint64(buf[8+8*i:], d)
	}
	return used, false
}

// TargetVersion is struct dm_target_versions: a target that the kernel has.
type TargetVersion struct {
	Name    string
	Version Version
}

const versionHead = 16

// ParseVersions decodes the payload of LIST_VERSIONS and GET_TARGET_VERSION.
func ParseVersions(payload []byte) ([]TargetVersion, error) {
	var list []TargetVersion
	if len(payload) == 0 {
		return nil, nil
	}
	for off := 0; ; {
		p := payload[off:]
		if len(p) < versionHead {
			return nil, fmt.Errorf("dm_target_versions: %w at offset %d", ErrTruncated, off)
		}
		next := binary.NativeEndian.Uint32(p)
		end := len(p)
		if next != 0 {
			if next < versionHead || int64(next) > int64(len(p)) {
				return nil, fmt.Errorf("dm_target_versions: %w: next %d at offset %d", ErrMalformed, next, off)
			}
			end = int(next)
		}
		name, err := cstringAt(p[:end], versionHead, "dm_target_versions")
		if err != nil {
			return nil, err
		}
		list = append(list, TargetVersion{name, ParseVersion(p[4:])})
		if next == 0 {
			return list, nil
		}
		off += end
	}
}

// PutVersions is the inverse of ParseVersions.
func PutVersions(buf []byte, list []TargetVersion) (used int, full bool) {
	off := 0
	for i, t := range list {
		size := align8(versionHead + len(t.Name) + 1)
		if off+size > len(buf) {
			return 0, true
		}
		p := buf[off : off+size]
		clear(p)
		if i+1 < len(list) {
			binary.NativeEndian.PutUint32(p, uint32(size))
		}
		PutVersion(p[4:], t.Version)
		copy(p[versionHead:], t.Name)
		off += size
	}
	return off, false
}

// messageHead is the sector in front of a message.
const messageHead = 8

// MessageSize is the number of payload bytes of a message.
func MessageSize(text string) int { return messageHead + len(text) + 1 }

// PutMessage writes struct dm_target_msg. buf must hold MessageSize bytes.
func PutMessage(buf []byte, sector uint64, text string) {
	binary.NativeEndian.PutUint64(buf, sector)
	copy(buf[messageHead:], text)
	buf[messageHead+len(text)] = 0
}

// ParseMessage is the inverse of PutMessage.
func ParseMessage(payload []byte) (sector uint64, text string, err error) {
	if len(payload) < messageHead {
		return 0, "", fmt.Errorf("dm_target_msg: %w: %d bytes", ErrTruncated, len(payload))
	}
	text, err = cstringAt(payload, messageHead, "dm_target_msg")
	return binary.NativeEndian.Uint64(payload), text, err
}

// ParseString reads a NUL-terminated payload: a new name, a geometry, or
// the answer to a message.
func ParseString(payload []byte) (string, error) { return cstringAt(payload, 0, "payload") }
