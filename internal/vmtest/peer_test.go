// SPDX-License-Identifier: MIT

package vmtest_test

import (
	"bufio"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/linuxblock/linuxblock/internal/vmtest"
)

// Two VMs talk TCP to each other.
func TestPeers(t *testing.T) {
	me := vmtest.RequirePeer(t)
	const port = 4000
	if me == 0 {
		l, err := net.Listen("tcp", netip.AddrPortFrom(vmtest.PeerAddr(0), port).String())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(3 * time.Minute))
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || line != "hello from 1\n" {
			t.Fatalf("read %q, %v", line, err)
		}
		if _, err := c.Write([]byte("hello from 0\n")); err != nil {
			t.Fatal(err)
		}
		return
	}
	// The other VM may boot more slowly.
	var c net.Conn
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		var err error
		if c, err = net.DialTimeout("tcp", netip.AddrPortFrom(vmtest.PeerAddr(0), port).String(), 5*time.Second); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello from 1\n")); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || line != "hello from 0\n" {
		t.Fatalf("read %q, %v", line, err)
	}
	if name, err := net.LookupHost("peer1"); err != nil || len(name) != 1 || name[0] != vmtest.PeerAddr(1).String() {
		t.Errorf("peer1 is %v, %v", name, err)
	}
}
