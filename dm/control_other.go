// SPDX-License-Identifier: MIT

//go:build !linux

package dm

import (
	"errors"
	"fmt"
	"runtime"
)

func openControl(string) (Transport, error) {
	return nil, fmt.Errorf("no device-mapper on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
