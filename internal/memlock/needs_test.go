// SPDX-License-Identifier: MIT

package memlock

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// world is a made-up system: a proc and a sys tree, and what stat says.
type world struct {
	t     *testing.T
	sys   System
	infos map[string]Info
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("sysfs has colons and links")
	}
	w := &world{t: t, infos: map[string]Info{}}
	w.sys = System{
		Proc: filepath.Join(t.TempDir(), "proc"),
		Sys:  filepath.Join(t.TempDir(), "sys"),
		Stat: func(p string) (Info, error) {
			if i, ok := w.infos[p]; ok {
				return i, nil
			}
			return Info{}, &fs.PathError{Op: "stat", Path: p, Err: fs.ErrNotExist}
		},
		Resolve: func(p string) (string, error) { return strings.Replace(p, "/link/", "/data/", 1), nil },
	}
	w.proc("self/maps", "")
	w.proc("self/mountinfo", "")
	w.proc("swaps", swapHead)
	return w
}

const swapHead = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"

func (w *world) put(path, text string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) proc(name, text string) { w.put(filepath.Join(w.sys.Proc, name), text) }

// disk adds a block device to sysfs; parent is "" or the disk of a partition.
func (w *world) disk(name, dev, parent string, slaves ...string) {
	w.t.Helper()
	dir := filepath.Join(w.sys.Sys, "devices/virtual/block", parent, name)
	w.put(filepath.Join(dir, "dev"), dev+"\n")
	if parent != "" {
		w.put(filepath.Join(dir, "partition"), "1\n")
	}
	for _, s := range slaves {
		w.put(filepath.Join(dir, "slaves", s), "")
	}
	for _, link := range []string{"dev/block/" + dev, "class/block/" + name} {
		link = filepath.Join(w.sys.Sys, link)
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.Symlink(dir, link); err != nil {
			w.t.Fatal(err)
		}
	}
	d, _ := parseDev(dev)
	w.infos["/dev/"+name] = Info{Dev: Dev{0, 6}, Block: true, Rdev: d}
}

func (w *world) attr(name, file, text string) {
	w.put(filepath.Join(w.sys.Sys, "devices/virtual/block", name, file), text)
}

func (w *world) conflict(dev string, extra ...string) []string {
	w.t.Helper()
	d, _ := parseDev(dev)
	list, err := w.sys.Conflict([]Dev{d}, extra...)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) expect(dev string, n int, extra ...string) {
	w.t.Helper()
	if got := w.conflict(dev, extra...); len(got) != n {
		w.t.Errorf("conflict of %s: %q, want %d", dev, got, n)
	}
}

// A stack: ext4 on an LV (dm-1) on a crypt device (dm-0) on a partition of sda;
// swap on dm-2 on the same; a foreign dm-3 on sdb.
func TestStack(t *testing.T) {
	w := newWorld(t)
	w.disk("sda", "8:0", "")
	w.disk("sda1", "8:1", "sda")
	w.disk("sdb", "8:16", "")
	w.disk("dm-0", "254:0", "", "sda1")
	w.disk("dm-1", "254:1", "", "dm-0")
	w.disk("dm-2", "254:2", "", "dm-0")
	w.disk("dm-3", "254:3", "", "sdb")
	w.infos["/dev/mapper/vg-swap"] = w.infos["/dev/dm-2"]
	w.proc("swaps", swapHead+"/dev/mapper/vg-swap                     partition\t1048572\t0\t-2\n")
	w.proc("self/maps", `00400000-00500000 r-xp 00000000 fe:01 1234                       /usr/bin/prog with blank
00500000-00600000 r--p 00100000 fe:01 1234                       /usr/bin/prog with blank
00600000-00700000 rw-p 00200000 fe:01 99                         /var/data/file
c000000000-c000400000 rw-p 00000000 00:00 0
7ffe7fffd000-7ffe7ffff000 r-xp 00000000 00:00 0                  [vdso]
`)
	w.proc("self/mountinfo", "27 1 254:1 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw\n30 27 0:25 / /run rw - tmpfs tmpfs rw\n31 27 254:3 / /data rw - xfs /dev/dm-3 rw\n")
	w.infos["/"] = Info{Dev: Dev{254, 1}}
	w.infos["/run"] = Info{Dev: Dev{0, 25}}
	w.infos["/data"] = Info{Dev: Dev{254, 3}}
	needs, err := w.sys.Needs("/run/lock/none", "/data/log/x")
	if err != nil {
		t.Fatal(err)
	}
	want := []Need{
		{Code, "/usr/bin/prog with blank", []Dev{{8, 0}, {8, 1}, {254, 0}, {254, 1}}, ""},
		{Swap, "/dev/mapper/vg-swap", []Dev{{8, 0}, {8, 1}, {254, 0}, {254, 2}}, ""},
		{Extra, "/run/lock/none", nil, ""},
		{Extra, "/data/log/x", []Dev{{8, 16}, {254, 3}}, ""},
	}
	if !reflect.DeepEqual(needs, want) {
		t.Errorf("got  %+v\nwant %+v", needs, want)
	}
	w.expect("254:1", 1)
	w.expect("254:0", 2)
	w.expect("254:2", 1)
	w.expect("254:3", 0)
	w.expect("254:3", 1, "/data/log")
	w.expect("254:9", 0)
	if got := w.conflict("254:1"); got[0] != "program code /usr/bin/prog with blank lies on 254:1" {
		t.Errorf("%q", got)
	}
}

// btrfs: st_dev is anonymous, and the device in mountinfo differs from it.
func TestBtrfs(t *testing.T) {
	w := newWorld(t)
	w.disk("sda", "8:0", "")
	w.disk("dm-0", "254:0", "", "sda")
	w.disk("dm-1", "254:1", "", "sda")
	w.disk("dm-2", "254:2", "", "sda")
	w.proc("self/maps", "00400000-00500000 r-xp 00000000 00:2a 7  /bin/prog\n")
	w.proc("self/mountinfo", "27 1 0:39 /@ / rw - btrfs /dev/dm-0 rw,subvol=/@\n")
	w.infos["/"] = Info{Dev: Dev{0, 42}}
	w.infos["/bin/prog"] = Info{Dev: Dev{0, 42}}
	w.expect("254:1", 1) // members are not known: may lie on it
	for _, d := range []string{"dm-0", "dm-1"} {
		w.put(filepath.Join(w.sys.Sys, "fs/btrfs/uuid-1/devices", d), "")
	}
	w.put(filepath.Join(w.sys.Sys, "fs/btrfs/uuid-2/devices/dm-2"), "")
	w.put(filepath.Join(w.sys.Sys, "fs/btrfs/features/x"), "")
	w.expect("254:0", 1)
	w.expect("254:1", 1)
	w.expect("254:2", 0)
	w.expect("8:0", 1)
}

func TestOverlay(t *testing.T) {
	w := newWorld(t)
	w.disk("dm-0", "254:0", "")
	w.disk("dm-1", "254:1", "")
	w.disk("dm-2", "254:2", "")
	w.proc("self/maps", "00400000-00500000 r-xp 00000000 00:30 7  /merged/prog\n")
	w.proc("self/mountinfo", `27 1 254:2 / / rw - ext4 /dev/dm-2 rw
28 27 254:0 / /low rw - ext4 /dev/dm-0 rw
29 27 254:1 / /up rw - ext4 /dev/dm-1 rw
30 27 0:48 / /merged rw - overlay overlay rw,lowerdir=/low/a\134:b:/low/c\134,d,upperdir=/up/u,workdir=/up/w
`)
	for p, d := range map[string]Dev{"/": {254, 2}, "/low/a:b": {254, 0}, "/low/c,d": {254, 0}, "/up/u": {254, 1}, "/merged/prog": {0, 48}} {
		w.infos[p] = Info{Dev: d}
	}
	w.expect("254:0", 1)
	w.expect("254:1", 1)
	w.expect("254:2", 0)
	// A container's own view: the folders lie outside.
	w.proc("self/mountinfo", "30 1 0:48 / / rw - overlay overlay rw,lowerdir=/var/lib/x,upperdir=/up/u\n")
	got := w.conflict("254:2")
	if len(got) != 1 || !strings.Contains(got[0], "/var/lib/x cannot be seen") {
		t.Errorf("%q", got)
	}
	// Since Linux 6.5 an option a folder; without any, nothing is known.
	w.proc("self/mountinfo", "30 1 0:48 / / rw - overlay overlay rw,lowerdir+=/low/c\\054d\n")
	w.expect("254:2", 1)
	w.proc("self/mountinfo", "30 1 0:48 / / rw - overlay overlay rw\n")
	w.expect("254:2", 1)
}

func TestOtherFileSystems(t *testing.T) {
	w := newWorld(t)
	w.disk("dm-0", "254:0", "")
	w.disk("dm-1", "254:1", "")
	w.infos["/"] = Info{Dev: Dev{0, 5}}
	w.infos["/x"] = Info{Dev: Dev{0, 5}}
	for line, conflicts := range map[string]int{
		"27 1 0:5 / / rw - tmpfs none rw\n":                              0,
		"27 1 0:5 / / rw - tmpfs rw\n":                                   0, // an empty source
		"27 1 0:5 / / rw - nfs4 host:/x rw\n":                            0,
		"27 1 0:5 / / rw - zfs tank/root rw\n":                           1,
		"27 1 0:5 / / rw - bcachefs /dev/dm-1:/dev/dm-0 rw\n":            1,
		"27 1 0:5 / / rw - bcachefs /dev/dm-1 rw\n":                      0,
		"27 1 0:5 / /else rw - ext4 /dev/dm-0 rw\n":                      1, // no mount at all
		"27 1 0:5 / / rw - new /dev/dm-1 rw,logdev=/dev/dm-0\n":          1,
		"27 1 0:5 / / rw - ext4 /dev/dm-0 rw\n28 27 0:5 / / rw - 9p h\n": 0, // mounted over
	} {
		w.proc("self/mountinfo", line)
		if got := w.conflict("254:0", "/x"); len(got) != conflicts {
			t.Errorf("%s%q, want %d", line, got, conflicts)
		}
	}
}

// A journal on another device; a file on a loop device; zram with a backing
// device; DRBD, which does not tell.
func TestSideways(t *testing.T) {
	w := newWorld(t)
	w.disk("dm-0", "254:0", "")
	w.disk("dm-1", "254:1", "")
	w.disk("loop0", "7:0", "")
	w.disk("zram0", "252:0", "")
	w.disk("drbd0", "147:0", "")
	w.attr("loop0", "loop/backing_file", "/img/with blank.img (deleted)\n")
	w.attr("zram0", "backing_dev", "/dev/dm-1\n")
	w.proc("self/mountinfo", "27 1 7:0 / / rw - xfs /dev/loop0 rw,logdev=/dev/dm-1\n28 27 254:0 / /img rw - ext4 /dev/dm-0 rw\n")
	w.infos["/"] = Info{Dev: Dev{7, 0}}
	w.infos["/img"] = Info{Dev: Dev{254, 0}}
	w.infos["/link/x"] = Info{Dev: Dev{7, 0}}
	w.expect("254:0", 1, "/var/log")
	w.expect("254:1", 1, "/var/log")
	w.proc("swaps", swapHead+"/dev/zram0 partition 1 0 100\n/img/swap\\040file file 1 0 -2\n/gone\\040(deleted) file 1 0 -2\n")
	if got := w.conflict("254:1"); len(got) != 2 { // zram, and /gone on loop0 with its log
		t.Errorf("%q", got)
	}
	w.proc("swaps", swapHead)
	w.infos["/drbd"] = Info{Dev: Dev{147, 0}}
	if got := w.conflict("254:1", "/drbd"); len(got) != 1 || !strings.Contains(got[0], "drbd0") {
		t.Errorf("%q", got)
	}
	// zram without a backing device, a loop file on its own device.
	w.attr("zram0", "backing_dev", "none\n")
	w.attr("loop0", "loop/backing_file", "/self.img\n")
	w.infos["/self.img"] = Info{Dev: Dev{7, 0}}
	w.expect("254:0", 0, "/self.img")
	// Not in sysfs at all.
	w.infos["/odd"] = Info{Dev: Dev{99, 1}}
	w.expect("254:0", 1, "/odd")
}

func TestNeedsErrors(t *testing.T) {
	w := newWorld(t)
	for file, bad := range map[string]string{"self/maps": "bad\n", "self/mountinfo": "1 2 3\n"} {
		good, _ := os.ReadFile(filepath.Join(w.sys.Proc, file))
		w.proc(file, bad)
		if _, err := w.sys.Needs(); err == nil {
			t.Errorf("bad %s was taken", file)
		}
		if _, err := w.sys.Conflict(nil); err == nil {
			t.Errorf("bad %s was taken", file)
		}
		w.proc(file, string(good))
	}
	os.Remove(filepath.Join(w.sys.Proc, "swaps"))
	if n, err := w.sys.Needs(); err != nil || len(n) != 0 {
		t.Error(n, err)
	}
}

// The machine the test runs on: its own binary can be followed.
func TestNeedsLive(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	needs, err := System{}.Needs(t.TempDir(), "relative")
	if err != nil {
		t.Fatal(err)
	}
	exe, _ := os.Executable()
	if !slices.ContainsFunc(needs, func(n Need) bool { return n.What == Code && n.Path == exe }) {
		t.Errorf("%s is not in %+v", exe, needs)
	}
	for _, n := range needs {
		t.Logf("%+v", n)
	}
}
