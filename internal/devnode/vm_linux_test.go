// SPDX-License-Identifier: MIT

package devnode

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/internal/vmtest"
	"golang.org/x/sys/unix"
)

func look(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("mode %#o uid %d gid %d", st.Mode, st.Uid, st.Gid)
}

// Our nodes look like libdevmapper's own, and either side handles the other's.
func TestVMNodes(t *testing.T) {
	vmtest.Require(t, "dm-mod")
	vmtest.StopUdevd(t)
	defer unix.Umask(unix.Umask(0o077))
	const name = `node\x20test`
	const plain = "node test"
	vmtest.Run(t, "dmsetup", "create", plain, "--table", "0 8 zero")
	defer vmtest.Command(t, "dmsetup", "remove", plain).Run()
	out := strings.TrimSpace(vmtest.Output(t, "dmsetup", "info", "-c", "--noheadings", "-o", "major,minor", plain))
	var major, minor uint32
	if _, err := fmt.Sscanf(out, "%d:%d", &major, &minor); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	var d Dir
	if s, err := d.Verify(name, major, minor); s != Right || err != nil {
		t.Fatal("made by libdevmapper:", s, err)
	}
	theirs := look(t, d.Path(name))
	if err := d.Remove(name, major, minor); err != nil {
		t.Fatal(err)
	}
	if err := d.Create(name, major, minor); err != nil {
		t.Fatal(err)
	}
	if ours := look(t, d.Path(name)); ours != theirs {
		t.Errorf("ours: %s, libdevmapper's: %s", ours, theirs)
	}
	f, err := os.Open(d.Path(name))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := d.Rename(name, "moved", major, minor); err != nil {
		t.Fatal(err)
	}
	list, err := d.List()
	if err != nil || len(list) == 0 {
		t.Error(list, err)
	}
	// A wrong node is replaced.
	if err := unix.Mknod(d.Path(name), unix.S_IFBLK|0o600, int(unix.Mkdev(1, 0))); err != nil {
		t.Fatal(err)
	}
	if err := d.Create(name, major, minor); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove("moved", major, minor); err != nil {
		t.Fatal(err)
	}
	// Links as udev makes them.
	os.Remove(d.Path(name))
	if err := os.Symlink(fmt.Sprintf("../dm-%d", minor), d.Path(name)); err != nil {
		t.Fatal(err)
	}
	if s, err := d.Verify(name, major, minor); s != Right || err != nil {
		t.Error(s, err)
	}
	// A character node is foreign.
	if err := unix.Mknod(d.Path("char"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(d.Path("char"))
	if s, err := d.Verify("char", major, minor); s != Foreign || err != nil {
		t.Error(s, err)
	}
	vmtest.Run(t, "dmsetup", "remove", plain)
	if err := d.Remove(name, major, minor); err != nil {
		t.Error(err)
	}
	if s, err := d.Verify(name, major, minor); s != Absent || err != nil {
		t.Error(s, err)
	}
}
