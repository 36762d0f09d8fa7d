// SPDX-License-Identifier: MIT

package dm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// control is the kernel's /dev/mapper/control.
type control struct {
	fd   int
	wake int // eventfd that ends Wait; also written by Close

	closing atomic.Bool
	mu      sync.RWMutex // held for reading by every use of the descriptors
	closed  bool
}

// openControl opens the control node under dev. When the driver is there and
// the node is not, as in many containers, the node is made as libdevmapper
// makes it, from the minor number in /proc/misc.
func openControl(dev string) (Transport, error) {
	path := filepath.Join(dev, "mapper", "control")
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		var number int
		if number, err = controlNumber("/proc/misc"); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := unix.Mknod(path, unix.S_IFCHR|0o600, number); err != nil && err != unix.EEXIST {
			return nil, &fs.PathError{Op: "mknod", Path: path, Err: err}
		}
		fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	}
	if err == unix.ENODEV || err == unix.ENXIO {
		// A node without its driver: dm-mod is not there and can't be loaded.
		return nil, fmt.Errorf("no device-mapper in this kernel: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &control{fd: fd, wake: wake}, nil
}

// controlNumber finds the driver in the list of misc devices.
func controlNumber(misc string) (int, error) {
	f, err := os.Open(misc)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		w := strings.Fields(sc.Text())
		if len(w) == 2 && w[1] == "device-mapper" {
			minor, err := strconv.ParseUint(w[0], 10, 20)
			return int(unix.Mkdev(10, uint32(minor))), err
		}
	}
	return 0, fmt.Errorf("no device-mapper in this kernel, or dm-mod is not loaded: %w", errors.ErrUnsupported)
}

func (c *control) Ioctl(request uint32, buf []byte) error {
	if len(buf) < dmwire.MinSize {
		return einval
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return os.ErrClosed
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), uintptr(request), uintptr(unsafe.Pointer(&buf[0])))
	if errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}

func (c *control) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, c.nudge)
	defer stop()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		ready, err := c.poll()
		if ready || err != nil {
			return err
		}
	}
}

// poll blocks until the driver has an event, or somebody nudged.
func (c *control) poll() (ready bool, err error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed || c.closing.Load() {
		return false, os.ErrClosed
	}
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}, {Fd: int32(c.wake), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, -1); err != nil {
		if err == unix.EINTR {
			return false, nil
		}
		return false, os.NewSyscallError("poll", err)
	}
	if fds[1].Revents != 0 {
		var b [8]byte
		unix.Read(c.wake, b[:])
	}
	return fds[0].Revents&unix.POLLIN != 0, nil
}

// nudge makes poll return. It holds the lock, because a number of a closed
// descriptor may be another file by now.
func (c *control) nudge() {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.closed {
		unix.Write(c.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// Close waits for calls that are in the kernel.
func (c *control) Close() error {
	c.closing.Store(true)
	c.nudge()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		unix.Close(c.fd)
		unix.Close(c.wake)
	}
	return nil
}
