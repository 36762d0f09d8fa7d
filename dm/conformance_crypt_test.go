// SPDX-License-Identifier: MIT

package dm_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
)

// secretKey is n bytes that would be noticed anywhere.
func secretKey(n int) []byte {
	b := bytes.Repeat([]byte{0xc0, 0xff, 0xee, 0x11, 0x5e, 0xc3, 0xe7, 0x42}, n/8)
	for i := range b {
		b[i] += byte(i / 8)
	}
	return b
}

// errno is the number in an error of an I/O or a call.
func errno(err error) syscall.Errno {
	var n syscall.Errno
	errors.As(err, &n)
	return n
}

// raw reads or writes a disk behind the back of the target on it.
func (e *env) raw(t *testing.T, disk string, at, n dm.Sectors, change func(b []byte)) []byte {
	t.Helper()
	info := e.create(t, "raw", dm.Table{}.Append(n, dm.Linear{Device: disk, Offset: at}), dm.CreateOptions{})
	f := e.rw(t, info.Name)
	b := make([]byte, n.Bytes())
	_, err := f.ReadAt(b, 0)
	if err == nil && change != nil {
		change(b)
		_, err = f.WriteAt(b, 0)
	}
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	e.remove(t, info.Dev)
	return b
}

// printedAgain makes a device of a target, and takes what the kernel prints of
// it: it must be typed, load again and print the same, and be the target but
// for its devices and what forget takes out.
func (e *env) printedAgain(t *testing.T, length dm.Sectors, target dm.Target, readOnly bool) dm.Target {
	t.Helper()
	ctx := context.Background()
	tab := dm.Table{}.Append(length, target)
	info := e.create(t, "p", tab, dm.CreateOptions{ReadOnly: readOnly})
	defer e.remove(t, info.Dev)
	printed, err := e.c.Table(ctx, info.Dev, dm.StatusOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%T", printed[0].Target) != fmt.Sprintf("%T", target) {
		t.Errorf("%v is printed as %v", tab, printed)
	}
	if err := printed.Validate(); err != nil {
		t.Errorf("what the kernel printed is refused: %v: %v", printed, err)
	}
	if _, err := e.c.Reload(ctx, info.Dev, printed, dm.ReloadOptions{ReadOnly: readOnly}); err != nil {
		t.Errorf("%v can't be loaded again: %v", printed, err)
	}
	again, err := e.c.Table(ctx, info.Dev, dm.StatusOptions{})
	if err != nil || len(again) != 1 {
		t.Fatalf("table %v, %v", again, err)
	}
	if i, ok := again[0].Target.(dm.Integrity); ok && i.Mode == dm.IntegrityBitmap {
		// Linux 5.10 loads the second table from the superblock of a live device,
		// takes its bitmap for that of a crash and recalculates.
		i.Recalculate = printed[0].Target.(dm.Integrity).Recalculate
		again[0].Target = i
	}
	if !again.Equal(printed) {
		t.Errorf("printed %v, then %v", printed, again)
	}
	status, err := e.c.Status(ctx, info.Dev, dm.StatusOptions{})
	if err != nil || len(status) != 1 {
		t.Fatalf("status %v, %v", status, err)
	}
	typed, err := status[0].Typed()
	if err != nil || typed != nil && typed.String() != strings.TrimSpace(status[0].Text) {
		t.Errorf("%q came back as %v, %v", status[0].Text, typed, err)
	}
	return printed[0].Target
}

func testCryptTables(t *testing.T, e *env) {
	e.modules(t, "dm-crypt")
	key32, key64 := dm.NewKey(secretKey(32)), dm.NewKey(secretKey(64))
	base := dm.Crypt{Cipher: "aes-xts-plain64", Key: key32, Device: e.disks[0]}
	with := func(change func(c *dm.Crypt)) dm.Crypt { c := base; change(&c); return c }
	for _, c := range []dm.Crypt{
		base,
		with(func(c *dm.Crypt) { c.Key, c.IVOffset, c.Offset = key64, 8, 64 }),
		with(func(c *dm.Crypt) { c.AllowDiscards, c.SameCPUCrypt = true, true }),
		with(func(c *dm.Crypt) { c.SubmitFromCryptCPUs, c.NoReadWorkqueue, c.NoWriteWorkqueue = true, true, true }),
		with(func(c *dm.Crypt) { c.SectorSize = 4096 }),
		with(func(c *dm.Crypt) { c.Cipher, c.SectorSize, c.IVLargeSectors = "capi:xts(aes)-plain64", 2048, true }),
		with(func(c *dm.Crypt) {
			c.AllowDiscards, c.SameCPUCrypt, c.SubmitFromCryptCPUs, c.NoReadWorkqueue = true, true, true, true
			c.NoWriteWorkqueue, c.SectorSize, c.IVLargeSectors = true, 1024, true
		}),
		with(func(c *dm.Crypt) { c.Integrity.TagSize = 32 }),
		with(func(c *dm.Crypt) { c.Cipher = "aes-cbc-essiv:sha256" }),
		with(func(c *dm.Crypt) { c.Cipher = "aes:2-cbc-plain" }),
		with(func(c *dm.Crypt) { c.Cipher = "aes" }),
		with(func(c *dm.Crypt) { c.Cipher, c.Key = "cipher_null-ecb", dm.Key{} }),
	} {
		got := e.printedAgain(t, 1024, c, false).(dm.Crypt)
		got.Device = c.Device
		if got != c {
			t.Errorf("%v came back as %v", c, got)
		}
	}
	if e.c.Version().AtLeast(4, 48) { // Linux 6.12
		c := with(func(c *dm.Crypt) { c.SameCPUCrypt, c.HighPriority, c.SubmitFromCryptCPUs = true, true, true })
		if got := e.printedAgain(t, 1024, c, false).(dm.Crypt); !got.HighPriority {
			t.Errorf("%v", got)
		}
	}
	// 512 is what the kernel takes for granted.
	if got := e.printedAgain(t, 1024, with(func(c *dm.Crypt) { c.SectorSize = 512 }), false).(dm.Crypt); got.SectorSize != 0 {
		t.Errorf("%v", got)
	}
	for _, tt := range []struct {
		c    dm.Crypt
		err  error
		says string
	}{
		{with(func(c *dm.Crypt) { c.Key = dm.NewKey(secretKey(16)) }), syscall.Errno(22), "Error decoding and setting key"},
		{with(func(c *dm.Crypt) { c.Cipher = "none-cbc-plain" }), syscall.Errno(2), "Error allocating crypto tfm"},
		{with(func(c *dm.Crypt) { c.Cipher = "aes-cbc-foo" }), syscall.Errno(22), "Invalid IV mode"},
		{with(func(c *dm.Crypt) { c.Key = dm.KeyringKey(32, "logon", "linuxblock:none") }), syscall.Errno(126), "Error decoding and setting key"},
		{with(func(c *dm.Crypt) { c.Cipher = "aes-cbc" }), dm.ErrBadTable, "no IV"},
		{with(func(c *dm.Crypt) { c.Key = dm.Key{} }), dm.ErrBadTable, "needs one"},
		{with(func(c *dm.Crypt) { c.SectorSize = 8192 }), dm.ErrBadTable, "sector size"},
		{with(func(c *dm.Crypt) { c.SectorSize, c.IVOffset = 4096, 1 }), dm.ErrBadTable, "IV offset"},
	} {
		_, err := e.c.Create(context.Background(), e.name("bad"), dm.Table{}.Append(1024, tt.c), dm.CreateOptions{})
		wantErr(t, err, tt.err, tt.says)
	}
}

// What crypt writes to the disk, as a digest of two sectors of 4096 bytes.
var cipherTexts = []struct {
	cipher string
	key    int
	change func(c *dm.Crypt)
	sum    string
}{
	{"aes-xts-plain64", 32, nil, "c9b2d45937505a1e"},
	{"aes-xts-plain64", 64, func(c *dm.Crypt) { c.IVOffset = 1 << 33 }, "d5e88246106a3795"},
	{"aes-xts-plain", 64, func(c *dm.Crypt) { c.IVOffset = 1 << 33 }, "b700f199be24d3e2"},
	{"aes-xts-plain64", 64, func(c *dm.Crypt) { c.SectorSize = 4096 }, "d52c0e2ee07b93ff"},
	{"aes-xts-plain64", 64, func(c *dm.Crypt) { c.SectorSize, c.IVLargeSectors = 4096, true }, "ddc373417c82ae37"},
	{"capi:xts(aes)-plain64be", 32, nil, "61483c1de892046e"},
	{"aes-cbc-plain", 16, nil, "953ccef2ea8a9849"},
	{"aes-cbc-plain64", 24, nil, "e7380a4cb0c2e176"},
	{"aes-cbc-essiv:sha256", 32, nil, "b6c36108188a197a"},
	{"capi:cbc(aes)-essiv:sha256", 32, nil, "b6c36108188a197a"},
	{"aes-cbc-benbi", 32, nil, "f28da3d8eaf0694f"},
	{"aes-cbc-null", 32, nil, "78c80371508e1f6a"},
	{"aes:2-cbc-plain64", 32, nil, "db33dc46b97352be"},
	{"aes-ecb", 32, nil, "c32131daa1e5301e"},
	{"cipher_null-ecb", 0, nil, "44cf9a24bd74b9d2"},
}

func testCryptIO(t *testing.T, e *env) {
	e.modules(t, "dm-crypt")
	plain := pattern(8192, 3)
	for _, tt := range cipherTexts {
		c := dm.Crypt{Cipher: tt.cipher, Key: dm.NewKey(secretKey(tt.key)), Device: e.disks[0], Offset: 8}
		if tt.change != nil {
			tt.change(&c)
		}
		info := e.create(t, "c", dm.Table{}.Append(1024, c), dm.CreateOptions{})
		f := e.rw(t, info.Name)
		if _, err := f.WriteAt(plain, 4096); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(plain))
		if _, err := f.ReadAt(got, 4096); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%v: what was written does not come back: %v", c, err)
		}
		f.Close()
		e.remove(t, info.Dev)
		text := e.raw(t, e.disks[0], 16, 16, nil)
		sum := sha256.Sum256(text)
		if got := hex.EncodeToString(sum[:8]); got != tt.sum {
			t.Errorf("%v: %s is on the disk, want %s", c, got, tt.sum)
		}
		if bytes.Equal(text, plain) != (tt.key == 0) {
			t.Errorf("%v: plain text on the disk: %v", c, tt.key != 0)
		}
	}
	// Vector 4 of IEEE 1619: not only we and the kernel agree.
	key, _ := hex.DecodeString("2718281828459045235360287471352631415926535897932384626433832795")
	want, _ := hex.DecodeString("27a7479befa1d476489f308cd4cfa6e2a96e4bbe3208ff25287dd3819616e89c")
	info := e.create(t, "c", dm.Table{}.Append(1024, dm.Crypt{Cipher: "aes-xts-plain64", Key: dm.NewKey(key), Device: e.disks[0]}), dm.CreateOptions{})
	f := e.rw(t, info.Name)
	for i := range plain {
		plain[i] = byte(i)
	}
	if _, err := f.WriteAt(plain, 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	e.remove(t, info.Dev)
	if got := e.raw(t, e.disks[0], 0, 8, nil); !bytes.HasPrefix(got, want) {
		t.Errorf("vector 4 of IEEE 1619: %x", got[:32])
	}
}

// A key is set and wiped while the device is suspended, and is nowhere to be
// seen.
func testCryptKey(t *testing.T, e *env) {
	e.modules(t, "dm-crypt")
	ctx := context.Background()
	var mu sync.Mutex
	var log bytes.Buffer
	c := e.open(t, dm.WithLogger(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		dm.WithTrace(func(tr dm.Trace) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(&log, "%s %s %s %v\n", tr.Command, tr.Request, tr.Answer, tr.Err)
		}))
	defer c.Close()
	note := func(v ...any) {
		mu.Lock()
		defer mu.Unlock()
		for _, v := range v {
			fmt.Fprintf(&log, "%v %+v %#v %s %d %x\n", v, v, v, v, v, v)
			b, _ := json.Marshal(v)
			log.Write(b)
		}
	}
	key, other := dm.NewKey(secretKey(32)), dm.NewKey(bytes.Repeat([]byte{0xab, 0xad, 0x1d, 0xea}, 8))
	target := dm.Crypt{Cipher: "aes-xts-plain64", Key: key, Device: e.disks[0]}
	tab := dm.Table{}.Append(1024, target)
	note(target, &target, tab, key, struct{ t dm.Crypt }{target})
	info, err := c.Create(ctx, e.name("k"), tab, dm.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := e.rw(t, info.Name)
	plain := pattern(8192, 5)
	if _, err := f.WriteAt(plain, 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	send := func(m dm.TargetMessage, code syscall.Errno) {
		t.Helper()
		answer, err := c.Send(ctx, info.Dev, m)
		note(m, answer, fmt.Sprint(err))
		if errno(err) != code {
			t.Errorf("%v: %v, want errno %d", m, err, int(code))
		}
	}
	send(dm.SetKey{Key: other}, 22) // it runs
	send(dm.WipeKey{}, 22)
	if err := c.Suspend(ctx, info.Dev, dm.SuspendOptions{}); err != nil {
		t.Fatal(err)
	}
	send(dm.SetKey{Key: dm.NewKey(secretKey(64))}, 22) // the size stays
	printed := func() dm.Crypt {
		t.Helper()
		tab, err := c.Table(ctx, info.Dev, dm.StatusOptions{})
		note(tab, err)
		if err != nil || len(tab) != 1 {
			t.Fatal(tab, err)
		}
		return tab[0].Target.(dm.Crypt)
	}
	if got := printed().Key; got != key {
		t.Error("the table has another key than it was given")
	}
	send(dm.WipeKey{}, 0)
	if got := printed().Key; got != dm.NewKey(make([]byte, 32)) {
		t.Error("a wiped key is not printed as zeros")
	}
	_, err = c.Resume(ctx, info.Dev, dm.ResumeOptions{})
	note(fmt.Sprint(err))
	if errno(err) != 11 || !e.info(t, info.Dev).Suspended {
		t.Errorf("resume without a key: %v", err)
	}
	send(dm.SetKey{Key: other}, 0)
	send(dm.SetKey{Key: key}, 0)
	if _, err := c.Resume(ctx, info.Dev, dm.ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	f = e.rw(t, info.Name)
	got := make([]byte, len(plain))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("with its key back, the device reads something else: %v", err)
	}
	f.Close()
	// A table that the kernel refuses, and one that no parser takes.
	bad := target
	bad.Cipher = "none-cbc-plain"
	_, err = c.Reload(ctx, info.Dev, dm.Table{}.Append(1024, bad), dm.ReloadOptions{})
	note(fmt.Sprint(err))
	_, err = c.Reload(ctx, info.Dev, dm.Table{}.Append(1024, dm.Raw{Type: "crypt", Text: target.Params() + " 1 no_such_option"}), dm.ReloadOptions{})
	note(fmt.Sprint(err))
	if errno(err) != 22 {
		t.Errorf("an unknown option: %v", err)
	}
	if err := c.Remove(ctx, info.Dev, dm.RemoveOptions{Retries: 20}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	shown := strings.ToLower(log.String())
	for _, secret := range []dm.Key{key, other} {
		text := secret.Reveal()
		for _, s := range []string{text, text[:16], hex.EncodeToString([]byte(text))[:32]} {
			if i := strings.Index(shown, s); i >= 0 {
				t.Errorf("a key is shown: %.200q", shown[max(0, i-100):])
			}
		}
	}
	if !strings.Contains(shown, "table_load") || !strings.Contains(shown, "target_msg") {
		t.Errorf("the trace saw too little:\n%.500s", shown)
	}
}
