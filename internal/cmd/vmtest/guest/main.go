// SPDX-License-Identifier: MIT

// Guest is the program that runs inside the VM: as PID 1 it is init, under
// the name modprobe it is the kernel's module loader. It is built by vmtest,
// static, and packed into the initramfs; nobody runs it by hand.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if filepath.Base(os.Args[0]) == "modprobe" {
		os.Exit(modprobe(os.Args[1:], os.Stderr))
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: this is the init of a test VM, see the documentation of internal/cmd/vmtest")
		os.Exit(2)
	}
	run()
}
