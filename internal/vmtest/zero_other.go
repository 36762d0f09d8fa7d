// SPDX-License-Identifier: MIT

//go:build !linux

package vmtest

import "errors"

func zero(string) error { return errors.ErrUnsupported }
