// SPDX-License-Identifier: MIT

package dmtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/dmwire"
)

const thinTestBlock = 64 << 10

func mustSay(t testing.TB, tr *Transport, name string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := say(t, tr, name, text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

func remove(t testing.TB, tr *Transport, names ...string) {
	t.Helper()
	for _, name := range names {
		must(t, tr, dmwire.CmdRemove, named(name), nil)
	}
}

// swapTable loads a table and resumes, which swaps.
func swapTable(t testing.TB, tr *Transport, name string, s dmwire.Spec) {
	t.Helper()
	if err := load(t, tr, name, s); err != nil {
		t.Fatal(err)
	}
	must(t, tr, dmwire.CmdSuspend, named(name), nil)
}

func blocks(n int, seed byte) []byte { return bytes.Repeat([]byte{seed}, n*thinTestBlock) }

// What the recordings did with pools, as far as it can be told from the
// statuses and the log, done again.
func TestRecordedThin(t *testing.T) {
	runs := recordedCases(t)
	want := func(run, name string) recordedCase {
		i := slices.IndexFunc(runs[run], func(c recordedCase) bool { return c.Case == name })
		return runs[run][i]
	}
	start := func() (*Kernel, *Transport) {
		k := New()
		ramdisks(k)
		for _, d := range k.disks {
			d.SetDiscards(false) // as brd is
		}
		return k, k.Transport()
	}
	expect := func(tr *Transport, name string, flags dmwire.Flags, want string) {
		t.Helper()
		if got := status(t, tr, name, flags); got != want {
			t.Errorf("%s:\n got %q\nwant %q", name, got, want)
		}
	}
	// begin makes the device of a case.
	begin := func(tr *Transport, name string, c recordedCase) {
		t.Helper()
		create(t, tr, name, parseSpec(t, c.In))
		expect(tr, name, dmwire.StatusTable, c.Table[0])
		if c.IMA != nil {
			expect(tr, name, dmwire.IMAMeasurement, *c.IMA)
		}
	}
	logged := func(collect func() []string, want ...string) {
		t.Helper()
		if got := collect(); !slices.Equal(got, want) {
			t.Errorf("log\n got %s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}

	k, tr := start()
	create(t, tr, "first", zeroSpec) // has 254:0
	c := want("vm_run_a", "pool")
	collect, _ := tr.KernelLog()
	begin(tr, "pool", c)
	expect(tr, "pool", 0, c.Status[0])
	logged(collect, c.Dmesg...)
	mustSay(t, tr, "pool", "create_thin 0")
	c = want("vm_run_a", "thin")
	begin(tr, "thin", c)
	expect(tr, "thin", 0, c.Status[0])
	collect, _ = tr.KernelLog()
	if say(t, tr, "pool", "create_thin 0") != EEXIST || say(t, tr, "pool", "create_thin 16777216") != EINVAL {
		t.Error("bad ids were taken")
	}
	logged(collect, c.Dmesg...)
	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "thin", Flags: dmwire.Suspend}, nil)
	mustSay(t, tr, "pool", "create_snap 1 0")
	must(t, tr, dmwire.CmdSuspend, named("thin"), nil)
	c = want("vm_run_a", "thsnap")
	begin(tr, "thsnap", c)
	expect(tr, "thsnap", 0, c.Status[0])
	remove(t, tr, "thsnap")
	c = want("vm_run_a", "thext")
	begin(tr, "thext", c)
	expect(tr, "thext", 0, c.Status[0])
	mustSay(t, tr, "pool", "set_transaction_id 0 1", "reserve_metadata_snap")
	// The block of the metadata snapshot is the kernel's choice.
	expect(tr, "pool", 0, strings.Replace(c.Status[1], " 26 ", " 10 ", 1))
	mustSay(t, tr, "pool", "release_metadata_snap")
	expect(tr, "pool", 0, c.Status[2])
	collect, _ = tr.KernelLog()
	if say(t, tr, "pool", "bogus") != EINVAL {
		t.Error("bogus")
	}
	logged(collect, c.Dmesg...)
	remove(t, tr, "thext", "thin", "pool")
	for _, name := range []string{"poolopts", "poolopts2"} {
		c = want("vm_run_a", name)
		collect, _ = tr.KernelLog()
		begin(tr, "pool", c)
		expect(tr, "pool", 0, c.Status[0])
		logged(collect, c.Dmesg...)
		remove(t, tr, "pool")
	}
	remove(t, tr, "first")
	k.AssertClean(t)

	k, tr = start()
	create(t, tr, "data", parseSpec(t, want("vm_run_b", "data").In))
	c = want("vm_run_b", "pool")
	collect, _ = tr.KernelLog()
	begin(tr, "pool", c)
	expect(tr, "pool", 0, c.Status[0])
	logged(collect, c.Dmesg...)
	mustSay(t, tr, "pool", "create_thin 0")
	c = want("vm_run_b", "thin")
	begin(tr, "thin", c)
	expect(tr, "thin", 0, c.Status[0])
	thin := openIO(t, k, "thin")
	writeAt(t, thin, blocks(3, 1), 0)
	expect(tr, "thin", 0, c.Status[1])
	expect(tr, "pool", 0, c.Status[2])

	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "thin", Flags: dmwire.Suspend}, nil)
	mustSay(t, tr, "pool", "create_snap 1 0")
	must(t, tr, dmwire.CmdSuspend, named("thin"), nil)
	c = want("vm_run_b", "thsnap")
	begin(tr, "thsnap", c)
	expect(tr, "thsnap", 0, c.Status[0])
	collect, _ = tr.KernelLog()
	writeAt(t, thin, blocks(2, 2), 0)
	expect(tr, "thsnap", 0, c.Status[1])
	expect(tr, "pool", 0, c.Status[2])
	writeAt(t, thin, blocks(2, 3), 2*thinTestBlock)
	expect(tr, "thin", 0, c.Status[3])
	expect(tr, "pool", 0, c.Status[4])
	wrote := make(chan error)
	before, _ := k.Device("pool")
	go func() {
		_, err := thin.WriteAt(blocks(2, 4), 4*thinTestBlock)
		wrote <- err
	}()
	waitEvent := func(nr uint32) {
		t.Helper()
		for start := time.Now(); ; time.Sleep(time.Millisecond) {
			if s, _ := k.Device("pool"); s.EventNr >= nr {
				return
			}
			if time.Since(start) > 20*time.Second {
				t.Fatal("no event")
			}
		}
	}
	waitEvent(before.EventNr + 1)
	expect(tr, "pool", 0, c.Status[5])
	swapTable(t, tr, "pool", spec(1024, "thin-pool", "1:9 254:0 128 4 2 skip_block_zeroing error_if_no_space"))
	if err := <-wrote; err != ENOSPC {
		t.Errorf("the write of a full pool: %v", err)
	}
	expect(tr, "pool", 0, c.Status[6])
	expect(tr, "pool", 0, c.Status[7])
	swapTable(t, tr, "data", spec(65536, "linear", "1:10 0"))
	swapTable(t, tr, "pool", spec(65536, "thin-pool", "1:9 254:0 128 4 1 skip_block_zeroing"))
	expect(tr, "pool", 0, c.Status[8])
	writeAt(t, thin, blocks(5, 5), 5*thinTestBlock)
	writeAt(t, thin, blocks(1, 6), 16*thinTestBlock)
	expect(tr, "thin", 0, c.Status[9])
	expect(tr, "pool", 0, c.Status[10])
	remove(t, tr, "thsnap")
	mustSay(t, tr, "pool", "delete 1", "set_transaction_id 0 6")
	if say(t, tr, "pool", "delete 77") != ENODATA || say(t, tr, "pool", "set_transaction_id 5 6") != EINVAL {
		t.Error("taken")
	}
	expect(tr, "pool", 0, c.Status[11])
	// In the recording the pool was once in write mode in between, for a block
	// that was freed by a write under way.
	logged(collect, slices.Delete(slices.Clone(c.Dmesg), 2, 4)...)
	thin.Close()
	remove(t, tr, "thin", "pool", "data")
	k.AssertClean(t)
}

// Random writes, discards, snapshots and deletions against plain byte slices;
// every now and then all is taken down and made again from its metadata.
func TestThinContent(t *testing.T) {
	for _, feat := range []string{"0", "1 no_discard_passdown"} {
		k := New()
		k.AddDisk("/dev/meta", 8, 0, 16384)
		k.AddDisk("/dev/data", 8, 16, 1<<20)
		tr := k.Transport()
		const size = 24 // blocks
		pool := spec(1<<20, "thin-pool", "8:0 8:16 128 0 "+feat)
		create(t, tr, "pool", pool)
		rng := rand.New(rand.NewPCG(3, 4))
		content := map[int][]byte{}
		open := map[int]*IO{}
		name := func(id int) string { return fmt.Sprint("v", id) }
		up := func(id int) {
			create(t, tr, name(id), spec(size*128, "thin", fmt.Sprintf("/dev/mapper/pool %d", id)))
			open[id] = openIO(t, k, name(id))
		}
		down := func(id int) {
			open[id].Close()
			delete(open, id)
			remove(t, tr, name(id))
		}
		mustSay(t, tr, "pool", "create_thin 0")
		content[0] = make([]byte, size*thinTestBlock)
		up(0)
		ids := func() []int {
			var list []int
			for id := range content {
				list = append(list, id)
			}
			slices.Sort(list)
			return list
		}
		for i := range 400 {
			list := ids()
			id := list[rng.IntN(len(list))]
			at, n := rng.IntN(size*128-300)*512, (1+rng.IntN(300))*512
			switch op := rng.IntN(20); {
			case op < 12:
				p := make([]byte, n)
				for j := range p {
					p[j] = byte(rng.Uint32())
				}
				writeAt(t, open[id], p, int64(at))
				copy(content[id][at:], p)
			case op < 15:
				if err := open[id].Discard(int64(at), int64(n)); err != nil {
					t.Fatal(err)
				}
				// Whole blocks are zeros then.
				first, last := (at+thinTestBlock-1)/thinTestBlock, (at+n)/thinTestBlock
				if first < last {
					clear(content[id][first*thinTestBlock : last*thinTestBlock])
				}
			case op < 17 && len(list) < 6:
				id2 := 1 + i
				mustSay(t, tr, "pool", fmt.Sprintf("create_snap %d %d", id2, id))
				content[id2] = bytes.Clone(content[id])
				up(id2)
			case op < 18 && len(list) > 1:
				down(id)
				mustSay(t, tr, "pool", fmt.Sprintf("delete %d", id))
				delete(content, id)
			case op == 19:
				for _, id := range list {
					down(id)
				}
				used := strings.Fields(status(t, tr, "pool", 0))[4:6]
				remove(t, tr, "pool")
				create(t, tr, "pool", pool)
				if got := strings.Fields(status(t, tr, "pool", 0))[4:6]; !slices.Equal(got, used) {
					t.Fatalf("use %q became %q", used, got)
				}
				for _, id := range list {
					up(id)
				}
			}
			if i%20 == 0 {
				for id, want := range content {
					if !bytes.Equal(readAll(t, open[id]), want) {
						t.Fatalf("step %d: volume %d differs", i, id)
					}
				}
			}
		}
		for _, id := range ids() {
			down(id)
			mustSay(t, tr, "pool", fmt.Sprintf("delete %d", id))
		}
		if got := strings.Fields(status(t, tr, "pool", 0)); got[4] != "213/2048" || got[5] != "0/8192" {
			t.Errorf("emptied: %q", got)
		}
		remove(t, tr, "pool")
		k.AssertClean(t)
	}
}

// thinSetup is a pool of n blocks with volume 0 of 64.
func thinSetup(t *testing.T, n uint64, feat string) (*Kernel, *Transport, *IO) {
	t.Helper()
	k := New()
	k.AddDisk("/dev/meta", 8, 0, 16384)
	k.AddDisk("/dev/data", 8, 16, 1<<20)
	tr := k.Transport()
	create(t, tr, "pool", spec(n*128, "thin-pool", "8:0 8:16 128 0 "+feat))
	mustSay(t, tr, "pool", "create_thin 0")
	create(t, tr, "v", spec(64*128, "thin", "/dev/mapper/pool 0"))
	return k, tr, openIO(t, k, "v")
}

func thinMode(t *testing.T, tr *Transport) string {
	t.Helper()
	w := strings.Fields(status(t, tr, "pool", 0))
	if len(w) < 8 {
		return w[len(w)-1]
	}
	return strings.Join(w[7:len(w)-1], " ")
}

// A discard makes room for a write that waits, and goes to the data device
// unless it is kept.
func TestThinDiscard(t *testing.T) {
	for _, feat := range []string{"0", "1 no_discard_passdown"} {
		k, tr, v := thinSetup(t, 2, feat)
		writeAt(t, v, blocks(2, 7), 0)
		wrote := make(chan error, 1)
		go func() {
			_, err := v.WriteAt(blocks(1, 8)[:512], 2*thinTestBlock)
			wrote <- err
		}()
		for !strings.HasPrefix(thinMode(t, tr), "out_of_data_space") {
			time.Sleep(time.Millisecond)
		}
		if err := v.Discard(512, 1024); err != nil { // less than a block
			t.Fatal(err)
		}
		if err := v.Discard(512, 2*thinTestBlock-512); err != nil {
			t.Fatal(err)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		got := make([]byte, 2*thinTestBlock)
		k.disks[makeDev(8, 16)].ReadAt(got, 0)
		if kept := got[thinTestBlock+600] == 7; kept != (feat != "0") {
			// The second block was discarded, and then taken again and zeroed but
			// for its first sector.
			if feat == "0" || got[thinTestBlock] != 8 {
				t.Errorf("%s: on the disk %d", feat, got[thinTestBlock+600])
			}
		}
		want := append(blocks(1, 7), blocks(2, 0)...)
		copy(want[2*thinTestBlock:], blocks(1, 8)[:512])
		if all := readAll(t, v); !bytes.Equal(all[:len(want)], want) {
			t.Error("other content")
		}
		v.Close()
		remove(t, tr, "v", "pool")
		k.AssertClean(t)
	}
	k, tr, v := thinSetup(t, 2, "1 ignore_discard")
	if err := v.Discard(0, thinTestBlock); err != errNotSupported {
		t.Error(err)
	}
	v.Close()
	remove(t, tr, "v", "pool")
	k.AssertClean(t)
}

// A pool that was full for too long fails what it queued.
func TestThinTimeout(t *testing.T) {
	k := New()
	k.SetNoSpaceTimeout(20 * time.Millisecond)
	k.AddDisk("/dev/meta", 8, 0, 16384)
	k.AddDisk("/dev/data", 8, 16, 1<<20)
	tr := k.Transport()
	create(t, tr, "pool", spec(128, "thin-pool", "8:0 8:16 128 0"))
	mustSay(t, tr, "pool", "create_thin 0")
	create(t, tr, "v", spec(1024, "thin", "/dev/mapper/pool 0"))
	v := openIO(t, k, "v")
	collect, _ := tr.KernelLog()
	if _, err := v.WriteAt(blocks(2, 1), 0); err != ENOSPC {
		t.Error(err)
	}
	if got := thinMode(t, tr); got != "out_of_data_space discard_passdown error_if_no_space -" {
		t.Errorf("%q", got)
	}
	want := []string{
		"device-mapper: thin: 254:0: reached low water mark for data device: sending event.",
		"device-mapper: thin: 254:0: switching pool to out-of-data-space (queue IO) mode",
		"device-mapper: thin: 254:0: switching pool to out-of-data-space (error IO) mode",
	}
	if got := collect(); !slices.Equal(got, want) {
		t.Errorf("log %q", got)
	}
	// A resume alone changes nothing, a table does.
	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "pool", Flags: dmwire.Suspend}, nil)
	must(t, tr, dmwire.CmdSuspend, named("pool"), nil)
	if got := thinMode(t, tr); !strings.HasPrefix(got, "out_of_data_space") {
		t.Errorf("resumed: %q", got)
	}
	swapTable(t, tr, "pool", spec(256, "thin-pool", "8:0 8:16 128 0"))
	if got := thinMode(t, tr); got != "rw discard_passdown queue_if_no_space -" {
		t.Errorf("grown: %q", got)
	}
	v.Close()
	remove(t, tr, "v", "pool")
	k.AssertClean(t)
}

// A suspend without a flush gives queued writes back; they go where the next
// table sends them.
func TestThinNoflush(t *testing.T) {
	k, tr, v := thinSetup(t, 1, "0")
	writeAt(t, v, blocks(1, 1), 0)
	wrote := make(chan error, 1)
	go func() {
		_, err := v.WriteAt(blocks(1, 2), thinTestBlock)
		wrote <- err
	}()
	for !strings.HasPrefix(thinMode(t, tr), "out_of_data_space") {
		time.Sleep(time.Millisecond)
	}
	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "v", Flags: dmwire.Suspend | dmwire.NoFlush}, nil)
	select {
	case err := <-wrote:
		t.Fatal(err)
	case <-time.After(10 * time.Millisecond):
	}
	swapTable(t, tr, "v", spec(64*128, "error", ""))
	if err := <-wrote; err != EIO {
		t.Error(err)
	}
	v.Close()
	remove(t, tr, "v", "pool")
	k.AssertClean(t)
}

// Volumes stand still while their pool does.
func TestThinPoolSuspended(t *testing.T) {
	k, tr, v := thinSetup(t, 4, "0")
	writeAt(t, v, blocks(1, 1), 0)
	must(t, tr, dmwire.CmdSuspend, dmwire.Header{Name: "pool", Flags: dmwire.Suspend}, nil)
	done := make(chan error, 2)
	go func() { _, err := v.WriteAt(blocks(1, 2), thinTestBlock); done <- err }()
	go func() { _, err := v.ReadAt(make([]byte, 512), 0); done <- err }()
	must(t, tr, dmwire.CmdCreate, named("w"), nil)
	collect, _ := tr.KernelLog()
	if err := load(t, tr, "w", spec(128, "thin", "/dev/mapper/pool 0")); err != EINVAL {
		t.Error(err)
	}
	if got := collect(); len(got) != 2 || !strings.Contains(got[0], "Unable to activate thin device while pool is suspended") {
		t.Errorf("%q", got)
	}
	mustSay(t, tr, "pool", "create_thin 1") // a message is no I/O
	select {
	case err := <-done:
		t.Error("I/O of a volume of a suspended pool", err)
	case <-time.After(10 * time.Millisecond):
	}
	must(t, tr, dmwire.CmdSuspend, named("pool"), nil)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	v.Close()
	remove(t, tr, "w", "v", "pool")
	k.AssertClean(t)
}
