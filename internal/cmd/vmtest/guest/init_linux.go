// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/linuxblock/linuxblock/internal/cmd/vmtest/wire"
	"github.com/linuxblock/linuxblock/internal/vmtest/kmod"
)

// run is PID 1. It never returns: if it did, the kernel would panic. On an
// error of its own it says so on the console, where the host finds it.
func run() {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "vmtest init: panic: %v\n", p)
			powerOff()
		}
	}()
	if err := boot(); err != nil {
		fmt.Fprintf(os.Stderr, "vmtest init: %v\n", err)
	}
	powerOff()
}

func boot() error {
	if err := mountAll(); err != nil {
		return err
	}
	data, err := os.ReadFile(wire.ConfigPath)
	if err != nil {
		return err
	}
	var c wire.Config
	if err := json.Unmarshal(data, &c); err != nil {
		return err
	}
	if c.Probe {
		fmt.Println("vmtest probe: the kernel runs")
		return nil
	}
	setEnv()
	loader, err := kmod.Open()
	if err != nil {
		return err
	}
	for _, m := range []string{"virtio_pci", "virtio_console"} {
		if err := loader.Load(m, ""); err != nil {
			return err
		}
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	w := wire.NewWriter(port)
	release, err := kmod.Release()
	if err != nil {
		return err
	}
	loadModules(loader, c.Modules, w)
	if err := setUpNetwork(c); err != nil {
		w.Logf("network: %v", err)
	}
	_ = w.JSON(wire.Hello, wire.Greeting{Release: release, Uptime: uptime()})
	go listen(port)
	// From now on warnings of the kernel go to the console as well: the host
	// shows the end of it when something goes wrong.
	_ = os.WriteFile("/proc/sys/kernel/printk", []byte("5"), 0)

	r := newReaper()
	if c.Shell {
		shell(c, r, w)
	} else {
		runTests(c, r, w)
	}
	_ = w.Bytes(wire.Done, nil)
	// Closing waits until the host has read everything.
	_ = port.Close()
	return nil
}

// mountAll mounts what a Linux program expects to find.
func mountAll() error {
	for _, m := range []struct {
		kind, dir, data string
		flags           uintptr
	}{
		{"proc", "/proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"sysfs", "/sys", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"devtmpfs", "/dev", "mode=0755", unix.MS_NOSUID},
		{"devpts", "/dev/pts", "mode=0620,gid=5,ptmxmode=0666", unix.MS_NOSUID | unix.MS_NOEXEC},
		{"tmpfs", "/dev/shm", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
		{"tmpfs", "/run", "mode=0755", unix.MS_NOSUID | unix.MS_NODEV},
		{"tmpfs", "/tmp", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
		{"cgroup2", "/sys/fs/cgroup", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"debugfs", "/sys/kernel/debug", "", 0},
		{"tracefs", "/sys/kernel/tracing", "", 0},
		{"configfs", "/sys/kernel/config", "", 0},
	} {
		if !strings.HasPrefix(m.dir, "/sys/") {
			if err := os.MkdirAll(m.dir, 0o755); err != nil {
				return err
			}
		}
		err := unix.Mount(m.kind, m.dir, m.kind, m.flags, m.data)
		// What is below /sys is a service to tests; a kernel without it, or
		// one where it is a module, still runs them.
		if err != nil && !strings.HasPrefix(m.dir, "/sys/") {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	// devtmpfs has none of these.
	for name, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		_ = os.Symlink(target, name)
	}
	for _, d := range []string{"/run/lock", "/run/lvm"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return unix.Sethostname([]byte("vmtest"))
}

func setEnv() {
	os.Clearenv()
	for k, v := range map[string]string{
		"HOME": "/root", "USER": "root", "LOGNAME": "root", "TMPDIR": "/tmp", "LANG": "C.UTF-8", "TERM": "linux",
		"PATH":          "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LINUXBLOCK_VM": "1",
	} {
		_ = os.Setenv(k, v)
	}
}

// openPort finds the virtio-serial port by its name: without udev there is no
// link in /dev/virtio-ports.
func openPort() (*os.File, error) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, n := range names {
			data, _ := os.ReadFile(n)
			if strings.TrimSpace(string(data)) != wire.PortName {
				continue
			}
			// Opened without O_NONBLOCK on purpose: blocking is the flow
			// control, and os.File would poll it otherwise.
			fd, err := unix.Open("/dev/"+filepath.Base(filepath.Dir(n)), unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err == nil {
				return os.NewFile(uintptr(fd), wire.PortName), nil
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no virtio-serial port %s", wire.PortName)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func loadModules(l *kmod.Loader, list []wire.Module, w *wire.Writer) {
	for _, m := range list {
		if err := l.Load(m.Name, m.Params); err != nil && !m.Quiet {
			w.Logf("%v", err)
		}
	}
}

// listen obeys the host. It reads until the port is closed.
func listen(port io.Reader) {
	b := make([]byte, 1)
	for {
		n, err := port.Read(b)
		if n == 1 && b[0] == wire.Dump {
			dumpTasks("wl")
		}
		if err != nil || n == 0 {
			return
		}
	}
}

// dumpTasks makes the kernel print the stacks of blocked tasks (w) or of what
// runs on each CPU (l).
func dumpTasks(what string) {
	_ = os.WriteFile("/proc/sys/kernel/printk", []byte("8"), 0)
	for _, c := range what {
		_ = os.WriteFile("/proc/sysrq-trigger", []byte(string(c)), 0)
	}
}

// uptime is the time since the kernel started.
func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func powerOff() {
	// No sync: every disk of this VM is thrown away, and a device that a
	// test left suspended would make it hang.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	// Without ACPI power-off; QEMU runs with -no-reboot.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {}
}
