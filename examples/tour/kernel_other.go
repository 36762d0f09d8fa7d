// SPDX-License-Identifier: MIT

//go:build !linux

package main

import (
	"context"
	"errors"

	"github.com/linuxblock/linuxblock/dm"
	"github.com/linuxblock/linuxblock/dmraid"
)

// kernel is a machine without Linux: there is nothing to stand on.
type kernel struct{}

func newKernel() ground { return kernel{} }

func (kernel) kind() string                 { return "kernel" }
func (kernel) about() string                { return "There is no Linux here." }
func (kernel) devices() dmraid.DeviceOpener { return nil }

func (kernel) openDM(context.Context) (*dm.Client, error) { return nil, errors.ErrUnsupported }
func (kernel) disks(int) ([]disk, error)                  { return nil, errors.ErrUnsupported }
func (kernel) open(string) (blockDevice, error)           { return nil, errors.ErrUnsupported }
func (kernel) inUse(string) (bool, error)                 { return false, errors.ErrUnsupported }
