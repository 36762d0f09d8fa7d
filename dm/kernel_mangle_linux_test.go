// SPDX-License-Identifier: MIT

package dm_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// Mangle makes of any text what dmsetup makes of it, and refuses what dmsetup
// refuses.
func TestKernelMangling(t *testing.T) {
	vmtest.Require(t, "dm-mod")
	ctx := context.Background()
	c, err := dm.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	pieces := []string{"a", "Z", "9", "#", "+", "-", ".", ":", "=", "@", "_", " ", "\t", "%", "ü", "\\", `\x20`, `\x2`, `\xzz`, "\x7f", "\xff", "'", "*", "~"}
	modes := []struct {
		word string
		mode dm.Mangling
	}{{"auto", dm.MangleAuto}, {"hex", dm.MangleHex}, {"none", dm.MangleNone}}
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	made := 0
	for _, m := range modes {
		for range rounds {
			text := "m" // one that starts with '-' would be an option
			for range 1 + rand.IntN(6) {
				text += pieces[rand.IntN(len(pieces))]
			}
			want, wantErr := dm.Mangle(text, m.mode)
			cmd := vmtest.Command(t, "dmsetup", "--manglename", m.word, "create", text, "--notable")
			out, err := cmd.CombinedOutput()
			if (err == nil) != (wantErr == nil) {
				t.Errorf("%s %q: dmsetup %v %s; Mangle %v", m.word, text, err, out, wantErr)
			}
			if err != nil {
				continue
			}
			made++
			list, err := c.List(ctx, dm.ListOptions{})
			if err != nil || len(list) != 1 {
				t.Fatalf("%v %v", list, err)
			}
			if list[0].Name != want {
				t.Errorf("%s %q: dmsetup made %q, Mangle %q", m.word, text, list[0].Name, want)
			}
			if err := c.Remove(ctx, list[0].Dev, dm.RemoveOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if made < rounds {
		t.Errorf("only %d names were taken", made)
	}
}
