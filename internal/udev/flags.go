// SPDX-License-Identifier: MIT

package udev

import "strings"

// Flags are the upper 16 bits of a cookie value. They tell udev's rules what
// to leave out for this event. Values: LVM2 libdm/libdevmapper.h.
type Flags uint16

// The flags of libdm/libdevmapper.h (DM_UDEV_*), and the byte a subsystem may
// use for itself.
const (
	// DisableDMRules makes the basic rules (10-dm.rules) make no /dev/mapper link.
	DisableDMRules Flags = 0x0001
	// DisableSubsystemRules skips the rules of the owner of the uuid prefix (LVM, multipath, …).
	DisableSubsystemRules Flags = 0x0002
	// DisableDiskRules skips 13-dm-disk.rules: no /dev/disk/by-* links.
	DisableDiskRules Flags = 0x0004
	// DisableOtherRules asks foreign rules (md, systemd, desktop) to keep off.
	DisableOtherRules Flags = 0x0008
	// LowPriority lets another device win when two claim the same link.
	LowPriority Flags = 0x0010
	// DisableLibraryFallback tells libdm not to make nodes itself. It has no
	// effect on the rules; dmsetup sets it always.
	DisableLibraryFallback Flags = 0x0020
	// PrimarySource marks an event that comes from an activation. Without it
	// 10-dm.rules takes the event for a spurious one and disables nearly
	// everything, so set it for every resume, rename and remove, cookie or not.
	PrimarySource Flags = 0x0040
	// Subsystem0 … Subsystem7 belong to the subsystem. LVM uses Subsystem0 for
	// "do not scan".
	Subsystem0 Flags = 0x0100
	Subsystem1 Flags = 0x0200
	Subsystem2 Flags = 0x0400
	Subsystem3 Flags = 0x0800
	Subsystem4 Flags = 0x1000
	Subsystem5 Flags = 0x2000
	Subsystem6 Flags = 0x4000
	Subsystem7 Flags = 0x8000
)

var flagNames = [...]struct {
	bit  Flags
	name string
}{
	{DisableDMRules, "DISABLE_DM_RULES"},
	{DisableSubsystemRules, "DISABLE_SUBSYSTEM_RULES"},
	{DisableDiskRules, "DISABLE_DISK_RULES"},
	{DisableOtherRules, "DISABLE_OTHER_RULES"},
	{LowPriority, "LOW_PRIORITY"},
	{DisableLibraryFallback, "DISABLE_LIBRARY_FALLBACK"},
	{PrimarySource, "PRIMARY_SOURCE"},
	{Subsystem0, "SUBSYSTEM_0"},
	{Subsystem1, "SUBSYSTEM_1"},
	{Subsystem2, "SUBSYSTEM_2"},
	{Subsystem3, "SUBSYSTEM_3"},
	{Subsystem4, "SUBSYSTEM_4"},
	{Subsystem5, "SUBSYSTEM_5"},
	{Subsystem6, "SUBSYSTEM_6"},
	{Subsystem7, "SUBSYSTEM_7"},
	{0x0080, "0x0080"},
}

// String lists the set flags in libdevmapper's words, joined by "|".
func (f Flags) String() string {
	var set []string
	for _, n := range flagNames {
		if f&n.bit != 0 {
			set = append(set, n.name)
		}
	}
	if len(set) == 0 {
		return "0"
	}
	return strings.Join(set, "|")
}

// The cookie's place in the SysV key space: the upper 16 bits of every key are
// the magic number, the lower 16 the cookie's base.
// LVM2 libdm/libdevmapper.h DM_COOKIE_MAGIC, DM_UDEV_FLAGS_SHIFT.
const (
	Magic     = 0x0D4D
	flagShift = 16
)

// Value is what goes into event_nr of struct dm_ioctl: the flags above the
// cookie's base. A base of 0 means no cookie, only flags.
func Value(flags Flags, base uint16) uint32 { return uint32(flags)<<flagShift | uint32(base) }

// Split takes a DM_COOKIE number apart.
func Split(value uint32) (flags Flags, base uint16) {
	return Flags(value >> flagShift), uint16(value)
}

// Key is the SysV semaphore key that belongs to a cookie's base.
func Key(base uint16) uint32 { return Magic<<16 | uint32(base) }

// IsKey tells whether a SysV key belongs to a cookie.
func IsKey(key uint32) bool { return key>>16 == Magic && uint16(key) != 0 }
