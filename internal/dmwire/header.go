// SPDX-License-Identifier: MIT

package dmwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes and offsets of struct dm_ioctl.
const (
	HeaderSize = 312 // sizeof(struct dm_ioctl), and the payload offset that libdevmapper uses
	MinSize    = 305 // offsetof(struct dm_ioctl, data): the least data_size that the kernel accepts

	NameLen = 128 // DM_NAME_LEN, with the NUL
	UUIDLen = 129 // DM_UUID_LEN, with the NUL
	TypeLen = 16  // DM_MAX_TYPE_NAME, with the NUL

	// MaxBuffer is the largest data_size: DM_MAX_TARGETS × DM_MAX_TARGET_PARAMS.
	MaxBuffer = 1 << 30

	offVersion     = 0
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

// Errors of the decoders.
var (
	// ErrTruncated says that a record ends beyond its buffer.
	ErrTruncated = errors.New("truncated")
	// ErrMalformed says that a record contradicts itself.
	ErrMalformed = errors.New("malformed")
)

// Flags is the flags field of struct dm_ioctl.
type Flags uint32

// The DM_*_FLAG bits.
const (
	ReadOnly        Flags = 1 << 0
	Suspend         Flags = 1 << 1
	Exists          Flags = 1 << 2 // ignored by the kernel, always set by libdevmapper
	PersistentDev   Flags = 1 << 3
	StatusTable     Flags = 1 << 4
	ActivePresent   Flags = 1 << 5
	InactivePresent Flags = 1 << 6
	BufferFull      Flags = 1 << 8
	SkipBDGet       Flags = 1 << 9 // ignored by today's kernels
	SkipLockFS      Flags = 1 << 10
	NoFlush         Flags = 1 << 11
	QueryInactive   Flags = 1 << 12
	UeventGenerated Flags = 1 << 13
	UUIDFlag        Flags = 1 << 14
	SecureData      Flags = 1 << 15
	DataOut         Flags = 1 << 16
	DeferredRemove  Flags = 1 << 17
	InternalSuspend Flags = 1 << 18
	IMAMeasurement  Flags = 1 << 19
)

// Version is the interface version at the head of every request.
type Version struct{ Major, Minor, Patch uint32 }

// AtLeast reports whether v is version major.minor or newer.
func (v Version) AtLeast(major, minor uint32) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// Header is struct dm_ioctl without its padding.
type Header struct {
	Version     Version
	DataSize    uint32 // whole buffer in, valid bytes out
	DataStart   uint32 // offset of the payload
	TargetCount uint32
	OpenCount   int32
	Flags       Flags
	EventNr     uint32 // event number, or the udev cookie of a request
	Dev         uint64 // huge_encode_dev
	Name        string
	UUID        string
}

// Put writes h over the first HeaderSize bytes of buf. A name or uuid that
// does not fit its field is an error, because the kernel would cut it.
func (h *Header) Put(buf []byte) error {
	if len(buf) < HeaderSize {
		return fmt.Errorf("dm_ioctl: %w: %d bytes", ErrTruncated, len(buf))
	}
	if len(h.Name) >= NameLen {
		return fmt.Errorf("dm_ioctl: %w: name of %d bytes", ErrMalformed, len(h.Name))
	}
	if len(h.UUID) >= UUIDLen {
		return fmt.Errorf("dm_ioctl: %w: uuid of %d bytes", ErrMalformed, len(h.UUID))
	}
	clear(buf[:HeaderSize])
	h.putFixed(buf)
	copy(buf[offName:offName+NameLen], h.Name)
	copy(buf[offUUID:offUUID+UUIDLen], h.UUID)
	return nil
}

func (h *Header) putFixed(buf []byte) {
	ne := binary.NativeEndian
	PutVersion(buf[offVersion:], h.Version)
	ne.PutUint32(buf[offDataSize:], h.DataSize)
	ne.PutUint32(buf[offDataStart:], h.DataStart)
	ne.PutUint32(buf[offTargetCount:], h.TargetCount)
	ne.PutUint32(buf[offOpenCount:], uint32(h.OpenCount))
	ne.PutUint32(buf[offFlags:], uint32(h.Flags))
	ne.PutUint32(buf[offEventNr:], h.EventNr)
	ne.PutUint64(buf[offDev:], h.Dev)
}

// PutTarget changes the size and the device of an encoded header, for a
// request that is made again and again.
func PutTarget(buf []byte, size uint32, dev uint64) {
	binary.NativeEndian.PutUint32(buf[offDataSize:], size)
	binary.NativeEndian.PutUint64(buf[offDev:], dev)
}

// ParseHeader decodes the header at the start of buf, which may be as short
// as MinSize: the kernel answers commands without payload so.
func ParseHeader(buf []byte) (Header, error) {
	h, err := ParseNumbers(buf)
	if err == nil {
		h.Name = cstring(buf[offName : offName+NameLen])
		h.UUID = cstring(buf[offUUID : offUUID+UUIDLen])
	}
	return h, err
}

// ParseNumbers is ParseHeader without the name and the uuid: it allocates
// nothing.
func ParseNumbers(buf []byte) (Header, error) {
	if len(buf) < MinSize {
		return Header{}, fmt.Errorf("dm_ioctl: %w: %d bytes", ErrTruncated, len(buf))
	}
	ne := binary.NativeEndian
	return Header{
		Version:     ParseVersion(buf[offVersion:]),
		DataSize:    ne.Uint32(buf[offDataSize:]),
		DataStart:   ne.Uint32(buf[offDataStart:]),
		TargetCount: ne.Uint32(buf[offTargetCount:]),
		OpenCount:   int32(ne.Uint32(buf[offOpenCount:])),
		Flags:       Flags(ne.Uint32(buf[offFlags:])),
		EventNr:     ne.Uint32(buf[offEventNr:]),
		Dev:         ne.Uint64(buf[offDev:]),
	}, nil
}

// PutVersion writes the three version words.
func PutVersion(buf []byte, v Version) {
	ne := binary.NativeEndian
	ne.PutUint32(buf, v.Major)
	ne.PutUint32(buf[4:], v.Minor)
	ne.PutUint32(buf[8:], v.Patch)
}

// ParseVersion reads the three version words; buf holds 12 bytes or more.
func ParseVersion(buf []byte) Version {
	ne := binary.NativeEndian
	return Version{ne.Uint32(buf), ne.Uint32(buf[4:]), ne.Uint32(buf[8:])}
}

// Payload is the valid payload of an answer: buf from DataStart to DataSize.
func (h *Header) Payload(buf []byte) ([]byte, error) {
	end := uint64(h.DataSize)
	if end > uint64(len(buf)) {
		return nil, fmt.Errorf("dm_ioctl: %w: data_size %d in a buffer of %d", ErrTruncated, end, len(buf))
	}
	start := uint64(h.DataStart)
	if start >= end {
		// Commands that return nothing answer data_size 305 and leave
		// data_start as it was sent.
		return nil, nil
	}
	if start < MinSize-1 {
		return nil, fmt.Errorf("dm_ioctl: %w: data_start %d", ErrMalformed, start)
	}
	return buf[start:end], nil
}

// MakeDev encodes a device number as huge_encode_dev does
// (include/linux/kdev_t.h).
func MakeDev(major, minor uint32) uint64 {
	return uint64(minor&0xff) | uint64(major&0xfff)<<8 | uint64(minor&^0xff)<<12
}

// SplitDev is the inverse of MakeDev.
func SplitDev(dev uint64) (major, minor uint32) {
	return uint32(dev>>8) & 0xfff, uint32(dev&0xff) | uint32(dev>>12)&^0xff
}

func cstring(b []byte) string { return string(cbytes(b)) }

// cbytes is b up to its NUL.
func cbytes(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// cbytesAt finds a NUL-terminated string that must end inside b.
func cbytesAt(b []byte, off int, what string) ([]byte, error) {
	if off > len(b) {
		return nil, fmt.Errorf("%s: %w at offset %d", what, ErrTruncated, off)
	}
	i := bytes.IndexByte(b[off:], 0)
	if i < 0 {
		return nil, fmt.Errorf("%s: %w: no NUL behind offset %d", what, ErrTruncated, off)
	}
	return b[off : off+i], nil
}

func cstringAt(b []byte, off int, what string) (string, error) {
	s, err := cbytesAt(b, off, what)
	return string(s), err
}

func align8(n int) int { return (n + 7) &^ 7 }
