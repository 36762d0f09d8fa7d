// SPDX-License-Identifier: MIT

package udev

import (
	"strings"
	"testing"
	"time"
)

const sysvipcText = `       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime
 223192532          5   600          1     0     0     0     0 1700000000 1700000001
 223154342          6   600          1  1000     0     0     0          0 1700000002
-559038737          7   666          3     0     0     0     0          0 1700000000
 223150080          8   600          1     0     0     0     0          0 1700000000
 223154343          9   600          2     0     0     0     0          0 1700000000
         0         10   600          1     0     0     0     0          0 1700000000
`

func TestParseSysvipc(t *testing.T) {
	list, err := parseSysvipc(strings.NewReader(sysvipcText))
	if err != nil {
		t.Fatal(err)
	}
	want := []Semaphore{
		{SemID: 5, Key: 0xd4da5d4, Used: time.Unix(1700000000, 0), Changed: time.Unix(1700000001, 0)},
		{SemID: 6, Key: 0xd4d10a6, UID: 1000, Changed: time.Unix(1700000002, 0)},
	}
	if len(list) != len(want) {
		t.Fatalf("%+v", list)
	}
	for i := range want {
		if list[i] != want[i] {
			t.Errorf("got %+v\nwant %+v", list[i], want[i])
		}
	}
	for _, bad := range []string{"h\n1 2 3\n", "h\nx 1 600 1 0 0 0 0 0 0\n"} {
		if _, err := parseSysvipc(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzParseSysvipc(f *testing.F) {
	f.Add(sysvipcText)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseSysvipc(strings.NewReader(text))
		if err != nil && list != nil {
			t.Fatal("list and error")
		}
		for _, s := range list {
			if !IsKey(s.Key) || s.SemID < 0 {
				t.Fatalf("%+v", s)
			}
		}
	})
}
