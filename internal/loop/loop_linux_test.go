// SPDX-License-Identifier: MIT

package loop_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/linuxblock/linuxblock/internal/loop"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

func image(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "leg")
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAttach(t *testing.T) {
	vmtest.Require(t, "loop")
	ctx := context.Background()
	file := image(t, 1<<20)
	d, err := loop.Attach(ctx, file, loop.Options{BlockSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, err := loop.BackingFile(d.Path()); err != nil || got != file {
		t.Errorf("backing file %q, %v", got, err)
	}
	for file, want := range map[string]string{"queue/logical_block_size": "4096\n", "size": "2048\n"} {
		got, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(d.Path()), file))
		if err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", file, got, err)
		}
	}
	if _, err := loop.Attach(ctx, file, loop.Options{}); !errors.Is(err, loop.ErrBusy) {
		t.Errorf("attached twice: %v", err)
	}
	node, err := os.OpenFile(d.Path(), os.O_RDWR|os.O_SYNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("leg!"), 1024)
	if _, err := node.WriteAt(want, 8192); err != nil {
		t.Fatal(err)
	}
	// The device stays while somebody has it, and is free behind that.
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := loop.BackingFile(d.Path()); err != nil {
		t.Errorf("gone while it is open: %v", err)
	}
	node.Close()
	if _, err := loop.BackingFile(d.Path()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("behind the last close: %v", err)
	}
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got[8192:8192+4096], want) {
		t.Errorf("the file does not hold what was written, %v", err)
	}
}

// TestAttachMany has goroutines that race for the free devices.
func TestAttachMany(t *testing.T) {
	vmtest.Require(t, "loop")
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]bool{}
	files := make([]string, 20)
	for i := range files {
		files[i] = image(t, 4096)
	}
	for _, file := range files {
		wg.Go(func() {
			d, err := loop.Attach(context.Background(), file, loop.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { d.Close() })
			mu.Lock()
			defer mu.Unlock()
			if seen[d.Path()] {
				t.Errorf("%s was given twice", d.Path())
			}
			seen[d.Path()] = true
		})
	}
	wg.Wait()
}

func TestAttachRefuses(t *testing.T) {
	dir := t.TempDir()
	short := image(t, 100)
	for _, path := range []string{dir, short, filepath.Join(dir, "nosuch"), "/dev/null"} {
		d, err := loop.Attach(context.Background(), path, loop.Options{})
		e := (*loop.Error)(nil)
		if !errors.As(err, &e) || e.Object != path {
			t.Errorf("%s: %v, %v", path, d, err)
		}
	}
	if _, err := loop.Attach(context.Background(), filepath.Join(dir, "nosuch"), loop.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
