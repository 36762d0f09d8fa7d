// SPDX-License-Identifier: MIT

// Package raidtest is the model of the device-mapper target raid for the
// double of the kernel in package dm/dmtest, so that programs that drive
// arrays can be tested without root, without modules and on any GOOS.
//
//	k := dmtest.New()
//	k.AddTarget(raidtest.Target(dmraid.Linux61))
//
// A table of the target is taken or refused as the kernel's constructor does,
// its status and table lines are the kernel's, and its I/O is real: data,
// copies and parity lie on the disks where md puts them, superblocks and
// bitmaps are those of dm-raid.c and md-bitmap.c, byte by byte.
//
// An array does on its own what md does: it resyncs, recovers, checks, repairs
// and reshapes in the background, and marks itself clean [DaemonDelay] after a
// write. With a [Model] a test decides when: see [Model.HoldSync] and
// [Model.HoldDaemon].
//
// A failing disk (FailWith of a dmtest disk) is what a failing disk is to md: a
// read error is corrected from the other legs, a write error fails the leg, and
// a suspend and a resume bring it back.
//
// It is written against Linux 6.1. What differs on other kernels is chosen by
// the [dmraid.Kernel].
package raidtest
