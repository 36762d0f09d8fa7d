// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"testing"
)

func TestOpenBlock(t *testing.T) {
	m := newMulti(t)
	m.create(8, "linear", "1:0 16").Close()
	for _, name := range []string{"/dev/mapper/x", "254:0", "/dev/dm-0"} {
		b, err := m.k.OpenBlock(name, true)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := b.Size(); n != 4096 || err != nil {
			t.Error(n, err)
		}
		if n, err := b.WriteAt([]byte("edges"), 510); n != 5 || err != nil {
			t.Error(n, err)
		}
		p := make([]byte, 7)
		if n, err := b.ReadAt(p, 509); n != 7 || err != nil || string(p) != "\x00edges\x00" {
			t.Error(n, err, p)
		}
		if n, err := b.ReadAt(p, 4094); n != 2 || err != io.EOF {
			t.Error(n, err)
		}
		if n, err := b.WriteAt(p, 4094); n != 2 || !errors.Is(err, ENOSPC) {
			t.Error(n, err)
		}
		if b.InUse() {
			t.Error("it is in use by nobody else")
		}
		s, _ := m.k.Device("x")
		b.Close()
		b.Close()
		if after, _ := m.k.Device("x"); after.OpenCount != s.OpenCount-1 {
			t.Error(s.OpenCount, after.OpenCount)
		}
		if _, err := b.ReadAt(p, 0); !errors.Is(err, fs.ErrClosed) {
			t.Error(err)
		}
	}
	b, err := m.k.OpenBlock("/dev/ram0", false)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if !b.InUse() {
		t.Error("a table has it")
	}
	p := make([]byte, 5)
	if _, err := b.ReadAt(p, 16*512+510); err != nil || !bytes.Equal(p, []byte("edges")) {
		t.Error(p, err)
	}
	if _, err := b.WriteAt(p, 0); !errors.Is(err, EBADF) {
		t.Error("written for reading:", err)
	}
	m.disks[0].Fail(0, 1)
	if _, err := b.ReadAt(p, 0); !errors.Is(err, EIO) {
		t.Error(err)
	}
	if _, err := m.k.OpenBlock("/dev/none", false); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
