// SPDX-License-Identifier: MIT

package dm

import "context"

// Transport carries encoded requests to a device-mapper driver: the kernel's
// control node, or a double such as dm/dmtest. One Transport is like one
// open file of the control node.
type Transport interface {
	// Ioctl hands buf, which starts with a struct dm_ioctl, to the driver,
	// which answers in place. The error is a syscall.Errno with Linux's
	// number. It is called from many goroutines at once.
	Ioctl(request uint32, buf []byte) error
	// Wait returns nil when the driver's event counter has passed what it
	// was at the last DM_DEV_ARM_POLL of this Transport, or when the
	// Transport was opened; and an error when ctx is done or the Transport
	// is closed. One goroutine at a time calls it.
	Wait(ctx context.Context) error
	// Close may be called twice; it ends a Wait.
	Close() error
}

// System is what a [Client] asks the machine beside the driver. A Transport
// may implement it; without it sizes are not checked before a table is
// loaded and errors carry no reason of the kernel's log.
type System interface {
	// BlockDevice finds a device by its path or by "major:minor". The
	// error matches fs.ErrNotExist when there is none.
	BlockDevice(name string) (major, minor uint32, sectors uint64, err error)
	// KernelLog starts to listen to the kernel log. The function it returns
	// is called once and gives the lines since, without their time stamps.
	KernelLog() (collect func() []string, err error)
}

// BlockNamer is a [System] that also knows what the kernel calls a block
// device of another driver. [Client.Graph] asks it.
type BlockNamer interface {
	// BlockName is a name such as "sda1". The error matches fs.ErrNotExist
	// when there is no such device.
	BlockName(major, minor uint32) (string, error)
}
