// SPDX-License-Identifier: MIT

package linuxblock_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dm/dmtest"
	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// The program of README.md is readme_program_test.go, as it is, but for the
// name of the package: so it is known to compile, and the tests below run it.
var _ = main

func TestReadmeProgram(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("readme_program_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(readme), "\n```go\n")
	block, _, ok := strings.Cut(block, "```\n")
	if !ok {
		t.Fatal("README.md has no program")
	}
	_, program, _ := strings.Cut(string(source), "\npackage linuxblock_test\n")
	if block != "package main\n"+program {
		t.Errorf("the program of README.md is not the one that is tested:\n%s", block)
	}
}

// On the double: what people without root get to see.
func TestReadmeProgramRuns(t *testing.T) {
	kernel := dmtest.New()
	kernel.AddDisk("/dev/vdb", 253, 16, 8192)
	if err := run(t.Context(), "/dev/vdb", dm.WithTransport(kernel.Transport())); err != nil {
		t.Fatal(err)
	}
	// A device that is not there is told so.
	err := run(t.Context(), "/dev/vdc", dm.WithTransport(kernel.Transport()))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	list(t, dm.WithTransport(kernel.Transport()))
}

// On the kernel itself.
func TestReadmeProgramInVM(t *testing.T) {
	vmtest.Require(t, "dm-mod")
	if err := run(t.Context(), vmtest.RAMDisk(t)); err != nil {
		t.Fatal(err)
	}
	list(t)
}

// list checks that the program left nothing behind.
func list(t *testing.T, opts ...dm.Option) {
	t.Helper()
	c, err := dm.Open(context.Background(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	entries, err := c.List(t.Context(), dm.ListOptions{NamePrefix: "demo"})
	if err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
