// SPDX-License-Identifier: MIT

package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
)

func TestWrap(t *testing.T) {
	if err := Wrap("area", "op", "", nil, "x"); err != nil {
		t.Errorf("%v of nothing", err)
	}
	own := errors.New("own")
	for _, tt := range []struct {
		err  error
		code int
		is   error
	}{
		{syscall.ENOENT, int(syscall.ENOENT), fs.ErrNotExist},
		{fmt.Errorf("more: %w", syscall.EACCES), int(syscall.EACCES), fs.ErrPermission},
		{own, 0, own},
	} {
		err := Wrap("area", "op", "object", tt.err, "detail")
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Code != tt.code || !errors.Is(err, tt.is) {
			t.Errorf("%#v", err)
		}
		if want := "area: op object: " + tt.err.Error() + ": detail"; err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
	if got := (&Error{Area: "a", Op: "b"}).Error(); got != "a: b" {
		t.Errorf("%q", got)
	}
}
