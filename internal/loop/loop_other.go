// SPDX-License-Identifier: MIT

//go:build !linux

package loop

import (
	"context"
	"errors"

	"github.com/linuxblock/linuxblock/internal/fault"
)

// Device does not exist here.
type Device struct{}

// Path is empty.
func (*Device) Path() string { return "" }

// Close does nothing.
func (*Device) Close() error { return nil }

// Attach matches errors.ErrUnsupported.
func Attach(_ context.Context, file string, _ Options) (*Device, error) {
	return nil, fault.Wrap(area, "attach", file, errors.ErrUnsupported, "Linux only")
}

// BackingFile matches errors.ErrUnsupported.
func BackingFile(path string) (string, error) {
	return "", fault.Wrap(area, "backing file", path, errors.ErrUnsupported, "Linux only")
}
