// SPDX-License-Identifier: MIT

// Vmtest runs Go tests as root on Debian's stock kernel, in a virtual machine,
// and reports like go test:
//
//	go run ./internal/cmd/vmtest ./...
//	go run ./internal/cmd/vmtest -v -run TestSnapshot ./dm
//	go run ./internal/cmd/vmtest -kernel trixie -short ./...
//
// It needs Linux, QEMU and, unless -kernel is a folder, apt-get and dpkg-deb;
// it needs neither root nor KVM. The first run downloads about 100 MB; the
// following ones boot in some seconds. All packages share one boot.
//
// # What it does
//
//  1. go list resolves the packages, go test -c makes a static binary of each
//     (build.go). A package that does not compile fails, the others go on.
//     Vet is not run.
//  2. apt, in a private root in the user's cache folder, fetches the suite's
//     newest kernel and the tools with all that they depend on, with
//     signatures checked. Nothing of the machine is changed (sources.go,
//     apt.go, deb.go).
//  3. The kernel package is taken apart; of its modules, those that make sense
//     in a VM are packed together with an index of their dependencies and
//     aliases (kernel.go, modules.go, and package kmod). The tools' packages
//     become an archive as well (tools.go). Both stay in the cache.
//  4. Base system, tools, modules, init, test binaries and a copy of the
//     module's source tree make an initramfs (cpio.go, image.go).
//  5. QEMU boots it (accel.go, qemu.go). Init is the program in the folder
//     guest; it runs the binaries one after the other, each in its package's
//     folder, and sends their output through a virtio-serial port (package
//     wire). The console goes to a log of its own.
//  6. test2json makes events of the output, and the reporter prints them as go
//     test would (guestvm.go, convert.go, report.go, quiet.go).
//
// # Flags
//
// Of go test: -run -skip -bench -benchtime -benchmem -short -v -count
// -failfast -timeout -parallel -cpu -shuffle -fullpath -list -json, -args, and
// the build flags -tags -ldflags -gcflags -asmflags -mod -modfile -overlay
// -trimpath -a -p. What cannot work says so: -race, -fuzz, -cover and the
// profiles. -h lists vmtest's own flags; the ones that matter:
//
//	-kernel bullseye|bookworm|trixie|sid|FOLDER
//	-tools lvm2,drbd-utils   packages inside; +drbd-utils adds to the default
//	-modules zram,nbd        kernel modules inside that are not by default
//	-disk 1G  -ram-disks 4   what /dev/vda and /dev/ram* are
//	-memory 4G  -cpus 1
//	-timeout 5m              of one package, as in go test
//	-vm-timeout 30m          of the whole VM
//	-accel kvm|tcg           default: KVM if a probe boot proves that it works
//	-peers 2                 two VMs joined by a network
//	-shell                   a shell instead of the tests
//	-refresh                 look for newer kernels and tools
//	-x                       say what takes how long
//	-keep                    keep the initramfs and the console's log
//
// # What counts as a failure
//
// The exit status is 0 if everything that was asked for ran and passed, 1 if
// not, and 2 if vmtest itself could not do its work. In particular, these
// fail:
//
//   - a test that is skipped. Outside the VM, vmtest.Require skips; inside
//     there is no excuse, and a typo in a module's name must not look like a
//     success. Two kinds of skips are allowed. With -short, those whose
//     message has the word "short" in it. And those by which package vmtest
//     says that this VM is not of the right kind (vmtest.RequireKernel,
//     vmtest.RequirePeer): they are listed at the end as not run.
//     -allow-skips allows all.
//   - a kernel panic or oops: the package that ran fails, with the names of
//     the tests that were running and the console's lines; the packages after
//     it are reported as not run.
//   - a hang: at its -timeout the binary panics with the stacks of its
//     goroutines, as always. If it hangs in the kernel, where not even SIGKILL
//     ends it, the kernel's stacks of blocked tasks are shown and the rest is
//     not run. If the VM itself does not answer, -vm-timeout ends it. A
//     binary's timeout is cut so that it strikes before the VM's.
//   - a VM that ends before it said that all was run.
//
// A warning in the kernel's log is shown, and does not fail the package.
//
// # One at a time
//
// Emulated VMs side by side starve each other; vmtest waits until no other one
// of the same user runs. QEMU dies with vmtest, even if that is killed.
//
// # The cache
//
// It is the folder linuxblock/vmtest in os.UserCacheDir, with apt's lists and
// packages, about 100 MB for each kernel and 30 MB for each set of tools. It
// may be removed at any time. The mirror is the one in the machine's apt
// configuration, or -mirror.
//
// # Testing this program
//
// go test runs what needs no VM. The folders in testdata are packages that
// panic, hang, exit, skip and so on; scenarios_test.go runs vmtest on each and
// looks at what it says:
//
//	go test -tags vmscenarios -timeout 60m -run Scenarios ./internal/cmd/vmtest
package main
