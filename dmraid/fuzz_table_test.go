// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"reflect"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

func seedTables(f *testing.F) {
	for _, r := range recordedCases(f) {
		_, in := cut(f, r.In)
		f.Add(in)
	}
	for _, table := range []dmraid.Table{fullRAID1, fullRAID5, fullRAID10} {
		f.Add(table.Params())
	}
}

// A table that can be read prints a line that reads as the same table, and
// has one normal form.
func FuzzParse(f *testing.F) {
	seedTables(f)
	f.Fuzz(func(t *testing.T, params string) {
		for name, parser := range map[string]dm.Parser{
			"user": dmraid.Parse, "1.15.1": dmraid.ParsePrinted, "1.5.0": dmraid.ParserFor(dm.Version{Major: 1, Minor: 5}),
		} {
			target, err := parser(params)
			if err != nil {
				continue
			}
			table := target.(dmraid.Table)
			line := table.Params()
			if back := parse(t, dmraid.Parse, line); !reflect.DeepEqual(back, table) {
				t.Errorf("%s: %q\nprints %q\n got %#v\nwant %#v", name, params, line, back, table)
			}
			normal := table.Normalize()
			if again := normal.Normalize(); !reflect.DeepEqual(again, normal) {
				t.Errorf("%s: %q: normal form %#v\nand again %#v", name, params, normal, again)
			}
			if back := parse(t, dmraid.Parse, normal.Params()); !reflect.DeepEqual(back.Normalize(), normal) {
				t.Errorf("%s: %q: normal form reads %#v", name, params, back)
			}
			parse(t, dmraid.Parse, table.Reload().Params())
		}
	})
}

func FuzzParseDraft(f *testing.F) {
	for _, seed := range []string{
		"raid4 2 64 1 3 m a n b o c", "raid6_zr 3 64 3 -1 4 m a n b o c p d", "raid1 3 64 write_back=256 nosync 2 m a n b",
		"raid5_ls 5 64 rebuild=1 stripecache=512 minspeed=10 maxspeed=20 3 m a n b o c",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, params string) {
		table, err := dmraid.ParseDraft(params)
		if err != nil {
			return
		}
		if back := parse(t, dmraid.Parse, table.Params()); !reflect.DeepEqual(back, table) {
			t.Errorf("%q gives %#v\nwhich reads %#v", params, table, back)
		}
	})
}

// Whatever the line is, Check answers; what the kernel takes it takes as the
// table prints it too; and what Validate takes the other methods can work
// with.
func FuzzCheck(f *testing.F) {
	for _, r := range recordedCases(f) {
		length, in := cut(f, r.In)
		f.Add(in, uint64(length))
	}
	f.Fuzz(func(t *testing.T, params string, n uint64) {
		length := dmraid.Sectors(n)
		err := dmraid.Check(params, length, nil)
		looked := dmraid.Check(params, length, ramDisks{})
		if err != nil && looked == nil {
			t.Errorf("%q of %d: refused, but not when the devices are looked at: %v", params, n, err)
		}
		target, parseErr := dmraid.Parse(params)
		if parseErr != nil {
			return
		}
		table := target.(dmraid.Table)
		table.Explain(length)
		printed := dmraid.Check(table.Params(), length, nil)
		if err == nil && printed != nil {
			t.Errorf("%q of %d is taken, but not %q: %v", params, n, table.Params(), printed)
		}
		if table.Validate(length) != nil {
			return
		}
		if printed != nil {
			t.Errorf("%q of %d is valid, but: %v", table.Params(), n, printed)
		}
		for _, x := range table.Extents(length) {
			if x.Device == "" {
				t.Errorf("%q: an extent without a device", params)
			}
		}
	})
}
