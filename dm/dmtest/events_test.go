// SPDX-License-Identifier: MIT

package dmtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

func TestWaitAndEvents(t *testing.T) {
	k, tr := setup(t)
	create(t, tr, "a", zeroSpec)
	must(t, tr, dmwire.CmdArmPoll, dmwire.Header{}, nil)
	type result struct {
		h   dmwire.Header
		err error
	}
	wait := func(tr *Transport, name string) chan result {
		c := make(chan result, 1)
		go func() {
			h, _, err := call(t, tr, dmwire.CmdWait, named(name), nil)
			c <- result{h, err}
		}()
		for sleeping := false; !sleeping; time.Sleep(time.Millisecond) {
			k.mu.Lock()
			sleeping = k.names[name].holders > 0
			k.mu.Unlock()
		}
		return c
	}
	c := wait(tr, "a")
	polled := make(chan error, 1)
	go func() { polled <- tr.Wait(context.Background()) }()
	if err := k.Event("a"); err != nil {
		t.Fatal(err)
	}
	if r := <-c; r.err != nil || r.h.EventNr != 1 || r.h.TargetCount != 1 {
		t.Errorf("%+v", r)
	}
	if err := <-polled; err != nil {
		t.Error(err)
	}
	// Close interrupts, a removal wakes.
	must(t, tr, dmwire.CmdRename, named("a"), []byte("b\x00"))
	other := k.Transport()
	must(t, tr, dmwire.CmdCreate, named("bare"), nil)
	c = wait(other, "bare")
	other.Close()
	if r := <-c; r.err != EINTR {
		t.Errorf("%+v", r)
	}
	create(t, tr, "z", zeroSpec)
	c = wait(tr, "z")
	must(t, tr, dmwire.CmdRemove, named("z"), nil)
	if r := <-c; r.err != nil || r.h.EventNr != 1 {
		t.Errorf("%+v", r)
	}
	must(t, tr, dmwire.CmdArmPoll, dmwire.Header{}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { polled <- tr.Wait(ctx) }()
	cancel()
	if err := <-polled; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	go func() { polled <- tr.Wait(context.Background()) }()
	tr.Close()
	tr.Close()
	if err := <-polled; !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
	if err := tr.Ioctl(dmwire.CmdVersion.Request(), make([]byte, 312)); err != EBADF {
		t.Error(err)
	}
}

// Suspends wait for I/O under way, and I/O waits for the resume.
func TestSuspendWaitsForIO(t *testing.T) {
	k, tr := setup(t)
	disk := k.paths["/dev/ram0"]
	create(t, tr, "a", linearTo("1:0", 64))
	f, err := k.OpenDevice("a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	inside, release := make(chan bool), make(chan bool)
	disk.FailWith(func(bool, uint64, uint64) error { inside <- true; <-release; return nil })
	written := make(chan error, 1)
	go func() { _, err := f.WriteAt(make([]byte, 512), 0); written <- err }()
	<-inside
	suspended := make(chan error, 1)
	go func() {
		_, _, err := call(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "a", Flags: dmwire.Suspend}, nil)
		suspended <- err
	}()
	select {
	case <-suspended:
		t.Fatal("suspended with I/O in flight")
	case <-time.After(20 * time.Millisecond):
	}
	// Other devices are not hindered meanwhile.
	create(t, tr, "b", zeroSpec)
	close(release)
	if err := <-written; err != nil {
		t.Error(err)
	}
	if err := <-suspended; err != nil {
		t.Error(err)
	}
	disk.FailWith(nil)
	read := make(chan error, 1)
	go func() { _, err := f.ReadAt(make([]byte, 512), 0); read <- err }()
	f2, _ := k.OpenDevice("a")
	go func() { time.Sleep(10 * time.Millisecond); f2.Close() }()
	if _, err := f2.ReadAt(make([]byte, 512), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("I/O of a closed node: %v", err)
	}
	must(t, tr, dmwire.CmdSuspend, named("a"), nil)
	if err := <-read; err != nil {
		t.Error(err)
	}
	disk.Fail(8, 1)
	if _, err := f.ReadAt(make([]byte, 8192), 0); err != EIO {
		t.Errorf("%v", err)
	}
}

// The uevents of a life, as udevadm recorded them.
func TestUevents(t *testing.T) {
	k, tr := setup(t)
	create(t, tr, "a", zeroSpec)
	if err := load(t, tr, "a", dmwire.Spec{Length: 16, Type: "zero"}); err != nil {
		t.Fatal(err)
	}
	got := make(chan Uevent, 4)
	k.OnUevent(func(e Uevent) { got <- e })
	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "a", EventNr: 0x60b528}, nil)
	if e := <-got; e != (Uevent{"change", "dm-0", 0x60b528, true}) {
		t.Errorf("%+v", e)
	}
	k.OnUevent(nil)
	must(t, tr, dmwire.CmdRemove, dmwire.Header{Name: "a", EventNr: 7}, nil)
	want := []Uevent{{"add", "dm-0", 0, false}, {"change", "dm-0", 0, false}, {"change", "dm-0", 0x60b528, true}, {"remove", "dm-0", 7, false}, {"remove", "dm-0", 0, false}}
	if !slices.Equal(k.Uevents(), want) {
		t.Errorf("%+v", k.Uevents())
	}
}

// Everything at once on several devices, for the race detector.
func TestConcurrent(t *testing.T) {
	k, tr := setup(t)
	var wg sync.WaitGroup
	run := func(n int, f func(i int)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range n {
				f(i)
			}
		}()
	}
	for w := range 4 {
		name := fmt.Sprint("d", w)
		run(60, func(i int) {
			create(t, tr, name, linearTo("1:0", 64), dmwire.Spec{Start: 64, Length: 8, Type: "zero"})
			f, err := k.OpenDevice(name)
			if err != nil {
				t.Error(err)
				return
			}
			var io sync.WaitGroup
			io.Add(1)
			go func() {
				defer io.Done()
				for range 5 {
					if _, err := f.WriteAt(make([]byte, 4096), 0); err != nil {
						t.Error(err)
					}
				}
			}()
			if err := load(t, tr, name, linearTo("1:1", 128)); err != nil {
				t.Error(err)
			}
			must(t, tr, dmwire.CmdSuspend, named(name), nil)
			status(t, tr, name, 0)
			must(t, tr, dmwire.CmdRemove, dmwire.Header{Name: name, Flags: dmwire.DeferredRemove}, nil)
			io.Wait()
			f.Close()
		})
	}
	other := k.Transport()
	defer other.Close()
	run(200, func(int) {
		must(t, other, dmwire.CmdListDevices, dmwire.Header{}, nil)
		must(t, other, dmwire.CmdArmPoll, dmwire.Header{}, nil)
		k.Devices()
		call(t, other, dmwire.CmdDeps, named("d1"), nil)
		k.Event("d2")
	})
	wg.Wait()
	k.AssertClean(t)
	if n := k.paths["/dev/ram0"].Opens() + k.paths["/dev/ram1"].Opens(); n != 0 {
		t.Errorf("disks are open %d times", n)
	}
}
