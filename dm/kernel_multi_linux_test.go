// SPDX-License-Identifier: MIT

package dm_test

import (
	"bytes"
	"context"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/blockdev"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

func kernelClient(t *testing.T) *dm.Client {
	t.Helper()
	c, err := dm.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func kernelDevice(t *testing.T, c *dm.Client, name dm.Name, length dm.Sectors, target dm.Target) dm.Info {
	t.Helper()
	info, err := c.Create(context.Background(), name, dm.Table{}.Append(length, target), dm.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Remove(context.Background(), info.Dev, dm.RemoveOptions{Retries: 20}); err != nil {
			t.Error(err)
		}
	})
	return info
}

// A multipath device of requests needs a disk with a driver for them.
func TestKernelMultipathRequests(t *testing.T) {
	vmtest.Require(t, "dm-multipath", "dm-service-time")
	ctx := context.Background()
	c := kernelClient(t)
	disk := vmtest.Disk(t)
	want := dm.Multipath{QueueIfNoPath: true, PGInitRetries: 3, InitialGroup: 1, Groups: []dm.PathGroup{
		{Selector: "service-time", Paths: []dm.Path{{Device: disk, Args: []string{"1", "7"}}}},
	}}
	info := kernelDevice(t, c, "rq", 8192, want)
	tab, err := c.Table(ctx, info.Dev, dm.StatusOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, ok := tab[0].Target.(dm.Multipath)
	if !ok {
		t.Fatalf("%v", tab)
	}
	want.Groups[0].Paths[0].Device = got.Groups[0].Paths[0].Device
	if !reflect.DeepEqual(got, want) {
		t.Errorf("printed %+v, want %+v", got, want)
	}
	f := openNode(t, info.Name, blockdev.Options{Direct: true})
	_, err = f.ReadAt(make([]byte, 4096), 0)
	f.Close()
	if err != nil {
		t.Error(err)
	}
	if _, err := c.Reload(ctx, info.Dev, tab, dm.ReloadOptions{}); err != nil {
		t.Error(err)
	}
	// A hardware handler is of SCSI; 7.2 takes one for any disk.
	want.HWHandler = []string{"alua"}
	alua, err := c.Create(ctx, "alua", dm.Table{}.Append(8192, want), dm.CreateOptions{})
	if c.Version().AtLeast(4, 50) {
		if err != nil {
			t.Error(err)
		} else if err := c.Remove(ctx, alua.Dev, dm.RemoveOptions{Retries: 20}); err != nil {
			t.Error(err)
		}
	} else {
		wantErr(t, err, err, "error attaching hardware handler")
	}
	// The device keeps its kind.
	_, err = c.Reload(ctx, info.Dev, dm.Table{}.Append(8192, dm.Multipath{QueueMode: dm.QueueBio}), dm.ReloadOptions{})
	wantErr(t, err, err, "can't change device type (old=2 vs new=1)")
}

// Since version 9.2 the vdo target formats its device: it can be tried without
// vdoformat.
func TestKernelVDO(t *testing.T) {
	vmtest.RequireKernel(t, 7, 2, "the target formats its device")
	vmtest.Require(t, "dm-vdo")
	vmtest.LoadModule(t, "zram", "num_devices=1")
	// Zeros take no memory there.
	if err := os.WriteFile("/sys/block/zram0/disksize", []byte("6G"), 0); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	c := kernelClient(t)
	want := dm.VDO{
		Device: "/dev/zram0", StorageBlocks: 6 << 18, MinIO: 4096, CacheBlocks: 4096, EraLength: 16380,
		Threads: dm.VDOThreads{Ack: new(uint32(0)), Bio: 2, CPU: 2, Hash: 1, Logical: 1, Physical: 1}, MaxDiscard: 8,
		IndexMemory: 256, SlabSize: 32768,
	}
	info := kernelDevice(t, c, "vdo", 1<<21, want)
	tab, err := c.Table(ctx, info.Dev, dm.StatusOptions{})
	if err != nil || !reflect.DeepEqual(tab[0].Target, dm.Target(want)) {
		t.Errorf("printed %+v, %v", tab, err)
	}
	status := func() dm.VDOStatus {
		t.Helper()
		list, err := c.Status(ctx, info.Dev, dm.StatusOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := dm.ParseVDOStatus(list[0].Text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	send := func(m dm.TargetMessage) string {
		t.Helper()
		out, err := c.Send(ctx, info.Dev, m)
		if err != nil {
			t.Fatalf("%s: %v", m.Text(), err)
		}
		return out
	}
	index := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); status().Index != want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the index is %s", status().Index)
			}
		}
	}
	index("online")
	before := status()
	if before.Device != "/dev/zram0" || before.Mode != "normal" || before.Recovering || before.Compressing || before.Total != 6<<18 || before.Used == 0 {
		t.Errorf("status %+v", before)
	}
	// The same block again and again is stored once.
	data := bytes.Repeat(pattern(4096, 5), 256)
	f := openNode(t, info.Name, blockdev.Options{Write: true, Direct: true})
	if _, err := f.WriteAt(data, 1<<20); err != nil {
		t.Error(err)
	}
	got := make([]byte, len(data))
	if _, err := f.ReadAt(got, 1<<20); err != nil || !bytes.Equal(got, data) {
		t.Errorf("other data, %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if n := status().Used - before.Used; n == 0 || n > 100 {
		t.Errorf("%d blocks for one", n)
	}
	send(dm.VDOCompress{On: true})
	if !status().Compressing {
		t.Error("no compression")
	}
	send(dm.VDOCompress{})
	if status().Compressing {
		t.Error("compression")
	}
	send(dm.VDOIndex{Do: "disable"})
	index("offline")
	send(dm.VDOIndex{Do: "enable"})
	index("online")
	stats, err := dm.VDOStats{}.Answer(send(dm.VDOStats{}))
	if err != nil || stats["dataBlocksUsed"] == "" || stats["biosIn.write"] == "" {
		t.Errorf("statistics %v, %v", stats, err)
	}
	send(dm.VDODump{What: []string{"queues"}})
	// A larger device, with the new table loaded while it runs.
	want.NoDeduplication = true
	if _, err := c.Reload(ctx, info.Dev, dm.Table{}.Append(1<<22, want), dm.ReloadOptions{}); err != nil {
		t.Error(err)
	}
	index("closed")
}
