// SPDX-License-Identifier: MIT

//go:build !linux

package dmraid

func runningKernel() (Kernel, bool) { return Kernel{}, false }
