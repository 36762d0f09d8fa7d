// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/linuxblock/linuxblock/dm"
)

// kernelDiscard is BLKDISCARD. A device without discards gives
// errors.ErrUnsupported.
func kernelDiscard(t *testing.T, name dm.Name, off, n int64) error {
	t.Helper()
	c, err := dm.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	info, err := c.Info(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(info.Dev.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := [2]uint64{uint64(off), uint64(n)}
	switch _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKDISCARD, uintptr(unsafe.Pointer(&at))); errno {
	case 0:
		return nil
	case unix.EOPNOTSUPP:
		return errors.ErrUnsupported
	default:
		return errno
	}
}

// kernelNoSpaceTimeout sets the parameter of the module until the test ends.
func kernelNoSpaceTimeout(t *testing.T, d time.Duration) {
	t.Helper()
	const file = "/sys/module/dm_thin_pool/parameters/no_space_timeout"
	before, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(strconv.Itoa(int(d/time.Second))), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(file, before, 0) })
}
