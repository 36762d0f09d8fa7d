// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"net"
)

// joinVMs returns a -netdev argument for each of n VMs; none for one. Their
// network cards talk UDP to each other over the host's loopback: every QEMU
// can do that, it needs no rights, and a VM that restarts or comes later just
// joins.
func joinVMs(n int) ([]string, error) {
	if n < 2 {
		return nil, nil
	}
	// Ports that are free now; they are let go for QEMU to take.
	var ports []int
	for range n {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		defer c.Close()
		ports = append(ports, c.LocalAddr().(*net.UDPAddr).Port)
	}
	var args []string
	for i := range n {
		args = append(args, fmt.Sprintf("socket,id=net,udp=127.0.0.1:%d,localaddr=127.0.0.1:%d", ports[(i+1)%n], ports[i]))
	}
	return args, nil
}
