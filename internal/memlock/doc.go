// SPDX-License-Identifier: MIT

// Package memlock keeps this process able to run while a block device is
// suspended that may carry its binary, its libraries, its log or its swap: a
// page fault that needs that device would block the very thread that has to
// resume it. Lock makes the code resident and keeps what is in memory there;
// Conflict tells, when Lock is not allowed to, whether it matters: which of the
// things this process needs lie on the given devices, through file systems,
// partitions, loop devices and stacked devices. The caller suspends if either
// Lock succeeds or Conflict is empty. What Lock cannot give: memory allocated
// while it is held needs no disk to be filled, but when the machine is short of
// memory an allocation may have to wait for writeback to the suspended device,
// so nothing should allocate much meanwhile; goroutine stacks and the garbage
// collector work in the heap and are safe in the same way. Files a program
// maps as data are not read in. Everything but Lock works from injectable
// roots; on systems other than Linux Lock returns errors.ErrUnsupported.
package memlock
