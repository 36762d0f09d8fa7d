// SPDX-License-Identifier: MIT

package loop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/linuxblock/linuxblock/internal/fault"
)

const controlPath = "/dev/loop-control"

// Device is a loop device that this program holds open.
type Device struct {
	path string
	node *os.File
	once sync.Once
	err  error
}

// Path is that of the node: "/dev/loop3".
func (d *Device) Path() string { return d.path }

// Close lets go of the device. If nobody else has it open the kernel frees it
// and the file; otherwise with the last close.
func (d *Device) Close() error {
	d.once.Do(func() { d.err = d.node.Close() })
	return d.err
}

// Attach makes a block device of a regular file, as long as the file is. It
// needs CAP_SYS_ADMIN. A file that a loop device has already is refused with
// an error that matches ErrBusy.
func Attach(ctx context.Context, file string, o Options) (*Device, error) {
	d, err := attach(ctx, file, o)
	if err == nil {
		return d, nil
	}
	detail := ""
	if errors.Is(err, ErrBusy) {
		detail = "two devices over one file lose data"
	}
	return nil, fault.Wrap(area, "attach", file, err, detail)
}

func attach(ctx context.Context, file string, o Options) (*Device, error) {
	mode := os.O_RDWR
	if o.ReadOnly {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(file, mode|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the kernel has its own reference
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case st.Size() < 512:
		return nil, errors.New("shorter than a sector")
	}
	if !o.Shared {
		if path, err := holder(st); err != nil {
			return nil, err
		} else if path != "" {
			return nil, fmt.Errorf("%w: %s", ErrBusy, path)
		}
	}
	control, err := os.OpenFile(controlPath, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	conf := unix.LoopConfig{Fd: uint32(f.Fd()), Size: uint32(o.BlockSize)}
	conf.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	if o.ReadOnly {
		conf.Info.Flags |= unix.LO_FLAGS_READ_ONLY
	}
	if o.Direct {
		conf.Info.Flags |= unix.LO_FLAGS_DIRECT_IO
	}
	copy(conf.Info.File_name[:len(conf.Info.File_name)-1], file)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d, err := tryFree(int(control.Fd()), &conf)
		// EBUSY: somebody else was quicker, and the next is tried.
		if !errors.Is(err, unix.EBUSY) {
			return d, err
		}
	}
}

// tryFree configures the first device that is free now.
func tryFree(control int, conf *unix.LoopConfig) (*Device, error) {
	n, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, os.NewSyscallError("LOOP_CTL_GET_FREE", err)
	}
	path := fmt.Sprintf("/dev/loop%d", n)
	node, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlLoopConfigure(int(node.Fd()), conf); err != nil {
		node.Close()
		return nil, os.NewSyscallError("LOOP_CONFIGURE", err)
	}
	return &Device{path: path, node: node}, nil
}

// holder finds the loop device that has a file, by sysfs: the path there is
// the one that the file has now.
func holder(file os.FileInfo) (path string, err error) {
	list, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return "", err
	}
	for _, l := range list {
		text, err := os.ReadFile(l)
		if err != nil {
			continue // freed meanwhile
		}
		st, err := os.Stat(strings.TrimSuffix(string(text), "\n"))
		if err == nil && os.SameFile(file, st) {
			return "/dev/" + strings.Split(l, "/")[3], nil
		}
	}
	return "", nil
}

// BackingFile is the file behind a loop device, given by its node. The error
// matches fs.ErrNotExist when it has none.
func BackingFile(path string) (string, error) {
	text, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(path), "loop/backing_file"))
	return strings.TrimSuffix(string(text), "\n"), fault.Wrap(area, "backing file", path, err, "")
}
