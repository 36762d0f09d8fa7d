// SPDX-License-Identifier: MIT

package kmsg

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/internal/vmtest"
)

func say(t *testing.T, text string) {
	t.Helper()
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Without the newline the record would stay open for a continuation, and
	// no reader would see it before the next one.
	if _, err := f.WriteString(text + "\n"); err != nil {
		t.Fatal(err)
	}
}

func reader(t *testing.T) *Reader {
	t.Helper()
	r, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if err := r.Mark(); err != nil {
		t.Fatal(err)
	}
	return r
}

func collect(t *testing.T, r *Reader) []Record {
	t.Helper()
	list, err := r.Collect()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestVMWriteAndRead(t *testing.T) {
	vmtest.Require(t)
	say(t, "<3>before")
	r := reader(t)
	text := "device-mapper: table: 254:0: linear: \x01 ü \\ forged (-EINVAL)"
	say(t, "<3>"+text)
	var found bool
	list := collect(t, r)
	for _, rec := range list {
		if rec.Text == "before" {
			t.Error("Mark was ignored")
		}
		if rec.Text == text {
			found = true
			if rec.Priority != 3 || rec.Facility == 0 || rec.Timestamp <= 0 {
				t.Errorf("%+v", rec)
			}
		}
	}
	if !found {
		t.Errorf("not found in %+v", list)
	}
	if got := Match(list, Subject{Dev: "254:0", Alone: true}); strings.Contains(got, "forged") {
		t.Errorf("a forged reason: %q", got)
	}
	for _, rec := range collect(t, r) {
		if rec.Text == text {
			t.Error("twice")
		}
	}
}

// What the kernel says to a refused table.
func TestVMReason(t *testing.T) {
	vmtest.Require(t, "dm-mod")
	for table, want := range map[string]string{
		"0 8 linear":          "linear: Invalid argument count (-EINVAL)",
		"0 8 linear 99:99 0":  "linear: Device lookup failed (-ENXIO)",
		"0 8 nosuch":          "nosuch: unknown target type",
		"0 7 striped 2 16 1 ": "striped: ",
	} {
		r := reader(t)
		vmtest.Run(t, "dmsetup", "create", "--notable", "kmsgtest")
		out := strings.TrimSpace(vmtest.Output(t, "dmsetup", "info", "-c", "--noheadings", "-o", "major,minor", "kmsgtest"))
		err := vmtest.Command(t, "dmsetup", "load", "kmsgtest", "--table", table).Run()
		vmtest.Run(t, "dmsetup", "remove", "kmsgtest")
		if err == nil {
			t.Errorf("%s was taken", table)
		}
		list := collect(t, r)
		if got := Match(list, Subject{Dev: out}); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q; records %+v", table, got, want, list)
		}
		if got := Match(list, Subject{Dev: "254:77", Alone: true}); got != "" {
			t.Errorf("%s: another device got %q", table, got)
		}
	}
}

// The ring buffer runs over under a reader.
func TestVMOverwritten(t *testing.T) {
	vmtest.Require(t)
	const limit = "/proc/sys/kernel/printk_devkmsg"
	was, err := os.ReadFile(limit)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(limit, []byte("on\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(limit, was, 0o644)
	r := reader(t)
	say(t, "<7>first")
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for ; n < 40000; n++ {
		if _, err := fmt.Fprintf(f, "<7>kmsgtest %d %s\n", n, strings.Repeat("x", 800)); err != nil {
			t.Fatal(err)
		}
		if n%1000 == 0 {
			// Enough as soon as the oldest record is none of the first.
			old, err := Open()
			if err != nil {
				t.Fatal(err)
			}
			buf := collectOne(t, old)
			old.Close()
			if strings.HasPrefix(buf, "kmsgtest") {
				break
			}
		}
	}
	say(t, "<7>last")
	total, last := 0, ""
	for {
		list := collect(t, r)
		if len(list) == 0 {
			break
		}
		for _, rec := range list {
			if rec.Text == "first" {
				t.Error("nothing was overwritten")
			}
			last = rec.Text
		}
		total += len(list)
	}
	if total == 0 || total > n || last != "last" {
		t.Errorf("%d of %d records, the last %q", total, n, last)
	}
}

func collectOne(t *testing.T, r *Reader) string {
	t.Helper()
	list := collect(t, r)
	if len(list) == 0 {
		t.Fatal("empty log")
	}
	return list[0].Text
}
