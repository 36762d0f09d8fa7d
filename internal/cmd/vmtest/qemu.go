// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/linuxblock/linuxblock/internal/cmd/vmtest/wire"
)

const qemuProgram = "qemu-system-x86_64"

// findQEMU looks for QEMU, and installs it if this is root on a Debian
// machine. Everybody else gets the command to type.
func findQEMU(ctx context.Context, log *tracer) error {
	if _, err := exec.LookPath(qemuProgram); err == nil {
		return nil
	}
	release, _ := os.ReadFile("/etc/os-release")
	command, debian := installQEMU(string(release))
	if !debian || os.Geteuid() != 0 {
		return fmt.Errorf("%s is not installed; this installs it:\n\n    %s", qemuProgram, command)
	}
	log.say("%s is not installed; running apt-get update and apt-get install --no-install-recommends qemu-system-x86", qemuProgram)
	for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", "qemu-system-x86"}} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = log.w, log.w
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("apt-get %s: %w", args[0], err)
		}
	}
	_, err := exec.LookPath(qemuProgram)
	return err
}

// installQEMU returns the command that installs QEMU on the system whose
// /etc/os-release is given, and whether apt-get does it.
func installQEMU(release string) (command string, debian bool) {
	like := append(strings.Fields(osRelease(release, "ID_LIKE")), osRelease(release, "ID"))
	switch {
	case slices.Contains(like, "debian"):
		return "sudo apt-get install --no-install-recommends qemu-system-x86", true
	case slices.Contains(like, "fedora"):
		return "sudo dnf install qemu-system-x86-core", false
	case slices.Contains(like, "arch"):
		return "sudo pacman -S qemu-system-x86", false
	case slices.Contains(like, "alpine"):
		return "sudo apk add qemu-system-x86_64", false
	}
	return "(the package of your system that has " + qemuProgram + ")", false
}

// osRelease returns a field of /etc/os-release.
func osRelease(text, key string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return ""
}

// machine is one VM.
type machine struct {
	dir     string // for its console log, disk and socket
	kernel  *kernel
	initrd  string
	accel   string
	o       *options
	network string // a -netdev argument, or ""
	mac     string
}

func (m *machine) console() consoleLog { return consoleLog(filepath.Join(m.dir, "console.log")) }

// args returns QEMU's command line. The port's socket is for the host to
// listen on.
func (m *machine) args(socket string) []string {
	// panic=-1 with -no-reboot ends QEMU when the kernel panics, and oops=panic
	// makes it panic rather than go on with a lock held for ever.
	// no_timer_check: on a busy host, emulated timers fail the kernel's test.
	kernelArgs := []string{
		"console=ttyS0,115200", "quiet", "panic=-1", "oops=panic", "no_timer_check", "net.ifnames=0", "random.trust_cpu=on",
		"rdinit=/init", "nowatchdog", "audit=0",
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-name", "vmtest",
		"-machine", "pc", "-smp", fmt.Sprint(m.o.cpus), "-m", fmt.Sprintf("%dM", m.o.memory>>20),
		"-kernel", m.kernel.Image, "-initrd", m.initrd,
	}
	switch m.accel {
	case "kvm":
		args = append(args, "-accel", "kvm", "-cpu", "host")
	default:
		args = append(args, "-accel", "tcg,thread=multi", "-cpu", "max")
		// Against the side channels of a CPU that does not exist.
		kernelArgs = append(kernelArgs, "mitigations=off")
	}
	if m.o.shell {
		args = append(args, "-display", "none", "-chardev", "stdio,id=console,signal=off,logfile="+string(m.console()))
	} else {
		args = append(args, "-display", "none", "-chardev", "file,id=console,path="+string(m.console()))
	}
	args = append(args, "-serial", "chardev:console")
	if socket != "" {
		args = append(args,
			"-device", "virtio-serial-pci,max_ports=2",
			"-chardev", "socket,id=port,path="+socket,
			"-device", "virtserialport,chardev=port,name="+wire.PortName)
	}
	if m.o.disk > 0 && socket != "" {
		args = append(args,
			"-drive", "if=none,id=disk,format=raw,discard=unmap,detect-zeroes=off,file="+filepath.Join(m.dir, "disk.img"),
			"-device", "virtio-blk-pci,drive=disk,serial=linuxblock0")
	}
	if m.network != "" {
		args = append(args, "-netdev", m.network, "-device", "virtio-net-pci,netdev=net,romfile=,mac="+m.mac)
	}
	kernelArgs = append(kernelArgs, strings.Fields(m.o.append)...)
	return append(args, "-append", strings.Join(kernelArgs, " "))
}

// running is a VM that was started.
type running struct {
	conn   net.Conn      // the virtio-serial port; nil without a socket
	exited chan struct{} // closed when QEMU has ended
	err    error         // valid then
	kill   func()
}

// start starts QEMU. It ends with the context, and when this process dies,
// however that happens.
func (m *machine) start(ctx context.Context, withPort bool) (*running, error) {
	socket := ""
	var listener net.Listener
	if withPort {
		socket = filepath.Join(m.dir, "port")
		var err error
		if listener, err = net.Listen("unix", socket); err != nil {
			return nil, err
		}
		defer listener.Close()
	}
	if m.o.disk > 0 && withPort {
		f, err := os.Create(filepath.Join(m.dir, "disk.img"))
		if err != nil {
			return nil, err
		}
		err = f.Truncate(m.o.disk)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &running{exited: make(chan struct{}), kill: cancel}
	cmd := exec.CommandContext(ctx, qemuProgram, m.args(socket)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if m.o.shell {
		cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		// Ctrl-C is for vmtest: it stops QEMU and says what was not run.
		Setpgid: !m.o.shell,
	}
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread that forked ends, so
		// that thread must stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		r.err = cmd.Wait()
		if r.err != nil {
			r.err = fmt.Errorf("%s: %w: %s", qemuProgram, r.err, bytes.TrimSpace(stderr.Bytes()))
		}
		close(r.exited)
	}()
	if err := <-started; err != nil {
		cancel()
		return nil, err
	}
	if !withPort {
		return r, nil
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := listener.Accept(); err == nil {
			accepted <- c
		}
		close(accepted)
	}()
	select {
	case r.conn = <-accepted:
		if r.conn != nil {
			return r, nil
		}
		cancel()
		<-r.exited
	case <-r.exited:
		cancel()
	}
	if r.err == nil {
		r.err = errors.New("QEMU ended at once")
	}
	return nil, r.err
}
