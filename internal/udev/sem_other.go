// SPDX-License-Identifier: MIT

//go:build !linux

package udev

import (
	"errors"
	"time"
)

const (
	ipcCreat  = 0
	ipcExcl   = 0
	ipcNoWait = 0
)

var errIDRM = errors.New("identifier removed")

func semget(uint32, int) (int, error)                   { return -1, errors.ErrUnsupported }
func semsetval(int, int32) error                        { return errors.ErrUnsupported }
func semgetval(int) (int, error)                        { return -1, errors.ErrUnsupported }
func semgetpid(int) (int, error)                        { return -1, errors.ErrUnsupported }
func semrmid(int) error                                 { return errors.ErrUnsupported }
func semop(int, int16, int16) error                     { return errors.ErrUnsupported }
func semtimedop(int, int16, int16, time.Duration) error { return errors.ErrUnsupported }
