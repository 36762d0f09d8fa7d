// SPDX-License-Identifier: MIT

package dmraid_test

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/linuxblock/linuxblock/dmraid"
)

// recordedBlock reads a file of testdata/sb.
func recordedBlock(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "sb", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// recordedNames lists the files of testdata/sb with a suffix, without it.
func recordedNames(t testing.TB, suffix string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "sb", "*"+suffix+".hex"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no fixtures", err)
	}
	var names []string
	for _, p := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(p), ".hex"))
	}
	return names
}

// tableOf reads a recorded table line.
func tableOf(t testing.TB, line string) (dmraid.Table, dmraid.Sectors) {
	t.Helper()
	var start, length dmraid.Sectors
	if _, err := fmt.Sscan(line, (*uint64)(&start), (*uint64)(&length)); err != nil {
		t.Fatal(line, err)
	}
	_, params, ok := strings.Cut(line, " raid ")
	if !ok {
		t.Fatalf("no table: %q", line)
	}
	target, err := dmraid.Parse(params)
	if err != nil {
		t.Fatal(line, err)
	}
	return target.(dmraid.Table), length
}

// situationOf describes legs of which all have the same on their metadata
// devices: "none", "fresh", "clean", "dirty" (synced up to the offset).
func situationOf(t testing.TB, table dmraid.Table, length dmraid.Sectors, meta string, synced dmraid.Sectors) dmraid.Situation {
	t.Helper()
	s := dmraid.Situation{Table: table, Length: length, Legs: make([]dmraid.LegFound, len(table.Legs))}
	if meta == "none" {
		return s
	}
	for i := range s.Legs {
		s.Legs[i].Meta = dmraid.MetaFresh
	}
	if meta == "fresh" {
		return s
	}
	// What a kernel leaves of a new array that it synced.
	plain := table
	plain.Sync, plain.Rebuild = dmraid.SyncDefault, nil
	s.Table = plain
	made, err := dmraid.KernelState(dmraid.Linux61, s)
	if err != nil {
		t.Fatalf("making superblocks: %v", err)
	}
	s.Table = table
	for i := range s.Legs {
		super := *made.Legs[i].Super
		super.Events = 0x11
		super.ArrayResync = dmraid.MaxSector
		if meta == "dirty" {
			super.ArrayResync = synced
		}
		s.Legs[i].Meta, s.Legs[i].Super = dmraid.MetaValid, super
	}
	return s
}

// superCase is a CASE of a recording: its lines by their first word.
type superCase struct {
	name  string
	lines map[string][]string
	all   []string
}

func superCases(t testing.TB, file, prefix string) []superCase {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []superCase
	in := false
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		line := scan.Text()
		word, rest, _ := strings.Cut(line, " ")
		if word == "CASE" || strings.HasPrefix(line, "#####") {
			if in = strings.HasPrefix(line, "CASE "+prefix); in {
				list = append(list, superCase{name: rest, lines: map[string][]string{}})
			}
			continue
		}
		if in {
			c := &list[len(list)-1]
			c.lines[word] = append(c.lines[word], rest)
			c.all = append(c.all, line)
		}
	}
	if err := scan.Err(); err != nil || len(list) == 0 {
		t.Fatal(file, "has no cases", err)
	}
	return list
}

// metaOf and optionsOf read "raid1 meta=fresh opt=[rebuild 1]".
func metaOf(name string) string {
	_, rest, _ := strings.Cut(name, "meta=")
	word, _, _ := strings.Cut(rest, " ")
	return word
}

func optionsOf(name string) string {
	_, rest, _ := strings.Cut(name, "opt=[")
	return strings.TrimSuffix(rest, "]")
}

// sameError compares a refusal with the kernel's: "text (-EINVAL)".
func sameError(err error, want string) error {
	var e *dmraid.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("got %v, want %q", err, want)
	}
	name := map[int]string{1: "EPERM", 5: "EIO", 22: "EINVAL", 28: "ENOSPC"}[int(e.Code)]
	if got := fmt.Sprintf("%s (-%s)", e.Detail, name); got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}
