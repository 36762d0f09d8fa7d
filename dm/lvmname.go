// SPDX-License-Identifier: MIT

package dm

import "strings"

// LVMName is the parts of a device name that LVM made: volume group,
// logical volume, and the layer of a device that is a part of a volume
// ("real", "cow", "tpool" …; empty for the volume itself).
type LVMName struct{ VG, LV, Layer string }

// Name joins the parts as libdm's dm_build_dm_name does: a '-' inside a part
// is doubled, single ones part them. The result is mangled.
func (l LVMName) Name() (Name, error) {
	if l.VG == "" || l.LV == "" {
		return "", badName(l.VG+"-"+l.LV, "no volume group or no logical volume")
	}
	s := double(l.VG) + "-" + double(l.LV)
	if l.Layer != "" {
		s += "-" + double(l.Layer)
	}
	return Mangle(s, MangleAuto)
}

func double(s string) string { return strings.ReplaceAll(s, "-", "--") }

// ParseLVMName takes a device name apart. ok is false when it is not of the
// form that LVM makes; that it is does not prove that LVM made it: look for
// the prefix "LVM-" in the UUID.
func ParseLVMName(n Name) (l LVMName, ok bool) {
	var parts []string
	var b strings.Builder
	s := n.Unmangle()
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '-':
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == '-':
			b.WriteByte('-')
			i++
		default:
			parts = append(parts, b.String())
			b.Reset()
		}
	}
	parts = append(parts, b.String())
	if len(parts) < 2 || len(parts) > 3 {
		return LVMName{}, false
	}
	for _, p := range parts {
		if p == "" {
			return LVMName{}, false
		}
	}
	l.VG, l.LV = parts[0], parts[1]
	if len(parts) == 3 {
		l.Layer = parts[2]
	}
	return l, true
}

// lvmUUIDPrefix starts every device-mapper uuid of LVM
// (lvm2 lib/activate/dev_manager.c, UUID_PREFIX).
const lvmUUIDPrefix = "LVM-"

// LVMUUID is the parts of a device uuid that LVM made: the ids of volume
// group and logical volume, 32 characters each without their dashes, and a
// suffix such as "real" or "tpool".
type LVMUUID struct{ VG, LV, Suffix string }

// UUID joins the parts.
func (l LVMUUID) UUID() (UUID, error) {
	if len(l.VG) != 32 || len(l.LV) != 32 {
		return "", badName(l.VG+l.LV, "the ids of LVM have 32 characters")
	}
	s := lvmUUIDPrefix + l.VG + l.LV
	if l.Suffix != "" {
		s += "-" + l.Suffix
	}
	return MangleUUID(s, MangleAuto)
}

// ParseLVMUUID takes a device uuid of LVM apart; ok is false for the uuid of
// another subsystem.
func ParseLVMUUID(u UUID) (l LVMUUID, ok bool) {
	rest, found := strings.CutPrefix(string(u), lvmUUIDPrefix)
	if !found || len(rest) < 64 {
		return LVMUUID{}, false
	}
	l.VG, l.LV = rest[:32], rest[32:64]
	if rest = rest[64:]; rest != "" {
		if rest[0] != '-' || len(rest) == 1 {
			return LVMUUID{}, false
		}
		l.Suffix = rest[1:]
	}
	return l, true
}
