// SPDX-License-Identifier: MIT

// Command raidctl makes arrays of the device-mapper target raid and takes
// them through their life: it is the script that came with the design of that
// target in 2010, grown up, and an example of package dmraid that is of use.
//
//	raidctl create data raid5_ls /dev/sdb /dev/sdc /dev/sdd
//	raidctl create test raid1 --files /tmp --count 2 --size 64M
//	raidctl status
//	raidctl fail data 1
//	raidctl replace data 1 /dev/sde
//	raidctl scrub data --repair
//	raidctl verify /dev/sdb /dev/sdc /dev/sdd
//	raidctl read /dev/sdb - /dev/sdd --out data.img
//	raidctl explain '0 16384 raid raid1 1 0 2 - 8:0 - 8:16'
//	raidctl stop data
//
// A leg is a device or a file. Its first 4 MiB are for the superblock and the
// bitmap, the rest for data: two linear devices over it, NAME_rmeta_N and
// NAME_rimage_N, as lvm names them. Files are attached to loop devices that
// the kernel frees with the array.
//
// raidctl help lists the commands. Nothing is overwritten without a question,
// or --yes; a device that carries something also wants --force. With --plan a
// command prints what it would do, and does nothing.
//
// Exit status: 0 done, 1 refused or failed, 2 bad command line, 3 no such
// array or device, 5 in use, 6 no permission, 7 the array is degraded (status,
// verify) or a scrub found differences, 130 interrupted.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, system{})
	stop()
	os.Exit(code)
}
