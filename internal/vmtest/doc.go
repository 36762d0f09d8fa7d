// SPDX-License-Identifier: MIT

// Package vmtest is what a test asks for when it needs a real kernel.
//
//	func TestSnapshot(t *testing.T) {
//		vmtest.Require(t, "dm-snapshot")
//		disk := vmtest.RAMDisk(t)
//		...
//		out := vmtest.Run(t, "dmsetup", "table")
//	}
//
// Under go test, such a test is skipped: go test needs no root, no VM and no
// network. Under
//
//	go run ./internal/cmd/vmtest ./...
//
// it runs as root on Debian's stock kernel, with Debian's tools next to it for
// cross-checks, and there it may not be skipped: Require fails the test if the
// kernel lacks a module, Command if a tool is missing.
//
// # What a test may count on inside
//
// The working directory is the package's, in a copy of the module's source
// tree. The environment has LINUXBLOCK_VM=1. Packages run one after the other;
// when one ends, the processes it left are killed and /tmp is emptied, but
// kernel objects (device-mapper and loop devices, modules) stay: every test
// removes what it made. There is no udevd unless [StartUdevd] was called.
//
// # Real kernels differ
//
// [RequireKernel] and [RequirePeer] skip a test inside the VM as well, when it
// runs on an older kernel or alone, and [NotInVM] a long one that has run under
// go test. The runner lists those as not run.
package vmtest
