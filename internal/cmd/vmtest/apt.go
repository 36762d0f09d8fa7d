// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// aptRoot is a private apt configuration for one Debian suite, in the user's
// cache folder. apt does what it is good at there, fetching with signatures
// checked and working out dependencies, and nothing of the machine changes:
// no root, no dpkg database, any suite.
type aptRoot struct {
	dir   string
	suite string
	log   *tracer
}

// openApt prepares the root for a suite. Lists are fetched the first time and
// with refresh.
func openApt(ctx context.Context, cache, suite, mirror string, refresh bool, log *tracer) (*aptRoot, error) {
	for _, tool := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is needed to fetch Debian's kernel and tools; on a system without it use -kernel <folder> -tools none", tool)
		}
	}
	a := &aptRoot{dir: filepath.Join(cache, "apt", suite), suite: suite, log: log}
	archive := findArchive("/", mirror)
	if archive.main == "" {
		return nil, errors.New("apt's configuration names no Debian archive: give one with -mirror")
	}
	if _, err := os.Stat(archive.keyring); err != nil {
		return nil, fmt.Errorf("the keys of the Debian archive are missing (%w): install the package debian-archive-keyring", err)
	}
	for _, d := range []string{"lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	sources := sourcesFor(suite, archive)
	old, _ := os.ReadFile(a.path("sources.list"))
	if string(old) != sources {
		refresh = true
	}
	for name, text := range map[string]string{"sources.list": sources, "apt.conf": a.config(), "status": ""} {
		if err := os.WriteFile(a.path(name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	if a.generation() == "" || refresh {
		if err := a.update(ctx); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *aptRoot) path(name string) string { return filepath.Join(a.dir, name) }

// sourcesFor returns the sources.list for a suite. sid has neither updates
// nor a security suite; for the others, the security suite often has the
// newest kernel.
func sourcesFor(suite string, a debianArchive) string {
	line := func(uri, suite string) string {
		return fmt.Sprintf("deb [signed-by=%s] %s %s main\n", a.keyring, uri, suite)
	}
	s := line(a.main, suite)
	if suite != "sid" && suite != "unstable" {
		s += line(a.main, suite+"-updates") + line(a.security, suite+"-security")
	}
	return s
}

// config returns the apt.conf. It is given with -c, read after the machine's
// own files: their proxy settings stay, their hooks go.
func (a *aptRoot) config() string {
	return fmt.Sprintf(`Dir::State %q;
Dir::State::status %q;
Dir::State::lists %q;
Dir::Cache %q;
Dir::Etc::sourcelist %q;
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "amd64";
#clear APT::Architectures;
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
// The sandbox user could not read a folder below someone's home.
APT::Sandbox::User "root";
// One vmtest at a time holds a lock of its own.
Debug::NoLocking "true";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
`, a.dir, a.path("status"), a.path("lists"), a.path("cache"), a.path("sources.list"))
}

func (a *aptRoot) run(ctx context.Context, dir, tool string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, tool, append([]string{"-c", a.path("apt.conf")}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s (suite %s): %w\n%s", tool, strings.Join(args, " "), a.suite, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

func (a *aptRoot) update(ctx context.Context) error {
	defer a.log.step("fetch the package lists of %s", a.suite)()
	// Without this, apt-get update prints failures as warnings and returns 0,
	// and what is fetched afterwards would be from old lists.
	if _, err := a.run(ctx, a.dir, "apt-get", "-o", "APT::Update::Error-Mode=any", "update"); err != nil {
		return err
	}
	return os.WriteFile(a.path("updated"), []byte(time.Now().UTC().Format(time.RFC3339Nano)), 0o644)
}

// generation identifies the lists; it is empty if there are none.
func (a *aptRoot) generation() string {
	data, _ := os.ReadFile(a.path("updated"))
	return string(data)
}

// debPackage is a package of the suite.
type debPackage struct{ Name, Version, File string }

// solve returns the packages that installing names in an empty system would
// install. It asks apt only once for the same lists.
func (a *aptRoot) solve(ctx context.Context, names []string) ([]debPackage, error) {
	key := hashOf(append([]string{a.generation()}, names...)...)
	file := a.path("solution-" + key + ".json")
	var list []debPackage
	if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &list) == nil {
		return list, nil
	}
	defer a.log.step("resolve %s in %s", strings.Join(names, " "), a.suite)()
	out, err := a.run(ctx, a.dir, "apt-get", append([]string{"-y", "-qq", "--no-install-recommends", "--print-uris", "install"}, names...)...)
	if err != nil {
		return nil, err
	}
	list = parseURIs(string(out))
	if len(list) == 0 {
		return nil, fmt.Errorf("apt resolved %s in %s to nothing", strings.Join(names, " "), a.suite)
	}
	if data, err := json.Marshal(list); err == nil {
		_ = os.WriteFile(file, data, 0o644)
	}
	return list, nil
}

// parseURIs reads the lines of apt-get --print-uris: 'uri' file size hash,
// where file is name_version_architecture.deb with ':' as %3a.
func parseURIs(out string) []debPackage {
	var list []debPackage
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 3 || !strings.HasPrefix(f[0], "'") || !strings.HasSuffix(f[1], ".deb") {
			continue
		}
		parts := strings.Split(f[1], "_")
		if len(parts) != 3 {
			continue
		}
		list = append(list, debPackage{Name: parts[0], Version: strings.ReplaceAll(parts[1], "%3a", ":"), File: f[1]})
	}
	return list
}

// errStale means that the lists name files that are gone from the mirror.
var errStale = errors.New("the package lists are out of date: run again with -refresh")

// fetch downloads packages and returns their paths, in order. apt checks
// their hashes against the signed lists.
func (a *aptRoot) fetch(ctx context.Context, list []debPackage) ([]string, error) {
	var want, paths []string
	for _, p := range list {
		paths = append(paths, a.path("debs/"+p.File))
		if _, err := os.Stat(a.path("debs/" + p.File)); err != nil {
			want = append(want, p.Name+"="+p.Version)
		}
	}
	if len(want) == 0 {
		return paths, nil
	}
	defer a.log.step("download %d packages of %s", len(want), a.suite)()
	// Into a folder of its own first: what lies in debs is complete.
	tmp, err := os.MkdirTemp(a.dir, "download-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	for batch := range slices.Chunk(want, 100) {
		if _, err := a.run(ctx, tmp, "apt-get", append([]string{"-qq", "download"}, batch...)...); err != nil {
			if strings.Contains(err.Error(), "404") || strings.Contains(err.Error(), "was not found") {
				err = fmt.Errorf("%w\n%w", errStale, err)
			}
			return nil, err
		}
	}
	files, err := os.ReadDir(tmp)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := os.Rename(filepath.Join(tmp, f.Name()), a.path("debs/"+f.Name())); err != nil {
			return nil, err
		}
	}
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return nil, fmt.Errorf("apt-get download left out a package: %w", err)
		}
	}
	return paths, nil
}

func hashOf(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return hex.EncodeToString(sum[:8])
}
