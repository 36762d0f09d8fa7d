// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/linuxblock/linuxblock"
)

// size is a number of bytes on the command line: 64M, 512K, 8s (sectors).
type size int64

const sizeUnits = "KMGT"

// Set reads a size; package flag calls it.
func (s *size) Set(text string) error {
	number, shift := text, 0
	if n := len(text); n > 0 {
		switch i := strings.IndexByte(sizeUnits, text[n-1]&^0x20); {
		case i >= 0:
			number, shift = text[:n-1], 10*(i+1)
		case text[n-1] == 's':
			number, shift = text[:n-1], 9
		}
	}
	v, err := strconv.ParseInt(number, 10, 64)
	if err != nil || v < 0 || v > math.MaxInt64>>shift {
		return fmt.Errorf("%q is no size such as 64M, 512K or 8s", text)
	}
	*s = size(v << shift)
	return nil
}

// String prints the size in the largest unit that divides it.
func (s size) String() string {
	for i := len(sizeUnits) - 1; i >= 0; i-- {
		if unit := size(1) << (10 * (i + 1)); s != 0 && s%unit == 0 {
			return fmt.Sprintf("%d%c", s/unit, sizeUnits[i])
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

func (s size) sectors() linuxblock.Sectors { return linuxblock.SectorsOf(int64(s)) }

// human prints a number of sectors for people: "1.5 GiB".
func human(n linuxblock.Sectors) string {
	v, i := float64(n)/2, 0
	for ; v >= 1024 && i < len(sizeUnits)-1; i++ {
		v /= 1024
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + " " + sizeUnits[i:i+1] + "iB"
}
