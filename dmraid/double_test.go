// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/dmraid"
	"github.com/linuxblock/linuxblock/dmraid/raidtest"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// faultyDevices asks fault before every write.
type faultyDevices struct {
	raidtest.Devices
	fault func() error
}

type faultyDevice struct {
	dmraid.Device
	fault func() error
}

func (d faultyDevices) OpenDevice(path string, write bool) (dmraid.Device, error) {
	f, err := d.Devices.OpenDevice(path, write)
	if err != nil {
		return nil, err
	}
	return faultyDevice{f, d.fault}, nil
}

func (d faultyDevice) WriteAt(p []byte, off int64) (int, error) {
	if err := d.fault(); err != nil {
		return 0, err
	}
	return d.Device.WriteAt(p, off)
}

// doubleDriver is the conformance suite's view of a double.
func doubleDriver(kernel dmraid.Kernel, opts ...dmtest.Option) (*driver, *dmtest.Kernel, *raidtest.Model) {
	k, m := dmtest.New(opts...), raidtest.New(kernel)
	k.AddTarget(m.Target())
	d := &driver{kernel: kernel, tries: 10, devices: raidtest.Devices{Kernel: k}}
	for i := range 12 {
		path := fmt.Sprintf("/dev/ram%d", i)
		k.AddDisk(path, 1, uint32(i), 65536)
		d.disks = append(d.disks, path)
	}
	d.opts = []dmraid.ArrayOption{dmraid.WithDevices(d.devices), dmraid.WithKernel(kernel)}
	d.open = func(t *testing.T) *dm.Client {
		t.Helper()
		c, err := dm.Open(context.Background(), dm.WithTransport(k.Transport()), dm.WithTargets(dmraid.Parsers()))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return d, k, m
}

func TestDoubleConformance(t *testing.T) {
	vmtest.NotInVM(t, "on the double")
	t.Parallel()
	d, _, _ := doubleDriver(dmraid.Linux61)
	runConformance(t, d, conformanceCases)
}

// The trap of a leg that comes back at once is there in 5.10 as in 6.1.
func TestDoubleConformance510(t *testing.T) {
	if vmtest.RaceDetector {
		t.Skip("slow under the race detector, and no other goroutines than in TestDoubleConformance")
	}
	vmtest.NotInVM(t, "on the double")
	t.Parallel()
	d, _, _ := doubleDriver(dmraid.Linux510, dmtest.WithVersion(4, 43, 0))
	runConformance(t, d, conformanceCases)
}

func TestDoubleConformance612(t *testing.T) {
	if vmtest.RaceDetector {
		t.Skip("slow under the race detector, and no other goroutines than in TestDoubleConformance")
	}
	vmtest.NotInVM(t, "on the double")
	t.Parallel()
	d, _, _ := doubleDriver(dmraid.Linux612, dmtest.WithVersion(4, 48, 0))
	runConformance(t, d, conformanceCases)
}
