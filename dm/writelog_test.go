// SPDX-License-Identifier: MIT

package dm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"testing"
)

// writeLogOf makes a log with blocks of 512 bytes.
func writeLogOf(entries ...[5]any) []byte {
	le := binary.LittleEndian
	b := make([]byte, 512)
	le.PutUint64(b, writeLogMagic)
	le.PutUint64(b[8:], writeLogVersion)
	le.PutUint64(b[16:], uint64(len(entries)))
	le.PutUint32(b[24:], 512)
	for _, e := range entries {
		head := make([]byte, 512)
		le.PutUint64(head, uint64(e[0].(int)))
		le.PutUint64(head[8:], uint64(e[1].(int)))
		le.PutUint64(head[16:], uint64(e[2].(int)))
		le.PutUint64(head[24:], uint64(len(e[3].(string))))
		copy(head[32:], e[3].(string))
		b = append(append(b, head...), e[4].([]byte)...)
	}
	return b
}

func TestWriteLog(t *testing.T) {
	data := bytes.Repeat([]byte{7}, 1024)
	b := writeLogOf(
		[5]any{0, 0, writeLogMark, "begin", []byte(nil)},
		[5]any{8, 2, writeLogFUA | writeLogMetadata, "", data},
		[5]any{100, 50, writeLogDiscard, "", []byte(nil)},
		[5]any{0, 0, writeLogFlush, "", []byte(nil)},
	)
	l, err := OpenWriteLog(bytes.NewReader(b))
	if err != nil || l.Entries != 4 || l.BlockSize != 512 {
		t.Fatal(l, err)
	}
	var got []WriteLogEntry
	for e, err := range l.All() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
		if p, err := io.ReadAll(l.Data(e)); err != nil || e.HasData() != bytes.Equal(p, data) {
			t.Errorf("data of %+v: %d bytes, %v", e, len(p), err)
		}
	}
	if want := []WriteLogEntry{
		{Mark: "begin"}, {Offset: 8, Length: 2, FUA: true, Metadata: true, Data: 1536}, {Offset: 100, Length: 50, Discard: true}, {Flush: true},
	}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for range l.All() {
		break // a reader may leave
	}
	for i, spoil := range []func(b []byte) []byte{
		func(b []byte) []byte { return b[:100] },
		func(b []byte) []byte { b[0]++; return b },
		func(b []byte) []byte { b[8]++; return b },
		func(b []byte) []byte { b[24]++; return b },
		func(b []byte) []byte { b[512+24], b[512+25] = 0xe1, 1; return b }, // the mark
		func(b []byte) []byte { b[1024+7] = 1; return b },                  // the offset
		func(b []byte) []byte { b[1024+8+7] = 1; return b },                // the length
		func(b []byte) []byte { return b[:3000] },
		func(b []byte) []byte { b[16]++; return b },
	} {
		l, err := OpenWriteLog(bytes.NewReader(spoil(bytes.Clone(b))))
		if err == nil {
			for _, err = range l.All() {
			}
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func FuzzWriteLog(f *testing.F) {
	f.Add(writeLogOf([5]any{8, 1, 0, "", make([]byte, 512)}, [5]any{0, 0, writeLogMark, "end", []byte(nil)}))
	f.Add(writeLogOf([5]any{8, 99, writeLogDiscard, "", []byte(nil)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := OpenWriteLog(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		end := int64(l.BlockSize)
		for e, err := range l.All() {
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatal(err)
				}
				break
			}
			if e.HasData() && e.Data < end {
				t.Fatalf("%+v overlaps what is before it", e)
			}
			end = max(end, e.Data) + int64(l.BlockSize)
		}
	})
}
