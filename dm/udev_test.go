// SPDX-License-Identifier: MIT

package dm

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/linuxblock/linuxblock/internal/dmwire"
	"github.com/linuxblock/linuxblock/internal/runfile"
	"github.com/linuxblock/linuxblock/internal/udev"
)

// A cookie's entry in the run file ends with the cookie, also when its key
// was taken or the next one could not be noted.
func TestCookieNotes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the run file needs Linux")
	}
	dir := filepath.Join(t.TempDir(), "run")
	list := &runList{dir: dir}
	t.Cleanup(func() { list.close() })
	c := &Client{}
	c.host.run = list
	open := func(want int) {
		t.Helper()
		data, err := os.ReadFile(list.file.Path())
		if err != nil {
			t.Fatal(err)
		}
		if got := runfile.Parse(data).Open; len(got) != want {
			t.Errorf("%d open entries, want %d: %v", len(got), want, got)
		}
	}
	step := func(u *udevSync, s udev.Stage, key uint32) error { return u.keep(s, key, -1) }
	u := &udevSync{c: c}
	for key := range uint32(3) {
		if err := step(u, udev.Intended, key); err != nil {
			t.Fatal(err)
		}
		open(1)
	}
	step(u, udev.Dropped, 2)
	open(0)
	// The second key can't be noted.
	if err := step(u, udev.Intended, 1); err != nil {
		t.Fatal(err)
	}
	c.host.run = &runList{dir: filepath.Join(dir, "no", "such")}
	if err := step(u, udev.Intended, 2); err == nil || u.note != nil {
		t.Error(err, u.note)
	}
	open(0)
}

// Offsets beyond 31 bits in an answer, where an int has 32.
func TestTraceHugeOffsets(t *testing.T) {
	for _, at := range []int{12, 16} { // data_size, data_start
		for _, v := range []uint32{1 << 31, 1<<32 - 1} {
			buf := make([]byte, dmwire.HeaderSize)
			h := dmwire.Header{DataSize: dmwire.HeaderSize, DataStart: dmwire.HeaderSize}
			if err := h.Put(buf); err != nil {
				t.Fatal(err)
			}
			binary.NativeEndian.PutUint32(buf[at:], v)
			var seen Trace
			c := &Client{t: silent{}, quiet: &quietLog{}, trace: func(tr Trace) { seen = tr }}
			if err := c.traced(request{cmd: dmwire.CmdTableStatus}, buf); err != nil || !bytes.Equal(seen.Answer, buf) {
				t.Errorf("%d = %d: %v", at, v, err)
			}
		}
	}
}

// silent answers every ioctl with what it got.
type silent struct{ Transport }

func (silent) Ioctl(uint32, []byte) error { return nil }
