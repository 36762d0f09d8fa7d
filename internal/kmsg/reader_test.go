// SPDX-License-Identifier: MIT

package kmsg

import (
	"errors"
	"io/fs"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

func TestPool(t *testing.T) {
	var p Pool
	r, err := p.Get()
	if runtime.GOOS != "linux" {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
		return
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.Put(r)
	p.Put(nil)
	if again, err := p.Get(); err != nil || again != r {
		t.Error("not reused", err)
	}
	var wg sync.WaitGroup
	for range 2 * keep {
		wg.Go(func() {
			for range 20 {
				r, err := p.Get()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := r.Collect(); err != nil {
					t.Error(err)
				}
				p.Put(r)
			}
		})
	}
	wg.Wait()
	if len(p.idle) > keep {
		t.Error("keeps", len(p.idle))
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	p.Put(r) // closes it
	if err := r.Mark(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := r.Collect(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := p.Get(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// Every record from the oldest on can be read and parsed.
func TestReadAll(t *testing.T) {
	r, err := Open()
	if err != nil {
		t.Skip(err)
	}
	defer r.Close()
	list, err := r.Collect()
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(list); i++ {
		if list[i].Seq <= list[i-1].Seq {
			t.Errorf("sequence %d after %d", list[i].Seq, list[i-1].Seq)
		}
	}
}

func TestError(t *testing.T) {
	if fail("open", nil) != nil {
		t.Error("nil")
	}
	err := fail("open", syscall.EPERM)
	e, ok := errors.AsType[*Error](err)
	if !ok || !errors.Is(err, fs.ErrPermission) || e.Code != int(syscall.EPERM) || e.Detail == "" || err.Error() == "" {
		t.Error(err)
	}
}

func BenchmarkMark(b *testing.B) {
	r, err := Open()
	if err != nil {
		b.Skip(err)
	}
	defer r.Close()
	for b.Loop() {
		if err := r.Mark(); err != nil {
			b.Fatal(err)
		}
	}
}
