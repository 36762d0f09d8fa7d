// SPDX-License-Identifier: MIT

package archtest

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Finding is a place where the tree breaks a rule.
type Finding struct {
	File string // slash-separated, relative to the module
	Line int    // 0 when it is about the whole file
	Text string
}

// String prints "file:line: text".
func (f Finding) String() string {
	if f.Line == 0 {
		return f.File + ": " + f.Text
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
}

// Tree is a module's source tree, read and parsed.
type Tree struct {
	Module string // its path, from go.mod
	GoMod  []byte
	Go     []*goFile
	Text   []textFile // everything that people write, Go files too
	Native []string   // files that would need a C compiler or an assembler
}

type textFile struct {
	Name string
	Data []byte
}

type goFile struct {
	Name    string // path
	Package string // folder, "." for the root
	Data    []byte
	AST     *ast.File
	fset    *token.FileSet
}

func (f *goFile) isTest() bool { return strings.HasSuffix(f.Name, "_test.go") }

func (f *goFile) line(n ast.Node) int { return f.fset.Position(n.Pos()).Line }

func (f *goFile) find(n ast.Node, format string, args ...any) Finding {
	return Finding{File: f.Name, Line: f.line(n), Text: fmt.Sprintf(format, args...)}
}

// importOf is the path of an import.
func importOf(s *ast.ImportSpec) string {
	p, err := strconv.Unquote(s.Path.Value)
	if err != nil {
		return s.Path.Value
	}
	return p
}

// Load reads the tree below the root of fsys.
func Load(fsys fs.FS) (*Tree, error) {
	t := &Tree{}
	var err error
	if t.GoMod, err = fs.ReadFile(fsys, "go.mod"); err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(t.GoMod)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "module" {
			t.Module = f[1]
		}
	}
	if t.Module == "" {
		return nil, errors.New("go.mod names no module")
	}
	fset := token.NewFileSet()
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		// Somebody may be working in the tree: what is gone is no error.
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.Type().IsRegular():
			return t.add(fsys, fset, name)
		}
		return nil
	})
	return t, err
}

func (t *Tree) add(fsys fs.FS, fset *token.FileSet, name string) error {
	switch path.Ext(name) {
	case ".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".s", ".S", ".sx", ".swig", ".syso", ".m", ".f":
		t.Native = append(t.Native, name)
		return nil
	}
	isGo := path.Ext(name) == ".go"
	if !isGo && !isProse(name) {
		return nil
	}
	data, err := fs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	t.Text = append(t.Text, textFile{Name: name, Data: data})
	if !isGo {
		return nil
	}
	file, err := parser.ParseFile(fset, name, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.Go = append(t.Go, &goFile{Name: name, Package: path.Dir(name), Data: data, AST: file, fset: fset})
	return nil
}

// isProse reports whether a file beside the Go files was written by hand:
// documents, scripts, configuration. Recordings are what they are.
func isProse(name string) bool {
	switch path.Ext(name) {
	case ".md", ".mod", ".sh", ".yml", ".yaml", ".toml":
		return true
	}
	return strings.HasPrefix(path.Base(name), ".") || strings.HasPrefix(name, ".")
}

// packages groups the Go files by their folder, in order.
func (t *Tree) packages() (names []string, files map[string][]*goFile) {
	files = make(map[string][]*goFile)
	for _, f := range t.Go {
		files[f.Package] = append(files[f.Package], f)
	}
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, files
}

// within gives the package of this module that an import path means.
func (t *Tree) within(importPath string) (pkg string, ok bool) {
	if importPath == t.Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, t.Module+"/")
}

// matches reports whether a package is the one of a pattern, or with "/..."
// below it.
func matches(pattern, pkg string) bool {
	base, deep := strings.CutSuffix(pattern, "/...")
	return base == pkg || deep && (base == "." || strings.HasPrefix(pkg, base+"/"))
}

func matchesAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, pkg) })
}

func with(list []string, more ...string) []string { return slices.Concat(list, more) }

func words(s string) []string { return strings.Fields(s) }

// lines counts as an editor does: a last line without a newline is one.
func lines(data []byte) int {
	n := bytes.Count(data, []byte("\n"))
	if len(data) > 0 && data[len(data)-1] != '\n' {
		n++
	}
	return n
}
