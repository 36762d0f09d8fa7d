// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"slices"
	"strings"
	"testing"
)

func TestInstallQEMU(t *testing.T) {
	for _, c := range []struct {
		release, want string
		debian        bool
	}{
		{"PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", "apt-get", true},
		{"ID=ubuntu\nID_LIKE=debian\n", "apt-get", true},
		{"ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf", false},
		{"ID=arch\n", "pacman", false}, {"ID=alpine\n", "apk", false}, {"", qemuProgram, false},
	} {
		command, debian := installQEMU(c.release)
		if !strings.Contains(command, c.want) || debian != c.debian {
			t.Errorf("%q: %q, %v", c.release, command, debian)
		}
	}
}

func TestMachineArgs(t *testing.T) {
	o := &options{cpus: 2, memory: 2 << 30, disk: 1 << 20, append: "one two=3"}
	m := &machine{dir: "/d", kernel: &kernel{Image: "/k"}, initrd: "/i", accel: "tcg", o: o}
	args := m.args("/d/port")
	for _, want := range []string{"tcg,thread=multi", "file,id=console,path=/d/console.log", "socket,id=port,path=/d/port", "2048M"} {
		if !slices.Contains(args, want) {
			t.Errorf("no %s in %q", want, args)
		}
	}
	line := args[slices.Index(args, "-append")+1]
	for _, want := range []string{"panic=-1", "oops=panic", "no_timer_check", "one", "two=3"} {
		if !slices.Contains(strings.Fields(line), want) {
			t.Errorf("no %s on the kernel's command line %q", want, line)
		}
	}
	m.accel, o.disk = "kvm", 0
	if args := m.args("/d/port"); !slices.Contains(args, "kvm") || slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, "disk.img") }) {
		t.Errorf("KVM without a disk: %q", args)
	}
}

func TestJoinVMs(t *testing.T) {
	if n, err := joinVMs(1); err != nil || n != nil {
		t.Errorf("one VM: %q, %v", n, err)
	}
	n, err := joinVMs(2)
	if err != nil || len(n) != 2 {
		t.Fatalf("two VMs: %q, %v", n, err)
	}
	_, a, _ := strings.Cut(n[0], "udp=")
	to, local, _ := strings.Cut(a, ",localaddr=")
	if n[1] != "socket,id=net,udp="+local+",localaddr="+to {
		t.Errorf("%q and %q are not each other's ends", n[0], n[1])
	}
}
