// SPDX-License-Identifier: MIT

package dm

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// The control node is made from the list of misc devices; a kernel without
// device-mapper is not in it.
func TestControlNumber(t *testing.T) {
	misc := filepath.Join(t.TempDir(), "misc")
	for text, want := range map[string]uint64{
		"":                                      0,
		" 10 fuse\n237 loop-control\n":          0,
		"237 loop-control\n236 device-mapper\n": unix.Mkdev(10, 236),
		" 61 device-mapper\n":                   unix.Mkdev(10, 61),
	} {
		if err := os.WriteFile(misc, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := controlNumber(misc)
		if want == 0 && !errors.Is(err, errors.ErrUnsupported) || uint64(got) != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}
