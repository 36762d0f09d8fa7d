// SPDX-License-Identifier: MIT

package vmtest

import (
	"slices"
	"testing"
	"time"
)

func TestParseVersion(t *testing.T) {
	for in, want := range map[string]Version{
		"6.1.0-56-amd64": {6, 1}, "5.10.0": {5, 10}, "7.2.13+deb14-amd64": {7, 2}, "6.12-rc1": {6, 12}, "": {}, "junk": {},
	} {
		if got := parseVersion(in); got != want {
			t.Errorf("parseVersion(%q) = %v, want %v", in, got, want)
		}
	}
	v := Version{6, 1}
	if !v.AtLeast(5, 10) || !v.AtLeast(6, 1) || v.AtLeast(6, 2) || v.AtLeast(7, 0) {
		t.Error("AtLeast is wrong")
	}
}

func TestPool(t *testing.T) {
	p := newPool()
	all := []string{"a", "b", "c"}
	two := p.take(all, 2)
	if want := []string{"a", "b"}; !slices.Equal(two, want) {
		t.Fatalf("took %v, want %v", two, want)
	}
	got := make(chan []string)
	go func() { got <- p.take(all, 2) }()
	select {
	case list := <-got:
		t.Fatalf("took %v while only one is free", list)
	case <-time.After(20 * time.Millisecond):
	}
	p.put([]string{"a"})
	if list := <-got; !slices.Equal(list, []string{"a", "c"}) {
		t.Errorf("took %v, want a and c", list)
	}
}
