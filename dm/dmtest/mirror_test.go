// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

func TestMirrorSync(t *testing.T) {
	m := newMulti(t)
	m.k.HoldResyncs(true)
	for i := range int64(16) {
		m.disks[0].WriteAt(bytes.Repeat([]byte{byte(i + 1)}, 4096), i*512*512)
	}
	f := m.create(8192, "mirror", "core 1 1024 2 1:0 0 1:1 0 1 handle_errors")
	m.status("2 1:0 1:1 0/8 1 AA 1 core")
	if left, err := m.k.Resync("x", 3); left != 5 || err != nil {
		t.Fatal(left, err)
	}
	m.status("2 1:0 1:1 3/8 1 AA 1 core")
	m.events(0)
	m.write(f, 99, 0, nil) // in sync: on both
	m.onDisk(0, 99, 0)
	m.onDisk(1, 99, 0)
	const late = 7 * 1024 * 512
	m.write(f, 98, late, nil) // not yet: on the first
	m.onDisk(0, 98, late)
	m.onDisk(1, 0, late)
	resync(t, m.k, "x")
	m.status("2 1:0 1:1 8/8 1 AA 1 core")
	m.events(1)
	m.onDisk(1, 98, late)
	m.onDisk(1, 16, 15*512*512)
}

// A leg that fails: a write is held until the device is suspended, and then
// starts anew or fails. Reads go on.
func TestMirrorLegFails(t *testing.T) {
	for _, noflush := range []bool{false, true} {
		m := newMulti(t)
		f := m.create(8192, "mirror", "core 2 1024 nosync 2 1:0 0 1:1 0 1 handle_errors")
		resync(t, m.k, "x")
		m.events(0) // none of the sync: it was there from the start
		m.disks[0].Fail(0, 65536)
		m.read(f, 0, 0, nil)
		m.status("2 1:0 1:1 8/8 1 RA 1 core")
		m.events(1)
		done := make(chan error, 1)
		go func() {
			_, err := f.WriteAt(bytes.Repeat([]byte{7}, 4096), 0)
			done <- err
		}()
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			if s, _ := m.k.Device("x"); s.EventNr == 2 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("no event")
			}
		}
		select {
		case err := <-done:
			t.Fatalf("the write was not held: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		m.onDisk(1, 7, 0)
		must(t, m.tr, dmwire.CmdClear, named("x"), nil)
		if err := load(t, m.tr, "x", spec(8192, "linear", "1:1 0")); err != nil {
			t.Fatal(err)
		}
		flags := dmwire.Suspend
		if noflush {
			flags |= dmwire.NoFlush
		}
		must(t, m.tr, dmwire.CmdSuspend, dmwire.Header{Name: "x", Flags: flags}, nil)
		must(t, m.tr, dmwire.CmdSuspend, named("x"), nil)
		want := error(EIO)
		if noflush {
			want = nil
		}
		if err := <-done; err != want {
			t.Errorf("held write: %v, want %v", err, want)
		}
		m.read(f, 7, 0, nil)
		f.Close()
	}
}

// Without handle_errors, and with keep_log, nothing is held.
func TestMirrorGoesOn(t *testing.T) {
	for _, features := range []string{"", " 2 handle_errors keep_log"} {
		m := newMulti(t)
		f := m.create(8192, "mirror", "core 2 1024 nosync 2 1:0 0 1:1 0"+features)
		resync(t, m.k, "x")
		m.disks[1].Fail(0, 65536)
		m.write(f, 1, 0, nil)
		m.status("2 1:0 1:1 7/8 1 AD 1 core")
		if features == "" {
			m.events(0)
		} else {
			m.events(1)
		}
		m.write(f, 2, 0, nil)
		m.onDisk(0, 2, 0)
		m.disks[0].Fail(0, 65536)
		m.write(f, 3, 1024*512, EIO)
		m.read(f, 3, 1024*512, EIO)
		f.Close()
	}
}

// The copying meets a bad leg, and a bad source.
func TestMirrorSyncFails(t *testing.T) {
	m := newMulti(t)
	m.k.HoldResyncs(true)
	m.disks[1].Fail(2048, 1)
	m.create(8192, "mirror", "core 1 1024 3 1:0 0 1:1 0 1:2 0 1 handle_errors")
	if left, err := m.k.Resync("x", 100); left != 1 || err != nil {
		t.Fatal(left, err)
	}
	m.status("3 1:0 1:1 1:2 7/8 1 ASA 1 core")
	m.events(1)
	must(t, m.tr, dmwire.CmdSuspend, dmwire.Header{Name: "x", Flags: dmwire.Suspend}, nil)
	m.disks[1].FailWith(nil)
	must(t, m.tr, dmwire.CmdSuspend, named("x"), nil)
	resync(t, m.k, "x")
	m.status("3 1:0 1:1 1:2 8/8 1 ASA 1 core") // a leg does not recover by itself
	m.events(2)
}

func TestMirrorDiskLog(t *testing.T) {
	m := newMulti(t)
	m.k.HoldResyncs(true)
	const table = "disk 2 1:3 1024 2 1:0 0 1:1 0 2 handle_errors keep_log"
	f := m.create(8192, "mirror", table)
	m.k.Resync("x", 3)
	m.status("2 1:0 1:1 3/8 1 AA 3 disk 1:3 A")
	f.Close()
	must(t, m.tr, dmwire.CmdRemove, named("x"), nil)
	f = m.create(8192, "mirror", table) // the log remembers
	m.status("2 1:0 1:1 3/8 1 AA 3 disk 1:3 A")
	resync(t, m.k, "x")
	m.events(1)
	m.disks[3].Fail(0, 65536)
	m.write(f, 1, 0, EIO) // keep_log: not held
	m.status("2 1:0 1:1 8/8 1 AA 3 disk 1:3 D")
	m.events(2)
	f.Close()
	must(t, m.tr, dmwire.CmdRemove, named("x"), nil)
	f = m.create(8192, "mirror", table) // without its log nothing is known
	m.status("2 1:0 1:1 0/8 1 AA 3 disk 1:3 D")
	f.Close()
}
