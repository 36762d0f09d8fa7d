// SPDX-License-Identifier: MIT

package dmtest

import (
	"fmt"
	"slices"
)

// logKeep is how many lines of the kernel log are kept, like the ring of
// /dev/kmsg.
const logKeep = 4096

// KernelLog begins to read the kernel log at its end; collect returns the
// lines that came since. The texts are those of the real driver.
func (t *Transport) KernelLog() (collect func() []string, err error) {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	from := k.logBase + len(k.log)
	return func() []string {
		k.mu.Lock()
		defer k.mu.Unlock()
		return slices.Clone(k.log[max(from-k.logBase, 0):])
	}, nil
}

// Log writes a line to the kernel log as the driver's DMERR and DMWARN do:
// "device-mapper: PREFIX: TEXT". Target models call it, without holding
// anything of the Kernel's.
func (k *Kernel) Log(prefix, format string, args ...any) {
	line := "device-mapper: " + prefix + ": " + fmt.Sprintf(format, args...)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.logLocked(line)
}

func (k *Kernel) logLocked(line string) {
	if len(k.log) == logKeep {
		k.log = append(k.log[:0], k.log[1:]...)
		k.logBase++
	}
	k.log = append(k.log, line)
}

// The prefixes of the core.
const (
	logIoctl = "ioctl"
	logTable = "table"
	logCore  = "core"
	logStats = "stats"
)
