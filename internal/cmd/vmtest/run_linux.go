// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/linuxblock/linuxblock/internal/cmd/vmtest/wire"
)

// isolate keeps Ctrl-C away from a helper process: vmtest ends it.
func isolate(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// run is the whole program behind the command line; it returns the exit
// status.
func run(o *options) int {
	log := &tracer{w: os.Stderr, verbose: o.trace}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	dieWithGoRun()
	s := &session{o: o, log: log}
	failed, err := s.run(ctx)
	s.cleanUp()
	if ctx.Err() != nil {
		log.say("interrupted")
		return exitError
	}
	if err != nil {
		log.say("%v", err)
		return exitError
	}
	if failed {
		return exitFailed
	}
	return exitOK
}

// dieWithGoRun makes this process end with its parent if that is "go run",
// which does not pass SIGTERM on.
func dieWithGoRun() {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", os.Getppid()))
	if err == nil && filepath.Base(exe) == "go" {
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0)
	}
}

// session is one run.
type session struct {
	o     *options
	log   *tracer
	cache string
	dir   string // temporary
	list  []testPackage
	root  string // of the module
	guest string

	kernel *kernel
	tools  string
	accel  string
	lock   *os.File
}

func (s *session) cleanUp() {
	if s.lock != nil {
		s.lock.Close()
	}
	if s.dir == "" {
		return
	}
	if s.o.keep {
		kept := strings.Replace(s.dir, "vmtest-", "vmtest-kept-", 1)
		if err := os.Rename(s.dir, kept); err != nil {
			kept = s.dir
		}
		s.log.say("kept %s", kept)
		return
	}
	_ = os.RemoveAll(s.dir)
}

func (s *session) run(ctx context.Context) (failed bool, err error) {
	if s.cache, err = cacheDir(); err != nil {
		return false, err
	}
	removeStale()
	if s.dir, err = os.MkdirTemp("", fmt.Sprintf("vmtest-%d-", os.Getpid())); err != nil {
		return false, err
	}
	b := &builder{o: s.o, stderr: os.Stderr, log: s.log}
	if s.list, s.root, err = b.list(ctx); err != nil {
		return false, err
	}
	s.guest = filepath.Join(s.dir, "guest")
	if err := b.guest(ctx, s.guest); err != nil {
		return false, err
	}
	if err := b.build(ctx, s.list, filepath.Join(s.dir, "bin")); err != nil {
		return false, err
	}
	if !s.o.shell && !slices.ContainsFunc(s.list, func(p testPackage) bool { return p.Binary != "" }) {
		// Nothing to boot for.
		r := newReporter(s.o, os.Stdout, new(sync.Mutex), "", s.list)
		r.upTo(len(s.list), "")
		return r.failed, nil
	}
	if err := findQEMU(ctx, s.log); err != nil {
		return false, err
	}
	if err := s.takeLock(ctx); err != nil {
		return false, err
	}
	if err := s.prepare(ctx); err != nil {
		return false, err
	}
	return s.boot(ctx)
}

// removeStale removes the temporary folders of runs that were killed: each
// has an initramfs of a hundred megabytes. Those that -keep kept are called
// otherwise.
func removeStale() {
	found, _ := filepath.Glob(filepath.Join(os.TempDir(), "vmtest-*-*"))
	for _, dir := range found {
		var pid int
		var rest string
		if n, _ := fmt.Sscanf(filepath.Base(dir), "vmtest-%d-%s", &pid, &rest); n != 2 {
			continue
		}
		if err := unix.Kill(pid, 0); errors.Is(err, unix.ESRCH) {
			_ = os.RemoveAll(dir)
		}
	}
}

// cacheDir returns the folder for everything that is worth keeping.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "linuxblock", "vmtest")
	return dir, os.MkdirAll(dir, 0o755)
}

// takeLock waits until no other vmtest runs: emulated VMs next to each other
// starve each other's timers, and the cache has one writer then. The kernel
// releases the lock when this process ends, however it does.
func (s *session) takeLock(ctx context.Context) error {
	f, err := os.OpenFile(filepath.Join(s.cache, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	s.lock = f
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(f.Name())
		s.log.say("waiting for another vmtest to end (process %s)", strings.TrimSpace(string(holder)))
		// The kernel wakes those who wait in the order in which they came;
		// asking again and again would be a lottery.
		got := make(chan error, 1)
		go func() { got <- waitLock(int(f.Fd())) }()
		select {
		case err := <-got:
			if err != nil {
				return fmt.Errorf("lock %s: %w", f.Name(), err)
			}
		case <-ctx.Done():
			return ctx.Err() // and the process ends
		}
	}
	_ = f.Truncate(0)
	_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return nil
}

func waitLock(fd int) error {
	for {
		if err := unix.Flock(fd, unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// prepare gets kernel and tools, from the cache if it can.
func (s *session) prepare(ctx context.Context) error {
	suite := s.o.suite
	fromDir := strings.ContainsRune(s.o.kernel, filepath.Separator) || s.o.kernel == "."
	if !fromDir {
		if suite != "" && suite != s.o.kernel {
			s.log.say("the kernel is of %s, the tools of %s", s.o.kernel, suite)
		}
		if suite == "" {
			suite = s.o.kernel
		}
	}
	if suite == "" {
		suite = "bookworm"
	}
	tools := s.o.tools
	if s.o.shell && !slices.Contains(tools, "busybox-static") {
		tools = append(slices.Clone(tools), "busybox-static")
		slices.Sort(tools)
	}
	opened := make(map[string]*aptRoot)
	open := func(suite string) (*aptRoot, error) {
		if a := opened[suite]; a != nil {
			return a, nil
		}
		a, err := openApt(ctx, s.cache, suite, s.o.mirror, s.o.refresh, s.log)
		if err == nil {
			opened[suite] = a
		}
		return a, err
	}
	var err error
	if fromDir {
		dir, aerr := filepath.Abs(s.o.kernel)
		if aerr != nil {
			return aerr
		}
		s.kernel, err = directoryKernel(ctx, s.cache, dir, s.o.modules, s.log)
	} else {
		var a *aptRoot
		if a, err = open(s.o.kernel); err == nil {
			s.kernel, err = suiteKernel(ctx, s.cache, a, s.o.modules)
		}
	}
	if err != nil {
		return err
	}
	if len(tools) > 0 {
		a, err := open(suite)
		if err != nil {
			return err
		}
		if s.tools, err = toolRoot(ctx, s.cache, a, tools); err != nil {
			return err
		}
	}
	s.accel, err = chooseAccel(ctx, s.cache, s.o, s.kernel, s.guest, s.log)
	return err
}

// config returns what init is told; the packages are added when the
// initramfs is written.
func (s *session) config(peer int) wire.Config {
	c := wire.Config{
		Args:     append([]string{s.o.verbosity(), "-test.paniconexit0"}, s.o.testFlags...),
		Timeout:  s.o.timeout,
		Deadline: s.o.vmTimeout,
		FailFast: s.o.failFast,
		Shell:    s.o.shell,
		Peers:    s.o.peers,
		Peer:     peer,
		Env: []string{
			fmt.Sprintf("LINUXBLOCK_VM_RAMDISKS=%d", s.o.ramDisks),
		},
		Modules: []wire.Module{
			{Name: "virtio_blk"}, {Name: "loop"}, {Name: "dm_mod"},
		},
	}
	if s.o.shell {
		c.Deadline = 0
	}
	if s.o.list != "" {
		c.Args = c.Args[1:]
	}
	if s.o.ramDisks > 0 {
		c.Modules = append(c.Modules, wire.Module{Name: "brd", Params: fmt.Sprintf("rd_nr=%d rd_size=%d max_part=0", s.o.ramDisks, s.o.ramSize>>10)})
	}
	if s.o.disk > 0 {
		c.Env = append(c.Env, "LINUXBLOCK_VM_DISK=/dev/vda")
	}
	if s.o.peers > 1 {
		c.Env = append(c.Env, fmt.Sprintf("LINUXBLOCK_VM_PEER=%d", peer))
		c.Modules = append(c.Modules, wire.Module{Name: "virtio_net"})
	}
	c.Args = append(c.Args, s.o.binaryArgs...)
	return c
}

// boot starts the VMs and waits for them.
func (s *session) boot(ctx context.Context) (failed bool, err error) {
	if s.o.vmTimeout > 0 && !s.o.shell {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, s.o.vmTimeout, errTimeout)
		defer cancel()
	}
	networks, err := joinVMs(s.o.peers)
	if err != nil {
		return false, err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	guests := make([]*guestVM, s.o.peers)
	for i := range guests {
		label, dir := "", s.dir
		if s.o.peers > 1 {
			dir = filepath.Join(s.dir, fmt.Sprintf("vm%d", i))
			if err := os.Mkdir(dir, 0o700); err != nil {
				return false, err
			}
			label = fmt.Sprintf(" [peer %d]", i)
		}
		initrd := filepath.Join(dir, "initrd")
		done := s.log.step("write the initramfs")
		err := writeInitrd(initrd, s.guest, s.config(i), s.list, s.root, s.tools, s.kernel.Modules)
		done()
		if err != nil {
			return false, err
		}
		m := &machine{dir: dir, kernel: s.kernel, initrd: initrd, accel: s.accel, o: s.o}
		if len(networks) > 0 {
			m.network, m.mac = networks[i], fmt.Sprintf("52:54:00:4c:42:%02x", i+1)
		}
		guests[i] = &guestVM{m: m, log: s.log, label: label, r: newReporter(s.o, os.Stdout, &mu, label, s.list)}
	}
	for _, g := range guests {
		wg.Add(1)
		go func() {
			defer wg.Done()
			g.run(ctx)
		}()
	}
	wg.Wait()
	for _, g := range guests {
		failed = failed || g.r.failed
		for _, n := range g.r.notHere {
			s.log.say("not run: %s %s: %s", n.pkg, n.test, strings.TrimPrefix(n.reason, "vmtest: "))
		}
		err = errors.Join(err, g.err)
	}
	return failed, err
}
