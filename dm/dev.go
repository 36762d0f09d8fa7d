// SPDX-License-Identifier: MIT

package dm

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/linuxblock/linuxblock"
	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// Sectors is a length or an offset in units of 512 bytes.
type Sectors = linuxblock.Sectors

// Dev is a block device number. The major number of device-mapper differs
// between boots; the kernel tells it in /proc/devices.
type Dev struct{ Major, Minor uint32 }

// ParseDev reads "major:minor" in decimal.
func ParseDev(s string) (Dev, error) {
	major, minor, found := strings.Cut(s, ":")
	if found {
		// The kernel's dev_t has 12 bits of major and 20 of minor.
		a, err1 := strconv.ParseUint(major, 10, 12)
		b, err2 := strconv.ParseUint(minor, 10, 20)
		if err1 == nil && err2 == nil {
			return Dev{uint32(a), uint32(b)}, nil
		}
	}
	return Dev{}, fmt.Errorf("%w: %q is not major:minor", ErrBadName, s)
}

// String prints "major:minor", as the kernel does in tables.
func (d Dev) String() string {
	return strconv.FormatUint(uint64(d.Major), 10) + ":" + strconv.FormatUint(uint64(d.Minor), 10)
}

// IsZero reports whether d is 0:0, which no block device has.
func (d Dev) IsZero() bool { return d == Dev{} }

// Path is the kernel's own node of a device-mapper device: "/dev/dm-3". It
// is there whether udev runs or not, as soon as the device exists.
func (d Dev) Path() string { return "/dev/dm-" + strconv.FormatUint(uint64(d.Minor), 10) }

func (d Dev) identify(h *dmwire.Header) error {
	// libdevmapper sets the flag for every call by number.
	h.Flags |= dmwire.PersistentDev
	h.Dev = dmwire.MakeDev(d.Major, d.Minor)
	return d.validate()
}

func (d Dev) validate() error {
	if d.IsZero() {
		return badName("", "device number 0:0")
	}
	if d.Major > 0xfff || d.Minor > 0xfffff {
		return badName(d.String(), "device number out of range")
	}
	return nil
}

func devOf(n uint64) Dev {
	major, minor := dmwire.SplitDev(n)
	return Dev{major, minor}
}
