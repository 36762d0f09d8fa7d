// SPDX-License-Identifier: MIT

// Package kmsg reads from the kernel's log what the kernel had to say about an
// ioctl that failed. Device-mapper reports a refusal as a bare errno; the
// sentence that explains it goes to the log only. A Pool hands out Readers,
// each with its own cursor, because ioctls run concurrently: Mark before the
// ioctl (one lseek), Collect after a failure, then Match picks the lines that
// concern this device and nobody else's. Records that programs wrote into
// /dev/kmsg themselves are never matched: the kernel marks them with a facility
// other than 0, so a reason cannot be forged. ParseRecord reads the format of
// Linux Documentation/ABI/testing/dev-kmsg on every system; Open needs Linux
// and, where kernel.dmesg_restrict is set, CAP_SYSLOG.
package kmsg
