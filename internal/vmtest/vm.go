// SPDX-License-Identifier: MIT

package vmtest

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/internal/vmtest/kmod"
)

// NotHere begins the message of a skip that is allowed inside the VM: this VM
// is not of the kind that the test needs. The runner lists such tests as not
// run, never as passed. Only this package uses it.
const NotHere = "vmtest: not here: "

// InVM reports whether this process runs inside the VM of
// internal/cmd/vmtest.
func InVM() bool { return os.Getenv("LINUXBLOCK_VM") == "1" }

// need skips a test outside the VM.
func need(t testing.TB) {
	t.Helper()
	if !InVM() {
		t.Skip("needs the test VM: go run ./internal/cmd/vmtest")
	}
}

// Require skips the test outside the VM. Inside, it loads kernel modules, by
// name or alias, and fails the test if one is missing: in the VM nothing may
// skip. A module that is built in or loaded already is fine. Without modules
// it only asks for the VM.
func Require(t testing.TB, modules ...string) {
	t.Helper()
	need(t)
	if len(modules) == 0 {
		return
	}
	l, err := kmod.Open()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range modules {
		if err := l.Load(m, ""); err != nil {
			t.Fatalf("the VM's kernel has no usable %s: %v", m, err)
		}
	}
}

// LoadModule is Require for one module with parameters, as
// "max_queue=1 dev_size_mb=64". It fails the test if the module is loaded
// already, because its parameters would be those of somebody else, and unloads
// it when the test ends.
func LoadModule(t testing.TB, module, params string) {
	t.Helper()
	need(t)
	l, err := kmod.Open()
	if err != nil {
		t.Fatal(err)
	}
	if l.Loaded(module) {
		t.Fatalf("module %s is loaded already", module)
	}
	if err := l.Load(module, params); err != nil {
		t.Fatalf("the VM's kernel has no usable %s: %v", module, err)
	}
	t.Cleanup(func() {
		if err := kmod.Unload(module); err != nil {
			t.Errorf("%s is still in use: %v", module, err)
		}
	})
}

// Version is a kernel's version, of which the first two numbers say what it
// can do.
type Version struct{ Major, Minor int }

// String returns "6.1".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// AtLeast reports whether v is major.minor or newer.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// KernelVersion returns the version of the running kernel; it is zero on
// systems other than Linux.
func KernelVersion() Version {
	release, err := kmod.Release()
	if err != nil {
		return Version{}
	}
	return parseVersion(release)
}

// parseVersion reads the two leading numbers of a release such as
// "6.1.0-56-amd64" or "6.12-rc1".
func parseVersion(release string) Version {
	var v Version
	major, rest, _ := strings.Cut(release, ".")
	v.Major, _ = strconv.Atoi(major)
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		rest = rest[:i]
	}
	v.Minor, _ = strconv.Atoi(rest)
	return v
}

// RequireKernel skips the test outside the VM, and on kernels older than
// major.minor. why names what the older kernel lacks. The runner lists the
// test as not run.
func RequireKernel(t testing.TB, major, minor int, why string) {
	t.Helper()
	need(t)
	if v := KernelVersion(); !v.AtLeast(major, minor) {
		t.Skipf("%sneeds Linux %d.%d, this is %v: %s", NotHere, major, minor, v, why)
	}
}

// Peer returns this VM's number, 0 or 1, if it is one of two that are joined
// by a network.
func Peer() (n int, ok bool) {
	n, err := strconv.Atoi(os.Getenv("LINUXBLOCK_VM_PEER"))
	return n, err == nil
}

// PeerAddr returns the address of VM n in the network that joins the two.
// /etc/hosts has it as peer0 and peer1.
func PeerAddr(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, byte(1 + n)}) }

// OnlyKernel skips the test outside the VM, and on all kernels but major.minor.
// why says why it is of that one only. The runner lists the test as not run.
func OnlyKernel(t testing.TB, major, minor int, why string) {
	t.Helper()
	need(t)
	if v := KernelVersion(); v != (Version{major, minor}) {
		t.Skipf("%sneeds Linux %d.%d, this is %v: %s", NotHere, major, minor, v, why)
	}
}

// NotInVM skips a long test inside the VM: one that knows nothing of a kernel,
// and has run under go test. why names what it runs on instead.
func NotInVM(t testing.TB, why string) {
	t.Helper()
	if InVM() {
		t.Skip(NotHere + "runs under go test: " + why)
	}
}

// RequirePeer skips the test outside the VM, and in a VM that is alone. In
// both of two VMs it returns this VM's number. The same test runs in each,
// though not at the same moment: whoever comes first waits for the other.
func RequirePeer(t testing.TB) int {
	t.Helper()
	need(t)
	n, ok := Peer()
	if !ok {
		t.Skip(NotHere + "needs two VMs: vmtest -peers 2")
	}
	return n
}
