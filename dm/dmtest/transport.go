// SPDX-License-Identifier: MIT

package dmtest

import (
	"context"
	"io/fs"
	"strconv"
	"sync"
)

// Transport is one open descriptor of /dev/mapper/control. It satisfies the
// transport that package dm asks for.
type Transport struct {
	k      *Kernel
	cursor uint32 // of poll; guarded by k.mu
	closed chan struct{}
	once   sync.Once
}

// Transport opens the control node: a descriptor with its own poll cursor.
func (k *Kernel) Transport() *Transport {
	k.mu.Lock()
	defer k.mu.Unlock()
	return &Transport{k: k, cursor: k.globalEvent, closed: make(chan struct{})}
}

// Kernel is the kernel behind t.
func (t *Transport) Kernel() *Kernel { return t.k }

// Close closes the descriptor. Calls that sleep in DEV_WAIT, in a suspend or
// in [Transport.Wait] are interrupted; it may be called more than once.
func (t *Transport) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

func (t *Transport) isClosed() bool {
	select {
	case <-t.closed:
		return true
	default:
		return false
	}
}

// Wait blocks as poll for POLLIN does: until the kernel's event counter has
// passed the cursor of t, which is set at open and by the ARM_POLL ioctl.
// It fails with ctx.Err, or with an error that matches fs.ErrClosed.
func (t *Transport) Wait(ctx context.Context) error {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		if t.isClosed() {
			return fs.ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if int32(k.globalEvent-t.cursor) > 0 {
			return nil
		}
		ch := k.wake
		k.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
		case <-t.closed:
		}
		k.mu.Lock()
	}
}

// BlockDevice looks a block device up, by the path of its node or by
// "major:minor": a disk of [Kernel.AddDisk], or a device-mapper device as
// /dev/dm-N or /dev/mapper/NAME. Sectors are of 512 bytes. For any other
// name the error matches fs.ErrNotExist.
func (t *Transport) BlockDevice(name string) (major, minor uint32, sectors uint64, err error) {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	dev, errno := k.lookupDev(name)
	if errno == 0 {
		var b blockDev
		if b, errno = k.blockDev(dev); errno == 0 {
			major, minor = splitDev(dev)
			return major, minor, b.sectors(), nil
		}
	}
	return 0, 0, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// BlockName is the name of a block device as sysfs has it: the last element of
// a disk's path, or "dm-N". For any other number the error matches
// fs.ErrNotExist.
func (t *Transport) BlockName(major, minor uint32) (string, error) {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	b, errno := k.blockDev(makeDev(major, minor))
	if errno != 0 {
		return "", &fs.PathError{Op: "look up", Path: strconv.Itoa(int(major)) + ":" + strconv.Itoa(int(minor)), Err: fs.ErrNotExist}
	}
	return b.diskName(), nil
}
