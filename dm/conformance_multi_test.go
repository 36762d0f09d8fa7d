// SPDX-License-Identifier: MIT

package dm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
)

var multiModules = append([]string{"dm-mirror", "dm-switch", "dm-unstripe", "dm-log-writes", "dm-zoned"}, multipathModules...)

// What the kernel prints of these tables is understood, can be loaded, and is
// printed the same then. Where it prints something else than it was given, that
// follows in a second line; the third is what Linux 6.16 prints.
func testMultiTables(t *testing.T, e *env) {
	ctx := context.Background()
	e.modules(t, multiModules...)
	for _, text := range []string{
		"mirror core 1 1024 2 A 0 B 0",
		"mirror core 2 512 sync 3 A 0 B 8 C 16 1 handle_errors",
		"mirror core 2 8192 nosync 2 A 0 B 0 2 handle_errors keep_log",
		"mirror disk 2 D 1024 2 A 0 B 0",
		"mirror disk 3 D 2 nosync 2 A 0 A 8192 1 handle_errors",
		"mirror core 1 1024 2 A 0 B 0 0\nmirror core 1 1024 2 A 0 B 0",
		"switch 1 1 0 A 0",
		"switch 3 7 0 A 0 B 8 C 16",
		"unstriped 2 16 1 A 0",
		"unstriped 1 1024 0 A 8",
		"unstriped 3 4096 2 A 8",
		"log-writes A B",
		"multipath 2 queue_mode bio 0 0 0\nmultipath 3 retain_attached_hw_handler queue_mode bio 0 0 0\nmultipath 2 queue_mode bio 0 0 0",
		"multipath 0 0 0 0",
		"multipath 8 queue_if_no_path pg_init_retries 50 pg_init_delay_msecs 0 retain_attached_hw_handler queue_mode bio 0 1 1 round-robin 0 1 1 A 1\n" +
			"multipath 8 queue_if_no_path pg_init_retries 50 pg_init_delay_msecs 0 retain_attached_hw_handler queue_mode bio 0 1 1 round-robin 0 1 1 A 1\n" +
			"multipath 7 queue_if_no_path pg_init_retries 50 pg_init_delay_msecs 0 queue_mode bio 0 1 1 round-robin 0 1 1 A 1",
		"multipath 3 retain_attached_hw_handler queue_mode bio 1 alua 2 2 round-robin 1 x 1 0 A queue-length 0 2 1 B 1 C 7\n" +
			"multipath 3 retain_attached_hw_handler queue_mode bio 0 2 2 round-robin 0 1 1 A 1 queue-length 0 2 1 B 1 C 1\n" +
			"multipath 2 queue_mode bio 0 2 2 round-robin 0 1 1 A 1 queue-length 0 2 1 B 1 C 1",
		"multipath 2 queue_mode bio 0 1 9 service-time 0 2 2 A 1 100 B 0 0\n" +
			"multipath 3 retain_attached_hw_handler queue_mode bio 0 1 1 service-time 0 2 2 A 1 100 B 0 0\n" +
			"multipath 2 queue_mode bio 0 1 1 service-time 0 2 2 A 1 100 B 0 0",
	} {
		forms := strings.Split(text, "\n")
		want := forms[0]
		if len(forms) > 1 {
			want = forms[1]
		}
		if len(forms) > 2 && e.c.Version().AtLeast(4, 50) {
			want = forms[2]
		}
		words := strings.Fields(forms[0])
		for i, w := range words {
			if len(w) == 1 && w[0] >= 'A' && w[0] <= 'D' {
				words[i] = e.disks[w[0]-'A']
			}
		}
		tab := e.table(t, "0 8192 %s", strings.Join(words, " "))
		info := e.create(t, "t", tab, dm.CreateOptions{})
		printed, err := e.c.Table(ctx, info.Dev, dm.StatusOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, raw := printed[0].Target.(dm.Raw); raw {
			t.Errorf("%s: %v was not understood", text, printed)
		}
		if got, want := blind(printed.Format()), blindLetters("0 8192 "+want); got != want {
			t.Errorf("printed %q, want %q", got, want)
		}
		if _, err := e.c.Reload(ctx, info.Dev, printed, dm.ReloadOptions{}); err != nil {
			t.Errorf("%v can't be loaded: %v", printed, err)
		}
		if again, err := e.c.Table(ctx, info.Dev, dm.StatusOptions{}); err != nil || !again.Equal(printed) {
			t.Errorf("printed %v, then %v", printed, again)
		}
		list, err := e.c.Status(ctx, info.Dev, dm.StatusOptions{})
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		back, err := list[0].Typed()
		if err != nil || back != nil && back.String() != strings.TrimSpace(list[0].Text) || back == nil && strings.TrimSpace(list[0].Text) != "" {
			t.Errorf("status %q came back as %v, %v", list[0].Text, back, err)
		}
		e.remove(t, info.Dev)
	}
	for _, tt := range []struct{ table, says string }{
		{"zoned A", "Invalid regular device"},
		{"multipath 0 0 1 1 round-robin 0 1 1 A 1", "non-request-stackable"},
		{"multipath 2 queue_mode bio 0 1 1 no-such 0 1 1 A 1", "unknown path selector"},
		{"mirror no-such 1 1024 2 A 0 B 0", "Error creating mirror dirty log"},
	} {
		_, err := e.c.Create(ctx, e.name("bad"), e.table(t, "0 8192 %s", strings.NewReplacer("A", e.disks[0], "B", e.disks[1]).Replace(tt.table)), dm.CreateOptions{})
		wantErr(t, err, err, tt.says)
		if err == nil {
			t.Errorf("%s was taken", tt.table)
		}
	}
}

// blindLetters is blind for the letters that stand for disks.
func blindLetters(text string) string {
	w := strings.Fields(text)
	for i, s := range w {
		if len(s) == 1 && s[0] >= 'A' && s[0] <= 'D' {
			w[i] = "DEV"
		}
	}
	return strings.Join(w, " ")
}

// The recorded tables get the recorded answers, but for the numbers of the
// devices.
func testRecordedMulti(t *testing.T, e *env) {
	ctx := context.Background()
	e.modules(t, multiModules...)
	data, err := os.ReadFile("testdata/targets/targets-6.1.192.json")
	if err != nil {
		t.Fatal(err)
	}
	var runs map[string][]struct {
		Case, In      string
		RC            int
		Status, Table []string
	}
	if err := json.Unmarshal(data, &runs); err != nil {
		t.Fatal(err)
	}
	disks := strings.NewReplacer(" 1:0", " "+e.disks[0], " 1:1", " "+e.disks[1], " 1:6", " "+e.disks[2], " 1:8", " "+e.disks[3])
	n := 0
	for _, c := range runs["vm_run_a"] {
		w := strings.SplitN(c.In, " ", 4)
		switch w[2] {
		case "mirror", "multipath", "switch", "unstriped", "log-writes", "zoned":
		default:
			continue
		}
		n++
		// Raw, so that the kernel alone decides.
		length, err := strconv.ParseUint(w[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		tab := dm.Table{}.Append(dm.Sectors(length), dm.Raw{Type: w[2], Text: disks.Replace(" " + w[3])})
		info, err := e.c.Create(ctx, e.name(c.Case), tab, dm.CreateOptions{})
		if (err != nil) != (c.RC != 0) {
			t.Errorf("%s: %v", c.In, err)
		}
		if err != nil {
			continue
		}
		if w[2] == "mirror" {
			eventually(t, "sync", func() bool { return typedStatus[dm.MirrorStatus](t, e, info.Dev).Complete() })
		}
		list, err := e.c.Status(ctx, info.Dev, dm.StatusOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := blind("0 "+w[1]+" "+w[2]+" "+list[0].Text), blind(c.Status[0]); got != want {
			t.Errorf("%s: status %q, want %q", c.Case, got, want)
		}
		want := blind(c.Table[0])
		if e.c.Version().AtLeast(4, 50) {
			want = strings.Replace(want, "4 queue_if_no_path retain_attached_hw_handler", "3 queue_if_no_path", 1)
		}
		if got := blind(e.liveTable(t, info.Dev)); got != want {
			t.Errorf("%s: table %q, want %q", c.Case, got, want)
		}
		e.remove(t, info.Dev)
	}
	if n < 10 {
		t.Errorf("only %d tables", n)
	}
}

// Regions go where their mapping says.
func testSwitch(t *testing.T, e *env) {
	ctx := context.Background()
	e.modules(t, "dm-switch")
	legs := e.legs(t, 3, 2048)
	sw := e.create(t, "sw", dm.Table{}.Append(2048, dm.Switch{RegionSize: 8, Paths: []dm.SwitchPath{
		{Device: legs[0].String()}, {Device: legs[1].String()}, {Device: legs[2].String()},
	}}), dm.CreateOptions{})
	want := make([]uint32, 256)
	for i := range want {
		want[i] = uint32(i % 3)
	}
	var data [3][]byte
	for i := range data {
		data[i] = pattern(1<<20, byte(i+1))
	}
	check := func() {
		t.Helper()
		f := e.rw(t, sw.Name)
		defer f.Close()
		got := make([]byte, 1<<20)
		if _, err := f.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		for i, leg := range want {
			if !bytes.Equal(got[i*4096:][:4096], data[leg][i*4096:][:4096]) {
				t.Errorf("region %d is not of leg %d", i, leg)
				return
			}
		}
	}
	check()
	set := func(first uint64, paths ...uint32) dm.RegionRun { return dm.RegionRun{First: first, Paths: paths} }
	turn := func(n int, of ...uint32) (paths []uint32) {
		for i := range n {
			paths = append(paths, of[i%len(of)])
		}
		return paths
	}
	for _, m := range []dm.SetRegionMappings{
		{Runs: []dm.RegionRun{set(0, 2)}},
		{Runs: []dm.RegionRun{set(0, 1, 2, 0, 0, 0, 1), set(6, 2, 2), set(255, 1)}},
		{Runs: []dm.RegionRun{set(0, turn(256, 0, 1)...)}},
		{Runs: []dm.RegionRun{set(1, turn(255, 2, 2, 1, 0, 1)...)}},
		{Runs: []dm.RegionRun{set(100, turn(20, 2)...), set(0, turn(3, 1)...), set(3, turn(60, 2)...)}},
	} {
		e.send(t, sw.Dev, m)
		for _, r := range m.Runs {
			copy(want[r.First:], r.Paths)
		}
		check()
	}
	for _, m := range []dm.SetRegionMappings{{}, {Runs: []dm.RegionRun{{}}}, {Runs: []dm.RegionRun{{First: 256, Paths: []uint32{0}}}}, {Runs: []dm.RegionRun{{Paths: []uint32{3}}}}} {
		_, err := e.c.Send(ctx, sw.Dev, m)
		wantErr(t, err, err, "switch")
		if err == nil {
			t.Errorf("%q was taken", m.Text())
		}
	}
	check()
	e.remove(t, sw.Dev, e.name("leg0"), e.name("leg1"), e.name("leg2"))
}

// The legs of a striped device come out of it again.
func testUnstriped(t *testing.T, e *env) {
	e.modules(t, "dm-unstripe")
	legs := e.legs(t, 3, 2048)
	st := e.create(t, "st", e.table(t, "0 6144 striped 3 16 %s 0 %s 0 %s 0", legs[0], legs[1], legs[2]), dm.CreateOptions{})
	for i := range uint32(3) {
		u := e.create(t, "u", dm.Table{}.Append(2048, dm.Unstriped{Stripes: 3, ChunkSize: 16, Stripe: i, Device: st.Dev.String()}), dm.CreateOptions{})
		e.holds(t, e.name("u"), pattern(1<<20, byte(i+1)), 0)
		e.writeAt(t, e.name("u"), pattern(12288, 77), 4096)
		e.holds(t, e.name([]string{"leg0", "leg1", "leg2"}[i]), pattern(12288, 77), 4096)
		e.remove(t, u.Dev)
	}
	e.remove(t, st.Dev, e.name("leg0"), e.name("leg1"), e.name("leg2"))
}

// A mark is logged at once, a write when the target goes; both are in the log
// with their data.
func testLogWrites(t *testing.T, e *env) {
	e.modules(t, "dm-log-writes")
	legs := e.legs(t, 1, 2048)
	e.wipe(t, e.disks[3], 64)
	log := e.create(t, "log", e.table(t, "0 2048 linear %s 0", e.disks[3]), dm.CreateOptions{})
	tab := dm.Table{}.Append(2048, dm.LogWrites{Device: legs[0].String(), LogDevice: log.Dev.String()})
	lw := e.create(t, "lw", tab, dm.CreateOptions{})
	if s := typedStatus[dm.LogWritesStatus](t, e, lw.Dev); s != (dm.LogWritesStatus{}) {
		t.Errorf("status %+v", s)
	}
	e.send(t, lw.Dev, dm.LogMark{Mark: "before the write"})
	eventually(t, "the mark", func() bool { return typedStatus[dm.LogWritesStatus](t, e, lw.Dev).Entries == 1 })
	if s := typedStatus[dm.LogWritesStatus](t, e, lw.Dev); s != (dm.LogWritesStatus{Entries: 1, Highest: 1}) {
		t.Errorf("status %+v", s)
	}
	data := pattern(8192, 3)
	e.writeAt(t, e.name("lw"), data, 4096)
	e.holds(t, e.name("leg0"), data, 4096)
	_, err := e.c.Send(context.Background(), lw.Dev, dm.LogMark{})
	wantErr(t, err, err, "empty mark")
	e.remove(t, lw.Dev)
	f := e.rw(t, log.Name)
	l, err := dm.OpenWriteLog(f)
	if err != nil {
		t.Fatal(err)
	}
	var marks []string
	written := make([]byte, 1<<20)
	for entry, err := range l.All() {
		if err != nil {
			t.Fatal(err)
		}
		if entry.Mark != "" {
			marks = append(marks, entry.Mark)
		}
		if entry.HasData() {
			if _, err := io.ReadFull(l.Data(entry), written[entry.Offset.Bytes():][:entry.Length.Bytes()]); err != nil {
				t.Fatal(err)
			}
			marks = append(marks, "write")
		}
	}
	f.Close()
	want := make([]byte, 1<<20)
	copy(want[4096:], data)
	if strings.Join(marks, ",") != "before the write,write,dm-log-writes-end" || !bytes.Equal(written, want) {
		t.Errorf("log: %q, data equal: %v", marks, bytes.Equal(written, want))
	}
	// A log without room ends.
	small := e.create(t, "small", e.table(t, "0 8 linear %s 0", e.disks[3]), dm.CreateOptions{})
	lw = e.create(t, "lw", dm.Table{}.Append(2048, dm.LogWrites{Device: legs[0].String(), LogDevice: small.Dev.String()}), dm.CreateOptions{})
	for range 8 {
		e.send(t, lw.Dev, dm.LogMark{Mark: "more"})
	}
	eventually(t, "the end of the log", func() bool { return typedStatus[dm.LogWritesStatus](t, e, lw.Dev).Disabled })
	e.remove(t, lw.Dev, small.Dev, log.Dev, e.name("leg0"))
}
