// SPDX-License-Identifier: MIT

package devnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Perm is the mode of a node (LVM2 configure.ac DEFAULT_DM_DEVICE_MODE).
const Perm fs.FileMode = 0o660

// Dir is the folder with the nodes. The zero value is the system's own; its
// methods are safe for concurrent use.
type Dir struct {
	Root      string // "" is /dev; nodes lie in Root/mapper, the kernel's own dm-N in Root
	GroupFile string // "" is /etc/group
	System    System // nil is Real
}

// State is Verify's judgement.
type State uint8

const (
	// Absent: nothing lies under the name.
	Absent State = iota
	// Right: a block node of the device, or a link to its dm-N.
	Right
	// Wrong: a block node of another device or a link to another dm-N, or to one that
	// is gone. Create replaces it.
	Wrong
	// Foreign: something else, not to be touched.
	Foreign
)

func (s State) String() string {
	switch s {
	case Absent:
		return "absent"
	case Right:
		return "right"
	case Wrong:
		return "wrong"
	case Foreign:
		return "foreign"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

func (d Dir) root() string {
	if d.Root == "" {
		return "/dev"
	}
	return filepath.Clean(d.Root)
}

func (d Dir) mapper() string { return filepath.Join(d.root(), "mapper") }

func (d Dir) sys() System {
	if d.System == nil {
		return Real{}
	}
	return d.System
}

// Path is where the node of a device of this name lies.
func (d Dir) Path(name string) string { return d.mapper() + string(filepath.Separator) + name }

// check refuses names that are no file's name in the folder.
func check(op, name string) error {
	why := ""
	switch {
	case name == "":
		why = "empty"
	case name == "." || name == "..":
		why = "a folder"
	case name == "control":
		why = "the control node's name"
	case strings.ContainsAny(name, "/\x00"):
		why = "has a slash or NUL"
	case len(name) > 255:
		why = "longer than 255 bytes"
	case isTemp(name):
		why = "looks like one of our temporary names"
	default:
		return nil
	}
	return &Error{Area: area, Op: op, Object: strconv.Quote(name), Err: ErrName, Detail: why}
}

// Verify tells what lies under the name, compared with the device number.
func (d Dir) Verify(name string, major, minor uint32) (State, error) {
	if err := check("verify", name); err != nil {
		return Absent, err
	}
	s, _, err := d.state(name, major, minor)
	return s, fail("verify", d.Path(name), err)
}

func (d Dir) state(name string, major, minor uint32) (State, Node, error) {
	n, err := d.sys().Lstat(d.Path(name))
	if err != nil {
		return Absent, n, err
	}
	switch n.Kind {
	case Missing:
		return Absent, n, nil
	case Block:
		if n.Major == major && n.Minor == minor {
			return Right, n, nil
		}
		return Wrong, n, nil
	case Link:
		to, ok := d.linksTo(n.Target)
		if !ok {
			return Foreign, n, nil
		}
		k, err := d.sys().Lstat(filepath.Join(d.root(), fmt.Sprintf("dm-%d", to)))
		if err != nil {
			return Absent, n, err
		}
		if to == minor && k.Kind == Block && k.Major == major && k.Minor == minor {
			return Right, n, nil
		}
		return Wrong, n, nil
	}
	return Foreign, n, nil
}

// linksTo returns N when a link's target is the kernel's node dm-N.
func (d Dir) linksTo(target string) (minor uint32, ok bool) {
	if !filepath.IsAbs(target) {
		target = filepath.Join(d.mapper(), target)
	}
	dir, base := filepath.Split(filepath.Clean(target))
	num, isDM := strings.CutPrefix(base, "dm-")
	n, err := strconv.ParseUint(num, 10, 32)
	if !isDM || err != nil || strconv.FormatUint(n, 10) != num || filepath.Clean(dir) != d.root() {
		return 0, false
	}
	return uint32(n), true
}

// Create makes the node. Nothing happens when it is right already.
func (d Dir) Create(name string, major, minor uint32) error {
	return d.create("create", name, major, minor)
}

func (d Dir) create(op, name string, major, minor uint32) error {
	if err := check(op, name); err != nil {
		return err
	}
	path := d.Path(name)
	s, n, err := d.state(name, major, minor)
	switch {
	case err != nil:
		return fail(op, path, err)
	case s == Right:
		return nil
	case s == Foreign:
		return foreign(op, path, n)
	}
	if err := d.mkdir(); err != nil {
		return fail(op, d.mapper(), err)
	}
	tmp, err := d.temp(major, minor)
	if err != nil {
		return fail(op, path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return fail(op, path, cause(err))
	}
	return nil
}

func foreign(op, path string, n Node) error {
	e := &Error{Area: area, Op: op, Object: path, Err: ErrForeign, Detail: n.Kind.String()}
	switch n.Kind {
	case Link:
		e.Detail += " to " + strconv.Quote(n.Target)
	case Block:
		e.Detail += fmt.Sprintf(" %d:%d", n.Major, n.Minor)
	}
	return e
}

// mkdir makes the folder with mode 0755 whatever the umask is.
func (d Dir) mkdir() error {
	switch err := os.Mkdir(d.mapper(), 0o755); {
	case err == nil:
		return cause(os.Chmod(d.mapper(), 0o755))
	case errors.Is(err, fs.ErrExist):
		return nil
	default:
		return cause(err)
	}
}

// serial tells temporary names of this process apart.
var serial atomic.Uint64

const (
	tempPrefix = ".linuxblock-"
	tempSuffix = ".tmp"
)

// isTemp recognises .linuxblock-<pid>-<n>.tmp.
func isTemp(name string) bool {
	s, ok1 := strings.CutPrefix(name, tempPrefix)
	s, ok2 := strings.CutSuffix(s, tempSuffix)
	pid, n, ok3 := strings.Cut(s, "-")
	_, err1 := strconv.ParseUint(pid, 10, 31)
	_, err2 := strconv.ParseUint(n, 10, 64)
	return ok1 && ok2 && ok3 && err1 == nil && err2 == nil
}

// temp makes the node under a temporary name.
func (d Dir) temp(major, minor uint32) (string, error) {
	group := d.GroupFile
	if group == "" {
		group = "/etc/group"
	}
	gid := groupID(group, diskGroup)
	for range 100 {
		path := d.Path(fmt.Sprintf("%s%d-%d%s", tempPrefix, os.Getpid(), serial.Add(1), tempSuffix))
		err := d.sys().Mknod(path, major, minor, Perm, gid)
		if errors.Is(err, fs.ErrExist) {
			continue // a killed process with our pid left it
		}
		return path, cause(err)
	}
	return "", fs.ErrExist
}

// Rename moves the device's node to a new name. When the old node is missing
// or not this device's the new one is made, and the old name left as it is.
func (d Dir) Rename(oldName, newName string, major, minor uint32) error {
	if err := check("rename", oldName); err != nil {
		return err
	}
	if err := check("rename", newName); err != nil {
		return err
	}
	if oldName == newName {
		return d.create("rename", newName, major, minor)
	}
	from, to := d.Path(oldName), d.Path(newName)
	have, _, err := d.state(oldName, major, minor)
	if err != nil {
		return fail("rename", from, err)
	}
	want, n, err := d.state(newName, major, minor)
	if err != nil {
		return fail("rename", to, err)
	}
	switch {
	case want == Foreign:
		return foreign("rename", to, n)
	case have != Right:
		return d.create("rename", newName, major, minor)
	case want == Right && sameInode(from, to):
		// rename(2) does nothing when both names are links to one file.
		return fail("rename", from, ignoreMissing(os.Remove(from)))
	}
	err = cause(os.Rename(from, to))
	if errors.Is(err, fs.ErrNotExist) {
		return d.create("rename", newName, major, minor)
	}
	return fail("rename", to, err)
}

// Remove deletes the name if it is the node of this device or a link to its
// dm-N, which the kernel may have removed already. A missing one is no error;
// anything else is left alone and reported as ErrForeign.
func (d Dir) Remove(name string, major, minor uint32) error {
	if err := check("remove", name); err != nil {
		return err
	}
	path := d.Path(name)
	s, n, err := d.state(name, major, minor)
	if err != nil {
		return fail("remove", path, err)
	}
	if s == Absent {
		return nil
	}
	ours := s == Right
	if n.Kind == Link {
		to, ok := d.linksTo(n.Target)
		ours = ok && to == minor
	}
	if !ours {
		return foreign("remove", path, n)
	}
	return fail("remove", path, ignoreMissing(os.Remove(path)))
}

// List returns what lies in the folder, in the order of the names, without
// control and without temporary names. A missing folder is an empty one.
func (d Dir) List() ([]Node, error) {
	items, err := os.ReadDir(d.mapper())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fail("list", d.mapper(), cause(err))
	}
	var list []Node
	for _, item := range items {
		if item.Name() == "control" || isTemp(item.Name()) {
			continue
		}
		n, err := d.sys().Lstat(d.Path(item.Name()))
		if err != nil {
			return nil, fail("list", d.Path(item.Name()), err)
		}
		if n.Kind != Missing {
			n.Name = item.Name()
			list = append(list, n)
		}
	}
	return list, nil
}

// sweepAge spares the temporary nodes of processes at work, also of those in
// another pid namespace, whose ids mean nothing here.
const sweepAge = time.Minute

// Sweep removes temporary nodes that killed processes left: block nodes with a
// name of ours, older than a minute.
func (d Dir) Sweep() error {
	items, err := os.ReadDir(d.mapper())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fail("sweep", d.mapper(), cause(err))
	}
	var all []error
	for _, item := range items {
		path := d.Path(item.Name())
		if !isTemp(item.Name()) {
			continue
		}
		st, err := item.Info()
		if err != nil || time.Since(st.ModTime()) < sweepAge {
			continue
		}
		if n, err := d.sys().Lstat(path); err == nil && n.Kind == Block {
			all = append(all, fail("sweep", path, ignoreMissing(os.Remove(path))))
		}
	}
	return errors.Join(all...)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return cause(err)
}

// cause takes the path out of an error of package os: ours names it already.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
