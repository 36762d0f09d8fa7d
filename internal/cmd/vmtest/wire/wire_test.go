// SPDX-License-Identifier: MIT

package wire

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
)

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	long := bytes.Repeat([]byte("x"), MaxPayload+10)
	if err := w.Bytes(Output, long); err != nil {
		t.Fatal(err)
	}
	if err := w.JSON(End, Result{Index: 3, Code: -1, Signal: "killed"}); err != nil {
		t.Fatal(err)
	}
	w.Logf("%d%%", 5)
	if err := w.Bytes(Done, nil); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	r := bytes.NewReader(whole)
	for _, want := range []struct {
		t Type
		n int
	}{{Output, MaxPayload}, {Output, 10}, {End, -1}, {Log, 2}, {Done, 0}} {
		kind, p, err := Read(r)
		if err != nil || kind != want.t || want.n >= 0 && len(p) != want.n {
			t.Fatalf("Read() = %c, %d bytes, %v; want %c, %d bytes", kind, len(p), err, want.t, want.n)
		}
		if kind == End {
			var res Result
			if err := json.Unmarshal(p, &res); err != nil || res.Index != 3 || res.Signal != "killed" {
				t.Errorf("result %+v, %v", res, err)
			}
		}
	}
	if _, _, err := Read(r); err != io.EOF {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
	if _, _, err := Read(bytes.NewReader(whole[:len(whole)-5-3])); err != io.ErrUnexpectedEOF && err != nil {
		t.Errorf("first frame of a cut stream: %v", err)
	}
	if _, _, err := Read(bytes.NewReader([]byte("O\x05\x00\x00\x00ab"))); err != io.ErrUnexpectedEOF {
		t.Errorf("cut frame: %v, want io.ErrUnexpectedEOF", err)
	}
	for _, bad := range []string{"x\x00\x00\x00\x00", "O\xff\xff\xff\xff"} {
		if _, _, err := Read(bytes.NewReader([]byte(bad))); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("O\x02\x00\x00\x00abD\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		for {
			kind, p, err := Read(r)
			if err != nil {
				return
			}
			var b bytes.Buffer
			_ = NewWriter(&b).Bytes(kind, p)
			if !bytes.Contains(data, b.Bytes()) {
				t.Fatalf("frame %q is not in %q", b.Bytes(), data)
			}
		}
	})
}
