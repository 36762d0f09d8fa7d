// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// call makes one ioctl with a fresh buffer and decodes the answer.
func call(t testing.TB, tr *Transport, cmd dmwire.Command, h dmwire.Header, payload []byte) (dmwire.Header, []byte, error) {
	t.Helper()
	buf := make([]byte, 16384)
	if h.Version == (dmwire.Version{}) {
		h.Version.Major = 4
	}
	if h.DataSize == 0 {
		h.DataSize = 16384
	}
	if h.DataStart == 0 {
		h.DataStart = dmwire.HeaderSize
	}
	if err := h.Put(buf); err != nil {
		t.Fatal(err)
	}
	copy(buf[h.DataStart:], payload)
	err := tr.Ioctl(cmd.Request(), buf[:h.DataSize])
	out, perr := dmwire.ParseHeader(buf)
	if perr != nil {
		t.Fatal(perr)
	}
	if err != nil {
		return out, nil, err
	}
	body, perr := out.Payload(buf)
	if perr != nil {
		t.Fatal(perr)
	}
	return out, body, nil
}

func must(t testing.TB, tr *Transport, cmd dmwire.Command, h dmwire.Header, payload []byte) (dmwire.Header, []byte) {
	t.Helper()
	out, body, err := call(t, tr, cmd, h, payload)
	if err != nil {
		t.Fatalf("%v %s: %v", cmd, h.Name, err)
	}
	return out, body
}

func loadPayload(t testing.TB, specs ...dmwire.Spec) []byte {
	t.Helper()
	buf := make([]byte, dmwire.SpecsSize(specs))
	if err := dmwire.PutLoad(buf, specs); err != nil {
		t.Fatal(err)
	}
	return buf
}

func load(t testing.TB, tr *Transport, name string, specs ...dmwire.Spec) error {
	t.Helper()
	_, _, err := call(t, tr, dmwire.CmdLoad, dmwire.Header{Name: name, TargetCount: uint32(len(specs))}, loadPayload(t, specs...))
	return err
}

// message sends a message and returns the answer.
func message(t testing.TB, tr *Transport, name, text string) (string, error) {
	t.Helper()
	payload := make([]byte, dmwire.MessageSize(text))
	dmwire.PutMessage(payload, 0, text)
	h, body, err := call(t, tr, dmwire.CmdMessage, dmwire.Header{Name: name}, payload)
	if err != nil || h.Flags&dmwire.DataOut == 0 {
		return "", err
	}
	return cstring(body), nil
}

// say sends a message that has no answer.
func say(t testing.TB, tr *Transport, name, text string) error {
	t.Helper()
	_, err := message(t, tr, name, text)
	return err
}

// create makes a running device.
func create(t testing.TB, tr *Transport, name string, specs ...dmwire.Spec) {
	t.Helper()
	must(t, tr, dmwire.CmdCreate, dmwire.Header{Name: name}, nil)
	if len(specs) == 0 {
		return
	}
	if err := load(t, tr, name, specs...); err != nil {
		t.Fatal(err)
	}
	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: name}, nil)
}

func TestLife(t *testing.T) {
	k := New()
	disk := k.AddDisk("/dev/ram0", 1, 0, 131072)
	tr := k.Transport()
	defer tr.Close()
	create(t, tr, "a", dmwire.Spec{Length: 8, Type: "linear", Params: "/dev/ram0 8"}, dmwire.Spec{Start: 8, Length: 8, Type: "zero"})
	f, err := k.OpenDevice("a")
	if err != nil {
		t.Fatal(err)
	}
	p := bytes.Repeat([]byte{7}, 8192)
	if _, err := f.WriteAt(p, 0); err != nil {
		t.Fatal(err)
	}
	q := make([]byte, 8192)
	if _, err := disk.ReadAt(q, 4096); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(q[:4096], p[:4096]) || !isZero(q[4096:]) {
		t.Error("the write did not go where it should")
	}
	if _, _, err := call(t, tr, dmwire.CmdRemove, dmwire.Header{Name: "a"}, nil); err != EBUSY {
		t.Errorf("remove of an open device: %v", err)
	}
	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "a", Flags: dmwire.Suspend}, nil)
	done := make(chan error)
	go func() { _, err := f.ReadAt(q, 0); done <- err }()
	select {
	case <-done:
		t.Error("I/O passed a suspended device")
	case <-time.After(20 * time.Millisecond):
	}
	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "a"}, nil)
	if err := <-done; err != nil {
		t.Error(err)
	}
	f.Close()
	must(t, tr, dmwire.CmdRemove, dmwire.Header{Name: "a"}, nil)
	k.AssertClean(t)
	if err := tr.Wait(context.Background()); err != nil {
		t.Error(err)
	}
}
