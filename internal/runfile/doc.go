// SPDX-License-Identifier: MIT

// Package runfile keeps a list of what a program would leave behind if it were
// killed at this moment, so that a later run can remove it. Open names the
// folder (default DefaultDir) and a kind; before it makes something temporary
// the program calls Begin, adds what it learns with Note, and calls End when
// the thing is gone or has become permanent. Every record is one line and one
// write(2), so after SIGKILL at most the last line is torn, and a torn line
// means that the step it announces had not begun. The file's name carries
// process id and start time, its first line the boot and the namespaces these
// numbers belong to. Scan returns the files whose owner is gone, each locked
// against other scanners; files of living processes are never returned, and
// those of another pid namespace, whose life cannot be judged, are only
// reported. The format is text and is read on every system; live calls need
// Linux and return errors.ErrUnsupported elsewhere.
package runfile
