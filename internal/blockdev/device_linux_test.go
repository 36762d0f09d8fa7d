// SPDX-License-Identifier: MIT

package blockdev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/linuxblock/linuxblock/internal/vmtest"
	"golang.org/x/sys/unix"
)

// imageFile makes a file of random bytes.
func imageFile(t testing.TB, size int) (path string, content []byte) {
	t.Helper()
	content = make([]byte, size)
	r := rand.New(rand.NewPCG(uint64(size), 7))
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	dir := t.TempDir()
	if vmtest.InVM() {
		// The VM's /tmp is a tmpfs without direct I/O.
		vmtest.Require(t, "ext4")
		disk := vmtest.RAMDisk(t)
		vmtest.Run(t, "mke2fs", "-q", "-t", "ext4", disk)
		if err := unix.Mount(disk, dir, "ext4", 0, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
	}
	path = filepath.Join(dir, "image")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

// open opens a file, and skips where the folder for temporary files is on a
// file system without direct I/O; it is never so in the VM.
func open(t testing.TB, path string, o Options) *Device {
	t.Helper()
	d, err := Open(path, o)
	if o.Direct && errors.Is(err, errors.ErrUnsupported) {
		t.Skip("no direct I/O on the folder for temporary files")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func modes(t *testing.T, f func(t *testing.T, direct bool)) {
	t.Run("cached", func(t *testing.T) { f(t, false) })
	t.Run("direct", func(t *testing.T) { f(t, true) })
}

// TestFileReadWrite compares random reads and writes with a copy in memory.
// The file ends inside a block.
func TestFileReadWrite(t *testing.T) {
	modes(t, func(t *testing.T, direct bool) {
		path, want := imageFile(t, 3<<20+777)
		d := open(t, path, Options{Write: true, Direct: direct})
		exercise(t, d, want)
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the file differs at the end (%v), length %d", err, len(got))
		}
	})
}

// exercise does reads and writes at odd and even places of the device, which
// holds want, and changes want alongside.
func exercise(t *testing.T, d *Device, want []byte) {
	t.Helper()
	size := len(want)
	r := rand.New(rand.NewPCG(3, 4))
	arena := alignedBuf(size + 4096)
	for i := range 400 {
		n := []int{1, 511, 512, 513, 4096, 4097, 65536, 1<<20 + 5, 2 << 20}[r.IntN(9)]
		if r.IntN(3) == 0 {
			n = 1 + r.IntN(8192)
		}
		n = min(n, size)
		off := r.IntN(size - n + 1)
		switch r.IntN(4) {
		case 0:
			off &^= 4095
		case 1:
			off = size - n // to the very end
		}
		buf := arena[r.IntN(2)*r.IntN(512):][:n]
		if i%2 == 0 {
			for j := range buf {
				buf[j] = byte(r.Uint32())
			}
			if k, err := d.WriteAt(buf, int64(off)); err != nil || k != n {
				t.Fatalf("write %d at %d: %d, %v", n, off, k, err)
			}
			copy(want[off:], buf)
			continue
		}
		if k, err := d.ReadAt(buf, int64(off)); err != nil || k != n {
			t.Fatalf("read %d at %d: %d, %v", n, off, k, err)
		}
		if !bytes.Equal(buf, want[off:off+n]) {
			t.Fatalf("read %d at %d: wrong bytes", n, off)
		}
	}
	got := make([]byte, size)
	if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("whole device: %v, equal %v", err, bytes.Equal(got, want))
	}
}

func TestFileEnds(t *testing.T) {
	modes(t, func(t *testing.T, direct bool) {
		path, content := imageFile(t, 10000)
		d := open(t, path, Options{Write: true, Direct: direct})
		buf := make([]byte, 1000)
		if n, err := d.ReadAt(buf, 9500); n != 500 || err != io.EOF || !bytes.Equal(buf[:n], content[9500:]) {
			t.Errorf("over the end: %d, %v", n, err)
		}
		if n, err := d.ReadAt(buf, 10000); n != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		if n, err := d.ReadAt(buf[:0], 5); n != 0 || err != nil {
			t.Errorf("nothing: %d, %v", n, err)
		}
		if _, err := d.ReadAt(buf, -1); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("negative: %v", err)
		}
		for _, off := range []int64{9001, 10000, 1 << 62} {
			if n, err := d.WriteAt(buf, off); n != 0 || !errors.Is(err, ErrTooSmall) {
				t.Errorf("write at %d: %d, %v", off, n, err)
			}
		}
		if st, _ := os.Stat(path); st.Size() != 10000 {
			t.Errorf("the file has now %d bytes", st.Size())
		}
		if err := d.ZeroRange(t.Context(), 9999, 2); !errors.Is(err, ErrTooSmall) {
			t.Errorf("zero over the end: %v", err)
		}
	})
}

// TestDirectEdges lets many goroutines write different bytes of few blocks.
func TestDirectEdges(t *testing.T) {
	path, want := imageFile(t, 64<<10)
	d := open(t, path, Options{Write: true, Direct: true})
	const writers = 16
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for off := w; off < 16<<10; off += writers * 7 {
				if _, err := d.WriteAt([]byte{byte(w)}, int64(off)); err != nil {
					t.Error(err)
				}
			}
		})
		for off := w; off < 16<<10; off += writers * 7 {
			want[off] = byte(w)
		}
	}
	wg.Wait()
	if got, _ := os.ReadFile(path); !bytes.Equal(got, want) {
		t.Error("writes were lost")
	}
}

func TestZeroRangeFile(t *testing.T) {
	modes(t, func(t *testing.T, direct bool) {
		path, want := imageFile(t, 1<<20+100)
		d := open(t, path, Options{Write: true, Direct: direct})
		for _, r := range [][2]int64{{0, 0}, {1, 1}, {511, 2}, {4096, 4096}, {5000, 100000}, {1 << 20, 100}, {300001, 4095}} {
			if err := d.ZeroRange(t.Context(), r[0], r[1]); err != nil {
				t.Fatalf("%v: %v", r, err)
			}
			clear(want[r[0] : r[0]+r[1]])
		}
		if err := d.zeroByWriting(t.Context(), 700001, 200000); err != nil {
			t.Fatal(err)
		}
		clear(want[700001:900001])
		if err := d.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := d.DropCaches(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); !bytes.Equal(got, want) {
			t.Error("wrong bytes")
		}
	})
}

func TestFileFacts(t *testing.T) {
	path, _ := imageFile(t, 12345)
	d := open(t, path, Options{})
	if n, err := d.Size(); n != 12345 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	if l, p := d.SectorSize(); l != 512 || p != 512 || d.IsBlock() || d.Path() != path {
		t.Errorf("sector sizes %d, %d", l, p)
	}
	if ro, err := d.ReadOnly(); ro || err != nil {
		t.Errorf("read-only %v, %v", ro, err)
	}
	if _, _, err := d.Number(); !errors.Is(err, syscall.ENOTBLK) {
		t.Errorf("number: %v", err)
	}
	if _, err := d.ReadAhead(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("read-ahead: %v", err)
	}
	if err := d.SetReadAhead(8); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("set read-ahead: %v", err)
	}
	if _, err := d.WriteAt([]byte{1}, 0); !errors.Is(err, ErrReadOnly) {
		t.Errorf("write: %v", err)
	}
	if err := d.ZeroRange(t.Context(), 0, 1); !errors.Is(err, ErrReadOnly) {
		t.Errorf("zero: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if _, err := d.ReadAt(make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	if _, err := d.Size(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("size after close: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		filepath.Join(dir, "none"): fs.ErrNotExist,
		dir:                        syscall.ENOTBLK,
		fifo:                       syscall.ENOTBLK,
		"/dev/null":                syscall.ENOTBLK,
	} {
		_, err := Open(path, Options{})
		var e *Error
		if !errors.Is(err, want) || !errors.As(err, &e) || e.Op != "open" || e.Object != path {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, _, err := Resolve("/dev/null"); !errors.Is(err, syscall.ENOTBLK) {
		t.Errorf("resolve a character device: %v", err)
	}
	if ma, mi, err := Resolve("254:1048575"); ma != 254 || mi != 1048575 || err != nil {
		t.Errorf("resolve: %d:%d, %v", ma, mi, err)
	}
}

// A kernel call that does not come back must not hold its caller.
func TestAwait(t *testing.T) {
	path, _ := imageFile(t, 4096)
	d := open(t, path, Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	release, finished := make(chan struct{}), false
	reason := errors.New("enough")
	time.AfterFunc(10*time.Millisecond, func() { cancel(reason) })
	start := time.Now()
	err := d.await(ctx, "flush", func(context.Context) error {
		<-release
		finished = true
		return nil
	})
	if !errors.Is(err, ErrPending) || !strings.Contains(err.Error(), "enough") {
		t.Fatalf("error %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("gave up after %v", took)
	}
	time.AfterFunc(20*time.Millisecond, func() { close(release) })
	d.Close()
	if !finished {
		t.Error("Close did not wait")
	}
	if err := d.await(ctx, "flush", nil); !errors.Is(err, reason) {
		t.Errorf("context that ended before: %v", err)
	}
}

func TestCheckWipeableFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	img := make([]byte, 1<<20)
	write := func() {
		t.Helper()
		if err := os.WriteFile(path, img, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if err := CheckWipeable(t.Context(), path); err != nil {
		t.Errorf("empty image: %v", err)
	}
	copy(img[4086:], "SWAPSPACE2")
	copy(img[len(img)-1024:], "NVIDIA")
	write()
	err := CheckWipeable(t.Context(), path)
	var se *SignatureError
	if !errors.Is(err, ErrSignature) || !errors.As(err, &se) || len(se.Signatures) != 2 {
		t.Errorf("two signatures: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := CheckWipeable(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := CheckWipeable(t.Context(), path+"x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

// The calls below behave like a device: they take only aligned requests, and
// move at most a few blocks in a call.
func TestDirectAlignment(t *testing.T) {
	const align = 512
	want := make([]byte, 100*align)
	for i := range want {
		want[i] = byte(i * 7)
	}
	disk := bytes.Clone(want)
	check := func(p []byte, off int64) {
		if uintptr(unsafe.Pointer(unsafe.SliceData(p)))%align != 0 || off%align != 0 || len(p)%align != 0 {
			t.Errorf("request of %d at %d", len(p), off)
		}
	}
	io := &directIO{
		align: align,
		size:  func() (int64, error) { return int64(len(disk)), nil },
		pread: func(p []byte, off int64) (int, error) {
			check(p, off)
			return copy(p[:min(len(p), 3*align)], disk[off:]), nil
		},
		pwrite: func(p []byte, off int64) (int, error) {
			check(p, off)
			return copy(disk[off:], p[:min(len(p), 3*align)]), nil
		},
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		off := r.IntN(len(want))
		n := 1 + r.IntN(len(want)-off)
		buf := make([]byte, n)
		if r.IntN(2) == 0 {
			for i := range buf {
				buf[i] = byte(r.Uint32())
			}
			if k, err := io.writeAt(buf, int64(off)); k != n || err != nil {
				t.Fatal(k, err)
			}
			copy(want[off:], buf)
		}
		if k, err := io.readAt(buf, int64(off)); k != n || err != nil || !bytes.Equal(buf, want[off:off+n]) {
			t.Fatal(k, err)
		}
	}
	// An error in the middle is told with what was moved before.
	fail := fmt.Errorf("bad block")
	io.pwrite = func(p []byte, off int64) (int, error) {
		if off >= 10*align {
			return 0, fail
		}
		return copy(disk[off:], p[:align]), nil
	}
	if n, err := io.writeAt(make([]byte, 10*align), 5*align+100); err != fail || n != 5*align-100 {
		t.Errorf("write: %d, %v", n, err)
	}
	io.pread = func(p []byte, off int64) (int, error) {
		if off >= 10*align {
			return 0, fail
		}
		return copy(p, disk[off:off+align]), nil
	}
	if n, err := io.readAt(make([]byte, 10*align), 5*align+100); err != fail || n != 5*align-100 {
		t.Errorf("read: %d, %v", n, err)
	}
}

func ExampleCheckWipeable() {
	f, err := os.CreateTemp("", "disk")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.Remove(f.Name())
	f.Truncate(1 << 20)
	ctx := context.Background()
	fmt.Println(CheckWipeable(ctx, f.Name()))
	f.WriteAt([]byte("LUKS\xba\xbe\x00\x01"), 0)
	err = CheckWipeable(ctx, f.Name())
	var found *SignatureError
	fmt.Println(errors.Is(err, ErrSignature), errors.As(err, &found), found)
	// Output:
	// <nil>
	// true true device carries a signature: crypto_LUKS 1 at 0
}
