// SPDX-License-Identifier: MIT

package dmtest_test

import (
	"fmt"

	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// create stands for the program under test, which would use package dm.
func create(tr *dmtest.Transport, name string, table ...dmwire.Spec) error {
	version := dmwire.Version{Major: 4}
	do := func(cmd dmwire.Command, count int, payload []byte) error {
		size := dmwire.HeaderSize + len(payload)
		h := dmwire.Header{Version: version, DataSize: uint32(size), DataStart: dmwire.HeaderSize, TargetCount: uint32(count), Name: name}
		buf := make([]byte, size)
		if err := h.Put(buf); err != nil {
			return err
		}
		copy(buf[dmwire.HeaderSize:], payload)
		return tr.Ioctl(cmd.Request(), buf)
	}
	payload := make([]byte, dmwire.SpecsSize(table))
	if err := dmwire.PutLoad(payload, table); err != nil {
		return err
	}
	if err := do(dmwire.CmdCreate, 0, nil); err != nil {
		return err
	}
	if err := do(dmwire.CmdLoad, len(table), payload); err != nil {
		return err
	}
	return do(dmwire.CmdSuspend, 0, nil)
}

func Example() {
	k := dmtest.New()
	disk := k.AddDisk("/dev/sda", 8, 0, 1<<21)
	tr := k.Transport()
	defer tr.Close()

	err := create(tr, "data", dmwire.Spec{Length: 2048, Type: "linear", Params: "/dev/sda 4096"})
	fmt.Println(err)
	for _, d := range k.Devices() {
		fmt.Printf("%s %d:%d suspended=%v: %s", d.Name, d.Major, d.Minor, d.Suspended, d.Active)
	}

	f, err := k.OpenDevice("data")
	if err != nil {
		fmt.Println(err)
		return
	}
	block := make([]byte, 512)
	copy(block, "hello")
	f.WriteAt(block, 0)
	f.Close()
	disk.ReadAt(block, 4096*512)
	fmt.Printf("%s\n", block[:5])
	// Output:
	// <nil>
	// data 254:0 suspended=false: 0 2048 linear 8:0 4096
	// hello
}

// A hook makes a call fail as the kernel might; here the program under test
// forgets to clean up.
func ExampleKernel_Hook() {
	k := dmtest.New()
	tr := k.Transport()
	defer tr.Close()
	remove := k.Hook(func(call *dmtest.Call) error {
		if call.Command == "TABLE_LOAD" && call.Name == "data" {
			return dmtest.ENOMEM
		}
		return nil
	})
	defer remove()
	err := create(tr, "data", dmwire.Spec{Length: 8, Type: "zero"})
	fmt.Println(err == dmtest.ENOMEM)
	for _, l := range k.Leftovers() {
		fmt.Println(l)
	}
	// Output:
	// true
	// device data (254:0) remains
}

// A refusal's reason is in the kernel log.
func ExampleTransport_KernelLog() {
	k := dmtest.New()
	tr := k.Transport()
	defer tr.Close()
	collect, _ := tr.KernelLog()
	create(tr, "data", dmwire.Spec{Length: 8, Type: "linear", Params: "/dev/sda"})
	for _, line := range collect() {
		fmt.Println(line)
	}
	// Output:
	// device-mapper: table: 254:0: linear: Invalid argument count (-EINVAL)
	// device-mapper: ioctl: error adding target to table
}

// counter is a target model of one's own: it stores nothing and counts.
type counter struct{ writes int }

func (c *counter) Status(noflush bool) string                 { return fmt.Sprint(c.writes) }
func (c *counter) ReadSectors(p []byte, sector uint64) error  { clear(p); return nil }
func (c *counter) WriteSectors(p []byte, sector uint64) error { c.writes++; return nil }

func ExampleKernel_AddTarget() {
	k := dmtest.New()
	k.AddTarget(dmtest.Target{
		Name:    "counter",
		Version: [3]uint32{1, 0, 0},
		New: func(a *dmtest.Args) (dmtest.Instance, error) {
			if len(a.Argv) != 0 {
				return nil, a.Fail(dmtest.EINVAL, "No arguments required")
			}
			return &counter{}, nil
		},
	})
	tr := k.Transport()
	defer tr.Close()
	fmt.Println(create(tr, "c", dmwire.Spec{Length: 8, Type: "counter"}))
	fmt.Print(k.Devices()[0].Active)
	// Output:
	// <nil>
	// 0 8 counter
}
