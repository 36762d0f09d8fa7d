// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"fmt"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/dmwire"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// BenchmarkKernelBulk is what many devices cost at once: beside dmsetup, and
// beside a plain loop of the same ioctls, which is all that the kernel's own
// time leaves to gain.
func BenchmarkKernelBulk(b *testing.B) {
	vmtest.Require(b, "dm-mod", "dm-delay", "dm-zero", "brd")
	disk := vmtest.RAMDisk(b)
	ctx := context.Background()
	c, err := dm.Open(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	linear := func(i int) dm.Table {
		return dm.Table{}.Append(8, dm.Linear{Device: disk, Offset: dm.Sectors(8 * i)})
	}
	name := func(i int) dm.Name { return dm.Name(fmt.Sprintf("bulk-%03d", i)) }

	b.Run("up-and-down-64", func(b *testing.B) {
		const n = 64
		up, down := new(dm.Batch), new(dm.Batch)
		for i := range n {
			up.Create(name(i), linear(i), dm.CreateOptions{})
			down.Remove(name(i), dm.RemoveOptions{})
		}
		compare(b, func() {
			_, err := c.RunBatch(ctx, up, dm.BatchOptions{})
			must(err)
			_, err = c.RunBatch(ctx, down, dm.BatchOptions{})
			must(err)
		}, side{"serial", func() {
			for i := range n {
				_, err := c.Create(ctx, name(i), linear(i), dm.CreateOptions{})
				must(err)
			}
			for i := range n {
				must(c.Remove(ctx, name(i), dm.RemoveOptions{}))
			}
		}}, side{"dmsetup", func() {
			for i := range n {
				vmtest.Run(b, "dmsetup", "create", string(name(i)), "--verifyudev", "--table", fmt.Sprintf("0 8 linear %s %d", disk, 8*i))
			}
			for i := range n {
				vmtest.Run(b, "dmsetup", "remove", "--verifyudev", string(name(i)))
			}
		}})
	})

	b.Run("status-500", func(b *testing.B) {
		const n = 500
		up, down := new(dm.Batch), new(dm.Batch)
		for i := range n {
			up.Create(name(i), dm.Table{}.Append(8, dm.Delay{Read: dm.DelayLeg{Device: disk}}), dm.CreateOptions{})
			down.Remove(name(i), dm.RemoveOptions{Retries: 10})
		}
		made, err := c.RunBatch(ctx, up, dm.BatchOptions{})
		must(err)
		defer func() {
			_, err := c.RunBatch(ctx, down, dm.BatchOptions{})
			must(err)
		}()
		reader := c.StatusReader(dm.StatusOptions{})
		fd, err := unix.Open("/dev/mapper/control", unix.O_RDWR|unix.O_CLOEXEC, 0)
		must(err)
		defer unix.Close(fd)
		buf := make([]byte, dmwire.HeaderSize+2<<10)
		compare(b, func() {
			for _, r := range made {
				list, err := reader.Read(ctx, r.Info.Dev)
				must(err)
				for _, s := range list {
					if st, err := dm.ParseDelayStatus(s.Text); err != nil || st.Reads != 0 {
						b.Fatal(s, err)
					}
				}
			}
		}, side{"plain-loop", func() {
			for _, r := range made {
				must(plainStatus(fd, r.Info.Dev, buf))
			}
		}}, side{"Status", func() {
			for _, r := range made {
				list, err := c.Status(ctx, r.Info.Dev, dm.StatusOptions{})
				must(err)
				for _, s := range list {
					if _, err := s.Typed(); err != nil {
						b.Fatal(s, err)
					}
				}
			}
		}}, side{"dmsetup", func() { vmtest.Run(b, "dmsetup", "status") }})
	})
}

// plainStatus is the least that a status costs: a header, and the call. What
// comes back is not looked at.
func plainStatus(fd int, dev dm.Dev, buf []byte) error {
	h := dmwire.Header{
		Version: dmwire.Version{Major: 4}, DataSize: uint32(len(buf)), DataStart: dmwire.HeaderSize,
		Dev: dmwire.MakeDev(dev.Major, dev.Minor),
	}
	if err := h.Put(buf); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(dmwire.CmdTableStatus.Request()), uintptr(unsafe.Pointer(&buf[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
