// SPDX-License-Identifier: MIT

package linuxblock_test

import (
	"math"
	"testing"

	"github.com/linuxblock/linuxblock"
)

func TestSectorsBytes(t *testing.T) {
	for s, want := range map[linuxblock.Sectors]int64{
		0:           0,
		1:           512,
		2048:        1 << 20,
		1<<54 - 1:   math.MaxInt64 - 511,
		1 << 54:     math.MaxInt64,
		1<<64 - 1:   math.MaxInt64,
		1<<55 + 123: math.MaxInt64,
	} {
		if got := s.Bytes(); got != want {
			t.Errorf("%v is %d bytes, want %d", s, got, want)
		}
	}
}

func TestSectorsOf(t *testing.T) {
	for n, want := range map[int64]linuxblock.Sectors{
		0:             0,
		511:           0,
		512:           1,
		1023:          1,
		1 << 20:       2048,
		-1:            0,
		math.MinInt64: 0,
		math.MaxInt64: 1<<54 - 1,
	} {
		if got := linuxblock.SectorsOf(n); got != want {
			t.Errorf("%d bytes are %v, want %v", n, got, want)
		}
	}
}

// Whole sectors survive the way to bytes and back.
func TestSectorsRoundTrip(t *testing.T) {
	for _, s := range []linuxblock.Sectors{0, 1, 7, 2048, 1 << 40, 1<<54 - 1} {
		if got := linuxblock.SectorsOf(s.Bytes()); got != s {
			t.Errorf("%v became %v", s, got)
		}
	}
}

func TestSectorsString(t *testing.T) {
	for s, want := range map[linuxblock.Sectors]string{0: "0s", 2048: "2048s", 1<<64 - 1: "18446744073709551615s"} {
		if got := s.String(); got != want {
			t.Errorf("%d is printed as %q, want %q", uint64(s), got, want)
		}
	}
}
