// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
)

// thinBlock is the block of the pools here, in bytes.
const thinBlock = 64 << 10

// thinPool is a pool of n blocks, on a linear device that can grow, with
// metadata on a device of its own.
type thinPool struct {
	*env
	data, meta, dev dm.Info
	target          dm.ThinPool
}

const thinMetaSize = 16384 // sectors

func newThinPool(t *testing.T, e *env, blocks int, target dm.ThinPool) *thinPool {
	t.Helper()
	e.modules(t, "dm-thin-pool")
	e.wipe(t, e.disks[1], 8)
	return makeThinPool(t, e, e.table(t, "0 %d linear %s 0", thinMetaSize, e.disks[1]), blocks, target)
}

func makeThinPool(t *testing.T, e *env, meta dm.Table, blocks int, target dm.ThinPool) *thinPool {
	t.Helper()
	p := &thinPool{env: e, target: target}
	p.meta = e.create(t, "meta", meta, dm.CreateOptions{})
	p.data = e.create(t, "data", p.dataTable(blocks), dm.CreateOptions{})
	p.target.Metadata, p.target.Data = p.meta.Dev.String(), p.data.Dev.String()
	p.target.BlockSize = 128
	p.dev = e.create(t, "pool", p.table(blocks), dm.CreateOptions{})
	return p
}

func (p *thinPool) dataTable(blocks int) dm.Table {
	return dm.Table{}.Append(dm.Sectors(blocks*128), dm.Linear{Device: p.disks[0]})
}

func (p *thinPool) table(blocks int) dm.Table {
	return dm.Table{}.Append(dm.Sectors(blocks*128), p.target)
}

func (p *thinPool) send(t *testing.T, m dm.TargetMessage) {
	t.Helper()
	if _, err := p.c.Send(context.Background(), p.dev.Dev, m); err != nil {
		t.Fatal(err)
	}
}

// volume runs a volume of n blocks.
func (p *thinPool) volume(t *testing.T, name string, id uint32, blocks int) dm.Info {
	t.Helper()
	return p.create(t, name, dm.Table{}.Append(dm.Sectors(blocks*128), dm.Thin{Pool: p.dev.Dev.String(), ID: id}), dm.CreateOptions{})
}

func (p *thinPool) status(t *testing.T) dm.ThinPoolStatus {
	t.Helper()
	return typedStatus[dm.ThinPoolStatus](t, p.env, p.dev.Dev)
}

// grow makes the data device and the pool larger.
func (p *thinPool) grow(t *testing.T, blocks int) {
	t.Helper()
	ctx := context.Background()
	if _, err := p.c.Reload(ctx, p.data.Dev, p.dataTable(blocks), dm.ReloadOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.c.Reload(ctx, p.dev.Dev, p.table(blocks), dm.ReloadOptions{}); err != nil {
		t.Fatal(err)
	}
}

// rescue ends writes that a full pool has queued, so that nothing is left
// behind whatever failed before.
func (p *thinPool) rescue(t *testing.T) {
	p.target.ErrorIfNoSpace = true
	blocks := int(p.status(t).TotalData)
	if _, err := p.c.Reload(context.Background(), p.dev.Dev, p.table(blocks), dm.ReloadOptions{}); err != nil {
		t.Errorf("rescue: %v", err)
	}
}

func (p *thinPool) down(t *testing.T) {
	t.Helper()
	p.remove(t, p.dev.Dev, p.data.Dev, p.meta.Dev)
}

// blockOf is a block's content, told apart by its seed.
func blockOf(seed byte) []byte { return pattern(thinBlock, seed) }

func (e *env) put(t *testing.T, dev dm.Info, p []byte, block int) {
	t.Helper()
	if err := e.write(t, dev.Name, p, int64(block)*thinBlock); err != nil {
		t.Fatalf("write %s block %d: %v", dev.Name, block, err)
	}
}

func testThin(t *testing.T, e *env) {
	ctx := context.Background()
	p := newThinPool(t, e, 32, dm.ThinPool{LowWaterMark: 4})
	s := p.status(t)
	if s.Mode != dm.ThinPoolReadWrite || s.TransactionID != 0 || s.UsedData != 0 || s.TotalData != 32 ||
		s.TotalMetadata != thinMetaSize/8 || s.UsedMetadata != 204+9 || s.MetadataLowWater != thinMetaSize/8/4 || s.ErrorIfNoSpace || s.NeedsCheck {
		t.Errorf("fresh: %v", s)
	}
	_, err := e.c.Create(ctx, e.name("none"), dm.Table{}.Append(128, dm.Thin{Pool: p.dev.Dev.String(), ID: 1}), dm.CreateOptions{})
	var de *dm.Error
	if !errors.As(err, &de) || de.Code != 61 {
		t.Errorf("a volume that is not there: %v", err)
	}
	p.send(t, dm.CreateThin{ID: 1})
	_, err = e.c.Send(ctx, p.dev.Dev, dm.CreateThin{ID: 1})
	wantErr(t, err, fs.ErrExist)
	// A volume may be larger than the pool.
	v := p.volume(t, "v", 1, 64)
	if s := typedStatus[dm.ThinStatus](t, e, v.Dev); s != (dm.ThinStatus{}) {
		t.Errorf("empty: %v", s)
	}
	e.holds(t, v.Name, make([]byte, 2*thinBlock), 40*thinBlock)
	e.put(t, v, blockOf(1), 0)
	e.put(t, v, blockOf(2)[:4096], 5) // the rest of the block is zeros
	e.put(t, v, append(blockOf(3), blockOf(4)...), 62)
	e.holds(t, v.Name, blockOf(1), 0)
	e.holds(t, v.Name, append(blockOf(2)[:4096], make([]byte, thinBlock-4096)...), 5*thinBlock)
	e.holds(t, v.Name, append(blockOf(3), blockOf(4)...), 62*thinBlock)
	if s := typedStatus[dm.ThinStatus](t, e, v.Dev); s != (dm.ThinStatus{Mapped: 4 * 128, Highest: 64*128 - 1}) {
		t.Errorf("four blocks: %v", s)
	}
	if s := p.status(t); s.UsedData != 4 || s.UsedMetadata != 204+10 {
		t.Errorf("four blocks: %v", s)
	}
	// A snapshot of a suspended origin.
	if err := e.c.Suspend(ctx, v.Dev, dm.SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	p.send(t, dm.CreateSnap{ID: 2, Origin: 1})
	if _, err := e.c.Resume(ctx, v.Dev, dm.ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = e.c.Send(ctx, p.dev.Dev, dm.CreateSnap{ID: 2, Origin: 1})
	wantErr(t, err, fs.ErrExist)
	_, err = e.c.Send(ctx, p.dev.Dev, dm.CreateSnap{ID: 3, Origin: 77})
	wantErr(t, err, fs.ErrNotExist)
	if s := p.status(t); s.UsedData != 4 || s.UsedMetadata != 204+10 {
		t.Errorf("a snapshot takes no room: %v", s)
	}
	snap := p.volume(t, "snap", 2, 64)
	e.put(t, v, blockOf(10)[:4096], 0)
	e.put(t, snap, blockOf(11), 62)
	e.holds(t, v.Name, append(blockOf(10)[:4096], blockOf(1)[4096:]...), 0)
	e.holds(t, v.Name, append(blockOf(3), blockOf(4)...), 62*thinBlock)
	e.holds(t, snap.Name, blockOf(1), 0)
	e.holds(t, snap.Name, append(blockOf(11), blockOf(4)...), 62*thinBlock)
	if s := p.status(t); s.UsedData != 6 || s.UsedMetadata != 204+11 {
		t.Errorf("two blocks are no longer shared: %v", s)
	}
	// In use: the pool below its volumes, a volume below its device.
	wantErr(t, e.c.Remove(ctx, p.dev.Dev, dm.RemoveOptions{}), dm.ErrBusy)
	_, err = e.c.Send(ctx, p.dev.Dev, dm.DeleteThin{ID: 2})
	wantErr(t, err, dm.ErrBusy)
	e.remove(t, v.Dev)
	p.send(t, dm.DeleteThin{ID: 1})
	_, err = e.c.Send(ctx, p.dev.Dev, dm.DeleteThin{ID: 1})
	wantErr(t, err, fs.ErrNotExist)
	if s := p.status(t); s.UsedData != 4 || s.UsedMetadata != 204+10 {
		t.Errorf("the origin is deleted: %v", s)
	}
	e.holds(t, snap.Name, blockOf(1), 0)
	e.remove(t, snap.Dev)
	// The pool is in its metadata.
	p.send(t, dm.SetTransactionID{Old: 0, New: 7})
	e.remove(t, p.dev.Dev)
	p.dev = e.create(t, "pool", p.table(32), dm.CreateOptions{})
	if s := p.status(t); s.TransactionID != 7 || s.UsedData != 4 {
		t.Errorf("made again: %v", s)
	}
	snap = p.volume(t, "snap", 2, 64)
	e.holds(t, snap.Name, append(blockOf(11), blockOf(4)...), 62*thinBlock)
	e.remove(t, snap.Dev)
	p.down(t)
}

func testThinMessages(t *testing.T, e *env) {
	ctx := context.Background()
	p := newThinPool(t, e, 8, dm.ThinPool{})
	p.send(t, dm.SetTransactionID{Old: 0, New: 5})
	_, err := e.c.Send(ctx, p.dev.Dev, dm.SetTransactionID{Old: 0, New: 6})
	var de *dm.Error
	if !errors.As(err, &de) || de.Code != 22 {
		t.Errorf("another transaction: %v", err)
	}
	if s := p.status(t); s.TransactionID != 5 {
		t.Errorf("%v", s)
	}
	if _, err := e.c.Send(ctx, p.dev.Dev, dm.CreateThin{ID: 1 << 24}); err == nil {
		t.Error("an id of 25 bits")
	}
	p.send(t, dm.CreateThin{ID: 1<<24 - 1})
	p.send(t, dm.ReserveMetadataSnap{})
	_, err = e.c.Send(ctx, p.dev.Dev, dm.ReserveMetadataSnap{})
	wantErr(t, err, dm.ErrBusy)
	s := p.status(t)
	if s.MetadataSnapshot == 0 || s.UsedMetadata != 204+11 {
		t.Errorf("metadata snapshot: %v", s)
	}
	p.send(t, dm.ReleaseMetadataSnap{})
	if s := p.status(t); s.MetadataSnapshot != 0 || s.UsedMetadata != 204+10 {
		t.Errorf("released: %v", s)
	}
	for _, text := range []string{"release_metadata_snap", "bogus", "create_thin", "create_thin x", "create_thin 16777216", "set_transaction_id 5 x", "delete 1 2"} {
		_, err := e.c.Message(ctx, p.dev.Dev, 0, text)
		if !errors.As(err, &de) || de.Code != 22 {
			t.Errorf("%q: %v", text, err)
		}
	}
	p.down(t)
}

func testThinExternalOrigin(t *testing.T, e *env) {
	p := newThinPool(t, e, 16, dm.ThinPool{})
	// An origin of two and a half blocks below a volume of five.
	origin := e.create(t, "origin", e.table(t, "0 320 linear %s 4096", e.disks[2]), dm.CreateOptions{})
	e.put(t, origin, append(append(blockOf(1), blockOf(2)...), blockOf(3)[:thinBlock/2]...), 0)
	p.send(t, dm.CreateThin{ID: 0})
	v := e.create(t, "v", dm.Table{}.Append(5*128, dm.Thin{Pool: p.dev.Dev.String(), ID: 0, ExternalOrigin: origin.Dev.String()}), dm.CreateOptions{})
	half := append(blockOf(3)[:thinBlock/2:thinBlock/2], make([]byte, thinBlock/2)...)
	e.holds(t, v.Name, append(append(blockOf(1), blockOf(2)...), half...), 0)
	e.holds(t, v.Name, make([]byte, thinBlock), 3*thinBlock)
	if err := e.write(t, v.Name, blockOf(9)[:4096], thinBlock+8192); err != nil {
		t.Fatal(err)
	}
	if err := e.write(t, v.Name, blockOf(9)[:4096], 2*thinBlock); err != nil {
		t.Fatal(err)
	}
	if err := e.write(t, v.Name, blockOf(9)[:4096], 4*thinBlock); err != nil {
		t.Fatal(err)
	}
	second := blockOf(2)
	copy(second[8192:], blockOf(9)[:4096])
	copy(half, blockOf(9)[:4096])
	fifth := append(blockOf(9)[:4096:4096], make([]byte, thinBlock-4096)...)
	e.holds(t, v.Name, append(append(blockOf(1), second...), half...), 0)
	e.holds(t, v.Name, fifth, 4*thinBlock)
	e.holds(t, origin.Name, append(blockOf(1), blockOf(2)...), 0)
	if s := typedStatus[dm.ThinStatus](t, e, v.Dev); s != (dm.ThinStatus{Mapped: 3 * 128, Highest: 5*128 - 1}) {
		t.Errorf("%v", s)
	}
	e.remove(t, v.Dev, origin.Dev)
	p.down(t)
}

// What the kernel prints of pools and volumes can be loaded again.
func testThinTables(t *testing.T, e *env) {
	ctx := context.Background()
	e.modules(t, "dm-thin-pool")
	for _, feat := range []string{
		"0", "1 skip_block_zeroing", "2 ignore_discard error_if_no_space",
		"4 skip_block_zeroing ignore_discard no_discard_passdown error_if_no_space",
	} {
		e.wipe(t, e.disks[1], 8)
		tab := e.table(t, "0 8192 thin-pool %s %s 256 3 %s", e.disks[1], e.disks[0], feat)
		pool := e.create(t, "p", tab, dm.CreateOptions{})
		printed, err := e.c.Table(ctx, pool.Dev, dm.StatusOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if a, b := blind(printed.Format()), blind(tab.Format()); a != b {
			t.Errorf("printed %q, loaded %q", a, b)
		}
		if _, err := e.c.Reload(ctx, pool.Dev, printed, dm.ReloadOptions{}); err != nil {
			t.Errorf("what the kernel printed can't be loaded: %v", err)
		}
		if again, err := e.c.Table(ctx, pool.Dev, dm.StatusOptions{}); err != nil || !again.Equal(printed) {
			t.Errorf("printed %q, then %q", printed, again)
		}
		typedStatus[dm.ThinPoolStatus](t, e, pool.Dev)
		if _, err := e.c.Send(ctx, pool.Dev, dm.CreateThin{ID: 16777215}); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"0 1000 thin " + pool.Dev.String() + " 16777215", "0 1000 thin " + pool.Dev.String() + " 16777215 " + e.disks[2]} {
			tab := e.table(t, "%s", text)
			v := e.create(t, "v", tab, dm.CreateOptions{})
			printed, err := e.c.Table(ctx, v.Dev, dm.StatusOptions{})
			if err != nil || blind(printed.Format()) != blind(tab.Format()) {
				t.Errorf("printed %q, loaded %q, %v", printed, tab, err)
			}
			if _, err := e.c.Reload(ctx, v.Dev, printed, dm.ReloadOptions{}); err != nil {
				t.Errorf("what the kernel printed can't be loaded: %v", err)
			}
			e.remove(t, v.Dev)
		}
		e.remove(t, pool.Dev)
	}
	// Refused, with the kernel's words.
	d := e.disks
	e.wipe(t, d[1], 8)
	for _, tt := range []struct{ text, reason string }{
		{"0 8192 thin-pool " + d[1] + " " + d[0] + " 100 0", "Invalid block size"},
		{"0 8192 thin-pool " + d[1] + " " + d[0] + " 128", "Invalid argument count"},
		{"0 8192 thin-pool " + d[1] + " " + d[0] + " 128 0 1 bogus", "Unrecognised pool feature requested"},
		{"0 8192 thin-pool " + d[1] + " " + d[0] + " 128 0 5 a b c d e", "Invalid number of pool feature arguments"},
		{"0 8192 thin-pool " + d[1] + " " + d[1] + " 128 0", "Error setting metadata or data device"},
		{"0 8192 thin-pool " + d[1] + " " + d[0] + " 128 0 1 read_only", "Error creating metadata object"},
		{"0 8192 thin " + d[1] + " 0", "Couldn't get pool mapped device"},
		{"0 8192 thin " + d[1] + " 16777216", "Invalid device id"},
		{"0 8192 thin " + d[1], "Invalid argument count"},
		{"0 8 zero\n8 8192 thin-pool " + d[1] + " " + d[0] + " 128 0", "singleton target type must appear alone in table"},
	} {
		var tab dm.Table
		for _, line := range strings.Split(tt.text, "\n") {
			w := strings.SplitN(line, " ", 4)
			n := dm.Sectors(8192)
			if w[1] == "8" {
				n = 8
			}
			raw := dm.Raw{Type: w[2]}
			if len(w) > 3 {
				raw.Text = w[3]
			}
			tab = tab.Append(n, raw)
		}
		_, err := e.c.Create(ctx, e.name("bad"), tab, dm.CreateOptions{})
		if err == nil || !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("%q: %v, want %q", tt.text, err, tt.reason)
		}
		if err == nil {
			e.remove(t, e.name("bad"))
		}
	}
	// What is neither zeros nor a pool's is not formatted.
	junk := e.create(t, "junk", e.table(t, "0 8 linear %s 0", d[1]), dm.CreateOptions{})
	if err := e.write(t, junk.Name, pattern(4096, 3), 0); err != nil {
		t.Fatal(err)
	}
	e.remove(t, junk.Dev)
	_, err := e.c.Create(ctx, e.name("bad"), e.table(t, "0 8192 thin-pool %s %s 128 0", d[1], d[0]), dm.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), "Error creating metadata object") {
		t.Errorf("junk: %v", err)
	}
	e.wipe(t, d[1], 8)
}

func testThinDiscard(t *testing.T, e *env) {
	for _, ignore := range []bool{false, true} {
		p := newThinPool(t, e, 8, dm.ThinPool{NoDiscardPassdown: true, IgnoreDiscard: ignore, SkipBlockZeroing: true})
		p.send(t, dm.CreateThin{ID: 1})
		v := p.volume(t, "v", 1, 16)
		e.put(t, v, append(append(blockOf(1), blockOf(2)...), blockOf(3)...), 0)
		p.send(t, dm.CreateSnap{ID: 2, Origin: 1})
		s := p.status(t)
		if want := map[bool]dm.ThinPoolDiscard{false: dm.ThinPoolKeepsDiscards, true: dm.ThinPoolIgnoresDiscards}[ignore]; s.Discard != want || s.UsedData != 3 {
			t.Errorf("%v", s)
		}
		// Only whole blocks go: the second.
		err := e.discard(t, v.Name, 4096, 2*thinBlock)
		if ignore {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("ignored: %v", err)
			}
			e.remove(t, v.Dev)
			p.down(t)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if s := typedStatus[dm.ThinStatus](t, e, v.Dev); s != (dm.ThinStatus{Mapped: 2 * 128, Highest: 3*128 - 1}) {
			t.Errorf("%v", s)
		}
		if s := p.status(t); s.UsedData != 3 {
			t.Errorf("the snapshot has it still: %v", s)
		}
		e.holds(t, v.Name, append(append(blockOf(1), make([]byte, thinBlock)...), blockOf(3)...), 0)
		p.send(t, dm.DeleteThin{ID: 2})
		if s := p.status(t); s.UsedData != 2 {
			t.Errorf("the snapshot is gone: %v", s)
		}
		e.remove(t, v.Dev)
		p.down(t)
	}
}
