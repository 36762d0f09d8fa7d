// SPDX-License-Identifier: MIT

// Package dmtest is a double of the kernel's device-mapper driver, for tests
// of programs that use package dm: no root, no module, any GOOS.
//
// # How to use it
//
// [New] makes a kernel; instances share nothing. Give it disks with
// [Kernel.AddDisk], hand [Kernel.Transport] to dm.Open, let the program work
// and look at what it made with [Kernel.Devices]. [Kernel.AssertClean] at the
// end fails the test when a device remains or is suspended.
//
// # What it does
//
// The double sits below the encoder. It gets the very ioctl buffers and
// answers with the bytes, flags and errnos of drivers/md/dm-ioctl.c; the
// kernel log ([Transport.KernelLog]) and the uevents ([Kernel.Uevents]) are
// those of the driver too. Recordings of Linux 6.1 are replayed against it in
// its tests, and the conformance suite of package dm runs against it and
// against real kernels. [WithVersion] makes it older or newer: 4.43.0 is
// Linux 5.10, 4.47.0 is 6.1, 4.48.0 is 6.12, 4.50.0 is
// 6.16 and later.
//
// Tables carry I/O: [Kernel.OpenDevice] reads and writes through the live
// table down to the disks, waits while a device is suspended and counts as
// an open, as [Kernel.Hold] does. [Kernel.OpenBlock] opens disks too, and at
// any alignment.
//
// # Making things go wrong
//
// [Kernel.Hook] sees each call before it is made and may refuse it or sleep,
// [Kernel.HookAfter] behind it. [Disk.Fail] and [Disk.FailWith] fail I/O,
// [Disk.Claim] makes a disk busy, [Kernel.SetAdmin] takes the right to use
// the control node away, [Kernel.Event] raises an event.
//
// Statistics measure the I/O by the clock: one that a function given to
// [Disk.FailWith] holds up is slow. [WithClock] makes the times exact.
//
// # Targets
//
// All targets of package dm but vdo have a model. [Kernel.AddTarget] plugs in
// others; [Target] says how they look. Their tables, status lines, refusals
// and log lines are the kernel's, and their I/O is real:
//
//   - Snapshots copy chunks before they change; a persistent store writes the
//     kernel's on-disk format, a reload hands the exceptions over, and a merge
//     runs by itself or, with [Kernel.HoldMerges], as far as [Kernel.Merge]
//     lets it.
//   - Thin pools share blocks among their volumes, keep their metadata on
//     their disk, run full, and fail when the disk does.
//   - crypt encrypts, integrity keeps the kernel's tags where the kernel does,
//     verity checks real trees.
//   - cache, writecache, era and clone keep on their metadata disk what they
//     know; a cache promotes by a simple rule of its own.
//   - A mirror copies its regions by itself or, with [Kernel.HoldResyncs], as
//     far as [Kernel.Resync] lets it, and keeps the kernel's log on disk.
//   - Multipath fails over and queues; in its default queue mode it wants
//     disks of [Disk.SetRequestBased].
//   - zoned is there for its refusals.
//
// # What it does not do
//
// There are no filesystems to freeze and no flushes; a discard zeroes, unless
// [Disk.SetDiscards] says that the disk takes none. Zoned disks and hardware
// handlers do not exist. A deferred removal happens within the last close,
// where the kernel leaves it to a work queue. A call that the kernel makes
// wait for a signal is interrupted by the Close of its Transport.
package dmtest
