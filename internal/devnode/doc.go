// SPDX-License-Identifier: MIT

// Package devnode keeps the nodes below /dev/mapper when no udevd does it. It
// makes what libdevmapper makes in that case (LVM2 libdm/libdm-common.c
// _add_dev_node): a block node, mode 0660, root:disk. Every node is made under
// a temporary name and renamed into place, so a reader sees the old node, the
// new one, never none and never one with the wrong rights. A node of another
// device or a stale link to a dm-N is replaced; anything else that lies under
// the name (a file, a folder, a link to some other place) belongs to somebody
// else, is left alone and reported as ErrForeign. Names are taken literally:
// mangling to \xNN is the caller's work. The zero Dir means /dev and the real
// system calls; Fake lets programs test without root on any system.
package devnode
