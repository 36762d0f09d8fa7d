// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseArgs(t *testing.T) {
	o, err := parseArgs(strings.Fields("-kernel trixie -v -run TestX|TestY ./dm -count=2 -timeout 90s ./lvm -short -bench . "+
		"-tags a,b -disk 1G -memory=3G -tools +drbd-utils -vm-timeout 0 -args -long -v"), new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("%s is wrong in %+v", what, o)
		}
	}
	check("kernel", o.kernel == "trixie")
	check("packages", slices.Equal(o.packages, []string{"./dm", "./lvm"}))
	check("test flags", slices.Equal(o.testFlags, []string{"-test.run=TestX|TestY", "-test.count=2", "-test.short=true", "-test.bench=."}))
	check("build flags", slices.Equal(o.buildFlags, []string{"-tags=a,b"}))
	check("arguments of the binaries", slices.Equal(o.binaryArgs, []string{"-long", "-v"}))
	check("booleans", o.verbose && o.short && !o.json && !o.failFast)
	check("timeouts", o.timeout == 90*time.Second && o.vmTimeout == 0)
	check("sizes", o.disk == 1<<30 && o.memory == 3<<30 && o.ramSize == 32<<20)
	check("tools", slices.Equal(o.tools, []string{"dmsetup", "drbd-utils", "e2fsprogs", "lvm2", "udev"}))
	if o, err = parseArgs(nil, new(bytes.Buffer)); err != nil || !slices.Equal(o.packages, []string{"."}) {
		t.Errorf("no arguments: %+v, %v", o, err)
	}
	if o, err = parseArgs([]string{"-tools", "none"}, new(bytes.Buffer)); err != nil || len(o.tools) != 0 {
		t.Errorf("-tools none: %+v, %v", o.tools, err)
	}
}

func TestParseArgsRejects(t *testing.T) {
	for _, args := range []string{
		"-race", "-fuzz=F", "-coverprofile x", "-test.fuzz F", "-accel fast", "-peers 3", "-peers 2 -shell", "-memory 1M", "-memory x",
		"-count x", "-bogus", "-timeout 5", "-run", "-disk 100", "-ram-disk-size 1000", "-cpus 0", "-memory 5Q",
	} {
		if _, err := parseArgs(strings.Fields(args), new(bytes.Buffer)); err == nil {
			t.Errorf("no error for %s", args)
		}
	}
	var b bytes.Buffer
	if _, err := parseArgs([]string{"-h"}, &b); !errors.Is(err, flag.ErrHelp) || !strings.Contains(b.String(), "usage:") {
		t.Errorf("-h: %v, %q", err, b.String())
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "512": 512, "4K": 4096, "32M": 32 << 20, "2GiB": 2 << 30, "1g": 1 << 30, "3kb": 3072} {
		var z size
		if err := z.Set(in); err != nil || int64(z) != want {
			t.Errorf("%s: %d, %v; want %d", in, z, err, want)
		}
	}
	for _, n := range []int64{0, 1, 1024, 32 << 20, 2 << 30} {
		var z size
		if err := z.Set(formatSize(n)); err != nil || int64(z) != n {
			t.Errorf("%d: %s reads as %d, %v", n, formatSize(n), z, err)
		}
	}
}
