// SPDX-License-Identifier: MIT

package archtest

// Packages are written relative to the module: "." is its root, "dm" one
// package, "dm/..." the package and all below it.

// importRule says what of this module a package may import.
type importRule struct {
	Package string
	// Imports are the packages that it may import, and its tests with it.
	Imports []string
	// TestImports are further packages for its _test.go files. Every test
	// may import the package itself and those of testHelpers.
	TestImports []string
}

// shared is what every package of the library may import: the root package
// and internal packages, except those that exist for tests alone.
var shared = []string{
	".",
	"internal/blockdev",
	"internal/devnode",
	"internal/dmwire",
	"internal/kmsg",
	"internal/memlock",
	"internal/runfile",
	"internal/udev",
}

// testHelpers is what every _test.go file may import.
var testHelpers = []string{
	"internal/fixture",
	"internal/vmtest",
	// The doubles of the kernel, and of other peers.
	"dm/dmtest",
	"dmraid/raidtest",
	"drbd/drbdtest",
	"lvm/lvmtest",
	"xen/xenstoretest",
	"netapp/ontaptest",
}

// importRules is the import direction. The first rule that matches a package
// counts; a package without one is a finding.
var importRules = []importRule{
	// The root is a leaf. Its tests run the program of README.md.
	{Package: ".", TestImports: []string{"dm"}},

	{Package: "dm", Imports: shared},
	{Package: "dm/dmtest", Imports: with(shared, "dm")},
	{Package: "dmraid", Imports: with(shared, "dm")},
	{Package: "dmraid/raidtest", Imports: with(shared, "dm", "dm/dmtest", "dmraid")},
	{Package: "lvm", Imports: with(shared, "dm", "dmraid")},
	{Package: "lvm/lvmtest", Imports: with(shared, "lvm")},
	{Package: "drbd", Imports: shared},
	{Package: "drbd/drbdtest", Imports: with(shared, "drbd")},
	{Package: "xen", Imports: shared},
	{Package: "xen/xenstoretest", Imports: with(shared, "xen")},
	{Package: "netapp", Imports: with(shared, "netapp/transfer")},
	{Package: "netapp/transfer", Imports: shared},
	{Package: "netapp/ontaptest", Imports: with(shared, "netapp")},

	{Package: "examples/...", Imports: []string{"./..."}},

	// The runner of the VM, and what its tests ask it for.
	{Package: "internal/cmd/...", Imports: []string{".", "internal/..."}},
	{Package: "internal/vmtest/kmod", Imports: []string{"."}},
	{Package: "internal/fault"},
	{Package: "internal/vmtest", Imports: []string{".", "internal/..."}},

	// The error type is all that internal packages share.
	{Package: "internal/...", Imports: []string{".", "internal/fault"}},
}

// runsPrograms lists the packages that may import os/exec: they start the
// virtual machine, and Debian's tools inside it.
var runsPrograms = []string{"internal/vmtest", "internal/cmd/vmtest", "internal/cmd/vmtest/testdata/..."}

// mayFork lists those that may start a process by other means as well.
// Tests may everywhere: they kill children of their own.
var mayFork = []string{"internal/vmtest", "internal/cmd/...", "examples/..."}

// module is a module that go.mod may require directly.
type module struct {
	Path string
	Why  string
	// Only are the packages that may import it, with their tests; nil is
	// all of them.
	Only []string
}

var modules = []module{
	{Path: "golang.org/x/sys", Why: "system calls, and the numbers of Linux"},
	{Path: "github.com/mdlayher/netlink", Why: "netlink sockets", Only: []string{"drbd/...", "internal/genl"}},
	{Path: "github.com/mdlayher/genetlink", Why: "generic netlink, which DRBD speaks", Only: []string{"drbd/...", "internal/genl"}},
	{Path: "github.com/klauspost/reedsolomon", Why: "raid6's field in SIMD", Only: []string{"dmraid/..."}},
	{Path: "github.com/google/go-cmp", Why: "readable differences in tests"},
}

// maxLines is how long a .go file may be that is not a test.
const (
	maxLines        = 500
	maxExampleLines = 200
)

// systemRoots are the first elements of the absolute paths that files may
// name: those of any Linux system, and the folder of the runner inside the VM.
// Everything else is somebody's own.
var systemRoots = words(`bin boot dev etc init lib lib64 mnt nonexistent proc root
	run sbin sys tmp usr var vmtest`)

// workRoots are the folders in which people and machines have their clones.
// Tests make up paths, so they may name everything but these.
var workRoots = words(`Users build builds home opt repo repos srv work
	workspace workspaces`)

// publicHosts are the hosts that a URL may name, with the names below them.
var publicHosts = words(`github.com pkg.go.dev go.dev golang.org kernel.org spdx.org semver.org
	keepachangelog.com localhost 127.0.0.1 example example.com example.net
	example.org invalid`)
