// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// testPackage is a package that was asked for.
type testPackage struct {
	ImportPath string
	Dir        string
	Binary     string // path on the host; empty without tests or if it did not build
	NoTests    bool
	Failed     string // "[build failed]" or "[setup failed]"
}

// listedPackage is the part of go list's output that is used here.
type listedPackage struct {
	ImportPath, Dir           string
	TestGoFiles, XTestGoFiles []string
	Module                    *struct{ Path, Dir string }
	Error                     *struct{ Err string }
}

// builder runs the go command for the VM's system.
type builder struct {
	o      *options
	stderr io.Writer
	log    *tracer
}

func (b *builder) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	cmd.Stderr = b.stderr
	return cmd
}

// list resolves the package patterns, and returns the module's root as well.
func (b *builder) list(ctx context.Context) ([]testPackage, string, error) {
	args := append([]string{"list", "-e", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles,Module,Error"}, b.listFlags()...)
	cmd := b.command(ctx, append(append(args, "--"), b.o.packages...)...)
	out, err := cmd.Output()
	if err != nil {
		return nil, "", fmt.Errorf("go list: %w", err)
	}
	var list []testPackage
	root := ""
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, "", fmt.Errorf("go list: %w", err)
		}
		t := testPackage{ImportPath: p.ImportPath, Dir: p.Dir}
		switch {
		case p.Error != nil:
			fmt.Fprintf(b.stderr, "# %s\n%s\n", p.ImportPath, p.Error.Err)
			t.Failed = "[setup failed]"
		case p.Module == nil:
			return nil, "", fmt.Errorf("%s is not part of a module", p.ImportPath)
		case root != "" && root != p.Module.Dir:
			return nil, "", fmt.Errorf("%s is of another module than the other packages; run them one after the other", p.ImportPath)
		default:
			root = p.Module.Dir
			t.NoTests = len(p.TestGoFiles)+len(p.XTestGoFiles) == 0
		}
		list = append(list, t)
	}
	if len(list) == 0 {
		return nil, "", errors.New("no packages to test")
	}
	return list, root, nil
}

// listFlags returns the build flags that go list also wants.
func (b *builder) listFlags() []string {
	return slices.DeleteFunc(slices.Clone(b.o.buildFlags), func(f string) bool {
		return strings.HasPrefix(f, "-p=") || f == "-a=true"
	})
}

// build makes a static test binary of each package below dir and fills in
// Binary or Failed. Like go test it goes on after a package that does not
// compile; unlike it, it does not run vet.
func (b *builder) build(ctx context.Context, list []testPackage, dir string) error {
	defer b.log.step("build %d packages", len(list))()
	flags := slices.Clone(b.o.buildFlags)
	if !slices.ContainsFunc(flags, func(f string) bool { return strings.HasPrefix(f, "-ldflags=") }) {
		// Without debug information, a third smaller; stacks keep their lines.
		flags = append(flags, "-ldflags=-s -w")
	}
	// One go test -c can make many binaries, but it names them by the last
	// element of the import path only.
	var batches []map[string]int
	for i, p := range list {
		if p.NoTests || p.Failed != "" {
			continue
		}
		name := path.Base(p.ImportPath)
		n := slices.IndexFunc(batches, func(m map[string]int) bool { _, taken := m[name]; return !taken })
		if n < 0 {
			n = len(batches)
			batches = append(batches, make(map[string]int))
		}
		batches[n][name] = i
	}
	for n, batch := range batches {
		out := filepath.Join(dir, fmt.Sprint(n))
		if err := os.MkdirAll(out, 0o755); err != nil {
			return err
		}
		args := append([]string{"test", "-c", "-o", out + string(filepath.Separator)}, flags...)
		var paths []string
		for _, i := range batch {
			paths = append(paths, list[i].ImportPath)
		}
		slices.Sort(paths)
		cmd := b.command(ctx, append(args, paths...)...)
		cmd.Stdout = io.Discard // "? pkg [no test files]"
		err := cmd.Run()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for name, i := range batch {
			binary := filepath.Join(out, name+".test")
			if _, serr := os.Stat(binary); serr == nil {
				list[i].Binary = binary
			} else if err != nil {
				list[i].Failed = "[build failed]"
			} else {
				return fmt.Errorf("go test -c made no binary for %s", list[i].ImportPath)
			}
		}
	}
	return nil
}

// guest builds the program that is init inside.
func (b *builder) guest(ctx context.Context, out string) error {
	defer b.log.step("build the VM's init")()
	cmd := b.command(ctx, "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", out,
		"github.com/linuxblock/linuxblock/internal/cmd/vmtest/guest")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building the VM's init: %w", err)
	}
	return nil
}
