// SPDX-License-Identifier: MIT

package dm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

// statsKernel answers messages; nothing else is asked of it.
type statsKernel struct {
	t      *testing.T
	answer func(text string, room int) (answer string, full bool)
	sent   []string
}

func (k *statsKernel) Ioctl(req uint32, b []byte) error {
	if req == dmwire.CmdVersion.Request() {
		dmwire.PutVersion(b, Version{Major: 4, Minor: 47})
		return nil
	}
	h, err := dmwire.ParseHeader(b)
	if err != nil {
		k.t.Fatal(err)
	}
	payload, err := h.Payload(b)
	if err != nil {
		k.t.Fatal(err)
	}
	_, text, err := dmwire.ParseMessage(payload)
	if err != nil {
		k.t.Fatal(err)
	}
	k.sent = append(k.sent, text)
	answer, full := k.answer(text, len(payload))
	h.Flags |= dmwire.DataOut
	if full {
		h.Flags |= dmwire.BufferFull
	}
	h.DataStart = dmwire.HeaderSize
	n := copy(payload, answer)
	payload[n] = 0
	return h.Put(b)
}
func (*statsKernel) Wait(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (*statsKernel) Close() error                   { return nil }

func openStats(t *testing.T, answer func(text string, room int) (string, bool)) (*Client, *statsKernel) {
	t.Helper()
	k := &statsKernel{t: t, answer: answer}
	c, err := Open(context.Background(), WithTransport(k))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, k
}

const most = "18446744073709551615"

// The longest lines that the kernel can print fit the buffer that was asked
// for, with the byte that it wants to spare; and nothing is asked for twice.
func TestStatsPrintFits(t *testing.T) {
	for _, r := range []StatsRegion{
		{Length: 1, Step: 1},
		{Start: 1<<54 - 5000, Length: 5000, Step: 1},
		{Length: math.MaxUint64, Step: math.MaxUint64, Precise: true},
		{Length: 3000, Step: 7, Histogram: make([]time.Duration, 5)},
		{Length: 20, Step: 1, Histogram: make([]time.Duration, 10000)},
	} {
		for i := range r.Histogram {
			r.Histogram[i] = time.Duration(i+1) * time.Millisecond
		}
		c, k := openStats(t, func(text string, room int) (string, bool) {
			var verb string
			var id, first, n uint64
			if _, err := fmt.Sscan(text, &verb, &id, &first, &n); err != nil || verb != "@stats_print_clear" {
				t.Fatalf("%q: %v", text, err)
			}
			var b strings.Builder
			for x := first; x < first+n; x++ {
				fmt.Fprintf(&b, "%d+%d%s -2147483648%s", uint64(r.Start)+x*uint64(r.Step), uint64(r.Step), strings.Repeat(" "+most, 8), strings.Repeat(" "+most, 4))
				if len(r.Histogram) > 0 {
					b.WriteString(" " + most + strings.Repeat(":"+most, len(r.Histogram)))
				}
				b.WriteByte('\n')
			}
			if b.Len()+1 >= room {
				t.Errorf("%v: %d bytes in a buffer of %d", r, b.Len(), room)
			}
			if n > 1 && room > statsRoom {
				t.Errorf("%v: a buffer of %d bytes for %d areas", r, room, n)
			}
			return b.String(), false
		})
		areas, err := c.StatsPrint(context.Background(), Name("x"), r, StatsPrintOptions{Clear: true})
		if err != nil || len(areas) != r.Areas() {
			t.Errorf("%v: %d areas, %v", r, len(areas), err)
		}
		if want := (r.Areas() + statsRoom/r.longestLine() - 1) / max(statsRoom/r.longestLine(), 1); len(k.sent) > want+1 {
			t.Errorf("%v: %d messages", r, len(k.sent))
		}
	}
}

// What was cleared before a print failed is given back; a cut answer is an
// error and not asked for again.
func TestStatsPrintFails(t *testing.T) {
	r := StatsRegion{Length: 1000, Step: 1}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	line := func(x int) string { return fmt.Sprintf("%d+1 0 0 0 0 1 0 1 0 0 0 0 0 0\n", x) }
	slice := (statsRoom - 2) / r.longestLine()
	for _, tt := range []struct {
		name   string
		second func() (string, bool)
		err    error
	}{
		{"cut", func() (string, bool) { return "", true }, ErrCorrupt},
		{"nonsense", func() (string, bool) { return "x\n", false }, ErrCorrupt},
		{"too few", func() (string, bool) { return line(slice), false }, os.ErrNotExist},
		{"too many", func() (string, bool) {
			var b strings.Builder
			for x := range slice + 1 {
				b.WriteString(line(slice + x))
			}
			return b.String(), false
		}, os.ErrNotExist},
		{"others", func() (string, bool) { return line(0), false }, os.ErrNotExist},
		{"cancelled", func() (string, bool) { t.Error("asked"); return "", false }, context.Canceled},
	} {
		n := 0
		c, _ := openStats(t, func(text string, room int) (string, bool) {
			if n++; n == 2 {
				return tt.second()
			}
			if n > 2 {
				t.Errorf("%s: went on with %q", tt.name, text)
			}
			var b strings.Builder
			for x := range slice {
				b.WriteString(line(x))
			}
			if tt.name == "cancelled" {
				cancel()
			}
			return b.String(), false
		})
		areas, err := c.StatsPrint(ctx, Name("x"), r, StatsPrintOptions{Clear: true})
		if !errors.Is(err, tt.err) || len(areas) < slice || areas[slice-1].Writes != 1 {
			t.Errorf("%s: %d areas, %v", tt.name, len(areas), err)
		}
	}
}

// A create that is cancelled on its way, or whose region can't be found,
// deletes it again.
func TestStatsCreateUndone(t *testing.T) {
	for _, list := range []string{"nonsense", "", "8: 0+8 8 - -\n"} {
		c, k := openStats(t, func(text string, _ int) (string, bool) {
			switch {
			case strings.HasPrefix(text, "@stats_create "):
				return "7", false
			case text == "@stats_list p":
				return list, false
			}
			return "", false
		})
		if _, err := c.StatsCreate(context.Background(), Name("x"), StatsOptions{Program: "p"}); err == nil {
			t.Errorf("%q: no error", list)
		}
		if last := k.sent[len(k.sent)-1]; last != "@stats_delete 7" {
			t.Errorf("%q: %q", list, k.sent)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	c, k := openStats(t, func(text string, _ int) (string, bool) {
		if text == "@stats_list" {
			cancel()
			return "7: 0+8 8 - -\n", false
		}
		return "7", false
	})
	if _, err := c.StatsCreate(ctx, Name("x"), StatsOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c.Close() // waits for the undo
	if last := k.sent[len(k.sent)-1]; last != "@stats_delete 7" {
		t.Errorf("cancelled: %q", k.sent)
	}
}

func TestStatsMessage(t *testing.T) {
	for want, o := range map[string]StatsOptions{
		"@stats_create - /1 0 - -":                                             {},
		"@stats_create 8+16 4 0 12 -":                                          {Start: 8, Length: 16, Step: 4, Program: "12"},
		`@stats_create - /9 1 precise_timestamps p a\ b\\`:                     {Areas: 9, Precise: true, Program: "p", Aux: `a b\`},
		"@stats_create - /1 1 histogram:1,20 - -":                              {Histogram: []time.Duration{1e6, 20e6}},
		"@stats_create - /1 2 precise_timestamps histogram:1,20000000 p\xa0 -": {Precise: true, Histogram: []time.Duration{1, 20e6}, Program: "p\xa0"},
	} {
		want = strings.ReplaceAll(want, "\xa0", "\\\xa0") // a blank to the kernel
		if err := o.Validate(); err != nil || o.message() != want {
			t.Errorf("%+v: %q, %v", o, o.message(), err)
		}
	}
}

func TestParseStatsList(t *testing.T) {
	const ms = time.Millisecond
	for line, want := range map[string]StatsRegion{
		"0: 0+8 8 - -":                                                          {Length: 8, Step: 8},
		"3: 8+16 4 p a b":                                                       {ID: 3, Start: 8, Length: 16, Step: 4, Program: "p", Aux: "a b"},
		"0: 0+8 8 p precise_timestamps":                                         {Length: 8, Step: 8, Program: "p", Aux: "precise_timestamps"},
		"0: 0+8 8 p - precise_timestamps":                                       {Length: 8, Step: 8, Program: "p", Precise: true},
		"0: 0+8 8 p -  precise_timestamps":                                      {Length: 8, Step: 8, Program: "p", Aux: "- ", Precise: true},
		"0: 0+8 8 p a histogram:1,x histogram:2,30":                             {Length: 8, Step: 8, Program: "p", Aux: "a histogram:1,x", Histogram: []time.Duration{2 * ms, 30 * ms}},
		"0: 0+8 8 p - precise_timestamps histogram:2,30":                        {Length: 8, Step: 8, Program: "p", Precise: true, Histogram: []time.Duration{2, 30}},
		"0: 0+8 8 p a histogram:30,2":                                           {Length: 8, Step: 8, Program: "p", Aux: "a histogram:30,2"},
		"0: 0+18446744073709551615 1 dmstats DMS_GROUP=\"g\":0-3#- histogram:1": {Length: math.MaxUint64, Step: 1, Program: "dmstats", Aux: `DMS_GROUP="g":0-3#-`, Histogram: []time.Duration{ms}},
	} {
		got, err := ParseStatsList(line + "\n")
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want) || got[0].String() != line {
			t.Errorf("%q: %+v %v", line, got, err)
		}
	}
	for _, bad := range []string{
		"\n", "x", "0", "0:0+8 8 - -", "-1: 0+8 8 - -", "2147483648: 0+8 8 - -", "0: 0+8 0 - -", "0: 0+8 8 -", "0: 0+8 8  -", "0: 0+8 8 - ",
		"0: 0 8 - -", "0: 1+18446744073709551615 8 - -", "0: 0+8 8", "0: 0+8 8 - - histogram:9223372036855", "0: 0+18446744073709551616 8 - -",
	} {
		if got, err := ParseStatsList(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %+v %v", bad, got, err)
		}
	}
}

func TestParseAreas(t *testing.T) {
	r := StatsRegion{Start: 8, Length: 20, Step: 16, Histogram: []time.Duration{1e6, 2e6}}
	text := "8+16 1 2 3 4 5 6 7 8 9 10 11 12 13 14:15:16\n24+16 0 0 0 0 0 0 0 0 -1 0 0 0 0 0:0:0\n"
	want := []StatsArea{
		{Start: 8, Length: 16, StatsCounters: StatsCounters{
			Reads: 1, ReadMerges: 2, ReadSectors: 3, ReadTime: 4e6, Writes: 5, WriteMerges: 6, WriteSectors: 7, WriteTime: 8e6,
			InFlight: 9, BusyTime: 10e6, QueueTime: 11e6, ReadBusy: 12e6, WriteBusy: 13e6, Histogram: []uint64{14, 15, 16}}},
		{Start: 24, Length: 4, StatsCounters: StatsCounters{InFlight: -1, Histogram: []uint64{0, 0, 0}}},
	}
	if got, err := r.ParseAreas(text); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	precise := StatsRegion{Start: 8, Length: 20, Step: 16, Precise: true}
	if got, err := precise.ParseAreas("8+16 1 2 3 4 5 6 7 8 9 10 11 12 13\n"); err != nil || got[0].WriteBusy != 13 || got[0].Histogram != nil {
		t.Errorf("%+v %v", got, err)
	}
	for _, bad := range []string{
		"\n", "8+16", "8+16 1 2 3 4 5 6 7 8 9 10 11 12 13\n", "8+16 1 2 3 4 5 6 7 8 9 10 11 12 13 14:15\n", "8+16 1 2 3 4 5 6 7 8 9 10 11 12 13 14:15:16:17\n",
		"8+16 1 2 3 4 5 6 7 8 9 10 11 12 13 14:15:16 \n", "8+16 1 2 3 4 5 6 7 8 9 10 11 12 13 14:15:x\n", "8+16 1 2 3 4 5 6 7 8 x 10 11 12 13 14:15:16\n",
		"9+16 1 2 3 4 5 6 7 8 9 10 11 12 13 14:15:16\n", "40+16 1 2 3 4 5 6 7 8 9 10 11 12 13 14:15:16\n", "8+8 1 2 3 4 5 6 7 8 9 10 11 12 13 14:15:16\n",
		"8+16 1 2 3 4 5 6 7 8 9 10 11 12 13  14:15:16\n", "8+16 -1 2 3 4 5 6 7 8 9 10 11 12 13 14:15:16\n",
	} {
		if got, err := r.ParseAreas(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %+v %v", bad, got, err)
		}
	}
	if _, err := precise.ParseAreas("8+16 1 2 3 4 5 6 7 8 9 10 11 12 13 14\n"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("14 counters: %v", err)
	}
	if _, err := (StatsRegion{}).ParseAreas("0+0 1 2 3 4 5 6 7 8 9 10 11 12 13\n"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("of no region: %v", err)
	}
}

func TestStatsRates(t *testing.T) {
	before := StatsCounters{Reads: 100, Writes: 10, ReadSectors: 800, BusyTime: math.MaxInt64 - 5, Histogram: []uint64{3, 1}, InFlight: 7}
	after := before.Add(StatsCounters{
		Reads: 30, ReadMerges: 1, ReadSectors: 480, ReadTime: 60 * time.Millisecond,
		Writes: 10, WriteMerges: 2, WriteSectors: 20, WriteTime: 140 * time.Millisecond, InFlight: 2,
		BusyTime: 500 * time.Millisecond, QueueTime: 3 * time.Second, ReadBusy: 1, WriteBusy: 2, Histogram: []uint64{20, 20},
	})
	if before.Histogram[0] != 3 {
		t.Error("Add changed its receiver")
	}
	d := after.Sub(before) // across the wrap of BusyTime
	if d.InFlight != 9 || d.BusyTime != 500*time.Millisecond || !reflect.DeepEqual(d.Histogram, []uint64{20, 20}) || d.ReadMerges != 1 || d.WriteMerges != 2 || d.ReadBusy != 1 || d.WriteBusy != 2 {
		t.Errorf("%+v", d)
	}
	const s = 2 * time.Second
	for i, tt := range []struct{ got, want float64 }{
		{d.ReadsPerSecond(s), 15}, {d.WritesPerSecond(s), 5}, {d.ReadBytesPerSecond(s), 240 * 512}, {d.WriteBytesPerSecond(s), 10 * 512},
		{d.AverageSize(), 500 * 512 / 40}, {d.AverageReadSize(), 16 * 512}, {d.AverageWriteSize(), 1024},
		{d.Wait().Seconds(), 0.005}, {d.ReadWait().Seconds(), 0.002}, {d.WriteWait().Seconds(), 0.014},
		{d.QueueLength(s), 1.5}, {d.Utilization(s), 0.25}, {d.Utilization(time.Millisecond), 1}, {d.ReadsPerSecond(0), 0},
		{StatsCounters{}.Wait().Seconds(), 0}, {StatsCounters{}.AverageSize(), 0}, {StatsCounters{}.Utilization(-1), 0},
	} {
		if math.Abs(tt.got-tt.want) > 1e-9 {
			t.Errorf("%d: %v, want %v", i, tt.got, tt.want)
		}
	}
	if sum := (StatsCounters{}).Add(StatsCounters{Histogram: []uint64{1}}); len(sum.Histogram) != 1 {
		t.Errorf("%+v", sum)
	}
	if (StatsCounters{}).Add(StatsCounters{}).Histogram != nil {
		t.Error("a histogram out of nothing")
	}
}

// FuzzStats reads the answers to @stats_list and @stats_print. A region that
// can be made comes back as it was, whatever is in its texts.
func FuzzStats(f *testing.F) {
	session, err := os.ReadFile("testdata/targets/stats-messages-6.1.192.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(session)) {
		f.Add(line, line)
	}
	f.Add("3: 8+16 4 p a b precise_timestamps\n0: 0+8 8 - -\n", "8+4 1 2 3 4 5 6 7 8 9 10 11 12 13\n20+4 0 0 0 0 0 0 0 0 0 0 0 0 0\n")
	f.Add("3: 8+16 4 p histogram:1 histogram:1,2", "8+4 1 2 3 4 5 6 7 8 9 10 11 12 13 1:2:3\n")
	f.Add("p", "some aux histogram:1")
	f.Fuzz(func(t *testing.T, list, print string) {
		regions, err := ParseStatsList(list)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		for _, r := range regions {
			again, err := ParseStatsList(r.String() + "\n")
			if err != nil || len(again) != 1 || !reflect.DeepEqual(again[0], r) {
				t.Fatalf("%v came back as %v, %v", r, again, err)
			}
			areas, err := r.ParseAreas(print)
			if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			for _, a := range areas {
				if a.Start < r.Start || a.Start+a.Length > r.Start+r.Length || a.Length == 0 || len(a.Histogram) > 0 && len(a.Histogram) != len(r.Histogram)+1 {
					t.Fatalf("%v has an area %+v", r, a)
				}
			}
			if r.Areas() < 1<<20 {
				if _, err := r.appendAreas(nil, 0, r.Areas(), print); err == nil && strings.Count(print, "\n") < r.Areas()-1 {
					t.Fatalf("%v: %q taken for all areas", r, print)
				}
			}
		}
		// The texts as those of a region to be made.
		o := StatsOptions{Length: 8, Program: list, Aux: print, Precise: len(list)%2 > 0}
		if len(print)%2 > 0 {
			o.Histogram = []time.Duration{time.Millisecond, time.Hour}
		}
		if o.Validate() != nil {
			return
		}
		args := SplitArgs(o.message())
		want := StatsRegion{Length: 8, Step: 8, Precise: o.Precise, Histogram: o.Histogram, Program: list, Aux: print}
		if n := len(args); args[n-2] != orDash(list) || args[n-1] != orDash(print) {
			t.Fatalf("%q says %q", o.message(), args)
		}
		line := fmt.Sprintf("0: 0+8 8 %s %s", args[len(args)-2], args[len(args)-1])
		line += strings.TrimPrefix(want.String(), StatsRegion{Length: 8, Step: 8, Program: list, Aux: print}.String())
		if got, err := ParseStatsList(line + "\n"); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Fatalf("%+v came back as %+v, %v", want, got, err)
		}
	})
}
