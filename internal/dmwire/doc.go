// SPDX-License-Identifier: MIT

// Package dmwire is the byte layout of the device-mapper control ioctls:
// the 312-byte header, the payload records behind it, the command numbers
// and the flags, all from include/uapi/linux/dm-ioctl.h (interface 4.48).
//
// Both sides are here. Package dm encodes requests and decodes answers;
// dm/dmtest decodes requests and encodes answers, as drivers/md/dm-ioctl.c
// does. Everything is in the byte order of the machine, because the kernel
// and the program share one memory. Decoders take any bytes and answer with
// an error that matches [ErrTruncated] or [ErrMalformed]; they never panic.
package dmwire
