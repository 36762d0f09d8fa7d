// SPDX-License-Identifier: MIT

package dmwire

import "strconv"

// Command is the number of a control ioctl.
type Command uint8

// The DM_*_CMD numbers.
const (
	CmdVersion Command = iota
	CmdRemoveAll
	CmdListDevices
	CmdCreate
	CmdRemove
	CmdRename
	CmdSuspend
	CmdStatus
	CmdWait
	CmdLoad
	CmdClear
	CmdDeps
	CmdTableStatus
	CmdListVersions
	CmdMessage
	CmdSetGeometry
	CmdArmPoll
	CmdTargetVersion

	NumCommands = int(CmdTargetVersion) + 1
)

// requestBase is _IOWR(0xfd, 0, struct dm_ioctl); the size field is 312 on
// every architecture. Architectures that encode the direction bits in
// another place (alpha, mips, powerpc, sparc) are handled in request_*.go.
const (
	ioctlType = 0xfd
	sizeShift = 16
)

// Request is the ioctl request number of c.
func (c Command) Request() uint32 {
	return iocReadWrite | HeaderSize<<sizeShift | ioctlType<<8 | uint32(c)
}

// CommandOf is the inverse of Request; ok is false for any other number.
func CommandOf(request uint32) (c Command, ok bool) {
	c = Command(request & 0xff)
	return c, int(c) < NumCommands && request == c.Request()
}

var commandNames = [NumCommands]string{
	"VERSION", "REMOVE_ALL", "LIST_DEVICES", "DEV_CREATE", "DEV_REMOVE",
	"DEV_RENAME", "DEV_SUSPEND", "DEV_STATUS", "DEV_WAIT", "TABLE_LOAD",
	"TABLE_CLEAR", "TABLE_DEPS", "TABLE_STATUS", "LIST_VERSIONS",
	"TARGET_MSG", "DEV_SET_GEOMETRY", "DEV_ARM_POLL", "GET_TARGET_VERSION",
}

// String is the name in the kernel header without DM_ and _CMD.
func (c Command) String() string {
	if int(c) < NumCommands {
		return commandNames[c]
	}
	return "command " + strconv.Itoa(int(c))
}

// Since is the interface version that brought c, from the history in
// dm-ioctl.h. DEV_ARM_POLL is said to be 4.36 in libdm, but only 4.37
// behaves.
func (c Command) Since() Version {
	switch c {
	case CmdListVersions:
		return Version{4, 1, 0}
	case CmdMessage:
		return Version{4, 2, 0}
	case CmdSetGeometry:
		return Version{4, 6, 0}
	case CmdArmPoll:
		return Version{4, 37, 0}
	case CmdTargetVersion:
		return Version{4, 41, 0}
	}
	return Version{4, 0, 0}
}

// NoParams reports whether the kernel ignores everything behind the header
// of c (IOCTL_FLAGS_NO_PARAMS in dm-ioctl.c). It answers data_size 305, but
// for REMOVE_ALL, which it answers with 0 and nothing copied back.
func (c Command) NoParams() bool {
	switch c {
	case CmdRemoveAll, CmdCreate, CmdRemove, CmdSuspend, CmdStatus, CmdClear, CmdArmPoll:
		return true
	}
	return false
}
