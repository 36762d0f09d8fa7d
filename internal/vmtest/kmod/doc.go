// SPDX-License-Identifier: MIT

// Package kmod finds and loads Linux kernel modules without depmod.
//
// Debian's kernel packages carry modules but no modules.dep: depmod makes that
// file on the machine where the package is installed. The VM's kernel is only
// unpacked, so this package reads what depmod would read, the .modinfo section
// of each module, and keeps the result in one text file, the [Index].
//
// The host side (internal/cmd/vmtest) builds the Index while it packs the
// initramfs. Inside the VM the same Index serves three readers: init, which
// loads the modules that every test wants; /sbin/modprobe, which the kernel
// itself calls for names such as "dm-raid" or "crypto-sha256"; and
// vmtest.Require, which loads what one test wants.
package kmod
