// SPDX-License-Identifier: MIT

// Vmtest runs Go tests in a virtual machine with Debian's stock kernel.
package main
