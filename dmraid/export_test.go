// SPDX-License-Identifier: MIT

package dmraid

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Printed is what raid_status prints of a table that a kernel took, for a new
// array or one without superblocks. number gives major:minor of a device.
// What can't be known is "*": the size of the stripe cache, and delta_disks
// while md has one of its own.
func Printed(state State, params string, length Sectors, env Environment, number func(string) string) (string, error) {
	c := newConstructor(params, length, env)
	if err := c.early(); err != nil {
		return "", err
	}
	t := c.table()
	mostly := slices.Compact(t.WriteMostly)
	words := []string{strconv.FormatInt(c.chunk, 10)}
	count := 1
	for _, p := range documented {
		if !c.given[p] {
			continue
		}
		values := []string{""}
		switch p {
		case paramSync, paramNoSync:
			words = append(words, string(p))
			count++
			continue
		case paramNearSets:
			count++ // and not printed
			continue
		case paramRebuild:
			values = decimal(t.Rebuild)
		case paramMostly:
			values = decimal(mostly)
		case paramSleep:
			// md_bitmap_new_disk_sb; HZ is 250
			if values[0] = strconv.Itoa(int(c.sleep)); c.sleep == 0 && state.Bitmap == BitmapNew {
				values[0] = "1250"
			}
		case paramMinRate:
			values[0] = strconv.Itoa(int(c.minRate))
		case paramMaxRate:
			values[0] = strconv.Itoa(int(c.maxRate))
		case paramBehind:
			n := c.behind / 2
			if state.Bitmap == BitmapNew {
				n = min(n, maxWriteBehind/2)
			}
			values[0] = strconv.Itoa(int(n))
		case paramCache:
			values[0] = "*"
		case paramRegion:
			if values[0] = strconv.Itoa(int(c.region)); c.region == 0 {
				values[0] = sectorWord(regionFor(length))
			}
		case paramCopies:
			values[0] = strconv.FormatInt(c.copies, 10)
		case paramFormat:
			values[0] = string(c.format)
		case paramDelta:
			values[0] = strconv.Itoa(int(c.delta))
			if c.delta < 0 {
				values[0] = "*"
			}
		case paramDataOffset:
			values[0] = sectorWord(c.offset)
		case paramJournal:
			values[0] = number(c.journal)
		case paramMode:
			values[0] = string(c.mode)
		}
		for _, v := range values {
			words = append(words, string(p), v)
			count += 2
		}
	}
	words = append(words, strconv.Itoa(len(c.legs)))
	for _, l := range c.legs {
		for _, d := range []string{l.name.Meta, l.name.Data} {
			if d != "" {
				d = number(d)
			}
			words = append(words, orDash(d))
		}
	}
	return fmt.Sprintf("%s %d %s", c.typ.name, count, strings.Join(words, " ")), nil
}

func decimal(n []int) (words []string) {
	for _, i := range n {
		words = append(words, strconv.Itoa(i))
	}
	return words
}

// Blind reports whether the constructor decides without superblocks; it is
// also true of a line that does not come so far.
func Blind(params string, length Sectors, env Environment) bool {
	c := newConstructor(params, length, env)
	return c.early() != nil || c.blind()
}
