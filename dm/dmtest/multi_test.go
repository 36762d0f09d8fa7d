// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// resync copies all regions of a mirror.
func resync(t testing.TB, k *Kernel, name string) {
	t.Helper()
	if left, err := k.Resync(name, 1<<30); left != 0 || err != nil {
		t.Fatal(left, err)
	}
}

func messageTo(t testing.TB, tr *Transport, name, text string) (string, error) {
	t.Helper()
	payload := make([]byte, dmwire.MessageSize(text))
	dmwire.PutMessage(payload, 0, text)
	h, body, err := call(t, tr, dmwire.CmdMessage, dmwire.Header{Name: name}, payload)
	if err != nil || h.Flags&dmwire.DataOut == 0 {
		return "", err
	}
	return cstring(body), nil
}

func tell(t testing.TB, tr *Transport, name, text string) {
	t.Helper()
	if out, err := messageTo(t, tr, name, text); out != "" || err != nil {
		t.Fatalf("%s: %q %v", text, out, err)
	}
}

// multi is a test with four ramdisks.
type multi struct {
	*testing.T
	k     *Kernel
	tr    *Transport
	disks []*Disk
}

func newMulti(t *testing.T, opts ...Option) *multi {
	k := New(opts...)
	m := &multi{T: t, k: k, tr: k.Transport()}
	for i := range 4 {
		m.disks = append(m.disks, k.AddDisk(fmt.Sprintf("/dev/ram%d", i), 1, uint32(i), 65536))
	}
	t.Cleanup(func() {
		must(t, m.tr, dmwire.CmdRemoveAll, dmwire.Header{}, nil)
		k.AssertClean(t)
	})
	return m
}

func (m *multi) create(length uint64, typ, params string) *IO {
	m.Helper()
	create(m, m.tr, "x", spec(length, typ, params))
	f, err := m.k.OpenDevice("x")
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { f.Close() })
	return f
}

func (m *multi) status(want string) {
	m.Helper()
	if got := strings.TrimSpace(strings.SplitN(status(m, m.tr, "x", 0), " ", 4)[3]); got != want {
		m.Errorf("status %q, want %q", got, want)
	}
}

func (m *multi) events(want uint32) {
	m.Helper()
	if s, _ := m.k.Device("x"); s.EventNr != want {
		m.Errorf("%d events, want %d", s.EventNr, want)
	}
}

func (m *multi) write(f *IO, b byte, off int64, want error) {
	m.Helper()
	if _, err := f.WriteAt(bytes.Repeat([]byte{b}, 4096), off); err != want {
		m.Errorf("write: %v, want %v", err, want)
	}
}

func (m *multi) read(f *IO, b byte, off int64, want error) {
	m.Helper()
	p := make([]byte, 4096)
	_, err := f.ReadAt(p, off)
	if err != want || err == nil && !bytes.Equal(p, bytes.Repeat([]byte{b}, 4096)) {
		m.Errorf("read %d…: %v, want %d and %v", p[0], err, b, want)
	}
}

// onDisk checks the content past the tables.
func (m *multi) onDisk(i int, b byte, off int64) {
	m.Helper()
	p := make([]byte, 4096)
	if _, err := m.disks[i].ReadAt(p, off); err != nil || !bytes.Equal(p, bytes.Repeat([]byte{b}, 4096)) {
		m.Errorf("disk %d has %d at %d, want %d, %v", i, p[0], off, b, err)
	}
}
