// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options is the command line, taken apart.
type options struct {
	// Of vmtest itself.
	kernel     string // a suite or a directory
	suite      string // the tools' suite; that of the kernel unless it is a directory
	mirror     string
	tools      []string
	modules    []string // besides the default ones
	memory     int64    // bytes
	disk       int64    // bytes
	ramDisks   int
	ramSize    int64
	vmTimeout  time.Duration
	accel      string
	cpus       int
	peers      int
	shell      bool
	refresh    bool
	allowSkips bool
	keep       bool
	append     string // to the kernel's command line
	trace      bool   // say what is done and how long it takes

	// Of go test, those that this program needs to know.
	json, verbose, short, failFast bool
	bench, list                    string
	timeout                        time.Duration
	timeoutSet                     bool

	buildFlags []string // for go list and go test -c
	testFlags  []string // for the test binaries, as -test.x=y
	packages   []string
	binaryArgs []string // behind -args
}

const (
	defaultTools   = "dmsetup,lvm2,udev,e2fsprogs"
	defaultTimeout = 10 * time.Minute
)

// errUsage means that the flag package has printed what is wrong.
var errUsage = errors.New("usage")

// parseArgs takes the command line apart. Flags of vmtest, flags of go test
// and packages may come in any order; everything behind -args belongs to the
// test binaries.
func parseArgs(args []string, stderr io.Writer) (*options, error) {
	o := &options{vmTimeout: defaultTimeout, timeout: defaultTimeout}
	fset := flag.NewFlagSet("vmtest", flag.ContinueOnError)
	fset.SetOutput(stderr)
	fset.Usage = func() {
		fmt.Fprint(stderr, "usage: vmtest [vmtest flags] [go test flags] [packages] [-args arguments of the test binaries]\n\n")
		fset.PrintDefaults()
	}
	tools := defaultTools
	var modules string
	memory, disk, ramSize := size(2<<30), size(256<<20), size(32<<20)
	fset.StringVar(&o.kernel, "kernel", "bookworm", "Debian suite whose `kernel` is booted (bullseye, bookworm, trixie, sid), or a directory with a kernel and its modules")
	fset.StringVar(&o.suite, "suite", "", "Debian `suite` of the tools; needed only if -kernel is a directory (default bookworm)")
	fset.StringVar(&o.mirror, "mirror", "", "base `URL` of a Debian mirror (default: the one in this machine's apt configuration)")
	fset.StringVar(&tools, "tools", defaultTools, "comma-separated Debian `packages` inside, with what they depend on; a leading + adds to the default, \"none\" is none")
	fset.StringVar(&modules, "modules", "", "comma-separated kernel `modules` inside besides the default set, or \"all\"")
	fset.Var(&memory, "memory", "`size` of the VM's memory")
	fset.Var(&disk, "disk", "`size` of the disk /dev/vda, 0 for none")
	fset.IntVar(&o.ramDisks, "ram-disks", 12, "`number` of RAM disks /dev/ram0...")
	fset.Var(&ramSize, "ram-disk-size", "`size` of each RAM disk")
	fset.DurationVar(&o.vmTimeout, "vm-timeout", defaultTimeout, "`time` that the VM may run, all packages together; 0 is no limit")
	fset.StringVar(&o.accel, "accel", "auto", "how the VM runs: kvm, tcg (software emulation), or auto: kvm if a short boot proves that it works")
	fset.IntVar(&o.cpus, "cpus", 2, "`number` of CPUs of the VM")
	fset.IntVar(&o.peers, "peers", 1, "`number` of VMs; 2 are joined by a network, and both run the packages")
	fset.BoolVar(&o.shell, "shell", false, "run a shell on the VM's console instead of the tests")
	fset.BoolVar(&o.refresh, "refresh", false, "fetch the package lists again, and with them newer kernels and tools")
	fset.BoolVar(&o.allowSkips, "allow-skips", false, "do not fail because a test was skipped inside the VM")
	fset.BoolVar(&o.keep, "keep", false, "keep the folder with the initramfs, the console's log and the disk, and say where it is")
	fset.StringVar(&o.append, "append", "", "more `words` for the kernel's command line")
	fset.BoolVar(&o.trace, "x", false, "say what is done and how long it takes")

	test := func(name, kind, usage string) {
		fset.Var(&testFlag{o: o, name: name, kind: kind}, name, "go test: "+usage)
	}
	test("run", "", "run only tests that match `regexp`")
	test("skip", "", "do not run tests that match `regexp`")
	test("bench", "", "run benchmarks that match `regexp`")
	test("benchtime", "", "`time` or count (Nx) of each benchmark")
	test("benchmem", "bool", "print allocations of benchmarks")
	test("count", "int", "run everything `n` times")
	test("cpu", "", "comma-separated `list` of GOMAXPROCS")
	test("parallel", "int", "`n` tests in parallel")
	test("shuffle", "", "`on`, off or a seed")
	test("short", "bool", "tell long tests to shorten their run time")
	test("failfast", "bool", "stop after the first failure, in this package and in the others")
	test("timeout", "duration", "`time` that one package may take")
	test("fullpath", "bool", "print full file names")
	test("list", "", "list tests that match `regexp` instead of running them")
	test("v", "bool", "print all output as it comes")
	test("json", "bool", "print test2json's events")
	for _, name := range []string{"tags", "gcflags", "asmflags", "ldflags", "mod", "modfile", "overlay", "p"} {
		fset.Var(&buildFlag{o: o, name: name}, name, "go build: as there (`value`)")
	}
	for _, name := range []string{"trimpath", "a"} {
		fset.Var(&buildFlag{o: o, name: name, isBool: true}, name, "go build: as there")
	}

	if i := slices.IndexFunc(args, func(a string) bool { return a == "-args" || a == "--args" }); i >= 0 {
		o.binaryArgs = args[i+1:]
		args = args[:i]
	}
	for len(args) > 0 {
		if err := unsupportedFlag(args[0]); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(args[0], "-") {
			o.packages = append(o.packages, args[0])
			args = args[1:]
			continue
		}
		// One flag at a time, to look at the next argument before the flag
		// package does.
		n := 1
		if f := fset.Lookup(strings.TrimLeft(args[0], "-")); f != nil && !isBool(f.Value) && len(args) > 1 {
			n = 2
		}
		if err := fset.Parse(args[:n]); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, errUsage
		}
		args = args[n:]
	}
	o.memory, o.disk, o.ramSize = int64(memory), int64(disk), int64(ramSize)
	o.tools = splitTools(tools)
	o.modules = splitList(modules)
	if len(o.packages) == 0 {
		o.packages = []string{"."}
	}
	return o, o.check()
}

func (o *options) check() error {
	switch {
	case !slices.Contains([]string{"auto", "kvm", "tcg"}, o.accel):
		return fmt.Errorf("-accel %s: want auto, kvm or tcg", o.accel)
	case o.peers != 1 && o.peers != 2:
		return fmt.Errorf("-peers %d: want 1 or 2", o.peers)
	case o.shell && o.peers != 1:
		return errors.New("-shell needs the console for itself: not with -peers")
	case o.memory < 512<<20:
		return errors.New("-memory: the initramfs alone wants 512M")
	case o.cpus < 1:
		return fmt.Errorf("-cpus %d: want 1 or more", o.cpus)
	case o.ramDisks < 0 || o.ramSize%4096 != 0:
		return errors.New("-ram-disks, -ram-disk-size: want a number, and a multiple of 4096")
	case o.disk%512 != 0:
		return errors.New("-disk: want a multiple of 512")
	}
	return nil
}

// unsupportedFlag explains the flags of go test that cannot work here.
func unsupportedFlag(arg string) error {
	if !strings.HasPrefix(arg, "-") {
		return nil
	}
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	switch strings.TrimPrefix(name, "test.") {
	case "fuzz", "fuzztime", "fuzzminimizetime", "test.fuzzcachedir":
		return fmt.Errorf("-%s: fuzzing is not supported in the VM: what it finds would be lost with it. Seeds of fuzz targets run as tests", name)
	case "race", "msan", "asan":
		return fmt.Errorf("-%s: needs cgo, and the test binaries are static; run it outside with go test", name)
	case "cover", "covermode", "coverpkg", "coverprofile", "cpuprofile", "memprofile", "blockprofile", "mutexprofile", "trace", "outputdir":
		return fmt.Errorf("-%s: not supported: files that a test binary writes stay in the VM", name)
	case "c", "o", "exec", "i", "n", "work", "vet":
		return fmt.Errorf("-%s: not supported in the VM; see go test -c for the binaries alone", name)
	}
	return nil
}

// testFlag is a flag of go test that goes to the test binaries, or changes
// what is printed, or both.
type testFlag struct {
	o          *options
	name, kind string
}

func isBool(v flag.Value) bool {
	b, ok := v.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

func (f *testFlag) String() string   { return "" }
func (f *testFlag) IsBoolFlag() bool { return f.kind == "bool" }

func (f *testFlag) Set(s string) error {
	var on bool
	switch f.kind {
	case "bool":
		v, err := strconv.ParseBool(s)
		if err != nil {
			return err
		}
		on = v
	case "int":
		if _, err := strconv.Atoi(s); err != nil {
			return err
		}
	}
	switch f.name {
	case "v":
		f.o.verbose = on
		return nil // always on inside, see report.go
	case "json":
		f.o.json = on
		return nil
	case "timeout":
		d, err := time.ParseDuration(s)
		if err != nil {
			return err
		}
		f.o.timeout, f.o.timeoutSet = d, true
		return nil // init adds it: it must end before the VM does
	case "short":
		f.o.short = on
	case "failfast":
		f.o.failFast = on
	case "bench":
		f.o.bench = s
	case "list":
		f.o.list = s
	}
	f.o.testFlags = append(f.o.testFlags, "-test."+f.name+"="+s)
	return nil
}

type buildFlag struct {
	o      *options
	name   string
	isBool bool
}

func (f *buildFlag) String() string   { return "" }
func (f *buildFlag) IsBoolFlag() bool { return f.isBool }
func (f *buildFlag) Set(s string) error {
	f.o.buildFlags = append(f.o.buildFlags, "-"+f.name+"="+s)
	return nil
}

// size is a number of bytes with an optional suffix K, M or G.
type size int64

func (z *size) String() string { return formatSize(int64(*z)) }

func (z *size) Set(s string) error {
	digits := strings.TrimRight(strings.ToUpper(s), "KMGIB")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return err
	}
	shift := 0
	switch strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(s[len(digits):]), "B"), "I") {
	case "":
	case "K":
		shift = 10
	case "M":
		shift = 20
	case "G":
		shift = 30
	default:
		return fmt.Errorf("unknown unit in %q", s)
	}
	if n < 0 || n > 1<<40 {
		return fmt.Errorf("%q is out of range", s)
	}
	*z = size(n << shift)
	return nil
}

func formatSize(n int64) string {
	for _, u := range []struct {
		shift int
		name  string
	}{{30, "G"}, {20, "M"}, {10, "K"}} {
		if n != 0 && n%(1<<u.shift) == 0 {
			return strconv.FormatInt(n>>u.shift, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

func splitList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// splitTools reads -tools: a leading + means the default and more.
func splitTools(s string) []string {
	if s == "none" {
		return nil
	}
	if more, ok := strings.CutPrefix(s, "+"); ok {
		s = defaultTools + "," + more
	}
	list := splitList(s)
	slices.Sort(list)
	return slices.Compact(list)
}
