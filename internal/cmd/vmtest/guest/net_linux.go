// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/linuxblock/linuxblock/internal/cmd/vmtest/wire"
)

// setUpNetwork brings the loopback interface up, which nobody else does, and
// with peers gives eth0 the address 10.77.0.<1+peer>/24.
func setUpNetwork(c wire.Config) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	if err := linkUp(s, "lo"); err != nil {
		return err
	}
	if c.Peers < 2 {
		return nil
	}
	if err := setAddr(s, "eth0", unix.SIOCSIFADDR, [4]byte{10, 77, 0, byte(1 + c.Peer)}); err != nil {
		return err
	}
	if err := setAddr(s, "eth0", unix.SIOCSIFNETMASK, [4]byte{255, 255, 255, 0}); err != nil {
		return err
	}
	return linkUp(s, "eth0")
}

func linkUp(s int, name string) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, ifr); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
	return os.NewSyscallError(name+": SIOCSIFFLAGS", unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr))
}

func setAddr(s int, name string, request uint, ip [4]byte) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := ifr.SetInet4Addr(ip[:]); err != nil {
		return err
	}
	return os.NewSyscallError(name+": set address", unix.IoctlIfreq(s, request, ifr))
}
