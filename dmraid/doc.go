// SPDX-License-Identifier: MIT

// Package dmraid drives the device-mapper target "raid" (drivers/md/dm-raid.c):
// md's raid 0, 1, 4, 5, 6 and 10 over legs that a table names. It makes arrays,
// takes them through their life, reads what lies on their legs without the
// kernel, and keeps its callers out of what the kernel gets wrong.
//
// # An array in a few lines
//
// A [Leg] is a metadata device, for superblock and bitmap, and a data device. A
// plan makes the array; it can be printed before it is run:
//
//	c, err := dm.Open(ctx, dm.WithTargets(dmraid.Parsers()))
//	// …
//	table := dmraid.Table{Type: dmraid.RAID5LS, ChunkSize: 128, Legs: []dmraid.Leg{
//		{Meta: "/dev/vg/m0", Data: "/dev/vg/d0"},
//		{Meta: "/dev/vg/m1", Data: "/dev/vg/d1"},
//		{Meta: "/dev/vg/m2", Data: "/dev/vg/d2"},
//	}}
//	plan, err := dmraid.PlanCreate(ctx, c, dmraid.NewArray{Name: "data", Table: table, Length: 1 << 21})
//	err = plan.Run(ctx, linuxblock.RunOptions{})
//
// [OpenArray] finds it again. [Array.Plan] plans each change of its life, an
// [Operation]: [FailLeg], [MergeLeg], [ReplaceLegs], [AddLegs], [RemoveLegs],
// [SplitLeg], [Revive], [Resize], [StartReshape], [Takeover], [Tune], [Finish]
// and [Stop]. [Array.Scrub] compares the legs, [Array.Watch] follows what runs.
// [PlanAssemble] brings an array up that was stopped, or whose machine was.
//
// # Tables
//
// [Table] is a plain value and a [dm.Target]. [Parse] reads what people write,
// [ParsePrinted] what kernels print: target versions 1.0 to 1.15 print words
// with the wrong count, halve max_write_behind and leave raid10_use_near_sets
// out, so that their lines can't be loaded as they are. [Table.Validate] and
// [Check] say what the constructor would, in its own words, before any ioctl;
// duplicate devices, which it takes, are refused. [ParseDraft] reads the grammar
// of the mail of 2010 that proposed the target, [Explain] tells a line in words.
//
// # What the kernel really does
//
// The mail has two matrices that say how an array begins, from nosync, sync,
// rebuild and the presence of metadata: [MailState]. [KernelState] is what the
// running kernel makes of a table and the superblocks it finds. They differ,
// and kernels differ. Where an array reads well afterwards and is not, that is
// a [Trap]: the word sync that syncs nothing and marks dirty arrays clean;
// arrays without metadata that never sync; a leg that was taken out, written
// past and given back at once, and is stale from then on; and regions that were
// being written when the power went, which the bitmap knows of and no kernel
// from 5.10 to 7.2 resyncs. Plans go around what they can and refuse the rest
// with [ErrTrap], unless the caller names it.
//
// # Status
//
// [ParseStatus] reads a status line of any version without allocating.
// [Status.Health] says what it means: the kernel prints 0 for the progress of an
// array that is suspended or frozen, and calls the resync behind a crash a
// repair.
//
// # Without the kernel
//
// [ReadSuperblock] and [ReadBitmap] read the metadata of a leg from any
// [io.ReaderAt], [Scan] that of many at once; [Verify] says which legs are
// current, stale, failed or strangers, and what a table must name to bring the
// array up safely. [Superblock.Table] makes the table again. A [Geometry] says
// where each sector lies, for every level and layout, in the middle of a
// reshape too, and a [Reader] reads the content from the legs that are there,
// with parity and Reed–Solomon in the place of those that are not.
//
// # Units and errors
//
// Lengths and offsets are [Sectors] of 512 bytes. Every error is an *[Error];
// its Code is the kernel's number, and its Detail the kernel's text where there
// is one.
//
// # Tests without root
//
// Package raidtest is the model of the target for the double of dm/dmtest. The
// conformance suite of this package runs on it and on real kernels.
package dmraid
