// SPDX-License-Identifier: MIT

// Package dm drives the kernel's device-mapper: it creates, loads, swaps,
// watches and removes devices through the ioctls of /dev/mapper/control,
// without dmsetup, libdevmapper or any other program.
//
// # A device in a few lines
//
// A device is a name and a [Table]: segments that say which target maps
// which sectors. [Client.Create] makes it and runs it:
//
//	c, err := dm.Open(ctx)
//	// …
//	table := dm.Table{}.Append(2048, dm.Linear{Device: "/dev/sdb", Offset: 8})
//	info, err := c.Create(ctx, "data", table, dm.CreateOptions{})
//	// I/O goes to info.Dev.Path(), "/dev/dm-0", or to /dev/mapper/data
//	err = c.Remove(ctx, info.Dev, dm.RemoveOptions{})
//
// Calls name a device by its [Name], its [UUID] or its number, a [Dev]. Names
// are those of the kernel; [Mangle] makes one of any text, as libdevmapper
// does, and [ParseLVMName] reads those of LVM.
//
// # Tables and targets
//
// [ParseTable] and [Table.Format] read and write the lines that dmsetup does.
// All targets of the kernel but raid have types of their own, with their
// status ([Status.Typed]) and their messages ([Client.Send]): from [Linear]
// and [Crypt] to [ThinPool], [Cache] and [Multipath]. raid is package
// dmraid's; what nobody knows is a [Raw], whose text is kept as it is.
// [Target] is an open interface: other packages bring more, see
// [WithTargets]. A table is checked with the kernel's own rules before the
// kernel sees it, and against the sizes of the devices it maps. What the
// kernel prints of a table can be loaded again, where its own printing is at
// fault too.
//
// # Two slots
//
// A device has an active and an inactive table. [Client.Load] fills the
// inactive slot, [Client.Resume] makes it the active one. [Client.Reload]
// does both in a way that always leaves the device running, and that can be
// killed at any moment. To order the swaps of several devices, or to do
// something while they stand still, there is [Client.WhileSuspended], which
// works even if the devices carry the program that calls it.
//
// # What stands on what
//
// [Client.Graph] asks the driver which devices map which, and sysfs for the
// disks below. The [Graph] it gives is a value that can be asked what would
// break without a device, and printed as a tree, for Graphviz, or as JSON.
//
// # Many devices
//
// Most of the time that a change takes, the kernel waits. A [Batch] makes many
// changes side by side, each when those it depends on are done, and with
// AllOrNothing takes all of them back when one fails. A [StatusReader] asks
// many devices for their status again and again without allocating.
//
// # Statistics
//
// The driver counts the I/O of any device in regions that a program asks for
// with [Client.StatsCreate]: how much, how long it took, in histograms if
// wanted. [Client.StatsPrint] reads the counters, and clears them in the same
// call without losing any; [StatsCounters] knows what iostat makes of them.
//
// # udev
//
// When udevd runs, calls wait until its rules are done, with the semaphores
// of libdevmapper's cookies; so /dev/mapper/NAME is there when Create
// returns. When it does not run, as in an initramfs or a container, the nodes
// are made here, with the rights that libdevmapper gives them. Where udevd
// runs without device-mapper's rules, nobody would end a wait: then there is
// none, and /dev/dm-N is the node to use. Nothing waits longer than its
// context.
//
// # Errors
//
// Every error of a call on a [Client] is an [*Error]. It matches
// fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, errors.ErrUnsupported or one
// of this package's errors, and its Detail is the reason that the kernel
// wrote to its log. Tables and names that are checked without a client give
// errors that match [ErrBadTable] and [ErrBadName].
//
//	dm: create data: linear: Invalid argument count (-EINVAL): EINVAL
//
// # Cancelling and being killed
//
// A cancelled call takes back what it did. Where the kernel itself blocks,
// the call answers [ErrPending] and the work is finished or taken back by a
// goroutine that [Client.Close] waits for. What a SIGKILL leaves half made is
// listed in a run file; [Client.Recover] of any later process removes it.
//
// # Tests without root
//
// Package dmtest is a double of the driver: it takes the same bytes and gives
// the same answers as the kernel, held together by one conformance suite.
//
//	c, err := dm.Open(ctx, dm.WithTransport(dmtest.New().Transport()))
//
// # What the kernel does that one might not expect
//
// These were seen on Linux 6.1 and are taken care of here.
//
//   - A name of 128 bytes is cut to 127 without a word: refused.
//   - A taken name is EBUSY, a taken minor number ENXIO: both match
//     fs.ErrExist.
//   - The size of the devices below is checked at the swap, not at the load,
//     once a device has had a table; then the swap fails, the new table is
//     gone and the device is left suspended: checked before, resumed after.
//   - A table may map its own device; the device can't be removed then:
//     refused, also through other device-mapper devices in between.
//   - A message to a device without a table succeeds and does nothing: it is
//     an error here.
//   - A persistent snapshot store keeps the chunk size it was made with: the
//     table says 32, and the device uses 16.
//   - Linux 7.2.13 dies of a snapshot with discard_zeroes_cow and a chunk
//     below 512 sectors.
//   - A target that refuses to run, such as a thin pool that is too small, does
//     so when the old table is gone already: it is loaded again.
//   - Linux 6.1 dies of the crypt option "integrity:32" without a second
//     colon: refused, but not in a Raw.
//   - The key of a crypt device that was wiped prints as zeros, and that table
//     would load, with a key of zeros.
//   - A swap of tables does not raise a device's event number, a rename does.
//
// The interface is that of drivers/md/dm-ioctl.c and
// include/uapi/linux/dm-ioctl.h; Linux 4.14 or newer is needed. On other
// systems everything compiles, tables and names work, and [Open] answers
// errors.ErrUnsupported.
package dm
