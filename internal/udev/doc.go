// SPDX-License-Identifier: MIT

// Package udev speaks the device-mapper cookie protocol: a SysV semaphore that
// counts the uevents a program caused and that udev's rules (95-dm-notify.rules
// running "dmsetup udevcomplete") count down, so that the program knows when
// the links below /dev have settled. A Cookie is made by New, raised by Add
// before every ioctl that carries it, lowered by Undo when that ioctl made no
// uevent, and waited for and destroyed by Wait. Running and HasNotifyRules tell
// whether anybody would ever count it down; without both, a wait would never
// end and no cookie should be made. List, Inspect, Remove and Recover are for
// cleaning up after a killed process. The protocol is libdevmapper's
// (LVM2 libdm/libdm-common.c), so both sides may be mixed freely. On systems
// other than Linux every live call returns errors.ErrUnsupported.
package udev
