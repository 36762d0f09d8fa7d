// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"fmt"
	"strings"
)

// Zoned makes a device that takes random writes of zoned block devices, which
// do not (drivers/md/dm-zoned-target.c). They are formatted by dmzadm.
type Zoned struct {
	// Devices are one zoned device, or a regular one for metadata and cache
	// and zoned ones; several since Linux 5.8.
	Devices []string
}

// TargetType is "zoned".
func (Zoned) TargetType() string { return "zoned" }

// Params is "device…".
func (z Zoned) Params() string { return JoinArgs(z.Devices...) }

// Extents names the devices.
func (z Zoned) Extents(Sectors) []Extent {
	var ext []Extent
	for _, d := range z.Devices {
		ext = append(ext, Extent{Device: d})
	}
	return ext
}

// Validate refuses an empty list and an empty device.
func (z Zoned) Validate(Sectors) error {
	if len(z.Devices) == 0 {
		return errors.New("no device")
	}
	return needDevice(z.Devices...)
}

func parseZoned(params string) (Target, error) {
	r := readArgs(params)
	z := Zoned{[]string{r.device("device")}}
	for r.err == nil && r.left() > 0 {
		z.Devices = append(z.Devices, r.device("device"))
	}
	return z, r.end()
}

// ZonesFree counts zones: so many in all, and so many of them not in use.
type ZonesFree struct{ Free, Total uint32 }

func (z ZonesFree) String() string { return num(z.Free) + "/" + num(z.Total) }

// ZonedDevice counts the zones of one device.
type ZonedDevice struct{ Random, Sequential ZonesFree }

// ZonedStatus is the status of a zoned target, in the form of Linux 5.8.
type ZonedStatus struct {
	Zones   uint32
	Cache   ZonesFree     // of the regular device
	Devices []ZonedDevice // the zoned ones
}

// ParseZonedStatus reads "1000 zones 0/0 cache 10/20 random 900/980 sequential".
func ParseZonedStatus(text string) (ZonedStatus, error) {
	r := readArgs(text)
	counts := func(kind string) (z ZonesFree) {
		free, total := r.fraction(kind + " zones")
		if r.err == nil && (free >= 1<<32 || total >= 1<<32) {
			r.fail(kind+" zones", fmt.Errorf("%d/%d are beyond 32 bits", free, total))
		}
		r.oneOf(kind, kind)
		return ZonesFree{uint32(free), uint32(total)}
	}
	s := ZonedStatus{Zones: uint32(r.uint("zones", 32))}
	r.oneOf("zones", "zones")
	s.Cache = counts("cache")
	for r.err == nil && r.left() > 0 {
		s.Devices = append(s.Devices, ZonedDevice{counts("random"), counts("sequential")})
	}
	if err := r.end(); err != nil {
		return ZonedStatus{}, badStatus("zoned", err)
	}
	return s, nil
}

// String is the kernel's text.
func (s ZonedStatus) String() string {
	var b strings.Builder
	b.WriteString(num(s.Zones) + " zones " + s.Cache.String() + " cache")
	for _, d := range s.Devices {
		b.WriteString(" " + d.Random.String() + " random " + d.Sequential.String() + " sequential")
	}
	return b.String()
}

// ReclaimZones has a zoned target empty zones that it could use again.
type ReclaimZones struct{}

// TargetType is "zoned".
func (ReclaimZones) TargetType() string { return "zoned" }

// Text is "reclaim".
func (ReclaimZones) Text() string { return "reclaim" }

// Validate finds nothing to refuse.
func (ReclaimZones) Validate() error { return nil }
