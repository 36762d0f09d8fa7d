// SPDX-License-Identifier: MIT

package udev

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Linux include/uapi/linux/ipc.h and sem.h; the same on every architecture
// that Go runs on.
const (
	ipcCreat  = 0o1000
	ipcExcl   = 0o2000
	ipcNoWait = 0o4000

	cmdIPCRmid = 0
	cmdGetPID  = 11
	cmdGetVal  = 12
	cmdSetVal  = 16
)

// None of the semctl commands used here passes a structure, so the IPC_64 bit,
// which some architectures want (Linux ipc/util.c ipc_parse_version) and others
// refuse, is never needed. Lists come from /proc/sysvipc/sem instead of SEM_STAT.

const errIDRM = syscall.EIDRM

// sembuf is struct sembuf of include/uapi/linux/sem.h.
type sembuf struct {
	num uint16
	op  int16
	flg int16
}

// timespec64 is struct __kernel_timespec: two 64-bit numbers everywhere,
// which is what semtimedop takes on 64-bit machines and semtimedop_time64 on
// the others.
type timespec64 struct{ sec, nsec int64 }

func semget(key uint32, flags int) (int, error) {
	// key_t is a signed int.
	id, _, no := unix.Syscall(unix.SYS_SEMGET, uintptr(int32(key)), 1, uintptr(flags))
	if no != 0 {
		return -1, no
	}
	return int(id), nil
}

func semctl(semid, cmd int, arg uintptr) (int, error) {
	r, _, no := unix.Syscall6(unix.SYS_SEMCTL, uintptr(semid), 0, uintptr(cmd), arg, 0, 0)
	if no != 0 {
		return -1, no
	}
	return int(r), nil
}

func semsetval(semid int, val int32) error {
	// union semun travels in one register as it lies in memory, so on 64-bit
	// big-endian machines an int is in the upper half (Linux ipc/sem.c SETVAL).
	_, err := semctl(semid, cmdSetVal, uintptr(uint64(val)<<semunShift))
	return err
}

func semgetval(semid int) (int, error) { return semctl(semid, cmdGetVal, 0) }

func semgetpid(semid int) (int, error) { return semctl(semid, cmdGetPID, 0) }

func semrmid(semid int) error {
	_, err := semctl(semid, cmdIPCRmid, 0)
	return err
}

// semop runs one operation without a time limit; a signal leads to a retry.
func semop(semid int, op int16, flags int16) error {
	for {
		// SEMTIMEDOP with no time: plain semop has no number of its own on
		// s390x and 386.
		b := sembuf{op: op, flg: flags}
		_, _, no := unix.Syscall6(sysSemtimedop, uintptr(semid), uintptr(unsafe.Pointer(&b)), 1, 0, 0, 0)
		switch no {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return no
	}
}

// semtimedop runs one operation and blocks for at most d (EAGAIN afterwards).
func semtimedop(semid int, op int16, flags int16, d time.Duration) error {
	b := sembuf{op: op, flg: flags}
	ts := timespec64{int64(d / time.Second), int64(d % time.Second)}
	_, _, no := unix.Syscall6(sysSemtimedop, uintptr(semid), uintptr(unsafe.Pointer(&b)), 1,
		uintptr(unsafe.Pointer(&ts)), 0, 0)
	if no != 0 {
		return no
	}
	return nil
}
